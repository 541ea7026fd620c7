package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
)

// MaxBatch bounds the items of one batch of access requests.
const MaxBatch = 1_000

// BatchItem is one request of a batch: a consent and what is asked under it.
type BatchItem struct {
	ConsentID  ConsentID
	Params     ParamValues
	Purpose    Purpose
	TemplateID TemplateID
}

func (v *BatchItem) fields(c *codec) {
	text(c, "consentId", &v.ConsentID, maxID)
	paramValues(c, "params", &v.Params, false)
	enum(c, "purpose", &v.Purpose, purposes)
	text(c, "templateId", &v.TemplateID, maxID)
}

// BatchSpec is the argument of a batch of access requests. Its items share one
// answer key, fresh for the batch: a key for each would be a third of the bytes,
// and every answer is bound to its own request whatever key it is sealed to.
type BatchSpec struct {
	AnswerKey  Blob   // X25519 key the answers are sealed to, 32 bytes
	DeadlineMs Millis // the answers are wanted within this time; 0: what each template allows
	Items      []BatchItem
}

func (v *BatchSpec) fields(c *codec) {
	blob(c, "answerKey", &v.AnswerKey, 32)
	optNumber(c, "deadlineMs", &v.DeadlineMs)
	objects(c, "items", &v.Items, MaxBatch)
}

func (*BatchSpec) maxSize() int { return 256 << 10 }

// Check implements Checked.
func (v *BatchSpec) Check() error {
	if len(v.Items) == 0 {
		return errors.New("items: want at least one")
	}
	for i := range v.Items {
		if err := v.Request(i).Check(); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

// Request is item i as a request of its own.
func (v *BatchSpec) Request(i int) *RequestSpec {
	item := &v.Items[i]
	return &RequestSpec{
		AnswerKey: v.AnswerKey, ConsentID: item.ConsentID, DeadlineMs: v.DeadlineMs, Params: item.Params,
		Purpose: item.Purpose, TemplateID: item.TemplateID,
	}
}

// BatchRequestID names item i of the batch that a transaction carries:
// keccak256(domain ‖ transaction id ‖ i as 4 bytes, big endian).
func BatchRequestID(batch Hash, i int) RequestID {
	var index [4]byte
	binary.BigEndian.PutUint32(index[:], uint32(i))
	return NewRequestID(crypto.Keccak256Hash([]byte(DomainBatchItem), batch[:], index[:]))
}

// ItemResult is what became of one item of a batch. An item that is refused, for
// an unknown consent or another lender's, has a code and nothing else.
type ItemResult struct {
	Code      Code
	Deadline  Millis    // PERMIT only
	Decision  Outcome   // "": refused
	Disputed  bool      // the consent's data are under dispute
	Epoch     uint64    // PERMIT only
	RequestID RequestID // "": refused
}

func (v *ItemResult) fields(c *codec) {
	enum(c, "code", &v.Code, codes)
	optNumber(c, "deadline", &v.Deadline)
	optEnum(c, "decision", &v.Decision, outcomes)
	optBoolean(c, "disputed", &v.Disputed)
	optNumber(c, "epoch", &v.Epoch)
	optText(c, "requestId", &v.RequestID, maxID+2)
}

// Batch is what a batch of access requests returns, and its event: the results in
// the order of the items.
type Batch struct {
	BatchID  Hash // id of the transaction
	Consumer OrgID
	Results  []ItemResult
}

func (v *Batch) fields(c *codec) {
	hash(c, "batchId", &v.BatchID)
	text(c, "consumer", &v.Consumer, maxID)
	objects(c, "results", &v.Results, MaxBatch)
}

func (*Batch) maxSize() int { return 256 << 10 }
