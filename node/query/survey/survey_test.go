package survey_test

import (
	"bytes"
	"context"
	"crypto/hpke"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/celquery"
	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/node/query/survey"
	"github.com/assent-network/assent/node/vault"
)

const begun = 1_772_323_200_000

// bank is a member with its vault and database, without a node around it.
type bank struct {
	t     *testing.T
	name  record.OrgID
	path  string
	db    *sql.DB
	book  *survey.Book
	key   hpke.PrivateKey
	now   time.Time
	rows  []vault.Row // age, debt
	scans int
	sent  []survey.Count
	dies  error // PutCounts fails with it

	finished map[record.RequestID]bool
	cut      error // a transaction fails with it before its commit
	after    error // … after it: the process dies
}

func (b *bank) Do(_ context.Context, fn func(*sql.Tx) error) error {
	tx, err := b.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := errors.Join(fn(tx), b.cut); err != nil {
		return err
	}
	return errors.Join(tx.Commit(), b.after)
}
func (b *bank) Prepare(q string) (*sql.Stmt, error)         { return b.db.Prepare(q) }
func (b *bank) Reader() *sql.DB                             { return b.db }
func (b *bank) PutCounts(_ *sql.Tx, _ []survey.Count) error { return b.dies }
func (b *bank) CountsCommitted(c []survey.Count)            { b.sent = append(b.sent, c...) }
func (b *bank) Close() error                                { return nil }
func (b *bank) Check(context.Context) error                 { return nil }
func (b *bank) Lookup(context.Context, vault.Subject, []string) (vault.Row, error) {
	return nil, vault.ErrUnavailable
}
func (b *bank) Describe() []vault.Column {
	return []vault.Column{{Name: "age", Type: vault.Int}, {Name: "debt", Type: vault.Int}}
}
func (b *bank) Scan(_ context.Context, columns []string, visit func(vault.Subject, vault.Row) error) error {
	b.scans++
	for i, row := range b.rows {
		if err := visit(vault.Subject(fmt.Sprint("customer ", i)), row); err != nil {
			return err
		}
	}
	return nil
}

