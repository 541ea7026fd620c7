package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
	"github.com/hyperledger/fabric-contract-api-go/v2/metadata"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/assent-network/assent/chaincode/record"
)

// toy is a contract that does whatever a contract could do, good and bad.
type toy struct{ contractapi.Contract }

type toyContext struct{ contractapi.TransactionContext }

func (*toy) GetEvaluateTransactions() []string {
	return []string{"Get", "Rows", "Page", "SneakyRead", "Who", "Composites"}
}

// Put writes pairs of key and value given as a JSON list.
func (*toy) Put(ctx *toyContext, pairs string) (string, error) {
	var list []string
	if err := json.Unmarshal([]byte(pairs), &list); err != nil {
		return "", record.Refuse(record.CodeBadRequest, "pairs")
	}
	for i := 0; i+1 < len(list); i += 2 {
		if list[i+1] == "" {
			if err := ctx.GetStub().DelState(list[i]); err != nil {
				return "", err
			}
			continue
		}
		if err := ctx.GetStub().PutState(list[i], []byte(list[i+1])); err != nil {
			return "", err
		}
	}
	return "put", ctx.GetStub().SetEvent("put", []byte(pairs))
}

// Swallow is Put that ignores every error of the stub.
func (*toy) Swallow(ctx *toyContext, key, size string) (string, error) {
	n, err := strconv.Atoi(size)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "size")
	}
	_ = ctx.GetStub().PutState(key, make([]byte, n))
	_ = ctx.GetStub().PutState("toy/after", []byte("x"))
	return "nothing happened", nil
}

// Increment adds one to a counter and returns what it read before and after
// its own write.
func (*toy) Increment(ctx *toyContext, key string) (string, error) {
	before, err := ctx.GetStub().GetState(key)
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi("0" + string(before))
	if err != nil {
		return "", record.Refuse(record.CodeWrongState, "no counter")
	}
	if err := ctx.GetStub().PutState(key, []byte(strconv.Itoa(n+1))); err != nil {
		return "", err
	}
	after, err := ctx.GetStub().GetState(key)
	return string(before) + "→" + string(after), err
}

// Refuse returns an error with the given text.
func (*toy) Refuse(_ *toyContext, text string) (string, error) { return "", errors.New(text) }

// WriteAndRefuse writes and then refuses.
func (*toy) WriteAndRefuse(ctx *toyContext) (string, error) {
	if err := ctx.GetStub().PutState("toy/ghost", []byte("boo")); err != nil {
		return "", err
	}
	return "", record.Refuse(record.CodeForbidden, "changed my mind")
}

// Panic panics after a write.
func (*toy) Panic(ctx *toyContext, kind string) (string, error) {
	_ = ctx.GetStub().PutState("toy/ghost", []byte("boo"))
	if kind == "runtime" {
		var list []int
		return "", errors.New(strconv.Itoa(list[len(kind)]))
	}
	panic("secret " + kind)
}

// Loop never ends of itself.
func (*toy) Loop(ctx *toyContext, what string) (string, error) {
	for i := 0; ; i++ {
		switch what {
		case "get":
			_, _ = ctx.GetStub().GetState("toy/none")
		case "put":
			_ = ctx.GetStub().PutState("toy/"+strconv.Itoa(i), []byte("x"))
		case "event":
			_ = ctx.GetStub().SetEvent("e", []byte("x"))
		case "read large":
			_, _ = ctx.GetStub().GetState("toy/large")
		case "range":
			rows, err := ctx.GetStub().GetStateByRange("toy/", "toy0")
			if err != nil {
				continue
			}
			for rows.HasNext() {
				_, _ = rows.Next()
			}
		}
	}
}

// Large returns a payload of the given size.
func (*toy) Large(_ *toyContext, size string) (string, error) {
	n, err := strconv.Atoi(size)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "size")
	}
	return strings.Repeat("x", n), nil
}

// Describe returns what the stub says of the call.
func (*toy) Describe(ctx *toyContext, _ string) (string, error) {
	s := ctx.GetStub()
	ts, err := s.GetTxTimestamp()
	if err != nil {
		return "", err
	}
	creator, err := s.GetCreator()
	if err != nil {
		return "", err
	}
	name, args := s.GetFunctionAndParameters()
	slice, err := s.GetArgsSlice()
	return fmt.Sprint(s.GetTxID(), " ", s.GetChannelID(), " ", ts.AsTime().UnixMilli(), " ", string(creator), " ",
		name, args, s.GetStringArgs(), len(s.GetArgs()), string(slice)), err
}

