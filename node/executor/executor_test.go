package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

func pairs(t testing.TB, list ...string) string {
	t.Helper()
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (n *network) toy(function string, args ...string) *state.Outcome {
	n.t.Helper()
	return n.submit("lender-a", "lender-a-app", "toy", function, args...)
}

// Each way a call can be refused has its code; nothing but the code enters the
// receipt, and nothing is written.
func TestRefusals(t *testing.T) {
	const large = 1 << 20
	for name, tc := range map[string]struct {
		function string
		args     []string
		code     record.Code
		message  string // part of it
	}{
		"unknown function":          {"Nothing", nil, record.CodeUnknownFunction, "no such"},
		"function in lower case":    {"put", []string{"[]"}, record.CodeUnknownFunction, "no such"},
		"function of the library":   {"GetName", nil, record.CodeUnknownFunction, "no such"},
		"too few arguments":         {"Put", nil, record.CodeUnknownFunction, "takes 1 arguments, 0"},
		"too many arguments":        {"Put", []string{"[]", "[]"}, record.CodeUnknownFunction, "takes 1 arguments, 2"},
		"read function":             {"Get", []string{"toy/1"}, record.CodeReadOnlyFunction, "only reads"},
		"refused by the contract":   {"Refuse", []string{"WRONG_STATE: the moon is full"}, record.CodeWrongState, "the moon is full"},
		"refused after a write":     {"WriteAndRefuse", nil, record.CodeForbidden, "changed my mind"},
		"error without a code":      {"Refuse", []string{"something personal"}, record.CodePanic, "defect"},
		"error with a made-up code": {"Refuse", []string{"MADE_UP: text"}, record.CodePanic, "defect"},
		"error that says OK":        {"Refuse", []string{"OK: text"}, record.CodePanic, "defect"},
		"panic":                     {"Panic", []string{"word"}, record.CodePanic, "defect"},
		"panic of the runtime":      {"Panic", []string{"runtime"}, record.CodePanic, "defect"},
		"foreign key":               {"Swallow", []string{"other/1", "3"}, record.CodeForbidden, "own name"},
		"key with a similar name":   {"Swallow", []string{"toys/1", "3"}, record.CodeForbidden, "own name"},
		"key without a rest":        {"Swallow", []string{"toy/", "3"}, record.CodeForbidden, "own name"},
		"key without a contract":    {"Swallow", []string{"1", "3"}, record.CodeForbidden, "own name"},
		"key too long":              {"Swallow", []string{"toy/" + strings.Repeat("k", 600), "3"}, record.CodeLimitExceeded, "a key has 604"},
		"value too large":           {"Swallow", []string{"toy/1", strconv.Itoa(large)}, record.CodeLimitExceeded, "a value has"},
		"empty value":               {"Swallow", []string{"toy/1", "0"}, record.CodeBadRequest, "empty value"},
		"endless reading":           {"Loop", []string{"get"}, record.CodeLimitExceeded, "calls"},
		"endless writing":           {"Loop", []string{"put"}, record.CodeLimitExceeded, "rows written"},
		"endless events":            {"Loop", []string{"event"}, record.CodeLimitExceeded, "calls"},
		"endless ranges":            {"Loop", []string{"range"}, record.CodeLimitExceeded, "bytes read"},
		"endless large reads":       {"Loop", []string{"read large"}, record.CodeLimitExceeded, "bytes read"},
		"too large a result":        {"Large", []string{strconv.Itoa(large)}, record.CodeLimitExceeded, "returned"},
		"too large an event":        {"Put", []string{"[" + strings.Repeat(" ", 300_000) + "]"}, record.CodeLimitExceeded, "event"},
		"pages in a transaction":    {"PageInTransaction", nil, record.CodeForbidden, "read calls"},
		"composite range bound":     {"RangeInTransaction", []string{"\x00a", ""}, record.CodeBadRequest, "composite"},
		"log row overwritten":       {"Put", []string{`["toy/log/1","again"]`}, record.CodeAlreadyExists, "once"},
		"log row deleted":           {"Put", []string{`["toy/log/1",""]`}, record.CodeAlreadyExists, "once"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, toys(t))
			lines := new(logLines)
			n.exec.log = lines.logger()
			if o := n.toy("Put", pairs(t, "toy/1", "one", "toy/large", strings.Repeat("x", 200_000), "toy/log/1", "first")); o.Code != "OK" {
				t.Fatal(o.Code, o.Message)
			}
			before := n.db.View().Roots()
			o := n.toy(tc.function, tc.args...)
			if o.Code != string(tc.code) || !strings.Contains(o.Message, tc.message) {
				t.Fatalf("code %s, message %q; want %s, %q", o.Code, o.Message, tc.code, tc.message)
			}
			if len(o.Events)+len(o.Writes)+len(o.Payload) != 0 || len(o.Message) > maxMessage {
				t.Errorf("a refused transaction left %+v", o)
			}
			after := n.db.View().Roots()
			if after.State != before.State || after.ReceiptsSize != before.ReceiptsSize+1 {
				t.Errorf("roots before %v, after %v", before, after)
			}
			for _, secret := range []string{"personal", "secret", "MADE_UP"} {
				if strings.Contains(lines.String(), secret) || strings.Contains(o.Message, secret) {
					t.Errorf("%q reached the log or the outcome:\n%s%s", secret, lines, o.Message)
				}
			}
			if (tc.code == record.CodePanic) != (lines.Len() > 0) {
				t.Errorf("log: %s", lines)
			}
			n.verify()
		})
	}
}

