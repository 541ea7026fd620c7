// Package survey is a bank's part in statistics of cohorts: its two shares of every
// permitted request, the counts that the other banks sent, and what it makes of them.
//
// It promises that the noise of a request is drawn once: both shares are made in one
// pass over the vault and are on disk before one of them leaves, so that whatever
// crashes and however often a permit is delivered, the same bytes leave; that nothing
// leaves for the lender before every other bank's count is here and together they
// show a cohort that is large enough; and that a count which is missing at half the
// time, comes later, or comes in two versions ends the request with its bank's name.
//
// It leaves the protocol to query/cohort, the one outcome of a request and its receipt
// to query, which request was permitted and what it debited to the ledger, and how a
// count travels to the node.
package survey

import (
	"context"
	"crypto/hpke"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/node/query/pair"
	"github.com/assent-network/assent/node/vault"
)

// Count is a bank's share of the first round on its way to another bank.
type Count struct {
	CohortID record.Hash
	To       record.OrgID
	Share    []byte
	Deadline time.Time
}

// Departures delivers counts durably; node/outbox behind an adapter.
type Departures interface {
	// PutCounts records counts in the caller's transaction.
	PutCounts(tx *sql.Tx, counts []Count) error
	// CountsCommitted says that the transaction with them is on disk.
	CountsCommitted(counts []Count)
}

// Config of a bank's part.
type Config struct {
	Store      query.Store // private.db
	Departures Departures
	Engine     query.Engine
	ChainID    record.Hash
	Member     record.OrgID

	// Vault returns the connector mapped for a product; it must be a vault.Scanner.
	Vault func(record.ProductID) (vault.Connector, bool)
	// DataKey returns the private half of one of the member's data keys.
	DataKey func(keyID string) (hpke.PrivateKey, bool)
	// Finished reports whether a request has its one outcome, for good.
	Finished func(context.Context, record.RequestID) (bool, error)

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger
}

func (c *Config) check() error {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Store == nil || c.Departures == nil || c.Engine == nil || c.Vault == nil || c.DataKey == nil || c.Finished == nil {
		return errors.New("survey: Store, Departures, Engine, Vault, DataKey and Finished are required")
	}
	return nil
}

// Book holds a bank's shares. Its methods are safe for concurrent use.
type Book struct {
	cfg Config

	sweep sync.Mutex  // one pass at a time
	swept record.Hash // where the last pass ended; zero: at the end
}

var _ query.Cohorts = (*Book)(nil)

// Shares on disk are masked: they tell nothing without those of all the other banks.
// Times are Unix milliseconds.
const createTables = `
CREATE TABLE IF NOT EXISTS survey_shares ( -- this bank's, as they leave or left
	cohort BLOB PRIMARY KEY NOT NULL,
	counted BLOB NOT NULL,
	figures BLOB NOT NULL,
	made INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS survey_shares_made ON survey_shares (made);
CREATE TABLE IF NOT EXISTS survey_counts ( -- the other banks', as they came
	cohort BLOB NOT NULL,
	bank TEXT NOT NULL,
	share BLOB NOT NULL,
	late INTEGER NOT NULL,
	came INTEGER NOT NULL,
	PRIMARY KEY (cohort, bank, share)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS survey_counts_came ON survey_counts (came)`

// Open prepares the tables and starts nothing.
func Open(ctx context.Context, cfg Config) (*Book, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	err := cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(createTables)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create tables of statistics: %w", err)
	}
	return &Book{cfg: cfg}, nil
}

// roundEnds is until when the banks' counts must be here: half of the time there is.
func roundEnds(c *record.Cohort) time.Time {
	return time.UnixMilli(c.RequestedAt + (c.Deadline-c.RequestedAt)/2)
}

// Decides implements query.Cohorts.
func (b *Book) Decides(c *record.Cohort) time.Time { return roundEnds(c) }

// errNever wraps what no waiting mends: the request is refused.
var errNever = errors.New("survey: not possible")

// Part implements query.Cohorts.
func (b *Book) Part(ctx context.Context, p *query.Permit) (*query.Part, error) {
	c := p.Cohort
	log := b.cfg.Logger.With("cohort", c.CohortID)
	s, err := cohort.SessionOf(b.cfg.ChainID, c)
	if err != nil {
		log.Warn("survey: a permitted request is no session; refusing", "err", err)
		return &query.Part{}, nil
	}
	seat, ok := s.Seat(b.cfg.Member)
	if !ok {
		log.Warn("survey: this member has no seat in a permitted request; refusing")
		return &query.Part{}, nil
	}
	own, err := b.own(ctx, p, s, seat)
	if errors.Is(err, errNever) {
		log.Error("survey: this bank cannot take part; refusing", "err", err)
		return &query.Part{}, nil
	}
	if err != nil {
		return nil, err
	}
	counts, banks, err := b.counts(ctx, c, s)
	if err != nil {
		return nil, err
	}
	if banks < len(s.Seats)-1 && b.cfg.Clock().Before(roundEnds(c)) {
		return nil, nil
	}
	return b.part(s, own, append(counts, cohort.Delivery{Bank: b.cfg.Member, Share: own.counted}))
}

