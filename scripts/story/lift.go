package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// sceneLift is the scenario of what one invisible answer is worth to a lender.
const sceneLift = "lift"

const (
	// liftApplicants is how many customers agree to be asked about.
	liftApplicants = 2500
	// liftBatch is how many of them one batch asks about; a batch has at most 1,000.
	liftBatch = 1000
	// liftFolds: what the answer says is learnt from all folds but the one it is tried on.
	liftFolds = 5
)

// lifted is what --scenario lift --json prints.
type lifted struct {
	Applicants        int               `json:"applicants"` // who agreed, each with a wallet and a key of their own
	Defaulted         int               `json:"defaulted"`  // of them; what a scorecard should have foreseen
	Past              int               `json:"past"`       // other borrowers, from whom the scorecards are developed
	Batches           int               `json:"batches"`
	Answers           int               `json:"answers"`  // opened, each as the bank's row says
	Verified          int               `json:"verified"` // receipts proven against a quorum's votes
	ConsentSeconds    float64           `json:"consentSeconds"`
	AnswerSeconds     float64           `json:"answerSeconds"`
	Own               ranked            `json:"own"`         // a scorecard of what the lender knows by itself
	PlusAnswer        ranked            `json:"plusAnswer"`  // the same and one answer of five
	FullHistory       ranked            `json:"fullHistory"` // the same and every figure that the bank has
	Gain              ranked            `json:"gain"`        // of the answer
	Picture           string            `json:"picture"`     // SVG file
	Saw               map[string]string `json:"saw"`
	PersonalDataFound int               `json:"personalDataFound"`
	PlantedValueFound bool              `json:"plantedValueFound"`

	applicants []*customer
	past       []*customer
	consents   []sdk.ConsentID
	answers    []string // by applicant
}

// ranked is an area under the ROC curve, or a difference of two.
type ranked struct {
	AUC      float64    `json:"auc"`
	Interval [2]float64 `json:"interval95"`
}

func (r ranked) String() string {
	return fmt.Sprintf("%.3f (95 %%: %.3f to %.3f)", r.AUC, r.Interval[0], r.Interval[1])
}

// tellLift: customers agree, the lender asks about all of them in batches, and three
// scorecards are compared.
func (t *teller) tellLift(ctx context.Context) error {
	v := &lifted{Saw: map[string]string{
		"lender":       "of each who agreed, in which of five bands the worst of six months is: 2.3 bits; no figure, no date, no amount",
		"bank":         "who was asked about, by whom and for what; not what became of the loan",
		"otherMembers": "consents, requests and receipts under keys that name nobody; no answer",
		"teller":       "everything: the card of the full history exists in this story only",
	}}
	t.lifted = v
	if err := t.chooseApplicants(); err != nil {
		return err
	}
	lend, err := t.client(ctx, lender, "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	if err := t.agreeAll(ctx, lend); err != nil {
		return err
	}
	if err := t.askAll(ctx, lend); err != nil {
		return err
	}
	return t.compareCards()
}

// chooseApplicants draws them from the bank's customers. Everybody else is a borrower
// of the past, of whom the lender knows what it had asked them then, and how it ended.
func (t *teller) chooseApplicants() error {
	v := t.lifted
	order := rand.New(rand.NewPCG(t.opts.seed, 2)).Perm(len(t.people))
	for _, i := range order {
		c := &t.people[i]
		if !c.labelled {
			return errors.New("lift: the file does not say who defaulted: give one with the column default.payment.next.month")
		}
		if len(v.applicants) < t.opts.applicants && c.banks[bankOfStory] {
			v.applicants = append(v.applicants, c)
			if c.defaulted {
				v.Defaulted++
			}
		} else {
			v.past = append(v.past, c)
		}
	}
	v.Applicants, v.Past = len(v.applicants), len(v.past)
	if v.Applicants > 0 {
		t.cast.borrower = v.applicants[0]
	}
	if v.Applicants < t.opts.applicants || v.Past < t.opts.applicants {
		return fmt.Errorf("lift: asks about %d customers of %s and learns from as many others; there are %d and %d: give more --rows, or a larger file", t.opts.applicants, banks[bankOfStory], v.Applicants, v.Past)
	}
	return nil
}

