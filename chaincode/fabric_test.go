package chaincode_test

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/fabric"
	"github.com/assent-network/assent/chaincode/internal/memledger"
	"github.com/assent-network/assent/chaincode/internal/peerside"
	"github.com/assent-network/assent/chaincode/internal/service"
	"github.com/assent-network/assent/chaincode/record"
)

const channel = "lending"

// seen is one call that a story made.
type seen struct {
	memledger.Call
	now      record.Millis
	readOnly bool
	code     record.Code
}

// TestScenariosComeOutTheSameOnAFabricPeer makes every call of every scenario
// through the chaincode service, for a peer on the other side of a socket, and
// on the ledger in memory beside it: results, events, write sets and states must
// be equal byte by byte.
//
// A client key on Fabric has another address, so a story is told once to find who
// calls, and then again with the addresses of certificates in their place.
func TestScenariosComeOutTheSameOnAFabricPeer(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios, %v", err)
	}
	for i, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			f := newFabric(t, i%2 == 0)
			for n, c := range f.retell(file) {
				f.both(n, &c)
			}
		})
	}
}

// recordScenario plays a story and returns its calls with their codes.
func recordScenario(t testing.TB, file string) []seen {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newScenario(t, map[record.Code]bool{})
	var calls []seen
	s.Seen = func(c memledger.Call, now record.Millis, readOnly bool) {
		calls = append(calls, seen{Call: c, now: now, readOnly: readOnly})
	}
	for _, block := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		script, _, _ := strings.Cut(block, "\n----")
		s.run(script)
	}
	// Once more for the codes: Seen comes before the call.
	again := newWorld(t)
	for i := range calls {
		calls[i].code = again.again(&calls[i]).Code
	}
	return calls
}

// again makes a call that was seen.
func (w *world) again(c *seen) memledger.Result {
	w.t.Helper()
	w.Now = c.now
	run := w.Submit
	if c.readOnly {
		run = w.Evaluate
	}
	r, err := run(c.Call)
	if err != nil {
		w.t.Fatalf("%s: %v", c.Function, err)
	}
	return r
}

// fabricNet is a chaincode service, a peer connected to it, and the ledger in
// memory that must come out the same.
type fabricNet struct {
	t       testing.TB
	peer    *peerside.Peer
	mirror  *world
	clock   atomic.Int64
	current atomic.Pointer[fabric.Chaincode]

	approved map[record.Hash]*fabric.Chaincode     // by what its operator approved
	ids      map[record.Address]*peerside.Identity // by the address that stands for them
}

// Init and Invoke pass on to the chaincode in force: its operator approves one
// config after the other.
func (f *fabricNet) Init(s shim.ChaincodeStubInterface) *peer.Response {
	return f.current.Load().Init(s)
}
func (f *fabricNet) Invoke(s shim.ChaincodeStubInterface) *peer.Response {
	return f.current.Load().Invoke(s)
}

func (f *fabricNet) approve(hash record.Hash) {
	f.t.Helper()
	if f.approved[hash] == nil {
		cc, err := fabric.New(fabric.Config{Approved: hash, Now: f.clock.Load})
		if err != nil {
			f.t.Fatal(err)
		}
		f.approved[hash] = cc
	}
	f.current.Store(f.approved[hash])
}

