package sdk_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// stats is a world with banks of which statistics are asked.
type stats struct {
	*world
	banks  []*fakenode.StatBank
	client *sdk.Client
}

// newStats is a world with three banks of so many customers each, who owe 10, 20, 30
// and so on by bank.
func newStats(t *testing.T, customers int) *stats {
	t.Helper()
	w := &stats{world: newWorld(t)}
	debts := make([][]int64, 3)
	for i := range debts {
		debts[i] = slices.Repeat([]int64{int64(10 * (i + 1))}, customers)
	}
	w.banks = w.net.FurnishStatistics(debts...)
	w.client = w.lender()
	return w
}

func (w *stats) request() sdk.CohortRequest {
	q := sdk.CohortRequest{Purpose: fakenode.StatPurpose, Params: map[string]string{"from": "0"}}
	for _, b := range w.banks {
		q.Templates = append(q.Templates, b.Template)
	}
	return q
}

// replace has one bank send what alter makes of its honest answer, and commit to it.
func (w *stats) replace(b *fakenode.StatBank, alter func(r *record.Request, honest answer.Answer) answer.Answer) {
	w.net.Provider = func(r *record.Request, honest answer.Answer) (answer.Answer, answer.Answer, bool) {
		if r.Provider == b.Bank {
			honest = alter(r, honest)
		}
		return honest, honest, honest.Outcome == record.Answered
	}
}

// show has the node show another set than the ledger's.
func (w *stats) show(alter func(c *record.Cohort)) {
	w.node.Tamper("Submit", func(m proto.Message) {
		o := m.(*v1.SubmitResponse).Outcome
		c, err := record.Load[record.Cohort](o.Payload)
		if err == nil {
			alter(c)
			o.Payload, err = record.Encode(c)
		}
		if err != nil {
			w.t.Error(err)
		}
	})
}

// deny is a denial in place of a permit, as the ledger would have written it.
func deny(c *record.Cohort) {
	c.Decision, c.Params, c.Deadline = record.Deny, nil, 0
	for i := range c.Seats {
		s := &c.Seats[i]
		s.Code, s.CodeHash, s.Epoch, s.Key, s.SpentMicro = record.CodeEpsilonExhausted, record.Hash{}, 0, nil, s.CapMicro
	}
}

func TestStatisticsAreAddedUpAndVerified(t *testing.T) {
	w := newStats(t, 1000)
	r, err := w.client.Cohort(t.Context(), w.request())
	w.must(err)
	if !r.Decision.Permit || r.Verified == nil || len(r.Verified.Receipts) != 3 || r.Statistics == nil {
		t.Fatalf("decision %+v", r.Decision)
	}
	near := func(what string, got, want, deviation float64) {
		if math.Abs(got-want) > 40*deviation { // beyond that noise is not seen
			t.Errorf("%s: %v, want about %v", what, got, want)
		}
	}
	sum, _ := r.Statistics.Figures[0].Sum.Float64()
	near("count", float64(r.Statistics.Count), 3000, r.Statistics.Deviation)
	near("sum", sum, 60_000, r.Statistics.Figures[0].Deviation)
	b, err := w.client.Cohorts().Budget(t.Context(), w.banks[0].Product, r.Decision.Record.Year)
	w.must(err)
	if b.Spent != fakenode.StatEpsilon || b.Answers != 1 || b.Columns[0].Left != fakenode.StatBudget-fakenode.StatEpsilon {
		t.Errorf("budget %+v", b)
	}
	for range 3 {
		_, err = w.client.Cohort(t.Context(), w.request())
		w.must(err)
	}
	r, err = w.client.Cohort(t.Context(), w.request())
	w.must(err)
	if r.Decision.Permit || r.Decision.Code != record.CodeEpsilonExhausted || r.Decision.Remedy == "" || r.Statistics != nil {
		t.Errorf("a fifth answer: %+v", r.Decision)
	}
	if r.Verified == nil || r.Verified.Proof == nil || len(r.Verified.Receipts) != 0 {
		t.Errorf("the denial is not proven: %+v", r.Verified)
	}
}

func TestACohortBelowKTellsNothing(t *testing.T) {
	w := newStats(t, 2)
	_, err := w.client.Cohort(t.Context(), w.request())
	var none *sdk.NoStatistics
	if !errors.As(err, &none) || !none.TooFew || none.Retryable() || len(none.Faults) != 0 || none.K != fakenode.StatK {
		t.Errorf("%v", err)
	}
}

