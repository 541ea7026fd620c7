package sdk_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

func TestDishonestAnswersAreFoundOut(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	other := answer.NewSalt()
	for _, tc := range []struct {
		name     string
		provider func(r *record.Request, a answer.Answer) (sealed, committed answer.Answer, send bool)
		sealFor  func(answer.Context) answer.Context
		why      string
	}{
		{name: "another value than committed to", why: "commitment differs",
			provider: func(_ *record.Request, a answer.Answer) (answer.Answer, answer.Answer, bool) {
				s := a
				s.Body.Value = "LOW"
				return s, a, true
			}},
		{name: "another salt than committed to", why: "commitment differs",
			provider: func(_ *record.Request, a answer.Answer) (answer.Answer, answer.Answer, bool) {
				s := a
				s.Body.Salt = other
				return s, a, true
			}},
		{name: "an output that the template does not list", why: "template does not list",
			provider: func(_ *record.Request, a answer.Answer) (answer.Answer, answer.Answer, bool) {
				a.Body.Value = "4999"
				return a, a, true
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.net.Provider, w.net.SealFor = tc.provider, tc.sealFor
			r, err := c.Query(t.Context(), question(consent.ConsentID))
			wantLie(t, err, tc.why)
			if r == nil || r.Answer == nil || r.Verified != nil {
				t.Errorf("result %+v", r)
			}
			w.net.Wait()
		})
	}
}

// Nothing that was sealed for somebody or something else opens.
func TestAnswersForOthersDoNotOpen(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	for _, tc := range []struct {
		name    string
		sealFor func(answer.Context) answer.Context
	}{
		{"another member", func(c answer.Context) answer.Context { c.Recipient = fakenode.Outside; return c }},
		{"another key", func(c answer.Context) answer.Context { c.KeyID = answer.KeyID([]byte("x")); return c }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.net.SealFor = tc.sealFor
			_, err := c.Query(t.Context(), question(consent.ConsentID))
			wantLie(t, err, "")
			w.net.Wait()
		})
	}
}

// The lender's own node swaps one answer for another that the lender may open:
// not even then does it pass.
func TestSwappedAnswerDoesNotOpen(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	var first []byte
	w.node.Tamper("AwaitAnswer", func(m proto.Message) {
		r := m.(*v1.AwaitAnswerResponse)
		if first == nil {
			first = r.Envelope
		}
		r.Envelope = first
	})
	_, err := c.Query(t.Context(), question(consent.ConsentID))
	w.must(err)
	_, err = c.Query(t.Context(), question(consent.ConsentID))
	wantLie(t, err, "another request")
	w.node.Tamper("AwaitAnswer", func(m proto.Message) { m.(*v1.AwaitAnswerResponse).Envelope = []byte("sealed") })
	_, err = c.Query(t.Context(), question(consent.ConsentID))
	wantLie(t, err, "")
}

func TestRefusalsAndEndingsAreVerifiedToo(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	w.net.Provider = func(_ *record.Request, a answer.Answer) (answer.Answer, answer.Answer, bool) {
		a.Outcome, a.Body.Value = record.Refused, ""
		return a, a, true
	}
	r, err := c.Query(t.Context(), question(consent.ConsentID))
	w.must(err)
	if r.Answer.Outcome != record.Refused || r.Answer.Value != "" || r.Verified.Receipt.Outcome != record.Refused {
		t.Errorf("answer %+v", r.Answer)
	}
	w.net.Wait()
	w.net.Provider = func(_ *record.Request, a answer.Answer) (answer.Answer, answer.Answer, bool) {
		a.Outcome = record.Withheld
		return a, a, false
	}
	if r, err = c.Query(t.Context(), question(consent.ConsentID)); err != nil {
		t.Fatal(err)
	}
	if r.Answer.Outcome != record.Withheld || r.Verified.Receipt.Outcome != record.Withheld {
		t.Errorf("answer %+v", r.Answer)
	}
}

// A node that says WITHHELD where the ledger says ANSWERED is found out.
func TestFalseEndingIsFoundOut(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	w.net.Provider = func(_ *record.Request, a answer.Answer) (answer.Answer, answer.Answer, bool) { return a, a, false }
	w.node.Tamper("Evaluate", func(m proto.Message) {
		r := m.(*v1.EvaluateResponse)
		if v, err := record.Load[record.Receipt](r.Payload); err == nil {
			v.Outcome, v.ResultCommitment, v.CodeHash = record.Withheld, sdk.Hash{}, sdk.Hash{}
			r.Payload, _ = record.Encode(v)
		}
	})
	_, err := c.Query(t.Context(), question(consent.ConsentID))
	wantLie(t, err, "the ledger certifies ANSWERED")
}