// verify checks the whole database.
func (n *network) verify() {
	n.t.Helper()
	if err := n.db.Flush(); err != nil {
		n.t.Fatal(err)
	}
	if _, err := n.db.Verify(n.t.Context(), nil); err != nil {
		n.t.Fatal(err)
	}
}

func TestUnknownContract(t *testing.T) {
	n := newNetwork(t, toys(t))
	for _, contract := range []string{"nobody", "Toy", "org.hyperledger.fabric"} {
		if o := n.submit("lender-a", "lender-a-app", contract, "GetMetadata"); o.Code != string(record.CodeUnknownFunction) {
			t.Errorf("%s: %s", contract, o.Code)
		}
	}
}

// A transaction sees what those before it in the block wrote, and never what it
// wrote itself.
func TestReadsSeeThePreviousTransaction(t *testing.T) {
	n := newNetwork(t, toys(t))
	for range 3 {
		n.add("lender-a", "lender-a-app", "toy", "Increment", "toy/counter")
	}
	var got []string
	for _, o := range n.commit().Outcomes {
		got = append(got, string(o.Payload))
	}
	got = append(got, string(n.toy("Increment", "toy/counter").Payload))
	if diff := cmp.Diff([]string{"→", "1→1", "2→2", "3→3"}, got); diff != "" {
		t.Error(diff)
	}
	n.verify()
}

// A transaction that was executed before, in the same or an earlier block,
// leaves a receipt that says so and nothing else; by its id the first is found.
func TestDuplicates(t *testing.T) {
	n := newNetwork(t, toys(t))
	tx := n.add("lender-a", "lender-a-app", "toy", "Increment", "toy/counter")
	n.txs = append(n.txs, tx)
	r := n.commit()
	n.txs = append(n.txs, tx)
	r2 := n.commit()
	codes := []string{r.Outcomes[0].Code, r.Outcomes[1].Code, r2.Outcomes[0].Code}
	if diff := cmp.Diff([]string{"OK", "DUPLICATE", "DUPLICATE"}, codes); diff != "" {
		t.Error(diff)
	}
	o, err := n.db.View().Find(tx.ID())
	if err != nil || o.Code != "OK" || o.Position != r.Outcomes[0].Position {
		t.Errorf("found %+v, %v", o, err)
	}
	if v, _ := n.evaluate("toy", "Get", "toy/counter"); v != "1" {
		t.Errorf("the counter is %q", v)
	}
	n.verify()
}

// What the stub tells a contract about its call.
func TestWhatAContractIsTold(t *testing.T) {
	n := newNetwork(t, toys(t))
	tx := n.add("lender-a", "lender-a-app", "toy", "Describe", "ä")
	o := n.commit().Outcomes[0]
	want := fmt.Sprintf(`%s %s %d {"address":%q,"org":"lender-a"} toy:Describe[ä] [toy:Describe ä] 2toy:Describeä`,
		tx.ID().Hex(), n.exec.chain.Hex(), genesisTime+1, strings.ToLower(signer("lender-a-app").Address().Hex()))
	if got := string(o.Payload); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got, _ := n.evaluate("toy", "Who"); got != fmt.Sprintf(`{"address":%q,"org":"lender-a"}`, strings.ToLower(signer("lender-a-app").Address().Hex())) {
		t.Errorf("a read call is made by %s", got)
	}
}

