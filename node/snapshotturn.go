package node

import (
	"crypto/ecdsa"
	"slices"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
)

// turn is when a node's regular snapshots fall due: at every height that is after
// above a multiple of every. Nodes of one network have different ones. If all of
// them wrote at one height, none would have a moment's rest for ordering, and
// those that begin are served better by snapshots of many heights.
type turn struct{ every, after ledger.Height }

// turnOf returns the turn of the node with these host keys: the n validators of
// the config share the blocks between two snapshots, the i-th of them, from 0, i/n
// of the way. A node that does not validate stands between two such places, by its
// member's place among the members.
func turnOf(c *ledger.Config, member string, hosts []ledger.HostKey, every ledger.Height) turn {
	place, of := 0, len(c.Validators)
	if i := slices.IndexFunc(c.Validators, func(v ledger.Validator) bool { return slices.Contains(hosts, v.HostKey) }); i >= 0 {
		place = i
	} else if i := slices.IndexFunc(c.Members, func(m ledger.Member) bool { return m.ID == member }); i >= 0 {
		place, of = 2*i+1, 2*len(c.Members)
	}
	if of == 0 {
		return turn{every, 0}
	}
	step, rest := every/ledger.Height(of), every%ledger.Height(of) // every may be as large as a height
	return turn{every, step*ledger.Height(place) + rest*ledger.Height(place)/ledger.Height(of)}
}

// due reports whether a node whose newest snapshot is of height last, 0 for none,
// writes one at height h: a due height has come since.
func (t turn) due(last, h ledger.Height) bool { return t.every > 0 && t.count(h) > t.count(last) }

// count returns how many due heights there are from 1 to h.
func (t turn) count(h ledger.Height) ledger.Height {
	switch {
	case t.after == 0:
		return h / t.every
	case h < t.after:
		return 0
	}
	return (h-t.after)/t.every + 1
}

// snapshotTurn returns this node's turn by the config in force, which may change.
func (n *Node) snapshotTurn() turn {
	return turnOf(n.store.Tip().Config, n.member, publicKeys(n.secrets.hosts), ledger.Height(n.cfg.Snapshots.Every))
}

func publicKeys(keys []*ecdsa.PrivateKey) []ledger.HostKey {
	out := make([]ledger.HostKey, len(keys))
	for i, k := range keys {
		out[i] = ledger.HostKey(crypto.CompressPubkey(&k.PublicKey))
	}
	return out
}
