package node

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
)

// roster keeps the directory and the network's gate in step with the config in
// force and the node records, while the node runs.
type roster struct {
	mu   sync.Mutex    // one refresh at a time
	wake chan struct{} // capacity 1

	removed atomic.Bool // the ledger has named this node and does no longer
}

// wakeUp says that the config or a node record has changed. It never blocks.
func (r *roster) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// configChanged is called by whoever appended a config block: it does not block.
func (n *Node) configChanged() {
	n.roster.wakeUp()
	n.assembler.wakeUp()
}

// runRoster refreshes when something has changed and when somebody's time to
// leave has come.
func (n *Node) runRoster(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	said := standing("")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.roster.wake:
		case <-timer.C:
		}
		next, err := n.refreshDirectory()
		if err != nil {
			return err
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
		if s, why := n.standing(); s != said {
			n.sayStanding(s, why)
			said = s
		}
	}
}

// refreshDirectory reads who is who, sets the network's gate accordingly and
// returns when it must be done again without any change; zero for never.
func (n *Node) refreshDirectory() (time.Time, error) {
	n.roster.mu.Lock()
	defer n.roster.mu.Unlock()
	e, err := readDirectory(n.host.ID(), n.store.Tip().Config, n.state.View())
	if err != nil {
		return time.Time{}, err
	}
	removed := false
	if _, ok := e.peers[n.host.ID()]; !ok {
		if removed, err = n.named(); err != nil {
			return time.Time{}, err
		}
	}
	n.roster.removed.Store(removed)
	if e.strangers, err = n.strangers(e); err != nil {
		return time.Time{}, err
	}
	next := e.dismiss(n.dir.current.Load(), n.now())
	n.dir.current.Store(e)
	n.host.SetPeers(e.admitted())
	return next, nil
}

// standing is a node's place in its network.
type standing string

const (
	standsValidator standing = "validator" // orders, or is about to
	standsObserver  standing = "observer"
	standsMute      standing = "mute validator" // named by the config, may not or cannot vote
	standsOutside   standing = "outside"        // nobody admits its connections
)

// standing returns the node's place under the config in force as it knows it,
// and why it is not what its operator may expect; nil if all is well.
func (n *Node) standing() (standing, error) {
	conf := n.store.Tip().Config
	part := n.chain.Standing()
	e := n.dir.current.Load()
	own, known := e.peers[n.host.ID()]
	switch {
	case part.Refused:
		return standsMute, fmt.Errorf("validator %d may not vote with key %s, whose log does not know all its votes: let a config update replace it by a validator with a new vote key", part.Validator, part.Vote)
	case part.Validator != 0 && uint64(own.replica) != part.Validator:
		return standsMute, fmt.Errorf("the network expects validator %d under another host key than that of %s, which runs here: restart it with the key that the config names as identity.hostKey or identity.nextHostKey", part.Validator, n.host.ID())
	case part.Validator != 0:
		return standsValidator, nil
	case own.replica != 0 && n.restored != nil:
		return standsMute, fmt.Errorf("this node was restored from a backup and observes: its vote key %s is not used any more; let the members admit the new one: assent member propose rotate-vote-key %d %s", conf.Validator(uint64(own.replica)).VoteKey, own.replica, n.newVoteKey())
	case own.replica != 0:
		return standsMute, fmt.Errorf("config %d names this node as validator %d with vote key %s, which it does not hold: name that key as identity.voteKey or identity.nextVoteKey and restart", conf.Seq, own.replica, conf.Validator(uint64(own.replica)).VoteKey)
	case known:
		return standsObserver, nil
	case n.nextHostKey():
		return standsOutside, fmt.Errorf("config %d names this node's next host key: restart it, it will start with that key", conf.Seq)
	case n.roster.removed.Load():
		return standsOutside, fmt.Errorf("this node was removed from the network (newest config here: %d): the other nodes refuse it; to come back, have an admin of %s register it as an observer, or a config update admit it", conf.Seq, n.member)
	}
	return standsOutside, fmt.Errorf("the network has not admitted this node, as far as its ledger goes: have an admin of %s register its card as an observer, or a config update admit it as a validator", n.member)
}

// named reports whether the ledger has ever named this node: in a config, or in
// a node record that its member has taken back since.
func (n *Node) named() (bool, error) {
	self := n.host.ID()
	if was, err := n.everValidator(self); was || err != nil {
		return was, err
	}
	_, ok, err := n.state.View().Get(record.NodeKey(record.OrgID(n.member), record.NodeID(self)))
	return ok, err
}

func (n *Node) sayStanding(s standing, why error) {
	conf := n.store.Tip().Config
	if why != nil {
		level := slog.LevelInfo // a node that has just begun to follow
		if s == standsMute || n.roster.removed.Load() {
			level = slog.LevelError
		}
		n.log.Log(context.Background(), level, "this node has no place in the network as it is", "standing", string(s), "configSeq", conf.Seq, "reason", why)
		return
	}
	n.log.Info("this node's place in the network", "standing", string(s), "configSeq", conf.Seq, "validator", n.chain.Standing().Validator)
}

// hostKey chooses the network identity that the ledger names; the configured one
// if it names neither.
func (n *Node) hostKey() (*ecdsa.PrivateKey, error) {
	first := n.secrets.hosts[0]
	for _, k := range n.secrets.hosts {
		id, err := network.PeerIDFromPublicKey(crypto.CompressPubkey(&k.PublicKey))
		if err != nil {
			return nil, err
		}
		e, err := readDirectory(id, n.store.Tip().Config, n.state.View())
		if err != nil {
			return nil, err
		}
		if _, ok := e.peers[id]; ok {
			return k, nil
		}
	}
	return first, nil
}

// nextHostKey reports that the ledger names this node's next network identity and
// not the one it runs under: a restart is due.
func (n *Node) nextHostKey() bool {
	e := n.dir.current.Load()
	if _, ok := e.peers[n.host.ID()]; ok || len(n.secrets.hosts) < 2 {
		return false
	}
	for _, k := range n.secrets.hosts {
		id, err := network.PeerIDFromPublicKey(crypto.CompressPubkey(&k.PublicKey))
		if _, ok := e.peers[id]; ok && err == nil && id != n.host.ID() {
			return true
		}
	}
	return false
}
