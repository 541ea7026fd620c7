package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// reader is the state a call reads: an unfinished block or a view.
type reader interface {
	Get(key string) ([]byte, bool, error)
	Range(start, end string, limit int) ([]state.Row, error)
}

// invocation is one call of one contract function.
type invocation struct {
	call    Call
	args    [][]byte
	creator []byte
	channel string
	time    uint64          // block time, Unix ms
	reading context.Context // of a read call; nil in a transaction
}

// stub is what a contract sees of the ledger: Fabric's chaincode stub over our
// state. It serves one call.
//
// Errors. What the stub refuses it refuses for good: the first refusal decides
// the call, even if the contract goes on. Running out of calls, and a state that
// cannot be read, stop the contract at once.
type stub struct {
	state  reader
	inv    invocation
	limits limits
	memory *memory // nil in a read call: those run on many goroutines

	touched *lastKey // nil in a read call: nothing watches those

	calls, readBytes, rangeRows, writeBytes int

	writes  []ledger.Write // in order of first write
	written map[string]int // key → index in writes; nil while they are few
	event   *ledger.Event  // the last one set, as in Fabric

	refusal *record.Refusal
	fatal   error

	name string // contract:Function
	args []string
}

func newStub(r reader, inv invocation, l limits) *stub {
	return &stub{state: r, inv: inv, limits: l}
}

// refuse remembers the first refusal.
func (s *stub) refuse(code record.Code, format string, args ...any) error {
	r := &record.Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
	if s.refusal == nil {
		s.refusal = r
	}
	return r
}

// stop ends the call: the state cannot be read, or the reader has gone.
func (s *stub) stop(err error) {
	s.fatal = err
	panic(abort{})
}

// unread ends the call because a row cannot be read. Of one that every node may
// have pruned that is a refusal, alike on all.
func (s *stub) unread(err error) {
	if errors.Is(err, state.ErrAged) {
		_ = s.refuse(record.CodePruned, "it needs an access record that is older than the nodes of this network have to keep")
		panic(abort{})
	}
	s.stop(err)
}

// count is called at the start of every stub call that costs something.
func (s *stub) count() {
	if s.calls++; s.calls > s.limits.calls {
		_ = s.refuse(record.CodeLimitExceeded, "more than %d calls of the ledger", s.limits.calls)
		panic(abort{}) // the contract may be in an endless loop
	}
	if s.inv.reading != nil {
		if err := s.inv.reading.Err(); err != nil {
			s.stop(err)
		}
	}
}

// countRead adds what was read.
func (s *stub) countRead(bytes int) {
	if s.readBytes += bytes; s.readBytes > s.limits.readBytes {
		_ = s.refuse(record.CodeLimitExceeded, "more than %d bytes read", s.limits.readBytes)
		panic(abort{})
	}
}

// compositeSegment holds the rows of composite keys, which begin with a zero
// byte and so have no contract of their own.
const compositeSegment = "/ck/"

// stateKey turns a contract's key into the ledger's.
func (s *stub) stateKey(key string) (string, error) {
	if strings.HasPrefix(key, "\x00") {
		key = s.inv.call.Contract + compositeSegment + key
	}
	if len(key) > s.limits.key {
		return "", s.refuse(record.CodeLimitExceeded, "a key has %d bytes, at most %d are allowed", len(key), s.limits.key)
	}
	if s.touched != nil {
		s.touched.set(key)
	}
	return key, nil
}

// GetState returns the value under key after the previous transaction, nil if
// there is none.
func (s *stub) GetState(key string) ([]byte, error) {
	_, value, err := s.row(key)
	return slices.Clone(value), err // contracts may change what they get
}

// LendState is GetState without a copy: the caller must not change what it
// returns. Package call is such a caller.
func (s *stub) LendState(key string) ([]byte, error) {
	_, value, err := s.row(key)
	return value, err
}

// GiveState is PutState without a copy: the caller must not change value
// afterwards.
func (s *stub) GiveState(key string, value []byte) error {
	return s.write(ledger.Write{Key: key, Value: value})
}

// row returns the ledger's key and the row itself, nil if there is none; it must
// not be changed.
func (s *stub) row(key string) (string, []byte, error) {
	s.count()
	key, err := s.stateKey(key)
	if err != nil {
		return "", nil, err
	}
	value, ok, err := s.state.Get(key)
	if err != nil {
		s.unread(fmt.Errorf("read %q: %w", key, err))
	}
	s.countRead(len(key) + len(value))
	if !ok {
		return key, nil, nil
	}
	return key, value, nil
}

