package node

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// directory says who is who on the network: which peer is which validator, whose
// node it is, and which node speaks for a member. It is made from the config in
// force and the node records of the membership contract, and replaced as a whole
// when either changes.
type directory struct {
	current atomic.Pointer[entries]
}

// entries are immutable.
type entries struct {
	self       network.PeerID
	peers      map[network.PeerID]entry
	replicas   map[consensus.ReplicaID]network.PeerID
	validators []network.PeerID          // without this node
	answering  map[string]network.PeerID // by member
	leaving    map[network.PeerID]leaver // nodes of before, for a moment more
	strangers  []network.Peer            // that this node's operator names, and the ledger not yet
}

// leaver was a node of the network until it was removed. Until the time given it
// may fetch blocks, so that it learns what has happened, and can tell the client
// through whom its member did it; then its connection is cut.
type leaver struct {
	addrs []string
	until time.Time
}

// leaveTime is how long that is: longer than a validator that missed the config
// block takes to notice that its leader is silent and to catch up.
const leaveTime = 10 * time.Second

type entry struct {
	member  string
	replica consensus.ReplicaID // 0: an observer
	addrs   []string
}

// maxNodes bounds how many node records are read.
const maxNodes = 4096

// readDirectory builds the entries of a config and a state. Nodes of members
// that are not in the config, and removed ones, are nobody.
func readDirectory(self network.PeerID, conf *ledger.Config, view *state.View) (*entries, error) {
	e := &entries{
		self:      self,
		peers:     make(map[network.PeerID]entry),
		replicas:  make(map[consensus.ReplicaID]network.PeerID),
		answering: make(map[string]network.PeerID),
	}
	for i := range conf.Validators {
		v := &conf.Validators[i]
		id, err := network.PeerIDFromPublicKey(v.HostKey[:])
		if err != nil {
			continue // the ledger admits points of the curve only
		}
		e.peers[id] = entry{member: v.Member, replica: consensus.ReplicaID(v.ID), addrs: v.Addrs}
		e.replicas[consensus.ReplicaID(v.ID)] = id
		if id != self {
			e.validators = append(e.validators, id)
		}
	}
	rows, err := view.Range(record.NodePrefix(), prefixEnd(record.NodePrefix()), maxNodes)
	if err != nil {
		return nil, fmt.Errorf("directory: read node records: %w", err)
	}
	for _, row := range rows {
		n, err := record.Load[record.Node](row.Value)
		if err != nil {
			return nil, fmt.Errorf("directory: node record %s: %w", strings.TrimPrefix(row.Key, record.NodePrefix()), err)
		}
		if n.RemovedAt != 0 || conf.Member(string(n.OrgID)) == nil {
			continue
		}
		id, err := network.PeerIDFromPublicKey(n.HostKey)
		if err != nil {
			continue // the contract checks the form only: such a node can never connect
		}
		known, ok := e.peers[id]
		switch {
		case !ok && n.Kind == record.Observer:
			e.peers[id] = entry{member: string(n.OrgID), addrs: n.Addrs}
		case !ok || known.member != string(n.OrgID):
			continue // only the config makes validators, and nobody speaks for another's
		}
		if n.Answers {
			e.answering[string(n.OrgID)] = id
		}
	}
	slices.Sort(e.validators)
	return e, nil
}

// dismiss notes who was somebody before and is nobody now, and returns when the
// next of them is to be cut; zero for none. Observers have to do with validators
// only.
func (e *entries) dismiss(before *entries, now time.Time) (next time.Time) {
	e.leaving = make(map[network.PeerID]leaver)
	note := func(id network.PeerID, l leaver) {
		if _, stays := e.peers[id]; stays || id == e.self || !l.until.After(now) {
			return
		}
		e.leaving[id] = l
		if next.IsZero() || l.until.Before(next) {
			next = l.until
		}
	}
	if before == nil {
		return next
	}
	validates := e.peers[e.self].replica != 0
	for id, p := range before.peers {
		if p.replica != 0 || validates {
			note(id, leaver{p.addrs, now.Add(leaveTime)})
		}
	}
	for id, l := range before.leaving {
		note(id, l)
	}
	return next
}

// prefixEnd is the first key after all that begin with prefix, which ends in
// '/'.
func prefixEnd(prefix string) string { return prefix[:len(prefix)-1] + "0" }

// admitted lists who may connect. Validators keep connections up among each
// other; an observer dials the validators and waits for nobody.
func (e *entries) admitted() []network.Peer {
	_, selfIsKnown := e.peers[e.self]
	selfValidates := selfIsKnown && e.peers[e.self].replica != 0
	var out []network.Peer
	for id, p := range e.peers {
		if id == e.self {
			continue
		}
		if !selfValidates && p.replica == 0 {
			continue // observers do not talk to each other
		}
		out = append(out, network.Peer{ID: id, Addrs: p.addrs, Dial: p.replica != 0})
	}
	for id, l := range e.leaving {
		out = append(out, network.Peer{ID: id, Addrs: l.addrs})
	}
	out = append(out, e.strangers...)
	slices.SortFunc(out, func(a, b network.Peer) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

// member returns whose node a peer is.
func (d *directory) member(id network.PeerID) (string, bool) {
	p, ok := d.current.Load().peers[id]
	return p.member, ok
}

// replica returns which validator a peer is.
func (d *directory) replica(id network.PeerID) (consensus.ReplicaID, bool) {
	p := d.current.Load().peers[id]
	return p.replica, p.replica != 0
}

// peer returns the peer of a validator.
func (d *directory) peer(id consensus.ReplicaID) (network.PeerID, bool) {
	p, ok := d.current.Load().replicas[id]
	return p, ok
}

// validators returns the peers of all validators but this node.
func (d *directory) validators() []network.PeerID { return d.current.Load().validators }

// answering returns the node that speaks for a member in sealed parts and
// answers.
func (d *directory) answering(member string) (network.PeerID, bool) {
	p, ok := d.current.Load().answering[member]
	return p, ok
}
