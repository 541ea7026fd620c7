package service_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/assent-network/assent/chaincode/internal/peerside"
	"github.com/assent-network/assent/chaincode/internal/service"
)

const channel = "c"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// toy is a chaincode whose Invoke is the function called by name.
type toy map[string]func(shim.ChaincodeStubInterface, []string) ([]byte, error)

func (t toy) Init(s shim.ChaincodeStubInterface) *peer.Response { return t.Invoke(s) }

func (t toy) Invoke(s shim.ChaincodeStubInterface) *peer.Response {
	name, args := s.GetFunctionAndParameters()
	run, found := t[name]
	if !found {
		return shim.Error("no such function")
	}
	out, err := run(s, args)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(out)
}

var plain = toy{
	"put": func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		if err := s.PutState(a[0], []byte(a[1])); err != nil {
			return nil, err
		}
		return s.GetState(a[0])
	},
	"get": func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) { return s.GetState(a[0]) },
	"sum": func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		rows, err := s.GetStateByRange("", "")
		if err != nil {
			return nil, err
		}
		n := 0
		for rows.HasNext() {
			if _, err := rows.Next(); err != nil {
				return nil, err
			}
			n++
		}
		return fmt.Append(nil, n), rows.Close()
	},
}

// running is a service, and how it ends.
type running struct {
	t     testing.TB
	addr  string
	stop  context.CancelFunc
	ended chan error
}

func start(t testing.TB, cc shim.Chaincode, grace time.Duration) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, addr: listener.Addr().String(), stop: stop, ended: make(chan error, 1)}
	go func() {
		r.ended <- service.Run(ctx, service.Config{CCID: "toy:1", Listener: listener, Chaincode: cc, Grace: grace})
	}()
	t.Cleanup(func() { r.end() })
	return r
}

// end stops the service and waits for it.
func (r *running) end() {
	r.stop()
	if err, open := <-r.ended; open && err != nil {
		r.t.Error(err)
	} else if open {
		close(r.ended)
	}
}

