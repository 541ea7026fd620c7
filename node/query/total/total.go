// Package total is a bank's part in totals over several banks: what it adds for each
// consent and epoch, pledged before anybody asks, and its share of every set that is
// permitted.
//
// It promises that a figure is frozen per (subject, template, epoch) before its first
// pledge leaves, so that every consent of the subject adds the same; that a pledge is
// on disk, with what opens it, before its hash is handed out, and never replaced; that
// a share is made of nothing but its pledge, so that known and unknown subjects take
// the same work, time and bytes; and that no share leaves for a set that, with those
// in which the subject's figures were told within a year, under whichever principal
// keys, shows one bank's figure. What was told is recorded in the transaction that
// lets the share leave.
//
// It leaves the protocol to query/exposure, who the subject is and what the vault says
// to query, registering pledges and delivering shares to the node, and what may be
// asked under one principal key to the ledger.
package total

import (
	"context"
	"crypto/hpke"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/node/query/pair"
)

// Config of a bank's pledges.
type Config struct {
	Store   query.Store // private.db
	ChainID record.Hash
	Member  record.OrgID

	// Proving and Verifying are the ceremony's keys for exposure.InRange.
	Proving   *exposure.ProvingKey
	Verifying *exposure.VerifyingKey

	// DataKey returns the private half of one of the member's data keys.
	DataKey func(keyID string) (hpke.PrivateKey, bool)
	// Shows reports whether the totals of sets together show one bank's figure: the
	// ledger's rule.
	Shows func([]record.FigureSet) bool

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger
}

func (c *Config) check() error {
	var errs []error
	if c.Store == nil || c.Proving == nil || c.Verifying == nil || c.DataKey == nil || c.Shows == nil {
		errs = append(errs, errors.New("total: Store, Proving, Verifying, DataKey and Shows are required"))
	}
	if c.Proving != nil && c.Proving.Statement != exposure.InRange || c.Verifying != nil && c.Verifying.Statement != exposure.InRange {
		errs = append(errs, errors.New("total: the keys are not for range proofs"))
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(errs...)
}

// Book holds a bank's pledges. Its methods are safe for concurrent use.
type Book struct{ cfg Config }

var _ query.Shares = (*Book)(nil)

// A subject appears only as the tag under which query knows it. Times are Unix
// milliseconds.
const createTables = `
CREATE TABLE IF NOT EXISTS total_figures ( -- what the subject's figure is for the rest of the epoch
	tag BLOB NOT NULL,
	code_hash BLOB NOT NULL,
	epoch INTEGER NOT NULL,
	figure INTEGER NOT NULL,
	PRIMARY KEY (tag, code_hash, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS total_pledges (
	consent_id TEXT NOT NULL,
	code_hash BLOB NOT NULL,
	epoch INTEGER NOT NULL,
	tag BLOB NOT NULL,
	opening BLOB NOT NULL, -- value and blinding factor
	pledge BLOB NOT NULL,
	made INTEGER NOT NULL,
	PRIMARY KEY (consent_id, code_hash, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS total_pledged ON total_pledges (tag, code_hash, epoch);
CREATE TABLE IF NOT EXISTS total_told ( -- the different sets in which a subject's figures were told
	tag BLOB NOT NULL,
	figures TEXT NOT NULL, -- of the set with its threshold, canonical: see told
	told INTEGER NOT NULL,
	PRIMARY KEY (tag, figures)
) STRICT, WITHOUT ROWID`

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
		return nil, fmt.Errorf("create tables of totals: %w", err)
	}
	return &Book{cfg: cfg}, nil
}

// Of says for what a pledge is.
type Of struct {
	ConsentID record.ConsentID
	Epoch     uint64
	CodeHash  record.Hash // of the TOTAL template
}

func (b *Book) context(of Of) *exposure.PledgeContext {
	return &exposure.PledgeContext{ChainID: b.cfg.ChainID, Bank: b.cfg.Member, ConsentID: of.ConsentID, Epoch: of.Epoch, CodeHash: of.CodeHash}
}

// kept is a pledge with what opens it. It does not print itself.
type kept struct {
	subject [32]byte
	opening exposure.Opening
	pledge  exposure.Pledge
}

// Format shows nothing of it.
func (kept) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[pledge]") }

