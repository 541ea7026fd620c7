package exposure

import (
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/assent-network/assent/chaincode/record"
)

// frozenBy is the ledger's record of a session.
func frozenBy(t *testing.T, s *Session) *record.Exposure {
	t.Helper()
	id, err := record.ParseHash(string(s.RequestID))
	if err != nil {
		t.Fatal(err)
	}
	e := &record.Exposure{
		AnswerKey: make(record.Blob, 32), Consumer: s.Lender, Deadline: 9, Decision: record.Permit, ExposureID: id, Purpose: record.CreditChecking,
		Recipient: s.Recipient, RequestedAt: 5, Threshold: s.Threshold,
	}
	for i := range s.Seats {
		seat := &s.Seats[i]
		e.Seats = append(e.Seats, record.ExposureSeat{
			Bank: seat.Bank, Code: record.CodePermit, CodeHash: seat.CodeHash, ConsentID: seat.ConsentID, Epoch: seat.Epoch, Key: seat.Key,
			KeyID: seat.KeyID, Pledge: record.Hash(seat.Pledge),
			RequestID: record.NewRequestID(record.Hash(sha256.Sum256([]byte{byte(i)}))), TemplateID: "owed",
		})
	}
	return e
}

// TestTheLedgersRecordIsTheSession: through the record's bytes and back, the digest
// to which every share is bound is the same, and the shares add up.
func TestTheLedgersRecordIsTheSession(t *testing.T) {
	w := newWorld(t, 10, 0, 32)
	bytes, err := record.Encode(frozenBy(t, &w.session))
	if err != nil {
		t.Fatal(err)
	}
	e, err := record.Load[record.Exposure](bytes)
	if err != nil {
		t.Fatal(err)
	}
	s, err := SessionOf(w.session.ChainID, e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w.session, *s); diff != "" || s.Digest() != w.session.Digest() {
		t.Fatalf("another session:\n%s", diff)
	}
	sum, err := Combine(inRangeKey(), s, w.deliveries(t))
	if err != nil || sum.Total() != 42 {
		t.Errorf("total %v, %v", sum, err)
	}
}

func TestRecordsThatAreNoSession(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	for name, breaks := range map[string]func(e *record.Exposure){
		"denied":                  func(e *record.Exposure) { e.Decision = record.Deny },
		"two banks":               func(e *record.Exposure) { e.Seats = e.Seats[:2] },
		"banks out of order":      func(e *record.Exposure) { e.Seats[0], e.Seats[1] = e.Seats[1], e.Seats[0] },
		"no data key":             func(e *record.Exposure) { e.Seats[0].Key = nil },
		"data key of low order":   func(e *record.Exposure) { e.Seats[0].Key = make(record.Blob, 32) },
		"a bank opens":            func(e *record.Exposure) { e.Consumer, e.Recipient = e.Seats[0].Bank, e.Seats[0].Bank },
		"aggregator, no question": func(e *record.Exposure) { e.Recipient = "bureau" },
		"threshold beyond":        func(e *record.Exposure) { e.Threshold, e.Recipient = MaxThreshold+1, "bureau" },
	} {
		e := frozenBy(t, &w.session)
		breaks(e)
		if s, err := SessionOf(w.session.ChainID, e); !errors.Is(err, ErrSession) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLedgerAndProtocolHaveTheSameBounds: what the one permits, the other can do.
func TestLedgerAndProtocolHaveTheSameBounds(t *testing.T) {
	if record.MinExposureBanks != MinBanks || record.MaxExposureBanks != MaxBanks || record.MaxExposureThreshold != MaxThreshold {
		t.Error("the bounds differ")
	}
}
