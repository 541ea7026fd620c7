package query_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/hpke"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/celquery"
	"github.com/assent-network/assent/node/query/epoch"
	"github.com/assent-network/assent/node/vault"
)

func TestMain(m *testing.M) {
	// Every request is real cryptography and SQL; -rapid.checks on the command line
	// still asks for more.
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// crash is where the process dies in a transaction.
type crash int

const (
	nowhere crash = iota
	before
	inside // everything written, nothing committed
	after  // committed, but nobody heard of it
)

var errDead = errors.New("the process is dead")

// store is private.db with a process that can die around any transaction.
type store struct {
	db   *sql.DB
	mu   sync.Mutex
	dead bool
	died chan struct{} // closed when dead
	at   int           // countdown to the transaction that kills
	how  crash
	dos  int
}

func openStore(t testing.TB, path string) *store {
	t.Helper()
	// synchronous=OFF: these tests kill the process, not the machine.
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(5000)")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return &store{db: db, died: make(chan struct{})}
}

func (s *store) Do(_ context.Context, fn func(*sql.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errDead
	}
	s.dos++
	how := nowhere
	if s.how != nowhere {
		if s.at--; s.at == 0 {
			how, s.dead = s.how, true
			close(s.died)
		}
	}
	if how == before {
		return errDead
	}
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return err
	}
	if how == inside {
		return errDead
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if how == after {
		return errDead
	}
	return nil
}

func (s *store) Prepare(q string) (*sql.Stmt, error) { return s.db.Prepare(q) }
func (s *store) Reader() *sql.DB                     { return s.db }

// departures keeps what leaves in a table of its own, in the same transaction.
type departures struct {
	t    testing.TB
	s    *store
	mu   sync.Mutex
	seen map[record.RequestID]query.Departure
	came chan record.RequestID
	fail error
}

func (d *departures) Put(tx *sql.Tx, it query.Departure) error {
	d.mu.Lock()
	fail := d.fail
	d.mu.Unlock()
	if fail != nil {
		return fail
	}
	receipt, err := record.Encode(&it.Receipt)
	must(d.t, err)
	_, err = tx.Exec(`INSERT INTO departures VALUES (?,?,?,?,?,?)`, string(it.RequestID), string(it.Lender), it.Sealed, string(receipt), it.NotBefore.UnixMicro(), it.Deadline.UnixMilli())
	return err
}

func (d *departures) setFail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

func (d *departures) Committed(it query.Departure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[it.RequestID] = it
	select {
	case d.came <- it.RequestID:
	default:
	}
}

func (d *departures) get(id record.RequestID) (query.Departure, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	it, ok := d.seen[id]
	return it, ok
}

// memoryVault is a vault whose moods a test can set.
type memoryVault struct {
	mu      sync.Mutex
	rows    map[vault.Subject]map[string]vault.Value
	err     error
	lookups int
	income  vault.Type
	looked  chan struct{} // one token per look-up, as long as there is room
}

func (v *memoryVault) Describe() []vault.Column {
	return []vault.Column{{Name: "late", Type: vault.Int}, {Name: "income", Type: v.income}, {Name: "region", Type: vault.String}}
}

func (v *memoryVault) Check(context.Context) error { return nil }
func (v *memoryVault) Close() error                { return nil }
func (v *memoryVault) set(f func())                { v.mu.Lock(); defer v.mu.Unlock(); f() }
func (v *memoryVault) Lookup(_ context.Context, s vault.Subject, cols []string) (vault.Row, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lookups++
	select {
	case v.looked <- struct{}{}:
	default:
	}
	if v.err != nil {
		return nil, v.err
	}
	row, ok := v.rows[s]
	if !ok {
		return nil, vault.ErrUnknownSubject
	}
	out := make(vault.Row, len(cols))
	for i, c := range cols {
		out[i] = row[c]
	}
	return out, nil
}

func (v *memoryVault) Scan(_ context.Context, cols []string, visit func(vault.Subject, vault.Row) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s, row := range v.rows {
		out := make(vault.Row, len(cols))
		for i, c := range cols {
			out[i] = row[c]
		}
		if err := visit(s, out); err != nil {
			return err
		}
	}
	return v.err
}

// world is a provider with customers, and lenders that ask.
type world struct {
	t       testing.TB
	path    string
	store   *store
	vault   *memoryVault
	out     *departures
	data    hpke.PrivateKey
	noKey   bool
	answers map[record.RequestID]hpke.PrivateKey
	cfg     query.Config
	a       *query.Answerer
	product record.Product
	serial  uint64
	asked   *query.Permit
	stop    func()
}

var chainID = record.Hash{0xc4, 0xa1}

func newWorld(t testing.TB) *world {
	w := &world{t: t, path: filepath.Join(t.TempDir(), "private.db"), answers: map[record.RequestID]hpke.PrivateKey{},
		vault: &memoryVault{rows: map[vault.Subject]map[string]vault.Value{}, income: vault.Int, looked: make(chan struct{}, 4)}}
	var err error
	w.data, err = answer.GenerateKey()
	must(t, err)
	column := func(name string, typ record.ColumnType, epoch, year uint64) record.Column {
		return record.Column{Name: name, Type: typ, DataClass: record.C2, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: epoch, BitsPerYear: year}}
	}
	w.product = record.Product{Provider: "bank", PublishedAt: 1, ProductSpec: record.ProductSpec{
		ProductID: "credit", Version: 1, Title: "Credit", Purposes: []record.Purpose{record.CreditChecking}, Methods: record.Methods(),
		Columns: []record.Column{column("income", record.TypeInt, 4, 6), column("late", record.TypeInt, 3, 100), column("region", record.TypeString, 2, 4)}}}
	w.open()
	return w
}

