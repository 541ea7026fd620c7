package node

import (
	"fmt"

	"github.com/assent-network/assent/network"
)

// A node dials the validators of the last config that it has. If none of them is
// one any more, where the config says, the node would never hear of the ones that
// are. network.entry names some: blocks come from them until the ledger here knows
// them. They are nobody else: what they send as validators, or in a member's name,
// is not listened to, and blocks prove themselves.

func parseEntry(list []string) ([]network.Peer, error) {
	var out []network.Peer
	for i, text := range list {
		p, err := network.ParsePeer(text)
		if err != nil {
			return nil, fmt.Errorf("network.entry[%d]: %w", i, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// strangers are the peers of network.entry that neither the entries nor an earlier
// config name. A validator of before is none: the network has cut it off.
func (n *Node) strangers(e *entries) ([]network.Peer, error) {
	var out []network.Peer
	for _, p := range n.entry {
		if _, known := e.peers[p.ID]; known || p.ID == e.self {
			continue
		}
		if before, err := n.everValidator(p.ID); err != nil {
			return nil, err
		} else if !before {
			out = append(out, p)
		}
	}
	return out, nil
}

// everValidator reports whether a config up to this node's tip names a peer.
func (n *Node) everValidator(peer network.PeerID) (bool, error) {
	for seq := range n.store.Tip().Config.Seq + 1 {
		conf, err := n.store.Config(seq)
		if err != nil {
			return false, err
		}
		for i := range conf.Validators {
			if id, err := network.PeerIDFromPublicKey(conf.Validators[i].HostKey[:]); err == nil && id == peer {
				return true, nil
			}
		}
	}
	return false, nil
}