func TestUnsupportedSaysWhatToDo(t *testing.T) {
	n := newNetwork(t, toys(t))
	o := n.toy("Unsupported")
	said := strings.Split(string(o.Payload), "\n")
	if o.Code != "OK" || len(said) != 19 {
		t.Fatalf("%s, %d sentences: %s", o.Code, len(said), o.Payload)
	}
	for _, s := range said {
		if !strings.Contains(s, "this ledger has none: ") {
			t.Errorf("%q", s)
		}
	}
}

// The outcome, its receipt and its events are what the state keeps, and can be
// proven.
func TestOutcomes(t *testing.T) {
	n := newNetwork(t, toys(t))
	n.add("lender-a", "lender-a-app", "toy", "Put", pairs(t, "toy/2", "two", "toy/log/x", "logged", "toy/1", "one", "toy/1", "uno"))
	n.add("lender-a", "lender-a-app", "toy", "Refuse", "FORBIDDEN: "+strings.Repeat("ä", 300))
	r := n.commit()
	for _, o := range r.Outcomes {
		kept, err := n.db.View().Find(o.TxID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(o, kept, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-executed +kept):\n%s", diff)
		}
		p, err := n.db.ProveReceipt(o.TxID, r.Roots.ReceiptsSize)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Verify(&ledger.Header{ReceiptsSize: r.Roots.ReceiptsSize, ReceiptsRoot: r.Roots.Receipts}); err != nil {
			t.Error(err)
		}
	}
	o := r.Outcomes[0]
	want := ledger.HashedWrites([]ledger.Write{{Key: "toy/1", Value: []byte("uno")}, {Key: "toy/2", Value: []byte("two")}, {Key: "toy/log/x", Value: []byte("logged")}})
	if diff := cmp.Diff(want, o.Writes); diff != "" {
		t.Error(diff)
	}
	if len(o.Events) != 1 || o.Events[0].Contract != "toy" || o.Events[0].Name != "put" || string(o.Payload) != "put" {
		t.Errorf("%+v", o)
	}
	if m := r.Outcomes[1].Message; len(m) > maxMessage || !strings.HasSuffix(m, "ä") {
		t.Errorf("message of %d bytes: %q", len(m), m)
	}
	p, err := n.db.ProveState(r.Height, "toy/1")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(r.Roots.State); err != nil || string(p.Value) != "uno" {
		t.Errorf("%q, %v", p.Value, err)
	}
}

// Ranges, pages and composite keys, over rows on disk and in memory.
func TestIterators(t *testing.T) {
	n := newNetwork(t, toys(t))
	for i := range 150 {
		n.add("lender-a", "lender-a-app", "toy", "Put", pairs(t, fmt.Sprintf("toy/ix/%03d", i), strconv.Itoa(i)))
		if i%50 == 20 {
			n.commit()
			if i < 100 {
				n.verify() // flushes
			}
		}
	}
	for _, parts := range []string{"a,1", "a,2", "b,1", "ab,1"} {
		n.add("lender-a", "lender-a-app", "toy", "Compose", "pair", parts)
	}
	n.add("lender-a", "lender-a-app", "toy", "Compose", "other", "z")
	for _, o := range n.commit().Outcomes {
		if o.Code != "OK" {
			t.Fatal(o.Code, o.Message)
		}
	}
	for _, tc := range []struct {
		function string
		args     []string
		want     string
	}{
		{"Rows", []string{"toy/ix/003", "toy/ix/006"}, "toy/ix/003=3 toy/ix/004=4 toy/ix/005=5"},
		{"Rows", []string{"toy/ix/149", ""}, "toy/ix/149=149"},
		{"Rows", []string{"toy/iy", "toy/ix"}, ""},
		{"Page", []string{"3", ""}, "3 [toy/ix/000 toy/ix/001 toy/ix/002]toy/ix/003"},
		{"Page", []string{"2", "toy/ix/148"}, "2 [toy/ix/148 toy/ix/149]"},
		{"Composites", []string{"pair", "a", "0", ""}, "pair:a,1=a,1 pair:a,2=a,2|"},
		{"Composites", []string{"pair", "", "0", ""}, "pair:a,1=a,1 pair:a,2=a,2 pair:ab,1=ab,1 pair:b,1=b,1|"},
		{"Composites", []string{"pair", "", "3", ""}, "pair:a,1=a,1 pair:a,2=a,2 pair:ab,1=ab,1|/pair/b/1/"},
		{"Composites", []string{"", "", "1", ""}, "other:z=z|/pair/a/1/"},
	} {
		if got, code := n.evaluate("toy", tc.function, tc.args...); code != record.OK || got != tc.want {
			t.Errorf("%s%q:\n got %s %s\nwant %s", tc.function, tc.args, code, got, tc.want)
		}
	}
	all, _ := n.evaluate("toy", "Rows", "toy/", "toy0")
	if c := strings.Count(all, "toy/ix/"); c != 150 || strings.Contains(all, "\x00") {
		t.Errorf("%d rows in: %q", c, all)
	}
	if got := n.toy("RangeInTransaction", "toy/ix/", "toy/ix0"); string(got.Payload) != "150" {
		t.Errorf("a transaction counts %s rows", got.Payload)
	}
	for _, bad := range [][]string{{"0", ""}, {"-1", ""}, {"2000000", ""}, {"2", "zzz"}} {
		if got, code := n.evaluate("toy", "Page", bad...); code != record.CodeBadRequest {
			t.Errorf("page %q: %s %s", bad, code, got)
		}
	}
}

