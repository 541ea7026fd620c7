// Package peerside is the peer's half of Fabric's external chaincode protocol,
// for tests: it dials a chaincode service, lets it register, has it simulate
// signed proposals against a world state in memory, and commits what came of
// them in blocks.
//
// It promises a peer's semantics: a simulation sees committed state and none of
// its own writes; nothing is written before a block; a block's transactions are
// validated in order against the versions they read, with conflicts and phantoms
// as in Fabric; a response of status 400 or more is not endorsed; ranges come in
// batches; a transaction that is unknown or over gets an error.
//
// It leaves out endorsement policies, signatures, private data, rich queries and
// calls from chaincode to chaincode.
package peerside

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
)

// Config tells Dial what to connect to.
type Config struct {
	Address     string
	Credentials credentials.TransportCredentials
	Batches     bool // tell the chaincode that this peer takes write batches and multiple reads, as Fabric 3 does
	PageRows    int  // rows in one answer to a range; 0: 100, as in Fabric
	// Before, if set, sees each message of the chaincode before the peer acts on
	// it, on the goroutine that reads the stream.
	Before func(*peer.ChaincodeMessage)
}

// Peer is one connection to a chaincode service, with the state of each channel.
type Peer struct {
	cfg    Config
	ccid   string
	conn   *grpc.ClientConn
	stream peer.Chaincode_ConnectClient
	cancel context.CancelFunc
	done   chan struct{} // the reading goroutine has ended

	sending sync.Mutex

	mu       sync.Mutex
	channels map[string]*state
	running  map[string]*Simulation // by channel and transaction id
	err      error                  // why the stream ended
}

// Simulation is what a chaincode made of one proposal.
type Simulation struct {
	Channel, TxID string
	Response      *peer.Response
	Event         *peer.ChaincodeEvent
	Writes        map[string][]byte // nil value: deleted
	Failure       string            // text of an ERROR in place of a response

	reads    []read
	scans    []*scan
	metadata map[string]map[string][]byte
	open     map[string]*cursor
	over     chan struct{}
}

// Endorsed reports whether a peer would sign the simulation.
func (s *Simulation) Endorsed() bool {
	return s.Failure == "" && s.Response.GetStatus() < shim.ERRORTHRESHOLD
}

// Dial connects, and returns once the chaincode has registered and the peer has
// said that it is ready.
func Dial(ctx context.Context, cfg Config) (*Peer, error) {
	if cfg.PageRows == 0 {
		cfg.PageRows = 100
	}
	conn, err := grpc.NewClient(cfg.Address, grpc.WithTransportCredentials(cfg.Credentials),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(100<<20), grpc.MaxCallSendMsgSize(100<<20)))
	if err != nil {
		return nil, fmt.Errorf("dial chaincode service: %w", err)
	}
	streaming, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel) // ctx bounds the handshake alone
	p := &Peer{
		cfg: cfg, conn: conn, cancel: cancel, done: make(chan struct{}),
		channels: map[string]*state{}, running: map[string]*Simulation{},
	}
	p.stream, err = peer.NewChaincodeClient(conn).Connect(streaming)
	if err == nil {
		err = p.handshake()
	}
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		conn.Close()
		return nil, fmt.Errorf("connect to chaincode service: %w", err)
	}
	go p.read()
	return p, nil
}

func (p *Peer) handshake() error {
	msg, err := p.stream.Recv()
	if err != nil {
		return err
	}
	id := new(peer.ChaincodeID)
	if msg.GetType() != peer.ChaincodeMessage_REGISTER || proto.Unmarshal(msg.GetPayload(), id) != nil || id.GetName() == "" {
		return fmt.Errorf("the chaincode began with %s", msg.GetType())
	}
	p.ccid = id.GetName()
	if err := p.Send(&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_REGISTERED}); err != nil {
		return err
	}
	payload, err := proto.Marshal(&peer.ChaincodeAdditionalParams{
		UseWriteBatch: p.cfg.Batches, MaxSizeWriteBatch: 1000, UseGetMultipleKeys: p.cfg.Batches, MaxSizeGetMultipleKeys: 1000,
	})
	if err != nil {
		return err
	}
	return p.Send(&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_READY, Payload: payload})
}

// CCID is the package id the chaincode registered under.
func (p *Peer) CCID() string { return p.ccid }

// Send sends any message, also one that no peer would.
func (p *Peer) Send(msg *peer.ChaincodeMessage) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	return p.stream.Send(msg)
}

// Ended closes when the stream has ended; Err then says why.
func (p *Peer) Ended() <-chan struct{} { return p.done }

