// Package consensus is the port between a replicated application and the
// engine that orders its requests.
//
// It owns the vocabulary of ordering: requests, proposals, votes, decisions,
// and the three interfaces App, Engine and Transport. Everything that crosses
// the port is bytes and small types; the package imports nothing of ours and
// no engine.
//
// Every engine promises: all correct replicas deliver the same proposals in
// the same order, once each, with heights 1, 2, 3, …; a delivered decision
// carries a quorum of votes; a request submitted to a correct replica is
// delivered as long as a quorum of replicas is connected. consensustest holds
// the suite that checks it, solo an engine for one replica, bft the
// Byzantine-fault-tolerant engine.
//
// It leaves to others: what a request means and whether it is valid
// (the App), who a peer is (the Transport: senders are authenticated before
// Engine.Step is called), and duplicates over a long time (an engine
// remembers only recent requests; the App must recognise one that it has
// delivered before).
package consensus

import (
	"errors"
	"fmt"
	"slices"
)

// ReplicaID names a replica. It is never 0.
type ReplicaID uint64

// RequestInfo is the identity of a request: two requests with equal
// RequestInfo are the same request to the engine's pool.
type RequestInfo struct {
	Client string
	ID     string
}

// Proposal is one block on its way: the application's bytes and the engine's.
// Header, Payload, Meta and ConfigSeq must be stored with the block exactly as
// delivered: the engine needs them again after a restart (Config.Last) and in
// CatchUp.
type Proposal struct {
	// Height is the position of the proposal, from 1. The engine fills and
	// checks it; it is bound by Meta, so an application that hashes Meta (or
	// Height) into its header binds it too.
	Height uint64
	// ConfigSeq is the number of the configuration under which the proposal
	// was assembled (App.ConfigSeq).
	ConfigSeq uint64
	// Header and Payload are the application's.
	Header  []byte
	Payload []byte
	// Meta is the engine's, opaque to the application.
	Meta []byte
}

// Vote is a replica's signature over a proposal.
type Vote struct {
	Replica   ReplicaID
	Signature []byte
}

// Decision is a proposal with the votes that decided it: at least a quorum,
// of distinct replicas, all cast in one view, each checked with App.VerifyVote.
// Replicas may hold different quorums for the same proposal, of different views.
// The zero Decision stands for genesis, at height 0.
type Decision struct {
	Proposal Proposal
	// View is the one in which the votes were cast: that of the proposal, or a later
	// one that took it over. Votes of two views decide nothing together.
	View  uint64
	Votes []Vote
}

// Membership is the set of replicas that order, under one configuration.
type Membership struct {
	ConfigSeq uint64
	Replicas  []ReplicaID
}

// Contains reports whether id is a member.
func (m Membership) Contains(id ReplicaID) bool { return slices.Contains(m.Replicas, id) }

// Quorum is the number of votes that decide: ceil((n+f+1)/2).
func (m Membership) Quorum() int { return Quorum(len(m.Replicas)) }

// Check reports why m cannot run an engine.
func (m Membership) Check() error {
	if len(m.Replicas) == 0 {
		return errors.New("membership has no replicas")
	}
	seen := make(map[ReplicaID]bool, len(m.Replicas))
	for _, id := range m.Replicas {
		if id == 0 {
			return errors.New("membership holds replica 0")
		}
		if seen[id] {
			return fmt.Errorf("membership holds replica %d twice", id)
		}
		seen[id] = true
	}
	return nil
}

// Faulty is f, the number of arbitrary faults that n replicas survive.
func Faulty(n int) int { return (n - 1) / 3 }

// Quorum is the smallest number of n replicas such that any two quorums share
// a correct replica: ceil((n+f+1)/2).
func Quorum(n int) int { return (n + Faulty(n) + 2) / 2 }

// Tip is where a replica stands after it has caught up.
type Tip struct {
	// Decision is the last one appended to this replica's store; zero at
	// genesis.
	Decision Decision
	// Changed is the membership now in force if any decision appended by this
	// CatchUp changed it, else nil.
	Changed *Membership
}

// Errors of an Engine.
var (
	// ErrBusy: the pool is full. Nothing was taken or passed on; retry later.
	ErrBusy = errors.New("request pool is full")
	// ErrNotRunning: the engine has not started, is between two
	// configurations, or has stopped. Nothing was taken; retry.
	ErrNotRunning = errors.New("consensus engine is not running")
	// ErrTooLarge: the request exceeds the engine's limit; retrying is useless.
	ErrTooLarge = errors.New("request is too large")
	// ErrRemoved: Run ended because a delivered configuration does not list
	// this replica.
	ErrRemoved = errors.New("replica is no longer a member")
	// ErrOutgrown: Run ended because a delivered configuration has more replicas
	// than this kind of engine serves; another kind goes on from the same
	// decision.
	ErrOutgrown = errors.New("the membership needs another kind of engine")
	// ErrMayNotVote: the engine was not made, because this replica may have voted
	// in ways that its log does not know. It must not vote under this key again.
	ErrMayNotVote = errors.New("replica may not vote under this key any more")
)
