package sdk_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// exposureKeys are of a ceremony that nobody should trust.
const exposureKeys = "../node/query/exposure/testdata/keys"

// loans is a world with a set of banks.
type loans struct {
	*world
	seats  []*fakenode.LoanSeat
	client *sdk.Client
}

func newLoans(t *testing.T, figures ...uint64) *loans {
	t.Helper()
	w := &loans{world: newWorld(t)}
	var err error
	w.seats, err = w.net.FurnishSet(exposureKeys, figures...)
	w.must(err)
	key, err := os.ReadFile(exposureKeys + "/in-range.verify")
	w.must(err)
	w.client = w.lender(sdk.WithExposureKeys(key))
	return w
}

func (w *loans) request(seats ...*fakenode.LoanSeat) sdk.ExposureRequest {
	q := sdk.ExposureRequest{Purpose: fakenode.LoanPurpose}
	for _, s := range seats {
		q.Items = append(q.Items, sdk.ExposureItem{Consent: s.Consent, Template: s.Template})
	}
	return q
}

// replace has one bank send and commit to what alter makes of its honest answer.
func (w *loans) replace(s *fakenode.LoanSeat, alter func(r *record.Request, honest answer.Answer) answer.Answer) {
	w.net.Provider = func(r *record.Request, honest answer.Answer) (answer.Answer, answer.Answer, bool) {
		if r.ConsentID == s.Consent {
			honest = alter(r, honest)
		}
		return honest, honest, honest.Outcome == record.Answered
	}
}

func TestATotalIsAddedUpAndVerified(t *testing.T) {
	w := newLoans(t, 120, 0, 35, 7)
	r, err := w.client.Exposure(t.Context(), w.request(w.seats...))
	w.must(err)
	if !r.Decision.Permit || r.Total != 162 || r.Verified == nil || len(r.Verified.Receipts) != 4 {
		t.Fatalf("total %d, decision %+v", r.Total, r.Decision)
	}
	one, err := w.client.Exposure(t.Context(), w.request(w.seats[:3]...))
	w.must(err)
	if one.Decision.Permit || one.Decision.Code != record.CodeSetTooClose || one.Decision.Remedy == "" || one.Total != 0 || one.Verified == nil || one.Verified.Receipts != nil {
		t.Errorf("a set one bank apart: %+v", one.Decision)
	}
	again, err := w.client.Exposure(t.Context(), w.request(w.seats...))
	w.must(err)
	if again.Total != r.Total || again.Decision.ID == r.Decision.ID {
		t.Errorf("the same set again: %d", again.Total)
	}
	h, err := w.client.Exposures().History(t.Context(), fakenode.LoanPrincipal())
	w.must(err)
	if len(h.Sets) != 1 || len(h.Sets[0].Figures) != 4 {
		t.Errorf("history %+v", h)
	}
}

