package operations

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

const (
	bank    = "harbour-bank"
	lender  = "quick-loan"
	product = sdk.ProductID("harbour-bank.card")
	late    = sdk.TemplateID("harbour-bank.late")
)

// person is an invented customer of the bank. What is said here must be nowhere in
// the logs.
type person struct{ identity, account, phone, mail string }

var people = []person{
	{"900001197001010017", "6222021234567890017", "+86 139 0000 0017", "hua.wang.0017@mail.example"},
	{"900001197001010018", "6222021234567890018", "+86 139 0000 0018", "li.chen.0018@mail.example"},
}

// world is a running network on which the bank answers, with one consent about the
// first person.
type world struct {
	net       *testnet.Net
	dir       string
	vault     config.Vault
	keys      map[string]ledger.Signer
	lend      *sdk.Client
	officer   *sdk.Client
	consent   sdk.ConsentID
	sealed    []byte
	request   sdk.RequestID
	secrets   []string // tokens and passwords that were used
	said      []byte   // everything that doctors printed
	program   string
	wallet    ledger.Address
	published string // the template, as its officer would have it checked
}

// newWorld founds and starts the network, with every node's log at level debug,
// and takes a consented query to its end.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("ASSENT_LOG_LEVEL", "debug")
	w := &world{dir: t.TempDir(), keys: make(map[string]ledger.Signer)}
	program, err := testnet.Build(t.Context(), w.dir)
	if err != nil {
		t.Fatal(err)
	}
	w.program = program
	w.makeVault(t)
	m := testnet.DefaultManifest()
	m.Profiles = true // operators' addresses
	for i := range m.Members {
		if m.Members[i].ID == bank {
			m.Members[i].Vaults = []config.Vault{w.vault}
		}
	}
	if w.net, err = testnet.Create(t.Context(), filepath.Join(w.dir, "net"), program, m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.net.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := w.net.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Members {
		w.secrets = append(w.secrets, w.password(t, x.ID))
	}
	w.lend, w.officer = w.client(t, lender, "integration"), w.client(t, bank, "officer")
	w.query(t, w.publish(t))
	return w
}

