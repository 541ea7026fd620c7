// Package network moves bytes between the nodes of one ledger.
//
// # What it owns
//
// The listening sockets, the connections, the streams and the queues in front
// of them. One Host is one node's place in the network. It is built from
// libp2p's swarm, TCP, TLS 1.3 and yamux alone: there is no identify, ping,
// relay, address discovery or hole punching to switch off, because none of it
// is linked.
//
// # What it promises
//
//   - Membership is a gate. Only the peers of the last SetPeers are admitted,
//     in both directions. Anybody else is refused when the handshake has shown
//     who they are, before any byte of a protocol is read or written. A peer
//     that leaves the set loses its connection before SetPeers returns.
//   - `from` is authenticated: it is the identity of the key that finished the
//     handshake, never something a message says.
//   - Two kinds of traffic. A Class is one-way: a long-lived stream per
//     (peer, class), opened by the sender and opened again when it breaks. A
//     Protocol is one request and one response on a stream of their own.
//   - Within a class, messages from one peer arrive in the order in which they
//     were sent, each at most once. Messages may be lost, and only when the
//     connection broke, a queue overflowed or a peer exceeded its rate; each
//     loss on this side is counted in Status.
//   - Send and Broadcast never block. Every queue is bounded by messages and by
//     bytes. A slow peer costs itself, nobody else.
//   - Nothing a peer sends costs more than it sent: length prefixes are checked
//     before anything is allocated, bodies are read in growing pieces, a frame
//     that has begun must end within a deadline, the number of streams,
//     requests and goroutines per peer is bounded.
//   - Run returns after every goroutine of the Host has returned.
//
// # What it leaves to others
//
// Whether a message is valid, fresh or a repetition; retransmission; who the
// members are. Nothing here reads a body, and logs and errors carry peer ids,
// sizes and addresses only. Package memnet offers the same methods in memory,
// and package networktest holds both to the same behaviour.
package network
