package sdk

import (
	"errors"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
)

// MaxOpening bounds an opening, in bytes.
const MaxOpening = 16 << 10

// ErrOpening means that an opening is not the one that a dispute is about.
var ErrOpening = errors.New("the opening does not belong to this dispute")

// ReadOpening holds the opening that a lender handed over against what the ledger
// says of the dispute, and returns the disputed answer: one of the template's
// outputs. The error is ErrOpening if the lender showed something else than it
// committed to. provider tells whether the provider's receipt commits to this
// same answer: if not, one of the two is wrong, and the receipt shows which.
func ReadOpening(opening []byte, d *AnswerDispute) (value string, provider bool, err error) {
	if len(opening) > MaxOpening {
		return "", false, fmt.Errorf("%w: it has %d bytes, at most %d are read", ErrOpening, len(opening), MaxOpening)
	}
	body, err := record.Load[record.AnswerBody](opening)
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrOpening, err)
	}
	shown, err := body.OpeningHash()
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrOpening, err)
	}
	if shown != d.OpeningHash || body.RequestID != d.RequestID {
		return "", false, ErrOpening
	}
	committed, err := body.Commitment()
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrOpening, err)
	}
	return body.Value, committed == d.ResultCommitment, nil
}
