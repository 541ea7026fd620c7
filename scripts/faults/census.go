package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver of private.db

	"github.com/assent-network/assent/scripts/faults/check"
	"github.com/assent-network/assent/scripts/testnet"
)

// grace is how long after a revocation was acknowledged an answer may leave.
const grace = 2 * time.Second

// census looks, two seconds after each revocation, which answers to the requests
// of that consent are at the lender's node. What comes later left too late, unless
// something of the scenario's own kept it on the way: while a scenario is blind
// (bytes wait in a frozen process or on a slow link), the look is put off until
// that is over, which finds fewer wrongs and invents none.
type census struct {
	w       *world
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	blind    bool
	seeing   chan struct{}       // closed when blind ends
	requests map[string][]string // by consent
	missing  []string            // requests whose answer had not come
	failures []error
}

func newCensus(w *world) *census {
	ctx, end := context.WithCancel(context.Background())
	seeing := make(chan struct{})
	close(seeing)
	return &census{w: w, ctx: ctx, end: end, seeing: seeing, requests: make(map[string][]string)}
}

// setBlind says whether what arrives may have left long before.
func (c *census) setBlind(blind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if blind == c.blind {
		return
	}
	if c.blind = blind; blind {
		c.seeing = make(chan struct{})
	} else {
		close(c.seeing)
	}
}

func (c *census) asked(consent, request string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[consent] = append(c.requests[consent], request)
}

// revoked notes that the revocation of a lender's consent was acknowledged.
func (c *census) revoked(lender, consent string, at time.Time) {
	c.running.Go(func() {
		if !rest(c.ctx, time.Until(at.Add(grace))) {
			return
		}
		c.mu.Lock()
		seeing := c.seeing
		c.mu.Unlock()
		select {
		case <-seeing:
		default:
			select {
			case <-seeing:
			case <-c.ctx.Done():
				return
			}
			if !rest(c.ctx, time.Second) { // what was held back arrives
				return
			}
		}
		c.look(lender, consent)
	})
}

func (c *census) look(lender, consent string) {
	c.mu.Lock()
	ask := slices.Clone(c.requests[consent])
	c.mu.Unlock()
	held, err := inbox(c.ctx, c.w.net.First(lender), ask)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if c.ctx.Err() == nil {
			c.failures = append(c.failures, fmt.Errorf("census of consent %s: %w", consent, err))
		}
		return
	}
	for _, r := range ask {
		if !held[r] {
			c.missing = append(c.missing, r)
		}
	}
}

// stop waits for the looks that are due and takes no more.
func (c *census) stop() { c.end(); c.running.Wait() }

// wait waits for the looks that are under way.
func (c *census) wait() { c.running.Wait() }

// answers is what the lenders' nodes hold in the end.
func (c *census) answers(ctx context.Context) (check.Answers, error) {
	c.mu.Lock()
	missing, failures := slices.Clone(c.missing), slices.Clone(c.failures)
	c.mu.Unlock()
	a := check.Answers{Held: make(map[string]bool)}
	for _, m := range lenders {
		held, err := inbox(ctx, c.w.net.First(m), nil)
		if err != nil {
			return a, err
		}
		for r := range held {
			a.Held[r] = true
		}
	}
	for _, r := range missing {
		if a.Held[r] {
			a.Late = append(a.Late, r)
		}
	}
	return a, errors.Join(failures...)
}

// private opens a node's private.db for reading, whether or not the node runs.
func private(x *testnet.Node) (*sql.DB, error) {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.Join(x.DataDir(), "private.db"),
		RawQuery: url.Values{"_pragma": {"busy_timeout(5000)", "query_only(1)"}}.Encode()}
	return sql.Open("sqlite", u.String())
}

// inbox returns which requests have an answer at a lender's node; of those named,
// or of all.
func inbox(ctx context.Context, x *testnet.Node, requests []string) (held map[string]bool, err error) {
	db, err := private(x)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	held = make(map[string]bool)
	if requests != nil {
		for _, r := range requests {
			var n int
			if err := db.QueryRowContext(ctx, `SELECT count(*) FROM inbox_answers WHERE request_id = ?`, r).Scan(&n); err != nil {
				return nil, fmt.Errorf("inbox of %s: %w", x.Name, err)
			}
			held[r] = n > 0
		}
		return held, nil
	}
	rows, err := db.QueryContext(ctx, `SELECT request_id FROM inbox_answers`)
	if err != nil {
		return nil, fmt.Errorf("inbox of %s: %w", x.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var r string
		if err := rows.Scan(&r); err != nil {
			return nil, fmt.Errorf("inbox of %s: %w", x.Name, err)
		}
		held[r] = true
	}
	return held, rows.Err()
}

// waiting counts what a node still has to deliver or to answer.
func waiting(ctx context.Context, x *testnet.Node) (n int, err error) {
	db, err := private(x)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err = db.QueryRowContext(ctx, `SELECT count(*) FROM outbox_items`).Scan(&n); err != nil {
		return 0, fmt.Errorf("outbox of %s: %w", x.Name, err)
	}
	if x.Member == bank {
		var permits int
		if err = db.QueryRowContext(ctx, `SELECT count(*) FROM query_waiting`).Scan(&permits); err != nil {
			return 0, fmt.Errorf("permits of %s: %w", x.Name, err)
		}
		n += permits
	}
	return n, nil
}
