// Package bft is the Byzantine-fault-tolerant ordering engine: the SmartBFT
// library behind consensus.Engine. It is the only package that imports it.
//
// It owns the engine's write-ahead log, the lifetime of the library's
// components, and every guard against what is known of this version of the
// library; DESIGN.md lists the facts, guards and tests.
//
// It promises what package consensus promises, with up to f of n >= 3f+1
// replicas arbitrarily faulty; that no message of another replica makes it
// panic; that a replica whose disk or application failed sends nothing more;
// and that a replica does not start on a log that may make it vote twice.
//
// It leaves to others: authenticating peers, checking requests before they are
// submitted, fetching missed decisions (App.CatchUp), and remembering requests
// delivered long ago.
package bft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
)

// Engine implements consensus.Engine. Make one with Open.
type Engine struct {
	cfg    Config
	log    *log
	resume restart
	// promises are replaced when the library restarts, while none of its
	// goroutines runs.
	promises  *promises
	logger    *libLogger
	inbound   *inbound
	garbage   limiter
	meter     viewMeter
	encoded   encodeCache
	behind    lag
	left      overtaken
	overdue   insistence
	asked     asked
	standoff  standoff
	ballot    ballot
	led       led
	overheard overheard
	fresh     refresh
	ahead     *ahead
	rebuild   rebuild
	handing   atomic.Pointer[handover] // nil until something was delivered

	members atomic.Pointer[consensus.Membership] // never nil
	voted   atomic.Uint64                        // highest height voted for
	height  atomic.Uint64                        // of last

	// appMu serialises Assemble, CheckLive, Deliver and CatchUp of the App and
	// guards the four below.
	appMu        sync.Mutex
	last         consensus.Decision
	batchSize    int // requests in the last proposal assembled here
	checked      consensus.Proposal
	checkedInfos []consensus.RequestInfo // what CheckLive found in checked

	state atomic.Int32 // stateNew …
	// starting is what the library's own goroutines use, set before any of them
	// runs; current is for everyone else, set once the library has started.
	starting, current atomic.Pointer[instance]
	runCtx            context.Context // of the instance; read by library goroutines

	failure  atomic.Pointer[error]
	failOnce sync.Once
	failedCh chan struct{} // closed once failure is set

	restarting atomic.Bool
	restartCh  chan struct{} // holds one token while restarting is set

	adopted chan struct{} // holds one token after a change of membership

	removeOnce sync.Once
	removed    chan struct{} // closed once a decision dropped this replica

	counters counters
}

const (
	stateNew int32 = iota
	stateRunning
	stateEnded
)

// counters are monotonic.
type counters struct {
	sent, received, refused, held, decided, catchUps, restarts, reliefs, repeats, records, bytes atomic.Uint64
}

// Counters are totals since Open, for metrics.
type Counters struct {
	// MessagesSent, MessagesReceived, MessagesRefused count engine messages;
	// refused ones were malformed or from a stranger.
	MessagesSent, MessagesReceived, MessagesRefused uint64
	// MessagesHeld counts messages that the library got later than they came,
	// or again for a view that began anew.
	MessagesHeld uint64
	// Decided counts decisions delivered by ordering, CatchUps the calls of
	// App.CatchUp, ViewChanges the views entered after the first.
	Decided, CatchUps, ViewChanges uint64
	// Restarts counts how often the library was stopped and started again from
	// its log because its memory and the log had come apart.
	Restarts uint64
	// Reliefs counts how often the library waited for what could not come any more
	// and was helped on.
	Reliefs uint64
	// Repeats counts how often messages on an undecided proposal were sent again.
	Repeats uint64
	// LogRecords and LogBytes count what was synced to the write-ahead log.
	LogRecords, LogBytes uint64
}

var _ consensus.Engine = (*Engine)(nil)

