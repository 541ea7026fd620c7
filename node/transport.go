package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/network"
)

// transport lets the ordering engine speak to validators by their numbers.
// What cannot be sent is dropped: the engine is built for loss, and the host
// counts it.
type transport struct {
	host Host
	dir  *directory
}

func (t transport) Send(to consensus.ReplicaID, msg []byte) {
	if id, ok := t.dir.peer(to); ok {
		_ = t.host.Send(id, network.ClassConsensus, msg)
	}
}

func (t transport) Forward(to consensus.ReplicaID, req []byte) {
	if id, ok := t.dir.peer(to); ok {
		_ = t.host.Send(id, network.ClassTx, req)
	}
}

// spread hands a request of an observer's client to every validator. It fails
// when not one of them could take it.
func (t transport) spread(req []byte) error {
	failed := errors.New("this node knows no other validator")
	for _, id := range t.dir.validators() {
		err := t.host.Send(id, network.ClassTx, req)
		if err == nil {
			failed = nil
		} else if failed != nil {
			failed = fmt.Errorf("no validator can be reached: %w", err)
		}
	}
	return failed
}

// syncPeers is how node/sync reaches other nodes.
type syncPeers struct {
	host Host
}

func (s syncPeers) Request(ctx context.Context, peer string, req []byte) ([]byte, error) {
	return s.host.Request(ctx, network.PeerID(peer), network.ProtocolSync, req)
}

// notSent reports whether a failed request surely never reached the peer.
func notSent(err error) bool {
	return errors.Is(err, network.ErrNotSent) || errors.Is(err, network.ErrUnreachable) || errors.Is(err, network.ErrUnknownPeer) || errors.Is(err, network.ErrStopped) || errors.Is(err, network.ErrTooLarge)
}
