package testnet

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

const authority = "regulator"

// world is a network with a published product and a client for each who acts in
// the life of a consent.
type world struct {
	t                                     *testing.T
	net                                   *Net
	lend, lendOfficer, bank, second, rule *sdk.Client
	notice                                sdk.Hash
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, net: up(t, withVault(t))}
	for _, c := range []struct {
		member string
		role   sdk.ClientRole
		into   **sdk.Client
	}{
		{asker, "integration", &w.lend}, {asker, "officer", &w.lendOfficer}, {bank, "officer", &w.bank}, {bank, SecondOfficer, &w.second}, {authority, "officer", &w.rule},
	} {
		client, err := w.net.Client(t.Context(), c.member, c.role)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		*c.into = client
	}
	w.notice = publishProduct(t, w.net, w.bank)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) code(want sdk.Code, err error) {
	w.t.Helper()
	if sdk.CodeOf(err) != want {
		w.t.Fatalf("error %v, want code %s", err, want)
	}
}

func hash() (h sdk.Hash) {
	rand.Read(h[:])
	return h
}

// create puts a consent about the first customer on the ledger.
func (w *world) create(change func(*sdk.ConsentDraft)) *sdk.Consent {
	w.t.Helper()
	ctx := w.t.Context()
	d := sdk.ConsentDraft{
		Provider: bank, Product: product, Templates: []sdk.TemplateID{late}, Purposes: []sdk.Purpose{record.CreditChecking},
		Expires: time.Now().Add(time.Hour), MaxUses: 100, NoticeHash: w.notice,
	}
	if change != nil {
		change(&d)
	}
	terms, err := w.lend.Consents().Draft(ctx, d)
	w.must(err)
	p, err := w.lend.Consents().Prepare(ctx, terms, sdk.SealedPart{SubjectID: identity(0)})
	w.must(err)
	c, err := w.lend.Consents().Create(ctx, p)
	w.must(err)
	w.must(w.bank.BindConsent(ctx, c.ConsentID, identity(0)))
	return c
}

// given is create, and the bank's word that its customer agreed.
func (w *world) given(change func(*sdk.ConsentDraft)) sdk.ConsentID {
	w.t.Helper()
	c := w.create(change)
	_, err := w.bank.Consents().Authorise(w.t.Context(), c.ConsentID, sdk.MethodProvider, sdk.Evidence{EvidenceHash: hash()})
	w.must(err)
	return c.ConsentID
}

// asked wants a decision with this code and returns it.
func (w *world) asked(want sdk.Code, id sdk.ConsentID, change func(*sdk.QueryRequest)) *sdk.Decision {
	w.t.Helper()
	q := question(id)
	if change != nil {
		change(&q)
	}
	ticket, err := w.lend.Queries().Prepare(q)
	w.must(err)
	d, err := w.lend.Queries().Request(w.t.Context(), ticket)
	w.must(err)
	if d.Code != want {
		w.t.Fatalf("decision %s, want %s", d.Code, want)
	}
	return d
}

// TestLifeOfAConsent tells, over real processes, what can become of a consent
// besides being given, used and withdrawn.
func TestLifeOfAConsent(t *testing.T) {
	w := newWorld(t)
	for _, story := range []struct {
		name string
		tell func(*world)
	}{
		{"written, countersigned by the provider", (*world).written},
		{"a new version, and what was declined", (*world).versions},
		{"limits", (*world).limits},
		{"ended by each who may", (*world).endings},
		{"dispute and correction", (*world).disputes},
		{"suspension by the authority", (*world).suspensions},
		{"deletion and erasure", (*world).erasure},
		{"an answer is disputed by opening", (*world).answerDispute},
		{"by the command line", (*world).commandLine},
		// Last: its thousand answers keep the bank's node busy for a while.
		{"a batch counts its own uses", (*world).batches},
	} {
		if !t.Run(story.name, func(t *testing.T) { w.t = t; story.tell(w) }) {
			return
		}
	}
	w.t = t
	sameEverywhere(t, w.net)
	if err := w.net.Stop(); err != nil {
		t.Error(err)
	}
}

