package total_test

import (
	"context"
	"crypto/hpke"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/node/query/total"
	"github.com/assent-network/assent/node/vault"
)

func TestTheEngineAddsUpOneColumnAsItIs(t *testing.T) {
	product := &record.ProductSpec{ProductID: "loans", Columns: []record.Column{
		{Name: "band", Type: record.TypeInt, Class: record.Class{Kind: record.ClassAnswerOnly}},
		{Name: "name", Type: record.TypeString, Class: record.Class{Kind: record.ClassSumOnly}},
		{Name: "owed", Type: record.TypeInt, Class: record.Class{Kind: record.ClassSumOnly}},
	}}
	template := func(columns []string, source string) *record.Template {
		return &record.Template{TemplateSpec: record.TemplateSpec{TemplateID: "t", Kind: record.Total, Columns: columns, Source: source}}
	}
	e := total.Engine{}
	owed := template([]string{"owed"}, "owed")
	if r, err := e.Check(product, &owed.TemplateSpec); err != nil || len(r.Columns) != 1 || r.LeakMillibits != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, c := range []struct {
		row  vault.Row
		want string
		err  error
	}{
		{vault.Row{vault.IntValue(0)}, "0", nil},
		{vault.Row{vault.IntValue(1<<40 - 1)}, "1099511627775", nil},
		{vault.Row{vault.IntValue(-5)}, "0", nil},
		{vault.Row{vault.Null()}, "", query.ErrNull},
		{vault.Row{vault.IntValue(1 << 40)}, "", query.ErrEvaluation},
		{vault.Row{vault.StringValue("7")}, "", query.ErrEvaluation},
		{vault.Row{}, "", query.ErrEvaluation},
	} {
		got, err := e.Evaluate(product, owed, nil, c.row)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: %q, %v; want %q, %v", len(c.row), got, err, c.want, c.err)
		}
	}
	for name, bad := range map[string]*record.Template{
		"an expression":      template([]string{"owed"}, "owed + 1"),
		"two columns":        template([]string{"band", "owed"}, "owed"),
		"not SUM_ONLY":       template([]string{"band"}, "band"),
		"not INT":            template([]string{"name"}, "name"),
		"no column at all":   template([]string{"ghost"}, "ghost"),
		"columns left empty": template(nil, "owed"),
	} {
		var told *query.TemplateError
		if _, err := e.Check(product, &bad.TemplateSpec); !errors.As(err, &told) {
			t.Errorf("%s: Check says %v", name, err)
		}
		if _, err := e.Evaluate(product, bad, nil, vault.Row{vault.IntValue(1)}); !errors.As(err, &told) {
			t.Errorf("%s: Evaluate says %v", name, err)
		}
	}
}

// private is private.db without what is not needed here.
type private struct{ db *sql.DB }

func (p private) Do(_ context.Context, fn func(*sql.Tx) error) error {
	tx, err := p.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}
func (p private) Prepare(q string) (*sql.Stmt, error) { return p.db.Prepare(q) }
func (p private) Reader() *sql.DB                     { return p.db }

func openPrivate(t *testing.T) private {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "private.db")+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return private{db}
}