// open starts the provider on what is on disk.
func (w *world) open() {
	w.t.Helper()
	w.store = openStore(w.t, w.path)
	_, err := w.store.db.Exec(`CREATE TABLE IF NOT EXISTS departures (id TEXT PRIMARY KEY, lender TEXT, sealed BLOB, receipt TEXT, not_before INTEGER, deadline INTEGER)`)
	must(w.t, err)
	w.out = &departures{t: w.t, s: w.store, seen: map[record.RequestID]query.Departure{}, came: make(chan record.RequestID, 1000)}
	epochs, err := epoch.Open(filepath.Join(filepath.Dir(w.path), "epochs"), chainID, make([]byte, 32))
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, epochs.Close()) })
	w.cfg = query.Config{Store: w.store, Epochs: epochs, Departures: w.out, Engine: celquery.New(), ChainID: chainID, Member: "bank", TagKey: make([]byte, 32),
		Vault:    func(id record.ProductID) (vault.Connector, bool) { return w.vault, id == "credit" },
		DataKey:  func(id string) (hpke.PrivateKey, bool) { return w.data, id == "data-1" && !w.noKey },
		RetryMin: 2 * time.Millisecond, RetryMax: 10 * time.Millisecond}
	w.a, err = query.Open(context.Background(), w.cfg)
	must(w.t, err)
}

// run starts the background work and stops it with the test.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	a := w.a
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			cancel()
			must(w.t, <-done)
		})
	}
	w.t.Cleanup(w.stop)
}

// reopen is a restart after a crash: nothing of the old process is left.
func (w *world) reopen() {
	w.t.Helper()
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	w.store.db.Close()
	w.open()
}

// customer is a person with a wallet.
type customer struct {
	subject vault.Subject
	wallet  *ecdsa.PrivateKey
}

func (w *world) customer(id string, row map[string]vault.Value) customer {
	w.t.Helper()
	key, err := crypto.GenerateKey()
	must(w.t, err)
	c := customer{vault.Subject(id), key}
	must(w.t, w.a.Bind(context.Background(), c.subject, crypto.PubkeyToAddress(key.PublicKey)))
	if row != nil {
		w.vault.set(func() { w.vault.rows[c.subject] = row })
	}
	return c
}

