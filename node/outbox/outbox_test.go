package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDeliversOnceAndForgets(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	o, _ := start(t, config(store, p))
	for i := range 50 {
		must(t, o.Enqueue(t.Context(), answerTo("lender", fmt.Sprint(i)), Item{ID: fmt.Sprint("part", i), Kind: SealedPart, Recipient: "bank"}))
	}
	p.until(t, "100 deliveries", func() bool { return len(p.sent) >= 100 })
	p.untilEmpty(t, store)
	if len(p.sent) != 100 || p.asked != 50 {
		t.Errorf("%d sends, guard asked %d times", len(p.sent), p.asked)
	}
	if s := o.Status(); len(s) != 0 {
		t.Errorf("still waiting: %v", s)
	}
	if o.payloads != 0 || len(o.answers) != 0 {
		t.Errorf("%d payload bytes and %d consents kept in memory", o.payloads, len(o.answers))
	}
}

func TestTheSamePutTwiceIsOneItem(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	o, _ := start(t, config(store, p))
	must(t, o.Enqueue(t.Context(), Item{ID: "late", Kind: Answer, Recipient: "l", NotBefore: time.Now().Add(30 * time.Millisecond)}))
	must(t, o.Enqueue(t.Context(), Item{ID: "late", Kind: Answer, Recipient: "l"}))
	p.untilEmpty(t, store)
	if len(p.sent) != 1 {
		t.Errorf("sent %v", p.ids())
	}
}

func TestRetriesUntilAcknowledged(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	n := 0
	p.answers["lender"] = func() error {
		if n++; n < 5 {
			return fmt.Errorf("no connection: %w", ErrNotSent)
		}
		return nil
	}
	o, _ := start(t, config(store, p))
	must(t, o.Enqueue(t.Context(), answerTo("lender", "a")))
	p.untilEmpty(t, store)
	if len(p.sent) != 5 || p.asked != 5 {
		t.Errorf("%d sends, guard asked %d times: it must be asked before each", len(p.sent), p.asked)
	}
	for i, it := range p.sent {
		if string(it.Payload) != "sealed a" || it.Attempts != i+1 || it.MayHaveLeft {
			t.Errorf("attempt %d: %+v", i, it)
		}
	}
}

func TestSurvivesARestartWithoutCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	store, p := private(t, path), newPost()
	o, err := Open(t.Context(), config(store, p)) // never run: the process dies right after the commit
	must(t, err)
	must(t, store.Do(t.Context(), func(tx *sql.Tx) error {
		return o.Put(tx, answerTo("lender", "a"), Item{ID: "r", Kind: Receipt, Recipient: "ledger", After: "a", Payload: []byte("ANSWERED")})
	}))
	must(t, store.Close())

	store = private(t, path)
	start(t, config(store, p))
	p.untilEmpty(t, store)
	if got := p.ids(); !slices.Equal(got, []string{"a", "r"}) {
		t.Errorf("sent %v", got)
	}
}

func TestRolledBackPutSendsNothing(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	o, stop := start(t, config(store, p))
	boom := errors.New("boom")
	err := store.Do(t.Context(), func(tx *sql.Tx) error {
		must(t, o.Put(tx, answerTo("lender", "a")))
		return boom
	})
	if !errors.Is(err, boom) || rows(t, store) != 0 {
		t.Errorf("error %v, %d rows", err, rows(t, store))
	}
	stop()
	if len(p.sent) != 0 {
		t.Errorf("sent %v", p.ids())
	}
}

func TestAnAcknowledgementLostInACrashMeansOneMoreSend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	store, p := private(t, path), newPost()
	cfg := config(store, p)
	cfg.Linger = time.Hour // the crash comes before the acknowledgement is written
	o, err := Open(t.Context(), cfg)
	must(t, err)
	must(t, o.Enqueue(t.Context(), answerTo("lender", "a")))
	for _, e := range func() []*entry { due, _ := o.takeDue(time.Now()); return due }() {
		o.attempt(t.Context(), e)
	}
	if len(p.sent) != 1 || rows(t, store) != 1 {
		t.Fatalf("%d sent, %d rows", len(p.sent), rows(t, store))
	}
	must(t, store.Close())
	store = private(t, path)
	start(t, config(store, p))
	p.untilEmpty(t, store)
	if got := p.ids(); !slices.Equal(got, []string{"a", "a"}) {
		t.Errorf("sent %v, want the same id again", got)
	}
}

