// Package memledger is a ledger in memory for tests of the contracts: one state,
// one stub per call, nothing kept of a call that was refused.
//
// It promises what the contracts are written for: reads see the state after the
// previous call and none of the call's own writes, ranges are in key order, and
// a call that writes outside its contract, overwrites a log row, or writes
// during a read call fails loudly. Whatever else a Fabric stub can do panics.
package memledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/assent-network/assent/chaincode/record"
)

// Ledger is a state and the chaincode that writes it. It serves one goroutine.
type Ledger struct {
	Chaincode shim.Chaincode
	State     map[string][]byte
	Now       record.Millis // block time of the next call

	// Seen, if set, is told of every call before it is made.
	Seen func(c Call, now record.Millis, readOnly bool)

	decoded map[string]decoded // by key: what Remember keeps
}

// decoded is what was decoded from one row, told by where its bytes lie.
type decoded struct {
	row   []byte
	value any
}

// New makes an empty ledger.
func New(cc shim.Chaincode, now record.Millis) *Ledger {
	return &Ledger{Chaincode: cc, State: make(map[string][]byte), Now: now}
}

// Event is the event a call set.
type Event struct {
	Name    string
	Payload []byte
}

// Call is one call.
type Call struct {
	Creator  *record.Creator
	TxID     record.Hash
	Function string // "contract:Function"
	Args     []string
}

// Result is what came of it.
type Result struct {
	Code    record.Code // OK for a successful call
	Message string      // text of a refusal
	Payload string
	Event   Event
	Writes  map[string][]byte // nil value: deleted
}

// Submit makes a call as a transaction: its writes stand unless it is refused.
// The error is a broken promise of the contracts, not a refusal.
func (l *Ledger) Submit(c Call) (Result, error) {
	result, err := l.run(c, false)
	if err != nil || result.Code != record.OK {
		return result, err
	}
	for key, value := range result.Writes {
		if value == nil {
			delete(l.State, key)
		} else {
			l.State[key] = value
		}
	}
	return result, nil
}

// Try makes a call as a transaction and drops its writes.
func (l *Ledger) Try(c Call) (Result, error) { return l.run(c, false) }

// Evaluate makes a read call.
func (l *Ledger) Evaluate(c Call) (Result, error) { return l.run(c, true) }

func (l *Ledger) run(c Call, readOnly bool) (Result, error) {
	if l.Seen != nil {
		l.Seen(c, l.Now, readOnly)
	}
	creator, err := record.Encode(c.Creator)
	if err != nil {
		return Result{}, err
	}
	contract, _, _ := strings.Cut(c.Function, ":")
	s := &stub{
		ledger: l, call: c, creator: creator, contract: contract, readOnly: readOnly,
		writes: make(map[string][]byte),
	}
	response := l.Chaincode.Invoke(s)
	if s.broken != nil {
		return Result{}, fmt.Errorf("%s: %w", c.Function, s.broken)
	}
	if response.GetStatus() == shim.OK {
		return Result{Code: record.OK, Payload: string(response.GetPayload()), Event: s.event, Writes: s.writes}, nil
	}
	code, known := record.CodeOfText(response.GetMessage())
	if !known {
		return Result{}, fmt.Errorf("%s: error without a code: %s", c.Function, response.GetMessage())
	}
	return Result{Code: code, Message: response.GetMessage()}, nil
}

// Keys returns the keys under a prefix, in order.
func (l *Ledger) Keys(prefix string) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(l.State)) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

type stub struct {
	shim.ChaincodeStubInterface // nil: what is not below panics

	ledger   *Ledger
	call     Call
	creator  []byte
	contract string
	readOnly bool
	writes   map[string][]byte
	event    Event
	broken   error
}

func (s *stub) breaks(err error) error {
	if s.broken == nil {
		s.broken = err
	}
	return err
}

func (s *stub) GetFunctionAndParameters() (string, []string) { return s.call.Function, s.call.Args }
func (s *stub) GetTxID() string                              { return s.call.TxID.Hex() }
func (s *stub) GetCreator() ([]byte, error)                  { return s.creator, nil }

func (s *stub) GetTxTimestamp() (*timestamppb.Timestamp, error) {
	now := s.ledger.Now
	return &timestamppb.Timestamp{Seconds: now / 1000, Nanos: int32(now%1000) * 1_000_000}, nil
}

func (s *stub) GetState(key string) ([]byte, error) {
	if _, _, _, err := record.SplitKey(key); err != nil {
		return nil, s.breaks(err)
	}
	return s.ledger.State[key], nil
}

// LendState is GetState, as a node's stub lends its rows to package call.
func (s *stub) LendState(key string) ([]byte, error) { return s.GetState(key) }

// GiveState is PutState, as a node's stub takes rows over from package call.
func (s *stub) GiveState(key string, value []byte) error { return s.PutState(key, value) }

// Remember keeps what was decoded as a node's stub does, so that a contract that
// changes what it shares with others is found out.
func (s *stub) Remember(key string, decode func(data []byte) (any, error)) (any, error) {
	row, err := s.GetState(key)
	if err != nil || row == nil {
		return nil, err
	}
	if r, ok := s.ledger.decoded[key]; ok && &r.row[0] == &row[0] {
		return r.value, nil
	}
	v, err := decode(row)
	if err == nil {
		if s.ledger.decoded == nil {
			s.ledger.decoded = map[string]decoded{}
		}
		s.ledger.decoded[key] = decoded{row, v}
	}
	return v, err
}

func (s *stub) PutState(key string, value []byte) error {
	if len(value) == 0 {
		return s.breaks(errors.New("writes an empty value"))
	}
	return s.write(key, value)
}

func (s *stub) DelState(key string) error { return s.write(key, nil) }

func (s *stub) write(key string, value []byte) error {
	contract, _, kind, err := record.SplitKey(key)
	switch {
	case err != nil:
		return s.breaks(err)
	case s.readOnly:
		return s.breaks(errors.New("read call writes"))
	case contract != s.contract:
		return s.breaks(fmt.Errorf("writes a key of contract %s", contract))
	case kind == record.KeyLog && (value == nil || s.ledger.State[key] != nil):
		return s.breaks(errors.New("changes a log row"))
	case kind != record.KeyIndex && value == nil:
		return s.breaks(errors.New("deletes a record"))
	}
	if _, twice := s.writes[key]; twice {
		return s.breaks(errors.New("writes a key twice"))
	}
	s.writes[key] = value
	return nil
}

func (s *stub) SetEvent(name string, payload []byte) error {
	if s.event.Name != "" {
		return s.breaks(errors.New("sets a second event, which would replace the first"))
	}
	s.event = Event{name, payload}
	return nil
}

func (s *stub) GetStateByRange(start, end string) (shim.StateQueryIteratorInterface, error) {
	if !s.readOnly {
		return nil, s.breaks(errors.New("transaction ranges over state"))
	}
	it := &rows{}
	for _, key := range slices.Sorted(maps.Keys(s.ledger.State)) {
		if key >= start && key < end {
			it.rows = append(it.rows, &queryresult.KV{Key: key, Value: s.ledger.State[key]})
		}
	}
	return it, nil
}

type rows struct{ rows []*queryresult.KV }

func (r *rows) HasNext() bool { return len(r.rows) != 0 }
func (r *rows) Close() error  { return nil }
func (r *rows) Next() (*queryresult.KV, error) {
	row := r.rows[0]
	r.rows = r.rows[1:]
	return row, nil
}