// consent is one consent of a customer to a lender.
type consent struct {
	record record.Consent
	part   *record.SealedPart
	sealed []byte
}

func (w *world) consent(c customer, lender record.OrgID) consent {
	w.t.Helper()
	w.serial++
	principal, err := crypto.GenerateKey()
	must(w.t, err)
	id := record.NewConsentID([16]byte{1, byte(w.serial), byte(w.serial >> 8)})
	terms := record.ConsentTerms{
		AccessLimits: record.AccessLimits{FrequencyPerDay: 100, MaxUses: 1000}, ConsentID: id, ConsentType: record.Separate,
		DataClasses: []record.DataClass{record.C2}, ExpirationDateTime: 2_000_000_000_000, NoticeHash: record.Hash{1},
		Parties:      []record.Party{{PartyID: lender, Role: record.DataConsumer}, {PartyID: "bank", Role: record.DataProvider}},
		PrincipalKey: crypto.PubkeyToAddress(principal.PublicKey), PrincipalRef: record.NewPrincipalRef([16]byte{2, byte(w.serial)}),
		ProcessingMethods: []record.TemplateKind{record.Bucket}, ProductID: "credit", Purposes: []record.Purpose{record.CreditChecking},
		SchemaVersion: record.SchemaVersion, TemplateIDs: []record.TemplateID{"income-band"}, ValidFrom: 1, Version: 1,
	}
	k := consent{record: record.Consent{ConsentTerms: terms, Authorisation: &record.Authorisation{Method: record.Wallet, OrgID: lender, At: 1, Signature: make([]byte, 65)},
		CreatedAt: 1, Status: record.Authorised, StatusUpdateDateTime: 1}}
	digest, err := record.EndorsementOf(&terms).Digest(chainID)
	must(w.t, err)
	sig, err := crypto.Sign(digest[:], c.wallet)
	must(w.t, err)
	k.part = &record.SealedPart{ChainID: chainID, ConsentID: id, NoticeLanguage: "zh-CN", Salt: answer.NewSalt(), SubjectID: string(c.subject), Version: 1,
		Endorsement: &record.WalletEndorsement{Signature: sig, Wallet: crypto.PubkeyToAddress(c.wallet.PublicKey)}}
	w.commit(&k)
	return k
}

// commit seals the part and writes its commitment into the consent.
func (w *world) commit(k *consent) {
	w.t.Helper()
	var err error
	k.record.RecordCommitment, err = k.part.Commitment()
	must(w.t, err)
	k.sealed = w.seal(k.part)
}

func (w *world) seal(part *record.SealedPart) []byte {
	w.t.Helper()
	s, err := answer.SealPart(w.data.PublicKey(), "bank", "data-1", part)
	must(w.t, err)
	return s.Encode()
}

func (w *world) deliver(k consent) {
	w.t.Helper()
	must(w.t, w.a.StorePart(context.Background(), k.record.Consumer(), k.sealed))
}

func (w *world) template(id record.TemplateID, source string, outputs []string, columns ...string) record.Template {
	w.t.Helper()
	spec := record.TemplateSpec{AnswerTTL: 60_000, Columns: columns, CostLimit: 500, Kind: record.Bucket, Outputs: outputs,
		ProductID: "credit", Source: source, TemplateID: id, Version: 1}
	hash, err := spec.CodeHash()
	must(w.t, err)
	return record.Template{TemplateSpec: spec, ApprovedAt: 1, CodeHash: hash, Provider: "bank"}
}

func (w *world) incomeBand() record.Template {
	return w.template("income-band", `band(income, [1000, 2000], ["LOW", "MID", "HIGH"])`, []string{"LOW", "MID", "HIGH", record.NoRecord}, "income")
}