// Err is why the stream ended.
func (p *Peer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Cut ends the stream at once, whatever runs, and waits for that.
func (p *Peer) Cut() {
	p.cancel()
	<-p.done
}

// Close ends the connection.
func (p *Peer) Close() error {
	p.Cut()
	return p.conn.Close()
}

// read acts on what the chaincode sends until the stream ends.
func (p *Peer) read() {
	defer close(p.done)
	for {
		msg, err := p.stream.Recv()
		if err != nil {
			p.mu.Lock()
			p.err = err
			for key, sim := range p.running {
				sim.Failure = "chaincode stream terminated"
				delete(p.running, key)
				close(sim.over)
			}
			p.mu.Unlock()
			return
		}
		if p.cfg.Before != nil {
			p.cfg.Before(msg)
		}
		if answer := p.handle(msg); answer != nil {
			_ = p.Send(answer) // a failure shows in Recv
		}
	}
}

func key(msg *peer.ChaincodeMessage) string { return msg.GetChannelId() + "\x00" + msg.GetTxid() }

// handle answers one message of the chaincode; nil means no answer.
func (p *Peer) handle(msg *peer.ChaincodeMessage) *peer.ChaincodeMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	sim := p.running[key(msg)]
	switch msg.GetType() {
	case peer.ChaincodeMessage_KEEPALIVE:
		return nil
	case peer.ChaincodeMessage_COMPLETED, peer.ChaincodeMessage_ERROR:
		if sim != nil {
			sim.finish(msg)
			delete(p.running, key(msg))
		}
		return nil
	}
	answer := &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_RESPONSE, Txid: msg.GetTxid(), ChannelId: msg.GetChannelId()}
	err := errors.New("no ledger context")
	if sim != nil {
		answer.Payload, err = p.serve(sim, msg)
	}
	if err != nil {
		answer.Type = peer.ChaincodeMessage_ERROR
		answer.Payload = fmt.Appendf(nil, "%s failed: transaction ID: %s: %v", msg.GetType(), msg.GetTxid(), err)
	}
	return answer
}

func (s *Simulation) finish(msg *peer.ChaincodeMessage) {
	s.Event = msg.GetChaincodeEvent()
	if msg.GetType() == peer.ChaincodeMessage_ERROR {
		s.Failure = string(msg.GetPayload())
	} else {
		s.Response = new(peer.Response)
		if err := proto.Unmarshal(msg.GetPayload(), s.Response); err != nil {
			s.Failure = "response cannot be read"
		}
	}
	close(s.over)
}

// Begin sends a proposal and returns without waiting for the end.
func (p *Peer) Begin(proposal *Proposal) (*Simulation, error) {
	msg, err := proposal.message()
	if err != nil {
		return nil, err
	}
	sim := &Simulation{
		Channel: proposal.Channel, TxID: proposal.TxID, Writes: map[string][]byte{},
		metadata: map[string]map[string][]byte{}, open: map[string]*cursor{}, over: make(chan struct{}),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return nil, p.err
	case p.running[key(msg)] != nil:
		return nil, errors.New("transaction is already running")
	}
	p.running[key(msg)] = sim
	if err := p.Send(msg); err != nil {
		delete(p.running, key(msg))
		return nil, err
	}
	return sim, nil
}

// Wait returns when the simulation is over.
func (s *Simulation) Wait(ctx context.Context) error {
	select {
	case <-s.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Simulate has the chaincode simulate a proposal.
func (p *Peer) Simulate(ctx context.Context, proposal *Proposal) (*Simulation, error) {
	sim, err := p.Begin(proposal)
	if err != nil {
		return nil, err
	}
	return sim, sim.Wait(ctx)
}

// Commit makes a block on a channel of simulations that ended, in order.
func (p *Peer) Commit(channel string, sims ...*Simulation) []Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sim := range sims {
		if !sim.Endorsed() {
			panic("commits a simulation that no peer endorses")
		}
	}
	return p.state(channel).commit(sims)
}

// Rows returns the committed rows of a channel.
func (p *Peer) Rows(channel string) map[string][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string][]byte{}
	for key, r := range p.state(channel).rows {
		out[key] = r.value
	}
	return out
}

// Load replaces the rows of a channel, as one block would.
func (p *Peer) Load(channel string, rows map[string][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.channels[channel] = newState()
	p.state(channel).commit([]*Simulation{{TxID: "load", Writes: maps.Clone(rows)}})
}

// History returns every write of a key.
func (p *Peer) History(channel, key string) []Modification {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state(channel).history[key]
}

func (p *Peer) state(channel string) *state {
	s := p.channels[channel]
	if s == nil {
		s = newState()
		p.channels[channel] = s
	}
	return s
}