func (b *Book) find(ctx context.Context, of Of) (*kept, error) {
	var tag, opening, pledge []byte
	err := b.cfg.Store.Reader().QueryRowContext(ctx, `SELECT tag, opening, pledge FROM total_pledges WHERE consent_id = ? AND code_hash = ? AND epoch = ?`,
		string(of.ConsentID), of.CodeHash[:], int64(of.Epoch)).Scan(&tag, &opening, &pledge)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pledge for consent %s: %w", of.ConsentID, err)
	}
	k := &kept{}
	if len(tag) != len(k.subject) || len(opening) != 2*exposure.ScalarSize {
		return nil, fmt.Errorf("read pledge for consent %s: a row of another shape", of.ConsentID)
	}
	copy(k.subject[:], tag)
	var errs [3]error
	k.opening.Value, errs[0] = exposure.DecodeScalar(opening[:exposure.ScalarSize])
	k.opening.Blinding, errs[1] = exposure.DecodeScalar(opening[exposure.ScalarSize:])
	k.pledge, errs[2] = exposure.DecodePledge(pledge)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("read pledge for consent %s: %w", of.ConsentID, err)
	}
	return k, nil
}

// Made returns the hash of a pledge that was made; ok is false while there is none.
func (b *Book) Made(ctx context.Context, of Of) (hash record.Hash, ok bool, err error) {
	k, err := b.find(ctx, of)
	if err != nil || k == nil {
		return record.Hash{}, false, err
	}
	return record.Hash(k.pledge.Hash(b.context(of))), true, nil
}

// Make pledges a figure and returns the pledge's hash once it is on disk. Made again
// it is the same, whatever figure is given; and a subject that was pledged for before
// in this epoch is pledged for with that figure. It proves for a fraction of a second.
func (b *Book) Make(ctx context.Context, of Of, f query.Figure) (record.Hash, error) {
	if hash, ok, err := b.Made(ctx, of); err != nil || ok {
		return hash, err
	}
	figure, err := b.freeze(ctx, of, f)
	if err != nil {
		return record.Hash{}, err
	}
	c := b.context(of)
	opening, pledge, err := exposure.MakePledge(b.cfg.Proving, c, figure)
	if err == nil {
		err = pledge.Verify(b.cfg.Verifying, c) // keys of two ceremonies, or a damaged one
	}
	if err != nil {
		return record.Hash{}, fmt.Errorf("pledge for consent %s: %w", of.ConsentID, err)
	}
	err = b.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO total_pledges VALUES (?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`, string(of.ConsentID), of.CodeHash[:], int64(of.Epoch),
			f.Subject[:], append(opening.Value.Bytes(), opening.Blinding.Bytes()...), pledge.Bytes(), b.cfg.Clock().UnixMilli())
		return err
	})
	if err != nil {
		return record.Hash{}, fmt.Errorf("keep pledge for consent %s: %w", of.ConsentID, err)
	}
	hash, ok, err := b.Made(ctx, of) // another call may have been quicker
	if err == nil && !ok {
		err = fmt.Errorf("pledge for consent %s: it was erased meanwhile", of.ConsentID)
	}
	return hash, err
}

// freeze returns the subject's figure for the epoch: the first one that was read.
func (b *Book) freeze(ctx context.Context, of Of, f query.Figure) (uint64, error) {
	var figure int64
	err := b.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`INSERT INTO total_figures VALUES (?,?,?,?) ON CONFLICT DO NOTHING`, f.Subject[:], of.CodeHash[:], int64(of.Epoch), int64(f.Value)); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT figure FROM total_figures WHERE tag = ? AND code_hash = ? AND epoch = ?`, f.Subject[:], of.CodeHash[:], int64(of.Epoch)).Scan(&figure)
	})
	if err != nil {
		return 0, fmt.Errorf("freeze figure for consent %s: %w", of.ConsentID, err)
	}
	return uint64(figure), nil
}