// part decides by the counts.
func (b *Book) part(s *cohort.Session, own *shares, counts []cohort.Delivery) (*query.Part, error) {
	d, err := cohort.Decide(s, counts)
	if faults, ended := cohort.IsBlame(err); ended {
		return blame(faults)
	}
	if err != nil {
		return nil, err
	}
	h, err := cohort.DecodeShare(own.figures)
	if err != nil {
		return nil, fmt.Errorf("read the shares of a request: %w", err)
	}
	h, err = cohort.Release(s, h, d)
	if errors.Is(err, cohort.ErrTooFew) {
		return &query.Part{Value: answer.TooFewValue}, nil
	}
	if err != nil {
		return nil, err
	}
	return &query.Part{Value: answer.ShareValue, Carries: cohort.Pack(own.counted, h.Bytes())}, nil
}

// blame names banks to the lender. What does not fit any more is left out.
func blame(faults []cohort.Fault) (*query.Part, error) {
	for i := range faults {
		faults[i].Detail = "" // of this node's own words
	}
	for {
		carries, err := json.Marshal(faults)
		if err != nil {
			return nil, err
		}
		if len(carries) <= maxBlame || len(faults) == 1 {
			return &query.Part{Value: answer.BlamedValue, Carries: carries}, nil
		}
		faults = faults[:len(faults)-1]
	}
}

// maxBlame bounds what an answer carries of blame.
const maxBlame = 2048

// errOver: whatever is drawn now would be a second noise over the same figures.
var errOver = errors.New("the request is over and nothing is made of it any more")

// shares are a bank's two of a request.
type shares struct{ counted, figures []byte }

// own returns this bank's shares of a request; the first time they are made, and are
// on disk, with the counts on their way to the other banks, when it returns.
func (b *Book) own(ctx context.Context, p *query.Permit, s *cohort.Session, seat int) (*shares, error) {
	id := p.Cohort.CohortID
	if kept, err := b.find(ctx, id); err != nil || kept != nil {
		return kept, err
	}
	if !b.cfg.Clock().Before(time.UnixMilli(p.Cohort.Deadline)) {
		return nil, errOver // what was kept of it may be forgotten: see Sweep
	}
	made, err := b.make(ctx, p, s, seat)
	if err != nil {
		return nil, err
	}
	var counts []Count
	for i := range s.Seats {
		if i != seat {
			counts = append(counts, Count{CohortID: id, To: s.Seats[i].Bank, Share: made.counted, Deadline: roundEnds(p.Cohort)})
		}
	}
	first := false
	err = b.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		r, err := tx.Exec(`INSERT INTO survey_shares VALUES (?,?,?,?) ON CONFLICT DO NOTHING`, id[:], made.counted, made.figures, b.cfg.Clock().UnixMilli())
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if first = n == 1; err != nil || !first {
			return err // another delivery was quicker: its shares are the ones
		}
		return b.cfg.Departures.PutCounts(tx, counts)
	})
	if err != nil {
		return nil, fmt.Errorf("keep the shares of a request: %w", err)
	}
	if first {
		b.cfg.Departures.CountsCommitted(counts)
		return made, nil
	}
	kept, err := b.find(ctx, id)
	if err == nil && kept == nil {
		err = errors.New("the shares of a request have gone")
	}
	return kept, err
}

func (b *Book) find(ctx context.Context, id record.Hash) (*shares, error) {
	var k shares
	err := b.cfg.Store.Reader().QueryRowContext(ctx, `SELECT counted, figures FROM survey_shares WHERE cohort = ?`, id[:]).Scan(&k.counted, &k.figures)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the shares of a request: %w", err)
	}
	return &k, nil
}

// make draws the noise of a request and hides both rounds' numbers.
func (b *Book) make(ctx context.Context, p *query.Permit, s *cohort.Session, seat int) (*shares, error) {
	key, ok := b.cfg.DataKey(string(s.Seats[seat].KeyID))
	if !ok {
		return nil, fmt.Errorf("data key %s of the request is not here: restore it", s.Seats[seat].KeyID)
	}
	secrets, err := pair.Among(key, seat, s.Keys())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNever, err)
	}
	tally, err := b.tally(ctx, p, s)
	if err != nil {
		return nil, err
	}
	noise := cohort.NewNoiser()
	count, err := cohort.MakeCount(s, seat, tally, noise, secrets)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNever, err)
	}
	figures, err := cohort.MaskFigures(s, seat, tally, noise, secrets)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNever, err)
	}
	return &shares{count.Bytes(), figures.Bytes()}, nil
}
