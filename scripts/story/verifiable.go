package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// verifiable is what --scenario verifiable --json prints.
type verifiable struct {
	Customers    uint64            `json:"customers"` // in the tree's vault
	Answered     uint64            `json:"answered"`
	BuildSeconds float64           `json:"buildSeconds"`
	Epoch        uint64            `json:"epoch"`
	Root         string            `json:"root"`
	Honest       told              `json:"honest"` // the first lender
	Lie          told              `json:"lie"`    // the second one
	Caught       string            `json:"caught"` // what the second lender's client said
	Claim        string            `json:"claim"`
	Finding      string            `json:"finding"` // computed from the opening, and on the ledger
	Why          string            `json:"why"`
	Saw          map[string]string `json:"saw"` // by party
}

type told struct {
	Lender     string  `json:"lender"`
	Value      string  `json:"value"`
	RequestID  string  `json:"requestId"`
	Anchored   string  `json:"anchored"`
	OpenedMs   float64 `json:"openedMs,omitempty"`
	VerifiedMs float64 `json:"verifiedMs,omitempty"`
}

// secondLender is a bank that lends, too.
var secondLender = banks[1]

// anchoredManifest makes that bank a lender.
func anchoredManifest(m *testnet.Manifest) {
	m.Guests = []string{banks[bankOfStory]} // or its clerk could do nothing while its node stands still
	for i := range m.Members {
		if m.Members[i].ID == secondLender {
			m.Members[i].Roles = append(m.Members[i].Roles, "DATA_CONSUMER")
		}
	}
}

// tellVerifiable: a bank anchors its answers, tells one lender the anchored one and
// another something else, and is convicted by its own receipt.
func (t *teller) tellVerifiable(ctx context.Context) error {
	var err error
	if t.cast.borrower, err = t.choose(bankOfStory); err != nil {
		return err
	}
	t.verifiable = &verifiable{Saw: map[string]string{
		"lender":       "one listed answer with its opening: 48 hashes that name nobody and count nobody",
		"secondLender": "the same, and that it does not fit",
		"authority":    "the one disputed answer and about whom it is, from the lender's hand",
		"otherMembers": "the anchored root, the requests, the dispute and its verdict; no answer, no identity",
	}}
	if err := t.anchorEpoch(ctx); err != nil {
		return err
	}
	if err := t.tellTruth(ctx); err != nil {
		return err
	}
	caught, part, err := t.tellLie(ctx)
	if err != nil {
		return err
	}
	return t.convict(ctx, caught, part)
}

// anchorEpoch works out the answers of the next epoch, anchors their root and opens it.
func (t *teller) anchorEpoch(ctx context.Context) error {
	officer, err := t.client(ctx, banks[bankOfStory], "officer")
	if err != nil {
		return err
	}
	defer officer.Close()
	const epoch = 2
	began := time.Now()
	built, err := officer.Templates().BuildAnswers(ctx, templateID(bankOfStory, "worst-status"), nil, epoch, func(p sdk.BuildProgress) {
		t.say("%d customers read, %d in the tree", p.Read, p.Built)
	})
	if err != nil {
		return fmt.Errorf("build answers: %w", err)
	}
	took := time.Since(began)
	if _, err := officer.Templates().Anchor(ctx, built.Spec); err != nil {
		return fmt.Errorf("anchor answers: %w", err)
	}
	if _, err := officer.Products().OpenEpoch(ctx, productID(bankOfStory), epoch); err != nil {
		return fmt.Errorf("open epoch: %w", err)
	}
	v := t.verifiable
	v.Customers, v.Answered, v.BuildSeconds, v.Epoch, v.Root = built.Customers, built.Answered, took.Seconds(), epoch, built.Spec.Root.Hex()
	t.chapter("%s works out its answers about all %d customers (%.1f s), anchors the root %s… and opens epoch %d.", banks[bankOfStory], built.Customers, took.Seconds(), v.Root[:18], epoch)
	t.say("From now on its answers are fixed. The root tells nothing: neither who the customers are nor how many.")
	return nil
}