// A ticket kept before the request carries a query over a crash of its client.
func TestTicketSurvivesItsClient(t *testing.T) {
	w := newWorld(t)
	first := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(first)
	ticket, err := first.Queries().Prepare(question(consent.ConsentID))
	w.must(err)
	kept, err := json.Marshal(ticket)
	w.must(err)
	_, err = first.Queries().Request(t.Context(), ticket) // the client dies here
	w.must(err)

	again := w.lender(sdk.WithTimeouts(quick))
	ticket = new(sdk.Ticket)
	w.must(json.Unmarshal(kept, ticket))
	d, err := again.Queries().Request(t.Context(), ticket)
	w.must(err)
	if !d.Permit {
		t.Fatalf("decision %+v", d)
	}
	sealed, err := again.Queries().Await(t.Context(), ticket, d)
	w.must(err)
	a, err := again.Queries().Open(ticket, sealed)
	w.must(err)
	ticket.Height = 0 // as if the decision had not been stored
	if _, err := again.Queries().Verify(t.Context(), ticket, a); err != nil {
		t.Error(err)
	}
	uses, err := again.Uses(t.Context(), consent.ConsentID)
	w.must(err)
	if len(uses.Uses) != 1 {
		t.Errorf("the request was made %d times", len(uses.Uses))
	}
}

// A ticket altered to another question does not verify.
func TestVerifyHoldsTheRequestAgainstTheTicket(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	steps := c.Queries()
	ticket, err := steps.Prepare(question(consent.ConsentID))
	w.must(err)
	d, err := steps.Request(t.Context(), ticket)
	w.must(err)
	sealed, err := steps.Await(t.Context(), ticket, d)
	w.must(err)
	a, err := steps.Open(ticket, sealed)
	w.must(err)
	ticket.Query.Params = map[string]string{"months": "3"}
	_, err = steps.Verify(t.Context(), ticket, a)
	wantLie(t, err, "asks something else")
}

// A node that shows another template than the one permitted is found out, and
// another node is asked.
func TestSwappedTemplateIsFoundOut(t *testing.T) {
	w := newWorld(t)
	honest := w.serve(fakenode.Bank)
	swap := func(m proto.Message) {
		r := m.(*v1.EvaluateResponse)
		if v, err := record.Load[record.Template](r.Payload); err == nil {
			v.Outputs = append(v.Outputs, "4999")
			v.CodeHash, _ = v.TemplateSpec.CodeHash()
			r.Payload, _ = record.Encode(v)
		}
	}
	consent := w.authorised(w.lender())
	w.node.Tamper("Evaluate", swap)
	_, err := w.lender(sdk.WithTimeouts(quick)).Query(t.Context(), question(consent.ConsentID))
	wantLie(t, err, "another code hash")
	two := w.dial("integration lender", fakenode.Lender, []*fakenode.Node{w.node, honest}, sdk.WithTimeouts(quick))
	if r, err := two.Query(t.Context(), question(consent.ConsentID)); err != nil || r.Verified == nil {
		t.Errorf("with an honest node beside: %+v, %v", r, err)
	}
}

func TestAnswerThatDoesNotComeIsPending(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(sdk.Timeouts{Call: 100 * time.Millisecond}))
	consent := w.authorised(w.lender())
	w.net.Provider = func(_ *record.Request, a answer.Answer) (answer.Answer, answer.Answer, bool) { return a, a, false }
	steps := c.Queries()
	ticket, err := steps.Prepare(question(consent.ConsentID))
	w.must(err)
	d, err := w.lender().Queries().Request(t.Context(), ticket)
	w.must(err)
	d.Deadline = time.Now().Add(-time.Hour) // long over
	ctx, cancel := contextFor(t, 300*time.Millisecond)
	defer cancel()
	_, err = steps.Await(ctx, ticket, d)
	var e *sdk.Error
	if !errors.As(err, &e) || e.Code != "ANSWER_PENDING" || !sdk.Retryable(err) || e.Remedy == "" {
		t.Errorf("error %v", err)
	}
}