// Read calls are refused what they may not do, and never change anything.
func TestReadCalls(t *testing.T) {
	n := newNetwork(t, toys(t))
	n.must("lender-a", "lender-a-app", "toy", "Put", pairs(t, "toy/1", "one"))
	for _, tc := range []struct {
		contract, function string
		args               []string
		want               record.Code
	}{
		{"toy", "Get", []string{"toy/1"}, record.OK},
		{"toy", "Get", []string{"toy/none"}, record.CodeNotFound},
		{"toy", "Get", []string{"toy/" + strings.Repeat("x", 2000)}, record.CodeLimitExceeded},
		{"toy", "Get", nil, record.CodeUnknownFunction},
		{"toy", "Nothing", nil, record.CodeUnknownFunction},
		{"toy", "Put", []string{"[]"}, record.CodeBadRequest},
		{"toy", "SneakyRead", []string{"put"}, record.CodeReadOnlyFunction},
		{"toy", "SneakyRead", []string{"delete"}, record.CodeReadOnlyFunction},
		{"toy", "SneakyRead", []string{"event"}, record.CodeReadOnlyFunction},
		{"toy", "SneakyRead", []string{strings.Repeat("x", 300_000)}, record.CodeLimitExceeded},
	} {
		if got, code := n.evaluate(tc.contract, tc.function, tc.args...); code != tc.want {
			t.Errorf("%s.%s %.40q: %s %s, want %s", tc.contract, tc.function, tc.args, code, got, tc.want)
		}
	}
	view := n.db.View()
	n.must("lender-a", "lender-a-app", "toy", "Put", pairs(t, "toy/1", "two"))
	who := Identity{"lender-a", ledger.Address{1}}
	if got, err := n.exec.Evaluate(t.Context(), view, who, "toy", "Get", [][]byte{[]byte("toy/1")}); err != nil || string(got) != "one" {
		t.Errorf("an old view says %q, %v", got, err)
	}
	if got, code := n.evaluate("toy", "Get", "toy/1"); got != "two" {
		t.Errorf("the newest view says %q, %s", got, code)
	}
	if _, err := n.exec.Evaluate(t.Context(), view, Identity{Org: strings.Repeat("x", 99)}, "toy", "Who", nil); !isCode(err, record.CodeUnknownKey) {
		t.Errorf("a caller without form: %v", err)
	}
}

func isCode(err error, code record.Code) bool {
	var r *record.Refusal
	return errors.As(err, &r) && r.Code == code
}

// A range that is too long is cut off by its rows as well.
func TestRangesAreBounded(t *testing.T) {
	n := newNetwork(t, toys(t))
	var list []string
	for i := range 2500 {
		list = append(list, fmt.Sprintf("toy/%05d", i), "x")
	}
	n.must("lender-a", "lender-a-app", "toy", "Put", pairs(t, list...))
	if o := n.toy("Loop", "range"); o.Code != string(record.CodeLimitExceeded) || !strings.Contains(o.Message, "rows in ranges") {
		t.Errorf("%s %s", o.Code, o.Message)
	}
}