// Open opens or creates the write-ahead log and checks it against the last
// decision; it starts nothing. The caller has caught up with its peers before.
// It fails with ErrLogMismatch if this replica might vote twice. An engine
// that is never run must be closed.
func Open(cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	last, err := metaOf(cfg.Last)
	if err != nil {
		return nil, fmt.Errorf("consensus/bft: last decision: %w", err)
	}
	if last.height > 0 && len(cfg.Last.Votes) == 0 {
		return nil, fmt.Errorf("consensus/bft: last decision, at height %d, comes without its votes; a view change needs them", last.height)
	}
	files, err := logFiles(cfg.WALDir)
	if err != nil {
		return nil, fmt.Errorf("consensus/bft: list write-ahead log: %w", err)
	}
	if files == 0 && last.height > 0 && !cfg.NewReplica {
		return nil, fmt.Errorf("consensus/bft: %w: block store ends at height %d, but there is no write-ahead log in %s: without it this replica may vote twice; run this node as an observer until a configuration change admits it with a new vote key",
			ErrLogMismatch, last.height, cfg.WALDir)
	}
	e := &Engine{
		cfg:       cfg,
		last:      cfg.Last,
		failedCh:  make(chan struct{}),
		removed:   make(chan struct{}),
		restartCh: make(chan struct{}, 1),
		adopted:   make(chan struct{}, 1),
		ahead:     newAhead(),
	}
	e.height.Store(last.height)
	members := cfg.Membership
	e.members.Store(&members)
	e.meter.view.Store(last.view)
	e.logger = &libLogger{log: cfg.Logger, fail: e.fail, restart: e.restart, heed: e.heed}
	e.inbound = &inbound{self: cfg.Self, max: cfg.Settings.MessageMaxBytes, verify: cfg.App.Verify, members: e.membership}
	if err := settle(cfg.WALDir); err != nil {
		return nil, fmt.Errorf("consensus/bft: %w", err)
	}
	if err := e.openLog(last); err != nil {
		return nil, fmt.Errorf("consensus/bft: %w", err)
	}
	return e, nil
}

