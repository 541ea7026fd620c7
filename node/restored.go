package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/state"
)

// restoredFile, in the data directory, says that it came from a backup. It stays
// there: what holds for such a node holds for good.
const restoredFile = "restored.json"

// mark is the content of restoredFile.
type mark struct {
	Format   int      `json:"format"` // 1
	Restored string   `json:"restored"`
	Made     string   `json:"made"` // when the backup was
	VoteKeys []string `json:"voteKeys"`
	// Height is the newest block of the network when the restored node first had
	// caught up; 0: not yet. What was permitted up to there, its predecessor may have
	// answered.
	Height uint64 `json:"height"`
	// Erased: what was erased or deleted since the backup is destroyed here too.
	Erased bool `json:"erased"`
}

// restored keeps a node that came from a backup from what its predecessor may have
// done already: voting with its keys, answering what it has answered, showing what
// it has destroyed.
type restored struct {
	path  string
	known chan struct{} // closed when mark.Height is there

	mu   sync.Mutex // guards mark and its file
	mark mark
}

func readMark(dataDir string) (*mark, error) {
	b, err := os.ReadFile(filepath.Join(dataDir, restoredFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the mark of a restore: %w", err)
	}
	m, err := parseMark(b)
	if err != nil {
		return nil, fmt.Errorf("read the mark of a restore: %s is damaged (%w): restore the node again, a node without it could vote twice", filepath.Join(dataDir, restoredFile), err)
	}
	return m, nil
}

func parseMark(b []byte) (*mark, error) {
	var m mark
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	if m.Format != 1 {
		return nil, fmt.Errorf("format %d, known is 1", m.Format)
	}
	return &m, nil
}

func writeMark(dataDir string, m *mark) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dataDir, restoredFile), append(b, '\n')); err != nil {
		return fmt.Errorf("write the mark of a restore: %w", err)
	}
	return nil
}

// mayVote reports whether a vote key was made after the restore. Every other one
// may have voted for what the backup does not know.
func (m *mark) mayVote(key ledger.Address) bool {
	return slices.Contains(m.VoteKeys, strings.ToLower(key.Hex()))
}

// admitVoteKey notes in a data directory that came from a backup that a vote key
// was made for it.
func admitVoteKey(dataDir string, key ledger.Address) error {
	m, err := readMark(dataDir)
	if err != nil || m == nil {
		return err
	}
	m.VoteKeys = append(m.VoteKeys, strings.ToLower(key.Hex()))
	return writeMark(dataDir, m)
}

// openRestored finds out whether the data came from a backup, and puts away the
// vote keys that were there before.
func (n *Node) openRestored() error {
	m, err := readMark(n.cfg.DataDir)
	if err != nil || m == nil {
		return err
	}
	n.restored = &restored{path: n.cfg.DataDir, known: make(chan struct{}), mark: *m}
	if m.Height > 0 {
		close(n.restored.known)
	}
	n.secrets.votes = slices.DeleteFunc(n.secrets.votes, func(k ledger.Signer) bool {
		if m.mayVote(k.Address()) {
			return false
		}
		n.log.Error("ALARM: a vote key from before the restore is here: it is not used, it may have voted for what the backup does not know", "voteKey", k.Address())
		return true
	})
	return nil
}

// newVoteKey names the key with which a restored validator could vote.
func (n *Node) newVoteKey() string {
	if len(n.secrets.votes) == 0 {
		return "ADDRESS (make a key first: assentd keys new NAME --kind vote, and name it as identity.voteKey)"
	}
	return strings.ToLower(n.secrets.votes[0].Address().Hex())
}

// change changes what is on disk now: meanwhile a vote key may have been admitted
// there by another process.
func (r *restored) change(f func(*mark)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := readMark(r.path)
	if err == nil && next == nil {
		err = fmt.Errorf("%s is gone: restore the node again, a node without it could vote twice", filepath.Join(r.path, restoredFile))
	}
	if err != nil {
		return err
	}
	f(next)
	if err := writeMark(r.path, next); err != nil {
		return err
	}
	r.mark = *next
	return nil
}

func (r *restored) now() mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mark
}

// serves refuses to show what may have been destroyed since the backup.
func (r *restored) serves() error {
	if r == nil || r.now().Erased {
		return nil
	}
	return api.Refuse(pb.Code_CODE_NOT_READY, "this node was restored from a backup and has not yet destroyed again what was erased since")
}

