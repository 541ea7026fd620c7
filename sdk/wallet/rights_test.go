package wallet_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk/wallet"
)

// signed is a wallet that signed a consent.
func signed(t *testing.T) (*wallet.Wallet, string, *record.ConsentTerms) {
	t.Helper()
	w, path := create(t)
	e, err := w.Endorse(offer(t))
	must(t, err)
	if _, _, err := w.Dispute(terms(t).ConsentID, record.DisputeWrong, "", "too early"); err == nil {
		t.Error("disputed what was not signed")
	}
	if _, err := w.Erase(terms(t).ConsentID); err == nil {
		t.Error("asked to erase what was not signed")
	}
	asked := final(t, e, nil)
	_, err = w.Sign(asked)
	must(t, err)
	tt, err := asked.Final()
	must(t, err)
	return w, path, tt
}

func TestDisputeIsSignedAndItsClaimKept(t *testing.T) {
	w, path, tt := signed(t)
	request := record.NewRequestID(ledger.Sum([]byte("a request")))
	d, claim, err := w.Dispute(tt.ConsentID, record.DisputeOutdated, request, "I earn more now")
	must(t, err)
	d = carry(t, d)
	spec := d.Spec()
	digest, err := record.DisputeOf(tt, &spec).Digest(chain)
	must(t, err)
	must(t, record.Verify(digest, d.Evidence().Signature, tt.PrincipalKey))
	if spec.RequestID != request || spec.Kind != record.DisputeOutdated || spec.ClaimCommitment != claim.Commitment() {
		t.Errorf("dispute %+v", spec)
	}
	link, err := wallet.Link(d)
	must(t, err)
	if strings.Contains(link, "earn") {
		t.Error("the link tells what is wrong")
	}
	for name, change := range map[string]func(*wallet.Claim){
		"text": func(c *wallet.Claim) { c.Text += "." }, "salt": func(c *wallet.Claim) { c.Salt[0] ^= 1 },
		"dispute": func(c *wallet.Claim) { c.DisputeID = "0x000102030405060708090a0b0c0d0e0f" },
	} {
		other := *claim
		change(&other)
		if other.Commitment() == claim.Commitment() {
			t.Errorf("another %s has the same commitment", name)
		}
	}
	w, err = wallet.OpenCheap(path, "a password")
	must(t, err)
	if kept := w.Consents()[0].Claims; len(kept) != 1 || kept[0] != *claim {
		t.Errorf("claims %+v", kept)
	}
	for name, x := range map[string]struct {
		kind record.DisputeKind
		req  record.RequestID
		text string
	}{
		"kind": {"BAD", "", "x"}, "request": {record.DisputeWrong, "0x12", "x"}, "no text": {record.DisputeWrong, "", ""},
		"long text": {record.DisputeWrong, "", strings.Repeat("x", 2001)}, "control": {record.DisputeWrong, "", "a\x1b[2J"},
	} {
		if _, _, err := w.Dispute(tt.ConsentID, x.kind, x.req, x.text); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if n := len(w.Consents()[0].Claims); n != 1 {
		t.Errorf("%d claims after refusals", n)
	}
}

func TestErasureIsSignedOnceAndTheSame(t *testing.T) {
	w, path, tt := signed(t)
	_, err := w.Revoke(tt.ConsentID, record.ReasonMisuse)
	must(t, err)
	one, err := w.Erase(tt.ConsentID)
	must(t, err)
	one = carry(t, one)
	digest, err := record.ErasureOf(tt).Digest(chain)
	must(t, err)
	must(t, record.Verify(digest, one.Evidence().Signature, tt.PrincipalKey))
	w, err = wallet.OpenCheap(path, "a password")
	must(t, err)
	if e := w.Consents()[0]; !e.Erasing || e.Reason != record.ReasonMisuse || e.State != wallet.Revoked {
		t.Errorf("entry %+v", e)
	}
	two, err := w.Erase(tt.ConsentID)
	must(t, err)
	if two.Signature != one.Signature {
		t.Error("the same wish has two signatures")
	}
}

// A wallet of the format before claims opens, and keeps its consents.
func TestOlderWalletFileOpens(t *testing.T) {
	_, path, _ := signed(t)
	b, err := os.ReadFile(path)
	must(t, err)
	var m map[string]any
	must(t, json.Unmarshal(b, &m))
	m["version"] = 1
	b, err = json.Marshal(m)
	must(t, err)
	old := filepath.Join(t.TempDir(), "old.json")
	must(t, os.WriteFile(old, b, 0o600))
	w, err := wallet.OpenCheap(old, "a password")
	must(t, err)
	if len(w.Consents()) != 1 {
		t.Error("its consents are gone")
	}
}

func TestCompareNamesEveryChange(t *testing.T) {
	text := func(change func(*record.ConsentTerms)) string {
		next := terms(t)
		next.ConsentID, next.Supersedes, next.Version = "0xffffffffffffffffffffffffffffffff", terms(t).ConsentID, 2
		if change != nil {
			change(next)
		}
		var b strings.Builder
		for _, l := range wallet.Compare(terms(t), next, map[string]string{"template/balance": "Is your balance high?"}) {
			b.WriteString(l.Label + ": " + l.Text + "\n")
		}
		return b.String()
	}
	if got := text(nil); !strings.Contains(got, "nothing but its number") || !strings.Contains(got, "Stays declined 仍不同意: managing your debt") {
		t.Errorf("no change:\n%s", got)
	}
	for name, c := range map[string]struct {
		change func(*record.ConsentTerms)
		want   string
	}{
		"lender":     {func(c *record.ConsentTerms) { c.Parties[0].PartyID = "other" }, "was 原为 acme, is now 现为 other"},
		"bank":       {func(c *record.ConsentTerms) { c.Parties[1].PartyID = "rival" }, "was 原为 bank, is now 现为 rival"},
		"product":    {func(c *record.ConsentTerms) { c.ProductID = "cards" }, "was 原为 salary, is now 现为 cards"},
		"purpose":    {func(c *record.ConsentTerms) { c.Purposes = append(c.Purposes, record.FraudManagement) }, "More purposes 新增用途: preventing fraud"},
		"no purpose": {func(c *record.ConsentTerms) { c.Purposes = []record.Purpose{record.FraudManagement} }, "No longer: purposes 不再包含用途: credit check"},
		"template":   {func(c *record.ConsentTerms) { c.TemplateIDs = append(c.TemplateIDs, "balance") }, "More questions 新增查询模板: Is your balance high? (balance)"},
		"class":      {func(c *record.ConsentTerms) { c.DataClasses = []record.DataClass{record.C1} }, "More kinds of data 新增数据类别: C1"},
		"kind":       {func(c *record.ConsentTerms) { c.ProcessingMethods = []record.TemplateKind{record.Score} }, "More kinds of answer 新增处理方式: a score"},
		"uses":       {func(c *record.ConsentTerms) { c.AccessLimits.MaxUses = 9 }, "was 原为 3, is now 现为 9"},
		"daily":      {func(c *record.ConsentTerms) { c.AccessLimits.FrequencyPerDay = 2 }, "was 原为 1, is now 现为 2"},
		"from":       {func(c *record.ConsentTerms) { c.ValidFrom += 60_000 }, "Changed: from"},
		"until":      {func(c *record.ConsentTerms) { c.ExpirationDateTime += 60_000 }, "Changed: until"},
		"automated":  {func(c *record.ConsentTerms) { c.AutomatedDecision = false }, "was 原为 yes 是, is now 现为 no 否"},
		"form":       {func(c *record.ConsentTerms) { c.ConsentType = record.Written }, "is now 现为 WRITTEN"},
		"notice":     {func(c *record.ConsentTerms) { c.NoticeHash = chain }, "Changed: notice"},
		"assessment": {func(c *record.ConsentTerms) { c.ImpactAssessmentHash = chain }, "Changed: impact assessment"},
		"asked again": {func(c *record.ConsentTerms) {
			c.Purposes, c.DeclinedPurposes = []record.Purpose{record.DebtManagement}, nil
		}, "ASKED AGAIN although you declined it"},
		"no is gone": {func(c *record.ConsentTerms) { c.DeclinedPurposes = nil }, "Your no is missing"},
		"new no": {func(c *record.ConsentTerms) {
			c.DeclinedPurposes = append(c.DeclinedPurposes, record.FraudManagement)
		}, "Newly declined 新增不同意: preventing fraud"},
	} {
		if got := text(c.change); !strings.Contains(got, c.want) || strings.Contains(got, "nothing but its number") {
			t.Errorf("%s: want %q in\n%s", name, c.want, got)
		}
	}
}

// The wallet compares only with what it signed.
func TestPreviousIsWhatWasSigned(t *testing.T) {
	w, _, tt := signed(t)
	next := terms(t)
	next.Supersedes = tt.ConsentID
	if e, ok := w.Previous(next); !ok || e.Terms.RecordCommitment != tt.RecordCommitment {
		t.Errorf("previous %+v, %v", e, ok)
	}
	next.Supersedes = "0xffffffffffffffffffffffffffffffff"
	if _, ok := w.Previous(next); ok {
		t.Error("a consent of others counts as signed")
	}
	other, _ := create(t)
	_, err := other.Endorse(offer(t))
	must(t, err)
	next.Supersedes = tt.ConsentID
	if _, ok := other.Previous(next); ok {
		t.Error("what was only endorsed counts as signed")
	}
}
