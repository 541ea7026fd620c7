// Package answer owns the envelopes that travel beside the ledger: the sealed
// answer to an access request and the sealed part of a consent; how each is
// encoded, padded, encrypted and committed to, and how the one who receives it
// checks it.
//
// It promises that every encoding is canonical and bounded, that an envelope
// opens only for the recipient, chain, request or consent and key it was sealed
// for, that answers of one template differ neither in length nor in shape
// whatever they say, and that an opened answer can be held against the receipt
// on the ledger. Provider, lender and SDK share it. It leaves to others what the
// answer says (node/query), how it travels (node/outbox) and whether a receipt is
// on the ledger (proofs, node/ledger). SPEC.md gives the bytes.
package answer

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Hash is a keccak256 digest.
type Hash = common.Hash

// Outcome is what a receipt says about one request. The spelling is the ledger's.
type Outcome string

// The outcomes. Only Answered and Refused travel in an answer; for the two others
// there is a receipt and nothing to open.
const (
	Answered Outcome = "ANSWERED" // the template's output, NO_RECORD included
	Refused  Outcome = "REFUSED"  // the provider does not say why
	Withheld Outcome = "WITHHELD" // consent ended before the answer left
	Overdue  Outcome = "OVERDUE"  // the deadline passed before the answer left
)

// NoRecord is the output every template lists: no such subject, none bound to
// this consent, or nothing the template can say about the row.
const NoRecord = "NO_RECORD"

// Limits of an answer.
const (
	MaxValueBytes = 64  // one output
	MaxIDBytes    = 128 // consent, member and key identifiers
	SaltBytes     = 32
)

// Errors of opening and checking.
var (
	// ErrMalformed: the bytes are no envelope of this version.
	ErrMalformed = errors.New("answer: malformed")
	// ErrSealed: the envelope does not open with this key in this context. It was
	// altered, or sealed for another recipient, chain, request or key.
	ErrSealed = errors.New("answer: does not open in this context")
	// ErrMismatch: the envelope opened, but says something else than the ledger.
	ErrMismatch = errors.New("answer: does not match the ledger")
)

const (
	domainAnswer       = "assent/answer/1"
	domainCommitment   = "assent/result-commitment/1"
	domainSealedAnswer = "assent/sealed-answer/1"
	domainAnswerInfo   = "assent/hpke-answer/1"
)

// Answer is the content of a sealed answer.
type Answer struct {
	RequestID Hash
	ConsentID string
	CodeHash  Hash   // of the template that was run
	Epoch     uint64 // fixed by the PERMIT
	Outcome   Outcome
	Value     string // one of the template's outputs; empty when refused
	Salt      [SaltBytes]byte
	Height    uint64 // of the PERMIT
}

// wireAnswer is the RLP form: a list of these, in this order.
type wireAnswer struct {
	Domain    string
	RequestID Hash
	ConsentID string
	CodeHash  Hash
	Epoch     uint64
	Outcome   string
	Value     string
	Salt      [SaltBytes]byte
	Height    uint64
}

// NewSalt draws a fresh salt.
func NewSalt() (salt [SaltBytes]byte) {
	rand.Read(salt[:]) // never fails since Go 1.24
	return salt
}

func (a Answer) check() error {
	switch {
	case a.ConsentID == "" || len(a.ConsentID) > MaxIDBytes:
		return fmt.Errorf("%w: consent id of %d bytes", ErrMalformed, len(a.ConsentID))
	case a.Outcome == Answered && (a.Value == "" || len(a.Value) > MaxValueBytes):
		return fmt.Errorf("%w: output of %d bytes", ErrMalformed, len(a.Value))
	case a.Outcome == Refused && a.Value != "":
		return fmt.Errorf("%w: a refusal with an output", ErrMalformed)
	case a.Outcome != Answered && a.Outcome != Refused:
		return fmt.Errorf("%w: outcome is neither %s nor %s", ErrMalformed, Answered, Refused)
	}
	return nil
}

