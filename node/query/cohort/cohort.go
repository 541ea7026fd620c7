// Package cohort is the protocol by which several banks tell a lender statistics of
// their customers who match a condition, counts, sums, means and histograms, with
// noise, while no bank's own figures are shown.
//
// A Plan says what is computed, how far one customer can move it, and with which
// epsilon. Each bank adds up its own customers (Tally: one row a customer, clipped),
// adds its part of the noise in exact arithmetic (see noise.go) and hides the result
// under masks that each pair of banks derives from its data keys and the Session and
// that cancel in the sum. There are two rounds. In the first the banks tell each
// other, and not the lender, the masked count: each decides for itself whether the
// cohort is large enough (Decide). In the second each sends the lender both shares,
// and the lender adds them up (Combine).
//
// It promises differential privacy: whether one customer of a bank that keeps to
// the protocol is in its vault changes the probability of anything that the lender
// and all banks but two can see together, even if they do not keep to it, by a
// factor of at most e^epsilon. A customer of several of the banks has that promise
// from each of them. It rests on X25519, HKDF and AES, and on every bank's noise
// being its own: two banks at least do not tell theirs. That a cohort is at least k
// people, and that a statistic is right, it promises only if all banks keep to the
// protocol: a bank may lie about its customers. A share that is missing, late,
// malformed, replayed or told in two versions is its bank's fault by name; one that
// is garbled is found, and named by Audit before an authority.
//
// It knows no ledger, clock, network or database. Debiting epsilon before a share
// leaves, keeping a share that was made instead of making it again, and releasing on
// a grid (sampling takes longer for larger noise) are for its callers.
package cohort

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// Bounds of the protocol.
const (
	MinBanks = 3
	MaxBanks = 30
	// Honest is how many banks, whichever they are, add enough noise together. All
	// others may tell the lender everything they know.
	Honest = 2
)

// Errors. Their texts hold no figure.
var (
	ErrSession = errors.New("cohort: no usable session")
	ErrPlan    = errors.New("cohort: no usable plan")
	ErrFormat  = errors.New("cohort: malformed")
	// ErrTooFew means that fewer people match than the plan wants: nothing leaves.
	ErrTooFew = errors.New("cohort: too few people match, nothing is released")
)

// Hash is a SHA-256 hash.
type Hash = [sha256.Size]byte

// Domains of everything hashed here.
const (
	domainPlan    = "assent cohort plan 1"
	domainSession = "assent cohort session 1"
	domainMask    = "assent cohort mask 1"
	domainSeed    = "assent cohort seed 1"
	domainShare   = "assent cohort share 1"
)

// Seat is one bank's place in a session.
type Seat struct {
	Bank      record.OrgID
	ProductID record.ProductID
	CodeHash  record.Hash // of the bank's template: its condition and columns
	Epoch     uint64
	KeyID     record.DataKeyID
	Key       []byte // public X25519 data key, 32 bytes
}

// Session is what a permitted request froze. Every share is bound to all of it.
type Session struct {
	ChainID   record.Hash
	RequestID record.RequestID
	Lender    record.OrgID
	Plan      Plan
	Seats     []Seat // strictly ascending by bank
}

// Check reports why a session cannot be worked with: ErrSession, with the bank, or
// ErrPlan.
func (s *Session) Check() error {
	if n := len(s.Seats); n < MinBanks || n > MaxBanks {
		return fmt.Errorf("%w: %d banks, want %d to %d", ErrSession, n, MinBanks, MaxBanks)
	}
	if err := errors.Join(s.RequestID.Check(), s.Lender.Check()); err != nil {
		return fmt.Errorf("%w: %w", ErrSession, err)
	}
	keys := map[string]record.OrgID{}
	for i := range s.Seats {
		seat := &s.Seats[i]
		if err := errors.Join(seat.Bank.Check(), seat.ProductID.Check()); err != nil {
			return fmt.Errorf("%w: seat %d: %w", ErrSession, i, err)
		}
		if i > 0 && s.Seats[i-1].Bank >= seat.Bank {
			return fmt.Errorf("%w: banks must be strictly ascending; %s is not", ErrSession, seat.Bank)
		}
		if seat.Bank == s.Lender {
			return fmt.Errorf("%w: %s asks, and is a bank of the set", ErrSession, seat.Bank)
		}
		if len(seat.Key) != 32 {
			return fmt.Errorf("%w: data key %s of %s has %d bytes, want 32", ErrSession, seat.KeyID, seat.Bank, len(seat.Key))
		}
		// Two seats with one key are one party: its masks would hide nothing from it.
		if other, twice := keys[string(seat.Key)]; twice {
			return fmt.Errorf("%w: %s and %s have the same data key", ErrSession, other, seat.Bank)
		}
		keys[string(seat.Key)] = seat.Bank
	}
	return s.Plan.Check()
}

// Digest names the session: masks and shares are bound to it.
func (s *Session) Digest() Hash {
	parts := [][]byte{s.ChainID[:], []byte(s.RequestID), []byte(s.Lender), s.Plan.bytes()}
	for i := range s.Seats {
		seat := &s.Seats[i]
		parts = append(parts, []byte(seat.Bank), []byte(seat.ProductID), seat.CodeHash[:], number64(seat.Epoch), []byte(seat.KeyID), seat.Key)
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
	return slices.BinarySearchFunc(s.Seats, bank, func(seat Seat, b record.OrgID) int { return strings.Compare(string(seat.Bank), string(b)) })
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