func (p private) count(t *testing.T, q string, args ...any) (n int) {
	t.Helper()
	if err := p.db.QueryRow(q, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// member is a bank with its book.
type member struct {
	id      record.OrgID
	private private
	key     hpke.PrivateKey
	book    *total.Book
}

func consentID(bank, person int) record.ConsentID {
	return record.ConsentID(fmt.Sprintf("0x%032x", 256*person+bank+1))
}

// keys are of a ceremony that nobody should trust.
var keys = sync.OnceValues(func() (*exposure.KeySet, error) {
	out := new(exposure.KeySet)
	dir := filepath.Join("..", "exposure", "testdata", "keys", string(exposure.InRange))
	b, err := os.ReadFile(dir + ".prove")
	if err != nil {
		return nil, err
	}
	if out.Proving[0], err = exposure.ReadProvingKey(exposure.InRange, b); err != nil {
		return nil, err
	}
	if b, err = os.ReadFile(dir + ".verify"); err != nil {
		return nil, err
	}
	out.Verifying[0], err = exposure.ReadVerifyingKey(exposure.InRange, b)
	return out, err
})

var chainID = record.Hash{0xc4}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sets is what Shows was asked, and what it says.
type sets struct {
	seen int
	says bool
}

func newMember(t *testing.T, id record.OrgID, shows *sets) *member {
	t.Helper()
	set, err := keys()
	must(t, err)
	m := &member{id: id, private: openPrivate(t)}
	m.key, err = answer.GenerateKey()
	must(t, err)
	m.book, err = total.Open(t.Context(), total.Config{
		Store: m.private, ChainID: chainID, Member: id, Proving: set.Proving[0], Verifying: set.Verifying[0],
		DataKey: func(string) (hpke.PrivateKey, bool) { return m.key, true },
		Shows:   func(s []record.FigureSet) bool { shows.seen = len(s); return shows.says },
	})
	must(t, err)
	return m
}

// asked is a permitted set of all members about a person, with each one's pledge.
func asked(t *testing.T, serial byte, person int, members []*member, figures []query.Figure) *record.Exposure {
	t.Helper()
	e := &record.Exposure{
		AnswerKey: make([]byte, 32), Consumer: "lender", Recipient: "lender", Decision: record.Permit, ExposureID: record.Hash{serial},
		Purpose: record.CreditChecking, Deadline: time.Now().Add(time.Minute).UnixMilli(),
	}
	for i, m := range members {
		of := total.Of{ConsentID: consentID(i, person), Epoch: 4, CodeHash: record.Hash{7}}
		hash, err := m.book.Make(t.Context(), of, figures[i])
		must(t, err)
		e.Seats = append(e.Seats, record.ExposureSeat{
			Bank: m.id, Code: record.CodePermit, CodeHash: of.CodeHash, ConsentID: of.ConsentID, Epoch: of.Epoch, Key: m.key.PublicKey().Bytes(),
			KeyID: "k", Pledge: hash, RequestID: record.BatchRequestID(e.ExposureID, i), TemplateID: "total",
		})
	}
	return e
}

func share(t *testing.T, m *member, e *record.Exposure, i int) *query.Share {
	t.Helper()
	s, err := m.book.Share(t.Context(), &query.Permit{Exposure: e, Request: record.Request{RequestID: e.Seats[i].RequestID}})
	must(t, err)
	return s
}

func combine(t *testing.T, members []*member, e *record.Exposure) (uint64, error) {
	t.Helper()
	set, err := keys()
	must(t, err)
	s, err := exposure.SessionOf(chainID, e)
	must(t, err)
	var all []exposure.Delivery
	for i, m := range members {
		all = append(all, exposure.Delivery{Bank: m.id, Share: share(t, m, e, i).Bytes})
	}
	sum, err := exposure.Combine(set.Verifying[0], s, all)
	if err != nil {
		return 0, err
	}
	return sum.Total(), nil
}

func TestPledgesFreezeWhatEveryShareAdds(t *testing.T) {
	shows := &sets{}
	members := []*member{newMember(t, "bank-a", shows), newMember(t, "bank-b", shows), newMember(t, "bank-c", shows)}
	figure := func(n uint64, who byte) query.Figure { return query.Figure{Subject: [32]byte{who}, Value: n} }
	e := asked(t, 1, 1, members, []query.Figure{figure(100, 1), figure(0, 2), figure(23, 3)})
	if sum, err := combine(t, members, e); err != nil || sum != 123 {
		t.Fatalf("total %d, %v", sum, err)
	}

	// Made again with another figure it is the same pledge; and another consent of the
	// same subject adds the same, whatever the vault says by now.
	again := asked(t, 2, 1, members, []query.Figure{figure(900, 1), figure(900, 2), figure(900, 3)})
	for i := range e.Seats {
		if again.Seats[i].Pledge != e.Seats[i].Pledge {
			t.Errorf("seat %d: another pledge for the same consent and epoch", i)
		}
	}
	other := asked(t, 3, 2, members, []query.Figure{figure(900, 1), figure(900, 2), figure(900, 3)})
	if sum, err := combine(t, members, other); err != nil || sum != 123 {
		t.Fatalf("another consent of the same subjects: total %d, %v", sum, err)
	}
	if other.Seats[0].Pledge == e.Seats[0].Pledge {
		t.Error("two consents have one pledge: they could be linked")
	}

	// Whoever is nobody's customer is answered in as many bytes.
	if known, unknown := share(t, members[0], e, 0), share(t, members[1], e, 1); len(known.Bytes) != len(unknown.Bytes) {
		t.Errorf("shares of %d and %d bytes", len(known.Bytes), len(unknown.Bytes))
	}

	// A pledge that is gone makes no share, and neither does one of another hash.
	if _, err := members[0].private.db.Exec(`DELETE FROM total_pledges WHERE consent_id = ?`, string(consentID(0, 2))); err != nil {
		t.Fatal(err)
	}
	if s := share(t, members[0], other, 0); s != nil {
		t.Error("a share without its pledge")
	}
	e.Seats[0].Pledge[0] ^= 1
	if s := share(t, members[0], e, 0); s != nil {
		t.Error("a share for a pledge that the ledger does not hold")
	}
}

func TestWhatWouldShowOneBankIsNotTold(t *testing.T) {
	shows := &sets{}
	members := []*member{newMember(t, "bank-a", shows), newMember(t, "bank-b", shows), newMember(t, "bank-c", shows)}
	figures := []query.Figure{{Subject: [32]byte{1}, Value: 5}, {Subject: [32]byte{1}}, {Subject: [32]byte{1}}}
	tell := func(e *record.Exposure) (allowed bool) {
		t.Helper()
		s := share(t, members[0], e, 0)
		must(t, members[0].private.Do(t.Context(), func(tx *sql.Tx) (err error) { allowed, err = s.Tell(tx); return err }))
		return allowed
	}
	first := asked(t, 1, 1, members, figures)
	if !tell(first) || shows.seen != 1 {
		t.Fatalf("the first set is refused (%d sets seen)", shows.seen)
	}
	// Under another principal key, which the ledger cannot connect: the bank can.
	second := asked(t, 2, 2, members, figures)
	if !tell(second) || shows.seen != 1 {
		t.Fatal("the same set tells nothing new, and was refused or counted")
	}
	second.Seats[2].Bank = "bank-d"
	shows.says = true
	if tell(second) || shows.seen != 2 {
		t.Fatalf("a set that shows one bank was told (%d sets seen)", shows.seen)
	}
	shows.says = false
	if !tell(second) {
		t.Fatal("what was refused was remembered as told")
	}
	if n := members[0].private.count(t, `SELECT count(*) FROM total_told`); n != 2 {
		t.Errorf("%d sets are remembered, want 2", n)
	}

	// An erasure takes pledge and figure, as soon as no other consent rests on it; what
	// was told stays, or it would buy a second look.
	for person, left := range []int{1, 0} {
		must(t, members[0].private.Do(t.Context(), func(tx *sql.Tx) error { return members[0].book.Erase(tx, consentID(0, person+1)) }))
		if n := members[0].private.count(t, `SELECT count(*) FROM total_figures`); n != left {
			t.Errorf("after erasure %d: %d figures, want %d", person+1, n, left)
		}
	}
	if n := members[0].private.count(t, `SELECT (SELECT count(*) FROM total_pledges) + 10 * (SELECT count(*) FROM total_told)`); n != 20 {
		t.Errorf("pledges and sets after the erasures: %d", n)
	}
}

func TestOneFigureIsComparedWithOneThresholdAnEpoch(t *testing.T) {
	shows := &sets{}
	members := []*member{newMember(t, "bank-a", shows), newMember(t, "bank-b", shows), newMember(t, "bank-c", shows)}
	figures := []query.Figure{{Subject: [32]byte{1}, Value: 5}, {Subject: [32]byte{2}}, {Subject: [32]byte{3}}}
	serial := byte(0)
	// ask is a set with a threshold, under another principal key each time; change
	// makes another set of it, which does not change this bank's pledge.
	ask := func(threshold uint64, change func(e *record.Exposure)) (allowed bool) {
		t.Helper()
		serial++
		e := asked(t, serial, int(serial), members, figures)
		if e.Threshold = threshold; threshold > 0 {
			e.Recipient = "bureau"
		}
		if change != nil {
			change(e)
		}
		s := share(t, members[0], e, 0)
		if s == nil {
			t.Fatal("no share: the set is not one that this test is about")
		}
		must(t, members[0].private.Do(t.Context(), func(tx *sql.Tx) (err error) { allowed, err = s.Tell(tx); return err }))
		return allowed
	}
	otherBanks := func(e *record.Exposure) { e.Seats[1].Bank, e.Seats[2].Bank = "bank-x", "bank-y" }
	otherTemplates := func(e *record.Exposure) {
		for i := range e.Seats {
			e.Seats[i].TemplateID = "total-2"
		}
	}
	if !ask(50_000, nil) || !ask(50_000, nil) {
		t.Fatal("a threshold, asked twice, is refused")
	}
	if n := members[0].private.count(t, `SELECT count(*) FROM total_told`); n != 1 {
		t.Errorf("%d sets are remembered, want 1", n)
	}
	for name, change := range map[string]func(*record.Exposure){"the same set": nil, "other banks": otherBanks, "other templates": otherTemplates} {
		if ask(25_000, change) {
			t.Errorf("a second threshold was told: %s", name)
		}
	}
	if n := members[0].private.count(t, `SELECT count(*) FROM total_told`); n != 1 {
		t.Errorf("what was refused is remembered: %d sets, want 1", n)
	}
	if !ask(50_000, otherBanks) || !ask(0, otherTemplates) {
		t.Error("the same threshold in another set, or the total itself, is refused")
	}
	// In a new epoch the figure is another.
	other := func(e *record.Exposure) {
		of := total.Of{ConsentID: e.Seats[0].ConsentID, Epoch: 5, CodeHash: e.Seats[0].CodeHash}
		hash, err := members[0].book.Make(t.Context(), of, figures[0])
		must(t, err)
		e.Seats[0].Epoch, e.Seats[0].Pledge = of.Epoch, hash
	}
	if !ask(25_000, other) {
		t.Error("another threshold in the next epoch is refused")
	}
	if ask(50_000, other) {
		t.Error("and then a second one was told in it")
	}
}
