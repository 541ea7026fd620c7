package badinput

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

const (
	bank     = "bank"
	lender   = "lender"
	rival    = "rival" // another lender
	overseer = "overseer"

	card = "bank.card" // the product most tests ask about
	band = "bank.card.band"
)

// person is a client key of a member.
type person struct {
	org  string
	role sdk.ClientRole
	key  ledger.Signer
}

// world is a running network of four validators and what the tests know of it.
type world struct {
	net    *testnet.Net
	dir    string
	chain  ledger.Hash
	nodes  map[string]*raw // by member
	people map[string]*person
	notice sdk.Hash
	wallet *wallet.Wallet
	turn   atomic.Uint64
}

// newWorld founds and starts the network and publishes the bank's catalogue.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), nodes: map[string]*raw{}, people: map[string]*person{}}
	program, err := testnet.Build(t.Context(), w.dir)
	if err != nil {
		t.Fatal(err)
	}
	m := testnet.Manifest{Network: "bad-input", Members: []testnet.ManifestMember{
		{ID: bank, Name: "Bank", Roles: []string{"DATA_PROVIDER"}, Validators: 1, Vaults: w.vaults()},
		{ID: lender, Name: "Lender", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
		{ID: rival, Name: "Rival", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
		{ID: overseer, Name: "Overseer", Roles: []string{"AUDITOR"}, Validators: 1},
	}}
	if w.net, err = testnet.Create(t.Context(), filepath.Join(w.dir, "net"), program, m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.net.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			w.showLogs(t)
		}
	})
	w.loadVaults(t)
	if err := w.net.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.chain = w.net.Genesis().Hash()
	for _, x := range w.net.Nodes {
		w.nodes[x.Member] = newRaw(x)
		password, err := os.ReadFile(w.net.PasswordPath(x.Member))
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range append([]sdk.ClientRole{"admin"}, testnet.Roles...) {
			key, err := sdk.ReadKeyFile(w.net.KeyPath(x.Member, role), strings.TrimSpace(string(password)))
			if err != nil {
				t.Fatal(err)
			}
			w.people[x.Member+"/"+string(role)] = &person{x.Member, role, key}
		}
	}
	if w.wallet, err = wallet.Create(filepath.Join(w.dir, "wallet.json"), "a wallet for tests"); err != nil {
		t.Fatal(err)
	}
	w.publish(t)
	return w
}