// A read call ends with its context.
func TestReadCallsEndWithTheirContext(t *testing.T) {
	n := newNetwork(t, toys(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	args := [][]byte{[]byte("toy/"), []byte("toy0")}
	if _, err := n.exec.Evaluate(ctx, n.db.View(), Identity{"lender-a", ledger.Address{1}}, "toy", "Rows", args); !errors.Is(err, context.Canceled) {
		t.Fatalf("went on after its context ended: %v", err)
	}
}

// broken is a state that cannot be read.
type broken struct{ err error }

func (b broken) Get(string) ([]byte, bool, error)               { return nil, false, b.err }
func (b broken) Range(string, string, int) ([]state.Row, error) { return nil, b.err }

// A state that cannot be read is no refusal, whatever the contract makes of it.
func TestUnreadableStateIsNoVerdict(t *testing.T) {
	n := newNetwork(t, toys(t))
	disk := errors.New("disk on fire")
	for function, args := range map[string][][]byte{
		"Increment": {[]byte("toy/1")}, "Loop": {[]byte("get")}, "RangeInTransaction": {nil, nil},
	} {
		s := newStub(broken{disk}, invocation{call: Call{Contract: "toy", Function: function}, args: args}, transactionLimits)
		if v := n.exec.run(s); !errors.Is(v.err, disk) {
			t.Errorf("%s: %+v", function, v)
		}
	}
}

// What a crash took is executed again from the same blocks: same roots, same
// outcomes.
func TestBlocksAreExecutedAgainAfterACrash(t *testing.T) {
	n := newNetwork(t, toys(t))
	var want []*Result
	for i := range 30 {
		n.add("lender-a", "lender-a-app", "toy", "Increment", fmt.Sprintf("toy/%d", i%7))
		n.add("lender-a", "lender-a-app", "toy", "Put", pairs(t, fmt.Sprintf("toy/log/%d", i), "x", fmt.Sprintf("toy/ix/%d", i%5), strconv.Itoa(i)))
		if i%4 == 0 {
			n.txs = append(n.txs, n.txs[0])
		}
		want = append(want, n.commit())
		if i == 11 {
			if err := n.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := n.db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := state.Open(t.Context(), n.config)
	if err != nil {
		t.Fatal(err)
	}
	n.db = db // closed by the cleanup
	if n.exec, err = New(Config{DB: db, Genesis: genesis(), Contracts: n.exec.contracts}); err != nil {
		t.Fatal(err)
	}
	h, _, _ := db.Executed()
	if h != 12 {
		t.Fatalf("opened at height %d", h)
	}
	for _, b := range n.blocks[h+1:] {
		r, err := n.exec.Execute(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[r.Height-1], r); diff != "" {
			t.Fatalf("height %d (-first +again):\n%s", r.Height, diff)
		}
	}
	n.verify()
}

// Evaluations run beside execution.
func TestEvaluateWhileExecuting(t *testing.T) {
	n := newNetwork(t, toys(t))
	n.must("lender-a", "lender-a-app", "toy", "Put", pairs(t, "toy/a", "0", "toy/b", "0"))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := n.exec.Evaluate(t.Context(), n.db.View(), Identity{"lender-a", ledger.Address{1}}, "toy", "Rows", [][]byte{[]byte("toy/a"), []byte("toy/c")})
				a, b, _ := strings.Cut(string(got), " ")
				if err != nil || strings.TrimPrefix(a, "toy/a=") != strings.TrimPrefix(b, "toy/b=") {
					t.Errorf("%q, %v", got, err)
					return
				}
			}
		})
	}
	for i := range 100 {
		v := strconv.Itoa(i)
		n.must("lender-a", "lender-a-app", "toy", "Put", pairs(t, "toy/a", v, "toy/b", v))
		if i%20 == 0 {
			if err := n.db.Flush(); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	readers.Wait()
}

// Blocks of requests that are no transactions.
func TestOtherRequests(t *testing.T) {
	n := newNetwork(t, toys(t))
	seal, err := ledger.NewSeal(n.exec.chain, 0, signer("vote"))
	if err != nil {
		t.Fatal(err)
	}
	before := n.db.View().Roots()
	b := n.block()
	b.Requests = [][]byte{seal.Encode()}
	if r := n.execute(b, nil); r.Roots != before || len(r.Outcomes) != 0 {
		t.Errorf("a seal left %+v", r)
	}
	for i, seq := range []uint64{1, 666} {
		c := genesis()
		c.Seq, c.Validators[0].HostKey = seq, ledger.HostKey{0: 2, 32: 1} // a point of the curve
		u := &ledger.Update{ChainID: n.exec.chain, Config: c}
		b = n.block()
		b.Requests = [][]byte{u.Encode()}
		r := n.execute(b, nil)
		o := r.Outcomes[0]
		if want := []string{"OK", "WRONG_STATE"}[i]; o.Code != want || o.TxID != u.ID() {
			t.Errorf("config %d: %+v", seq, o)
		}
		b = n.block()
		b.Requests = [][]byte{u.Encode()}
		if o := n.execute(b, nil).Outcomes[0]; o.Code != string(record.CodeDuplicate) {
			t.Errorf("config %d twice: %+v", seq, o)
		}
	}
	b = n.block()
	b.Requests = [][]byte{{0xc0}}
	if _, err := n.exec.Execute(b, nil); err == nil || !strings.Contains(err.Error(), "older than the network") {
		t.Errorf("a request of the future: %v", err)
	}
}

// Genesis leaves one receipt, under the chain id.
func TestGenesis(t *testing.T) {
	n := newNetwork(t, Contracts{})
	o, err := n.db.View().Find(n.exec.chain)
	if err != nil || o.Height != 0 || o.Index != 0 || o.Code != "OK" || o.Time != genesisTime {
		t.Fatalf("%+v, %v", o, err)
	}
	if _, code := n.evaluate("membership", "GetMember", "bank-a"); code != record.OK {
		t.Errorf("the members of genesis are not there: %s", code)
	}
	n.verify()

	db, err := state.Create(t.Context(), state.Config{Dir: t.TempDir(), ChainID: ledger.Hash{1}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	bad := genesis()
	bad.Members[0].Roles = []string{"NOBODY"}
	e, err := New(Config{DB: db, Genesis: bad})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Execute(ledger.Genesis(bad), nil); err == nil || !strings.Contains(err.Error(), "make a new genesis") {
		t.Errorf("a genesis that no contract takes: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config{Contracts: Contracts{Lookup: func(string, string) (Function, bool) { return Function{}, false }}})
	for _, want := range []string{"DB", "Genesis", "Contracts"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no complaint about %s: %v", want, err)
		}
	}
}

// The watchdog sees the call that is running, and nothing afterwards.
func TestRunning(t *testing.T) {
	c := toys(t)
	var n *network
	seen := Call{}
	inner := c.Chaincode
	c.Chaincode = spy{inner, func() {
		if r := n.exec; r != nil && r.Running() != nil {
			seen = *r.Running()
		}
	}}
	n = &network{}
	n = newNetworkInto(t, n, c)
	tx := n.add("lender-a", "lender-a-app", "toy", "Panic", "x")
	n.commit()
	if want := (Call{"toy", "Panic", tx.ID()}); seen != want {
		t.Errorf("seen %+v, want %+v", seen, want)
	}
	if n.exec.Running() != nil {
		t.Error("something is still running")
	}
}

// afterwards looks when a contract has done its work and has not returned yet.
type afterwards struct {
	shim.Chaincode
	look func()
}

func (a afterwards) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	defer a.look() // also when it panics
	return a.Chaincode.Invoke(stub)
}

func TestTouchedIsTheKeyThatACallUsedLast(t *testing.T) {
	c := toys(t)
	var n *network
	var seen []string
	c.Chaincode = afterwards{c.Chaincode, func() {
		if r := n.exec; r != nil {
			seen = append(seen, r.Touched())
		}
	}}
	n = &network{}
	n = newNetworkInto(t, n, c)
	seen = nil
	n.add("lender-a", "lender-a-app", "toy", "Increment", "toy/counter")
	n.add("lender-a", "lender-a-app", "toy", "Panic", "x")
	n.commit()
	if want := []string{"toy/counter", "toy/ghost"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// A zero that is written out is no config, for the contract as for the ledger: it
// would give one config two hashes.
func TestAWrittenZeroIsNoConfig(t *testing.T) {
	good := inForce().Encode()
	var list []rlp.RawValue
	if err := rlp.DecodeBytes(good, &list); err != nil {
		t.Fatal(err)
	}
	var limits []uint64
	if err := rlp.DecodeBytes(list[len(list)-1], &limits); err != nil {
		t.Fatal(err)
	}
	limits = append(limits, 0)
	var err error
	if list[len(list)-1], err = rlp.EncodeToBytes(limits); err != nil {
		t.Fatal(err)
	}
	bad, err := rlp.EncodeToBytes(list)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := record.OutlineConfig(good); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"contract": second(record.OutlineConfig(bad)), "ledger": second(ledger.DecodeConfig(bad))} {
		if err == nil {
			t.Errorf("the %s takes a zero that is written out", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }
