package chaincode_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// TestABatchEqualsItsRequestsOneByOne runs the same random requests as batches on
// one ledger and one by one on its twin, and compares what is left of each: every
// decision and record but for its name, and every usage account. The chains
// differ, for they hold the names; each is recomputed from its own records.
func TestABatchEqualsItsRequestsOneByOne(t *testing.T) {
	met := map[record.Code]int{}
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { batchRun(t, seed, met) })
	}
	for _, code := range []record.Code{
		record.CodePermit, record.CodeUsesExhausted, record.CodeFrequencyExceeded, record.CodeConsentUnknown, record.CodeConsentExpired,
		record.CodeConsentNotAuthorised, record.CodeParameterNotAllowed, record.CodePurposeDeclined, record.CodeTemplateSuspended,
	} {
		if met[code] == 0 {
			t.Errorf("no run met %s: %v", code, met)
		}
	}
}

func batchRun(t *testing.T, seed uint64, met map[record.Code]int) {
	rng := rand.New(rand.NewPCG(seed, 7))
	inBatches, oneByOne := newWorld(t), newWorld(t)
	names := []string{"b0", "b1", "b2", "b3", "b4"}
	limits := make([]record.AccessLimits, len(names))
	for i := range limits {
		limits[i] = record.AccessLimits{FrequencyPerDay: 1 + rng.Uint64N(5), MaxUses: 1 + rng.Uint64N(9)}
	}
	for _, w := range []*world{inBatches, oneByOne} {
		w.found()
		for i, name := range names {
			c := terms(name)
			c.AccessLimits, c.ExpirationDateTime = limits[i], start+3*day
			if i == 4 {
				w.must("lender-a", "lender-a-app", "consent:Create", encode(t, c)) // never authorised
			} else {
				w.consent(c, name)
			}
		}
	}
	for range 25 {
		step := rng.Int64N(9 * hour)
		inBatches.Now += step
		oneByOne.Now += step
		if rng.IntN(12) == 0 {
			hold(inBatches, oneByOne, rng)
		}
		compareBatch(t, inBatches, oneByOne, randomBatch(rng, names), met)
	}
	for _, name := range names {
		compareUsage(t, inBatches, oneByOne, consentOf(name))
	}
}

// hold suspends or reinstates the template on both ledgers.
func hold(a, b *world, rng *rand.Rand) {
	function, args := "catalog:SuspendTemplate", []string{"income-over", "INVESTIGATION"}
	if rng.IntN(2) == 0 {
		function, args = "catalog:ReinstateTemplate", args[:1]
	}
	a.submit("regulator", "regulator-officer", function, args...)
	b.submit("regulator", "regulator-officer", function, args...)
}

func randomBatch(rng *rand.Rand, names []string) *record.BatchSpec {
	spec := &record.BatchSpec{AnswerKey: hashOf("answer key").Bytes(), DeadlineMs: 30 * second}
	for range 1 + rng.IntN(12) {
		r := request(append(names, "nobody")[rng.IntN(len(names)+1)])
		r.Params[0].Value = []string{"20000", "40000", "40000", "30000"}[rng.IntN(4)]
		if rng.IntN(6) == 0 {
			r.Purpose = record.CreditScoreEvaluation // declined
		}
		spec.Items = append(spec.Items, record.BatchItem{ConsentID: r.ConsentID, Params: r.Params, Purpose: r.Purpose, TemplateID: r.TemplateID})
	}
	return spec
}

func compareBatch(t *testing.T, inBatches, oneByOne *world, spec *record.BatchSpec, met map[record.Code]int) {
	t.Helper()
	result := inBatches.submit("lender-a", "lender-a-app", "access:RequestBatch", encode(t, spec))
	var batch *record.Batch
	if result.Code == record.OK {
		batch = load[record.Batch](t, []byte(result.Payload))
		if result.Event.Name != "batch" || string(result.Event.Payload) != result.Payload {
			t.Fatal("the event is not the result")
		}
	}
	for i := range spec.Items {
		single := oneByOne.submit("lender-a", "lender-a-app", "access:Request", encode(t, spec.Request(i)))
		met[single.Code]++
		if batch == nil {
			if single.Code == record.OK {
				t.Fatalf("the batch is refused with %s, item %d alone is not", result.Message, i)
			}
			continue
		}
		got := batch.Results[i]
		if single.Code != record.OK {
			if got != (record.ItemResult{Code: single.Code}) {
				t.Fatalf("item %d: %+v, alone %s", i, got, single.Message)
			}
			continue
		}
		want := load[record.Decision](t, []byte(single.Payload))
		met[want.Code]++
		if got.RequestID != record.BatchRequestID(batch.BatchID, i) {
			t.Fatalf("item %d is named %s", i, got.RequestID)
		}
		a := load[record.Request](t, inBatches.State[record.RequestKey(got.RequestID)])
		b := load[record.Request](t, oneByOne.State[record.RequestKey(want.RequestID)])
		if a.BatchID != batch.BatchID || b.BatchID != (record.Hash{}) {
			t.Fatalf("item %d: batch id %s, alone %s", i, a.BatchID, b.BatchID)
		}
		a.RequestID, b.RequestID, a.BatchID = "", "", record.Hash{}
		if x, y := encode(t, a), encode(t, b); x != y {
			t.Fatalf("item %d is recorded as\n%s\nalone as\n%s", i, x, y)
		}
		if got.Code != want.Code || got.Decision != want.Decision || got.Deadline != want.Deadline || got.Epoch != want.Epoch || got.Disputed != want.Disputed {
			t.Fatalf("item %d: %+v, alone %+v", i, got, *want)
		}
	}
}

