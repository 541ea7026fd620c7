package chaincode_test

import (
	"crypto/ecdsa"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/internal/memledger"
	"github.com/assent-network/assent/chaincode/record"
)

// start is 2026-03-01T00:00:00Z, the block time a world begins at.
const start record.Millis = 1_772_323_200_000

const (
	second record.Millis = 1_000
	minute               = 60 * second
	hour                 = 60 * minute
	day                  = 24 * hour
)

var chainID = crypto.Keccak256Hash([]byte("chain of the tests"))

// keyOf derives the key that a test calls by name.
func keyOf(name string) *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("key " + name)))
	if err != nil {
		panic(err) // a name whose hash is no key: choose another
	}
	return key
}

// addressOf is the address of the key that a test calls by name. Deriving one
// costs more than a contract call, so each is derived once.
func addressOf(name string) record.Address {
	address, known := addresses.Load(name)
	if !known {
		address, _ = addresses.LoadOrStore(name, crypto.PubkeyToAddress(keyOf(name).PublicKey))
	}
	if other, replaced := standIns[address.(record.Address)]; replaced {
		return other
	}
	return address.(record.Address)
}

// standIns are addresses to take for others: those of certificates, while a
// story is told on a Fabric network.
var standIns map[record.Address]record.Address

var addresses sync.Map // name → record.Address

// consentOf derives the consent id that a test calls by name.
func consentOf(name string) record.ConsentID {
	return record.NewConsentID([16]byte(crypto.Keccak256([]byte("consent " + name))))
}

func refOf(name string) record.PrincipalRef {
	return record.NewPrincipalRef([16]byte(crypto.Keccak256([]byte("principal " + name))))
}

func hashOf(name string) record.Hash { return crypto.Keccak256Hash([]byte("hash " + name)) }

// world is a ledger with its calls numbered, so that each has its own id.
type world struct {
	*memledger.Ledger
	t     testing.TB
	calls uint64
}

// assembled is the one chaincode of all worlds: it keeps no state.
var assembled = sync.OnceValues(func() (shim.Chaincode, error) { return chaincode.New() })

func newWorld(t testing.TB) *world {
	t.Helper()
	cc, err := assembled()
	if err != nil {
		t.Fatal(err)
	}
	return &world{Ledger: memledger.New(cc, start), t: t}
}

// nextTx is the transaction id of the next call.
func (w *world) nextTx() record.Hash {
	w.calls++
	return crypto.Keccak256Hash([]byte("tx"), []byte{byte(w.calls >> 16), byte(w.calls >> 8), byte(w.calls)})
}

// submit makes a call as the named key of org.
func (w *world) submit(org record.OrgID, key, function string, args ...string) memledger.Result {
	w.t.Helper()
	return w.submitAs(record.NewCreator(org, addressOf(key)), function, args...)
}

