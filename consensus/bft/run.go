package bft

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/api"
	smartbft "github.com/hyperledger-labs/SmartBFT/pkg/consensus"
	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
)

// instance is one life of the library, from Start to Stop.
type instance struct {
	cons  *smartbft.Consensus
	ticks [2]*time.Ticker
	full  int // pool size at which a submission is refused without waiting

	rebuild *rebuild
}

func (e *Engine) newInstance() *instance {
	s := e.cfg.Settings
	in := &instance{full: s.PoolSize, rebuild: &e.rebuild}
	for i := range in.ticks {
		in.ticks[i] = time.NewTicker(s.Tick)
	}
	r := e.resume
	proposal, sigs := toLibraryDecision(e.last)
	in.cons = &smartbft.Consensus{
		Config:            e.cfg.library(),
		Application:       e,
		Assembler:         e,
		WAL:               e,
		WALInitialContent: r.records,
		Comm:              e,
		Signer:            e,
		Verifier:          e,
		RequestInspector:  e,
		Synchronizer:      e,
		Logger:            e.logger,
		Metrics:           api.NewMetrics(&e.meter),
		Metadata: &pb.ViewMetadata{
			ViewId:          r.meta.view,
			LatestSequence:  r.meta.height,
			DecisionsInView: r.meta.decisions,
		},
		LastProposal:      proposal,
		LastSignatures:    sigs,
		Scheduler:         in.ticks[0].C,
		ViewChangerTicker: in.ticks[1].C,
	}
	return in
}

// Run implements consensus.Engine.
func (e *Engine) Run(ctx context.Context) error {
	if !e.state.CompareAndSwap(stateNew, stateRunning) {
		return errors.New("consensus/bft: engine was already run or closed")
	}
	err := e.run(ctx)
	e.state.Store(stateEnded)
	if cerr := e.log.close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close write-ahead log: %w", cerr))
	}
	if err != nil {
		return fmt.Errorf("consensus/bft: %w", err)
	}
	return nil
}

// run lives through one instance of the library after the other.
func (e *Engine) run(ctx context.Context) error {
	var pooled [][]byte
	for {
		var again bool
		var err error
		pooled, again, err = e.live(ctx, pooled)
		if !again {
			return err
		}
		if err := e.reopen(); err != nil {
			return fmt.Errorf("restart engine: %w", err)
		}
	}
}

// live runs one instance until the engine ends or must restart; then it
// returns the requests pooled.
func (e *Engine) live(parent context.Context, requests [][]byte) (pooled [][]byte, again bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	e.runCtx = ctx
	in := e.newInstance()
	// Ticking until the library has stopped: committing a proposal taken over
	// in a view change waits for ticks and for nothing else.
	defer in.stopTicks()
	e.starting.Store(in)
	e.handing.Store(nil)
	e.fresh.end()
	e.rebuild.end()
	if err := e.start(in); err != nil {
		return nil, false, err
	}
	for _, r := range requests {
		_ = in.submit(r) // full or known: other replicas hold it too
	}
	e.current.Store(in)
	if e.resume.leave {
		in.cons.Complain(e.resume.meta.view, true)
	}
	var beside sync.WaitGroup
	beside.Go(func() { e.watch(ctx, in) })
	beside.Go(func() { e.pass(ctx, in) })
	if again = e.wait(ctx, in); again {
		pooled, _ = in.cons.Pool.NextRequests(e.cfg.Settings.PoolSize, math.MaxUint64, false)
	}
	e.current.Store(nil)
	cancel() // ends a catch-up and a batch that would delay the stop
	if err := e.stop(in); err != nil {
		select {
		case <-e.removed: // what is left of the library speaks to nobody any more
			e.cfg.Logger.Warn("consensus engine of a removed replica is left behind", "reason", err)
			return nil, false, consensus.ErrRemoved
		default:
		}
		return nil, false, err
	}
	beside.Wait()
	if cause := e.failure.Load(); cause != nil {
		return nil, false, *cause
	}
	select {
	case <-e.removed:
		return nil, false, consensus.ErrRemoved
	default:
	}
	return pooled, again && parent.Err() == nil, nil
}

// hurried is how much sooner and how many times a replica looks whether to repeat
// itself after a change of membership.
const hurried = 10

