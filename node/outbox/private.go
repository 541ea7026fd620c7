package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // the driver behind private.db

	"github.com/assent-network/assent/node/fault"
)

// Private is a node's private.db: the one SQLite database for everything that
// never goes on the ledger. Packages own tables in it by prefix; all of them
// write through Do, so that what belongs together commits together and that
// concurrent writers share one fsync.
//
// Losing the file loses undelivered answers and, on a provider, the leak account:
// restore it from a backup or open a new epoch before answering again. Rolling it
// back lets questions be asked twice. An attacker who reads it sees pseudonymous
// tags, sealed envelopes and answers given, no subject identifiers.
type Private struct {
	path  string
	write *sql.DB // one connection
	read  *sql.DB // query_only

	turn sync.Mutex // held by the caller that runs a batch

	mu    sync.Mutex // guards queue
	queue []*job
}

// job is one caller's share of a batch.
type job struct {
	ctx  context.Context
	fn   func(*sql.Tx) error
	err  error
	done bool // written and read under turn
}

// maxBatch bounds how many callers share one transaction.
const maxBatch = 128

// OpenPrivate opens or creates private.db at path: WAL, synchronous=FULL (a
// commit is on disk when it returns), secure_delete (what is deleted is
// overwritten), readable by its owner alone. The directory must exist.
func OpenPrivate(ctx context.Context, path string) (*Private, error) {
	// SQLite gives its log the database's permissions, so these hold for both.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open private.db: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open private.db: %w", err)
	}
	sealed, err := checkBefore(path)
	if err != nil {
		return nil, fmt.Errorf("open private.db: %w", err)
	}
	p := &Private{path: path}
	if p.write, err = openSQLite(ctx, path, "secure_delete(1)", "cache_size(-8000)"); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	p.write.SetMaxOpenConns(1)
	if p.read, err = openSQLite(ctx, path, "query_only(1)", "cache_size(-2000)"); err != nil {
		p.write.Close()
		return nil, fmt.Errorf("open %s for reading: %w", path, err)
	}
	p.read.SetMaxOpenConns(2)
	p.read.SetMaxIdleConns(2)
	if sealed {
		return p, nil
	}
	if err := checkForm(ctx, p.read, `PRAGMA quick_check(1)`); err != nil { // after a crash
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), p.read.Close(), p.write.Close())
	}
	return p, nil
}

func openSQLite(ctx context.Context, path string, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "trusted_schema(0)"}, pragmas...)}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Reader is a pool of read-only connections. A read sees what is committed.
func (p *Private) Reader() *sql.DB { return p.read }

// Prepare prepares a statement on the writing connection, for use inside Do
// through tx.Stmt. The caller closes it.
func (p *Private) Prepare(query string) (*sql.Stmt, error) { return p.write.Prepare(query) }

// Do runs fn in a transaction and returns when it is on disk, or fn's error and
// nothing of fn is. Several callers may share one transaction: if one fails, the
// batch is rolled back and each runs again alone, so fn may run more than once
// and must keep its effects outside the database until Do returned nil. fn must
// not call Do.
//
// An error that is not fn's own (a full or failing disk) left nothing in the
// database, and fn may be repeated: what was written of it is written over. Only
// if the process dies before anything else is written, the next one may find it
// there: what is begun anew after a restart must look first.
func (p *Private) Do(ctx context.Context, fn func(*sql.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, fn: fn}
	p.mu.Lock()
	p.queue = append(p.queue, j)
	p.mu.Unlock()

	// Whoever holds the turn takes everything queued so far. While it waits for
	// the disk the next batch gathers here.
	p.turn.Lock()
	defer p.turn.Unlock()
	for !j.done {
		p.mu.Lock()
		n := min(len(p.queue), maxBatch)
		batch := p.queue[:n:n]
		p.queue = p.queue[n:]
		p.mu.Unlock()
		p.run(batch)
	}
	return j.err
}

// run is called by the holder of turn.
func (p *Private) run(batch []*job) {
	err := p.transact(batch)
	if err != nil && len(batch) > 1 {
		for _, j := range batch {
			j.err, j.done = p.transact([]*job{j}), true
		}
		return
	}
	for _, j := range batch {
		j.err, j.done = err, true
	}
}

func (p *Private) transact(batch []*job) error {
	// A context with a Done channel would cost the driver a goroutine a statement,
	// and a caller that gives up must not undo the others' work.
	tx, err := p.write.BeginTx(context.Background(), nil)
	if err != nil {
		return fmt.Errorf("begin on private.db: %w", err)
	}
	for _, j := range batch {
		if err := j.fn(tx); err != nil {
			return errors.Join(err, ignoreDone(tx.Rollback()))
		}
	}
	fault.Point("outbox-write")
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit private.db: %w", errors.Join(err, ignoreDone(tx.Rollback())))
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// Checkpoint folds the write-ahead log into the database and empties it, so that
// pages overwritten by secure_delete leave no older copy behind.
func (p *Private) Checkpoint(ctx context.Context) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	var busy, log, moved int
	if err := p.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved); err != nil {
		return fmt.Errorf("checkpoint private.db: %w", err)
	}
	if busy != 0 {
		return errors.New("checkpoint private.db: a reader holds the log; it will be emptied later")
	}
	return nil
}

// Close closes the database and leaves the hashes of its file beside it. Every caller
// of Do must have returned.
func (p *Private) Close() error {
	if err := errors.Join(p.read.Close(), p.write.Close()); err != nil {
		return err
	}
	if err := writeSums(p.path); err != nil {
		return fmt.Errorf("close private.db: %w", err)
	}
	return nil
}
