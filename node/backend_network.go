package node

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/sync"
)

// Peers implements gateway.Network.
func (b *backend) Peers() []gateway.Peer {
	var out []gateway.Peer
	for _, p := range b.host.Status() {
		member, ok := b.dir.member(p.ID)
		if !ok {
			continue // it left a moment ago
		}
		id, _ := b.dir.replica(p.ID)
		out = append(out, gateway.Peer{
			NodeID: string(p.ID), Member: member, Validator: uint64(id), Connected: p.Connected,
			Since: p.Since, RTT: p.RTT, LastError: p.LastError,
		})
	}
	return out
}

// identity is the host key under which this node runs.
func (n *Node) identity() (*ecdsa.PrivateKey, error) {
	for _, k := range n.secrets.hosts {
		id, err := network.PeerIDFromPublicKey(crypto.CompressPubkey(&k.PublicKey))
		if err == nil && id == n.host.ID() {
			return k, nil
		}
	}
	return nil, fmt.Errorf("none of this node's host keys is that of %s, under which it runs", n.host.ID())
}

// Probe implements gateway.Network. It makes a connection of its own, beside the
// node's: who is probed need not be admitted, and is not by being probed.
func (b *backend) Probe(ctx context.Context, addr string, key ledger.HostKey) (*gateway.Probe, error) {
	id, err := network.PeerIDFromPublicKey(key[:])
	if err != nil {
		return nil, api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	if err := network.CheckAddr(addr); err != nil {
		return nil, api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	select { // handshakes cost: one at a time
	case b.probing <- struct{}{}:
		defer func() { <-b.probing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	req, nonce := sync.AskStatus()
	own, err := b.identity()
	if err != nil {
		return nil, err
	}
	found, err := network.Probe(ctx, own, id, addr, network.ProtocolSync, req)
	switch {
	case errors.Is(err, network.ErrOtherKey):
		return &gateway.Probe{Result: pb.ProbeResponse_RESULT_OTHER_KEY, Why: err.Error()}, nil
	case errors.Is(err, network.ErrUnreachable):
		return &gateway.Probe{Result: pb.ProbeResponse_RESULT_UNREACHABLE, Why: err.Error()}, nil
	case err != nil:
		return nil, err
	case found.Silent != nil:
		return &gateway.Probe{Result: pb.ProbeResponse_RESULT_REACHED, Silent: "it does not answer a node that it does not know yet"}, nil
	}
	out := &gateway.Probe{Result: pb.ProbeResponse_RESULT_REACHED}
	if out.Status, err = sync.ReadStatus(found.Answer, b.chainID, nonce); err != nil {
		out.Silent = network.CleanErrorText(err.Error())
	}
	return out, nil
}
