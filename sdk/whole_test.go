package sdk_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/sdk"
)

// What verifying one question of a batch costs does not depend on how many there
// are: the batch's transaction is proven once, and one stream brings the receipts.
func TestABatchIsProvenOnce(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id := w.authorised(c).ConsentID
	const n = 20
	questions := make([]sdk.QueryRequest, n)
	for i := range questions {
		questions[i] = question(id)
	}
	proofs, streams := w.node.Calls("ProveReceipt"), w.node.Calls("Events")
	answered := 0
	for r, err := range c.QueryBatch(t.Context(), questions) {
		w.must(err)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if !r.Result.Decision.Permit {
			continue // the consent allows only so many
		}
		answered++
		if v := r.Result.Verified; v.Request.RequestID != r.Result.Decision.RequestID || v.Receipt.RequestID != v.Request.RequestID || len(v.RequestProof.Records) != 1 {
			t.Fatalf("question %d: verified %+v", r.Item, v)
		}
	}
	if answered < 2 {
		t.Fatalf("%d answers of %d", answered, n)
	}
	if got := w.node.Calls("ProveReceipt") - proofs; got != answered+1 {
		t.Errorf("%d proofs for %d answers of one batch", got, answered)
	}
	if got := w.node.Calls("Events") - streams; got != 1 {
		t.Errorf("%d event streams", got)
	}
}

// A node that shows another record than the batch's transaction wrote is found out.
func TestAForgedItemOfABatchIsFoundOut(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id := w.authorised(c).ConsentID
	w.node.Tamper("Evaluate", func(m proto.Message) {
		if r := m.(*v1.EvaluateResponse); len(r.Payload) > 0 && bytes.Contains(r.Payload, []byte(`"batchId"`)) {
			r.Payload = append(r.Payload[:len(r.Payload)-1], ' ', '}')
		}
	})
	for r, err := range c.QueryBatch(t.Context(), []sdk.QueryRequest{question(id), question(id)}) {
		w.must(err)
		var lie *sdk.Untrusted
		if !errors.As(r.Err, &lie) {
			t.Errorf("question %d: %v", r.Item, r.Err)
		}
	}
}
