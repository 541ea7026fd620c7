// Package exposure is the protocol by which several banks tell a lender the total
// of one subject's figures over all of them, or only whether it reaches a
// threshold, while no one of the figures is shown.
//
// For each consent and epoch a bank makes a Pledge: a Pedersen commitment
// C = v·G + r·H with a proof that 0 ≤ v < 2^40. The pledge's hash stands on the
// ledger before anybody asks. A permitted request freezes the Session: the banks,
// their consents, epochs, data keys and pledges. Each bank then sends one Share: v
// and r, both hidden under masks that each pair of banks derives from its data keys
// and the session and that cancel in the sum, and a commitment to each of its
// masks. Combine checks each share on its own,
//
//	m·G + q·H = C + Σ ± M,
//
// so that whatever is changed, missing, replayed, late or out of range is one
// bank's fault by name, and adds up. Two banks that disagree about the mask between
// them are settled by Settle. For the threshold, the shares go to an aggregator,
// which proves total ≥ T or total < T over the sum of the commitments (Verdict).
//
// It promises that shares of a session are consistent with every split of the same
// total, so that the lender with all banks but two learns the sum of those two and
// nothing else; that a figure cannot be changed once its pledge's hash is
// registered; and that what comes from outside is bounded, decoded strictly, and
// never makes it panic. A bank of which the subject is no customer pledges zero, by
// the same work and in the same bytes.
//
// It knows no ledger, clock, network or database, and is far from constant time:
// callers keep it off the request's clock (proofs are made when a pledge is) and
// release shares on a grid. Which sets of banks may be asked one after the other is
// for the contracts; whether a figure is true is nobody's to prove.
package exposure

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"

	"github.com/assent-network/assent/chaincode/record"
)

// Bounds of the protocol.
const (
	MinBanks  = 3
	MaxBanks  = 30
	ValueBits = 40 // a bank's figure is below 2^40, in the template's unit
	TotalBits = 46 // 30 figures stay below 2^45; even, for the circuit's windows

	// MaxThreshold bounds a threshold: the least number that no total reaches.
	MaxThreshold = MaxBanks << ValueBits
)

// Errors. Their texts hold no figure.
var (
	ErrPoint   = errors.New("exposure: no usable point")
	ErrScalar  = errors.New("exposure: no usable scalar")
	ErrRange   = errors.New("exposure: the figure is not between 0 and 2^40 - 1")
	ErrSession = errors.New("exposure: no usable session")
	ErrFormat  = errors.New("exposure: malformed")
	ErrProof   = errors.New("exposure: the proof does not hold")
	ErrKey     = errors.New("exposure: no usable key")
)

// Hash is a SHA-256 hash.
type Hash = [sha256.Size]byte

// Domains of everything hashed here.
const (
	domainPledge  = "assent exposure pledge 1"
	domainSession = "assent exposure session 1"
	domainMask    = "assent exposure mask 1"
	domainContext = "assent exposure context 1"
)

// PledgeContext says for what a bank pledges. A pledge serves no other.
type PledgeContext struct {
	ChainID   record.Hash
	Bank      record.OrgID
	ConsentID record.ConsentID
	Epoch     uint64
	CodeHash  record.Hash // of the template that says what is added up
}

func (c *PledgeContext) bytes() []byte {
	return join(domainPledge, c.ChainID[:], []byte(c.Bank), []byte(c.ConsentID), number64(c.Epoch), c.CodeHash[:])
}

// Seat is one bank's place in a session.
type Seat struct {
	Bank      record.OrgID
	ConsentID record.ConsentID
	Epoch     uint64
	CodeHash  record.Hash
	KeyID     record.DataKeyID
	Key       []byte // public X25519 data key, 32 bytes
	Pledge    Hash   // as registered on the ledger
}