func (w *world) submitAs(who *record.Creator, function string, args ...string) memledger.Result {
	w.t.Helper()
	result, err := w.Submit(memledger.Call{Creator: who, TxID: w.nextTx(), Function: function, Args: args})
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

// must is submit for calls that a test takes for granted.
func (w *world) must(org record.OrgID, key, function string, args ...string) memledger.Result {
	w.t.Helper()
	result := w.submit(org, key, function, args...)
	if result.Code != record.OK {
		w.t.Fatalf("%s as %s/%s: %s", function, org, key, result.Message)
	}
	return result
}

func (w *world) evaluate(function string, args ...string) memledger.Result {
	w.t.Helper()
	result, err := w.Evaluate(memledger.Call{
		Creator: record.NewCreator("lender-a", addressOf("lender-a-app")), TxID: w.nextTx(), Function: function, Args: args,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

func encode(t testing.TB, r record.Record) string {
	t.Helper()
	data, err := record.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func config() *record.OrderingConfig {
	member := func(org record.OrgID, roles ...record.MemberRole) record.ConfigMember {
		return record.ConfigMember{
			AdminKeys: []record.Address{addressOf(string(org) + "-admin")}, OrgID: org, Roles: roles, Title: "Member " + string(org),
		}
	}
	return &record.OrderingConfig{
		ChainID: chainID, ConfigSeq: 1, ProtocolVersion: 1, ObserversPerMember: 2,
		Members: []record.ConfigMember{
			member("bank-a", record.DataProvider), member("bank-b", record.DataProvider),
			member("lender-a", record.DataConsumer), member("lender-b", record.DataConsumer),
			member("regulator", record.Auditor),
		},
	}
}

func notice() *record.NoticeSpec {
	return &record.NoticeSpec{Language: "en", NoticeID: "income-check", Title: "Income check", Text: "Your bank tells the lender whether your income is above an amount you are shown."}
}

func product() *record.ProductSpec {
	return &record.ProductSpec{
		ProductID: "income", Title: "Income and history", Version: 1,
		Columns: []record.Column{
			{Name: "branch", Type: record.TypeString, DataClass: record.C1, Class: record.Class{Kind: record.ClassNever}},
			{Name: "income", Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 4, BitsPerYear: 12}},
			{Name: "opened", Type: record.TypeTimestamp, DataClass: record.C1, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 4, BitsPerYear: 12}},
		},
		Methods:  []record.Method{record.ProviderAuthenticated, record.Wallet, record.WrittenEvidence},
		Purposes: []record.Purpose{record.CreditChecking, record.CreditScoreEvaluation, record.FraudManagement},
	}
}

func template() *record.TemplateSpec {
	return &record.TemplateSpec{
		AnswerTTL: hour, Columns: []string{"income"}, CostLimit: 10_000, Kind: record.Predicate,
		Outputs:   []string{"YES", "NO", record.NoRecord},
		Params:    []record.Param{{Name: "min", Type: record.TypeInt, Values: []string{"20000", "40000"}}},
		ProductID: "income", Source: "income >= min ? 'YES' : 'NO'", TemplateID: "income-over", Version: 1,
	}
}

// terms are those of the named consent between lender-a and bank-a; its
// principal key is the key of the same name.
func terms(name string) *record.ConsentTerms {
	hash, err := notice().Hash()
	if err != nil {
		panic(err) // the notice above is wrong
	}
	return &record.ConsentTerms{
		AccessLimits: record.AccessLimits{FrequencyPerDay: 2, MaxUses: 3}, AutomatedDecision: true,
		ConsentID: consentOf(name), ConsentType: record.Separate,
		DataClasses: []record.DataClass{record.C2}, DeclinedPurposes: []record.Purpose{record.CreditScoreEvaluation},
		ExpirationDateTime: start + 30*day, NoticeHash: hash,
		Parties:      []record.Party{{PartyID: "lender-a", Role: record.DataConsumer}, {PartyID: "bank-a", Role: record.DataProvider}},
		PrincipalKey: addressOf(name), PrincipalRef: refOf(name),
		ProcessingMethods: []record.TemplateKind{record.Predicate}, ProductID: "income",
		Purposes: []record.Purpose{record.CreditChecking}, RecordCommitment: hashOf("sealed " + name),
		SchemaVersion: record.SchemaVersion, TemplateIDs: []record.TemplateID{"income-over"},
		ValidFrom: start, Version: 1,
	}
}

func request(name string) *record.RequestSpec {
	return &record.RequestSpec{
		AnswerKey: hashOf("answer key").Bytes(), ConsentID: consentOf(name),
		Params: record.ParamValues{{Name: "min", Value: "20000"}}, Purpose: record.CreditChecking, TemplateID: "income-over",
	}
}

func sign(t testing.TB, key string, digest record.Hash, err error) record.Blob {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	signature, err := crypto.Sign(digest[:], keyOf(key))
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// found makes the members, keys and catalogue that most tests begin with.
func (w *world) found() {
	w.t.Helper()
	if r := w.submitAs(record.SystemCreator(), "membership:ApplyConfig", encode(w.t, config())); r.Code != record.OK {
		w.t.Fatal(r.Message)
	}
	register := func(org record.OrgID, key string, roles ...record.ClientRole) {
		w.must(org, string(org)+"-admin", "membership:RegisterClient", encode(w.t, &record.ClientSpec{Address: addressOf(key), Roles: roles}))
	}
	for _, org := range []record.OrgID{"bank-a", "bank-b", "lender-a", "lender-b"} {
		register(org, string(org)+"-app", record.RoleIntegration)
		register(org, string(org)+"-officer", record.RoleOfficer)
	}
	register("bank-a", "bank-a-second", record.RoleOfficer)
	register("bank-b", "bank-b-second", record.RoleOfficer)
	register("regulator", "regulator-auditor", record.RoleAuditor)
	register("regulator", "regulator-officer", record.RoleOfficer)
	w.must("bank-a", "bank-a-officer", "catalog:PublishNotice", encode(w.t, notice()))
	w.must("bank-a", "bank-a-officer", "catalog:PublishProduct", encode(w.t, product()))
	w.must("bank-a", "bank-a-officer", "catalog:ProposeTemplate", encode(w.t, template()))
	w.must("bank-a", "bank-a-second", "catalog:ApproveTemplate", "income-over", codeHash(w.t, template()))
	w.must("bank-a", "bank-a-app", "catalog:OpenEpoch", "income", "1")
}

func codeHash(t testing.TB, spec *record.TemplateSpec) string {
	t.Helper()
	hash, err := spec.CodeHash()
	if err != nil {
		t.Fatal(err)
	}
	return hash.Hex()
}

// consent creates and authorises the named consent.
func (w *world) consent(t *record.ConsentTerms, name string) {
	w.t.Helper()
	w.must("lender-a", "lender-a-app", "consent:Create", encode(w.t, t))
	digest, err := t.Digest(chainID)
	evidence := &record.Evidence{Signature: sign(w.t, name, digest, err)}
	w.must("lender-a", "lender-a-app", "consent:Authorise", string(t.ConsentID), string(record.Wallet), encode(w.t, evidence))
}

func (w *world) callAs(org record.OrgID, key, function string, args ...string) memledger.Call {
	return memledger.Call{Creator: record.NewCreator(org, addressOf(key)), TxID: w.nextTx(), Function: function, Args: args}
}
