package state

import (
	"errors"
	"fmt"

	lerrors "github.com/syndtr/goleveldb/leveldb/errors"

	"github.com/assent-network/assent/node/ledger"
)

// Errors that callers test.
var (
	// ErrProofTooOld: the node no longer remembers the state at that height.
	// Ask for a proof at a newer certified height.
	ErrProofTooOld = errors.New("state at that height is no longer in memory: ask for a newer certified height")
	// ErrNotExecuted: the height or log size asked for has not been executed yet.
	ErrNotExecuted = errors.New("not executed yet")
	// ErrNotFound: no such transaction.
	ErrNotFound = errors.New("not found")
	// ErrPruned: this node no longer keeps what was asked for. Ask a node that
	// keeps more.
	ErrPruned = errors.New("pruned here")
	// ErrAged: a transaction read an access record that is older than what every
	// node keeps. The executor refuses the transaction, on every node alike.
	ErrAged = errors.New("the access record is older than every node keeps")
	// ErrLogRowExists: a transaction would overwrite or delete a row of a log.
	// Nothing was applied; the executor refuses the transaction.
	ErrLogRowExists = errors.New("log rows are written once")
	// ErrCorrupt: stored data are damaged. Fatal: stop the node.
	ErrCorrupt = errors.New("state database is damaged")
)

// Pruned says what this node keeps no longer. It is ErrPruned.
type Pruned struct {
	Key    string      // of a log row, or empty
	TxID   ledger.Hash // of the transaction that wrote it
	Height ledger.Height
	Time   uint64 // of its block
}

func (e *Pruned) Error() string {
	what := "the outcome of transaction " + e.TxID.Hex()
	if e.Key != "" {
		what = fmt.Sprintf("row %q of transaction %s", e.Key, e.TxID.Hex())
	}
	return fmt.Sprintf("%s at height %d is %v", what, e.Height, ErrPruned)
}

// Unwrap returns ErrPruned.
func (e *Pruned) Unwrap() error { return ErrPruned }

// remedy goes into every error about damaged or unwritable storage.
const remedy = "stop the node, remove its state directory and start again: it is rebuilt from the block store"

func corrupt(what string, err error) error {
	return fmt.Errorf("%w: %s: %w; %s", ErrCorrupt, what, err, remedy)
}

// storageError explains a failed read or write of the database.
func storageError(step string, err error) error {
	if lerrors.IsCorrupted(err) {
		return corrupt(step, err)
	}
	return fmt.Errorf("state: %s: %w: see to the disk, then start the node again", step, err)
}