// Unsupported calls everything this ledger does not have and returns what the
// stub says about it.
func (*toy) Unsupported(ctx *toyContext) (string, error) {
	s := ctx.GetStub()
	var said []string
	add := func(err error) {
		if err == nil {
			err = errors.New("NO ERROR")
		}
		said = append(said, err.Error())
	}
	add(errors.New(s.InvokeChaincode("other", nil, "").GetMessage()))
	_, err := s.GetQueryResult("{}")
	add(err)
	_, _, err = s.GetQueryResultWithPagination("{}", 1, "")
	add(err)
	_, err = s.GetHistoryForKey("toy/1")
	add(err)
	add(s.SetStateValidationParameter("toy/1", nil))
	_, err = s.GetStateValidationParameter("toy/1")
	add(err)
	_, err = s.GetPrivateData("c", "k")
	add(err)
	_, err = s.GetMultiplePrivateData("c", "k")
	add(err)
	_, err = s.GetPrivateDataHash("c", "k")
	add(err)
	add(s.PutPrivateData("c", "k", nil))
	add(s.DelPrivateData("c", "k"))
	add(s.PurgePrivateData("c", "k"))
	add(s.SetPrivateDataValidationParameter("c", "k", nil))
	_, err = s.GetPrivateDataValidationParameter("c", "k")
	add(err)
	_, err = s.GetPrivateDataByRange("c", "a", "b")
	add(err)
	_, err = s.GetPrivateDataByPartialCompositeKey("c", "o", nil)
	add(err)
	_, err = s.GetPrivateDataQueryResult("c", "{}")
	add(err)
	_, err = s.GetBinding()
	add(err)
	_, err = s.GetSignedProposal()
	add(err)
	if transient, err := s.GetTransient(); err != nil || transient != nil || s.GetDecorations() != nil {
		add(nil)
	}
	s.StartWriteBatch()
	if err := s.FinishWriteBatch(); err != nil {
		add(nil)
	}
	return strings.Join(said, "\n"), nil
}

// PageInTransaction pages, which only read calls may.
func (*toy) PageInTransaction(ctx *toyContext) (string, error) {
	_, _, err := ctx.GetStub().GetStateByRangeWithPagination("toy/", "toy0", 2, "")
	if err == nil {
		return "paged", nil
	}
	return "", nil // the stub has refused for good
}

// Compose writes rows under composite keys.
func (*toy) Compose(ctx *toyContext, kind, parts string) (string, error) {
	key, err := ctx.GetStub().CreateCompositeKey(kind, strings.Split(parts, ","))
	if err != nil {
		return "", err
	}
	return "", ctx.GetStub().PutState(key, []byte(parts))
}

// RangeInTransaction counts the rows of a range.
func (*toy) RangeInTransaction(ctx *toyContext, start, end string) (string, error) {
	rows, err := ctx.GetStub().GetStateByRange(start, end)
	if err != nil {
		return "", err
	}
	n := 0
	for rows.HasNext() {
		if _, err := rows.Next(); err != nil {
			return "", err
		}
		n++
	}
	return strconv.Itoa(n), rows.Close()
}

func (*toy) Get(ctx *toyContext, key string) (string, error) {
	v, err := ctx.GetStub().GetMultipleStates(key)
	if err != nil {
		return "", err
	}
	if v[0] == nil {
		return "", record.Refuse(record.CodeNotFound, "no row")
	}
	for i := range v[0] { // a contract may do what it likes with what it got
		defer func() { v[0][i] = '!' }()
	}
	return string(v[0]), nil
}

func (*toy) SneakyRead(ctx *toyContext, how string) (string, error) {
	switch how {
	case "put":
		_ = ctx.GetStub().PutState("toy/1", []byte("sneaked"))
	case "delete":
		_ = ctx.GetStub().DelState("toy/1")
	case "event":
		_ = ctx.GetStub().SetEvent("e", nil)
	}
	return "did it", nil
}

func (*toy) Who(ctx *toyContext) (string, error) {
	creator, err := ctx.GetStub().GetCreator()
	return ctx.GetStub().GetTxID() + string(creator), err
}

func (*toy) Rows(ctx *toyContext, start, end string) (string, error) {
	rows, err := ctx.GetStub().GetStateByRange(start, end)
	if err != nil {
		return "", err
	}
	var keys []string
	for rows.HasNext() {
		kv, err := rows.Next()
		if err != nil {
			return "", err
		}
		keys = append(keys, kv.GetKey()+"="+string(kv.GetValue()))
	}
	if _, err := rows.Next(); err == nil {
		return "", errors.New("Next goes on after the end")
	}
	return strings.Join(keys, " "), rows.Close()
}

