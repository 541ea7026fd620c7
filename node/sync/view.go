package sync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	stdsync "sync"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
	"golang.org/x/time/rate"
)

// ViewConfig is what a View needs. Zero durations mean the default.
type ViewConfig struct {
	Store   *store.Store
	Request Request
	Peers   func() []Peer // the other nodes; only validators are asked
	// WaitExecuted returns nil when this node has executed h, or ctx's error.
	WaitExecuted func(ctx context.Context, h ledger.Height) error
	// Self returns this node's validator id, 0 while it observes (as with Self
	// nil), and the height it has voted for, as in ServerConfig; while that is 0,
	// this node's own vote does not count (but at genesis).
	Self func() (id uint64, voted ledger.Height)

	MaxRound time.Duration // of asking and waiting for the own execution, default 2 s
	Logger   *slog.Logger  // default slog.Default
}

func (c *ViewConfig) check() error {
	if c.Store == nil || c.Request == nil || c.Peers == nil || c.WaitExecuted == nil {
		return errors.New("view: store, request, peers and executed height are needed")
	}
	if c.Self == nil {
		c.Self = func() (uint64, ledger.Height) { return 0, 0 }
	}
	setDefault(&c.MaxRound, 2*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// View tells how old this node's executed state can be: whatever was
// acknowledged anywhere more than its age ago has been executed here.
//
// A round sends a nonce to all validators. A block that was certified before
// that had the votes of a quorum, every two quorums share an honest validator,
// and that one answers with a voted height at least as high. When a quorum has
// answered and this node has executed the highest height among these answers, it
// has executed that block: its view is as old as the nonce.
type View struct {
	cfg ViewConfig

	mu      stdsync.Mutex
	since   time.Time     // when the nonce of the last good round was sent; zero for none
	running chan struct{} // closed when the round under way ends; nil for none
	lastErr error         // why the last round failed, or nil

	complain rate.Sometimes // about peers' answers
}

// NewView returns a view that was never established; it starts nothing.
func NewView(cfg ViewConfig) (*View, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &View{cfg: cfg, complain: rate.Sometimes{Interval: 10 * time.Second}}, nil
}

// ErrStale means that the view could not be brought to the age wanted.
var ErrStale = errors.New("view is too old: not enough validators answer, or this node lags behind them")

// Age returns how old the view is without asking anybody; false if it was never
// established.
func (v *View) Age() (time.Duration, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Since(v.since), !v.since.IsZero()
}

// Fresh returns the view's age, at most maxAge. It asks the validators only when
// the view is older than half of that; calls at the same time share a round.
// ErrStale: the round failed; the age returned with it is the one there is (a
// very large one if there never was any).
func (v *View) Fresh(ctx context.Context, maxAge time.Duration) (time.Duration, error) {
	for asked := false; ; {
		v.mu.Lock()
		age, err := time.Since(v.since), v.lastErr
		running := v.running
		switch {
		case age <= maxAge/2, asked && age <= maxAge:
			v.mu.Unlock()
			return age, nil
		case asked && running == nil:
			v.mu.Unlock()
			return age, fmt.Errorf("%w (%w)", ErrStale, err)
		case running == nil:
			v.running = make(chan struct{})
			v.mu.Unlock()
			v.round(ctx)
			asked = true
			continue
		}
		v.mu.Unlock()
		select {
		case <-running: // its nonce may be too old for us: then one of our own follows
		case <-ctx.Done():
			return age, ctx.Err()
		}
	}
}

// round makes one round and records how it went. The caller has set running.
func (v *View) round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.MaxRound)
	defer cancel()
	began := time.Now() // before the nonce exists
	err := v.ask(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lastErr = err; err == nil && began.After(v.since) {
		v.since = began
	}
	close(v.running)
	v.running = nil
}

// ask makes rounds until one holds under the config that is in force at its
// end. If a config block was certified before the nonce, the votes that prove it
// are among the answers, and those of the validators it appointed may not be.
func (v *View) ask(ctx context.Context) error {
	for {
		config := v.cfg.Store.Tip().Config
		if err := v.askUnder(ctx, config); err != nil {
			return err
		}
		if v.cfg.Store.Tip().Config.Seq == config.Seq {
			return nil
		}
	}
}

// askUnder returns nil when a quorum of config has answered a fresh nonce and
// this node has executed what they have voted for.
func (v *View) askUnder(ctx context.Context, config *ledger.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg stdsync.WaitGroup
	defer wg.Wait() // after cancel
	defer cancel()
	n := len(config.Validators)
	t := tally{need: ledger.Quorum(n)}
	self, voted := v.cfg.Self() // before the tip, as in Server.Status
	if config.Validator(self) != nil {
		if tip := v.cfg.Store.Tip().Height; votedKnown(voted, tip) {
			t.add(max(voted, tip))
		}
	}
	answers := make(chan *ledger.Height, n)
	asked := v.send(ctx, &wg, config, self, answers)
	executed := make(chan error, n)
	failure := errors.New("no other is a peer that answers")
	for waiting := 0; ; {
		if h, ok := t.lower(); ok {
			waiting++
			wg.Go(func() { executed <- v.cfg.WaitExecuted(ctx, h) })
		}
		if asked == 0 && waiting == 0 {
			return fmt.Errorf("%d of %d validators have answered, %d are needed: %w", len(t.heights), n, t.need, failure)
		}
		select {
		case a := <-answers:
			if asked--; a != nil {
				t.add(*a)
			}
		case err := <-executed:
			if err == nil {
				return nil
			}
			if waiting--; waiting == 0 {
				failure = fmt.Errorf("height %d is voted for but not executed here: %w", t.target, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %d validators have answered, %d are needed, up to height %d: %w", len(t.heights), n, t.need, t.target, ctx.Err())
		}
	}
}

// tally collects voted heights, one of each validator.
type tally struct {
	need    int // how many make a quorum
	heights []ledger.Height
	target  ledger.Height // lowest that lower has returned
	given   bool
}

func (t *tally) add(h ledger.Height) {
	t.heights = append(t.heights, h)
	slices.Sort(t.heights)
}

// lower returns the highest voted height of the quorum that voted lowest, when
// that is new or less than before. Any quorum proves freshness; a validator that
// exaggerates matters only while there is no quorum without it.
func (t *tally) lower() (ledger.Height, bool) {
	if len(t.heights) < t.need {
		return 0, false
	}
	h := t.heights[t.need-1]
	if t.given && h >= t.target {
		return 0, false
	}
	t.target, t.given = h, true
	return h, true
}

// send asks the validators of config that are peers and returns how many. Each
// answers once, nil if it cannot be counted.
func (v *View) send(ctx context.Context, wg *stdsync.WaitGroup, config *ledger.Config, self uint64, answers chan<- *ledger.Height) int {
	nonce := newNonce()
	req := encode(&statusRequest{tagStatus, nonce})
	asked := map[uint64]bool{self: true}
	for _, p := range v.cfg.Peers() {
		if asked[p.Validator] || config.Validator(p.Validator) == nil {
			continue
		}
		asked[p.Validator] = true
		wg.Go(func() {
			h, err := v.one(ctx, p, config, nonce, req)
			if err != nil && ctx.Err() == nil {
				v.complain.Do(func() {
					v.cfg.Logger.Warn("validator's status does not count", "peer", p.ID, "validator", p.Validator, "reason", err)
				})
			}
			answers <- h
		})
	}
	return len(asked) - 1
}

func (v *View) one(ctx context.Context, p Peer, config *ledger.Config, nonce ledger.Hash, req []byte) (*ledger.Height, error) {
	b, err := v.cfg.Request(ctx, p.ID, req)
	if err != nil {
		return nil, err
	}
	st, _, err := checkStatus(v.cfg.Store, b, nonce)
	if err != nil {
		return nil, err
	}
	if err := st.Verify(v.cfg.Store.ChainID(), nonce, config, p.Validator); err != nil {
		return nil, err
	}
	return &st.Voted, nil
}
