package network

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"

	ma "github.com/multiformats/go-multiaddr"
)

// Config is what a Host is opened with.
type Config struct {
	// HostKey is the node's secp256k1 host key; the node's PeerID comes from it.
	// It authenticates connections and signs nothing else.
	HostKey *ecdsa.PrivateKey
	// Listen are TCP multiaddrs, such as /ip4/0.0.0.0/tcp/7051. None: the host
	// dials only.
	Listen []string
	// Limits; the zero value means DefaultLimits.
	Limits Limits
	// Logger receives peer ids, addresses and sizes, never content. nil: discard.
	Logger *slog.Logger
}

// check fills defaults, parses the addresses and joins all complaints.
func (c *Config) check() ([]ma.Multiaddr, error) {
	var errs []error
	if c.HostKey == nil || c.HostKey.D == nil {
		errs = append(errs, errors.New("network config: no host key"))
	}
	c.Limits = c.Limits.WithDefaults()
	errs = append(errs, c.Limits.Check())
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var addrs []ma.Multiaddr
	for _, text := range c.Listen {
		addr, err := tcpAddr(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("network config: listen address: %w", err))
			continue
		}
		addrs = append(addrs, addr)
	}
	return addrs, errors.Join(errs...)
}

// tcpAddr parses a multiaddr that ends in /tcp/<port>.
func tcpAddr(text string) (ma.Multiaddr, error) {
	addr, err := ma.NewMultiaddr(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no multiaddr, want for example /ip4/10.0.0.7/tcp/7051: %w", text, err)
	}
	_, last := ma.SplitLast(addr)
	if last == nil || last.Protocol().Code != ma.P_TCP {
		return nil, fmt.Errorf("%q does not end in /tcp/<port>", text)
	}
	return addr, nil
}
