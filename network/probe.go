package network

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// ErrOtherKey means that somebody answers at an address who holds another host
// key than the one asked for.
var ErrOtherKey = errors.New("another host key answers there")

// Probed is what Probe found: whoever listens at the address holds the host key.
type Probed struct {
	Answer []byte // to the request; nil if there is none
	Silent error  // why not: usually that the node does not admit this one
}

// Probe dials an address once, apart from any Host and its gate, and has whoever
// listens prove that it is the node id. Then it makes one request, which a node
// that admits the owner of key answers. It listens on nothing and leaves nothing
// behind. Errors: ErrUnreachable, ErrOtherKey, a malformed argument.
func Probe(ctx context.Context, key *ecdsa.PrivateKey, id PeerID, addr string, p Protocol, req []byte) (*Probed, error) {
	target, err := peer.Decode(string(id))
	if err != nil {
		return nil, fmt.Errorf("probe: peer id: %w", err)
	}
	multi, err := ma.NewMultiaddr(addr)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", addr, err)
	}
	limits := DefaultLimits()
	pl, ok := limits.Protocol(p)
	if !ok || len(req) > pl.Request {
		return nil, fmt.Errorf("probe %s: no such request", addr)
	}
	parts, self, err := assemble(key, &limits, nil)
	if err != nil {
		return nil, err
	}
	defer parts.close()
	if self == target {
		return nil, fmt.Errorf("probe %s: that is this node itself", addr)
	}
	parts.store.AddAddr(target, multi, peerstore.TempAddrTTL)
	ctx, cancel := context.WithTimeout(ctx, limits.DialTimeout+limits.HandshakeTimeout)
	defer cancel()
	conn, err := parts.swarm.DialPeer(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w: %s", addr, dialFailure(err), CleanErrorText(err.Error()))
	}
	// The handshake has shown the key. A node that does not admit this one closes
	// the connection now.
	answer, err := exchange(ctx, conn, p, req, pl, limits.FrameTimeout)
	if err != nil {
		return &Probed{Silent: err}, nil
	}
	return &Probed{Answer: answer}, nil
}

// CheckAddr reports why addr is no multiaddress that a node can be dialled at.
func CheckAddr(addr string) error {
	m, err := ma.NewMultiaddr(addr)
	if err != nil {
		return fmt.Errorf("address %.80q: %w", addr, err)
	}
	if _, err := m.ValueForProtocol(ma.P_TCP); err != nil {
		return fmt.Errorf("address %.80q names no TCP port", addr)
	}
	return nil
}

func dialFailure(err error) error {
	var dial *swarm.DialError
	if errors.As(err, &dial) {
		for i := range dial.DialErrors {
			var mismatch sec.ErrPeerIDMismatch
			if errors.As(dial.DialErrors[i].Cause, &mismatch) {
				return ErrOtherKey
			}
		}
	}
	return ErrUnreachable
}
