package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"strings"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

// NewCard makes the card of a node that has lost its own, from its keys and its
// configuration: at the addresses given, else at those at which it listens.
func NewCard(cfg config.Config, reach Reach) (*Card, error) {
	store, err := keys.Open(cfg.Identity.KeysDir)
	if err != nil {
		return nil, err
	}
	return makeCard(&cfg, store, reach)
}

func makeCard(cfg *config.Config, store *keys.Store, reach Reach) (*Card, error) {
	c := &Card{Member: cfg.Identity.Member, Kind: cfg.Identity.Node, Addrs: cfg.Network.Listen}
	_, port, err := net.SplitHostPort(cfg.API.Listen)
	if err != nil {
		return nil, err
	}
	c.APIURLs = []string{"https://" + net.JoinHostPort(cfg.API.Names[0], port)}
	if len(reach.Addrs) > 0 {
		c.Addrs = reach.Addrs
	}
	if len(reach.APIURLs) > 0 {
		c.APIURLs = reach.APIURLs
	}
	return c, c.update(cfg, store)
}

// Update brings the card to what the configuration says now: which keys the node
// has, and whether it answers. Addresses stay, since only the operator knows at
// which ones others reach the node. It needs no password.
func (c *Card) Update(cfg config.Config) error {
	store, err := keys.Open(cfg.Identity.KeysDir)
	if err != nil {
		return err
	}
	return c.update(&cfg, store)
}

func (c *Card) update(cfg *config.Config, store *keys.Store) error {
	c.Answers = cfg.Answering.Enabled
	had := c.HostKey
	host, err := publicKey(store, cfg.Identity.HostKey, keys.Host)
	if err != nil {
		return err
	}
	if err := c.HostKey.UnmarshalText([]byte(host.PublicKey)); err != nil {
		return err
	}
	if had != c.HostKey {
		c.HostProof = nil // it is the other key's
	}
	id, err := network.PeerIDFromPublicKey(c.HostKey[:])
	if err != nil {
		return err
	}
	c.NodeID = string(id)
	tx, err := publicKey(store, cfg.Identity.TxKey, keys.Client)
	if err != nil {
		return err
	}
	c.TxKey = tx.Address
	c.VoteKey = ledger.Address{}
	if cfg.Identity.Node == "validator" {
		vote, err := publicKey(store, cfg.Identity.VoteKey, keys.Vote)
		if err != nil {
			return err
		}
		c.VoteKey = vote.Address
	}
	if c.SPKI, err = pinOf(store, cfg.Identity.TLSKey); err != nil {
		return err
	}
	data, err := publicKey(store, cfg.Identity.DataKeys[0], keys.Data)
	if err != nil {
		return err
	}
	public, err := publicBytes(data)
	if err != nil {
		return err
	}
	c.DataKeyID, c.DataKey = answer.KeyID(public), data.PublicKey
	return nil
}

// publicKey is what may be told about a key, which must be of this kind.
func publicKey(store *keys.Store, name string, kind keys.Kind) (keys.Info, error) {
	info, err := store.Info(name)
	if err == nil && info.Kind != kind {
		err = fmt.Errorf("key %q is a %s key, want a %s key: %w", name, info.Kind, kind, keys.ErrWrongKind)
	}
	return info, err
}

// pinOf is the hash by which clients know a node's API.
func pinOf(store *keys.Store, name string) (ledger.Hash, error) {
	info, err := publicKey(store, name, keys.TLS)
	if err != nil {
		return ledger.Hash{}, err
	}
	b, err := publicBytes(info)
	if err != nil {
		return ledger.Hash{}, err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
	if err != nil {
		return ledger.Hash{}, fmt.Errorf("key %q: %w", name, err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ledger.Hash{}, fmt.Errorf("key %q: %w", name, err)
	}
	return sha256.Sum256(spki), nil
}

func publicBytes(k keys.Info) ([]byte, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(k.PublicKey, "0x"))
	if err != nil {
		return nil, fmt.Errorf("key %q: its public key: %w", k.Name, err)
	}
	return b, nil
}
