package executor

import (
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// genesisTime is 2026-03-01T00:00:00Z in Unix ms.
const genesisTime = 1_772_323_200_000

const (
	hour = 60 * 60 * 1000
	day  = 24 * hour
)

var signers sync.Map // name → ledger.KeySigner; deriving one costs more than a request

func signer(name string) ledger.KeySigner {
	if s, ok := signers.Load(name); ok {
		return s.(ledger.KeySigner)
	}
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("key of " + name)))
	if err != nil {
		panic(err) // a name whose hash is no key: choose another
	}
	s := ledger.NewKeySigner(key)
	signers.Store(name, s)
	return s
}

func hashOf(name string) ledger.Hash { return ledger.Sum([]byte(name)) }

func genesis() *ledger.Config {
	c := &ledger.Config{Network: "test", Protocol: 1, GenesisTime: genesisTime, Limits: ledger.DefaultLimits()}
	for _, m := range []struct{ id, role string }{
		{"bank-a", "DATA_PROVIDER"}, {"bank-b", "DATA_PROVIDER"},
		{"lender-a", "DATA_CONSUMER"}, {"lender-b", "DATA_CONSUMER"}, {"regulator", "AUDITOR"},
	} {
		c.Members = append(c.Members, ledger.Member{
			ID: m.id, Name: "Member " + m.id, Roles: []string{m.role},
			Admins: []ledger.Address{signer(m.id + "-admin").Address()},
		})
	}
	c.Validators = []ledger.Validator{{
		ID: 1, Member: "bank-a", VoteKey: signer("vote").Address(), HostKey: ledger.HostKey{2, 1}, Addrs: []string{"/ip4/127.0.0.1/tcp/1"},
	}}
	return c
}

// network is a state, its executor and a chain of blocks made up by a test.
type network struct {
	t      testing.TB
	config state.Config
	db     *state.DB
	exec   *Executor
	next   ledger.Height
	time   uint64
	nonce  uint64
	txs    []*ledger.Transaction // of the block being put together
	blocks []*ledger.Block
}

// newNetwork makes a ledger with genesis executed. contracts may be zero.
func newNetwork(t testing.TB, contracts Contracts) *network {
	t.Helper()
	return newNetworkInto(t, new(network), contracts)
}

func newNetworkInto(t testing.TB, n *network, contracts Contracts) *network {
	t.Helper()
	g := genesis()
	*n = network{t: t, time: genesisTime, config: state.Config{Dir: t.TempDir(), ChainID: g.Hash()}}
	db, err := state.Create(t.Context(), n.config)
	if err != nil {
		t.Fatal(err)
	}
	n.db = db
	t.Cleanup(func() {
		if err := n.db.Close(); err != nil {
			t.Error(err)
		}
	})
	n.exec, err = New(Config{DB: db, Genesis: g, Contracts: contracts})
	if err != nil {
		t.Fatal(err)
	}
	n.execute(ledger.Genesis(g), nil)
	return n
}

func (n *network) execute(b *ledger.Block, txs []*ledger.Transaction) *Result {
	n.t.Helper()
	r, err := n.exec.Execute(b, txs)
	if err != nil {
		n.t.Fatal(err)
	}
	n.next = b.Header.Height + 1
	n.blocks = append(n.blocks, b)
	return r
}

// tx makes a transaction; unsigned, because checking signatures is not the
// executor's part.
func (n *network) tx(org, key, contract, function string, args ...string) *ledger.Transaction {
	n.nonce++
	p := ledger.Payload{
		ChainID: n.exec.chain, Org: org, Key: signer(key).Address(), Contract: contract, Function: function,
		NotBefore: n.time, ValidUntil: n.time + ledger.MaxValidityMillis,
	}
	binary.BigEndian.PutUint64(p.Nonce[:], n.nonce)
	for _, a := range args {
		p.Args = append(p.Args, []byte(a))
	}
	return ledger.NewTransaction(p)
}

// add puts a transaction into the next block and returns it.
func (n *network) add(org, key, contract, function string, args ...string) *ledger.Transaction {
	tx := n.tx(org, key, contract, function, args...)
	n.txs = append(n.txs, tx)
	return tx
}

// block makes the block of what was added, a millisecond after the last.
func (n *network) block() *ledger.Block {
	n.time++
	b := &ledger.Block{Header: ledger.Header{ChainID: n.exec.chain, Height: n.next, Time: n.time}}
	for _, tx := range n.txs {
		b.Requests = append(b.Requests, tx.Encode())
	}
	return b
}

// commit executes the block of what was added.
func (n *network) commit() *Result {
	n.t.Helper()
	b, txs := n.block(), n.txs
	n.txs = nil
	return n.execute(b, txs)
}

// must commits one call that a test takes for granted.
func (n *network) must(org, key, contract, function string, args ...string) *state.Outcome {
	n.t.Helper()
	o := n.submit(org, key, contract, function, args...)
	if o.Code != "OK" {
		n.t.Fatalf("%s.%s as %s: %s: %s", contract, function, key, o.Code, o.Message)
	}
	return o
}

// submit commits one call in a block of its own.
func (n *network) submit(org, key, contract, function string, args ...string) *state.Outcome {
	n.t.Helper()
	n.add(org, key, contract, function, args...)
	return n.commit().Outcomes[0]
}