// Session is what a permitted request froze. Every share is bound to all of it.
type Session struct {
	ChainID   record.Hash
	RequestID record.RequestID
	Lender    record.OrgID
	// Recipient opens the shares: the lender, or the aggregator of the threshold
	// variant, which is neither the lender nor one of the banks.
	Recipient record.OrgID
	// Threshold T of the question "is the total at least T", in [1, MaxThreshold];
	// 0: the total itself is asked.
	Threshold uint64
	Seats     []Seat // strictly ascending by bank
}

// Check reports why a session cannot be worked with: ErrSession, with the bank.
func (s *Session) Check() error {
	if n := len(s.Seats); n < MinBanks || n > MaxBanks {
		return fmt.Errorf("%w: %d banks, want %d to %d", ErrSession, n, MinBanks, MaxBanks)
	}
	if err := errors.Join(s.RequestID.Check(), s.Lender.Check(), s.Recipient.Check()); err != nil {
		return fmt.Errorf("%w: %w", ErrSession, err)
	}
	if s.Threshold > MaxThreshold {
		return fmt.Errorf("%w: the threshold is above %d, which no total reaches", ErrSession, uint64(MaxThreshold))
	}
	if (s.Threshold == 0) != (s.Recipient == s.Lender) {
		return fmt.Errorf("%w: the lender opens the shares of a total, an aggregator those of a threshold", ErrSession)
	}
	for i := range s.Seats {
		seat := &s.Seats[i]
		if err := errors.Join(seat.Bank.Check(), seat.ConsentID.Check()); err != nil {
			return fmt.Errorf("%w: seat %d: %w", ErrSession, i, err)
		}
		if i > 0 && s.Seats[i-1].Bank >= seat.Bank {
			return fmt.Errorf("%w: banks must be strictly ascending; %s is not", ErrSession, seat.Bank)
		}
		if seat.Bank == s.Lender || seat.Bank == s.Recipient {
			return fmt.Errorf("%w: %s is a bank of the set and opens its shares or asks for them", ErrSession, seat.Bank)
		}
		if _, err := liftKey(seat.Key, 0); err != nil {
			return fmt.Errorf("%w: data key %s of %s: %w", ErrSession, seat.KeyID, seat.Bank, err)
		}
	}
	return nil
}

// Digest names the session: masks and shares are bound to it.
func (s *Session) Digest() Hash {
	parts := [][]byte{s.ChainID[:], []byte(s.RequestID), []byte(s.Lender), []byte(s.Recipient), number64(s.Threshold)}
	for i := range s.Seats {
		seat := &s.Seats[i]
		parts = append(parts, []byte(seat.Bank), []byte(seat.ConsentID), number64(seat.Epoch), seat.CodeHash[:],
			[]byte(seat.KeyID), seat.Key, seat.Pledge[:])
	}
	return sha256.Sum256(join(domainSession, parts...))
}

// Keys are the banks' public data keys, in the order of the seats.
func (s *Session) Keys() [][]byte {
	keys := make([][]byte, len(s.Seats))
	for i := range s.Seats {
		keys[i] = s.Seats[i].Key
	}
	return keys
}

// Seat finds a bank's place.
func (s *Session) Seat(bank record.OrgID) (int, bool) {
	return slices.BinarySearchFunc(s.Seats, bank, func(seat Seat, b record.OrgID) int {
		return bytes.Compare([]byte(seat.Bank), []byte(b))
	})
}

func (s *Session) pledgeContext(i int) *PledgeContext {
	seat := &s.Seats[i]
	return &PledgeContext{ChainID: s.ChainID, Bank: seat.Bank, ConsentID: seat.ConsentID, Epoch: seat.Epoch, CodeHash: seat.CodeHash}
}

// join writes a domain and parts, each with its length before it, so that no two
// lists of parts have the same bytes.
func join(domain string, parts ...[]byte) []byte {
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(domain))), domain...)
	for _, p := range parts {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(p))), p...)
	}
	return out
}

func number64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// contextElement turns what a proof is bound to into a public input: 31 bytes, so
// that it is below the field's modulus.
func contextElement(what []byte) fr.Element {
	digest := sha256.Sum256(join(domainContext, what))
	var e fr.Element
	e.SetBytes(digest[:31])
	return e
}