func TestWithheldIsDestroyedAndReceiptedInOneTransaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	store, p := private(t, path), newPost()
	p.verdict = func(Item) (Verdict, error) { return Wait, nil }
	o, stop := start(t, config(store, p))
	secret := answerTo("lender", "a")
	secret.Payload = []byte(strings.Repeat("the sealed answer ", 30))
	must(t, o.Enqueue(t.Context(), secret, Item{ID: "answered", Kind: Receipt, Recipient: "ledger", After: "a", Payload: []byte("ANSWERED")}))
	p.until(t, "several waits", func() bool { return p.asked > 3 })
	p.answers["ledger"] = func() error { return ErrNotSent } // the receipt must wait on disk
	p.set(func() { p.verdict = func(Item) (Verdict, error) { return Withhold, nil } })
	o.Recheck("c-a")
	p.until(t, "the ending", func() bool { return len(p.ended) > 0 && len(p.sent) > 0 })
	stop()
	if onDisk(t, path, "the sealed answer") {
		t.Error("the withheld answer is still in the files")
	}
	if p.ended[0] != "a withheld left=false" {
		t.Errorf("ended: %v", p.ended)
	}
	for _, it := range p.sent {
		if it.ID != "receipt-a-withheld" {
			t.Errorf("sent %s", it.ID)
		}
	}
	p.answers = map[string]func() error{}
	store.Close()
	store = private(t, path)
	start(t, config(store, p))
	p.untilEmpty(t, store)
	if last := p.sent[len(p.sent)-1]; last.ID != "receipt-a-withheld" || string(last.Payload) != "withheld" {
		t.Errorf("after the restart sent %+v", last)
	}
}

// A suspension concerns answers of many consents: all are looked at again at once.
func TestRecheckAllWithholdsEveryConsentsAnswers(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.verdict = func(Item) (Verdict, error) { return Wait, nil }
	cfg := config(store, p)
	cfg.GuardRetry = time.Hour // nobody asks again by himself
	o, _ := start(t, cfg)
	for _, id := range []string{"a", "b", "c"} {
		must(t, o.Enqueue(t.Context(), answerTo("lender", id)))
	}
	p.until(t, "every answer was asked for", func() bool { return p.asked == 3 })
	if o.Answers("c-a") != 1 || o.Answers("c-z") != 0 || !o.Waits("b") || o.Waits("z") {
		t.Errorf("waiting: %d, %d, %t, %t", o.Answers("c-a"), o.Answers("c-z"), o.Waits("b"), o.Waits("z"))
	}
	p.set(func() { p.verdict = func(Item) (Verdict, error) { return Withhold, nil } })
	o.RecheckAll()
	p.until(t, "the endings", func() bool { return len(p.ended) == 3 })
	p.untilEmpty(t, store)
	if o.Answers("c-a") != 0 || o.Waits("b") {
		t.Error("what ended still waits")
	}
}

func TestWithholdAfterAnUnclearSendKeepsTheAnsweredReceipt(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.answers["lender"] = func() error { return errors.New("connection reset while reading the reply") }
	o, _ := start(t, config(store, p))
	must(t, o.Enqueue(t.Context(), answerTo("lender", "a"), Item{ID: "answered", Kind: Receipt, Recipient: "ledger", After: "a"}))
	p.until(t, "the receipt", func() bool { return slices.Contains(p.ids(), "answered") })
	p.set(func() { p.verdict = func(Item) (Verdict, error) { return Withhold, nil } })
	p.until(t, "the ending", func() bool { return len(p.ended) > 0 })
	if p.ended[0] != "a withheld left=true" {
		t.Errorf("ended: %v", p.ended)
	}
}

func TestAFollowerWaitsForItsLeader(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.answers["lender"] = func() error { return ErrNotSent }
	o, stop := start(t, config(store, p))
	must(t, o.Enqueue(t.Context(), answerTo("lender", "a"), Item{ID: "answered", Kind: Receipt, Recipient: "ledger", After: "a"}))
	p.until(t, "some attempts", func() bool { return len(p.sent) > 3 })
	stop()
	if slices.Contains(p.ids(), "answered") {
		t.Fatal("the receipt left before its answer")
	}
	// The same after a restart.
	p.set(func() { p.sent = nil })
	o, _ = start(t, config(store, p))
	p.until(t, "some attempts", func() bool { return len(p.sent) > 3 })
	p.set(func() { p.answers["lender"] = nil })
	o.Expedite("lender")
	p.untilEmpty(t, store)
	got := p.ids()
	if slices.Index(got, "answered") != len(got)-1 {
		t.Errorf("sent %v", got)
	}
}

// What a restart reads comes in the order of ids; a receipt must not leave before its
// answer because its name is the smaller one.
func TestAFollowerWaitsForItsLeaderAfterARestart(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.verdict = func(Item) (Verdict, error) { return Wait, nil }
	o, stop := start(t, config(store, p))
	must(t, o.Enqueue(t.Context(), answerTo("lender", "z"), Item{ID: "answered", Kind: Receipt, Recipient: "ledger", After: "z"}))
	stop()
	p.asked = 0
	o, stop = start(t, config(store, p))
	p.until(t, "the guard to be asked thrice", func() bool { return p.asked > 2 })
	p.set(func() {
		if len(p.sent) > 0 {
			t.Errorf("left before the answer: %v", p.ids())
		}
		p.verdict = nil
	})
	o.Recheck("c")
	p.untilEmpty(t, store)
	stop()
	if got := p.ids(); !slices.Equal(got, []string{"z", "answered"}) {
		t.Errorf("sent %v", got)
	}
}