// Encode returns the canonical bytes of a, before padding.
func (a Answer) Encode() ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	return encode(wireAnswer{domainAnswer, a.RequestID, a.ConsentID, a.CodeHash, a.Epoch, string(a.Outcome), a.Value, a.Salt, a.Height}), nil
}

// DecodeAnswer reads what Encode wrote and nothing else.
func DecodeAnswer(b []byte) (Answer, error) {
	var w wireAnswer
	if err := decode(b, maxAnswerBytes, &w); err != nil {
		return Answer{}, err
	}
	if w.Domain != domainAnswer {
		return Answer{}, fmt.Errorf("%w: not an answer of this version", ErrMalformed)
	}
	a := Answer{w.RequestID, w.ConsentID, w.CodeHash, w.Epoch, Outcome(w.Outcome), w.Value, w.Salt, w.Height}
	return a, a.check()
}

// Commitment is what the receipt on the ledger holds: it hides outcome and value
// behind the salt and binds the provider to both.
func (a Answer) Commitment() Hash {
	return crypto.Keccak256Hash(encode(struct {
		Domain      string
		RequestID   Hash
		CodeHash    Hash
		Epoch       uint64
		Outcome     string
		Value       string
		Salt        [SaltBytes]byte
		EvaluatedAt uint64
	}{domainCommitment, a.RequestID, a.CodeHash, a.Epoch, string(a.Outcome), a.Value, a.Salt, a.Height}))
}

// Expect is what the lender asked for, from its own request and the ledger's
// record of the PERMIT.
type Expect struct {
	RequestID Hash
	ConsentID string
	CodeHash  Hash
	Epoch     uint64
	Height    uint64   // of the PERMIT
	Outputs   []string // the template's
}

// Check holds an opened answer against the request. Every difference it finds is
// named; the error is ErrMismatch.
func (a Answer) Check(e Expect) error {
	var wrong []error
	differ := func(what string, yes bool) {
		if yes {
			wrong = append(wrong, fmt.Errorf("%w: %s differs", ErrMismatch, what))
		}
	}
	differ("request id", a.RequestID != e.RequestID)
	differ("consent id", a.ConsentID != e.ConsentID)
	differ("template code hash", a.CodeHash != e.CodeHash)
	differ("epoch", a.Epoch != e.Epoch)
	differ("height of the PERMIT", a.Height != e.Height)
	if a.Outcome == Answered && !slices.Contains(e.Outputs, a.Value) {
		wrong = append(wrong, fmt.Errorf("%w: the output is not one that the template lists", ErrMismatch))
	}
	return errors.Join(wrong...)
}

// Receipt is the part of the ledger's receipt that an answer is held against.
type Receipt struct {
	RequestID        Hash
	Outcome          Outcome
	ResultCommitment Hash
	CodeHash         Hash
	EvaluatedHeight  uint64
}

// Verify holds an opened answer against the request and the receipt. That the
// receipt itself is on the ledger is for a proof to say.
func Verify(a Answer, e Expect, r Receipt) error {
	err := a.Check(e)
	var wrong []error
	differ := func(what string, yes bool) {
		if yes {
			wrong = append(wrong, fmt.Errorf("%w: the receipt's %s differs", ErrMismatch, what))
		}
	}
	differ("request id", r.RequestID != a.RequestID)
	differ("outcome", r.Outcome != a.Outcome)
	differ("template code hash", r.CodeHash != a.CodeHash)
	differ("evaluated height", r.EvaluatedHeight != a.Height)
	differ("commitment", r.ResultCommitment != a.Commitment())
	return errors.Join(append([]error{err}, wrong...)...)
}

// LeakMillibits is what one answer out of n outputs may tell: log2(n) bits in
// thousandths, rounded up. It is the smallest k with 2^k ≥ n^1000, found with
// integers only, so that every node and every language gets the same figure.
func LeakMillibits(n int) uint64 {
	if n <= 1 {
		return 0
	}
	p := new(big.Int).Exp(big.NewInt(int64(n)), big.NewInt(1000), nil)
	k := p.BitLen()
	if p.TrailingZeroBits() == uint(k-1) {
		k-- // exactly a power of two
	}
	return uint64(k)
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