func (w *world) client(t *testing.T, member string, role sdk.ClientRole) *sdk.Client {
	t.Helper()
	c, err := w.net.Client(t.Context(), member, role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) password(t *testing.T, member string) string {
	t.Helper()
	b, err := os.ReadFile(w.net.PasswordPath(member))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (w *world) makeVault(t *testing.T) {
	t.Helper()
	w.vault = config.Vault{
		Product: string(product), Connector: "sqlite", Source: filepath.Join(w.dir, "vault.db"), Table: "customers", Key: "id",
		Timeout: 2 * time.Second, Columns: []config.Column{{Name: "late", Type: "int"}},
	}
	csv := "id,late\n"
	for i, p := range people {
		csv += fmt.Sprintf("%s,%d\n", p.identity, 2*i)
	}
	if err := testnet.LoadVault(t.Context(), w.vault, strings.NewReader(csv)); err != nil {
		t.Fatal(err)
	}
}

// publish puts what the bank offers on the ledger and returns its notice.
func (w *world) publish(t *testing.T) sdk.Hash {
	t.Helper()
	ctx := t.Context()
	notice, _, err := w.officer.Products().PublishNotice(ctx, sdk.NoticeSpec{NoticeID: "harbour-bank.notice", Language: "en", Title: "Notice", Text: "The lender may ask."})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.officer.Products().Publish(ctx, sdk.ProductSpec{
		ProductID: product, Title: "Card", Version: 1, Methods: []sdk.Method{record.ProviderAuthenticated}, Purposes: []sdk.Purpose{record.CreditChecking},
		Columns: []sdk.Column{{Name: "late", Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 100, BitsPerYear: 1000}}},
	}); err != nil {
		t.Fatal(err)
	}
	spec := sdk.TemplateSpec{
		TemplateID: late, Version: 1, ProductID: product, Kind: record.Bucket, Columns: []string{"late"}, CostLimit: 1000, AnswerTTL: 120_000,
		Source: `late > 1 ? "LATE" : "ON_TIME"`, Outputs: []string{"LATE", "ON_TIME", record.NoRecord},
	}
	b, err := record.Encode(&spec)
	if err != nil {
		t.Fatal(err)
	}
	w.published = string(b)
	if err := w.net.ApproveTemplate(ctx, bank, spec); err != nil {
		t.Fatal(err)
	}
	if _, err := w.officer.Products().OpenEpoch(ctx, product, 1); err != nil {
		t.Fatal(err)
	}
	return notice
}

// query makes a consent about the first person, with everything that its sealed
// part may say about her, and asks.
func (w *world) query(t *testing.T, notice sdk.Hash) {
	t.Helper()
	ctx := t.Context()
	terms, err := w.lend.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: bank, Product: product, Templates: []sdk.TemplateID{late}, Purposes: []sdk.Purpose{record.CreditChecking},
		Expires: time.Now().Add(time.Hour), MaxUses: 100, NoticeHash: notice,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := people[0]
	prepared, err := w.lend.Consents().Prepare(ctx, terms, sdk.SealedPart{
		SubjectID: p.identity, Account: p.account,
		Contacts: []record.Contact{{Kind: record.Phone, Value: p.phone}, {Kind: record.Email, Value: p.mail}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.consent, w.sealed = terms.ConsentID, prepared.Sealed
	if _, err := w.lend.Consents().Create(ctx, prepared); err != nil {
		t.Fatal(err)
	}
	if err := w.officer.BindConsent(ctx, terms.ConsentID, p.identity); err != nil {
		t.Fatal(err)
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	w.wallet = crypto.PubkeyToAddress(key.PublicKey)
	if err := w.officer.Bind(ctx, people[1].identity, w.wallet); err != nil {
		t.Fatal(err)
	}
	var evidence sdk.Hash
	rand.Read(evidence[:])
	if _, err := w.officer.Consents().Authorise(ctx, terms.ConsentID, record.ProviderAuthenticated, sdk.Evidence{EvidenceHash: evidence}); err != nil {
		t.Fatal(err)
	}
	r, err := w.lend.Query(ctx, sdk.QueryRequest{Consent: w.consent, Template: late, Purpose: record.CreditChecking})
	if err != nil {
		t.Fatal(err)
	}
	if r.Answer == nil || r.Answer.Value != "ON_TIME" {
		t.Fatalf("the query ended with %+v", r)
	}
	w.request = r.Decision.RequestID
	denied, err := w.lend.Query(ctx, sdk.QueryRequest{Consent: w.consent, Template: late, Purpose: record.FraudManagement})
	if err != nil || denied.Decision.Permit {
		t.Fatalf("a purpose that was not agreed to: %+v, %v", denied, err)
	}
}

// signer returns the key of one of a member's people.
func (w *world) signer(t *testing.T, member string, role sdk.ClientRole) ledger.Signer {
	t.Helper()
	name := member + "/" + string(role)
	if w.keys[name] == nil {
		s, err := sdk.ReadKeyFile(w.net.KeyPath(member, role), w.password(t, member))
		if err != nil {
			t.Fatal(err)
		}
		w.keys[name] = s
	}
	return w.keys[name]
}

// bearer makes a token for a node of the signer's member.
func (w *world) bearer(t *testing.T, member string, role sdk.ClientRole) string {
	t.Helper()
	now := time.Now()
	s, err := token.Sign(w.signer(t, member, role), token.Claims{
		Org: member, Audience: token.Audience(w.net.Genesis().Hash(), w.net.First(member).Card.NodeID), IssuedAt: now, Expires: now.Add(4 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.secrets = append(w.secrets, s)
	return s
}

// TestOperations runs on one network; what breaks it comes last.
func TestOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	w := newWorld(t)
	t.Run("examples", func(t *testing.T) { testExamples(t, w) })
	t.Run("metrics", func(t *testing.T) { testMetrics(t, w) })
	t.Run("health", func(t *testing.T) { testHealth(t, w) })
	t.Run("doctor", func(t *testing.T) { testDoctor(t, w) })
	t.Run("logs", func(t *testing.T) { testLogs(t, w) })
}

// get reads a path of a node's operators' address.
func get(t *testing.T, x *testnet.Node, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+x.Ops+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, http.DefaultClient, req)
}