// wait returns when the instance must stop, and whether another must follow.
func (e *Engine) wait(ctx context.Context, in *instance) (again bool) {
	tick := time.NewTicker(e.cfg.Settings.RepeatTimeout)
	defer tick.Stop()
	relief := time.NewTicker(e.cfg.Settings.Tick)
	defer relief.Stop()
	normal := repeater{after: e.cfg.Settings.RepeatTimeout, steady: e.cfg.Settings.ForwardTimeout + e.cfg.Settings.ComplainTimeout}
	r, hurry := normal, 0
	var lying reminder
	for {
		select {
		case now := <-relief.C:
			e.relieve(now)
		case now := <-tick.C:
			e.repeat(&r, now)
			e.remind(&lying, in, now)
			if hurry--; hurry == 0 {
				tick.Reset(normal.after)
				r.after = normal.after
			}
		case <-e.adopted:
			// The replicas change their membership one after the other, and what
			// reaches one in the middle of it is lost.
			r, hurry = normal, hurried
			r.after = normal.after / hurried
			tick.Reset(r.after)
		case <-ctx.Done():
			return false
		case <-e.failedCh:
			return false
		case <-e.removed:
			return false
		case <-e.restartCh:
			return true
		}
	}
}

// reopen reads the log again after the library has stopped.
func (e *Engine) reopen() error {
	if err := e.log.close(); err != nil {
		return fmt.Errorf("close write-ahead log: %w", err)
	}
	last, err := metaOf(e.last)
	if err != nil {
		return err
	}
	if err := e.openLog(last); err != nil {
		return err
	}
	e.restarting.Store(false)
	return nil
}

// pause waits for d or until the instance ends.
func (e *Engine) pause(d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-e.failedCh:
	case <-e.runCtx.Done():
	}
}

// start runs Start on a goroutine of its own, which it may end (Panicf).
func (e *Engine) start(in *instance) error {
	done := make(chan error, 1)
	go func() {
		defer close(done)
		done <- in.cons.Start()
	}()
	err, ok := <-done
	if !ok { // Panicf, which has set the failure
		return errors.Join(errors.New("engine did not start"), *e.failure.Load())
	}
	if err != nil {
		return fmt.Errorf("start engine: %w", err)
	}
	return nil
}

// stop ends the library's goroutines. It gives up after StopTimeout: a
// goroutine that the library itself has left waiting for good must not keep
// the node from ending.
func (e *Engine) stop(in *instance) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.cons.Stop()
		// A change of membership that was under way may have restarted the
		// components that the first call stopped.
		in.cons.Stop()
	}()
	timeout := time.NewTimer(e.cfg.Settings.StopTimeout)
	defer timeout.Stop()
	relief := time.NewTicker(e.cfg.Settings.Tick)
	defer relief.Stop()
	for {
		select {
		case <-done:
			return nil
		case now := <-relief.C:
			e.relieve(now)
		case <-timeout.C:
			return fmt.Errorf("engine did not stop within %v", e.cfg.Settings.StopTimeout)
		}
	}
}

func (in *instance) stopTicks() {
	for _, t := range in.ticks {
		t.Stop()
	}
}

// Texts of the library's pool errors, whose values it does not export.
const (
	poolHasRequest   = "request already exists"
	poolHadRequest   = "request already processed"
	poolClosedPrefix = "pool closed"
)

// submit puts a request into the pool, past the library's SubmitRequest: that
// computes the request's identity three times and holds the lock that messages
// and membership changes need while it waits for room.
func (in *instance) submit(req []byte) error {
	if in.size() >= in.full {
		return consensus.ErrBusy
	}
	if !in.rebuild.wait(maxSubmitTimeout) {
		return consensus.ErrBusy
	}
	defer in.rebuild.pass()
	err := in.cons.Pool.Submit(req)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return consensus.ErrBusy
	case err.Error() == poolHasRequest, err.Error() == poolHadRequest:
		return nil
	case strings.HasPrefix(err.Error(), poolClosedPrefix):
		return consensus.ErrNotRunning
	default:
		return fmt.Errorf("pool request: %w", err)
	}
}

// forget removes requests; that one is absent is no error, and the pool keeps
// its name for a while and refuses it.
func (in *instance) forget(reqs []consensus.RequestInfo) {
	for _, r := range reqs {
		_ = in.cons.Pool.RemoveRequest(smart.RequestInfo{ClientID: r.Client, ID: r.ID})
	}
}

func (in *instance) size() int { return in.cons.Pool.Size() }
