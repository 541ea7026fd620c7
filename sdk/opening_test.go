package sdk_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

// What the lender shows the authority is held against both commitments.
func TestOpeningIsHeldAgainstTheDispute(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	r, err := c.Query(t.Context(), question(w.authorised(c).ConsentID))
	w.must(err)
	_, err = c.Queries().DisputeAnswer(t.Context(), r.Answer, record.ClaimImplausible, "auditor")
	w.must(err)
	d, err := c.Queries().AnswerDispute(t.Context(), r.Decision.RequestID)
	w.must(err)
	opening, err := r.Answer.Opening()
	w.must(err)
	value, provider, err := sdk.ReadOpening(opening, d)
	if err != nil || value != "HIGH" || !provider {
		t.Errorf("opened as %q, %v, %v", value, provider, err)
	}
	other := *d
	other.ResultCommitment[0] ^= 1
	if _, provider, err := sdk.ReadOpening(opening, &other); err != nil || provider {
		t.Errorf("a receipt for another answer: %v, %v", provider, err)
	}
	for name, b := range map[string][]byte{
		"another answer": bytes.Replace(opening, []byte("HIGH"), []byte("LOW"), 1), "nothing": nil,
		"cut off": opening[:len(opening)-1], "too long": make([]byte, sdk.MaxOpening+1),
	} {
		if _, _, err := sdk.ReadOpening(b, d); !errors.Is(err, sdk.ErrOpening) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A batch with the same tickets asks once and tells everything again.
func TestBatchGoesOnWithItsTickets(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id := w.authorised(c).ConsentID
	unknown := question("0x000102030405060708090a0b0c0d0e0f")
	tickets, err := c.Queries().PrepareBatch([]sdk.QueryRequest{question(id), unknown, question(id)})
	w.must(err)
	for range 2 {
		seen := map[int]string{}
		for r, err := range c.Queries().Batch(t.Context(), tickets) {
			w.must(err)
			w.must(r.Err)
			said := string(r.Result.Decision.Code)
			if r.Result.Answer != nil {
				said = r.Result.Answer.Value
			}
			seen[r.Item] = said
		}
		if len(seen) != 3 || seen[0] != "HIGH" || seen[1] != "CONSENT_UNKNOWN" || seen[2] != "HIGH" {
			t.Fatalf("results %v", seen)
		}
	}
	uses, err := c.Uses(t.Context(), id)
	w.must(err)
	if len(uses.Uses) != 2 {
		t.Errorf("%d requests for one batch of two", len(uses.Uses))
	}
}
