package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
)

// source is a peer that says to have blocks this node lacks.
type source struct {
	peer   Peer
	height ledger.Height // that it says to have; rises with its answers
	proven bool
}

// CatchUp fetches the blocks above the tip, as far as any peer has them, checks
// them and hands them to add in order. It returns when no peer has more, when
// none helps any more, after MaxCatchUp, or when ctx ends: all of that is nil, as
// is a network without peers. Errors: what add returned, ErrForked, ErrBehind, a
// failed read of the store. All are fatal.
func (c *Client) CatchUp(ctx context.Context, add Append) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.MaxCatchUp)
	defer cancel()
	start, from := time.Now(), c.cfg.Store.Tip().Height
	sources, err := c.ahead(ctx)
	if err == nil {
		err = c.farBehind(sources)
	}
	if err == nil && len(sources) > 0 {
		err = c.drain(ctx, sources, add)
	}
	if got := c.cfg.Store.Tip().Height; got > from {
		c.log.Info("caught up with peers", "from", from, "to", got, "took", time.Since(start).Round(time.Millisecond))
	}
	if err != nil {
		return fmt.Errorf("catch up from height %d: %w", from, err)
	}
	return nil
}

// farBehind is ErrBehind if this node lacks too much, by a proven height or by the
// word of more validators than can be dishonest.
func (c *Client) farBehind(sources []*source) error {
	tip := c.cfg.Store.Tip()
	if c.cfg.FarBehind == 0 {
		return nil
	}
	said := 0
	for _, s := range sources {
		if s.height <= tip.Height+c.cfg.FarBehind {
			continue
		}
		if s.peer.Validator != 0 {
			said++
		}
		if s.proven || s.peer.Entry || said > faulty(tip.Config) {
			return fmt.Errorf("%w: this node is at height %d, others at %d", ErrBehind, tip.Height, s.height)
		}
	}
	return nil
}

// faulty is how many of c's validators can be dishonest without harm.
func faulty(c *ledger.Config) int { return ledger.Faults(len(c.Validators)) }

// grace is how long slower peers may answer after one peer was found ahead.
const grace = 150 * time.Millisecond

// ahead asks every peer where it stands and returns those above the tip, proven
// heights and high ones first. It waits for those that do not answer only while
// it has not heard enough: a peer that is ahead, or as many validators that are
// not as make a quorum with this node.
func (c *Client) ahead(ctx context.Context) ([]*source, error) {
	peers := c.cfg.Peers()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		source *source
		err    error
	}
	answers := make(chan answer, len(peers))
	nonce := newNonce()
	for _, p := range peers {
		go func() {
			st, proven, err := c.status(ctx, p, nonce)
			if err != nil {
				answers <- answer{&source{peer: p}, err}
				return
			}
			answers <- answer{&source{p, st.Height, proven}, nil}
		}()
	}
	tip := c.cfg.Store.Tip()
	enough := ledger.Quorum(len(tip.Config.Validators)) - 1
	var out []*source
	var failure error
	var late <-chan time.Time
	level := 0                                 // validators that are not ahead
	for left := len(peers); left > 0; left-- { // every goroutine answers
		var a answer
		select {
		case a = <-answers:
		case <-late:
			cancel()
			a = <-answers
		}
		switch {
		case a.err != nil && ctx.Err() == nil:
			if err := c.blame(a.source.peer.ID, a.err, false); err != nil {
				failure = err
				cancel()
			}
		case a.err != nil:
		case a.source.height > tip.Height:
			out = append(out, a.source)
		case a.source.peer.Validator != 0:
			level++
		}
		if late == nil && (len(out) > 0 || level >= enough) {
			late = time.After(grace)
		}
	}
	slices.SortStableFunc(out, func(a, b *source) int {
		if a.proven != b.proven {
			if a.proven {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.height, a.height)
	})
	return out, failure
}

// chunk is what a source answered.
type chunk struct {
	source *source
	from   ledger.Height
	answer *blocksAnswer
	ready  []checked // what was checked of it already
	err    error
}

