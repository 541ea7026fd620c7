// Package answer owns the envelopes that travel beside the ledger: the sealed
// answer to an access request and the sealed part of a consent; how each is
// padded, encrypted and bound, and how the one who receives it checks it.
//
// It promises that every encoding is canonical and bounded, that an envelope
// opens only for the chain, request or consent, recipient and key it was sealed
// for, that answers and refusals of one template differ neither in length nor in
// shape, and that an opened answer can be held against the receipt on the ledger.
// Provider, lender and SDK share it. It leaves to others what stands inside
// (chaincode/record: AnswerBody, SealedPart and their commitments), what the
// answer says (node/query), how it travels (node/outbox) and whether a receipt is
// on the ledger (proofs, node/ledger). SPEC.md gives the bytes.
package answer

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/chaincode/record"
)

// Hash is a keccak256 digest.
type Hash = common.Hash

// Errors of opening and checking.
var (
	// ErrMalformed: the bytes are no envelope of this version.
	ErrMalformed = errors.New("answer: malformed")
	// ErrSealed: the envelope does not open with this key in this context. It was
	// altered, or sealed for another recipient, chain, request, consent or key.
	ErrSealed = errors.New("answer: does not open in this context")
	// ErrMismatch: the envelope opened, but says something else than the ledger.
	ErrMismatch = errors.New("answer: does not match the ledger")
)

// Domain tags of the envelopes. What stands inside has tags of its own in
// chaincode/record.
const (
	domainContent1 = "assent/answer-content/1" // read, no longer written
	domainContent  = "assent/answer-content/2"
	domainSealed   = "assent/answer-envelope/1"
	domainInfo     = "assent/hpke-answer/1"
)

// Answer is the content of a sealed answer: what the template said, or that the
// provider refuses and does not say why.
type Answer struct {
	Outcome record.ReceiptOutcome // Answered or Refused
	Body    record.AnswerBody     // Value is empty when refused
	// Proof is what the body names by its ProofHash, if it names something: the
	// opening of an anchored answer, which shows where the subject stands in the tree;
	// or with the value ShareValue the bank's share of a total. It goes sealed with the
	// answer and nowhere else.
	Proof []byte
}

// Values of answers that are part of something over several banks.
const (
	// ShareValue: the answer carries a bank's share of a total, or its two of a cohort.
	ShareValue = "SHARE"
	// TooFewValue: fewer people meet a cohort's condition than its k.
	TooFewValue = "TOO_FEW"
	// BlamedValue: the answer carries what other banks did wrong, so that this one
	// released nothing.
	BlamedValue = "BLAMED"
)

// maxCarried bounds what an answer carries: the share of one of 30 banks.
const maxCarried = 2183

// wireContent is the RLP form of version 1.
type wireContent struct {
	Domain  string
	Outcome string
	Body    []byte // canonical JSON
}

// NewSalt draws a fresh salt.
func NewSalt() (salt Hash) {
	rand.Read(salt[:]) // does not fail: see crypto/rand
	return salt
}

