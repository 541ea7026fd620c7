package sdk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

const subject = "CN-1" // of consents made by authorised

var months = record.ParamValues{{Name: "months", Value: "12"}}

// prepared makes an authorised consent and returns the sealed part that the lender
// keeps.
func (w *world) prepared(c *sdk.Client) (sdk.ConsentID, []byte) {
	w.t.Helper()
	ctx := w.t.Context()
	terms, err := c.Consents().Draft(ctx, w.draft())
	w.must(err)
	terms.PrincipalKey = principal.Address()
	vouch := fakenode.Signer("wallet")
	e := &sdk.WalletEndorsement{Wallet: vouch.Address(), Signature: w.sign(vouch, record.EndorsementOf(terms).Digest)}
	p, err := c.Consents().Prepare(ctx, terms, sdk.SealedPart{SubjectID: subject, Endorsement: e})
	w.must(err)
	_, err = c.Consents().Create(ctx, p)
	w.must(err)
	_, err = c.Consents().Authorise(ctx, terms.ConsentID, sdk.MethodWallet, sdk.Evidence{Signature: w.sign(principal, p.Terms.Digest)})
	w.must(err)
	part, err := p.PartJSON()
	w.must(err)
	return terms.ConsentID, part
}

// answers has the bank say a value with an opening to whoever asks next.
func (w *world) answers(value string, proof []byte) {
	w.net.Provider = func(_ *record.Request, a answer.Answer) (sealed, committed answer.Answer, send bool) {
		if a.Body.Value = value; proof != nil {
			a.Proof, a.Body.ProofHash = proof, answer.ProofHash(proof)
		}
		return a, a, true
	}
}

// epoch is the one that requests are permitted in.
func (w *world) epoch() uint64 {
	w.t.Helper()
	e, err := w.lender().Products().Epoch(w.t.Context(), fakenode.Product)
	w.must(err)
	return e.Epoch
}

// A bank that anchors HIGH and tells the second lender LOW is found out by the
// second lender, disputed, and convicted by the opening.
func TestTwoLendersToldDifferentThings(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id, part := w.prepared(c)
	anchor, proof := w.net.Anchor(subject, "HIGH", w.epoch(), months)
	q := question(id)
	q.Subject = subject

	w.answers("HIGH", proof)
	r, err := c.Query(t.Context(), q)
	w.must(err)
	if r.Verified.Anchored != sdk.AnchoredProven || r.Verified.Anchor.Root != anchor.Root {
		t.Errorf("an honest answer is %s", r.Verified.Anchored)
	}

	w.answers("LOW", proof)
	_, err = c.Query(t.Context(), q)
	var caught *sdk.NotAnchored
	if !errors.As(err, &caught) || sdk.Retryable(err) || !errors.Is(err, answer.ErrNotAnchored) {
		t.Fatalf("another answer than the anchored one: %v", err)
	}
	if caught.Answer.Value != "LOW" || caught.Request.Provider != fakenode.Bank {
		t.Errorf("caught %+v", caught)
	}
	if bytes.Contains([]byte(fmt.Sprintf("%v %+v %s", err, q, q.Subject)), []byte(subject)) {
		t.Error("the subject is printed")
	}
	_, err = c.Queries().DisputeAnswer(t.Context(), caught.Answer, record.ClaimNotAnchored, "auditor")
	w.must(err)
	s := w.settled(c, caught.Answer, caught.Request.RequestID, part)
	if s.Finding != record.Upheld || s.Value != "LOW" {
		t.Errorf("settled as %+v", s)
	}
}

// settled shows the opening to an authority, which reads the rest on the ledger.
func (w *world) settled(c *sdk.Client, a *sdk.Answer, id sdk.RequestID, part []byte) *sdk.Settlement {
	w.t.Helper()
	opening, err := a.AnchorOpening(part)
	w.must(err)
	s, _, err := c.Queries().SettleDispute(w.t.Context(), id, opening)
	w.must(err)
	return s
}