func TestOverdueEndsWithAReceipt(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.answers["lender"] = func() error { return ErrNotSent }
	o, _ := start(t, config(store, p))
	it := answerTo("lender", "a")
	it.Deadline = time.Now().Add(60 * time.Millisecond)
	must(t, o.Enqueue(t.Context(), it, Item{ID: "answered", Kind: Receipt, Recipient: "ledger", After: "a"}))
	p.untilEmpty(t, store)
	if !slices.Equal(p.ended, []string{"a overdue left=false"}) {
		t.Errorf("ended: %v", p.ended)
	}
	got := p.ids()
	if slices.Contains(got, "answered") || got[len(got)-1] != "receipt-a-overdue" {
		t.Errorf("sent %v", got)
	}
	for _, s := range p.sent {
		if s.ID == "a" && p.at["a"].After(it.Deadline) {
			t.Error("sent after its deadline")
		}
	}
}

func TestRejectedForGoodIsDropped(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.answers["bank"] = func() error { return fmt.Errorf("malformed: %w", ErrRejected) }
	o, _ := start(t, config(store, p))
	must(t, o.Enqueue(t.Context(), Item{ID: "part", Kind: SealedPart, Recipient: "bank"}))
	p.untilEmpty(t, store)
	if len(p.sent) != 1 || !slices.Equal(p.ended, []string{"part rejected left=true"}) {
		t.Errorf("%d sends, ended %v", len(p.sent), p.ended)
	}
}

func TestWhoRejectsAnAnswerHasReadIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	store, p := private(t, path), newPost()
	p.answers["lender"] = func() error { return fmt.Errorf("no, thanks: %w", ErrRejected) }
	p.answers["ledger"] = func() error { return ErrNotSent }
	cfg := config(store, p)
	cfg.Ended = func(_ *sql.Tx, it Item, why Ending) ([]Item, error) { // as a node that adds a receipt of the same id
		p.note()
		return []Item{{ID: "receipt", Kind: Receipt, Recipient: "ledger", Payload: []byte("OVERDUE")}}, nil
	}
	o, stop := start(t, cfg)
	must(t, o.Enqueue(t.Context(), answerTo("lender", "a"), Item{ID: "receipt", Kind: Receipt, Recipient: "ledger", After: "a", Payload: []byte("ANSWERED")}))
	p.until(t, "the receipt", func() bool { return slices.Contains(p.ids(), "receipt") })
	stop()
	p.set(func() { p.answers = map[string]func() error{} })
	store.Close()
	store = private(t, path)
	start(t, config(store, p))
	p.untilEmpty(t, store)
	for _, it := range p.sent {
		if it.ID == "receipt" && string(it.Payload) != "ANSWERED" {
			t.Errorf("receipt %s", it.Payload)
		}
	}
}

func TestAFailingEndIsTriedAgain(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.verdict = func(Item) (Verdict, error) { return Withhold, nil }
	cfg := config(store, p)
	calls := 0
	cfg.Ended = func(tx *sql.Tx, it Item, why Ending) ([]Item, error) {
		if calls++; calls < 3 {
			return nil, errors.New("disk full")
		}
		return p.end(tx, it, why)
	}
	o, _ := start(t, cfg)
	must(t, o.Enqueue(t.Context(), answerTo("lender", "a")))
	p.untilEmpty(t, store)
	if got := p.ids(); !slices.Equal(got, []string{"receipt-a-withheld"}) || calls < 3 {
		t.Errorf("sent %v after %d calls", got, calls)
	}
}

func TestGuardErrorKeepsTheAnswerHere(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.verdict = func(Item) (Verdict, error) { return Send, errors.New("view too old") }
	o, _ := start(t, config(store, p))
	must(t, o.Enqueue(t.Context(), answerTo("lender", "a")))
	p.until(t, "several questions", func() bool { return p.asked > 3 })
	p.set(func() {
		if len(p.sent) != 0 {
			t.Error("sent although the guard failed")
		}
		p.verdict = nil
	})
	p.untilEmpty(t, store)
}

