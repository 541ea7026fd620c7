package network

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// PeerID names a node: the libp2p peer id of its host key, in text form.
type PeerID string

// PeerIDFromPublicKey returns the id of the node whose host key has this public
// key: 33 bytes, compressed secp256k1.
func PeerIDFromPublicKey(compressed33 []byte) (PeerID, error) {
	if len(compressed33) != 33 {
		return "", fmt.Errorf("peer id: public key has %d bytes, want 33 (compressed secp256k1)", len(compressed33))
	}
	key, err := crypto.UnmarshalSecp256k1PublicKey(compressed33)
	if err != nil {
		return "", fmt.Errorf("peer id: %w", err)
	}
	id, err := peer.IDFromPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("peer id: %w", err)
	}
	return PeerID(id.String()), nil
}

// Class is a kind of one-way message. Each (peer, class, direction) has its own
// stream, queue and order.
type Class uint8

const (
	// ClassConsensus carries the ordering engine's messages. When its queue is
	// full the whole queue is dropped and the stream is reset: a replica with
	// holes in what it heard is served better by fresh messages than by old ones.
	ClassConsensus Class = iota
	// ClassTx carries signed requests to the other validators. When its queue
	// is full the new message is dropped. The receiver applies a rate per peer.
	ClassTx

	numClasses = 2
)

// Classes lists every class.
func Classes() []Class { return []Class{ClassConsensus, ClassTx} }

func (c Class) String() string {
	switch c {
	case ClassConsensus:
		return "consensus"
	case ClassTx:
		return "tx"
	default:
		return fmt.Sprintf("class(%d)", uint8(c))
	}
}

// Protocol is a kind of request with one response.
type Protocol string

const (
	ProtocolSync   Protocol = "/assent/sync/1"   // status, headers, blocks
	ProtocolSealed Protocol = "/assent/sealed/1" // sealed parts of consents
	ProtocolAnswer Protocol = "/assent/answer/1" // sealed answers
)

// Protocols lists every protocol.
func Protocols() []Protocol { return []Protocol{ProtocolSync, ProtocolSealed, ProtocolAnswer} }

// Peer is a node that is admitted.
type Peer struct {
	ID PeerID
	// Addrs are multiaddrs such as /dns4/node.example/tcp/7051 or
	// /ip4/10.0.0.7/tcp/7051; a trailing /p2p/<id> is accepted if it is ID.
	Addrs []string
	// Dial says that this side keeps a connection up. Otherwise it only accepts
	// one.
	Dial bool
}

// ParsePeer reads a peer to dial from an address that ends in /p2p/<id>, such as
// /ip4/10.0.0.7/tcp/7051/p2p/16Uiu2…
func ParsePeer(text string) (Peer, error) {
	i := strings.LastIndex(text, "/p2p/")
	if i < 0 {
		return Peer{}, fmt.Errorf("peer address %.200q: want it to end in /p2p/ and the node's id", text)
	}
	addr, id := text[:i], text[i+len("/p2p/"):]
	if _, err := tcpAddr(addr); err != nil {
		return Peer{}, fmt.Errorf("peer address %.200q: %w", text, err)
	}
	if pid, err := peer.Decode(id); err != nil || pid.String() != id {
		return Peer{}, fmt.Errorf("peer address %.200q: %.100q is no node id", text, id)
	}
	return Peer{ID: PeerID(id), Addrs: []string{addr}, Dial: true}, nil
}

// Errors that callers test for with errors.Is.
var (
	// ErrOverflow: the queue to the peer was full. ClassConsensus: the queue,
	// with this message, was dropped. ClassTx: this message was dropped.
	ErrOverflow = errors.New("send queue is full")
	// ErrUnknownPeer: the peer is not in the last SetPeers.
	ErrUnknownPeer = errors.New("peer is not admitted")
	// ErrUnreachable: there is no connection and there was none for
	// Limits.Grace. Worth a retry later.
	ErrUnreachable = errors.New("peer is not connected")
	// ErrNotSent: the context of a request ended before anything of it left this
	// node, for want of a connection or a request slot.
	ErrNotSent = errors.New("nothing was sent")
	// ErrTooLarge: the message exceeds the limit of its class or protocol.
	ErrTooLarge = errors.New("message is too large")
	// ErrStopped: the host is not running any more.
	ErrStopped = errors.New("network host is stopped")
)

// RemoteError is what the peer's handler answered instead of a response. Text
// is the peer's own, at most 512 bytes, printable: show it, never act on it.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return "peer refused the request: " + e.Text }

// maxErrorText bounds the text of an error frame, in bytes.
const maxErrorText = 512

// CleanErrorText makes text fit for an error frame and for a terminal: bounded,
// valid UTF-8, no control characters.
func CleanErrorText(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text[:min(len(text), 4*maxErrorText)])
	if len(text) <= maxErrorText {
		return text
	}
	cut := maxErrorText
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// PeerStatus is what an operator may know about one admitted peer.
type PeerStatus struct {
	ID        PeerID
	Connected bool
	Since     time.Time     // of the present state: connected or not
	RTT       time.Duration // 0 when not measured
	Classes   [numClasses]ClassStatus
	LastError string // why the last attempt to connect failed; "" after success
}

// Class returns the counters of one class.
func (s PeerStatus) Class(c Class) ClassStatus { return s.Classes[c] }

// ClassStatus counts since the peer was admitted.
type ClassStatus struct {
	QueuedMessages int
	QueuedBytes    int
	Sent           uint64 // handed to the connection
	Dropped        uint64 // queued or offered, then dropped on this side
	Resets         uint64 // streams this side broke: overflow, write deadline, bad frame
	Received       uint64 // handed to the handler
	Throttled      uint64 // received, dropped because the peer exceeded its rate
}