func (r *running) dial(before func(*peer.ChaincodeMessage)) *peerside.Peer {
	r.t.Helper()
	p, err := peerside.Dial(r.t.Context(), peerside.Config{
		Address: r.addr, Credentials: insecure.NewCredentials(), PageRows: 2, Before: before,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { p.Close() })
	return p
}

func proposal(id string, args ...string) *peerside.Proposal {
	return &peerside.Proposal{Channel: channel, TxID: id, Time: time.Unix(1, 0), Args: args}
}

func simulate(t testing.TB, p *peerside.Peer, id string, args ...string) *peerside.Simulation {
	t.Helper()
	sim, err := p.Simulate(t.Context(), proposal(id, args...))
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

func TestChaincodeRegistersAndServes(t *testing.T) {
	p := start(t, plain, 0).dial(nil)
	if p.CCID() != "toy:1" {
		t.Errorf("registered as %q", p.CCID())
	}
	sim := simulate(t, p, "t1", "put", "k", "v")
	if !sim.Endorsed() || string(sim.Writes["k"]) != "v" || len(sim.Response.GetPayload()) != 0 {
		t.Errorf("put: %+v; it must not see its own write", sim)
	}
	p.Commit(channel, sim)
	if got := simulate(t, p, "t2", "get", "k"); string(got.Response.GetPayload()) != "v" {
		t.Errorf("get after the block: %s", got.Response.GetPayload())
	}
	if err := p.Send(&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_KEEPALIVE}); err != nil {
		t.Error(err)
	}
	if got := simulate(t, p, "t3", "get", "k"); !got.Endorsed() {
		t.Error("a keep-alive disturbs the stream")
	}
}

func TestManyTransactionsRunBesideEachOther(t *testing.T) {
	const n = 64
	var arrived sync.WaitGroup
	arrived.Add(n)
	cc := toy{"meet": func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		arrived.Done()
		arrived.Wait() // only if all run at the same time
		return []byte(a[0]), s.PutState(a[0], []byte("1"))
	}}
	p := start(t, cc, 0).dial(nil)
	sims := make([]*peerside.Simulation, n)
	for i := range sims {
		var err error
		if sims[i], err = p.Begin(proposal(fmt.Sprint("t", i), "meet", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i, sim := range sims {
		if err := sim.Wait(t.Context()); err != nil || string(sim.Response.GetPayload()) != fmt.Sprint(i) {
			t.Fatalf("transaction %d: %+v, %v", i, sim, err)
		}
	}
}

// TestPeerThatDisappearsLeavesNothing: goleak sees to the rest.
func TestPeerThatDisappearsLeavesNothing(t *testing.T) {
	errs, entered := make(chan error, 100), make(chan struct{}, 100)
	cc := toy{"loop": func(s shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
		entered <- struct{}{}
		for {
			if _, err := s.GetState("k"); err != nil {
				errs <- err
				return nil, err
			}
		}
	}}
	r := start(t, cc, 0)
	const running = 10
	for range 3 {
		p := r.dial(nil)
		for i := range running {
			if _, err := p.Begin(proposal(fmt.Sprint("t", i), "loop")); err != nil {
				t.Fatal(err)
			}
		}
		for range running {
			<-entered
		}
		p.Cut()
		for range running {
			if err := <-errs; err == nil {
				t.Error("a contract was told nothing")
			}
		}
	}
	p := r.dial(nil)
	if err := p.Err(); err != nil {
		t.Errorf("the service does not take the next peer: %v", err)
	}
}

func TestMessagesOutsideTheProtocolEndOneStreamOnly(t *testing.T) {
	entered := make(chan struct{}, 10)
	cc := toy{
		"loop": func(s shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
			entered <- struct{}{}
			for {
				if _, err := s.GetState("k"); err != nil {
					return nil, err
				}
			}
		},
		"get": plain["get"],
	}
	r := start(t, cc, 0)
	good := r.dial(nil)
	payload := []byte("x")
	for name, msg := range map[string]*peer.ChaincodeMessage{
		"an answer to nobody":          {Type: peer.ChaincodeMessage_RESPONSE, Txid: "none", ChannelId: channel, Payload: payload},
		"an error to nobody":           {Type: peer.ChaincodeMessage_ERROR, Txid: "none", ChannelId: channel},
		"an answer nobody waits for":   {Type: peer.ChaincodeMessage_RESPONSE, Txid: "running", ChannelId: channel},
		"the same transaction again":   {Type: peer.ChaincodeMessage_TRANSACTION, Txid: "running", ChannelId: channel},
		"a transaction without an id":  {Type: peer.ChaincodeMessage_TRANSACTION, ChannelId: channel},
		"a second registration":        {Type: peer.ChaincodeMessage_REGISTERED},
		"a second ready":               {Type: peer.ChaincodeMessage_READY},
		"what only a chaincode sends":  {Type: peer.ChaincodeMessage_PUT_STATE, Txid: "running", ChannelId: channel},
		"a type that does not exist":   {Type: 99},
		"more bytes than are accepted": {Type: peer.ChaincodeMessage_TRANSACTION, Txid: "big", ChannelId: channel, Payload: make([]byte, service.MaxMessage)},
	} {
		p := r.dial(nil)
		if _, err := p.Begin(proposal("running", "loop")); err != nil {
			t.Fatal(err)
		}
		<-entered
		if err := p.Send(msg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// The running transaction is told, comes to its end, and then the stream does.
		<-p.Ended()
		want := codes.InvalidArgument
		if len(msg.GetPayload()) == service.MaxMessage {
			want = codes.ResourceExhausted
		}
		if got := status.Code(p.Err()); got != want {
			t.Errorf("%s: the stream ended with %v, want %s", name, p.Err(), want)
		}
	}
	if sim := simulate(t, good, "t", "get", "k"); !sim.Endorsed() {
		t.Error("another peer's stream was disturbed")
	}
}

func TestBadPayloadIsAnErrorOfThatTransaction(t *testing.T) {
	p := start(t, plain, 0).dial(nil)
	errs := make(chan struct{}, 1)
	q := start(t, plain, 0).dial(func(m *peer.ChaincodeMessage) {
		if m.GetType() == peer.ChaincodeMessage_ERROR {
			errs <- struct{}{}
		}
	})
	if err := q.Send(&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_TRANSACTION, Txid: "t", ChannelId: channel, Payload: []byte{0xff}}); err != nil {
		t.Fatal(err)
	}
	<-errs
	if sim := simulate(t, q, "t", "get", "k"); !sim.Endorsed() {
		t.Error("the stream does not go on")
	}
	if sim := simulate(t, p, "t", "get", "k"); !sim.Endorsed() {
		t.Error("the other service does not go on")
	}
}

func TestTooManyTransactionsAtATimeAreRefusedOneByOne(t *testing.T) {
	release := make(chan struct{})
	cc := toy{"wait": func(shim.ChaincodeStubInterface, []string) ([]byte, error) { <-release; return nil, nil }}
	p := start(t, cc, 0).dial(nil)
	sims := make([]*peerside.Simulation, service.MaxRunning+5)
	for i := range sims {
		var err error
		if sims[i], err = p.Begin(proposal(fmt.Sprint("t", i), "wait")); err != nil {
			t.Fatal(err)
		}
	}
	for _, sim := range sims[service.MaxRunning:] {
		if err := sim.Wait(t.Context()); err != nil || !strings.Contains(sim.Failure, "try again") {
			t.Fatalf("%+v, %v", sim, err)
		}
	}
	close(release)
	for _, sim := range sims[:service.MaxRunning] {
		if err := sim.Wait(t.Context()); err != nil || !sim.Endorsed() {
			t.Fatalf("%+v, %v", sim, err)
		}
	}
}

func TestShutdownFinishesWhatRuns(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	cc := toy{"wait": func(s shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
		close(entered)
		<-release
		return []byte("done"), s.PutState("k", []byte("v"))
	}}
	r := start(t, cc, time.Hour)
	p, idle := r.dial(nil), r.dial(nil)
	sim, err := p.Begin(proposal("t1", "wait"))
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	r.stop()
	<-idle.Ended() // a stream without transactions ends at once
	refused, err := p.Simulate(t.Context(), proposal("t2", "wait"))
	if err != nil || !strings.Contains(refused.Failure, "shutting down") {
		t.Errorf("a new transaction: %+v, %v", refused, err)
	}
	close(release)
	if err := sim.Wait(t.Context()); err != nil || string(sim.Response.GetPayload()) != "done" || string(sim.Writes["k"]) != "v" {
		t.Errorf("the running transaction: %+v, %v", sim, err)
	}
	<-p.Ended()
	r.end()
	if _, err := peerside.Dial(t.Context(), peerside.Config{Address: r.addr, Credentials: insecure.NewCredentials()}); err == nil {
		t.Error("the port still answers")
	}
}

func TestShutdownWaitsNoLongerThanItsGrace(t *testing.T) {
	entered := make(chan struct{})
	cc := toy{"forever": func(s shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
		close(entered)
		for {
			if _, err := s.GetState("k"); err != nil {
				return nil, err
			}
		}
	}}
	r := start(t, cc, time.Millisecond)
	sim, err := r.dial(nil).Begin(proposal("t1", "forever"))
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	r.end()
	if err := sim.Wait(t.Context()); err != nil || sim.Endorsed() {
		t.Errorf("%+v, %v", sim, err)
	}
}

func TestRunWantsItsConfig(t *testing.T) {
	err := service.Run(t.Context(), service.Config{})
	for _, want := range []string{"CCID", "Listener", "Chaincode"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	err = service.Run(t.Context(), service.Config{CCID: "toy:1", Listener: listener, Chaincode: plain})
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed listener: %v", err)
	}
}
