package main

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/fabric"
	"github.com/assent-network/assent/chaincode/internal/peerside"
	"github.com/assent-network/assent/chaincode/record"
)

const channel = "lending"

// story is the main job, told by a bank, a lender and a subject's wallet.
type story struct {
	t      *testing.T
	peer   *peerside.Peer
	ids    map[string]*peerside.Identity
	wallet *ecdsa.PrivateKey
	config struct{ Approval, Config string }
	calls  int

	consent string
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{t: t, ids: map[string]*peerside.Identity{}}
	dir := t.TempDir()
	for _, name := range []string{"BankMSP/admin", "BankMSP/officer", "BankMSP/second", "BankMSP/app", "LenderMSP/admin", "LenderMSP/app", "OtherMSP/app"} {
		org, who, _ := strings.Cut(name, "/")
		id, err := peerside.NewIdentity(org, who)
		if err != nil {
			t.Fatal(err)
		}
		s.ids[name] = id
		if err := os.WriteFile(filepath.Join(dir, org+"-"+who+".pem"), id.PEM, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	members := `{"configSeq":1,"members":[
		{"msp":"LenderMSP","title":"Quick Loan","roles":["DATA_CONSUMER"],"admins":["LenderMSP-admin.pem"]},
		{"msp":"BankMSP","title":"Harbour Bank","roles":["DATA_PROVIDER"],"admins":["BankMSP-admin.pem"]}]}`
	file := filepath.Join(dir, "members.json")
	if err := os.WriteFile(file, []byte(members), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, text := command("config", "--json", "--channel", channel, file)
	if err := json.Unmarshal([]byte(out), &s.config); code != 0 || err != nil {
		t.Fatal(text, err)
	}
	// Another operator checks what was sent around: the same approval.
	if err := os.WriteFile(file, []byte(s.config.Config+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, again, _ := command("config", "--json", "--channel", channel, file); again != out {
		t.Errorf("the canonical config gives %s, want %s", again, out)
	}
	_, out, _ = command("identity", filepath.Join(dir, "BankMSP-admin.pem"))
	if want := record.FormatAddress(s.address("BankMSP/admin")); strings.TrimSpace(out) != want || !strings.Contains(s.config.Config, want) {
		t.Errorf("identity prints %s, config has %s", out, s.config.Config)
	}
	var err error
	if s.wallet, err = crypto.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *story) address(name string) record.Address {
	return fabric.KeyAddress(s.ids[name].Certificate)
}

func encode(t *testing.T, r record.Record) string {
	t.Helper()
	b, err := record.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func load[T any, P interface {
	*T
	record.Record
}](t *testing.T, data string) *T {
	t.Helper()
	v, err := record.Load[T, P]([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// submit simulates and commits, and returns the transaction id and the result.
func (s *story) submit(who, function string, args ...string) (id, result string) {
	s.t.Helper()
	sim := s.simulate(who, function, args...)
	if !sim.Endorsed() {
		s.t.Fatalf("%s as %s: %s%s", function, who, sim.Failure, sim.Response.GetMessage())
	}
	if v := s.peer.Commit(channel, sim); v[0] != peerside.Valid {
		s.t.Fatalf("%s: %s", function, v[0])
	}
	return sim.TxID, string(sim.Response.GetPayload())
}

func (s *story) simulate(who, function string, args ...string) *peerside.Simulation {
	s.t.Helper()
	s.calls++
	creator := s.ids[who].Serialized()
	sim, err := s.peer.Simulate(s.t.Context(), &peerside.Proposal{
		Channel: channel, TxID: peerside.NewTxID([]byte(fmt.Sprint(s.calls)), creator), Creator: creator, Time: time.Now(),
		Args: append([]string{function}, args...), Init: function == "membership:ApplyConfig",
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return sim
}

func (s *story) refused(want, who, function string, args ...string) {
	s.t.Helper()
	sim := s.simulate(who, function, args...)
	if text := sim.Failure + sim.Response.GetMessage(); sim.Endorsed() || !strings.HasPrefix(text, want+": ") {
		s.t.Errorf("%s as %s: %q, want %s", function, who, text, want)
	}
}

// tell does the main job through the peer.
func (s *story) tell(peer *peerside.Peer) {
	s.t.Helper()
	s.peer = peer
	chain := load[record.OrderingConfig](s.t, s.config.Config).ChainID
	s.refused("FORBIDDEN", "BankMSP/admin", "membership:ApplyConfig", strings.Replace(s.config.Config, "Harbour", "Harvest", 1))
	s.refused("FORBIDDEN", "OtherMSP/app", "membership:ApplyConfig", s.config.Config)
	s.submit("BankMSP/admin", "membership:ApplyConfig", s.config.Config)
	s.refused("WRONG_STATE", "BankMSP/admin", "membership:ApplyConfig", s.config.Config)
	codeHash, notice := s.found()
	terms := s.terms(notice)
	s.consent = string(terms.ConsentID)
	s.submit("LenderMSP/app", "consent:Create", encode(s.t, terms))

	request := encode(s.t, &record.RequestSpec{
		AnswerKey: crypto.Keccak256([]byte("answer key")), ConsentID: terms.ConsentID,
		Params: record.ParamValues{{Name: "min", Value: "20000"}}, Purpose: record.CreditChecking, TemplateID: "income-over",
	})
	s.decide(request, record.CodeConsentNotAuthorised)
	digest, err := terms.Digest(record.Hash{1})
	s.refused("BAD_SIGNATURE", "LenderMSP/app", "consent:Authorise", s.consent, "WALLET", s.evidence(digest, err))
	digest, err = terms.Digest(chain)
	s.submit("LenderMSP/app", "consent:Authorise", s.consent, "WALLET", s.evidence(digest, err))
	permitted := s.decide(request, record.CodePermit)

	receipt := encode(s.t, &record.ReceiptSpec{
		CodeHash: codeHash, EvaluatedHeight: 7, Outcome: record.Answered,
		RequestID: permitted, ResultCommitment: crypto.Keccak256Hash([]byte("result")),
	})
	s.refused("FORBIDDEN", "LenderMSP/app", "access:Receipt", receipt)
	s.submit("BankMSP/app", "access:Receipt", receipt)
	s.refused("ALREADY_EXISTS", "BankMSP/app", "access:Receipt", receipt)
	s.end(request, terms, chain)
}

// end revokes the consent: nothing endorsed before it stands after it.
func (s *story) end(request string, terms *record.ConsentTerms, chain record.Hash) {
	s.t.Helper()
	a, b := s.simulate("LenderMSP/app", "access:Request", request), s.simulate("LenderMSP/app", "access:Request", request)
	if v := s.peer.Commit(channel, a, b); v[0] != peerside.Valid || v[1] != peerside.Conflict {
		s.t.Errorf("two uses of one consent in a block: %v", v)
	}
	waiting := s.simulate("LenderMSP/app", "access:Request", request)
	digest, err := record.RevocationOf(terms, record.ReasonWithdrawn).Digest(chain)
	s.submit("LenderMSP/app", "consent:Revoke", s.consent, "SUBJECT", string(record.ReasonWithdrawn), s.evidence(digest, err))
	if v := s.peer.Commit(channel, waiting); v[0] != peerside.Conflict {
		s.t.Errorf("a request endorsed before the revocation and ordered after it is %s", v[0])
	}
	s.decide(request, record.CodeConsentRevoked)
	usage := load[record.Usage](s.t, string(s.simulate("LenderMSP/app", "access:Usage", s.consent).Response.GetPayload()))
	if usage.Uses != 2 || usage.Requests != 4 {
		s.t.Errorf("usage %+v", usage)
	}
}

// decide makes a request and returns its id.
func (s *story) decide(request string, want record.Code) record.RequestID {
	s.t.Helper()
	id, result := s.submit("LenderMSP/app", "access:Request", request)
	d := load[record.Decision](s.t, result)
	if d.Code != want || string(d.RequestID) != "0x"+id {
		s.t.Errorf("decision %+v, want %s for 0x%s", d, want, id)
	}
	return d.RequestID
}

// found registers clients and fills the catalogue. It returns the template's
// code hash and the notice's hash.
func (s *story) found() (code, noticeHash record.Hash) {
	s.t.Helper()
	s.refused("UNKNOWN_KEY", "BankMSP/app", "catalog:OpenEpoch", "income", "1")
	for name, role := range map[string]record.ClientRole{
		"BankMSP/officer": record.RoleOfficer, "BankMSP/second": record.RoleOfficer, "BankMSP/app": record.RoleIntegration, "LenderMSP/app": record.RoleIntegration,
	} {
		org, _, _ := strings.Cut(name, "/")
		s.submit(org+"/admin", "membership:RegisterClient", encode(s.t, &record.ClientSpec{Address: s.address(name), Roles: []record.ClientRole{role}}))
	}
	notice := &record.NoticeSpec{Language: "en", NoticeID: "income-check", Title: "Income check", Text: "Your bank tells the lender whether your income is above an amount."}
	template := &record.TemplateSpec{
		AnswerTTL: 3_600_000, Columns: []string{"income"}, CostLimit: 10_000, Kind: record.Predicate,
		Outputs:   []string{"YES", "NO", record.NoRecord},
		Params:    []record.Param{{Name: "min", Type: record.TypeInt, Values: []string{"20000"}}},
		ProductID: "income", Source: "income >= min ? 'YES' : 'NO'", TemplateID: "income-over", Version: 1,
	}
	s.submit("BankMSP/officer", "catalog:PublishNotice", encode(s.t, notice))
	s.submit("BankMSP/officer", "catalog:PublishProduct", encode(s.t, &record.ProductSpec{
		ProductID: "income", Title: "Income", Version: 1,
		Columns:  []record.Column{{Name: "income", Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 4, BitsPerYear: 12}}},
		Methods:  []record.Method{record.Wallet},
		Purposes: []record.Purpose{record.CreditChecking},
	}))
	code, err := template.CodeHash()
	if err != nil {
		s.t.Fatal(err)
	}
	s.submit("BankMSP/officer", "catalog:ProposeTemplate", encode(s.t, template))
	s.submit("BankMSP/second", "catalog:ApproveTemplate", string(template.TemplateID), code.Hex())
	s.submit("BankMSP/app", "catalog:OpenEpoch", "income", "1")
	if noticeHash, err = notice.Hash(); err != nil {
		s.t.Fatal(err)
	}
	return code, noticeHash
}

func (s *story) terms(notice record.Hash) *record.ConsentTerms {
	now := time.Now().UnixMilli()
	return &record.ConsentTerms{
		AccessLimits: record.AccessLimits{FrequencyPerDay: 10, MaxUses: 3}, AutomatedDecision: true,
		ConsentID: record.NewConsentID([16]byte{1}), ConsentType: record.Separate,
		DataClasses:        []record.DataClass{record.C2},
		ExpirationDateTime: now + 3_600_000, NoticeHash: notice,
		Parties:      []record.Party{{PartyID: "LenderMSP", Role: record.DataConsumer}, {PartyID: "BankMSP", Role: record.DataProvider}},
		PrincipalKey: crypto.PubkeyToAddress(s.wallet.PublicKey), PrincipalRef: record.NewPrincipalRef([16]byte{2}),
		ProcessingMethods: []record.TemplateKind{record.Predicate}, ProductID: "income",
		Purposes: []record.Purpose{record.CreditChecking}, RecordCommitment: crypto.Keccak256Hash([]byte("sealed")),
		SchemaVersion: record.SchemaVersion, TemplateIDs: []record.TemplateID{"income-over"},
		ValidFrom: now - 60_000, Version: 1,
	}
}

func (s *story) evidence(digest record.Hash, err error) string {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	signature, err := crypto.Sign(digest[:], s.wallet)
	if err != nil {
		s.t.Fatal(err)
	}
	return encode(s.t, &record.Evidence{Signature: signature})
}
