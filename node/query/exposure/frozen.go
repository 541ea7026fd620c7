package exposure

import (
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
)

// SessionOf is the session that a permitted request froze: what its banks, its
// recipient and its lender each make of the ledger's record, and find the same.
// Errors: ErrSession, for a denial too; there is nothing to send then.
func SessionOf(chainID record.Hash, e *record.Exposure) (*Session, error) {
	if e.Decision != record.Permit {
		return nil, fmt.Errorf("%w: the set was not permitted", ErrSession)
	}
	s := &Session{
		ChainID: chainID, RequestID: record.NewRequestID(e.ExposureID), Lender: e.Consumer, Recipient: e.Recipient,
		Threshold: e.Threshold, Seats: make([]Seat, len(e.Seats)),
	}
	for i := range e.Seats {
		seat := &e.Seats[i]
		s.Seats[i] = Seat{
			Bank: seat.Bank, ConsentID: seat.ConsentID, Epoch: seat.Epoch, CodeHash: seat.CodeHash,
			KeyID: seat.KeyID, Key: seat.Key, Pledge: Hash(seat.Pledge),
		}
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	return s, nil
}