// consentFor is a consent of the borrower to a lender, given at the bank's counter. It
// returns the sealed part that the lender keeps.
func (t *teller) consentFor(ctx context.Context, lend *sdk.Client) (sdk.QueryRequest, []byte, error) {
	q := sdk.QueryRequest{Template: templateID(bankOfStory, "worst-status"), Purpose: record.CreditChecking, Subject: sdk.SubjectID(t.cast.borrower.identity)}
	terms, err := lend.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: sdk.OrgID(banks[bankOfStory]), Product: productID(bankOfStory), Templates: []sdk.TemplateID{q.Template},
		Purposes: []sdk.Purpose{q.Purpose}, Expires: time.Now().Add(24 * time.Hour), MaxUses: 2, NoticeHash: t.cast.notices[bankOfStory],
	})
	if err != nil {
		return q, nil, fmt.Errorf("draft consent: %w", err)
	}
	prepared, err := lend.Consents().Prepare(ctx, terms, sdk.SealedPart{SubjectID: t.cast.borrower.identity})
	if err != nil {
		return q, nil, err
	}
	part, err := prepared.PartJSON()
	if err != nil {
		return q, nil, err
	}
	if _, err := lend.Consents().Create(ctx, prepared); err != nil {
		return q, nil, fmt.Errorf("create consent: %w", err)
	}
	bank, err := t.client(ctx, banks[bankOfStory], "officer")
	if err != nil {
		return q, nil, err
	}
	defer bank.Close()
	if err := bank.BindConsent(ctx, terms.ConsentID, t.cast.borrower.identity); err != nil {
		return q, nil, fmt.Errorf("bind consent: %w", err)
	}
	var evidence sdk.Hash
	rand.Read(evidence[:]) // does not fail
	if _, err := bank.Consents().Authorise(ctx, terms.ConsentID, record.ProviderAuthenticated, sdk.Evidence{EvidenceHash: evidence}); err != nil {
		return q, nil, fmt.Errorf("authorise consent: %w", err)
	}
	q.Consent = terms.ConsentID
	return q, part, nil
}