// Share implements query.Shares.
func (b *Book) Share(ctx context.Context, p *query.Permit) (*query.Share, error) {
	log := b.cfg.Logger.With("request", string(p.Request.RequestID))
	s, err := exposure.SessionOf(b.cfg.ChainID, p.Exposure)
	if err != nil {
		log.Warn("total: a permitted set is none; refusing", "err", err)
		return nil, nil
	}
	place, ok := s.Seat(b.cfg.Member)
	if !ok {
		log.Warn("total: this member has no seat in a permitted set; refusing")
		return nil, nil
	}
	seat := &s.Seats[place]
	k, err := b.find(ctx, Of{seat.ConsentID, seat.Epoch, seat.CodeHash})
	if err != nil {
		return nil, err
	}
	if k == nil {
		log.Error("total: the pledge that the ledger holds is not here: private.db was rolled back or lost. Refusing; open a new epoch", "consent", seat.ConsentID)
		return nil, nil
	}
	own, ok := b.cfg.DataKey(string(seat.KeyID))
	if !ok {
		return nil, fmt.Errorf("data key %s of the pledge is not here: restore it", seat.KeyID)
	}
	secrets, err := pair.Among(own, place, s.Keys())
	if err != nil {
		log.Warn("total: nothing is masked with a key of the set; refusing", "err", err)
		return nil, nil
	}
	share, err := exposure.MakeShare(s, place, k.opening, k.pledge, secrets)
	if err != nil {
		log.Error("total: the pledge here is not the one that the ledger holds; refusing", "err", err)
		return nil, nil
	}
	return &query.Share{Bytes: share.Bytes(), Tell: func(tx *sql.Tx) (bool, error) { return b.tell(tx, k.subject, p.Exposure) }}, nil
}

// toldFor is how long a set counts in which a figure was told.
const toldFor = 365 * 24 * time.Hour

// tell records a set in which a subject's figures are told, unless that and those
// before show one bank's figure, or compare this bank's with a second threshold. The
// ledger holds every principal key for itself; only a bank knows that two of them are
// one person's.
func (b *Book) tell(tx *sql.Tx, subject [32]byte, e *record.Exposure) (bool, error) {
	next := told{Threshold: e.Threshold}
	for i := range e.Seats {
		next.Figures = append(next.Figures, record.Figure{Bank: e.Seats[i].Bank, Epoch: e.Seats[i].Epoch, TemplateID: e.Seats[i].TemplateID})
	}
	now := b.cfg.Clock()
	rows, err := tx.Query(`SELECT figures FROM total_told WHERE tag = ? AND told > ? ORDER BY told`, subject[:], now.Add(-toldFor).UnixMilli())
	if err != nil {
		return false, fmt.Errorf("read what was told: %w", err)
	}
	defer rows.Close()
	var sets []record.FigureSet
	search := false
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return false, fmt.Errorf("read what was told: %w", err)
		}
		before, err := decodeTold(text)
		if err != nil {
			return false, fmt.Errorf("read what was told: %w", err)
		}
		if before.Threshold == next.Threshold && slices.Equal(before.Figures, next.Figures) {
			return true, nil // the same set tells nothing new
		}
		search = search || next.searchesWith(&before, b.cfg.Member)
		sets = append(sets, record.FigureSet{Figures: before.Figures})
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("read what was told: %w", err)
	}
	if search || len(sets) >= record.MaxExposureSets || b.cfg.Shows(append(sets, record.FigureSet{Figures: next.Figures})) {
		return false, nil
	}
	text, err := next.encode()
	if err != nil {
		return false, err
	}
	if _, err := tx.Exec(`INSERT INTO total_told VALUES (?,?,?) ON CONFLICT (tag, figures) DO UPDATE SET told = excluded.told`, subject[:], text, now.UnixMilli()); err != nil {
		return false, fmt.Errorf("record what is told: %w", err)
	}
	return true, nil
}

// Erase implements query.Shares. In which sets figures were told stays, as the leak
// account does: or an erasure would buy a second look.
func (b *Book) Erase(tx *sql.Tx, consent record.ConsentID) error {
	_, err := tx.Exec(`DELETE FROM total_figures AS f WHERE
		(tag, code_hash, epoch) IN (SELECT tag, code_hash, epoch FROM total_pledges WHERE consent_id = ?) AND NOT
		EXISTS (SELECT 1 FROM total_pledges p WHERE p.consent_id <> ? AND p.tag = f.tag AND p.code_hash = f.code_hash AND p.epoch = f.epoch)`,
		string(consent), string(consent))
	if err == nil {
		_, err = tx.Exec(`DELETE FROM total_pledges WHERE consent_id = ?`, string(consent))
	}
	if err != nil {
		return fmt.Errorf("erase pledges for consent %s: %w", consent, err)
	}
	return nil
}
