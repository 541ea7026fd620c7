package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Received is one sealed answer on the lender's side.
type Received struct {
	RequestID string // hex
	From      string // the member whose authenticated node sent it
	Payload   []byte
	Expires   time.Time // when it may be forgotten
}

// Inbox keeps the answers that other nodes delivered until the lender's own
// client fetched them or they expired. It is the receiving half of at-least-once:
// Store is idempotent by request and sender, and returns when the answer is on
// disk, so that the acknowledgement sent after it is true.
//
// Its rows are sealed: losing them loses answers that the provider will not send
// again; a thief of the file reads nothing.
type Inbox struct {
	store   Store
	limits  InboxLimits
	add     *sql.Stmt
	sweeper sync.Mutex // one sweep at a time

	mu      sync.Mutex // guards waiters, held
	waiters map[inboxKey][]chan []byte
	held    map[string]int // rows by sender
}

type inboxKey struct{ requestID, from string }

// InboxLimits bounds an inbox; zero values mean the defaults.
type InboxLimits struct {
	MaxPayload   int // 8 KiB
	MaxPerSender int // answers held from one member: 100,000
}

const createInbox = `CREATE TABLE IF NOT EXISTS inbox_answers (
	request_id TEXT NOT NULL,
	sender TEXT NOT NULL,
	payload BLOB NOT NULL,
	expires INTEGER NOT NULL,
	PRIMARY KEY (request_id, sender)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS inbox_expiry ON inbox_answers (expires)`

// ErrConflict refuses a second, different answer of one sender to one request.
var ErrConflict = errors.New("inbox: the sender delivered another answer to this request before")

// OpenInbox opens the inbox in private.db and starts nothing.
func OpenInbox(ctx context.Context, store Store, limits InboxLimits) (*Inbox, error) {
	setDefault(&limits.MaxPayload, 8<<10)
	setDefault(&limits.MaxPerSender, 100_000)
	in := &Inbox{store: store, limits: limits, waiters: map[inboxKey][]chan []byte{}, held: map[string]int{}}
	err := store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(createInbox)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create inbox tables: %w", err)
	}
	if in.add, err = store.Prepare(`INSERT INTO inbox_answers VALUES (?,?,?,?) ON CONFLICT DO NOTHING`); err != nil {
		return nil, fmt.Errorf("prepare inbox statement: %w", err)
	}
	return in, in.count(ctx)
}

func (in *Inbox) count(ctx context.Context) error {
	rows, err := in.store.Reader().QueryContext(ctx, `SELECT sender, count(*) FROM inbox_answers GROUP BY sender`)
	if err != nil {
		return fmt.Errorf("count inbox: %w", err)
	}
	defer rows.Close()
	held := map[string]int{}
	for rows.Next() {
		var sender string
		var n int
		if err := rows.Scan(&sender, &n); err != nil {
			return fmt.Errorf("count inbox: %w", err)
		}
		held[sender] = n
	}
	in.mu.Lock()
	in.held = held
	in.mu.Unlock()
	return rows.Err()
}

// Store keeps an answer and returns when it is on disk. The same answer again is
// a success; a different one is ErrConflict. That the sender is the one whom the
// request asked is for the caller to check before.
func (in *Inbox) Store(ctx context.Context, r Received) error {
	switch {
	case r.RequestID == "" || len(r.RequestID) > 128 || r.From == "" || len(r.From) > 128:
		return errors.New("inbox: request id and sender must have 1 to 128 bytes")
	case len(r.Payload) == 0 || len(r.Payload) > in.limits.MaxPayload:
		return fmt.Errorf("inbox: answer of %d bytes, want 1 to %d", len(r.Payload), in.limits.MaxPayload)
	}
	in.mu.Lock()
	full := in.held[r.From] >= in.limits.MaxPerSender
	in.mu.Unlock()
	if full {
		return fmt.Errorf("inbox: %d answers of this sender wait to be fetched: %w", in.limits.MaxPerSender, ErrFull)
	}
	var fresh, conflict bool
	err := in.store.Do(ctx, func(tx *sql.Tx) error {
		fresh, conflict = false, false
		res, err := tx.Stmt(in.add).Exec(r.RequestID, r.From, r.Payload, micros(r.Expires))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			fresh = n == 1
			return err
		}
		var same bool
		err = tx.QueryRow(`SELECT payload = ? FROM inbox_answers WHERE request_id = ? AND sender = ?`, r.Payload, r.RequestID, r.From).Scan(&same)
		conflict = !same
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("store answer: %w", err)
	case conflict:
		return ErrConflict
	case fresh:
		in.arrived(r)
	}
	return nil
}

func (in *Inbox) arrived(r Received) {
	key := inboxKey{r.RequestID, r.From}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held[r.From]++
	for _, ch := range in.waiters[key] {
		ch <- r.Payload // capacity 1, one send each
	}
	delete(in.waiters, key)
}

// Wait returns from's sealed answer to a request, as soon as it is there, or
// ctx's error. The answer stays until it expires, so that a client may ask again.
func (in *Inbox) Wait(ctx context.Context, requestID, from string) ([]byte, error) {
	key := inboxKey{requestID, from}
	ch := make(chan []byte, 1)
	in.mu.Lock()
	in.waiters[key] = append(in.waiters[key], ch) // before looking: an arrival in between must not be missed
	in.mu.Unlock()
	defer in.forget(key, ch)

	payload, err := in.Get(ctx, requestID, from)
	if err != nil || payload != nil {
		return payload, err
	}
	select {
	case payload := <-ch:
		return payload, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (in *Inbox) forget(key inboxKey, ch chan []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	list := in.waiters[key]
	for i, c := range list {
		if c == ch {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(in.waiters, key)
	} else {
		in.waiters[key] = list
	}
}

// Get returns from's sealed answer to a request, or nil if it has not come.
func (in *Inbox) Get(ctx context.Context, requestID, from string) ([]byte, error) {
	var payload []byte
	err := in.store.Reader().QueryRowContext(ctx, `SELECT payload FROM inbox_answers WHERE request_id = ? AND sender = ?`, requestID, from).Scan(&payload)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return payload, nil
}

// Discard destroys the answers of one sender to some requests and returns how many
// there were. Older copies of their bytes stay in the log until it is emptied.
func (in *Inbox) Discard(ctx context.Context, from string, requestIDs []string) (int, error) {
	n := 0
	err := in.store.Do(ctx, func(tx *sql.Tx) error {
		n = 0
		for _, id := range requestIDs {
			res, err := tx.Exec(`DELETE FROM inbox_answers WHERE request_id = ? AND sender = ?`, id, from)
			if err != nil {
				return err
			}
			gone, err := res.RowsAffected()
			if err != nil {
				return err
			}
			n += int(gone)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("discard answers: %w", err)
	}
	in.mu.Lock()
	in.held[from] -= n
	in.mu.Unlock()
	return n, nil
}

// Sweep deletes what expired before now and returns how many answers that were.
// The node calls it on its slow tick.
func (in *Inbox) Sweep(ctx context.Context, now time.Time) (int64, error) {
	in.sweeper.Lock()
	defer in.sweeper.Unlock()
	var n int64
	err := in.store.Do(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(`DELETE FROM inbox_answers WHERE expires > 0 AND expires < ?`, micros(now))
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep inbox: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	return n, in.count(ctx)
}