func newFabric(t testing.TB, batches bool) *fabricNet {
	t.Helper()
	f := &fabricNet{t: t, mirror: newWorld(t), ids: map[record.Address]*peerside.Identity{}, approved: map[record.Hash]*fabric.Chaincode{}}
	f.clock.Store(start)
	f.approve(record.Hash{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, service.Config{CCID: "datashare:test", Listener: listener, Chaincode: f})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	f.peer, err = peerside.Dial(t.Context(), peerside.Config{
		Address: listener.Addr().String(), Credentials: insecure.NewCredentials(), Batches: batches, PageRows: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.peer.Close() })
	return f
}

// retell returns the calls of a story in which everybody who calls, and every
// admin in a config, has a certificate.
func (f *fabricNet) retell(file string) []seen {
	f.t.Helper()
	first := recordScenario(f.t, file)
	standIns = f.certify(first)
	defer func() { standIns = nil }()
	second := recordScenario(f.t, file)
	if len(first) != len(second) {
		f.t.Fatalf("%d calls with certificates, %d without", len(second), len(first))
	}
	for i := range second {
		switch second[i].Function {
		case "membership:Propose", "membership:Approve", "membership:Withdraw":
			// Approvals of Assent's own ordering configs are signed by secp256k1 keys,
			// which no certificate has. From here on the stories may differ.
			return second
		}
		if second[i].code != first[i].code {
			f.t.Fatalf("call %d, %s: %s with certificates, %s without", i, second[i].Function, second[i].code, first[i].code)
		}
	}
	return second
}

// certify makes the certificates, and returns which address stands for which.
func (f *fabricNet) certify(calls []seen) map[record.Address]record.Address {
	f.t.Helper()
	old := map[record.Address]bool{}
	for i := range calls {
		if key, err := record.ParseAddress(calls[i].Creator.Address); err == nil {
			old[key] = true
		}
		if calls[i].Function == "membership:ApplyConfig" && len(calls[i].Args) == 1 {
			if c, err := record.Parse[record.OrderingConfig](calls[i].Args[0]); err == nil {
				for _, m := range c.Members {
					for _, key := range m.AdminKeys {
						old[key] = true
					}
				}
			}
		}
	}
	var identities []*peerside.Identity
	for range old {
		id, err := peerside.NewIdentity("", "client")
		if err != nil {
			f.t.Fatal(err)
		}
		identities = append(identities, id)
	}
	// The same order, because lists of addresses are sorted.
	slices.SortFunc(identities, func(a, b *peerside.Identity) int {
		return fabric.KeyAddress(a.Certificate).Cmp(fabric.KeyAddress(b.Certificate))
	})
	sorted := slices.SortedFunc(maps.Keys(old), func(a, b record.Address) int { return a.Cmp(b) })
	out := map[record.Address]record.Address{}
	for i, key := range sorted {
		out[key] = fabric.KeyAddress(identities[i].Certificate)
		f.ids[out[key]] = identities[i]
	}
	return out
}

// creator is the identity on Fabric of a call's creator. The node itself becomes
// an admin of the config that is applied.
func (f *fabricNet) creator(c *seen) []byte {
	f.t.Helper()
	who := *c.Creator
	if who.System() {
		if config, err := record.Parse[record.OrderingConfig](c.Args[0]); err == nil {
			who = *record.NewCreator(config.Members[0].OrgID, config.Members[0].AdminKeys[0])
		} else { // no member of that name: refused, whatever is called
			who = *record.NewCreator("nobody", slices.Collect(maps.Keys(f.ids))[0])
		}
	}
	key, err := record.ParseAddress(who.Address)
	if err != nil {
		f.t.Fatal(err)
	}
	id := *f.ids[key]
	id.MSP = string(who.OrgID)
	return id.Serialized()
}

// both makes a call on both sides and compares. It returns the code of both.
func (f *fabricNet) both(n int, c *seen) record.Code {
	f.t.Helper()
	f.clock.Store(c.now)
	if c.Creator.System() {
		f.approve(fabric.Approval(channel, c.Args[0]))
	} else {
		f.approve(record.Hash{})
	}
	want := f.mirror.again(c)
	sim, err := f.peer.Simulate(f.t.Context(), &peerside.Proposal{
		Channel: channel, TxID: strings.TrimPrefix(c.TxID.Hex(), "0x"), Creator: f.creator(c),
		Time: time.UnixMilli(c.now), Args: append([]string{c.Function}, c.Args...),
	})
	if err != nil {
		f.t.Fatalf("call %d, %s: %v", n, c.Function, err)
	}
	got := resultOf(f.t, sim)
	switch {
	case c.Creator.OrgID == "" && got.Code == record.CodeUnknownKey && want.Code != record.OK:
		want = got // a stranger is refused before a contract is asked
	case got.Code == want.Code && c.Function == "membership:ApplyConfig":
		want.Message = got.Message // so is a config that nobody approved
	}
	if !reflect.DeepEqual(want, got) { // a Diff of what is equal costs more than the call
		f.t.Fatalf("call %d, %s as %s (-ledger in memory +peer):\n%s", n, c.Function, c.Creator.OrgID, gocmp.Diff(want, got))
	}
	if !c.readOnly && sim.Endorsed() {
		if v := f.peer.Commit(channel, sim); v[0] != peerside.Valid {
			f.t.Fatalf("call %d, %s: %s", n, c.Function, v[0])
		}
	}
	if rows := f.peer.Rows(channel); !maps.EqualFunc(f.mirror.State, rows, bytes.Equal) {
		f.t.Fatalf("state after call %d, %s (-ledger in memory +peer):\n%s", n, c.Function, gocmp.Diff(f.mirror.State, rows))
	}
	return got.Code
}

// resultOf reads a simulation as the ledger in memory would tell it.
func resultOf(t testing.TB, sim *peerside.Simulation) memledger.Result {
	t.Helper()
	if sim.Failure != "" {
		t.Fatal(sim.Failure)
	}
	if !sim.Endorsed() {
		code, coded := record.CodeOfText(sim.Response.GetMessage())
		if !coded {
			t.Fatalf("error without a code: %s", sim.Response.GetMessage())
		}
		return memledger.Result{Code: code, Message: sim.Response.GetMessage()}
	}
	r := memledger.Result{Code: record.OK, Payload: string(sim.Response.GetPayload()), Writes: sim.Writes}
	if e := sim.Event; e != nil {
		r.Event = memledger.Event{Name: e.GetEventName(), Payload: e.GetPayload()}
	}
	return r
}

// TestEveryFunctionAnswersThroughTheService calls each function of the table,
// also those that are added later, with as many arguments as it takes, one less
// and one more.
func TestEveryFunctionAnswersThroughTheService(t *testing.T) {
	f := newFabric(t, true)
	calls := f.retell("testdata/scenarios/query.txt")
	for n := range calls {
		f.both(n, &calls[n])
	}
	last := calls[len(calls)-1]
	lender := slices.IndexFunc(calls, func(c seen) bool { return c.Creator.OrgID == "lender-a" && !c.readOnly })
	const secret = "SECRET 110101199001011237"
	for i, fn := range chaincode.Functions() {
		for _, args := range []int{fn.Args - 1, fn.Args, fn.Args + 1} {
			if args < 0 {
				continue
			}
			c := seen{now: last.now, readOnly: fn.Evaluate, Call: memledger.Call{
				Creator: calls[lender].Creator, TxID: hashOf(fn.Name + fn.Contract + string(rune('a'+args+i))),
				Function: fn.Contract + ":" + fn.Name, Args: slices.Repeat([]string{secret}, args),
			}}
			code := f.both(i, &c)
			if (args == fn.Args) == (code == record.CodeUnknownFunction) {
				t.Errorf("%s with %d arguments: %s", c.Function, args, code)
			}
		}
	}
}

// TestEventNamesAreUnique: a Fabric event carries no contract name, so a
// listener must know an event by its name alone.
func TestEventNamesAreUnique(t *testing.T) {
	files, _ := filepath.Glob("testdata/scenarios/*.txt")
	contractOf := map[string]string{}
	for _, file := range files {
		w := newWorld(t)
		for _, c := range recordScenario(t, file) {
			name := w.again(&c).Event.Name
			contract, _, _ := strings.Cut(c.Function, ":")
			if other := cmp.Or(contractOf[name], contract); name != "" && other != contract {
				t.Errorf("event %q is of contract %s and of %s", name, other, contract)
			}
			contractOf[name] = contract
		}
	}
	if len(contractOf) < 5 {
		t.Errorf("the scenarios show only %d events", len(contractOf))
	}
}
