package service

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	grpcpeer "google.golang.org/grpc/peer"
)

var (
	errProtocol = errors.New("message outside the chaincode protocol")
	errDrained  = errors.New("the chaincode service is shutting down")
	errGone     = errors.New("the peer's stream has ended")
)

// conversation stands between the peer's stream and Fabric's shim. The shim
// waits forever for the answer of a peer that has gone, sends the end of a
// transaction from a goroutine that nobody may be left to hear, and blocks for
// good on an answer nobody asked for. So:
//
//   - Recv passes on only what the shim waits for, and ends the stream on anything
//     else.
//   - When the stream ends, every transaction that waits for an answer is told
//     that there is none, and Recv fails, which ends the shim's loop, only after
//     the last transaction has come to its end.
//   - Send of a transaction's end does not return to the shim's goroutine: it ends
//     it. A failed send shows as the end of the stream in Recv.
type conversation struct {
	peer.Chaincode_ConnectServer
	address string
	drain   <-chan struct{}
	kill    <-chan struct{}
	in      chan received // from read
	closed  chan struct{} // the shim's loop has ended
	wake    chan struct{} // something ended; holds at most one

	sending sync.Mutex // serialises sends

	mu       sync.Mutex
	stage    int
	running  map[string]*transaction // by channel and transaction id
	active   int                     // those running, and those whose end is being sent
	draining bool
	ended    error // why nothing more comes from the peer
}

// transaction is one that the shim runs.
type transaction struct {
	channel, id string
	waiting     bool // for the peer's answer
}

type received struct {
	msg *peer.ChaincodeMessage
	err error
}

// Stages of the handshake, by what the peer sends next.
const (
	wantRegistered = iota
	wantReady
	ready
)

func newConversation(stream peer.Chaincode_ConnectServer, drain, kill <-chan struct{}) *conversation {
	c := &conversation{
		Chaincode_ConnectServer: stream, drain: drain, kill: kill,
		in: make(chan received), closed: make(chan struct{}), wake: make(chan struct{}, 1),
		running: make(map[string]*transaction),
	}
	if p, ok := grpcpeer.FromContext(stream.Context()); ok {
		c.address = p.Addr.String()
	}
	return c
}

// read takes messages off the stream. It ends with the stream, which ends when
// Connect returns.
func (c *conversation) read() {
	for {
		msg, err := c.Chaincode_ConnectServer.Recv()
		select {
		case c.in <- received{msg, err}:
		case <-c.closed:
			return
		}
		if err != nil {
			return
		}
	}
}

func (c *conversation) close() { close(c.closed) }

// why is the reason of the end.
func (c *conversation) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		return errGone
	}
	return c.ended
}

// Recv returns the next message for the shim.
func (c *conversation) Recv() (*peer.ChaincodeMessage, error) {
	in, drain, kill := c.in, c.drain, c.kill
	for {
		msg, over, err := c.afterEnd()
		if msg != nil || err != nil {
			return msg, err
		}
		if over {
			in, drain, kill = nil, nil, nil // only ends of transactions are awaited
		}
		select {
		case r := <-in:
			if r.err != nil {
				c.end(r.err)
				continue
			}
			if msg := c.take(r.msg); msg != nil {
				return msg, nil
			}
		case <-c.wake:
		case <-drain:
			drain = nil
			c.mu.Lock()
			c.draining = true
			c.mu.Unlock()
		case <-kill:
			c.end(errDrained)
		}
	}
}

// afterEnd says what is left to do once the stream has ended: a message that
// tells a waiting transaction so, then the error.
func (c *conversation) afterEnd() (msg *peer.ChaincodeMessage, over bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil && c.draining && c.active == 0 {
		c.ended = errDrained
	}
	if c.ended == nil {
		return nil, false, nil
	}
	for _, t := range c.running {
		if t.waiting {
			t.waiting = false
			return &peer.ChaincodeMessage{
				Type: peer.ChaincodeMessage_ERROR, Payload: []byte(c.ended.Error()), Txid: t.id, ChannelId: t.channel,
			}, true, nil
		}
	}
	if c.active == 0 {
		return nil, true, c.ended
	}
	return nil, true, nil
}

// end notes the first reason why nothing more is read.
func (c *conversation) end(err error) {
	if errors.Is(err, io.EOF) {
		err = errGone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = err
	}
}

