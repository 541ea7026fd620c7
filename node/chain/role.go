package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// Replica is what an ordering engine is made for.
type Replica struct {
	Self       consensus.ReplicaID
	Vote       ledger.Address // the key it votes with; an engine's log belongs to one key
	Membership consensus.Membership
	Last       consensus.Decision // of the block store; zero at genesis
	LastAlone  bool               // Last was decided by this replica as the only one
}

// role is this node's part in ordering; immutable.
type role struct {
	self  consensus.ReplicaID
	vote  ledger.Signer
	since ledger.Height // newest block when it took the role
}

// Standing says which part this node takes under the config in force.
type Standing struct {
	Validator uint64         // its id in the config in force; 0: it observes
	Vote      ledger.Address // the key of that id
	Refused   bool           // it may not vote with that key, because its log does not know all its votes: it observes
	Orders    bool           // the engine is there
}

// Standing returns which part this node takes now.
func (c *Chain) Standing() Standing {
	var s Standing
	conf := c.Config()
	for _, k := range c.cfg.Votes {
		if v := conf.ValidatorByVoteKey(k.Address()); v != nil {
			s.Validator, s.Vote = v.ID, v.VoteKey
			break
		}
	}
	r := c.role.Load()
	s.Orders = r != nil && c.engine.Load() != nil
	if k := c.mute.Load(); k != nil && *k == s.Vote && s.Validator != 0 {
		s.Refused = true
	}
	return s
}

// Voter returns the key with which this node votes and the highest height it has
// voted for, restarts included; nil while it observes, height 0 while its engine
// has not read its log. A validator that has not voted yet says the height at
// which it began: it has voted for nothing above.
func (c *Chain) Voter() (key ledger.Signer, id uint64, voted ledger.Height) {
	r, e := c.role.Load(), c.engine.Load()
	if r == nil || e == nil {
		s := c.Standing()
		if s.Validator == 0 || s.Refused {
			return nil, 0, 0
		}
		return c.voteKey(s.Vote), s.Validator, 0
	}
	return r.vote, uint64(r.self), max(ledger.Height(e.Status().VotedHeight), r.since)
}

func (c *Chain) voteKey(a ledger.Address) ledger.Signer {
	for _, k := range c.cfg.Votes {
		if k.Address() == a {
			return k
		}
	}
	return nil
}

// roleInForce returns the part that the config in force gives this node, or nil
// for an observer's.
func (c *Chain) roleInForce() *role {
	tip := c.Tip()
	for _, k := range c.cfg.Votes {
		if v := tip.Config.ValidatorByVoteKey(k.Address()); v != nil && !c.refused[k.Address()] {
			return &role{self: consensus.ReplicaID(v.ID), vote: k, since: tip.Height}
		}
	}
	return nil
}

// takePart orders while the config in force names one of this node's vote keys
// and follows while it names none.
func (c *Chain) takePart(ctx context.Context) error {
	for ctx.Err() == nil {
		var err error
		if r := c.roleInForce(); r != nil {
			err = c.order(ctx, r)
		} else {
			err = c.follow(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errOtherRole ends Follow: the config in force names this node.
var errOtherRole = errors.New("this node is a validator from here on")

// follow appends what the peers have until ctx ends or the config in force makes
// this node a validator.
func (c *Chain) follow(ctx context.Context) error {
	err := c.cfg.Peers.Follow(ctx, func(b *ledger.Block, cert *ledger.Certificate) error {
		before := c.Config().Seq
		if err := c.Append(b, cert); err != nil {
			return err
		}
		if c.Config().Seq != before && c.roleInForce() != nil {
			return errOtherRole
		}
		return nil
	})
	if errors.Is(err, errOtherRole) {
		return nil
	}
	return err
}

// order catches up and then runs an engine until ctx ends or the config in force
// takes the role away.
func (c *Chain) order(ctx context.Context, r *role) error {
	if err := c.catchUpFar(ctx); err != nil {
		return fmt.Errorf("catch up before ordering: %w", err)
	}
	now := c.roleInForce()
	if now == nil || now.self != r.self || ctx.Err() != nil {
		return nil // the blocks fetched have changed the config
	}
	last, err := c.lastDecision()
	if err != nil {
		return fmt.Errorf("start ordering: %w", err)
	}
	alone, err := c.alone(last)
	if err != nil {
		return fmt.Errorf("start ordering: %w", err)
	}
	c.role.Store(now)
	defer c.role.Store(nil)
	engine, err := c.cfg.NewEngine(c, Replica{Self: now.self, Vote: now.vote.Address(), Membership: c.membership(), Last: last, LastAlone: alone})
	if errors.Is(err, consensus.ErrMayNotVote) {
		key := now.vote.Address()
		c.refused[key] = true
		c.mute.Store(&key)
		c.log.Error("ALARM: this validator does not vote: it observes until the network's config names another vote key of its own", "validator", now.self, "voteKey", key, "reason", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("start ordering: %w", err)
	}
	c.engine.Store(&engineBox{engine})
	defer c.shares.empty() // the engine's pool ends with it
	defer c.engine.Store(nil)
	c.log.Info("this node orders", "validator", now.self, "height", now.since, "configSeq", c.Config().Seq)
	sealCtx, stopSeals := context.WithCancel(ctx)
	sealDone := make(chan struct{})
	go func() { defer close(sealDone); c.sealLoop(sealCtx, now) }()
	err = engine.Run(ctx)
	stopSeals()
	<-sealDone
	switch {
	case errors.Is(err, consensus.ErrRemoved):
		c.log.Warn("this validator is not in the network's config any more: it orders no longer", "validator", now.self, "configSeq", c.Config().Seq)
		return nil
	case errors.Is(err, consensus.ErrOutgrown):
		return nil
	}
	return err
}

// catchUpFar catches up again as long as that brings many blocks: one time is
// bounded, and an engine that starts far behind would only fetch them in between.
func (c *Chain) catchUpFar(ctx context.Context) error {
	const many = 1000
	for {
		before := c.Tip().Height
		if err := c.cfg.Peers.CatchUp(ctx, c.Append); err != nil {
			return err
		}
		if c.Tip().Height < before+many || ctx.Err() != nil {
			return nil
		}
	}
}

// alone reports whether d was decided by the only validator there was.
func (c *Chain) alone(d consensus.Decision) (bool, error) {
	if d.Proposal.Height == 0 {
		return false, nil
	}
	conf, err := c.cfg.Store.Config(d.Proposal.ConfigSeq)
	return err == nil && len(conf.Validators) == 1, err
}
