package call_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

var errDisk = errors.New("disk is gone")

// stub serves rows, and fails on a key that holds "broken".
type stub struct {
	shim.ChaincodeStubInterface
	rows    map[string]string
	keys    []string // what a range gives, in order
	creator string
	failing string // "time", "creator", "event" or "range"
}

func (s *stub) GetCreator() ([]byte, error) {
	if s.failing == "creator" {
		return nil, errDisk
	}
	return []byte(s.creator), nil
}

func (s *stub) GetTxTimestamp() (*timestamppb.Timestamp, error) {
	if s.failing == "time" {
		return nil, errDisk
	}
	return &timestamppb.Timestamp{Seconds: 5, Nanos: 7_900_000}, nil
}

func (s *stub) GetState(key string) ([]byte, error) {
	if strings.Contains(key, "broken") {
		return nil, errDisk
	}
	if v, found := s.rows[key]; found {
		return []byte(v), nil
	}
	return nil, nil
}

func (s *stub) PutState(key string, _ []byte) error {
	if strings.Contains(key, "broken") {
		return errDisk
	}
	return nil
}

func (s *stub) DelState(key string) error { return s.PutState(key, nil) }

func (s *stub) SetEvent(string, []byte) error {
	if s.failing == "event" {
		return errDisk
	}
	return nil
}

func (s *stub) GetStateByRange(string, string) (shim.StateQueryIteratorInterface, error) {
	if s.failing == "range" {
		return nil, errDisk
	}
	return &rows{s: s}, nil
}

type rows struct {
	s *stub
	i int
}

func (r *rows) HasNext() bool { return r.i < len(r.s.keys) }
func (r *rows) Close() error {
	if r.s.failing == "close" {
		return errDisk
	}
	return nil
}
func (r *rows) Next() (*queryresult.KV, error) {
	if r.s.failing == "next" {
		return nil, errDisk
	}
	r.i++
	key := r.s.keys[r.i-1]
	return &queryresult.KV{Key: key, Value: []byte(r.s.rows[key])}, nil
}

func context(s *stub) *call.Context {
	ctx := new(call.Context)
	ctx.SetStub(s)
	return ctx
}

func TestBlockTimeIsWholeMilliseconds(t *testing.T) {
	now, err := context(&stub{}).Now()
	if err != nil || now != 5_007 {
		t.Errorf("got %d, %v", now, err)
	}
}

// TestALostStateIsNoRefusal: were a disk error to become a code, one node would
// refuse what the others accept.
func TestALostStateIsNoRefusal(t *testing.T) {
	member := `{"address":"0x0000000000000000000000000000000000000001","org":"a"}`
	brokenMember := `{"address":"0x0000000000000000000000000000000000000001","org":"broken"}`
	v := &record.Epoch{Epoch: 1, ProductID: "p", Provider: "a"}
	target := func(string) string { return "broken" }
	for name, run := range map[string]func() error{
		"creator": func() error { _, err := context(&stub{failing: "creator"}).Caller(); return err },
		"system":  func() error { _, err := context(&stub{failing: "creator"}).System(); return err },
		"time":    func() error { _, err := context(&stub{creator: member, failing: "time"}).Caller(); return err },
		"caller":  func() error { _, err := context(&stub{creator: brokenMember}).Caller(); return err },
		"get":     func() error { _, err := call.Get[record.Epoch](context(&stub{}), "broken"); return err },
		"need": func() error {
			_, err := call.Need[record.Epoch](context(&stub{}), "broken", record.CodeNotFound, "x")
			return err
		},
		"put":     func() error { _, err := context(&stub{}).Put("broken", v); return err },
		"publish": func() error { _, err := context(&stub{}).Publish("broken", "e", v); return err },
		"event":   func() error { _, err := context(&stub{failing: "event"}).Publish("k", "e", v); return err },
		"index":   func() error { return context(&stub{}).Index("broken") },
		"unindex": func() error { return context(&stub{}).Unindex("broken") },
		"show":    func() error { _, err := context(&stub{}).Show("broken", "x"); return err },
		"range":   func() error { _, err := call.List[record.Epoch](context(&stub{failing: "range"}), "p/"); return err },
		"next": func() error {
			_, err := call.List[record.Epoch](context(&stub{failing: "next", keys: []string{"p/a"}}), "p/")
			return err
		},
		"close": func() error { _, err := call.List[record.Epoch](context(&stub{failing: "close"}), "p/"); return err },
		"record": func() error {
			_, err := call.Get[record.Epoch](context(&stub{rows: map[string]string{"k": "{}"}}), "k")
			return err
		},
		"listed record": func() error {
			s := &stub{rows: map[string]string{"p/a": "{}"}, keys: []string{"p/a"}}
			_, err := call.List[record.Epoch](context(s), "p/")
			return err
		},
		"target": func() error {
			_, err := call.ListIndex[record.Epoch](context(&stub{keys: []string{"p/a"}}), "p/", target)
			return err
		},
		"no target": func() error {
			_, _, err := call.Page[record.Epoch](context(&stub{keys: []string{"p/a"}}), "p/", "10", "", func(string) string { return "none" })
			return err
		},
	} {
		err := run()
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if code, has := record.CodeOf(err); has {
			t.Errorf("%s: became the refusal %s", name, code)
		}
	}
}

