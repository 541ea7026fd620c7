package executor

import (
	"strconv"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// TestAFullBatchFitsATransaction: a thousand access requests on as many consents,
// in one transaction with everything the node keeps of it.
func TestAFullBatchFitsATransaction(t *testing.T) {
	n := newNetwork(t, Contracts{})
	n.found()
	fill(n, record.MaxBatch)
	spec := &record.BatchSpec{AnswerKey: hashOf("answer key").Bytes()}
	for i := range record.MaxBatch {
		spec.Items = append(spec.Items, record.BatchItem{
			ConsentID: consentID(strconv.Itoa(i)), Params: record.ParamValues{{Name: "min", Value: "20000"}},
			Purpose: record.CreditChecking, TemplateID: "income-over",
		})
	}
	o := n.must("lender-a", "lender-a-app", "access", "RequestBatch", encode(t, spec))
	batch, err := record.Load[record.Batch](o.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if len(batch.Results) != record.MaxBatch || batch.BatchID != record.Hash(o.TxID) {
		t.Fatalf("%d results of batch %s, the transaction is %s", len(batch.Results), batch.BatchID, o.TxID)
	}
	for i, r := range batch.Results {
		text, code := n.evaluate("access", "GetRequest", string(r.RequestID))
		if r.Decision != record.Permit || code != record.OK {
			t.Fatalf("item %d: %+v, its record: %s", i, r, code)
		}
		request, err := record.Load[record.Request]([]byte(text))
		if err != nil || request.BatchID != batch.BatchID || request.ConsentID != spec.Items[i].ConsentID {
			t.Fatalf("item %d is recorded as %s, %v", i, text, err)
		}
	}
}