func (w *world) written() {
	ctx := w.t.Context()
	c := w.create(func(d *sdk.ConsentDraft) { d.Written = true })
	paper := hash()
	_, err := w.bank.Consents().Authorise(ctx, c.ConsentID, sdk.MethodProvider, sdk.Evidence{EvidenceHash: paper})
	w.code(record.CodeMethodNotAllowed, err)
	got, err := w.lend.Consents().Authorise(ctx, c.ConsentID, sdk.MethodWritten, sdk.Evidence{EvidenceHash: paper})
	w.must(err)
	if got.Status != record.AwaitingAuthorisation {
		w.t.Fatalf("evidence alone made it %s", got.Status)
	}
	w.asked(record.CodeConsentNotAuthorised, c.ConsentID, nil)
	_, err = w.bank.Consents().Countersign(ctx, c.ConsentID, hash())
	w.code(record.CodeBadRequest, err)
	_, err = w.lendOfficer.Consents().Countersign(ctx, c.ConsentID, paper)
	w.code(record.CodeForbidden, err)
	got, err = w.bank.Consents().Countersign(ctx, c.ConsentID, paper)
	w.must(err)
	if got.Status != record.Authorised {
		w.t.Fatalf("countersigned, it is %s", got.Status)
	}
	w.asked(record.CodePermit, c.ConsentID, nil)
}

func (w *world) versions() {
	first := w.given(func(d *sdk.ConsentDraft) { d.Declined = []sdk.Purpose{record.CreditScoreEvaluation} })
	w.asked(record.CodePurposeDeclined, first, func(q *sdk.QueryRequest) { q.Purpose = record.CreditScoreEvaluation })
	next := w.create(func(d *sdk.ConsentDraft) {
		d.Supersedes, d.MaxUses, d.Declined = first, 1, []sdk.Purpose{record.CreditScoreEvaluation}
	})
	if next.Version != 2 {
		w.t.Fatalf("version %d", next.Version)
	}
	w.asked(record.CodePermit, first, nil) // until the new one is authorised
	_, err := w.bank.Consents().Authorise(w.t.Context(), next.ConsentID, sdk.MethodProvider, sdk.Evidence{EvidenceHash: hash()})
	w.must(err)
	w.asked(record.CodeConsentRevoked, first, nil)
	w.asked(record.CodePermit, next.ConsentID, nil)
	end, err := w.lend.Consents().Termination(w.t.Context(), first)
	w.must(err)
	if end.SupersededBy != next.ConsentID || end.Reason != record.ReasonSuperseded {
		w.t.Fatalf("termination %+v", end)
	}
}

func (w *world) limits() {
	once := w.given(func(d *sdk.ConsentDraft) { d.MaxUses = 1 })
	w.asked(record.CodePermit, once, nil)
	w.asked(record.CodeUsesExhausted, once, nil)
	daily := w.given(func(d *sdk.ConsentDraft) { d.PerDay = 1 })
	w.asked(record.CodePermit, daily, nil)
	w.asked(record.CodeFrequencyExceeded, daily, nil)
	future := w.given(func(d *sdk.ConsentDraft) { d.ValidFrom = time.Now().Add(30 * time.Minute) })
	w.asked(record.CodeNotYetValid, future, nil)
}

func (w *world) endings() {
	ctx := w.t.Context()
	for _, end := range []struct {
		by  *sdk.Client
		who sdk.Initiator
		why sdk.Reason
	}{
		{w.lendOfficer, record.ByParty, record.ReasonServiceEnded},
		{w.bank, record.ByParty, record.ReasonMisuse},
		{w.rule, record.ByAuthority, record.ReasonUnlawful},
	} {
		id := w.given(nil)
		w.asked(record.CodePermit, id, nil)
		_, err := w.lend.Consents().RevokeAs(ctx, id, record.ByAuthority, record.ReasonUnlawful, hash())
		w.code(record.CodeForbidden, err)
		c, err := end.by.Consents().RevokeAs(ctx, id, end.who, end.why, hash())
		w.must(err)
		if c.Status != record.Revoked {
			w.t.Fatalf("it is %s", c.Status)
		}
		w.asked(record.CodeConsentRevoked, id, nil)
		w.acknowledged(id)
	}
	id := w.given(nil)
	_, err := w.bank.Consents().Revoke(ctx, id, record.ReasonWithdrawn, sdk.Evidence{EvidenceHash: hash()})
	w.must(err)
	w.acknowledged(id)
}