func TestCallersThatAreNoClientKey(t *testing.T) {
	for _, creator := range []string{
		``, `{}`, `{"address":"system","org":""}`, `{"address":"system","org":"a"}`,
		`{"address":"0x0000000000000000000000000000000000000000","org":"a"}`,
		`{"address":"0x00000000000000000000000000000000000000AA","org":"a"}`,
		`{"address":"0x0000000000000000000000000000000000000001","org":""}`,
		`{"address":"0x0000000000000000000000000000000000000001","org":"a/b"}`,
		`{"address":"0x0000000000000000000000000000000000000001","org":"a"}`,
	} {
		_, err := context(&stub{creator: creator}).Caller()
		if code, _ := record.CodeOf(err); code != record.CodeUnknownKey {
			t.Errorf("%s: got %v", creator, err)
		}
	}
}

func TestIntegersHaveOneSpelling(t *testing.T) {
	for arg, ok := range map[string]bool{
		"0": true, "7": true, "9007199254740991": true, "9007199254740992": false, "18446744073709551616": false,
		"": false, "-1": false, "+1": false, "01": false, "1.0": false, "0x1": false, " 1": false, "1_0": false,
	} {
		_, err := call.Integer("n", arg)
		if ok != (err == nil) {
			t.Errorf("%q: %v", arg, err)
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	epoch, err := record.Encode(&record.Epoch{Epoch: 1, ProductID: "p", Provider: "a"})
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{rows: map[string]string{"p/a": string(epoch)}}
	for range record.MaxList + 1 {
		s.keys = append(s.keys, "p/a")
	}
	_, err = call.List[record.Epoch](context(s), "p/")
	if code, _ := record.CodeOf(err); code != record.CodeLimitExceeded {
		t.Errorf("list: %v", err)
	}
	_, err = call.ListIndex[record.Epoch](context(s), "p/", func(string) string { return "p/a" })
	if code, _ := record.CodeOf(err); code != record.CodeLimitExceeded {
		t.Errorf("index: %v", err)
	}
	s.keys = s.keys[:record.MaxList]
	if all, err := call.ListIndex[record.Epoch](context(s), "p/", func(string) string { return "p/a" }); err != nil || len(all) != record.MaxList {
		t.Errorf("a full list: %d, %v", len(all), err)
	}
	_, _, err = call.Page[record.Epoch](context(s), "p/", "10", strings.Repeat("x", 300), func(string) string { return "p/a" })
	if code, _ := record.CodeOf(err); code != record.CodeBadRequest {
		t.Errorf("a bookmark nobody gave: %v", err)
	}
}

// A bookmark is what a page of the list ended with, even if its row has gone since;
// anything else is refused and not taken for the end of the list.
func TestMadeUpBookmarksAreRefused(t *testing.T) {
	epoch, err := record.Encode(&record.Epoch{Epoch: 1, ProductID: "p", Provider: "a"})
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{rows: map[string]string{"p/05/a": "1", "p/07/b": "1", "r/a": string(epoch), "r/b": string(epoch), "r/gone": string(epoch)}, keys: []string{"p/05/a", "p/07/b"}}
	target := func(id string) string { return "r/" + id }
	for bookmark, ok := range map[string]bool{
		"": true, "05/a": true, "07/b": true, "06/gone": true, // its row was removed
		"06/c": false, "zz": false, "07/b\x00": false, "\xff": false, "a": true, "/": false, strings.Repeat("x", 300): false,
	} {
		got, _, err := call.Page[record.Epoch](context(s), "p/", "10", bookmark, target)
		code, _ := record.CodeOf(err)
		if ok != (err == nil) || !ok && (code != record.CodeBadRequest || !strings.Contains(err.Error(), "bookmark") || got != nil) {
			t.Errorf("%q: %v, %v", bookmark, got, err)
		}
	}
}