// compareUsage wants equal accounts, and chains that their own records give.
func compareUsage(t *testing.T, a, b *world, id record.ConsentID) {
	t.Helper()
	x, y := usageAndChain(t, a, id), usageAndChain(t, b, id)
	x.Head, y.Head = record.Hash{}, record.Hash{}
	if x != y {
		t.Errorf("usage %+v, one by one %+v", x, y)
	}
}

func usageAndChain(t *testing.T, w *world, id record.ConsentID) record.Usage {
	t.Helper()
	data, used := w.State[record.UsageKey(id)]
	if !used {
		return record.Usage{}
	}
	usage := load[record.Usage](t, data)
	var head record.Hash
	for i, key := range w.Keys(record.RequestConsentPrefix(id)) {
		request := w.State[record.RequestKey(record.RequestID(record.LastSegment(key)))]
		if r := load[record.Request](t, request); r.Sequence != uint64(i+1) {
			t.Fatalf("request %d of the chain says %d", i+1, r.Sequence)
		}
		head = record.NextHead(head, request)
	}
	if head != usage.Head {
		t.Errorf("the chain of %s ends at %s, its records give %s", id, usage.Head, head)
	}
	return *usage
}

// TestAFullBatchOfAThousand: the largest batch there is, of a thousand consents,
// and of one consent a thousand times.
func TestAFullBatchOfAThousand(t *testing.T) {
	w := newWorld(t)
	w.found()
	first := terms("f0")
	first.AccessLimits = record.AccessLimits{FrequencyPerDay: 600, MaxUses: 600}
	w.consent(first, "f0")
	same := &record.BatchSpec{AnswerKey: hashOf("answer key").Bytes()}
	item := record.BatchItem{ConsentID: first.ConsentID, Params: request("f0").Params, Purpose: record.CreditChecking, TemplateID: "income-over"}
	for range record.MaxBatch {
		same.Items = append(same.Items, item)
	}
	w.must("lender-a", "lender-a-app", "access:RequestBatch", encode(t, same))
	usage := usageAndChain(t, w, first.ConsentID)
	if usage.Uses != 600 || usage.Requests != record.MaxBatch {
		t.Errorf("usage after a thousand of one consent: %+v", usage)
	}
	many := &record.BatchSpec{AnswerKey: same.AnswerKey}
	for i := range record.MaxBatch {
		name := "m" + strconv.Itoa(i)
		consent := load[record.Consent](t, w.State[record.ConsentKey(first.ConsentID)])
		consent.ConsentID = consentOf(name)
		w.State[record.ConsentKey(consent.ConsentID)] = []byte(encode(t, consent))
		next := item
		next.ConsentID = consent.ConsentID
		many.Items = append(many.Items, next)
	}
	result := w.must("lender-a", "lender-a-app", "access:RequestBatch", encode(t, many))
	rows, size := len(result.Writes), 0
	for key, value := range result.Writes {
		size += len(key) + len(value)
	}
	t.Logf("a thousand consents: %d bytes of argument, %d rows and %d bytes written, %d bytes of result", len(encode(t, many)), rows, size, len(result.Payload))
	if rows > 8_192 || size > 4<<20 || len(result.Payload) > 256<<10 {
		t.Error("a full batch does not fit the limits of a transaction")
	}
	many.Items = append(many.Items, item)
	if _, err := record.Encode(many); err == nil {
		t.Error("a batch of 1,001 can be written")
	}
	spec := []byte(encode(t, same))
	spec = bytes.Replace(spec, []byte(`"items":[`), []byte(`"items":[`+encode(t, &item)+","), 1)
	if r := w.submit("lender-a", "lender-a-app", "access:RequestBatch", string(spec)); r.Code != record.CodeBadRequest {
		t.Errorf("a batch of 1,001: %s", r.Code)
	}
}