// showLogs helps to understand a failure: what the nodes complained about.
func (w *world) showLogs(t *testing.T) {
	for _, x := range w.net.Nodes {
		b, err := os.ReadFile(x.LogPath())
		if err != nil {
			continue
		}
		lines := slices.DeleteFunc(strings.Split(string(b), "\n"), func(l string) bool {
			return !strings.Contains(l, `"WARN"`) && !strings.Contains(l, `"ERROR"`)
		})
		t.Logf("%s: %d warnings and errors, the last:\n%s", x.Name, len(lines), strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}

func (w *world) as(who string) *person {
	p := w.people[who]
	if p == nil {
		panic("no such person: " + who)
	}
	return p
}

// client is the SDK's, for what is not the subject of a test.
func (w *world) client(t *testing.T, member string, role sdk.ClientRole) *sdk.Client {
	t.Helper()
	c, err := w.net.Client(t.Context(), member, role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// commits checks that the network goes on: a transaction through the next node
// in turn comes to its end. Every test calls it when it is done.
func (w *world) commits(t *testing.T) {
	t.Helper()
	x := w.net.Nodes[w.turn.Add(1)%uint64(len(w.net.Nodes))]
	admin := w.as(x.Member + "/admin")
	spec := sdk.ClientSpec{Roles: []sdk.ClientRole{"auditor"}, Label: "a key for tests"}
	rand.Read(spec.Address[:])
	arg := encode(t, &spec)
	r, o := w.nodes[x.Member].submit(t, w.bearer(t, admin, x), sign(t, admin, w.payload(admin, "membership", "RegisterClient", arg)).Encode())
	if o == nil || o.Code != "OK" {
		t.Errorf("afterwards the network does not commit through %s: %d %s %+v", x.Name, r.status, r.message, o)
	}
}

// read calls a read function at a node, in a state at or after a height.
func (w *world) read(t *testing.T, who string, height uint64, contract, function string, args ...string) []byte {
	t.Helper()
	p := w.as(who)
	x := w.nodes[p.org]
	r := x.call(t, "LedgerService/Evaluate", w.bearer(t, p, x.node), map[string]any{"contract": contract, "function": function, "args": args, "minHeight": height, "waitMs": 10000})
	var got struct {
		Payload []byte `json:"payload"`
	}
	if err := json.Unmarshal(r.body, &got); err != nil || r.status != 200 {
		t.Fatalf("read %s.%s: %d %s", contract, function, r.status, r.body)
	}
	return got.Payload
}

func encode(t *testing.T, r record.Record) string {
	t.Helper()
	b, err := record.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The bank's customers. Their identifiers and figures are invented.
var customers = [][]string{
	{"id", "income", "late", "shoe_size"},
	{"900100199001010017", "5200", "0", "41"},
	{"900100199001010018", "12800", "2", "38"},
}

// vaults maps four products: one that answers, one whose file will be moved
// away, one that takes longer than its time limit, one whose mapping is right
// but whose table was never loaded.
func (w *world) vaults() []config.Vault {
	columns := []config.Column{{Name: "income", Type: "int"}, {Name: "late", Type: "int"}, {Name: "shoe_size", Type: "int"}}
	table := func(product, file string) config.Vault {
		return config.Vault{Product: product, Connector: "sqlite", Source: filepath.Join(w.dir, file), Table: "customers", Key: "id", Timeout: time.Second, Columns: columns}
	}
	slow := table("bank.slow", "card.db")
	slow.Table, slow.Timeout = "", 20*time.Millisecond
	slow.Query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT c.*, (SELECT count(*) FROM n) AS pause FROM customers c"
	slow.Columns = append(slices.Clone(columns), config.Column{Name: "pause", Type: "int"})
	return []config.Vault{table(card, "card.db"), table("bank.moved", "moved.db"), slow}
}

func (w *world) loadVaults(t *testing.T) {
	t.Helper()
	path := filepath.Join(w.dir, "customers.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	c := csv.NewWriter(f)
	if err := c.WriteAll(customers); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, product := range []string{card, "bank.moved"} {
		out, err := exec.CommandContext(t.Context(), w.net.Program, "vault", "import", "--home", w.net.First(bank).Home, "--product", product, "--csv", path).CombinedOutput()
		if err != nil {
			t.Fatalf("vault import: %v\n%s", err, out)
		}
	}
}

// product is what the bank publishes; shoe sizes may never be asked for.
func product(id string) sdk.ProductSpec {
	answer := record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 1000, BitsPerYear: 2000}
	column := func(name string, class record.Class) sdk.Column {
		return sdk.Column{Name: name, Type: record.TypeInt, DataClass: record.C2, Class: class}
	}
	p := sdk.ProductSpec{
		ProductID: sdk.ProductID(id), Title: "For tests", Version: 1, Methods: []sdk.Method{record.ProviderAuthenticated, record.Wallet},
		Purposes: []sdk.Purpose{record.CreditChecking, record.CreditScoreEvaluation},
		Columns:  []sdk.Column{column("income", answer), column("late", answer), column("shoe_size", record.Class{Kind: record.ClassNever})},
	}
	if id == "bank.slow" {
		p.Columns = []sdk.Column{column("income", answer), column("late", answer), column("pause", answer), column("shoe_size", record.Class{Kind: record.ClassNever})}
	}
	return p
}

// template asks whether income is at least a limit out of a list.
func template(productID, id string) sdk.TemplateSpec {
	t := sdk.TemplateSpec{
		TemplateID: sdk.TemplateID(id), ProductID: sdk.ProductID(productID), Version: 1, Kind: record.Predicate, AnswerTTL: 20_000, CostLimit: 1000,
		Columns: []string{"income"}, Outputs: []string{"YES", "NO", "NO_RECORD"},
		Params: []record.Param{{Name: "at_least", Type: record.TypeInt, Values: []string{"3000", "5000", "10000"}}},
		Source: `income >= params.at_least ? "YES" : "NO"`,
	}
	if productID == "bank.slow" {
		t.Columns, t.Params = []string{"pause"}, nil
		t.Source = `pause > 0 ? "YES" : "NO"`
	}
	return t
}

func (w *world) publish(t *testing.T) {
	t.Helper()
	officer := w.client(t, bank, "officer")
	var err error
	if w.notice, _, err = officer.Products().PublishNotice(t.Context(), sdk.NoticeSpec{NoticeID: "bank.notice", Language: "en", Title: "Notice", Text: "For tests."}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{card, "bank.moved", "bank.slow"} {
		if _, err := officer.Products().Publish(t.Context(), product(id)); err != nil {
			t.Fatal(err)
		}
		if err := w.net.ApproveTemplate(t.Context(), bank, template(id, id+".band")); err != nil {
			t.Fatal(err)
		}
		if _, err := officer.Products().OpenEpoch(t.Context(), sdk.ProductID(id), 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range customers[1:] {
		if err := officer.Bind(t.Context(), c[0], w.wallet.Address()); err != nil {
			t.Fatal(err)
		}
	}
}

// consent is one the lender and a customer agreed on, up to the authorisation.
type consent struct {
	id       sdk.ConsentID
	prepared *sdk.PreparedConsent
	part     []byte // key of the subject's copy
}

// agree makes a consent for the first customer that awaits authorisation. change
// may spoil the draft.
func (w *world) agree(t *testing.T, productID string, change func(*sdk.ConsentDraft)) *consent {
	t.Helper()
	c := w.prepare(t, productID, change)
	if _, err := w.client(t, lender, "integration").Consents().Create(t.Context(), c.prepared); err != nil {
		t.Fatal(err)
	}
	return c
}

// prepare is agree up to the ledger.
func (w *world) prepare(t *testing.T, productID string, change func(*sdk.ConsentDraft)) *consent {
	t.Helper()
	lend := w.client(t, lender, "integration")
	d := sdk.ConsentDraft{
		Provider: bank, Product: sdk.ProductID(productID), Templates: []sdk.TemplateID{sdk.TemplateID(productID + ".band")},
		Purposes: []sdk.Purpose{record.CreditChecking}, Expires: time.Now().Add(time.Hour), MaxUses: 100, NoticeHash: w.notice,
	}
	if change != nil {
		change(&d)
	}
	ctx := t.Context()
	draft, err := lend.Consents().Draft(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	notice := sdk.NoticeSpec{NoticeID: "bank.notice", Language: "en", Title: "Notice", Text: "For tests."}
	offer, err := wallet.NewOffer(lend.ChainID(), draft, nil, &notice, time.Now().Add(time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	endorsed, err := w.wallet.Endorse(offer)
	if err != nil {
		t.Fatal(err)
	}
	draft.PrincipalKey = endorsed.PrincipalKey
	c := &consent{id: draft.ConsentID, part: endorsed.PartKey[:]}
	c.prepared, err = lend.Consents().Prepare(ctx, draft, sdk.SealedPart{SubjectID: customers[1][0], NoticeLanguage: "en", Endorsement: endorsed.Record()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// authorise is the customer's yes.
func (w *world) authorise(t *testing.T, c *consent) {
	t.Helper()
	lend := w.client(t, lender, "integration")
	sealed, err := c.prepared.ForSubject(c.part)
	if err != nil {
		t.Fatal(err)
	}
	terms, err := wallet.NewTerms(lend.ChainID(), &c.prepared.Terms, sealed)
	if err != nil {
		t.Fatal(err)
	}
	yes, err := w.wallet.Sign(terms)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lend.Consents().Authorise(t.Context(), c.id, record.Wallet, yes.Evidence()); err != nil {
		t.Fatal(err)
	}
}

// granted is an authorised consent.
func (w *world) granted(t *testing.T, productID string, change func(*sdk.ConsentDraft)) *consent {
	t.Helper()
	c := w.agree(t, productID, change)
	w.authorise(t, c)
	return c
}

// until waits for a condition that comes about by itself.
func until(t *testing.T, within time.Duration, what string, done func() (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := done()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %s", what, within, state)
		}
	}
}

func hex0x(b []byte) string { return fmt.Sprintf("0x%x", b) }