func (a Answer) check() error {
	switch {
	case a.Outcome != record.Answered && a.Outcome != record.Refused:
		return fmt.Errorf("%w: outcome is neither %s nor %s", ErrMalformed, record.Answered, record.Refused)
	case a.Outcome == record.Refused && a.Body.Value != "":
		return fmt.Errorf("%w: a refusal with an output", ErrMalformed)
	}
	if len(a.Proof) > maxCarried {
		return fmt.Errorf("%w: an opening or share of %d bytes, at most %d", ErrMalformed, len(a.Proof), maxCarried)
	}
	body := a.Body
	if a.Outcome == record.Refused {
		body.Value = record.NoRecord // the body's own rule is for answers
	}
	if err := body.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// checkProof is for those who write answers: a reader takes what does not fit
// together too, because it is what a lender disputes.
func (a Answer) checkProof() error {
	switch {
	case len(a.Proof) == 0 && a.Body.ProofHash == (Hash{}):
	case len(a.Proof) == 0 || ProofHash(a.Proof) != a.Body.ProofHash:
		return fmt.Errorf("%w: the body names another opening than the one that comes with it", ErrMalformed)
	case a.Outcome == record.Refused || a.Body.Value == record.NoRecord:
		return fmt.Errorf("%w: an opening without an answer", ErrMalformed)
	}
	return nil
}

// encode returns the canonical bytes of a, before padding.
func (a Answer) encode() ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	body, err := record.Encode(&a.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return encode(wireContent2{domainContent, string(a.Outcome), body, a.Proof}), nil
}

func decodeAnswer(b []byte) (Answer, error) {
	w, err := splitContent(b)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Outcome: record.ReceiptOutcome(w.Outcome), Proof: w.Proof}
	if len(w.Proof) == 0 {
		a.Proof = nil
	}
	if err := record.Decode(w.Body, &a.Body); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return a, a.check()
}

// Expect is what the lender asked, from its own request and the ledger's record
// of the PERMIT.
type Expect struct {
	ChainID    Hash
	RequestID  record.RequestID
	ConsentID  record.ConsentID
	TemplateID record.TemplateID
	CodeHash   Hash
	Epoch      uint64
	Outputs    []string // the template's
}

// Check holds an opened answer against the request. Every difference it finds is
// named; the error is ErrMismatch.
func (a Answer) Check(e Expect) error {
	b := a.Body
	return differences("", []difference{
		{"chain id", b.ChainID != e.ChainID},
		{"request id", b.RequestID != e.RequestID},
		{"consent id", b.ConsentID != e.ConsentID},
		{"template id", b.TemplateID != e.TemplateID},
		{"template code hash", b.CodeHash != e.CodeHash},
		{"epoch", b.Epoch != e.Epoch},
		{"output, which the template does not list,", a.Outcome == record.Answered && !record.HasItem(e.Outputs, b.Value)},
	})
}

// Verify holds an opened answer against the request and the ledger's receipt.
// That the receipt itself is on the ledger is for a proof to say.
func Verify(a Answer, e Expect, r record.Receipt) error {
	b := a.Body
	found := []difference{
		{"request id", r.RequestID != b.RequestID},
		{"outcome", r.Outcome != a.Outcome},
		{"evaluated height", r.EvaluatedHeight != b.EvaluatedHeight},
	}
	if a.Outcome == record.Answered {
		commitment, err := b.Commitment()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		found = append(found,
			difference{"template code hash", r.CodeHash != b.CodeHash},
			difference{"commitment", r.ResultCommitment != commitment})
	}
	return errors.Join(a.Check(e), differences("receipt's ", found))
}

type difference struct {
	what  string
	found bool
}

func differences(whose string, list []difference) error {
	var errs []error
	for _, d := range list {
		if d.found {
			errs = append(errs, fmt.Errorf("%w: the %s%s differs", ErrMismatch, whose, d.what))
		}
	}
	return errors.Join(errs...)
}

// LeakMillibits is what one answer out of n outputs may tell: log2(n) bits in
// thousandths, rounded up. It is the smallest k with 2^k ≥ n^1000, found with
// integers only, so that every node and every language gets the same figure.
func LeakMillibits(n int) uint64 {
	if n <= 1 {
		return 0
	}
	p := new(big.Int).Exp(big.NewInt(int64(n)), big.NewInt(1000), nil)
	k := uint64(p.BitLen())
	if uint64(p.TrailingZeroBits()) == k-1 {
		k-- // exactly a power of two
	}
	return k
}

// encode writes types of this package, which RLP can always encode; an error is
// a bug in this package.
func encode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic(fmt.Sprintf("answer: encode %T: %v", v, err))
	}
	return b
}

func decode(b []byte, limit int, v any) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), limit)
	}
	if err := rlp.DecodeBytes(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
