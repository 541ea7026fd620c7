// Package chain is the replicated application: the one write path of a node.
//
//	admit → order (consensus) → append and sync (store) → execute (executor) → publish
//
// It owns admission of requests, the building and checking of proposals, votes,
// the hand-over of blocks to the executor, seals, and the waiting for outcomes.
// A validator gets its blocks from a consensus engine, an observer from its
// peers; both append and execute through the same functions, and so does a
// restart.
//
// It promises that a block it delivered is on disk before anybody is told, that
// blocks are executed in order and once, that it never votes for a header whose
// executed root differs from its own, and that a certified header with such a
// root stops the node: a fork is never followed.
//
// It leaves to others: what bytes mean (ledger), the order (consensus), disk
// (store, state), contracts (executor) and peers (sync, network).
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// State is what the chain asks of the executed state; *state.DB is one.
type State interface {
	// Executed returns the highest executed height and the roots after it; ok is
	// false before genesis was executed.
	Executed() (h ledger.Height, r state.Roots, ok bool)
	// RootsAt returns the roots after executing h, for at least the last 128
	// heights.
	RootsAt(h ledger.Height) (state.Roots, bool)
	// View returns the state after the newest executed block.
	View() *state.View
	// SetCertified tells the height up to which roots are certified.
	SetCertified(h ledger.Height)
	// FlushIfDue writes what is pending if it is due at now (ms), and returns
	// after how many ms to call again, 0 for nothing pending. Executor's
	// goroutine only, like Flush.
	FlushIfDue(now uint64) (wait uint64, err error)
	Flush() error
}

// Executor runs a block's requests against the state, in order, and commits
// the result. txs[i] is the decoded Requests[i], nil for other kinds. An error
// is fatal: disk or determinism, never a refused transaction.
type Executor interface {
	Execute(b *ledger.Block, txs []*ledger.Transaction) (*executor.Result, error)
	// Running names the call that Execute is in, or nil.
	Running() *executor.Call
	// Touched names the key that this call asked for or wrote last, as ledger.ShownKey
	// does; "" for none.
	Touched() string
}

// Peers is how the chain reaches other nodes' blocks.
type Peers interface {
	// CatchUp fetches what follows tip, as far as certificates prove it, and
	// hands each block to append in order. It is bounded in time; peers that do
	// not answer are no error, an error of append is returned.
	CatchUp(ctx context.Context, append func(*ledger.Block, *ledger.Certificate) error) error
	// Follow does the same for ever, until ctx ends or append fails.
	Follow(ctx context.Context, append func(*ledger.Block, *ledger.Certificate) error) error
}

// Config is what a chain needs. Zero durations mean the documented default.
type Config struct {
	ChainID  ledger.Hash
	Store    *store.Store
	State    State
	Executor Executor
	Peers    Peers

	// Votes are the vote keys that this node holds. While the config in force
	// names one of them, the node orders and signs votes and seals with it;
	// otherwise, and always with none, it observes.
	Votes []ledger.Signer
	// NewEngine makes the ordering engine of a replica; needed with Votes. An error
	// that is consensus.ErrMayNotVote makes the node observe until the config
	// names another of its keys; every other one ends Run.
	NewEngine func(app consensus.App, r Replica) (consensus.Engine, error)
	// Spread hands a request to every validator's node, as an engine does by
	// itself; needed to submit while observing. It never blocks, and fails if
	// nobody could be reached.
	Spread func(req []byte) error

	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// SealDelay is how long the leader waits for further requests before it
	// seals; default 8 ms. Shorter certifies sooner on an idle network, longer
	// leaves the pipeline to the next request.
	SealDelay time.Duration
	// SealFallback is how long the others wait for the leader's seal; default 1 s.
	SealFallback time.Duration
	// RootWait bounds the wait for the own executor before roots are compared;
	// default 3 s.
	RootWait time.Duration
	// ContractLimit is how long one block may execute before the node halts with
	// an alarm; default 30 s. It never decides an outcome.
	ContractLimit time.Duration
	// QueueBlocks is how many delivered blocks may wait for execution; default 64.
	QueueBlocks int
	// PoolUnits bounds what waits to be ordered; default 20,000. A request is one
	// unit, and one more for every whole KiB. The engine must take half as many
	// requests more.
	PoolUnits int
	// Registered reports whether a key may act for a member in the newest state.
	// It is asked about forwarded transactions, at most once a second and key;
	// nil: not asked.
	Registered func(org string, key ledger.Address) (bool, error)
	// Witness hears what validators say against each other; nil: nobody does.
	Witness Witness
	// VerifiedCache is how many checked requests are remembered; default 40,000.
	VerifiedCache int

	Logger *slog.Logger // default slog.Default
	// OnConfig hears that a further config is in force, on the goroutine that
	// appended its block: it must not block.
	OnConfig func()
	// OnExecuted hears of every executed block, on the executor's goroutine: it
	// must not block.
	OnExecuted func(*executor.Result)
}