// What a node shows is the ledger's word, or the node is found out: no bank is blamed
// for it, no denial is believed, and no plan but the certified one is taken for it.
func TestANodeThatLiesAboutStatisticsIsFoundOut(t *testing.T) {
	other := record.TemplateID("stat-b.others")
	for _, tc := range []struct {
		name string
		lie  func(c *record.Cohort)
		why  string
	}{
		{"another request's set", func(c *record.Cohort) { c.CohortID = hashOf("x") }, "another request than the ticket's"},
		{"another purpose", func(c *record.Cohort) { c.Purpose = record.FraudManagement }, "another request than the ticket's"},
		{"other parameters", func(c *record.Cohort) { c.Params[0].Value = "100" }, "another request than the ticket's"},
		{"another answer key", func(c *record.Cohort) { c.AnswerKey[0] ^= 1 }, "another request than the ticket's"},
		{"a bank left out", func(c *record.Cohort) { c.Seats = c.Seats[:2] }, "another request than the ticket's"},
		{"another bank's template", func(c *record.Cohort) { c.Seats[1].TemplateID = other }, "seat 1"},
		{"a denial in place of a permit", deny, "certifies another decision"},
		{"another plan", func(c *record.Cohort) { c.Plan.Statistics[0].High = "2000" }, "certifies another one"},
		{"less epsilon", func(c *record.Cohort) { c.Plan.EpsilonMicro /= 2 }, "certifies another one"},
		{"a key of its own", func(c *record.Cohort) { c.Seats[0].Key = hashOf("x").Bytes() }, "certifies another one"},
		{"another epoch", func(c *record.Cohort) { c.Seats[0].Epoch++ }, "certifies another one"},
		{"less debited", func(c *record.Cohort) { c.Seats[2].SpentMicro = 0 }, "certifies another one"},
		{"another name for a bank", func(c *record.Cohort) { c.Seats[1].Bank = "stat-bb" }, "certifies another one"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newStats(t, 1000)
			w.show(tc.lie)
			r, err := w.lender(sdk.WithTimeouts(quick)).Cohort(t.Context(), w.request())
			if err == nil {
				t.Fatalf("taken for the truth: %+v", r.Decision)
			}
			wantLie(t, err, tc.why)
		})
	}
}

// A denial says what each account has left: that is certified too.
func TestADenialOfStatisticsIsProven(t *testing.T) {
	w := newStats(t, 1000)
	for range 4 {
		_, err := w.client.Cohort(t.Context(), w.request())
		w.must(err)
	}
	for name, lie := range map[string]func(c *record.Cohort){
		"nothing left":   func(c *record.Cohort) { c.Seats[0].SpentMicro = c.Seats[0].CapMicro },
		"another reason": func(c *record.Cohort) { c.Seats[1].Code = record.CodeTemplateRetired },
	} {
		w.show(lie)
		_, err := w.lender(sdk.WithTimeouts(quick)).Cohort(t.Context(), w.request())
		t.Run(name, func(t *testing.T) { wantLie(t, err, "certifies another decision") })
	}
	w.node.Tamper("Submit", nil)

	// The steps prove it when they are asked to.
	steps := w.client.Cohorts()
	ticket, err := steps.Prepare(t.Context(), w.request())
	w.must(err)
	d, err := steps.Request(t.Context(), ticket)
	w.must(err)
	v, err := steps.Verify(t.Context(), ticket, d, nil)
	if err != nil || v.Record.Seats[0].Code != record.CodeEpsilonExhausted {
		t.Errorf("%+v, %v", v, err)
	}
}

// What fewer than a quorum vouch for is no record of a set, whether there are
// statistics or none.
func TestASetWithoutAQuorumIsFoundOut(t *testing.T) {
	for name, customers := range map[string]int{"statistics": 1000, "too few": 2} {
		t.Run(name, func(t *testing.T) {
			w := newStats(t, customers)
			w.node.Tamper("ProveReceipt", func(m proto.Message) {
				header(t, &m.(*v1.ProveReceiptResponse).CertifiedHeader, func(c *ledger.CertifiedHeader) {
					c.Certificate = *fakenode.Certify(&c.Header, 1, 2)
				})
			})
			r, err := w.lender(sdk.WithTimeouts(quick)).Cohort(t.Context(), w.request())
			if err == nil {
				t.Fatalf("taken for the truth: %+v", r.Decision)
			}
			wantLie(t, err, "3 are needed")
		})
	}
}

