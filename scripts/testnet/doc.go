// Package testnet makes and runs networks of real node processes on loopback:
// own keys, own genesis, own data directories, real sockets, real fsync. The
// commands localnet, story (behind scripts/demo) and bench are built on it.
//
// It promises that a network lives in one directory, that ports are free when
// they are chosen, that only processes it started are ended, by pid, and that
// none of them outlives Stop. It is for development and tests: it holds every
// member's keys in one place, which no real network does.
package testnet