// permit is one permitted request under a consent.
func (w *world) permit(k consent, tpl record.Template) query.Permit {
	w.t.Helper()
	w.serial++
	key, err := answer.GenerateKey()
	must(w.t, err)
	id := record.NewRequestID(record.Hash{byte(w.serial), byte(w.serial >> 8), byte(w.serial >> 16), 1})
	w.answers[id] = key
	now := time.Now()
	return query.Permit{
		Request: record.Request{AnswerKey: key.PublicKey().Bytes(), Code: record.DecisionCodes()[0], CodeHash: tpl.CodeHash, ConsentID: k.record.ConsentID, ConsentVersion: 1,
			Consumer: k.record.Consumer(), Deadline: now.Add(time.Minute).UnixMilli(), Decision: record.Permit, Epoch: 1, ProductID: "credit",
			Provider: "bank", Purpose: record.CreditChecking, RequestID: id, RequestedAt: now.UnixMilli(), Sequence: 1, TemplateID: tpl.TemplateID},
		Consent: k.record, Template: tpl, Product: w.product, Height: 7, ExecutedAt: now,
	}
}

func (w *world) handle(p query.Permit) {
	w.t.Helper()
	must(w.t, w.a.HandlePermit(context.Background(), p))
}

// ask hands over the permit and returns what the lender can read.
func (w *world) ask(p query.Permit) answer.Answer {
	w.t.Helper()
	w.handle(p)
	return w.read(p)
}

// read opens what departed for a request and checks it as a lender would.
func (w *world) read(p query.Permit) answer.Answer {
	w.t.Helper()
	d, ok := w.out.get(p.Request.RequestID)
	if !ok {
		w.t.Fatalf("nothing departed for %s", p.Request.RequestID)
	}
	return w.openSealed(p, d.Sealed, d.Receipt)
}

func (w *world) openSealed(p query.Permit, wire []byte, receipt record.ReceiptSpec) answer.Answer {
	w.t.Helper()
	sealed, err := answer.DecodeSealed(wire)
	must(w.t, err)
	key := w.answers[p.Request.RequestID]
	got, err := answer.Open(key, answer.Context{ChainID: chainID, RequestID: p.Request.RequestID, Recipient: p.Request.Consumer,
		KeyID: answer.KeyID(p.Request.AnswerKey)}, sealed)
	must(w.t, err)
	must(w.t, receipt.Check())
	must(w.t, answer.Verify(got, answer.Expect{ChainID: chainID, RequestID: p.Request.RequestID, ConsentID: p.Consent.ConsentID, TemplateID: p.Template.TemplateID,
		CodeHash: p.Template.CodeHash, Epoch: p.Request.Epoch, Outputs: p.Template.Outputs},
		record.Receipt{RequestID: receipt.RequestID, Outcome: receipt.Outcome, CodeHash: receipt.CodeHash, EvaluatedHeight: receipt.EvaluatedHeight, ResultCommitment: receipt.ResultCommitment}))
	return got
}

// wait returns when a request has departed.
func (w *world) wait(id record.RequestID) query.Departure {
	w.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		if d, ok := w.out.get(id); ok {
			return d
		}
		select {
		case <-w.out.came:
		case <-deadline:
			w.t.Fatalf("request %s never departed", id)
		}
	}
}

func (w *world) count(q string, args ...any) (n int) {
	w.t.Helper()
	must(w.t, w.store.db.QueryRow(q, args...).Scan(&n))
	return n
}

func income(n int64) map[string]vault.Value {
	return map[string]vault.Value{"income": vault.IntValue(n), "late": vault.IntValue(0), "region": vault.StringValue("north")}
}

func (w *world) leaked(c customer) map[string]uint64 {
	w.t.Helper()
	lines, err := w.a.Leaked(context.Background(), c.subject)
	must(w.t, err)
	out := map[string]uint64{}
	for _, l := range lines {
		out[fmt.Sprintf("%s %s %s", l.Product, l.Period, l.Column)] = l.Millibits
	}
	return out
}