// drain fetches from the sources in turn until none has more. While the blocks of
// one answer are appended, the next source sends the next, which are checked: two
// answers are in memory at most.
func (c *Client) drain(ctx context.Context, sources []*source, add Append) error {
	ctx, cancel := context.WithCancel(ctx)
	var pending chan chunk
	defer func() { // no request outlives the call
		cancel()
		if pending != nil {
			<-pending
		}
	}()
	var target ledger.Height
	for _, s := range sources {
		if s.proven {
			target = max(target, s.height)
		}
	}
	turn := 0
	gone := prunedBy{}
	ask := func(from ledger.Height) {
		src := sources[turn%len(sources)]
		turn++
		limit := c.cfg.FetchTimeout
		if len(sources) > 1 {
			limit /= 4
		}
		pending = make(chan chunk, 1)
		go func(out chan<- chunk) {
			ch := chunk{source: src, from: from}
			if ch.answer, ch.err = c.fetch(ctx, src.peer.ID, from, 0, limit); ch.err == nil {
				ch.ready = prepare(ch.answer.Blocks, from, c.cfg.Store.Tip().Config)
			}
			out <- ch
		}(pending)
	}
	for ctx.Err() == nil {
		next := c.cfg.Store.Tip().Height + 1
		if sources = slices.DeleteFunc(sources, func(s *source) bool { return s.height < next }); len(sources) == 0 {
			return nil
		}
		if pending == nil {
			ask(next)
		}
		ch := <-pending
		pending = nil
		if ch.from > next { // the chunk before was cut short
			continue
		}
		err := ch.err
		if err == nil {
			ch.source.height = ch.answer.Tip
			if after := ch.from + ledger.Height(len(ch.answer.Blocks)); len(ch.answer.Blocks) > 0 && ch.answer.Tip >= after {
				ask(after)
			}
			err = c.take(ctx, ch.answer, ch.ready, ch.from, add)
		}
		if err != nil && ctx.Err() == nil {
			if fatal := c.blame(ch.source.peer.ID, err, false); fatal != nil {
				return fatal
			}
			if err := gone.add(ch.source.peer, err, c.cfg.Store.Tip()); err != nil {
				return err
			}
			sources = slices.DeleteFunc(sources, func(s *source) bool { return s == ch.source })
		}
		height := c.cfg.Store.Tip().Height
		c.cfg.OnProgress(Progress{Height: height, Target: max(target, height)})
	}
	return nil
}

// prunedBy are the validators that said to keep the next block no more.
type prunedBy map[uint64]bool

// add takes note of what a peer's error says, and returns ErrBehind once more
// validators have said it than can be dishonest.
func (g prunedBy) add(p Peer, err error, tip store.Tip) error {
	if !errors.Is(err, ErrPruned) || p.Validator == 0 && !p.Entry {
		return nil
	}
	if g[p.Validator] = true; p.Entry || len(g) > faulty(tip.Config) {
		return fmt.Errorf("%w: %d validators keep block %d no more", ErrBehind, len(g), tip.Height+1)
	}
	return nil
}

// blame logs what a peer did and returns nil, or returns err if it was not the
// peer's. What is known of a peer already is not said aloud again.
func (c *Client) blame(peer string, err error, known bool) error {
	var lied fault
	var silent silence
	at := func(l slog.Level) slog.Level {
		if known {
			return slog.LevelDebug
		}
		return l
	}
	switch {
	case errors.Is(err, ErrPruned):
		c.log.Log(context.Background(), at(slog.LevelInfo), "peer no longer keeps the next block and is left for others", "peer", peer, "reason", err)
	case errors.As(err, &lied):
		c.log.Log(context.Background(), at(slog.LevelWarn), "peer answers wrongly and is left for others", "peer", peer, "reason", err)
	case errors.As(err, &silent):
		c.log.Log(context.Background(), at(slog.LevelInfo), "peer does not answer and is left for others", "peer", peer, "reason", err)
	default:
		return err
	}
	return nil
}
