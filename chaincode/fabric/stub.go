package fabric

import (
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/assent-network/assent/chaincode/record"
)

// abort unwinds a contract that may not go on; only stubs throw it.
type abort struct{}

// stub is the peer's stub with Assent's rules around it. It serves one call.
// What it refuses it refuses for good.
type stub struct {
	shim.ChaincodeStubInterface

	contract string
	creator  []byte
	reading  bool

	calls, written int
	writes         map[string]bool

	refused    error // the first refusal
	unreadable bool  // the peer failed to read or write
}

func newStub(outer shim.ChaincodeStubInterface, contract string, creator []byte, reading bool) *stub {
	return &stub{ChaincodeStubInterface: outer, contract: contract, creator: creator, reading: reading, writes: map[string]bool{}}
}

func (s *stub) refuse(code record.Code, format string, args ...any) error {
	err := record.Refuse(code, format, args...)
	if s.refused == nil {
		s.refused = err
	}
	return err
}

// count is called by everything that asks the peer something.
func (s *stub) count() {
	if s.calls++; s.calls > maxCalls {
		_ = s.refuse(record.CodeLimitExceeded, "more than %d calls of the ledger", maxCalls)
		panic(abort{}) // the contract may be in an endless loop
	}
}

// failed notes that the peer did not do its part.
func (s *stub) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	s.unreadable = true
	return fmt.Errorf("%s: %w", what, err)
}

// GetCreator returns the canonical JSON of record.Creator.
func (s *stub) GetCreator() ([]byte, error) { return s.creator, nil }

// GetState returns the value under key after the last committed block, nil if
// there is none.
func (s *stub) GetState(key string) ([]byte, error) {
	s.count()
	value, err := s.ChaincodeStubInterface.GetState(key)
	if err != nil {
		return nil, s.failed("read state", err)
	}
	if len(value) == 0 {
		return nil, nil
	}
	return value, nil
}

// PutState writes a row of the contract's own.
func (s *stub) PutState(key string, value []byte) error {
	if len(value) == 0 {
		return s.refuse(record.CodeBadRequest, "an empty value cannot be written: delete the row instead")
	}
	limit := maxValue
	if key == record.ConfigKey {
		limit = maxConfig
	}
	if len(value) > limit {
		return s.refuse(record.CodeLimitExceeded, "a value has %d bytes, at most %d are allowed", len(value), limit)
	}
	if err := s.mayWrite(key, len(value)); err != nil {
		return err
	}
	return s.failed("write state", s.ChaincodeStubInterface.PutState(key, value))
}

// DelState removes a row of the contract's own.
func (s *stub) DelState(key string) error {
	if err := s.mayWrite(key, 0); err != nil {
		return err
	}
	return s.failed("delete state", s.ChaincodeStubInterface.DelState(key))
}

func (s *stub) mayWrite(key string, size int) error {
	s.count()
	owner, _, kind, err := record.SplitKey(key)
	switch {
	case s.reading:
		return s.refuse(record.CodeReadOnlyFunction, "a read call cannot write")
	case err != nil || owner != s.contract:
		return s.refuse(record.CodeForbidden, "contract %s may write only under its own name", s.contract)
	case len(key) > maxKey:
		return s.refuse(record.CodeLimitExceeded, "a key has %d bytes, at most %d are allowed", len(key), maxKey)
	}
	if !s.writes[key] && len(s.writes) == maxWrites {
		return s.refuse(record.CodeLimitExceeded, "more than %d rows written", maxWrites)
	}
	s.writes[key] = true
	if s.written += len(key) + size; s.written > maxWritten {
		return s.refuse(record.CodeLimitExceeded, "more than %d bytes written", maxWritten)
	}
	if kind != record.KeyLog {
		return nil
	}
	// The read also puts the row's absence into the transaction: of two that
	// write it at the same time, Fabric keeps the first.
	last, err := s.GetState(key)
	if err == nil && (last != nil || size == 0) {
		return s.refuse(record.CodeAlreadyExists, "a record that is written once exists already")
	}
	return err
}

// SetEvent announces something if the transaction becomes valid.
func (s *stub) SetEvent(name string, payload []byte) error {
	switch {
	case s.reading:
		return s.refuse(record.CodeReadOnlyFunction, "a read call cannot set an event")
	case name == "":
		return errors.New("an event needs a name")
	case len(payload) > maxConfig:
		return s.refuse(record.CodeLimitExceeded, "an event has %d bytes, at most %d are allowed", len(payload), maxConfig)
	}
	return s.ChaincodeStubInterface.SetEvent(name, payload)
}

// GetStateByRange iterates over start ≤ key < end.
func (s *stub) GetStateByRange(start, end string) (shim.StateQueryIteratorInterface, error) {
	s.count()
	rows, err := s.ChaincodeStubInterface.GetStateByRange(start, end)
	return rows, s.failed("range over state", err)
}