// take decides about a message of the peer; nil means that it is dealt with.
func (c *conversation) take(msg *peer.ChaincodeMessage) *peer.ChaincodeMessage {
	if msg.GetType() == peer.ChaincodeMessage_KEEPALIVE {
		if err := c.send(msg); err != nil {
			c.end(err)
		}
		return nil
	}
	pass, busy, err := c.admit(msg)
	switch {
	case err != nil:
		c.end(err)
		return nil
	case busy != "":
		if err := c.send(&peer.ChaincodeMessage{
			Type: peer.ChaincodeMessage_ERROR, Payload: []byte(busy), Txid: msg.GetTxid(), ChannelId: msg.GetChannelId(),
		}); err != nil {
			c.end(err)
		}
		return nil
	case !pass:
		return nil
	}
	return msg
}

// admit says whether msg is one that the shim waits for. busy is the answer to
// a transaction that cannot be taken now.
func (c *conversation) admit(msg *peer.ChaincodeMessage) (pass bool, busy string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := msg.GetType()
	if c.stage != ready {
		want := []peer.ChaincodeMessage_Type{peer.ChaincodeMessage_REGISTERED, peer.ChaincodeMessage_READY}[c.stage]
		if kind != want {
			return false, "", fmt.Errorf("%w: %s where %s was expected", errProtocol, kind, want)
		}
		c.stage++
		return true, "", nil
	}
	key := msg.GetChannelId() + "\x00" + msg.GetTxid()
	t := c.running[key]
	switch kind {
	case peer.ChaincodeMessage_TRANSACTION, peer.ChaincodeMessage_INIT:
		switch {
		case msg.GetTxid() == "" || t != nil:
			return false, "", fmt.Errorf("%w: a transaction without an id, or one that is running", errProtocol)
		case c.draining:
			return false, "the chaincode service is shutting down: ask another peer", nil
		case c.active == MaxRunning:
			return false, fmt.Sprintf("the chaincode service already runs %d transactions for this peer: try again", MaxRunning), nil
		}
		c.running[key] = &transaction{channel: msg.GetChannelId(), id: msg.GetTxid()}
		c.active++
		return true, "", nil
	case peer.ChaincodeMessage_RESPONSE, peer.ChaincodeMessage_ERROR:
		if t == nil || !t.waiting {
			return false, "", fmt.Errorf("%w: an answer that no transaction waits for", errProtocol)
		}
		t.waiting = false
		return true, "", nil
	}
	return false, "", fmt.Errorf("%w: a %s", errProtocol, kind)
}

// Send sends a message of the shim's: its registration, what a transaction asks
// of the peer, or the end of one.
func (c *conversation) Send(msg *peer.ChaincodeMessage) error {
	switch msg.GetType() {
	case peer.ChaincodeMessage_REGISTER:
		return c.send(msg)
	case peer.ChaincodeMessage_COMPLETED, peer.ChaincodeMessage_ERROR:
		c.complete(msg)
		runtime.Goexit()
	}
	return c.ask(msg)
}

// complete forgets a transaction and sends its end: in this order, because the
// peer may send the same one again as soon as it has the end.
func (c *conversation) complete(msg *peer.ChaincodeMessage) {
	c.mu.Lock()
	delete(c.running, msg.GetChannelId()+"\x00"+msg.GetTxid())
	c.mu.Unlock()
	err := c.send(msg)
	c.mu.Lock()
	if err != nil && c.ended == nil {
		c.ended = err
	}
	c.active--
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// ask sends what a transaction wants of the peer. Afterwards exactly one of two
// things happens: it returns an error, or Recv brings an answer.
func (c *conversation) ask(msg *peer.ChaincodeMessage) error {
	c.mu.Lock()
	t := c.running[msg.GetChannelId()+"\x00"+msg.GetTxid()]
	if t == nil || c.ended != nil {
		c.mu.Unlock()
		return errGone
	}
	t.waiting = true
	c.mu.Unlock()

	err := c.send(msg)
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = err
	}
	if !t.waiting {
		return nil // Recv has told the transaction already
	}
	t.waiting = false
	return err
}

func (c *conversation) send(msg *peer.ChaincodeMessage) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.Chaincode_ConnectServer.Send(msg)
}
