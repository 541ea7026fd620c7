// Package sync brings this node to where the network is, and tells how far it
// can be behind.
//
// It owns the messages of the protocol /assent/sync/1, one request and one
// response each: a signed status for a nonce, certified headers, blocks with
// their certificates (at once or as soon as there are any), the config blocks
// that a light client walks, and snapshots in pieces. Server answers them, Client fetches blocks
// (CatchUp once, Follow for ever), View asks for statuses.
//
// It promises that no block is handed on without its body, its certificate
// under the config in force and its place above the tip having been checked;
// that a peer which lies, stalls or withholds costs a bounded time and is left
// for another; that a server's work for peers is bounded in size, number and
// rate; and that an established view age is never younger than the truth as long
// as at most a third of the validators are dishonest.
//
// It leaves to others moving the frames (network), storing and executing blocks
// (the append function it is given), and deciding who is a peer.
package sync
