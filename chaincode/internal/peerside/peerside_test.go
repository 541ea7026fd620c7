package peerside_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"go.uber.org/goleak"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/assent-network/assent/chaincode/internal/peerside"
	"github.com/assent-network/assent/chaincode/internal/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a chaincode that does what its arguments say, one step after the
// other, and returns what it read.
type script struct{}

func (c script) Init(s shim.ChaincodeStubInterface) *peer.Response { return c.Invoke(s) }

func (script) Invoke(s shim.ChaincodeStubInterface) *peer.Response {
	var out strings.Builder
	for _, step := range s.GetStringArgs() {
		words := strings.Split(step, " ")
		var err error
		switch words[0] {
		case "put":
			err = s.PutState(words[1], []byte(words[2]))
		case "del":
			err = s.DelState(words[1])
		case "get":
			var v []byte
			v, err = s.GetState(words[1])
			fmt.Fprintf(&out, "%s;", v)
		case "both":
			var v [][]byte
			v, err = s.GetMultipleStates(words[1:]...)
			fmt.Fprintf(&out, "%s;", v)
		case "range":
			err = walk(&out, s, words[1], words[2])
		case "page":
			it, meta, e := s.GetStateByRangeWithPagination(words[1], words[2], 2, words[3])
			if err = e; err == nil {
				for it.HasNext() {
					kv, _ := it.Next()
					fmt.Fprintf(&out, "%s ", kv.GetKey())
				}
				fmt.Fprintf(&out, "next %s;", meta.GetBookmark())
			}
		case "history":
			it, e := s.GetHistoryForKey(words[1])
			if err = e; err == nil {
				for it.HasNext() {
					m, _ := it.Next()
					fmt.Fprintf(&out, "%s=%s/%v ", m.GetTxId(), m.GetValue(), m.GetIsDelete())
				}
			}
		case "policy":
			err = s.SetStateValidationParameter(words[1], []byte(words[2]))
		case "policyof":
			var v []byte
			v, err = s.GetStateValidationParameter(words[1])
			fmt.Fprintf(&out, "%s;", v)
		case "batch":
			s.StartWriteBatch()
		case "query":
			_, err = s.GetQueryResult("{}")
		case "secret":
			_, err = s.GetPrivateData("c", "k")
		case "warn":
			return &peer.Response{Status: 400, Message: "no"}
		}
		if err != nil {
			return shim.Error(err.Error())
		}
	}
	return shim.Success([]byte(out.String()))
}

func walk(out *strings.Builder, s shim.ChaincodeStubInterface, start, end string) error {
	it, err := s.GetStateByRange(start, end)
	if err != nil {
		return err
	}
	for it.HasNext() {
		kv, err := it.Next()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s=%s ", kv.GetKey(), kv.GetValue())
	}
	return it.Close()
}