func (n *network) evaluate(contract, function string, args ...string) (string, record.Code) {
	n.t.Helper()
	raw := make([][]byte, len(args))
	for i, a := range args {
		raw[i] = []byte(a)
	}
	out, err := n.exec.Evaluate(n.t.Context(), n.db.View(), Identity{"lender-a", signer("lender-a-app").Address()}, contract, function, raw)
	if err == nil {
		return string(out), record.OK
	}
	var r *record.Refusal
	if !errors.As(err, &r) {
		n.t.Fatal(err)
	}
	return r.Detail, r.Code
}

func encode(t testing.TB, r record.Record) string {
	t.Helper()
	b, err := record.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func notice() *record.NoticeSpec {
	return &record.NoticeSpec{Language: "en", NoticeID: "income", Title: "Income", Text: "Your bank answers one question about your income."}
}

func template() *record.TemplateSpec {
	return &record.TemplateSpec{
		AnswerTTL: hour, Columns: []string{"income"}, CostLimit: 10_000, Kind: record.Predicate,
		Outputs:   []string{"YES", "NO", record.NoRecord},
		Params:    []record.Param{{Name: "min", Type: record.TypeInt, Values: []string{"20000", "40000"}}},
		ProductID: "income", Source: "income >= min ? 'YES' : 'NO'", TemplateID: "income-over", Version: 1,
	}
}

// found registers keys and publishes the catalogue that consents need.
func (n *network) found() {
	n.t.Helper()
	for _, org := range []string{"bank-a", "bank-b", "lender-a", "lender-b"} {
		for _, key := range []struct {
			suffix string
			role   record.ClientRole
		}{{"-app", record.RoleIntegration}, {"-officer", record.RoleOfficer}, {"-second", record.RoleOfficer}} {
			n.add(org, org+"-admin", "membership", "RegisterClient",
				encode(n.t, &record.ClientSpec{Address: signer(org + key.suffix).Address(), Roles: []record.ClientRole{key.role}}))
		}
	}
	n.commit()
	n.must("bank-a", "bank-a-officer", "catalog", "PublishNotice", encode(n.t, notice()))
	n.must("bank-a", "bank-a-officer", "catalog", "PublishProduct", encode(n.t, &record.ProductSpec{
		ProductID: "income", Title: "Income", Version: 1,
		Columns: []record.Column{{Name: "income", Type: record.TypeInt, DataClass: record.C2,
			Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 4, BitsPerYear: 12}}},
		Methods: []record.Method{record.ProviderAuthenticated, record.Wallet}, Purposes: []record.Purpose{record.CreditChecking},
	}))
	n.must("bank-a", "bank-a-officer", "catalog", "ProposeTemplate", encode(n.t, template()))
	hash, err := template().CodeHash()
	if err != nil {
		n.t.Fatal(err)
	}
	n.must("bank-a", "bank-a-second", "catalog", "ApproveTemplate", string(template().TemplateID), hash.Hex())
	n.must("bank-a", "bank-a-app", "catalog", "OpenEpoch", "income", "1")
}

func consentID(name string) record.ConsentID {
	return record.NewConsentID([16]byte(crypto.Keccak256([]byte("consent " + name))))
}

func terms(t testing.TB, name string, uses, perDay uint64) *record.ConsentTerms {
	t.Helper()
	hash, err := notice().Hash()
	if err != nil {
		t.Fatal(err)
	}
	return &record.ConsentTerms{
		AccessLimits: record.AccessLimits{FrequencyPerDay: perDay, MaxUses: uses},
		ConsentID:    consentID(name), ConsentType: record.Separate, DataClasses: []record.DataClass{record.C2},
		ExpirationDateTime: genesisTime + 30*day, NoticeHash: hash,
		Parties:           []record.Party{{PartyID: "lender-a", Role: record.DataConsumer}, {PartyID: "bank-a", Role: record.DataProvider}},
		PrincipalKey:      signer(name).Address(),
		PrincipalRef:      record.NewPrincipalRef([16]byte(crypto.Keccak256([]byte("principal " + name)))),
		ProcessingMethods: []record.TemplateKind{record.Predicate}, ProductID: "income",
		Purposes: []record.Purpose{record.CreditChecking}, RecordCommitment: hashOf("sealed " + name),
		SchemaVersion: record.SchemaVersion, TemplateIDs: []record.TemplateID{"income-over"},
		ValidFrom: genesisTime, Version: 1,
	}
}

// addCreate and addAuthorise add what makes a consent; they need two blocks.
func (n *network) addCreate(name string, uses, perDay uint64) {
	n.add("lender-a", "lender-a-app", "consent", "Create", encode(n.t, terms(n.t, name, uses, perDay)))
}

func (n *network) addAuthorise(name string, uses, perDay uint64) {
	digest, err := terms(n.t, name, uses, perDay).Digest(n.exec.chain)
	if err != nil {
		n.t.Fatal(err)
	}
	sig, err := signer(name).Sign(digest)
	if err != nil {
		n.t.Fatal(err)
	}
	n.add("lender-a", "lender-a-app", "consent", "Authorise", string(consentID(name)), string(record.Wallet),
		encode(n.t, &record.Evidence{Signature: sig[:]}))
}

func requestSpec(t testing.TB, name string) string {
	return encode(t, &record.RequestSpec{
		AnswerKey: hashOf("answer key").Bytes(), ConsentID: consentID(name),
		Params: record.ParamValues{{Name: "min", Value: "20000"}}, Purpose: record.CreditChecking, TemplateID: "income-over",
	})
}