// Whatever one bank does wrong, there is no total, and that bank is named alone.
func TestABankAtFaultIsNamed(t *testing.T) {
	w := newLoans(t, 120, 0, 35)
	var mu sync.Mutex
	var former []byte // the culprit's share of an earlier session
	culprit := w.seats[1]
	w.replace(culprit, func(_ *record.Request, honest answer.Answer) answer.Answer {
		mu.Lock()
		defer mu.Unlock()
		former = slices.Clone(honest.Proof)
		return honest
	})
	_, err := w.client.Exposure(t.Context(), w.request(w.seats...))
	w.must(err)
	mu.Lock()
	defer mu.Unlock()

	const pledged = 35 // where the pledge begins in a share: version, session, seat, n
	scalar := pledged + exposure.PledgeSize
	other := func(mutate func(share []byte) []byte) func(*record.Request, answer.Answer) answer.Answer {
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
	for name, c := range map[string]struct {
		kind exposure.FaultKind
		lie  func(*record.Request, answer.Answer) answer.Answer
	}{
		"changed":     {exposure.WrongShare, other(func(b []byte) []byte { b[scalar+exposure.ScalarSize-1] ^= 1; return b })},
		"cut":         {exposure.Malformed, other(func(b []byte) []byte { return b[:len(b)-1] })},
		"no point":    {exposure.Malformed, other(func(b []byte) []byte { clear(b[len(b)-exposure.PointSize:]); return b })},
		"replayed":    {exposure.Replayed, other(func([]byte) []byte { return former })},
		"other seat":  {exposure.Replayed, other(func(b []byte) []byte { b[33] = 0; return b })},
		"other proof": {exposure.Unpledged, other(func(b []byte) []byte { copy(b[pledged:scalar], otherPledge(t, former)); return b })},
		"withheld":    {exposure.Missing, without(record.Withheld)},
		"late":        {exposure.Late, without(record.Overdue)},
	} {
		t.Run(name, func(t *testing.T) {
			w.replace(culprit, c.lie)
			_, err := w.client.Exposure(t.Context(), w.request(w.seats...))
			var none *sdk.NoTotal
			if !errors.As(err, &none) {
				t.Fatalf("%v", err)
			}
			if len(none.Faults) != 1 || none.Faults[0].Bank != culprit.Bank || none.Faults[0].Kind != c.kind {
				t.Errorf("faults %v, want %s of %s", none.Faults, c.kind, culprit.Bank)
			}
			if none.Retryable() != (c.kind == exposure.Missing || c.kind == exposure.Late) || !strings.Contains(err.Error(), string(culprit.Bank)) {
				t.Errorf("retryable %t: %v", none.Retryable(), err)
			}
		})
	}
}

// otherPledge is a well-formed pledge that the bank did not register: the range proof
// is there, the point is the one of a mask.
func otherPledge(t *testing.T, share []byte) []byte {
	t.Helper()
	h, err := exposure.DecodeShare(share)
	if err != nil {
		t.Fatal(err)
	}
	p := h.Pledge
	p.Point = h.Masks[0]
	return p.Bytes()
}

// A share that never came is its bank's fault, and a retry is allowed.
func TestAMissingShareIsItsBanks(t *testing.T) {
	w := newLoans(t, 1, 2, 3)
	steps := w.client.Exposures()
	ticket, err := steps.Prepare(w.request(w.seats...))
	w.must(err)
	d, err := steps.Request(t.Context(), ticket)
	w.must(err)
	shares, err := steps.Collect(t.Context(), ticket, d)
	w.must(err)
	shares[2].Answer = nil
	_, err = steps.Total(d, shares)
	var none *sdk.NoTotal
	if !errors.As(err, &none) || !none.Retryable() || len(none.Faults) != 1 || none.Faults[0].Bank != w.seats[2].Bank || none.Faults[0].Kind != exposure.Missing {
		t.Errorf("%v", err)
	}
}

// Two banks send one another's shares: both are named.
func TestSwappedSharesAreBothBanksFault(t *testing.T) {
	w := newLoans(t, 1, 2, 3)
	w.net.Provider = func(r *record.Request, honest answer.Answer) (answer.Answer, answer.Answer, bool) {
		for i, s := range w.seats[:2] {
			if r.ConsentID != s.Consent {
				continue
			}
			share, err := w.net.Share(w.seats[1-i], r.BatchID)
			if err != nil {
				t.Error(err)
			}
			honest = fakenode.WithShare(honest, share)
		}
		return honest, honest, true
	}
	_, err := w.client.Exposure(t.Context(), w.request(w.seats...))
	var none *sdk.NoTotal
	if !errors.As(err, &none) || len(none.Faults) != 2 || none.Faults[0].Kind != exposure.Replayed || none.Faults[1].Bank != w.seats[1].Bank {
		t.Errorf("%v", err)
	}
}

// A bank that commits on the ledger to another share than it sends is found out by
// its own receipt, though the shares add up.
func TestAShareThatTheReceiptDoesNotCommitTo(t *testing.T) {
	w := newLoans(t, 1, 2, 3)
	w.net.Provider = func(r *record.Request, honest answer.Answer) (answer.Answer, answer.Answer, bool) {
		committed := honest
		if r.ConsentID == w.seats[1].Consent {
			committed.Body.Salt = answer.NewSalt()
		}
		return honest, committed, true
	}
	_, err := w.client.Exposure(t.Context(), w.request(w.seats...))
	var lie *sdk.Untrusted
	if !errors.As(err, &lie) || lie.Node != string(w.seats[1].Bank) {
		t.Errorf("%v", err)
	}
}

// Without the members' key nothing is asked, for the total could not be checked.
func TestNoTotalWithoutItsKey(t *testing.T) {
	w := newLoans(t, 1, 2, 3)
	before := w.net.Height()
	_, err := w.lender().Exposure(t.Context(), w.request(w.seats...))
	var conf *sdk.ConfigError
	if !errors.As(err, &conf) || conf.Remedy == "" || w.net.Height() != before {
		t.Errorf("%v; %d blocks", err, w.net.Height()-before)
	}
	if _, err := w.client.Exposures().Prepare(w.request(w.seats[:2]...)); err == nil {
		t.Error("a set of two banks")
	}
	if _, err := w.client.Exposures().Prepare(w.request(w.seats[0], w.seats[0], w.seats[1])); err == nil {
		t.Error("one bank twice")
	}
}

// Who registers a pledge whose range proof does not hold is named by every lender.
func TestAPledgeOutOfRangeIsItsBanks(t *testing.T) {
	w := newLoans(t, 1, 1<<exposure.ValueBits, 3)
	_, err := w.client.Exposure(t.Context(), w.request(w.seats...))
	var none *sdk.NoTotal
	if !errors.As(err, &none) || none.Retryable() || len(none.Faults) != 1 || none.Faults[0].Bank != w.seats[1].Bank || none.Faults[0].Kind != exposure.OutOfRange {
		t.Errorf("%v", err)
	}
}

// show has the node alter what it answers to the request of a total.
func (w *loans) show(alter func(e *record.Exposure)) {
	w.node.Tamper("Submit", func(m proto.Message) {
		o := m.(*v1.SubmitResponse).Outcome
		e, err := record.Load[record.Exposure](o.Payload)
		if err == nil {
			alter(e)
			o.Payload, err = record.Encode(e)
		}
		if err != nil {
			w.t.Error(err)
		}
	})
}

// A node that denies what the ledger permitted, gives other reasons or shows another set
// is found out: asking again would spend a use of every consent, and with another set
// honest banks would be accused of what the node did.
func TestALieAboutATotalIsFoundOut(t *testing.T) {
	for name, tc := range map[string]struct {
		denied bool // by the ledger
		lie    func(e *record.Exposure)
		why    string
	}{
		"a denial in place of a permit": {lie: func(e *record.Exposure) {
			e.Decision, e.Deadline = record.Deny, 0
			for i := range e.Seats {
				s := &e.Seats[i]
				s.Code, s.CodeHash, s.Epoch, s.Key, s.KeyID, s.Pledge = record.CodeUsesExhausted, record.Hash{}, 0, nil, "", record.Hash{}
			}
		}, why: "certifies another decision"},
		"another reason":           {denied: true, lie: func(e *record.Exposure) { e.Seats[0].Code = record.CodeConsentRevoked }, why: "certifies another decision"},
		"another pledge":           {lie: func(e *record.Exposure) { e.Seats[1].Pledge[0] ^= 1 }, why: "certifies another one"},
		"another bank's key":       {lie: func(e *record.Exposure) { e.Seats[1].Key[0] ^= 1 }, why: "certifies another one"},
		"another epoch":            {lie: func(e *record.Exposure) { e.Seats[2].Epoch++ }, why: "certifies another one"},
		"another request's answer": {lie: func(e *record.Exposure) { e.ExposureID[0] ^= 1 }, why: "another request"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLoans(t, 120, 0, 35, 7)
			ask := w.seats
			if tc.denied {
				_, err := w.client.Exposure(t.Context(), w.request(ask...))
				w.must(err)
				ask = ask[:3]
			}
			w.show(tc.lie)
			r, err := w.client.Exposure(t.Context(), w.request(ask...))
			if err == nil {
				t.Fatalf("taken for the truth: %+v", r.Decision)
			}
			var none *sdk.NoTotal
			if errors.As(err, &none) {
				t.Fatalf("banks are accused: %v", err)
			}
			wantLie(t, err, tc.why)
		})
	}
}