func dial(t *testing.T, batches bool) *peerside.Peer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, service.Config{CCID: "script:1", Listener: listener, Chaincode: script{}})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	p, err := peerside.Dial(t.Context(), peerside.Config{
		Address: listener.Addr().String(), Credentials: insecure.NewCredentials(), Batches: batches, PageRows: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

var count int

func simulate(t *testing.T, p *peerside.Peer, steps ...string) *peerside.Simulation {
	t.Helper()
	count++
	sim, err := p.Simulate(t.Context(), &peerside.Proposal{Channel: "c", TxID: fmt.Sprint("t", count), Time: time.Unix(1, 0), Args: steps})
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

// read is what the steps return.
func read(t *testing.T, p *peerside.Peer, steps ...string) string {
	t.Helper()
	sim := simulate(t, p, steps...)
	if !sim.Endorsed() {
		t.Fatal(sim.Failure, sim.Response)
	}
	return string(sim.Response.GetPayload())
}

func TestStateIsWhatWasCommitted(t *testing.T) {
	for _, batches := range []bool{false, true} {
		t.Run(fmt.Sprint("batches ", batches), func(t *testing.T) {
			p := dial(t, batches)
			sim := simulate(t, p, "batch", "put a 1", "put b 2", "put c 3", "put d 4", "put e 5", "policy a two", "get a")
			if string(sim.Response.GetPayload()) != ";" {
				t.Error("a simulation sees its own write")
			}
			if got := read(t, p, "get a"); got != ";" {
				t.Error("a write shows before its block")
			}
			p.Commit("c", sim)
			for step, want := range map[string]string{
				"get a":       "1;",
				"get none":    ";",
				"both a none": "[1 ];",
				"range a d":   "a=1 b=2 c=3 ",
				"range  ":     "a=1 b=2 c=3 d=4 e=5 ",
				"range x ":    "",
				"page a e ":   "a b next c;",
				"page a e c":  "c d next ;",
				"policyof a":  "two;",
				"policyof b":  ";",
			} {
				if got := read(t, p, step); got != want {
					t.Errorf("%s: %q, want %q", step, got, want)
				}
			}
			p.Commit("c", simulate(t, p, "batch", "del a", "put b 22"))
			if got := read(t, p, "range  "); got != "b=22 c=3 d=4 e=5 " {
				t.Errorf("after the second block: %s", got)
			}
			if got := read(t, p, "history a"); strings.Count(got, "=") != 2 || !strings.Contains(got, "=/true ") {
				t.Errorf("history: %s", got)
			}
			if len(p.History("c", "b")) != 2 || len(p.Rows("other")) != 0 {
				t.Error("history or channels are mixed up")
			}
		})
	}
}

func TestBlocksAreValidatedAsInFabric(t *testing.T) {
	p := dial(t, true)
	p.Load("c", map[string][]byte{"a": []byte("1"), "b": []byte("1")})
	for _, c := range []struct {
		name  string
		steps [][]string
		want  []peerside.Verdict
	}{
		{"two that read and write one key", [][]string{{"get a", "put a 2"}, {"get a", "put a 3"}}, []peerside.Verdict{peerside.Valid, peerside.Conflict}},
		{"two that write without reading", [][]string{{"put a 2"}, {"put a 3"}}, []peerside.Verdict{peerside.Valid, peerside.Valid}},
		{"two keys", [][]string{{"get a", "put a 2"}, {"get b", "put b 3"}}, []peerside.Verdict{peerside.Valid, peerside.Valid}},
		{"a key that appears", [][]string{{"get new", "put new 1"}, {"get new", "put new 2"}}, []peerside.Verdict{peerside.Valid, peerside.Conflict}},
		{"a key that goes", [][]string{{"del new"}, {"get new", "put x 1"}}, []peerside.Verdict{peerside.Valid, peerside.Conflict}},
		{"a range that grows", [][]string{{"put b1 1"}, {"range a c", "put x 2"}}, []peerside.Verdict{peerside.Valid, peerside.Phantom}},
		{"a range that changes", [][]string{{"put b 7"}, {"range a c", "put x 3"}}, []peerside.Verdict{peerside.Valid, peerside.Phantom}},
		{"a range elsewhere", [][]string{{"put z 7"}, {"range a c", "put x 4"}}, []peerside.Verdict{peerside.Valid, peerside.Valid}},
	} {
		var sims []*peerside.Simulation
		for _, steps := range c.steps {
			sims = append(sims, simulate(t, p, steps...))
		}
		if got := p.Commit("c", sims...); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := p.Commit("c", sims[0]); got[0] != peerside.DuplicateTx {
			t.Errorf("%s, the first again: %v", c.name, got)
		}
	}
}

func TestWhatIsNotServedIsAnError(t *testing.T) {
	p := dial(t, false)
	for _, step := range []string{"query", "secret", "put  v"} {
		if sim := simulate(t, p, step); sim.Endorsed() {
			t.Errorf("%q was served", step)
		}
	}
	if sim := simulate(t, p, "warn"); sim.Endorsed() || sim.Response.GetStatus() != 400 {
		t.Errorf("status 400 is endorsed: %+v", sim)
	}
	if sim := simulate(t, p, "get a"); !sim.Endorsed() {
		t.Error("the stream does not go on")
	}
}

func TestDialNamesWhatFails(t *testing.T) {
	if _, err := peerside.Dial(t.Context(), peerside.Config{Address: "127.0.0.1:1", Credentials: insecure.NewCredentials()}); err == nil {
		t.Error("nobody answered, and that was fine")
	}
	p := dial(t, false)
	if p.CCID() != "script:1" {
		t.Errorf("registered as %s", p.CCID())
	}
	p.Cut()
	if _, err := p.Begin(&peerside.Proposal{Channel: "c", TxID: "t", Args: []string{"get a"}}); err == nil || p.Err() == nil {
		t.Error("a stream that was cut takes proposals")
	}
}