// agreeAll makes a wallet and a consent for every applicant.
func (t *teller) agreeAll(ctx context.Context, lend *sdk.Client) error {
	officer, err := t.client(ctx, banks[bankOfStory], "officer")
	if err != nil {
		return err
	}
	defer officer.Close()
	v, began := t.lifted, time.Now()
	t.chapter("%d customers of %s apply for a loan at %s and agree to one question about them.", v.Applicants, banks[bankOfStory], lender)
	v.consents = make([]sdk.ConsentID, v.Applicants)
	var made atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for i, c := range v.applicants {
		g.Go(func() (err error) {
			if v.consents[i], err = t.agreeOne(ctx, lend, officer, c); err != nil {
				return fmt.Errorf("consent of applicant %d: %w", i, err)
			}
			if n := made.Add(1); n%500 == 0 {
				t.say("%d consents", n)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	v.ConsentSeconds = time.Since(began).Seconds()
	t.say("Each with a wallet that the bank has bound, a key made for this consent alone, and an EIP-712 signature (%.1f s).", v.ConsentSeconds)
	return nil
}

// agreeOne makes the consent of one customer.
func (t *teller) agreeOne(ctx context.Context, lend, officer *sdk.Client, c *customer) (sdk.ConsentID, error) {
	terms, err := lend.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: sdk.OrgID(banks[bankOfStory]), Product: productID(bankOfStory), Templates: []sdk.TemplateID{templateID(bankOfStory, "worst-status")},
		Purposes: []sdk.Purpose{record.CreditChecking}, Automated: true, Expires: time.Now().Add(24 * time.Hour), MaxUses: 1, NoticeHash: t.cast.notices[bankOfStory],
	})
	if err != nil {
		return "", fmt.Errorf("draft consent: %w", err)
	}
	return terms.ConsentID, testnet.Agree(ctx, lend, officer, c.identity, terms)
}

// askAll asks about every applicant, a batch at a time.
func (t *teller) askAll(ctx context.Context, lend *sdk.Client) error {
	v, began := t.lifted, time.Now()
	t.chapter("%s asks about all of them: the worst repayment status of six months, one of five bands.", lender)
	v.answers = make([]string, v.Applicants)
	steps, from := lend.Queries(), 0
	for ids := range slices.Chunk(v.consents, liftBatch) {
		var questions []sdk.QueryRequest
		for _, id := range ids {
			questions = append(questions, sdk.QueryRequest{Consent: id, Template: templateID(bankOfStory, "worst-status"), Purpose: record.CreditChecking})
		}
		tickets, err := steps.PrepareBatch(questions)
		if err != nil {
			return err
		}
		for r, err := range steps.Batch(ctx, tickets) {
			if err = cmp.Or(err, failureOf(r)); err != nil {
				return fmt.Errorf("batch %d: %w", v.Batches+1, err)
			}
			at := from + r.Item
			if v.answers[at] = r.Result.Answer.Value; v.answers[at] != expectedWorst(v.applicants[at]) {
				return fmt.Errorf("the answer about applicant %d is %s, the bank's row says otherwise", at, v.answers[at])
			}
			v.Answers++
			if x := r.Result.Verified; x != nil && x.Receipt.Outcome == record.Answered {
				v.Verified++
			}
		}
		v.Batches, from = v.Batches+1, from+len(ids)
		t.say("%d answers opened, each sealed to %s alone", v.Answers, lender)
	}
	v.AnswerSeconds = time.Since(began).Seconds()
	if v.Answers != v.Applicants || v.Verified != v.Answers {
		return fmt.Errorf("%d answers, %d of them verified, about %d applicants", v.Answers, v.Verified, v.Applicants)
	}
	t.say("%d batches, %.1f s; every receipt proven against the votes of a quorum.", v.Batches, v.AnswerSeconds)
	return nil
}

func failureOf(r *sdk.BatchResult) error {
	switch {
	case r == nil:
		return nil
	case r.Err != nil:
		return fmt.Errorf("question %d: %w", r.Item, r.Err)
	case r.Result.Answer == nil:
		return fmt.Errorf("question %d was decided %s", r.Item, r.Result.Decision.Code)
	}
	return nil
}

// What a lender asks an applicant itself. The sex of an applicant is no matter of credit.
var ownVariables = []variable{
	banded("LIMIT_BAL", 50_000, 100_000, 200_000, 300_000), // the limit wished for
	banded("AGE", 26, 31, 36, 46), banded("EDUCATION", 1, 2, 3, 4), banded("MARRIAGE", 1, 2, 3),
}

// What a bank has of a customer beside that.
func historyVariables() []variable {
	vars := []variable{{"utilisation", func(c *customer) int {
		return bandOf(100*c.figure("BILL_AMT1")/max(c.figure("LIMIT_BAL"), 1), []int{11, 51, 91})
	}}}
	for _, name := range figureColumns[5:11] {
		vars = append(vars, banded(name, 0, 1, 2, 3))
	}
	for _, name := range figureColumns[17:23] {
		vars = append(vars, banded(name, 1, 2_000, 5_000, 10_000))
	}
	return vars
}

// compareCards scores the applicants by three cards, none of which saw them, and draws
// the picture.
func (t *teller) compareCards() error {
	v := t.lifted
	own, full := develop(v.past, ownVariables...), develop(v.past, historyVariables()...)
	bands := templatesFor(bankOfStory)[0].Outputs
	answerOf := make(map[*customer]int, v.Applicants)
	for i, c := range v.applicants {
		answerOf[c] = slices.Index(bands, v.answers[i])
	}
	answer := variable{"answer", func(c *customer) int { return answerOf[c] }}

	bad := make([]bool, v.Applicants)
	var risks [3][]float64
	for fold := range liftFolds {
		var others []*customer
		for i, c := range v.applicants {
			if i%liftFolds != fold {
				others = append(others, c)
			}
		}
		told := develop(others, answer)
		for k := range risks {
			if risks[k] == nil {
				risks[k] = make([]float64, v.Applicants)
			}
		}
		for i := fold; i < v.Applicants; i += liftFolds {
			c := v.applicants[i]
			alone := own.risk(c)
			bad[i], risks[0][i], risks[1][i], risks[2][i] = c.defaulted, alone, alone+told.risk(c), alone+full.risk(c)
		}
	}
	area := func(k int) func([]int) float64 {
		return func(at []int) float64 { return auc(pick(risks[k], at), pick(bad, at)) }
	}
	for k, to := range []*ranked{&v.Own, &v.PlusAnswer, &v.FullHistory} {
		*to = ranked{auc(risks[k], bad), bootstrap(v.Applicants, t.opts.seed, area(k))}
	}
	v.Gain = ranked{v.PlusAnswer.AUC - v.Own.AUC, bootstrap(v.Applicants, t.opts.seed, func(at []int) float64 { return area(1)(at) - area(0)(at) })}
	t.chapter("How well a scorecard tells who will pay: AUC over the %d applicants, %d of whom did not (0.5 is a coin).", v.Applicants, v.Defaulted)
	t.say("what the lender knows by itself     %s", v.Own)
	t.say("and one answer it cannot see behind %s   gain %s", v.PlusAnswer, v.Gain)
	t.say("and all that the bank has           %s   which nobody was given", v.FullHistory)
	return t.drawLift([]curve{
		{"lender alone 仅自有数据", v.Own, roc(risks[0], bad)}, {"plus one invisible answer 加一个可用不可见的答案", v.PlusAnswer, roc(risks[1], bad)},
		{"plus the full history 加全部历史", v.FullHistory, roc(risks[2], bad)},
	})
}

// drawLift writes the picture where --picture says.
func (t *teller) drawLift(curves []curve) error {
	path := t.opts.picture
	if path == "" {
		path = filepath.Join(filepath.Dir(t.dir), "lift.svg")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	v := t.lifted
	about := fmt.Sprintf("%d applicants, %d of whom defaulted", v.Applicants, v.Defaulted)
	if err := os.WriteFile(path, drawROC(about, curves, []string{
		"The answer: in which of five bands the worst repayment",
		"status of six months is. The bank computed it in its own",
		"vault, with consent; nobody but the lender can read it.",
		fmt.Sprintf("Gain of AUC %+.3f (95 %%: %+.3f to %+.3f).", v.Gain.AUC, v.Gain.Interval[0], v.Gain.Interval[1]),
	}), 0o644); err != nil {
		return fmt.Errorf("write picture: %w: name another file with --picture", err)
	}
	v.Picture = path
	t.say("Picture: %s", path)
	return nil
}

// searchLift is the search for personal data.
func (t *teller) searchLift(ctx context.Context) error {
	err := t.search(ctx)
	t.lifted.PersonalDataFound, t.lifted.PlantedValueFound = t.result.PersonalDataFound, t.result.PlantedValueFound
	return err
}