// acknowledged has both parties sign that they know of an ending; their nodes may
// have been quicker.
func (w *world) acknowledged(id sdk.ConsentID) {
	w.t.Helper()
	ctx := w.t.Context()
	for _, party := range []*sdk.Client{w.bank, w.lend} {
		if _, err := party.Consents().AcknowledgeTermination(ctx, id); err != nil {
			w.code(record.CodeAlreadyExists, err)
		}
	}
	// Read, as everywhere here, where the last transaction was submitted: another
	// node may not have executed it yet.
	end, err := w.lend.Consents().Termination(ctx, id)
	w.must(err)
	if len(end.Pending) != 0 || len(end.Acknowledged) != 2 {
		w.t.Fatalf("termination %+v", end)
	}
	for x, err := range w.lend.Consents().Terminations(ctx, "") {
		w.must(err)
		if x.ConsentID == id {
			w.t.Fatal("it is still listed as not acknowledged")
		}
	}
}

func (w *world) disputes() {
	ctx := w.t.Context()
	id := w.given(nil)
	var random [16]byte
	rand.Read(random[:])
	spec := sdk.DisputeSpec{ConsentID: id, DisputeID: record.NewDisputeID(random), Kind: record.DisputeWrong, ClaimCommitment: hash()}
	raised, err := w.bank.Consents().RaiseDispute(ctx, spec, sdk.Evidence{EvidenceHash: hash()})
	w.must(err)
	if days := time.Duration(raised.Due-raised.RaisedAt) * time.Millisecond / (24 * time.Hour); days != 20 {
		w.t.Fatalf("the clock runs %d days", days)
	}
	w.asked(record.CodePermit, id, nil)
	found := false
	for d, err := range w.lend.Consents().DisputesDue(ctx, bank, time.Time{}) {
		w.must(err)
		found = found || d.DisputeID == spec.DisputeID
	}
	if !found {
		w.t.Fatal("the open dispute is not listed")
	}
	_, err = w.bank.Consents().ResolveDispute(ctx, sdk.ResolutionSpec{ConsentID: id, DisputeID: spec.DisputeID, Outcome: record.Corrected, StatementHash: hash()})
	w.must(err)
	for d, err := range w.bank.Consents().Disputes(ctx, id) {
		w.must(err)
		if d.Resolution == nil || d.Resolution.Outcome != record.Corrected {
			w.t.Fatalf("dispute %+v", d)
		}
	}
}

func (w *world) suspensions() {
	ctx := w.t.Context()
	id := w.given(nil)
	for _, x := range []struct {
		code                sdk.Code
		suspend, reinstated func() (*sdk.Outcome, error)
	}{
		{record.CodeProductSuspended,
			func() (*sdk.Outcome, error) {
				return w.rule.Products().Suspend(ctx, product, record.SuspendedForIncident)
			},
			func() (*sdk.Outcome, error) { return w.rule.Products().Reinstate(ctx, product) }},
		{record.CodeTemplateSuspended,
			func() (*sdk.Outcome, error) {
				return w.rule.Templates().Suspend(ctx, late, record.SuspendedForInvestigation)
			},
			func() (*sdk.Outcome, error) { return w.rule.Templates().Reinstate(ctx, late) }},
		{record.CodeMemberSuspended,
			func() (*sdk.Outcome, error) { return w.rule.Members().Suspend(ctx, bank, record.SuspendedByOrder) },
			func() (*sdk.Outcome, error) { return w.rule.Members().Reinstate(ctx, bank) }},
	} {
		_, err := x.suspend()
		w.must(err)
		w.asked(x.code, id, nil)
		_, err = x.reinstated()
		w.must(err)
		w.asked(record.CodePermit, id, nil)
	}
	_, err := w.bank.Products().Suspend(ctx, product, record.SuspendedForIncident)
	w.code(record.CodeForbidden, err)
}