// A lender that disputes an honest answer convicts nobody.
func TestAnHonestBankIsNotConvicted(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id, part := w.prepared(c)
	other, wrong := w.prepared(c)
	anchor, proof := w.net.Anchor(subject, "HIGH", w.epoch(), months)
	w.answers("HIGH", proof)
	r, err := c.Query(t.Context(), question(id))
	w.must(err)
	if r.Verified.Anchored != sdk.AnchoredUnchecked {
		t.Errorf("without the subject: %s", r.Verified.Anchored)
	}
	_, err = c.Queries().DisputeAnswer(t.Context(), r.Answer, record.ClaimNotAnchored, "auditor")
	w.must(err)
	if s := w.settled(c, r.Answer, r.Decision.RequestID, part); s.Finding != record.Dismissed {
		t.Errorf("settled as %+v", s)
	}
	d, err := c.Queries().AnswerDispute(t.Context(), r.Decision.RequestID)
	w.must(err)
	consent, err := c.Consents().Get(t.Context(), id)
	w.must(err)
	opening, err := r.Answer.AnchorOpening(part)
	w.must(err)
	var o sdk.AnchorOpening
	w.must(json.Unmarshal(opening, &o))
	with := func(change func(*sdk.AnchorOpening)) []byte {
		x := o
		change(&x)
		b, err := json.Marshal(x)
		w.must(err)
		return b
	}
	mine, err := record.Load[record.SealedPart](part)
	w.must(err)
	mine.SubjectID = "CN-2"
	renamed, err := record.Encode(mine)
	w.must(err)
	otherAnchor := *anchor
	otherAnchor.Root[0]++
	otherConsent, err := c.Consents().Get(t.Context(), other)
	w.must(err)
	for name, x := range map[string]struct {
		opening []byte
		consent *sdk.Consent
		anchor  *sdk.Anchor
	}{
		"another person":          {with(func(o *sdk.AnchorOpening) { o.Part = renamed }), consent, anchor},
		"another consent's part":  {with(func(o *sdk.AnchorOpening) { o.Part = wrong }), consent, anchor},
		"another consent":         {opening, otherConsent, anchor},
		"another anchor":          {opening, consent, &otherAnchor},
		"another answer":          {bytes.Replace(opening, []byte("HIGH"), []byte("LOW"), 1), consent, anchor},
		"no JSON":                 {opening[1:], consent, anchor},
		"an opening without part": {with(func(o *sdk.AnchorOpening) { o.Part = nil }), consent, anchor},
		"too long":                {make([]byte, sdk.MaxOpening+1), consent, anchor},
	} {
		if s, err := sdk.SettleAnchor(x.opening, c.ChainID(), d, x.consent, x.anchor); !errors.Is(err, sdk.ErrOpening) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	withheld := with(func(o *sdk.AnchorOpening) { o.Proof = nil })
	if s, err := sdk.SettleAnchor(withheld, c.ChainID(), d, consent, anchor); err != nil || s.Finding != record.Undecided {
		t.Errorf("an opening that the lender withholds: %+v, %v", s, err)
	}
}

// Openings of another epoch, template or subject, and none at all, are found out,
// with or without the subject where that is possible.
func TestWhatIsNotTheAnchoredAnswerIsFoundOut(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id, part := w.prepared(c)
	epoch := w.epoch()
	_, old := w.net.Anchor(subject, "HIGH", epoch+1, months) // replayed from another epoch
	_, elsewhere := w.net.Anchor(subject, "HIGH", epoch, record.ParamValues{{Name: "months", Value: "24"}})
	_, somebody := w.net.Anchor("CN-2", "HIGH", epoch, months) // replaced below
	_, proof := w.net.Anchor(subject, "HIGH", epoch, months)
	for _, x := range []struct {
		name    string
		value   string
		proof   []byte
		subject sdk.SubjectID
		caught  bool
	}{
		{"of another epoch", "HIGH", old, subject, true},
		{"of other parameters", "HIGH", elsewhere, subject, true},
		{"of a tree that was replaced", "HIGH", somebody, subject, true},
		{"none", "HIGH", nil, subject, true},
		{"none, and nobody says who", "HIGH", nil, "", true},
		{"no opening at all", "HIGH", []byte{1, 2, 3}, "", true},
		{"about another subject", "HIGH", proof, "CN-2", true},
		{"right", "HIGH", proof, subject, false},
		{"no record", record.NoRecord, nil, subject, false},
	} {
		w.answers(x.value, x.proof)
		fresh, _ := w.prepared(c)
		q := question(fresh)
		q.Subject = x.subject
		r, err := c.Query(t.Context(), q)
		var caught *sdk.NotAnchored
		if errors.As(err, &caught) != x.caught || !x.caught && err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if x.value == record.NoRecord && r.Verified.Anchored != sdk.AnchoredNoOutput {
			t.Errorf("%s: %s", x.name, r.Verified.Anchored)
		}
	}
	w.answers("HIGH", nil)
	_, err := c.Query(t.Context(), question(id))
	var caught *sdk.NotAnchored
	if !errors.As(err, &caught) {
		t.Fatal(err)
	}
	_, err = c.Queries().DisputeAnswer(t.Context(), caught.Answer, record.ClaimNotAnchored, "auditor")
	w.must(err)
	if s := w.settled(c, caught.Answer, caught.Request.RequestID, part); s.Finding != record.Upheld {
		t.Errorf("an answer without opening is settled as %+v", s)
	}
}

// Where nothing is anchored the ledger certifies that, and nothing can be disputed
// as not anchored.
func TestWithoutAnAnchorNothingIsClaimed(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id, _ := w.prepared(c)
	q := question(id)
	q.Subject = subject
	r, err := c.Query(t.Context(), q)
	w.must(err)
	if r.Verified.Anchored != sdk.AnchoredNot || r.Verified.Anchor != nil {
		t.Errorf("%s", r.Verified.Anchored)
	}
	if _, err := c.Queries().DisputeAnswer(t.Context(), r.Answer, record.ClaimNotAnchored, "auditor"); sdk.CodeOf(err) != "WRONG_STATE" {
		t.Errorf("disputed: %v", err)
	}
}

func TestAnswersAreBuiltAndAnchored(t *testing.T) {
	w := newWorld(t)
	bank := w.dial("officer "+fakenode.Bank, fakenode.Bank, []*fakenode.Node{w.serve(fakenode.Bank)})
	var seen []sdk.BuildProgress
	next := w.epoch() + 1
	built, err := bank.Templates().BuildAnswers(t.Context(), fakenode.Template, map[string]string{"months": "12"}, next, func(p sdk.BuildProgress) { seen = append(seen, p) })
	w.must(err)
	if len(seen) != 3 || seen[1].Read != 20_000 || built.Customers != 20_000 || built.Twice != 2 {
		t.Errorf("%v, %+v", seen, built)
	}
	_, err = bank.Templates().Anchor(t.Context(), built.Spec)
	w.must(err)
	n := 0
	for a, err := range bank.Templates().Anchors(t.Context(), fakenode.Template, next) {
		w.must(err)
		if n++; a.Root != built.Spec.Root {
			t.Error("another root is anchored")
		}
	}
	if n != 1 {
		t.Errorf("%d anchors", n)
	}
	if _, err := bank.Templates().BuildAnswers(t.Context(), "nothing", nil, next, nil); sdk.CodeOf(err) != "NOT_FOUND" {
		t.Errorf("of no template: %v", err)
	}
}
