package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"
)

// post is the world around an outbox: what was sent, and how sending goes.
type post struct {
	mu      sync.Mutex
	sent    []Item                  // in order, every attempt
	at      map[string]time.Time    // first attempt
	answers map[string]func() error // by recipient; nil: delivered
	verdict func(Item) (Verdict, error)
	asked   int
	ended   []string
	changed chan struct{}
}

func newPost() *post {
	return &post{at: map[string]time.Time{}, answers: map[string]func() error{}, changed: make(chan struct{}, 1)}
}

func (p *post) note() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *post) send(ctx context.Context, it Item) error {
	p.mu.Lock()
	p.sent = append(p.sent, it)
	if _, ok := p.at[it.ID]; !ok {
		p.at[it.ID] = time.Now()
	}
	how := p.answers[it.Recipient]
	p.mu.Unlock()
	defer p.note()
	if how != nil {
		return how()
	}
	return nil
}

func (p *post) guard(_ context.Context, it Item) (Verdict, error) {
	p.mu.Lock()
	p.asked++
	f := p.verdict
	p.mu.Unlock()
	defer p.note()
	if f != nil {
		return f(it)
	}
	return Send, nil
}

func (p *post) end(_ *sql.Tx, it Item, why Ending) ([]Item, error) {
	p.mu.Lock()
	p.ended = append(p.ended, fmt.Sprintf("%s %s left=%v", it.ID, why, it.MayHaveLeft))
	p.mu.Unlock()
	defer p.note()
	if it.Kind != Answer {
		return nil, nil
	}
	return []Item{{ID: "receipt-" + it.ID + "-" + why.String(), Kind: Receipt, Recipient: "ledger", Payload: []byte(why.String())}}, nil
}

func (p *post) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// until waits until the condition holds, looking after every event.
func (p *post) until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		p.mu.Lock()
		ok := cond()
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-p.changed:
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatalf("waiting for %s; ended: %v; sent: %v", what, p.ended, p.ids())
		}
	}
}

// ids is called with mu held or after the outbox stopped.
func (p *post) ids() []string {
	var out []string
	for _, it := range p.sent {
		out = append(out, it.ID)
	}
	return out
}

func config(store *Private, p *post) Config {
	return Config{Store: store, Send: p.send, Guard: p.guard, Ended: p.end, RetryMin: 5 * time.Millisecond, RetryMax: 20 * time.Millisecond,
		GuardRetry: 5 * time.Millisecond, Linger: 5 * time.Millisecond}
}

// start opens and runs an outbox; stop ends it in order.
func start(t *testing.T, cfg Config) (o *Outbox, stop func()) {
	t.Helper()
	o, err := Open(t.Context(), cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			must(t, <-done)
		})
	}
	t.Cleanup(stop)
	return o, stop
}

func answerTo(lender, id string) Item {
	return Item{ID: id, Kind: Answer, Recipient: lender, ConsentID: "c-" + id, Payload: []byte("sealed " + id)}
}

func rows(t *testing.T, store *Private) int {
	t.Helper()
	var n int
	must(t, store.Reader().QueryRow(`SELECT count(*) FROM outbox_items`).Scan(&n))
	return n
}

func (p *post) untilEmpty(t *testing.T, store *Private) {
	t.Helper()
	p.until(t, "an empty table", func() bool { return rows(t, store) == 0 })
}