// tellTruth: the first lender gets the anchored answer, with its proof.
func (t *teller) tellTruth(ctx context.Context) error {
	lend, err := t.client(ctx, lender, "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	q, _, err := t.consentFor(ctx, lend)
	if err != nil {
		return err
	}
	r, err := lend.Query(ctx, q)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	if r.Answer == nil || r.Verified.Anchored != sdk.AnchoredProven || r.Answer.Value != expectedWorst(t.cast.borrower) {
		return fmt.Errorf("the first lender was not told the anchored truth: %+v", r.Decision)
	}
	t.verifiable.Honest = told{lender, r.Answer.Value, string(r.Decision.RequestID), string(r.Verified.Anchored), ms(r.Timing.Opened), ms(r.Timing.Verified)}
	t.chapter("%s asks and is told %s: %s by its opening (opened after %.1f ms, verified after %.1f ms).", lender, r.Answer.Value, r.Verified.Anchored, ms(r.Timing.Opened), ms(r.Timing.Verified))
	return nil
}

// tellLie: somebody at the bank wants the second lender to hear something nicer. The
// bank's node would not say it, so it is stopped, and the clerk answers with the bank's
// own keys: a receipt on the ledger, and an envelope sealed to the lender.
func (t *teller) tellLie(ctx context.Context) (*sdk.NotAnchored, []byte, error) {
	lend, err := t.client(ctx, secondLender, "integration")
	if err != nil {
		return nil, nil, err
	}
	defer lend.Close()
	q, part, err := t.consentFor(ctx, lend)
	if err != nil {
		return nil, nil, err
	}
	if err := t.net.First(banks[bankOfStory]).StopNode(); err != nil {
		return nil, nil, err
	}
	t.chapter("%s asks the same. Somebody at the bank stops its node, which would not lie, and answers by hand: NEVER_LATE.", secondLender)
	ticket, err := lend.Queries().Prepare(q)
	if err != nil {
		return nil, nil, err
	}
	d, err := lend.Queries().Request(ctx, ticket)
	if err != nil {
		return nil, nil, fmt.Errorf("the second lender's request: %w", err)
	}
	sealed, err := t.forge(ctx, lend, q, d)
	if err != nil {
		return nil, nil, err
	}
	a, err := lend.Queries().Open(ticket, &sdk.Delivery{Sealed: sealed})
	if err != nil {
		return nil, nil, fmt.Errorf("open the lie: %w", err)
	}
	_, err = lend.Queries().Verify(ctx, ticket, a)
	var caught *sdk.NotAnchored
	if !errors.As(err, &caught) {
		return nil, nil, fmt.Errorf("the lie was not caught: %w", err)
	}
	t.verifiable.Lie = told{Lender: secondLender, Value: a.Value, RequestID: string(d.RequestID), Anchored: string(sdk.ClaimNotAnchored)}
	t.verifiable.Caught = caught.Cause.Error()
	t.say("Its envelope opens, and the receipt on the ledger commits to it. Yet the client refuses it: %v.", caught.Cause)
	return caught, part, nil
}

// forge writes the lie's receipt and seals it, with an opening as good as one can be
// made that the root was not made for.
func (t *teller) forge(ctx context.Context, lend *sdk.Client, q sdk.QueryRequest, d *sdk.Decision) ([]byte, error) {
	known, err := lend.Queries().Receipt(ctx, d.RequestID)
	if known == nil || known.RequestProof == nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	request := known.Request
	p := &answer.Proof{}
	rand.Read(p.Salt[:])
	for i := range p.Path {
		rand.Read(p.Path[i][:])
	}
	lie := answer.Answer{Outcome: record.Answered, Proof: p.Encode(), Body: record.AnswerBody{
		ChainID: t.net.Genesis().Hash(), CodeHash: request.CodeHash, ConsentID: q.Consent, Epoch: d.Epoch, EvaluatedHeight: d.Height,
		ProofHash: answer.ProofHash(p.Encode()), RequestID: d.RequestID, Salt: answer.NewSalt(), TemplateID: q.Template, Value: "NEVER_LATE",
	}}
	spec := record.ReceiptSpec{CodeHash: request.CodeHash, EvaluatedHeight: d.Height, Outcome: record.Answered, RequestID: d.RequestID}
	if spec.ResultCommitment, err = lie.Body.Commitment(); err != nil {
		return nil, err
	}
	text, err := record.Encode(&spec)
	if err != nil {
		return nil, err
	}
	signer, err := t.net.Signer(banks[bankOfStory], "integration")
	if err != nil {
		return nil, err
	}
	clerk, err := t.net.Dial(ctx, t.net.First("regulator"), sdk.WithIdentity(sdk.OrgID(banks[bankOfStory]), signer), sdk.WithMiddleware(t.replies.wrap))
	if err != nil {
		return nil, err
	}
	defer clerk.Close()
	if _, err := clerk.Invoke(ctx, record.ContractAccess, "Receipt", string(text)); err != nil {
		return nil, fmt.Errorf("the clerk's receipt: %w", err)
	}
	to, err := answer.ParsePublicKey(request.AnswerKey)
	if err != nil {
		return nil, err
	}
	s, err := answer.Seal(to, answer.Context{ChainID: lie.Body.ChainID, RequestID: d.RequestID, Recipient: record.OrgID(secondLender), KeyID: answer.KeyID(request.AnswerKey)}, lie)
	return s.Encode(), err
}

// convict: the lender disputes, the regulator opens, computes and judges.
func (t *teller) convict(ctx context.Context, caught *sdk.NotAnchored, part []byte) error {
	lend, err := t.client(ctx, secondLender, "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	if _, err := lend.Queries().DisputeAnswer(ctx, caught.Answer, sdk.ClaimNotAnchored, "regulator"); err != nil {
		return fmt.Errorf("dispute: %w", err)
	}
	opening, err := caught.Answer.AnchorOpening(part)
	if err != nil {
		return err
	}
	t.chapter("%s disputes it on the ledger, %s, and hands the opening (%d bytes) to the regulator and to nobody else.", secondLender, sdk.ClaimNotAnchored, len(opening))
	judge, err := t.client(ctx, "regulator", "officer")
	if err != nil {
		return err
	}
	defer judge.Close()
	s, _, err := judge.Queries().SettleDispute(ctx, caught.Request.RequestID, opening)
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	var reasons sdk.Hash
	rand.Read(reasons[:]) // the salted commitment to them
	if _, err := judge.Queries().JudgeAnswer(ctx, sdk.VerdictSpec{RequestID: caught.Request.RequestID, Finding: s.Finding, StatementHash: reasons}); err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	d, err := judge.Queries().AnswerDispute(ctx, caught.Request.RequestID)
	if err != nil {
		return err
	}
	v := t.verifiable
	v.Claim, v.Finding, v.Why = string(d.Claim), string(d.Verdict.Finding), s.Why
	t.say("The regulator's client computes the verdict from opening, consent and root: %s.", d.Verdict.Finding)
	t.say("%s", s.Why)
	if d.Verdict.Finding != record.Upheld {
		return fmt.Errorf("the lie was judged %s", d.Verdict.Finding)
	}
	return nil
}