// GetMultipleStates is GetState for several keys.
func (s *stub) GetMultipleStates(keys ...string) ([][]byte, error) {
	out := make([][]byte, len(keys))
	for i, k := range keys {
		v, err := s.GetState(k)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// PutState writes a row of the contract's own.
func (s *stub) PutState(key string, value []byte) error {
	return s.write(ledger.Write{Key: key, Value: slices.Clone(value)})
}

// DelState removes a row of the contract's own.
func (s *stub) DelState(key string) error { return s.write(ledger.Write{Key: key, Delete: true}) }

func (s *stub) write(w ledger.Write) error {
	s.count()
	if s.inv.reading != nil {
		return s.refuse(record.CodeReadOnlyFunction, "a read call cannot write")
	}
	if !w.Delete && len(w.Value) == 0 {
		return s.refuse(record.CodeBadRequest, "an empty value cannot be written: delete the row instead")
	}
	if len(w.Value) > s.limits.value {
		return s.refuse(record.CodeLimitExceeded, "a value has %d bytes, at most %d are allowed", len(w.Value), s.limits.value)
	}
	key, err := s.stateKey(w.Key)
	if err != nil {
		return err
	}
	w.Key = key
	if owner, _, err := ledger.SplitKey(key); err != nil || owner != s.inv.call.Contract {
		return s.refuse(record.CodeForbidden, "contract %s may write only under its own name", s.inv.call.Contract)
	}
	if i := s.indexOf(key); i >= 0 {
		s.writeBytes += len(w.Value) - len(s.writes[i].Value)
		s.writes[i] = w
	} else {
		if len(s.writes) == s.limits.writes {
			return s.refuse(record.CodeLimitExceeded, "more than %d rows written", s.limits.writes)
		}
		s.remember(w)
		s.writeBytes += len(key) + len(w.Value)
	}
	if s.writeBytes > s.limits.writeBytes {
		return s.refuse(record.CodeLimitExceeded, "more than %d bytes written", s.limits.writeBytes)
	}
	return nil
}

// fewWrites is up to how many keys are looked through one by one.
const fewWrites = 8

// indexOf returns where the write of key stands, or -1.
func (s *stub) indexOf(key string) int {
	if s.written != nil {
		if i, ok := s.written[key]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(s.writes, func(w ledger.Write) bool { return w.Key == key })
}

// remember adds the write of a further key.
func (s *stub) remember(w ledger.Write) {
	if s.writes == nil {
		s.writes = make([]ledger.Write, 0, fewWrites)
	}
	s.writes = append(s.writes, w)
	switch {
	case s.written != nil:
		s.written[w.Key] = len(s.writes) - 1
	case len(s.writes) > fewWrites:
		s.written = make(map[string]int, 8*fewWrites)
		for i := range s.writes {
			s.written[s.writes[i].Key] = i
		}
	}
}

// SetEvent announces something if the transaction is not refused. As in Fabric,
// a transaction has one event: the last.
func (s *stub) SetEvent(name string, payload []byte) error {
	s.count()
	switch {
	case s.inv.reading != nil:
		return s.refuse(record.CodeReadOnlyFunction, "a read call cannot set an event")
	case name == "":
		return errors.New("an event needs a name")
	case len(name) > ledger.MaxNameBytes || len(payload) > s.limits.value:
		return s.refuse(record.CodeLimitExceeded, "an event has a name of %d and a payload of %d bytes, at most %d and %d are allowed", len(name), len(payload), ledger.MaxNameBytes, s.limits.value)
	}
	if n := len(s.writes); n > 0 && bytes.Equal(payload, s.writes[n-1].Value) {
		payload = s.writes[n-1].Value // the record just written, as nearly always
	} else {
		payload = slices.Clone(payload)
	}
	s.event = &ledger.Event{Contract: s.inv.call.Contract, Name: name, Payload: payload}
	return nil
}

func (s *stub) events() []ledger.Event {
	if s.event == nil {
		return nil
	}
	return []ledger.Event{*s.event}
}

// sortedWrites returns the write set in the order receipts want.
func (s *stub) sortedWrites() []ledger.Write {
	slices.SortFunc(s.writes, func(a, b ledger.Write) int { return strings.Compare(a.Key, b.Key) })
	return s.writes
}

// GetTxID returns the transaction's id as 0x-hex; empty in a read call.
func (s *stub) GetTxID() string {
	if s.inv.reading != nil {
		return ""
	}
	return s.inv.call.TxID.Hex()
}

// GetChannelID returns the chain id as 0x-hex.
func (s *stub) GetChannelID() string { return s.inv.channel }

// GetTxTimestamp returns the time of the block.
func (s *stub) GetTxTimestamp() (*timestamppb.Timestamp, error) {
	ms := int64(s.inv.time)
	return &timestamppb.Timestamp{Seconds: ms / 1000, Nanos: int32(ms%1000) * 1_000_000}, nil
}

// GetCreator returns the canonical JSON of record.Creator.
func (s *stub) GetCreator() ([]byte, error) { return s.inv.creator, nil }

// function is asked for several times a call.
func (s *stub) function() string {
	if s.name == "" {
		s.name = s.inv.call.Contract + ":" + s.inv.call.Function
	}
	return s.name
}

// GetArgs returns "contract:function" and the arguments.
func (s *stub) GetArgs() [][]byte {
	out := make([][]byte, 0, len(s.inv.args)+1)
	return append(append(out, []byte(s.function())), s.inv.args...)
}

// GetStringArgs is GetArgs as strings.
func (s *stub) GetStringArgs() []string {
	name, args := s.GetFunctionAndParameters()
	return append([]string{name}, args...)
}

// GetFunctionAndParameters is GetStringArgs taken apart.
func (s *stub) GetFunctionAndParameters() (string, []string) {
	if s.args == nil {
		s.args = make([]string, len(s.inv.args))
		for i, a := range s.inv.args {
			s.args[i] = string(a)
		}
	}
	return s.function(), s.args
}

// GetArgsSlice returns all of GetArgs in one piece.
func (s *stub) GetArgsSlice() ([]byte, error) { return slices.Concat(s.GetArgs()...), nil }