// open opens the book anew, as a restart does.
func (b *bank) open() {
	b.t.Helper()
	if b.db != nil {
		b.db.Close()
	}
	var err error
	b.db, err = sql.Open("sqlite", "file:"+b.path+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(60000)")
	must(b.t, err)
	b.book, err = survey.Open(b.t.Context(), survey.Config{
		Store: b, Departures: b, Engine: celquery.New(), ChainID: record.Hash{7}, Member: b.name,
		Vault:   func(record.ProductID) (vault.Connector, bool) { return b, true },
		DataKey: func(string) (hpke.PrivateKey, bool) { return b.key, b.key != nil },
		Clock:   func() time.Time { return b.now },
		Finished: func(_ context.Context, id record.RequestID) (bool, error) {
			return b.finished[id], nil
		},
	})
	must(b.t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type world struct {
	t       *testing.T
	banks   []*bank
	request *record.Cohort
	permits []*query.Permit
}

// newWorld is a permitted request over three banks of so many customers each, half of
// whom are above forty and owe 100 each.
func newWorld(t *testing.T, customers int) *world {
	t.Helper()
	w := &world{t: t, request: &record.Cohort{
		AnswerKey: make(record.Blob, 32), CohortID: record.Hash{1}, Consumer: "lender", Decision: record.Permit, RequestedAt: begun, Deadline: begun + 20_000,
		Plan: record.CohortPlan{EpsilonMicro: 2_000_000, K: 50, Statistics: []record.CohortStatistic{
			{Column: "debt", Kind: record.StatisticMean, Low: "0", High: "200", Granule: 1},
			{Column: "age", Kind: record.StatisticHistogram, Cuts: []string{"45", "60"}},
		}}, Purpose: record.CreditChecking, Year: 2026,
	}}
	spec := record.TemplateSpec{
		AnswerTTL: 20_000, Cohort: &w.request.Plan, Columns: []string{"age", "debt"}, CostLimit: 100, Kind: record.CohortKind, ProductID: "stats",
		Params: []record.Param{{Name: "from", Type: record.TypeInt, Values: []string{"20", "40"}}}, Source: "age >= params.from", TemplateID: "debts", Version: 1,
	}
	class := record.Class{Kind: record.ClassStatOnly, K: 20, EpsilonMicro: 5_000_000}
	product := record.Product{ProductSpec: record.ProductSpec{ProductID: "stats", Columns: []record.Column{
		{Name: "age", Type: record.TypeInt, Class: class}, {Name: "debt", Type: record.TypeInt, Class: class},
	}}}
	for i, name := range []record.OrgID{"bank-a", "bank-b", "bank-c"} {
		b := &bank{t: t, name: name, path: filepath.Join(t.TempDir(), "private.db"), now: time.UnixMilli(begun + 100)}
		var err error
		b.key, err = answer.GenerateKey()
		must(t, err)
		for c := range customers {
			b.rows = append(b.rows, vault.Row{vault.IntValue(int64(20 + 30*(c%2))), vault.IntValue(100)})
		}
		b.open()
		t.Cleanup(func() { b.db.Close() })
		w.banks = append(w.banks, b)
		code, err := spec.CodeHash()
		must(t, err)
		seat := record.CohortSeat{
			Bank: name, Code: record.CodePermit, CodeHash: code, Epoch: 1, Key: b.key.PublicKey().Bytes(), KeyID: "data", ProductID: "stats",
			RequestID: record.BatchRequestID(w.request.CohortID, i), TemplateID: "debts",
		}
		w.request.Seats = append(w.request.Seats, seat)
		w.permits = append(w.permits, &query.Permit{
			Request:  record.Request{RequestID: seat.RequestID, Provider: name, Params: record.ParamValues{{Name: "from", Value: "40"}}},
			Template: record.Template{TemplateSpec: spec, CodeHash: code}, Product: product, Cohort: w.request,
		})
	}
	return w
}

// part is what one bank makes of its permit now.
func (w *world) part(i int) *query.Part {
	w.t.Helper()
	p, err := w.banks[i].book.Part(w.t.Context(), w.permits[i])
	must(w.t, err)
	return p
}

// deliver carries the counts that a bank sent to whom they are for.
func (w *world) deliver(from int) {
	w.t.Helper()
	for _, c := range w.banks[from].sent {
		for _, to := range w.banks {
			if to.name == c.To {
				must(w.t, to.book.Take(w.t.Context(), w.request, w.banks[from].name, c.Share))
			}
		}
	}
}

func (w *world) combine(parts ...*query.Part) (*cohort.Result, error) {
	w.t.Helper()
	s, err := cohort.SessionOf(record.Hash{7}, w.request)
	must(w.t, err)
	var counts, figures []cohort.Delivery
	for i, p := range parts {
		if p == nil || p.Value != answer.ShareValue {
			w.t.Fatalf("%s: %+v", w.banks[i].name, p)
		}
		count, figure, err := cohort.Unpack(p.Carries)
		must(w.t, err)
		counts, figures = append(counts, cohort.Delivery{Bank: w.banks[i].name, Share: count}), append(figures, cohort.Delivery{Bank: w.banks[i].name, Share: figure})
	}
	return cohort.Combine(s, counts, figures)
}

func TestThreeBanksTellOneStatistic(t *testing.T) {
	w := newWorld(t, 2000)
	for i := range w.banks {
		if p := w.part(i); p != nil {
			t.Fatalf("%s told something before it heard of the others: %+v", w.banks[i].name, p)
		}
	}
	for i := range w.banks {
		w.deliver(i)
	}
	r, err := w.combine(w.part(0), w.part(1), w.part(2))
	must(t, err)
	// Noise beyond thirty standard deviations is not seen in the life of this test.
	near := func(what string, got, want, deviation float64) {
		if got < want-30*deviation || got > want+30*deviation {
			t.Errorf("%s: %v, want about %v", what, got, want)
		}
	}
	near("count", float64(r.Count), 3000, r.Deviation)
	near("mean", r.Figures[0].Mean, 100, r.Figures[0].Deviation)
	for i, want := range []float64{0, 3000, 0} {
		near("bucket", float64(r.Figures[1].Buckets[i]), want, r.Figures[1].Deviation)
	}
	for _, b := range w.banks {
		if b.scans != 1 {
			t.Errorf("%s read its vault %d times", b.name, b.scans)
		}
	}
}

// A crash anywhere leaves nothing, or the very bytes that leave afterwards: a share of
// other noise beside the first would tell more than was paid for.
func TestAfterACrashTheSameBytesLeave(t *testing.T) {
	w := newWorld(t, 2000)
	b := w.banks[0]
	b.dies = errors.New("the process dies before the commit")
	if _, err := b.book.Part(t.Context(), w.permits[0]); !errors.Is(err, b.dies) {
		t.Fatalf("error %v", err)
	}
	b.open()
	b.dies = nil
	for i := range w.banks {
		w.part(i)
	}
	if len(b.sent) != 2 || !bytes.Equal(b.sent[0].Share, b.sent[1].Share) {
		t.Fatalf("sent %d counts, or two versions", len(b.sent))
	}
	for i := range w.banks {
		w.deliver(i)
	}
	first := w.part(0)
	// Now the vault is another one, the process starts anew, and the permit comes again.
	b.rows = b.rows[:100]
	for range 3 {
		b.open()
		again := w.part(0)
		if again.Value != first.Value || !bytes.Equal(again.Carries, first.Carries) {
			t.Fatal("after a restart other bytes leave for the same request")
		}
	}
	if len(b.sent) != 2 || b.scans != 2 { // once before the crash, once after it
		t.Errorf("%d counts sent, the vault read %d times", len(b.sent), b.scans)
	}
	count, _, err := cohort.Unpack(first.Carries)
	must(t, err)
	if !bytes.Equal(count, b.sent[0].Share) {
		t.Error("the lender gets another count than the banks")
	}
	if _, err := w.combine(first, w.part(1), w.part(2)); err != nil {
		t.Error(err)
	}
}

func TestNothingIsToldOfASmallCohort(t *testing.T) {
	w := newWorld(t, 4)
	for i := range w.banks {
		w.part(i)
		w.deliver(i)
	}
	for i := range w.banks {
		if p := w.part(i); p == nil || p.Value != answer.TooFewValue || len(p.Carries) != 0 {
			t.Errorf("%s: %+v", w.banks[i].name, p)
		}
	}
}

func TestABankThatBreaksTheFirstRoundIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		want  string // of what bank-a says
	}{
		"missing": {func(w *world) { w.deliver(1) }, `bank-c: MISSING`},
		"late": {func(w *world) {
			w.deliver(1)
			w.banks[0].now = time.UnixMilli(begun + 10_000)
			w.deliver(2)
		}, `bank-c: LATE`},
		"in two versions": {func(w *world) {
			w.deliver(1)
			w.deliver(2)
			other := bytes.Clone(w.banks[2].sent[0].Share)
			other[len(other)-1] ^= 1
			must(w.t, w.banks[0].book.Take(w.t.Context(), w.request, "bank-c", other))
			must(w.t, w.banks[0].book.Take(w.t.Context(), w.request, "bank-c", append(other, 1))) // a third is not kept
		}, `bank-c: CONFLICTING`},
		"of another session": {func(w *world) {
			w.deliver(1)
			other := bytes.Clone(w.banks[2].sent[0].Share)
			other[5] ^= 1
			must(w.t, w.banks[0].book.Take(w.t.Context(), w.request, "bank-c", other))
		}, `bank-c: REPLAYED`},
		"malformed": {func(w *world) {
			w.deliver(1)
			must(w.t, w.banks[0].book.Take(w.t.Context(), w.request, "bank-c", []byte("junk")))
		}, `bank-c: MALFORMED`},
		"other seeds": {func(w *world) {
			w.deliver(1)
			other := bytes.Clone(w.banks[2].sent[0].Share)
			other[40] ^= 1 // the commitment to the seed with bank-a
			must(w.t, w.banks[0].book.Take(w.t.Context(), w.request, "bank-c", other))
		}, `MASK_DISPUTED`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1000)
			for i := range w.banks {
				w.part(i)
			}
			c.spoil(w)
			w.banks[0].now = time.UnixMilli(begun + 10_000)
			p := w.part(0)
			if p == nil || p.Value != answer.BlamedValue {
				t.Fatalf("%+v", p)
			}
			var faults []cohort.Fault
			must(t, json.Unmarshal(p.Carries, &faults))
			said := (&cohort.Blame{Faults: faults}).Error()
			if !strings.Contains(said, c.want) || strings.Contains(said, "bank-b: M") && name != "other seeds" {
				t.Errorf("said %q, want %q", said, c.want)
			}
		})
	}
}