// handleRestored stands before the answerer of a node that came from a backup.
func (n *Node) handleRestored(ctx context.Context, p query.Permit) error {
	select {
	case <-n.restored.known:
	case <-ctx.Done():
		return ctx.Err()
	}
	before := n.restored.now().Height
	given := p.Height <= before
	if !given {
		// Those before it say in which epochs answers were lost.
		if !waitUntil(ctx, func() bool { return n.permits.settled(before) }) {
			return errors.New("permits from before the restore are still being looked at")
		}
		closed, err := n.answerer.Closed(ctx, p.Product.ProductID, p.Request.Epoch)
		if err != nil {
			return err
		}
		if !closed {
			return n.answerer.HandlePermit(ctx, p)
		}
		n.log.Warn("an answer is withheld: answers of this epoch were lost with the database: open a new epoch of the product", "product", p.Product.ProductID, "epoch", p.Request.Epoch, "request", p.Request.RequestID)
	}
	told := record.ReceiptOutcome("")
	r, err := loadRecord[record.Receipt](n.state.View(), record.ReceiptKey(p.Request.RequestID))
	switch {
	case err == nil:
		told = r.Outcome
	case !errors.Is(err, errNoRecord):
		return err
	}
	return n.answerer.Forgo(ctx, p, told, given)
}

// runRestored sees to what a restored node must do before it is like any other.
func (n *Node) runRestored(ctx context.Context) error {
	if n.restored == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	wait := func() bool {
		select {
		case <-tick.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for !n.caughtUp.Load() {
		if !wait() {
			return nil
		}
	}
	if n.restored.now().Height == 0 {
		height := uint64(n.state.View().Height())
		if err := n.restored.change(func(m *mark) { m.Height = max(height, 1) }); err != nil {
			return err
		}
		close(n.restored.known)
	}
	for !n.restored.now().Erased {
		done, err := n.eraseAgain(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.log.Warn("what was erased since the backup is not destroyed yet, will try again", "error", err)
		default:
			n.log.Info("what was erased since the backup is destroyed again", "consents", done)
			if err := n.restored.change(func(m *mark) { m.Erased = true }); err != nil {
				return err
			}
			continue
		}
		if !wait() {
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

// eraseAgain destroys what a restore brought back of consents that the ledger says
// are erased, or whose answers are deleted. It returns how many those were.
func (n *Node) eraseAgain(ctx context.Context) (done int, err error) {
	d := &dutyRun{Node: n, limit: rate.NewLimiter(dutyRate, dutyBurst), view: n.state.View()}
	err = n.keptConsents(ctx, func(id record.ConsentID) error {
		c, err := loadRecord[record.Consent](d.view, record.ConsentKey(id))
		if errors.Is(err, errNoRecord) {
			return nil // never created: nobody could ask about it
		}
		if err != nil {
			return err
		}
		_, deleted, err := d.view.Get(record.DeletionKey(id))
		switch {
		case err != nil:
			return err
		case c.ErasureStatus != "" && (string(c.Provider()) != n.member || n.answerer != nil):
			done++
			_, err = d.destroy(ctx, id)
		case deleted && string(c.Consumer()) == n.member:
			done++
			err = d.discardAnswers(ctx, c)
		}
		return err
	})
	if err != nil {
		return done, err
	}
	return done, n.private.Checkpoint(ctx)
}

// keptConsents names every consent of which the private database holds something,
// some of them more than once.
func (n *Node) keptConsents(ctx context.Context, f func(record.ConsentID) error) error {
	for _, from := range []struct{ table, column string }{
		{"query_parts", "consent_id"}, {"query_sessions", "consent_id"}, {"query_requests", "consent_id"},
		{"outbox_items", "consent_id"}, {"node_parts", "id"}, {"inbox_answers", "request_id"},
	} {
		var there bool
		err := n.private.Reader().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)`, from.table).Scan(&there)
		if err != nil {
			return err
		}
		for last := ""; there; {
			ids, err := column(ctx, n.private.Reader(), from.table, from.column, last)
			if err != nil {
				return err
			}
			for _, id := range ids {
				consent, err := n.consentOf(from.table, id)
				if err != nil {
					return err
				}
				if consent == "" {
					continue
				}
				if err := f(consent); err != nil {
					return err
				}
			}
			if len(ids) == 0 {
				break
			}
			last = ids[len(ids)-1]
		}
	}
	return nil
}

// column reads a page of the values of a column that come after last.
func column(ctx context.Context, db *sql.DB, table, name, last string) ([]string, error) {
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT DISTINCT %[2]s FROM %[1]s WHERE %[2]s > ? ORDER BY %[2]s LIMIT 512`, table, name), last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// consentOf names the consent that a row belongs to; "" if nobody knows it.
func (n *Node) consentOf(table, id string) (record.ConsentID, error) {
	switch table {
	case "node_parts":
		consent, _, _ := strings.Cut(strings.TrimPrefix(id, partItem), "/")
		return record.ConsentID(consent), nil
	case "inbox_answers":
		r, err := loadRecord[record.Request](n.state.View(), record.RequestKey(record.RequestID(id)))
		if errors.Is(err, errNoRecord) || errors.Is(err, state.ErrPruned) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		return r.ConsentID, nil
	}
	return record.ConsentID(id), nil
}