func (c *Config) check() error {
	var errs []error
	if c.Store == nil || c.State == nil || c.Executor == nil || c.Peers == nil {
		errs = append(errs, errors.New("store, state, executor and peers are needed"))
	}
	if len(c.Votes) > 0 && c.NewEngine == nil {
		errs = append(errs, errors.New("vote keys need an engine"))
	}
	if c.OnConfig == nil {
		c.OnConfig = func() {}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.SealDelay, 8 * time.Millisecond}, {&c.SealFallback, time.Second}, {&c.RootWait, 3 * time.Second}, {&c.ContractLimit, 30 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.QueueBlocks == 0 {
		c.QueueBlocks = 64
	}
	if c.PoolUnits == 0 {
		c.PoolUnits = 20_000
	}
	if c.VerifiedCache == 0 {
		c.VerifiedCache = 40_000
	}
	return errors.Join(errs...)
}

// Chain is a node's copy of the ledger, growing. Make one with New and run it
// with Run.
type Chain struct {
	cfg Config
	log *slog.Logger

	role    atomic.Pointer[role]           // nil while this node observes
	refused map[ledger.Address]bool        // vote keys whose engine was refused; owned by Run
	mute    atomic.Pointer[ledger.Address] // the last of them

	verified *verifiedCache
	shares   *shares
	fair     fair
	recent   recentIDs
	votes    *voteCache
	waiters  *waiters

	engine atomic.Pointer[engineBox] // nil until the engine was made

	appendMu sync.Mutex    // serialises append: engine, catch-up and follower
	checked  *parsed       // last proposal checked or assembled; owned by the engine's calls
	queue    chan *parsed  // appended blocks on their way to the executor
	closed   bool          // queue is; guarded by appendMu
	done     chan struct{} // closed when execution has ended, or hangs for good
	doneOnce sync.Once
	failOnce sync.Once
	failure  chan struct{} // closed after the first fatal error, which mutedBy holds
	mutedBy  atomic.Pointer[error]
	unsealed atomic.Uint64 // newest executed height whose root matters
	sealWake chan struct{} // capacity 1: unsealed has risen

	nextExpiry uint64 // block time of the next look for expired requests; owned by the executor's goroutine
}

var (
	_ consensus.App     = (*Chain)(nil)
	_ consensus.Witness = (*Chain)(nil)
)

type engineBox struct{ consensus.Engine }

// New returns a chain over an opened store and state. It starts nothing.
func New(cfg Config) (*Chain, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	c := &Chain{
		cfg:      cfg,
		log:      cfg.Logger,
		verified: newVerifiedCache(cfg.VerifiedCache),
		shares:   newShares(cfg.PoolUnits),
		votes:    newVoteCache(),
		waiters:  newWaiters(),
		queue:    make(chan *parsed, cfg.QueueBlocks),
		done:     make(chan struct{}),
		sealWake: make(chan struct{}, 1),
		failure:  make(chan struct{}),
		refused:  make(map[ledger.Address]bool),
	}
	return c, nil
}

// Config returns the config in force after the newest block.
func (c *Chain) Config() *ledger.Config { return c.cfg.Store.Tip().Config }

// Tip returns the newest appended block: certified and synced.
func (c *Chain) Tip() store.Tip { return c.cfg.Store.Tip() }

// EngineStatus returns what the ordering engine says of itself; the zero status
// while there is none.
func (c *Chain) EngineStatus() consensus.Status {
	if e := c.engine.Load(); e != nil {
		return e.Status()
	}
	return consensus.Status{}
}

// Step hands an engine message of an authenticated validator to the engine. It
// may block: that is the flow control towards the peer.
func (c *Chain) Step(from consensus.ReplicaID, msg []byte) {
	if e := c.engine.Load(); e != nil && c.mutedBy.Load() == nil {
		e.Step(from, msg)
	}
}

// Run replays what the state lacks, catches up with the peers, and then orders
// or follows, as the config in force says, until ctx ends. Every goroutine it started
// has ended when it returns. An error means that the node must stop.
func (c *Chain) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The executor outlives the others: it takes what they appended.
	go c.executeLoop()
	err := c.orderOrFollow(ctx)
	c.closeQueue()
	<-c.done
	if ferr := c.failed(); ferr != nil {
		return ferr
	}
	if ferr := c.cfg.State.Flush(); ferr != nil {
		return fmt.Errorf("flush state: %w", ferr)
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// closeQueue lets the executor end. An engine that could not be stopped in time may
// still append: it is refused from here on.
func (c *Chain) closeQueue() {
	c.appendMu.Lock()
	defer c.appendMu.Unlock()
	c.closed = true
	close(c.queue)
}

func (c *Chain) orderOrFollow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopWatch := make(chan struct{})
	watchDone := make(chan struct{})
	go func() { // a failed executor ends ordering
		defer close(watchDone)
		select {
		case <-c.failure:
			cancel(c.failed())
		case <-stopWatch:
		}
	}()
	defer func() { close(stopWatch); <-watchDone }()

	if err := c.replay(ctx); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if err := c.resumeSeal(); err != nil {
		return fmt.Errorf("look for an uncertified root: %w", err)
	}
	return c.takePart(ctx)
}

// fail records the first fatal error and mutes the node.
func (c *Chain) fail(err error) {
	c.mutedBy.CompareAndSwap(nil, &err)
	c.failOnce.Do(func() { close(c.failure) })
}

func (c *Chain) failed() error {
	if e := c.mutedBy.Load(); e != nil {
		return *e
	}
	return nil
}

func (c *Chain) membership() consensus.Membership {
	conf := c.Config()
	m := consensus.Membership{ConfigSeq: conf.Seq}
	for _, v := range conf.Validators {
		m.Replicas = append(m.Replicas, consensus.ReplicaID(v.ID))
	}
	return m
}

// lastDecision rebuilds the newest block as the engine decided it.
func (c *Chain) lastDecision() (consensus.Decision, error) {
	h := c.Tip().Height
	if h == 0 {
		return consensus.Decision{}, nil
	}
	b, err := c.cfg.Store.Block(h)
	if err != nil {
		return consensus.Decision{}, err
	}
	cert, err := c.cfg.Store.Certificate(h)
	if err != nil {
		return consensus.Decision{}, err
	}
	d := consensus.Decision{Proposal: proposalOf(b), View: cert.View}
	for _, v := range cert.Votes {
		d.Votes = append(d.Votes, consensus.Vote{Replica: consensus.ReplicaID(v.Validator), Signature: v.Sig[:]})
	}
	return d, nil
}
