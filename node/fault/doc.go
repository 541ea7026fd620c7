// Package fault names places at which a program under test can be made to die.
//
// In every ordinary build Point is empty and costs nothing. With the build tag
// faultpoints the process reads ASSENT_FAULTS, waits for SIGUSR1, and from then on
// does what that says: scripts/faults builds such a program and no release does.
//
//	kill=NAME:N       SIGKILL to itself when Point(NAME) is passed for the Nth time
//	clock=DURATION    package node's clock is ahead, or with a minus behind
//	fsync=DURATION    every sync of blocks and state takes so much longer
//	fsync=fail:N:DIR  the Nth sync of a file of DIR (blocks, state) fails, and all after it
//	byzantine=KIND    what the node tells others is changed; see node/faultpoints.go
//	contract=KIND     contracts misbehave; see node/faultpoints_contracts.go
//	victim=PEER       whom it concerns, if somebody
//	capture=PATH      what the node receives is written there, from the start
//	now               all of it from the start, without SIGUSR1
//
// What took effect is said once on standard error. Parts are separated by commas. It owns the reading of that variable; what a
// fault does where is said at the place.
package fault
