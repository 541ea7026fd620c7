package wallet_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk/wallet"
)

const now = 1_800_000_000_000

var (
	chain  = ledger.Sum([]byte("a network"))
	notice = record.NoticeSpec{Language: "zh-CN", NoticeID: "n", Text: "只问一次", Title: "告知书"}
)

func terms(t *testing.T) *record.ConsentTerms {
	t.Helper()
	h, err := notice.Hash()
	must(t, err)
	return &record.ConsentTerms{
		AccessLimits: record.AccessLimits{FrequencyPerDay: 1, MaxUses: 3}, AutomatedDecision: true,
		ConsentID: "0x000102030405060708090a0b0c0d0e0f", ConsentType: record.Separate, DataClasses: []record.DataClass{record.C2},
		DeclinedPurposes: []record.Purpose{record.DebtManagement}, ExpirationDateTime: now + 86_400_000, NoticeHash: h,
		Parties:      []record.Party{{PartyID: "acme", Role: record.DataConsumer}, {PartyID: "bank", Role: record.DataProvider}},
		PrincipalRef: "0x0f0e0d0c0b0a09080706050403020100", ProcessingMethods: []record.TemplateKind{record.Bucket},
		ProductID: "salary", Purposes: []record.Purpose{record.CreditChecking}, SchemaVersion: record.SchemaVersion,
		TemplateIDs: []record.TemplateID{"income-band"}, ValidFrom: now, Version: 1,
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T) (*wallet.Wallet, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wallet.json")
	w, err := wallet.CreateCheap(path, "a password")
	must(t, err)
	return w, path
}

func offer(t *testing.T) *wallet.Offer {
	t.Helper()
	o, err := wallet.NewOffer(chain, terms(t), map[string]string{"org/acme": "Acme Lending", "template/income-band": "Is your income above 5,000?"}, &notice, now+1)
	must(t, err)
	return o
}

// final is what the lender makes of an endorsement.
func final(t *testing.T, e *wallet.Endorsement, change func(*record.ConsentTerms, *record.SealedPart)) *wallet.Terms {
	t.Helper()
	tt := terms(t)
	tt.PrincipalKey = e.PrincipalKey
	part := &record.SealedPart{ChainID: chain, ConsentID: tt.ConsentID, Version: 1, SubjectID: "4711", NoticeLanguage: "zh-CN", Salt: answer.NewSalt(), Endorsement: e.Record()}
	if change != nil {
		change(tt, part)
	}
	var err error
	if tt.RecordCommitment == (record.Hash{}) {
		tt.RecordCommitment, err = part.Commitment()
		must(t, err)
	}
	pub, err := answer.ParsePublicKey(e.PartKey[:])
	must(t, err)
	s, err := answer.SealPart(pub, answer.Subject, answer.KeyID(e.PartKey[:]), part)
	must(t, err)
	out, err := wallet.NewTerms(chain, tt, s.Encode())
	must(t, err)
	return out
}

// carry takes a document through its link.
func carry[T any, P interface {
	*T
	wallet.Document
}](t *testing.T, d P) *T {
	t.Helper()
	link, err := wallet.Link(d)
	must(t, err)
	out, err := wallet.ParseAs[T, P](link)
	must(t, err)
	return out
}

func TestFromOfferToWithdrawal(t *testing.T) {
	w, path := create(t)
	e, err := w.Endorse(carry(t, offer(t)))
	must(t, err)
	tt := terms(t)
	tt.PrincipalKey = e.PrincipalKey
	digest, err := record.EndorsementOf(tt).Digest(chain)
	must(t, err)
	must(t, record.Verify(digest, e.Signature[:], w.Address()))
	if e.PrincipalKey == w.Address() {
		t.Error("the principal key is the wallet's own")
	}

	w, err = wallet.OpenCheap(path, "a password") // another day
	must(t, err)
	asked := carry(t, final(t, carry(t, e), nil))
	_, part, err := w.Review(asked)
	must(t, err)
	if part.SubjectID != "4711" {
		t.Errorf("part %+v", part)
	}
	if _, err := w.Revoke(tt.ConsentID, record.ReasonWithdrawn); err == nil {
		t.Error("withdrew what was not signed")
	}
	yes, err := w.Sign(asked)
	must(t, err)
	signed, err := asked.Final()
	must(t, err)
	digest, err = signed.Digest(chain)
	must(t, err)
	must(t, record.Verify(digest, carry(t, yes).Evidence().Signature, e.PrincipalKey))
	if _, err := w.Refuse(asked); err == nil {
		t.Error("refused what was signed")
	}

	w, err = wallet.OpenCheap(path, "a password")
	must(t, err)
	if list := w.Consents(); len(list) != 1 || list[0].State != wallet.Signed || list[0].Names["org/acme"] != "Acme Lending" {
		t.Errorf("consents %+v", list)
	}
	no, err := w.Revoke(tt.ConsentID, record.ReasonMisuse)
	must(t, err)
	digest, err = record.RevocationOf(signed, record.ReasonMisuse).Digest(chain)
	must(t, err)
	must(t, record.Verify(digest, carry(t, no).Evidence().Signature, e.PrincipalKey))
	if _, err := w.Revoke(tt.ConsentID, record.ReasonRefused); err == nil {
		t.Error("withdrew with the reason of a refusal")
	}
	if _, err := w.Sign(asked); err == nil {
		t.Error("signed again what was withdrawn")
	}
	s, err := w.Principal(tt.ConsentID)
	if err != nil || s.Address() != e.PrincipalKey {
		t.Errorf("principal key %v, %v", s, err)
	}
	if _, err := w.Principal("0x00000000000000000000000000000000"); !errors.Is(err, wallet.ErrUnknown) {
		t.Errorf("error %v", err)
	}
}

func TestRefusal(t *testing.T) {
	w, _ := create(t)
	e, err := w.Endorse(offer(t))
	must(t, err)
	asked := final(t, e, nil)
	no, err := w.Refuse(asked)
	must(t, err)
	signed, err := asked.Final()
	must(t, err)
	digest, err := record.RevocationOf(signed, record.ReasonRefused).Digest(chain)
	must(t, err)
	must(t, record.Verify(digest, no.Signature[:], e.PrincipalKey))
	if no.Reason != record.ReasonRefused || w.Consents()[0].State != wallet.Refused {
		t.Errorf("ending %+v, state %s", no, w.Consents()[0].State)
	}
}

// The same offer gets the same answer; another offer under its id gets none.
func TestEndorsingTwice(t *testing.T) {
	w, _ := create(t)
	one, err := w.Endorse(offer(t))
	must(t, err)
	two, err := w.Endorse(offer(t))
	must(t, err)
	if *one != *two {
		t.Errorf("answers %+v and %+v", one, two)
	}
	tt := terms(t)
	tt.AccessLimits.MaxUses = 1000
	other, err := wallet.NewOffer(chain, tt, nil, nil, now)
	must(t, err)
	if _, err := w.Endorse(other); !errors.Is(err, wallet.ErrTerms) {
		t.Errorf("error %v", err)
	}
	elsewhere, err := wallet.NewOffer(ledger.Sum([]byte("x")), terms(t), nil, nil, now)
	must(t, err)
	if _, err := w.Endorse(elsewhere); !errors.Is(err, wallet.ErrTerms) {
		t.Errorf("error %v", err)
	}
}

// Keys of two consents have nothing in common.
func TestEveryConsentHasItsOwnKeys(t *testing.T) {
	w, _ := create(t)
	one, err := w.Endorse(offer(t))
	must(t, err)
	tt := terms(t)
	tt.ConsentID = "0xffffffffffffffffffffffffffffffff"
	o, err := wallet.NewOffer(chain, tt, nil, nil, now)
	must(t, err)
	two, err := w.Endorse(o)
	must(t, err)
	if one.PrincipalKey == two.PrincipalKey || one.PartKey == two.PartKey {
		t.Error("keys are shared between consents")
	}
}

func TestNothingButTheOfferIsSigned(t *testing.T) {
	w, _ := create(t)
	e, err := w.Endorse(offer(t))
	must(t, err)
	for name, change := range map[string]func(*record.ConsentTerms, *record.SealedPart){
		"more uses":      func(c *record.ConsentTerms, _ *record.SealedPart) { c.AccessLimits.MaxUses = 4 },
		"longer":         func(c *record.ConsentTerms, _ *record.SealedPart) { c.ExpirationDateTime++ },
		"another lender": func(c *record.ConsentTerms, _ *record.SealedPart) { c.Parties[0].PartyID = "other" },
		"another purpose": func(c *record.ConsentTerms, _ *record.SealedPart) {
			c.Purposes = []record.Purpose{record.FraudManagement}
		},
		"a declined one gone":   func(c *record.ConsentTerms, _ *record.SealedPart) { c.DeclinedPurposes = nil },
		"another template":      func(c *record.ConsentTerms, _ *record.SealedPart) { c.TemplateIDs = []record.TemplateID{"balance"} },
		"another notice":        func(c *record.ConsentTerms, _ *record.SealedPart) { c.NoticeHash = chain },
		"another principal key": func(c *record.ConsentTerms, _ *record.SealedPart) { c.PrincipalKey = record.Address{1} },
		"another commitment":    func(c *record.ConsentTerms, _ *record.SealedPart) { c.RecordCommitment = chain },
		"no endorsement inside": func(_ *record.ConsentTerms, p *record.SealedPart) { p.Endorsement = nil },
		"another wallet inside": func(_ *record.ConsentTerms, p *record.SealedPart) { p.Endorsement.Wallet = record.Address{1} },
	} {
		asked := final(t, e, change)
		if _, err := w.Sign(asked); !errors.Is(err, wallet.ErrTerms) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.Refuse(asked); !errors.Is(err, wallet.ErrTerms) {
			t.Errorf("%s, refused: %v", name, err)
		}
	}
	asked := final(t, e, nil)
	other, _ := create(t)
	if _, err := other.Sign(asked); !errors.Is(err, wallet.ErrUnknown) {
		t.Errorf("another wallet: %v", err)
	}
	s, err := answer.DecodeSealedPart(asked.Part)
	must(t, err)
	s.Box[40] ^= 1
	asked.Part = s.Encode()
	if _, err := w.Sign(asked); !errors.Is(err, answer.ErrSealed) {
		t.Errorf("an altered part: %v", err)
	}
	if w.Consents()[0].State != wallet.Endorsed {
		t.Errorf("state %s", w.Consents()[0].State)
	}
}

func TestWalletFileTakesWorkToOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wallet.json")
	w, err := wallet.Create(path, "a password")
	must(t, err)
	again, err := wallet.Open(path, "a password")
	if err != nil || again.Address() != w.Address() {
		t.Errorf("opened as %v, %v", again, err)
	}
	b, err := os.ReadFile(path)
	must(t, err)
	if !strings.Contains(string(b), `"n":4096`) {
		t.Errorf("the file is cheap to try passwords on: %s", b)
	}
}