// Init makes the empty write-ahead log of a replica that has never voted under
// its vote key; it belongs where a node's directory is made, never where a node
// starts. With it a replica may start for the first time although the others
// have made blocks; without it Open cannot tell that from a lost log. It fails
// if dir holds a log already.
func Init(dir string) error {
	files, err := logFiles(dir)
	if err != nil {
		return fmt.Errorf("consensus/bft: list write-ahead log: %w", err)
	}
	if files > 0 {
		return fmt.Errorf("consensus/bft: %s holds a write-ahead log already", dir)
	}
	l, _, err := openLog(dir, &libLogger{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("consensus/bft: %w", err)
	}
	return l.close()
}

// openLog opens the log, reads the promises from it and decides how to resume
// after the last decision.
func (e *Engine) openLog(last meta) error {
	l, records, err := openLog(e.cfg.WALDir, e.logger)
	if err != nil {
		return err
	}
	t, err := readTail(records)
	if err == nil {
		err = t.check(e.cfg.Self, e.last, e.cfg.LastAlone && e.last.Proposal.Height == e.cfg.Last.Proposal.Height)
	}
	if err != nil {
		return errors.Join(err, l.close())
	}
	e.log, e.promises, e.resume = l, t.promises, t.resume(records, last)
	raise(&e.voted, t.voted(e.cfg.Self, e.last))
	return nil
}

// Append implements the library's WriteAheadLog. The library panics on an
// error, so it never sees one: the engine is marked failed, which mutes it
// before the message that depends on this record could be sent.
func (e *Engine) Append(entry []byte, truncateTo bool) error {
	kind := byte(0)
	if len(entry) > 0 {
		kind = entry[0]
	}
	if kind == recordCommit {
		defer e.ballot.counted()
	}
	if e.muted() {
		return nil
	}
	var err error
	if kind == recordNewView {
		err = e.beginView(entry, truncateTo)
	} else {
		err = e.promises.append(entry, truncateTo, e.log.write)
	}
	if err != nil {
		e.fail(err)
		return nil
	}
	e.counters.records.Add(1)
	e.counters.bytes.Add(uint64(len(entry)))
	return nil
}

// Close releases the log of an engine that was never run, and does nothing to
// one that was.
func (e *Engine) Close() error {
	if !e.state.CompareAndSwap(stateNew, stateEnded) {
		return nil
	}
	return e.log.close()
}

// Submit implements consensus.Engine.
func (e *Engine) Submit(_ context.Context, req []byte) error {
	if err := e.pool(req); err != nil { // a known one is passed on too: others may have missed it
		return err
	}
	for _, id := range e.membership().Replicas {
		if id != e.cfg.Self {
			e.cfg.Transport.Forward(id, req)
		}
	}
	return nil
}

// Accept implements consensus.Engine.
func (e *Engine) Accept(_ context.Context, req []byte) error {
	return e.pool(req)
}

func (e *Engine) pool(req []byte) error {
	in := e.current.Load()
	if in == nil || e.muted() {
		return consensus.ErrNotRunning
	}
	if len(req) > e.cfg.Settings.RequestMaxBytes {
		return fmt.Errorf("%w: %d bytes, limit %d", consensus.ErrTooLarge, len(req), e.cfg.Settings.RequestMaxBytes)
	}
	return in.submit(req)
}

// Step implements consensus.Engine.
func (e *Engine) Step(from consensus.ReplicaID, msg []byte) {
	in := e.current.Load()
	if in == nil || e.muted() {
		return
	}
	e.counters.received.Add(1)
	m, err := e.inbound.decode(from, msg)
	if err != nil {
		e.counters.refused.Add(1)
		if dropped, ok := e.garbage.allow(); ok {
			e.cfg.Logger.Warn("consensus message refused", "from", from, "bytes", len(msg), "reason", err, "left_out", dropped)
		}
		return
	}
	e.witness(from, m)
	if e.stale(m) {
		return
	}
	e.overheard.note(from, from == leaderOf(e.meter.view.Load(), e.membership()), m, time.Now())
	if h := m.GetHeartBeat(); h != nil && from == leaderOf(h.GetView(), e.membership()) {
		s := e.cfg.Settings
		h.Seq = e.behind.hear(h.GetSeq(), e.height.Load(), time.Now(), time.Duration(s.TicksBehind)*s.Tick)
	}
	if svd := m.GetViewData(); svd != nil && !e.shown(svd) {
		return
	}
	if e.ahead.hear(from, m, e.height.Load(), e.membership(), time.Now(), e.cfg.Settings.RepeatTimeout) {
		in.cons.HandleMessage(uint64(from), m)
	}
	if nv := m.GetNewView(); nv != nil {
		e.standoff.laid(from, nv, e.membership())
	}
	if vc := m.GetViewChange(); vc != nil {
		e.followViews(in, from, vc.GetNextView())
	}
}

// stale reports that m is a vote cast in a view that this replica has left. The
// library would find out, but lets one vote of each replica in: the vote that its
// sender casts now, for the same proposal taken over, would find the place taken.
func (e *Engine) stale(m *pb.Message) bool {
	c := m.GetCommit()
	if c == nil {
		return false
	}
	view, _, err := openVote(c.GetSignature().GetValue())
	return err != nil || view < e.meter.current.Load()
}

// Forget implements consensus.Engine.
func (e *Engine) Forget(reqs []consensus.RequestInfo) {
	if in := e.current.Load(); in != nil {
		in.forget(reqs)
	}
}

// Status implements consensus.Engine.
func (e *Engine) Status() consensus.Status {
	s := consensus.Status{View: e.meter.view.Load(), VotedHeight: e.voted.Load()}
	in := e.current.Load()
	if in == nil || e.muted() {
		return s
	}
	s.Running = true
	s.Leader = leaderOf(s.View, e.membership())
	s.Pool = in.size()
	return s
}

// Counters returns totals for metrics.
func (e *Engine) Counters() Counters {
	return Counters{
		MessagesSent:     e.counters.sent.Load(),
		MessagesReceived: e.counters.received.Load(),
		MessagesRefused:  e.counters.refused.Load(),
		MessagesHeld:     e.counters.held.Load(),
		Decided:          e.counters.decided.Load(),
		CatchUps:         e.counters.catchUps.Load(),
		ViewChanges:      e.meter.changes.Load(),
		Restarts:         e.counters.restarts.Load(),
		Reliefs:          e.counters.reliefs.Load(),
		Repeats:          e.counters.repeats.Load(),
		LogRecords:       e.counters.records.Load(),
		LogBytes:         e.counters.bytes.Load(),
	}
}

// membership returns the one in force; it is immutable.
func (e *Engine) membership() consensus.Membership { return *e.members.Load() }

// fail records the first failure, mutes the engine and wakes Run. It may be
// called from any goroutine, under any lock.
func (e *Engine) fail(err error) {
	e.failOnce.Do(func() {
		e.failure.Store(&err)
		close(e.failedCh)
	})
}

// restart stops the library and starts it again from its log. Until then it is
// muted, so that what it does from here on has never happened.
func (e *Engine) restart(reason error) {
	if e.restarting.CompareAndSwap(false, true) {
		e.cfg.Logger.Warn("consensus engine restarts from its log", "reason", reason)
		e.counters.restarts.Add(1)
		e.restartCh <- struct{}{}
	}
}

// muted reports that the engine failed or restarts: it must not send, log or
// vote.
func (e *Engine) muted() bool { return e.failure.Load() != nil || e.restarting.Load() }