// Whatever one bank does wrong, nothing is released and that bank is named alone.
func TestABankAtFaultInStatisticsIsNamed(t *testing.T) {
	var w *stats     // each lie has its own
	const seeds = 38 // where the first seed begins in a share
	carried := func(mutate func(both []byte) []byte) func(*record.Request, answer.Answer) answer.Answer {
		return func(_ *record.Request, honest answer.Answer) answer.Answer {
			return fakenode.WithShare(honest, mutate(slices.Clone(honest.Proof)))
		}
	}
	without := func(o record.ReceiptOutcome) func(*record.Request, answer.Answer) answer.Answer {
		return func(_ *record.Request, honest answer.Answer) answer.Answer {
			honest.Outcome, honest.Proof, honest.Body.Value, honest.Body.ProofHash = o, nil, "", record.Hash{}
			return honest
		}
	}
	const culprit = sdk.OrgID("stat-b")
	for name, c := range map[string]struct {
		kind  cohort.FaultKind
		pairs bool // one of two is at fault: the culprit is among those named
		lie   func(*record.Request, answer.Answer) answer.Answer
	}{
		"cut":          {cohort.Malformed, false, carried(func(b []byte) []byte { return b[:len(b)-1] })},
		"nothing":      {cohort.Malformed, false, carried(func([]byte) []byte { return []byte{0} })},
		"another seat": {cohort.Replayed, false, carried(func(b []byte) []byte { b[2+34] = 0; return b })},
		"another bank's share": {cohort.Replayed, false, func(r *record.Request, honest answer.Answer) answer.Answer {
			share, err := w.net.CohortShare(r.BatchID, w.banks[0].Bank)
			if err != nil {
				t.Error(err)
			}
			return fakenode.WithShare(honest, share)
		}},
		"other seeds": {cohort.MaskDispute, true, carried(func(b []byte) []byte { b[2+seeds] ^= 1; return b })},
		"withheld":    {cohort.Missing, false, without(record.Withheld)},
		"late":        {cohort.Late, false, without(record.Overdue)},
	} {
		t.Run(name, func(t *testing.T) {
			w = newStats(t, 1000)
			w.replace(w.banks[1], c.lie)
			_, err := w.client.Cohort(t.Context(), w.request())
			var none *sdk.NoStatistics
			if !errors.As(err, &none) || none.TooFew {
				t.Fatalf("%v", err)
			}
			if !slices.ContainsFunc(none.Faults, func(f sdk.CohortFault) bool { return f.Bank == culprit && f.Kind == c.kind }) {
				t.Errorf("faults %v, want %s of %s", none.Faults, c.kind, culprit)
			}
			for _, f := range none.Faults {
				if f.Bank != culprit && (!c.pairs || f.With != culprit) {
					t.Errorf("%s is named: %s", f.Bank, f)
				}
			}
			if none.Retryable() != (c.kind == cohort.Missing || c.kind == cohort.Late) || !strings.Contains(err.Error(), string(culprit)) {
				t.Errorf("retryable %t: %v", none.Retryable(), err)
			}
		})
	}
}

// A bank that commits on the ledger to another share than it sends is found out by its
// own receipt, though the shares add up; so is who puts words into a bank's mouth.
func TestStatisticsThatTheReceiptDoesNotCommitTo(t *testing.T) {
	for name, alter := range map[string]func(honest answer.Answer) answer.Answer{
		"another salt": func(a answer.Answer) answer.Answer { a.Body.Salt = answer.NewSalt(); return a },
		"a share garbled": func(a answer.Answer) answer.Answer {
			b := slices.Clone(a.Proof)
			b[len(b)-1] ^= 1
			return fakenode.WithShare(a, b)
		},
		"too few": func(a answer.Answer) answer.Answer {
			a.Body.Value, a.Proof, a.Body.ProofHash = answer.TooFewValue, nil, record.Hash{}
			return a
		},
		"blame of another": func(a answer.Answer) answer.Answer {
			a = fakenode.WithShare(a, []byte(`[{"Bank":"stat-a","Kind":"GARBLED"}]`))
			a.Body.Value = answer.BlamedValue
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newStats(t, 1000)
			w.net.Provider = func(r *record.Request, honest answer.Answer) (answer.Answer, answer.Answer, bool) {
				sent := honest
				if r.Provider == w.banks[1].Bank {
					sent = alter(honest)
				}
				return sent, honest, true
			}
			_, err := w.client.Cohort(t.Context(), w.request())
			wantLie(t, err, "differs")
			var lie *sdk.Untrusted
			if errors.As(err, &lie) && lie.Node != string(w.banks[1].Bank) {
				t.Errorf("%s is named: %v", lie.Node, err)
			}
		})
	}
}

// What a bank says of others, committed to by its receipt, is its word and says so.
func TestABanksWordAboutOthersIsItsOwn(t *testing.T) {
	w := newStats(t, 1000)
	w.replace(w.banks[2], func(_ *record.Request, honest answer.Answer) answer.Answer {
		honest = fakenode.WithShare(honest, []byte(`[{"Bank":"stat-a","Kind":"MISSING"},{"Bank":"stranger","Kind":"MISSING"}]`))
		honest.Body.Value = answer.BlamedValue
		return honest
	})
	_, err := w.client.Cohort(t.Context(), w.request())
	var none *sdk.NoStatistics
	if !errors.As(err, &none) || len(none.Faults) != 2 {
		t.Fatalf("%v", err)
	}
	if f := none.Faults[0]; f.Bank != w.banks[0].Bank || f.Detail != "says stat-c" {
		t.Errorf("%+v", f)
	}
	if f := none.Faults[1]; f.Bank != w.banks[2].Bank || f.Kind != cohort.Malformed {
		t.Errorf("who names a stranger is at fault itself: %+v", f)
	}
}
