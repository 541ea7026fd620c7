// Package badinput holds what people, programs and attackers send wrongly to a
// running network, and what must come of it: the right code and status, a
// sentence that says what is wrong and where, a remedy, and a network that goes
// on committing. It is tests only, over real processes and raw sockets:
//
//	go test -count=1 ./scripts/badinput
//
// It leaves to package node/gateway's own tests what one server does alone, and
// to sdk what the client library makes of it.
package badinput