func TestWalletFile(t *testing.T) {
	w, path := create(t)
	_, err := w.Endorse(offer(t))
	must(t, err)
	b, err := os.ReadFile(path)
	must(t, err)
	for _, secret := range []string{"acme", "Acme", "bank", "0x000102", strings.ToLower(w.Address().Hex()[2:])} {
		if strings.Contains(strings.ToLower(string(b)), strings.ToLower(secret)) {
			t.Errorf("the file shows %q", secret)
		}
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := wallet.Open(path, "another"); !errors.Is(err, wallet.ErrPassword) {
		t.Errorf("another password: %v", err)
	}
	if _, err := wallet.Create(path, "x"); !errors.Is(err, wallet.ErrExists) {
		t.Errorf("a second wallet: %v", err)
	}
	if _, err := wallet.Create(path+"2", ""); err == nil {
		t.Error("an empty password was taken")
	}
	for name, change := range map[string]func(m map[string]any){
		"newer format": func(m map[string]any) { m["version"] = 3 },
		"other kind":   func(m map[string]any) { m["kind"] = "x" },
		"no content":   func(m map[string]any) { m["crypto"] = map[string]any{} },
	} {
		var m map[string]any
		must(t, json.Unmarshal(b, &m))
		change(m)
		bad, err := json.Marshal(m)
		must(t, err)
		p := filepath.Join(t.TempDir(), "bad.json")
		must(t, os.WriteFile(p, bad, 0o600))
		if _, err := wallet.Open(p, "a password"); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestExplainNamesEverything(t *testing.T) {
	var text strings.Builder
	for _, l := range wallet.Explain(terms(t), map[string]string{"org/acme": "Acme Lending", "template/income-band": "Income above 5,000?"}) {
		text.WriteString(l.Label + ": " + l.Text + "\n")
	}
	for _, want := range []string{
		"Acme Lending (acme)", "bank", "Income above 5,000? (income-band)", "信用审查", "CreditChecking", "债务管理", "at most 3 in all", "1 a day",
		"2027-01-15", "自动化决策", "yes 是", "C2", "range 区间", "0x000102030405060708090a0b0c0d0e0f",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the explanation lacks %q:\n%s", want, text.String())
		}
	}
	for _, p := range record.Purposes() {
		tt := terms(t)
		tt.Purposes, tt.DeclinedPurposes = []record.Purpose{p}, nil
		found := false
		for _, l := range wallet.Explain(tt, nil) {
			found = found || strings.Contains(l.Text, "["+string(p)+"]") && !strings.HasPrefix(l.Text, " [")
		}
		if !found {
			t.Errorf("purpose %s has no words", p)
		}
	}
	e := &record.SealedPart{SubjectID: "4711", Account: "62220000", Contacts: []record.Contact{{Kind: record.Email, Value: "a@example.org"}}}
	text.Reset()
	for _, l := range wallet.ExplainPart(e) {
		text.WriteString(l.Text + "\n")
	}
	for _, want := range []string{"4711", "62220000", "a@example.org"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the part's explanation lacks %q", want)
		}
	}
}

func TestLinksHaveOneSpelling(t *testing.T) {
	link, err := wallet.Link(&wallet.Authorisation{Chain: chain, ConsentID: terms(t).ConsentID})
	must(t, err)
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(link, wallet.Scheme))
	must(t, err)
	doc := string(body)
	again := func(s string) string { return wallet.Scheme + base64.RawURLEncoding.EncodeToString([]byte(s)) }
	if _, err := wallet.Parse(" " + link + "\n"); err != nil {
		t.Errorf("with white space around: %v", err)
	}
	for name, bad := range map[string]string{
		"other scheme":       strings.Replace(link, "assent:", "http:", 1),
		"cut off":            link[:len(link)-3],
		"white space inside": again(strings.Replace(doc, ",", ", ", 1)),
		"unknown field":      again(strings.Replace(doc, `{"chain"`, `{"a":1,"chain"`, 1)),
		"repeated field":     again(strings.Replace(doc, `{"chain"`, `{"chain":"0x","chain"`, 1)),
		"other case":         again(strings.Replace(doc, `"chain"`, `"Chain"`, 1)),
		"upper-case hex":     again(strings.Replace(doc, chain.Hex(), "0x"+strings.ToUpper(chain.Hex()[2:]), 1)),
		"other version":      again(strings.Replace(doc, `"v":1`, `"v":2`, 1)),
		"other kind":         again(strings.Replace(doc, "authorisation", "something", 1)),
		"not JSON":           again("{"),
		"malformed id":       again(strings.Replace(doc, "0x0001", "0x00 1", 1)),
		"line break inside":  link[:20] + "\n" + link[20:],
		"empty":              wallet.Scheme,
		"too long":           wallet.Scheme + strings.Repeat("A", wallet.MaxLink),
	} {
		if _, err := wallet.Parse(bad); !errors.Is(err, wallet.ErrLink) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := wallet.ParseAs[wallet.Offer](link); !errors.Is(err, wallet.ErrLink) {
		t.Errorf("an authorisation read as an offer: %v", err)
	}
	o := offer(t)
	o.Notice = []byte(strings.Replace(string(o.Notice), "只问一次", "随便问", 1))
	if _, err := wallet.Link(o); err == nil {
		t.Error("an offer shows another notice than its terms name")
	}
	if _, err := wallet.Link(&wallet.Ending{Chain: chain, ConsentID: terms(t).ConsentID, Reason: record.ReasonSuperseded}); err == nil {
		t.Error("an ending with a reason that subjects cannot give")
	}
	small, err := wallet.NewOffer(chain, terms(t), nil, nil, now)
	must(t, err)
	if link, err = wallet.Link(small); err != nil || len(link) > 2900 {
		t.Errorf("an offer without its notice has %d bytes: too long for a QR code (%v)", len(link), err)
	}
}

// Whatever document a link holds: an error, or one whose link is the same text.
func FuzzParse(f *testing.F) {
	add := func(d wallet.Document) {
		link, err := wallet.Link(d)
		if err != nil {
			f.Fatal(err)
		}
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(link, wallet.Scheme))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	t := new(testing.T)
	add(offer(t))
	add(&wallet.Authorisation{Chain: chain, ConsentID: terms(t).ConsentID})
	add(&wallet.Endorsement{Chain: chain, ConsentID: terms(t).ConsentID, PartKey: chain, PrincipalKey: record.Address{1}, Wallet: record.Address{2}})
	add(&wallet.Ending{Chain: chain, ConsentID: terms(t).ConsentID, Reason: record.ReasonMisuse})
	add(&wallet.Erasure{Chain: chain, ConsentID: terms(t).ConsentID})
	add(&wallet.Dispute{
		Chain: chain, ConsentID: terms(t).ConsentID, ClaimCommitment: chain, DisputeID: "0x000102030405060708090a0b0c0d0e0f",
		DisputeKind: record.DisputeWrong, RequestID: record.NewRequestID(chain),
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := wallet.Scheme + base64.RawURLEncoding.EncodeToString(b)
		d, err := wallet.Parse(s)
		if err != nil {
			return
		}
		if link, err := wallet.Link(d); err != nil || link != s {
			t.Errorf("%s became %s (%v)", b, link, err)
		}
	})
}