func TestNobodyElsesCountIsTaken(t *testing.T) {
	w := newWorld(t, 10)
	for _, from := range []record.OrgID{"lender", "bank-d", "bank-a", ""} {
		if err := w.banks[0].book.Take(t.Context(), w.request, from, []byte("x")); !errors.Is(err, survey.ErrRefused) {
			t.Errorf("from %q: %v", from, err)
		}
	}
	if err := w.banks[0].book.Take(t.Context(), w.request, "bank-b", make([]byte, cohort.MaxShare+1)); !errors.Is(err, survey.ErrRefused) {
		t.Errorf("too long: %v", err)
	}
}

// A template that cannot run, or a key that masks nothing, is refused at once; a vault
// or key that is missing is waited for.
func TestWhatCannotBeMendedIsRefused(t *testing.T) {
	w := newWorld(t, 10)
	w.permits[0].Template.Source = `"x"`
	if p := w.part(0); p == nil || p.Value != "" {
		t.Errorf("a source that is no condition: %+v", p)
	}
	w = newWorld(t, 10)
	w.request.Seats[1].Key = make(record.Blob, 32)
	if p := w.part(0); p == nil || p.Value != "" {
		t.Errorf("a key of small order: %+v", p)
	}
	w = newWorld(t, 10)
	w.banks[0].key = nil
	if _, err := w.banks[0].book.Part(t.Context(), w.permits[0]); err == nil || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("no key: %v", err)
	}
}
