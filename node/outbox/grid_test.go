package outbox

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNothingLeavesOffItsGrid(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // the clock stands still while something runs
		store, p := private(t, filepath.Join(dir, "p.db")), newPost()
		const grid = 10 * time.Millisecond
		base := time.Now().Add(35 * time.Millisecond)
		p.answers["lender"] = func() error {
			if off := time.Since(base) % grid; off != 0 {
				t.Errorf("attempt %v off the grid", off)
			}
			time.Sleep(3 * time.Millisecond)
			if p.mu.Lock(); len(p.sent) < 30 {
				defer p.mu.Unlock()
				return ErrNotSent
			}
			defer p.mu.Unlock()
			return nil
		}
		o, stop := start(t, config(store, p))
		for i := range 8 {
			it := answerTo("lender", fmt.Sprint(i))
			it.NotBefore, it.Grid = base, grid
			if i%2 == 1 {
				it.NotBefore = base.Add(-7 * grid) // its first slot is past already
			}
			must(t, o.Enqueue(t.Context(), it))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := rows(t, store); n != 0 || len(p.sent) < 30 {
			t.Errorf("%d rows left after %d attempts", n, len(p.sent))
		}
		stop()
		store.Close()
	})
}

func TestReleaseIsTheNextGridPoint(t *testing.T) {
	base := time.UnixMilli(1_000_000)
	it := Item{NotBefore: base, Grid: 10 * time.Millisecond}
	for offset, want := range map[time.Duration]time.Duration{
		-time.Second: 0, 0: 0, 1: 10 * time.Millisecond, 10 * time.Millisecond: 10 * time.Millisecond, 10*time.Millisecond + 1: 20 * time.Millisecond,
		95 * time.Millisecond: 100 * time.Millisecond,
		-time.Minute:          0, // as far ahead as anything is held back
		// Further: the clock was set back, and the grid goes on before it.
		-time.Hour: -time.Hour, -time.Hour + 1: -time.Hour + 10*time.Millisecond, -time.Minute - 1: -time.Minute,
	} {
		if got := release(it, base.Add(offset)).Sub(base); got != want {
			t.Errorf("at %v: %v, want %v", offset, got, want)
		}
	}
	if got := release(Item{}, base); !got.Equal(base) {
		t.Errorf("without a release time: %v", got)
	}
}

// The node's clock was an hour ahead, and is set right while answers wait or while
// the node is down.
func TestAClockThatIsSetBackKeepsNothingWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
		var ahead atomic.Int64
		ahead.Store(int64(time.Hour))
		cfg := config(store, p)
		cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())).Round(0) }
		p.answers["down"] = func() error { return fmt.Errorf("no connection: %w", ErrNotSent) }
		o, stop := start(t, cfg)
		put := func(id, to string) {
			it := answerTo(to, id)
			it.NotBefore, it.Grid = cfg.Clock().Add(20*time.Millisecond), 10*time.Millisecond
			must(t, o.Enqueue(t.Context(), it))
		}
		put("a", "lender")
		put("b", "down")
		time.Sleep(time.Minute)
		synctest.Wait()
		ahead.Store(0)
		p.mu.Lock()
		p.answers["down"] = nil
		p.mu.Unlock()
		began := time.Now()
		put("c", "lender")
		p.untilEmpty(t, store)
		if took := time.Since(began); took > 2*farAhead {
			t.Errorf("set back while answers wait: %v", took)
		}
		stop()

		ahead.Store(int64(time.Hour))
		o = nil
		var err error
		if o, err = Open(t.Context(), cfg); err != nil { // never run: the node goes down at once
			t.Fatal(err)
		}
		put("d", "lender")
		ahead.Store(0)
		began = time.Now()
		_, stop = start(t, cfg)
		p.untilEmpty(t, store)
		if took := time.Since(began); took > time.Second {
			t.Errorf("set back while the node was down: %v", took)
		}
		stop()
		store.Close()
	})
}

// A clock that runs ahead ends answers, which must not leave late by any clock, and
// destroys no sealed part: nobody would put it again. It keeps the processor free, too.
func TestAClockThatRunsAheadDestroysNoSealedPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
		var ledger atomic.Int64
		ledger.Store(time.Now().UnixMilli())
		cfg := config(store, p)
		cfg.Clock = func() time.Time { return time.Now().AddDate(10, 0, 0).Round(0) }
		cfg.LedgerTime = func() time.Time { return time.UnixMilli(ledger.Load()) }
		cfg.RetryMax = 5 * time.Second
		p.answers["bank"] = func() error { return ErrNotSent }
		p.answers["lender"] = func() error { return ErrNotSent }
		o, stop := start(t, cfg)
		until := time.Now().Add(time.Hour)
		answer := answerTo("lender", "a")
		answer.Deadline = until
		must(t, o.Enqueue(t.Context(), Item{ID: "part", Kind: SealedPart, Recipient: "bank", Deadline: until}, answer))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		p.set(func() {
			if len(p.ended) != 1 || !strings.HasPrefix(p.ended[0], "a overdue") {
				t.Errorf("ended %v", p.ended)
			}
			if n := len(p.sent); n < 2 || n > 250 { // every five seconds, a quarter less at times, and the first ones
				t.Errorf("%d attempts in ten minutes", n)
			}
		})
		ledger.Store(until.UnixMilli()) // the consent is over, and everybody knows
		p.untilEmpty(t, store)
		if len(p.ended) != 2 || p.ended[1] != "part overdue left=false" {
			t.Errorf("ended %v", p.ended)
		}
		stop()
	})
}
