// Package executor runs contracts: it turns blocks into state, and read calls
// into answers.
//
// It promises:
//   - Execution is a function of the block and the state before it. No clock, no
//     randomness, no order of goroutines or maps reaches a result; time is the
//     block's.
//   - Every transaction leaves exactly one receipt. A refused one writes nothing
//     and leaves its code; a panic is a refusal with code PANIC.
//   - A contract sees the state after the previous transaction, never what the
//     transaction itself wrote, and can write only under its own name.
//   - Work is bounded by counts (calls, rows, bytes), so that every node stops a
//     contract at the same point.
//   - An error of Execute is not a refusal: the state could not be read or
//     written, and the node must stop.
//
// It leaves to others: which transactions may stand in a block and whether their
// signatures hold (chain), what a call means (chaincode), where rows are kept
// (state), and noticing that a contract does not return (its caller watches
// Running).
package executor