func (w *world) batches() {
	ctx := w.t.Context()
	few, many := w.given(func(d *sdk.ConsentDraft) { d.MaxUses = 3 }), w.given(func(d *sdk.ConsentDraft) { d.MaxUses = 1000 })
	var questions []sdk.QueryRequest
	for i := range sdk.MaxBatch {
		id := many
		if i%100 == 0 {
			id = few
		}
		questions = append(questions, question(id))
	}
	tickets, err := w.lend.Queries().PrepareBatch(questions)
	w.must(err)
	decisions, err := w.lend.Queries().RequestBatch(ctx, tickets)
	w.must(err)
	permits := map[sdk.ConsentID]int{}
	for i, d := range decisions {
		switch {
		case d.Permit:
			permits[questions[i].Consent]++
		case questions[i].Consent != few || d.Code != record.CodeUsesExhausted:
			w.t.Fatalf("question %d: %s", i, d.Code)
		}
	}
	if permits[few] != 3 || permits[many] != sdk.MaxBatch-10 {
		w.t.Fatalf("permits %v", permits)
	}
	uses, err := w.lend.UsesSince(ctx, few, decisions[0].Height)
	w.must(err)
	if len(uses.Uses) != 10 || uses.Usage.Uses != 3 {
		w.t.Fatalf("the usage chain shows %d requests and %d uses", len(uses.Uses), uses.Usage.Uses)
	}
	_, err = w.lend.Queries().PrepareBatch(append(questions, question(many)))
	if err == nil {
		w.t.Fatal("a batch over the limit was made")
	}
}

func (w *world) erasure() {
	ctx := w.t.Context()
	id := w.given(nil)
	w.asked(record.CodePermit, id, nil)
	_, err := w.bank.Consents().RequestErasure(ctx, id, sdk.Evidence{EvidenceHash: hash()})
	w.code(record.CodeWrongState, err) // it has not ended
	_, err = w.bank.Consents().Revoke(ctx, id, record.ReasonWithdrawn, sdk.Evidence{EvidenceHash: hash()})
	w.must(err)
	due := false
	for x, err := range w.bank.Consents().DeletionsDue(ctx, asker, time.Time{}) {
		w.must(err)
		due = due || x.ConsentID == id
	}
	if !due {
		w.t.Fatal("the lender's deletion is not listed")
	}
	deleted, err := w.lend.Consents().ConfirmDeletion(ctx, id)
	w.must(err)
	if deleted.Requests != 1 || deleted.Uses != 1 {
		w.t.Fatalf("deletion %+v", deleted)
	}
	_, err = w.bank.Consents().RequestErasure(ctx, id, sdk.Evidence{EvidenceHash: hash()})
	w.must(err)
	for _, holder := range []*sdk.Client{w.lend, w.bank} {
		if _, err := holder.Consents().ConfirmErasure(ctx, id); err != nil && sdk.CodeOf(err) != record.CodeWrongState {
			w.code(record.CodeAlreadyExists, err) // its node was quicker
		}
	}
	c, _, err := w.bank.Consents().Proven(ctx, id)
	w.must(err)
	if c.ErasureStatus != record.Erased || c.PrincipalRef != "" || c.RecordCommitment != (sdk.Hash{}) {
		w.t.Fatalf("what is left: %+v", c)
	}
}

func (w *world) answerDispute() {
	ctx := w.t.Context()
	r, err := w.lend.Query(ctx, question(w.given(nil)))
	w.must(err)
	if r.Answer.Value != truth(0) {
		w.t.Fatalf("the answer is %q", r.Answer.Value)
	}
	_, err = w.lend.Queries().DisputeAnswer(ctx, r.Answer, record.ClaimImplausible, authority)
	w.must(err)
	opening, err := r.Answer.Opening()
	w.must(err)
	// What the authority does with what the lender handed it.
	var body record.AnswerBody
	w.must(record.Decode(opening, &body))
	shown, err := body.OpeningHash()
	w.must(err)
	dispute, err := w.lend.Queries().AnswerDispute(ctx, r.Decision.RequestID)
	w.must(err)
	committed, err := body.Commitment()
	w.must(err)
	if shown != dispute.OpeningHash || committed != dispute.ResultCommitment {
		w.t.Fatalf("the opening does not belong to the dispute %+v", dispute)
	}
	_, err = w.rule.Queries().JudgeAnswer(ctx, sdk.VerdictSpec{RequestID: r.Decision.RequestID, Finding: record.Dismissed, StatementHash: hash()})
	w.must(err)
	for x, err := range w.rule.Queries().AnswerDisputes(ctx, "") {
		w.must(err)
		w.t.Fatalf("still open: %+v", x)
	}
}