func TestASlowRecipientDelaysNobodyElse(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	hang := make(chan struct{})
	p.answers["slow"] = func() error { <-hang; return nil }
	cfg := config(store, p)
	cfg.PerRecipient = 2
	o, _ := start(t, cfg)
	for i := range 20 {
		must(t, o.Enqueue(t.Context(), Item{ID: fmt.Sprint("slow", i), Kind: SealedPart, Recipient: "slow"}))
	}
	p.until(t, "the slow lane to fill", func() bool { return len(p.sent) >= 2 })
	for i := range 20 {
		must(t, o.Enqueue(t.Context(), Item{ID: fmt.Sprint("quick", i), Kind: SealedPart, Recipient: "quick"}))
	}
	p.until(t, "the quick ones", func() bool {
		n := 0
		for _, id := range p.ids() {
			if strings.HasPrefix(id, "quick") {
				n++
			}
		}
		return n == 20
	})
	for _, s := range o.Status() {
		if s.Recipient == "slow" && (s.InFlight != 2 || s.Waiting != 20) {
			t.Errorf("slow lane: %+v", s)
		}
	}
	close(hang)
	p.untilEmpty(t, store)
}

func TestFullOutboxRefusesButNeverReceipts(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	p.answers["lender"] = func() error { return ErrNotSent }
	p.answers["ledger"] = func() error { return ErrNotSent }
	cfg := config(store, p)
	cfg.MaxPerRecipient, cfg.MaxItems, cfg.MaxPayload = 3, 8, 10
	o, _ := start(t, cfg)
	put := func(it Item) error { it.Payload = nil; return o.Enqueue(t.Context(), it) }
	for i := range 3 {
		must(t, put(answerTo("lender", fmt.Sprint(i))))
	}
	if err := put(answerTo("lender", "x")); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth to one recipient: %v", err)
	}
	for i := range 5 {
		must(t, put(Item{ID: fmt.Sprint("r", i), Kind: Receipt, Recipient: "ledger"}))
	}
	if err := put(answerTo("other", "x")); !errors.Is(err, ErrFull) {
		t.Errorf("a ninth altogether: %v", err)
	}
	if err := o.Enqueue(t.Context(), Item{ID: "big", Kind: SealedPart, Recipient: "b", Payload: make([]byte, 11)}); err == nil {
		t.Error("payload beyond its limit accepted")
	}
	if err := o.Enqueue(t.Context(), Item{Kind: SealedPart, Recipient: "b"}); err == nil {
		t.Error("item without id accepted")
	}
}

func TestPayloadsBeyondMemoryAreReadFromDisk(t *testing.T) {
	store, p := private(t, filepath.Join(t.TempDir(), "p.db")), newPost()
	cfg := config(store, p)
	o, err := Open(t.Context(), cfg)
	must(t, err)
	o.payloads = memoryForPayloads // as if others filled it
	must(t, o.Enqueue(t.Context(), answerTo("lender", "a")))
	if o.entries["a"].item.Payload != nil {
		t.Fatal("kept in memory")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	p.untilEmpty(t, store)
	cancel()
	must(t, <-done)
	if string(p.sent[0].Payload) != "sealed a" {
		t.Errorf("sent %q", p.sent[0].Payload)
	}
}

func TestStoppingWritesWhatWasLearnt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	store, p := private(t, path), newPost()
	entered := make(chan struct{})
	cfg := config(store, p)
	cfg.Linger = time.Hour
	cfg.Send = func(ctx context.Context, it Item) error {
		if it.ID == "hangs" {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}
		return p.send(ctx, it)
	}
	o, stop := start(t, cfg)
	must(t, o.Enqueue(t.Context(), Item{ID: "hangs", Kind: SealedPart, Recipient: "x"}, Item{ID: "done", Kind: SealedPart, Recipient: "y"}))
	<-entered
	p.until(t, "the delivery", func() bool { return len(p.sent) == 1 })
	stop()
	got := map[string]bool{}
	r, err := store.Reader().Query(`SELECT id, may_have_left FROM outbox_items`)
	must(t, err)
	defer r.Close()
	for r.Next() {
		var id string
		var left bool
		must(t, r.Scan(&id, &left))
		got[id] = left
	}
	if !maps.Equal(got, map[string]bool{"hangs": true}) {
		t.Errorf("on disk: %v", got)
	}
}

func BenchmarkDeliver(b *testing.B) {
	store := private(b, filepath.Join(b.TempDir(), "p.db"))
	delivered := make(chan struct{}, 1)
	o, err := Open(b.Context(), Config{Store: store, Guard: func(context.Context, Item) (Verdict, error) { return Send, nil },
		Send: func(context.Context, Item) error { delivered <- struct{}{}; return nil }})
	must(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	payload := make([]byte, 1200)
	i := 0
	for b.Loop() {
		i++
		must(b, o.Enqueue(b.Context(), Item{ID: fmt.Sprint(i), Kind: Answer, Recipient: "l", Payload: payload}))
		<-delivered
	}
	cancel()
	<-done
}