func (*toy) Page(ctx *toyContext, size, bookmark string) (string, error) {
	n, err := strconv.Atoi(size)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "size")
	}
	rows, meta, err := ctx.GetStub().GetStateByRangeWithPagination("toy/", "toy0", int32(n), bookmark)
	if err != nil {
		return "", err
	}
	var keys []string
	for rows.HasNext() {
		kv, err := rows.Next()
		if err != nil {
			return "", err
		}
		keys = append(keys, kv.GetKey())
	}
	return fmt.Sprint(meta.GetFetchedRecordsCount(), keys, meta.GetBookmark()), nil
}

// Composites lists composite keys: all of a kind that begin with a part, or,
// with a page size, a page of them, or of all kinds.
func (*toy) Composites(ctx *toyContext, kind, part, size, bookmark string) (string, error) {
	n, err := strconv.Atoi(size)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "size")
	}
	var parts []string
	if part != "" {
		parts = []string{part}
	}
	s := ctx.GetStub()
	var rows shim.StateQueryIteratorInterface
	next := ""
	switch {
	case n == 0:
		rows, err = s.GetStateByPartialCompositeKey(kind, parts)
	case kind == "":
		it, meta, e := s.GetAllStatesCompositeKeyWithPagination(int32(n), bookmark)
		rows, next, err = it, meta.GetBookmark(), e
	default:
		it, meta, e := s.GetStateByPartialCompositeKeyWithPagination(kind, parts, int32(n), bookmark)
		rows, next, err = it, meta.GetBookmark(), e
	}
	if err != nil {
		return "", err
	}
	var out []string
	for rows.HasNext() {
		kv, err := rows.Next()
		if err != nil {
			return "", err
		}
		kind, parts, err := s.SplitCompositeKey(kv.GetKey())
		if err != nil {
			return "", err
		}
		out = append(out, kind+":"+strings.Join(parts, ",")+"="+string(kv.GetValue()))
	}
	return strings.Join(out, " ") + "|" + strings.ReplaceAll(next, "\x00", "/"), nil
}

// ApplyConfig stands in for the membership contract.
type members struct{ contractapi.Contract }

func (*members) ApplyConfig(ctx *toyContext, config string) (string, error) {
	creator, err := ctx.GetStub().GetCreator()
	if err != nil {
		return "", err
	}
	who := new(record.Creator)
	if err := record.Decode(creator, who); err != nil || !who.System() {
		return "", record.Refuse(record.CodeForbidden, "only the node")
	}
	c := new(record.OrderingConfig)
	if err := record.Decode([]byte(config), c); err != nil {
		return "", record.Refuse(record.CodeBadRequest, "config")
	}
	if c.ConfigSeq == 666 {
		return "", record.Refuse(record.CodeWrongState, "config of the beast")
	}
	return config, ctx.GetStub().PutState("membership/config", []byte(config))
}

type strings1 struct{}

func (strings1) FromString(arg string, _ reflect.Type, _ *metadata.ParameterMetadata, _ *metadata.ComponentMetadata) (reflect.Value, error) {
	return reflect.ValueOf(arg), nil
}

func (strings1) ToString(v reflect.Value, _ reflect.Type, _ *metadata.ReturnMetadata, _ *metadata.ComponentMetadata) (string, error) {
	return v.String(), nil
}

// toys returns the toy contracts.
func toys(t testing.TB) Contracts {
	t.Helper()
	a, b := new(toy), new(members)
	a.Name, b.Name = "toy", "membership"
	a.TransactionContextHandler, b.TransactionContextHandler = new(toyContext), new(toyContext)
	cc, err := contractapi.NewChaincode(a, b)
	if err != nil {
		t.Fatal(err)
	}
	cc.TransactionSerializer = strings1{}
	functions := map[string]Function{"membership.ApplyConfig": {Args: 1}}
	typ := reflect.TypeFor[*toy]()
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		if m.Type.NumIn() < 2 || m.Type.In(1) != reflect.TypeFor[*toyContext]() {
			continue
		}
		functions["toy."+m.Name] = Function{Args: m.Type.NumIn() - 2}
	}
	for _, name := range a.GetEvaluateTransactions() {
		f := functions["toy."+name]
		f.Read = true
		functions["toy."+name] = f
	}
	return Contracts{Chaincode: cc, Lookup: func(c, f string) (Function, bool) { fn, ok := functions[c+"."+f]; return fn, ok }}
}

type logLines struct{ strings.Builder }

func (l *logLines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// spy looks on whenever the chaincode is invoked.
type spy struct {
	shim.Chaincode
	look func()
}

func (s spy) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	s.look()
	return s.Chaincode.Invoke(stub)
}
