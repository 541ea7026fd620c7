package sdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// Code is why a call failed, why a transaction was refused or why an access
// request was denied: one word from the closed list of node/api.
type Code = record.Code

// Error is a call that a node answered with a no, or a transaction that a
// contract refused. errors.Is(err, &Error{Code: c}) compares codes.
type Error struct {
	Code   Code
	What   string // what failed, with its facts; the node's sentence
	Where  string // the call, the node's address and, if any, the transaction
	Remedy string // what to do about it, never empty

	// TxID and Height are set when a transaction was ordered and refused: the
	// refusal is on the ledger.
	TxID   Hash
	Height uint64

	RetryAfter time.Duration // wait at least this long before trying again; 0: no advice
	Cause      error

	retryable bool
	sent      bool // the node may have acted on the call
}

// Error says where, what and what to do.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %s. %s", e.Where, e.Code, e.What, e.Remedy)
}

// Retryable reports whether the same call may succeed later without anybody
// changing it.
func (e *Error) Retryable() bool { return e.retryable }

// Unwrap returns what the transport said.
func (e *Error) Unwrap() error { return e.Cause }

// Is compares codes.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf returns the code of err, or "" if err holds no Error.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Retryable reports whether the same call may succeed later. It understands
// every error of this package.
func Retryable(err error) bool {
	var r interface{ Retryable() bool }
	return errors.As(err, &r) && r.Retryable()
}

// CommitUnknown means that a transaction left this client and nobody said what
// became of it. It may be on the ledger or get there while it is valid. Resolve
// finds out; building a new transaction instead could act twice.
type CommitUnknown struct {
	TxID       Hash
	ValidUntil time.Time // no block after this time can hold it
	Cause      error

	tx *Transaction
}

// Error names the transaction and says what to do.
func (u *CommitUnknown) Error() string {
	return fmt.Sprintf("transaction %s: its outcome is not known: %v. Do not build a new one: ask with Client.Resolve (or \"assent receipt tx %s\"), which submits the same bytes again while they are valid", u.TxID, u.Cause, u.TxID)
}

// Unwrap returns the last reason why nobody could tell.
func (u *CommitUnknown) Unwrap() error { return u.Cause }

// Retryable is true: resolving it again may succeed.
func (u *CommitUnknown) Retryable() bool { return true }

// Transaction returns the signed transaction, to keep for a later Resolve. It is
// nil when the error was made from an identifier alone.
func (u *CommitUnknown) Transaction() *Transaction { return u.tx }

// Untrusted means that a node said something that the ledger does not certify:
// it lies, or somebody between does. Nothing of what it said was used.
type Untrusted struct {
	Node  string // address of the node
	What  string // what it was asked for
	Cause error  // the check that failed
}

// Error names node, question and failed check.
func (u *Untrusted) Error() string {
	return fmt.Sprintf("%s gave %s that does not verify: %v. Do not act on it: use another node, and keep this message for the node's operator", u.Node, u.What, u.Cause)
}

// Unwrap returns the failed check.
func (u *Untrusted) Unwrap() error { return u.Cause }

// Retryable is false: another node is needed, not another try.
func (u *Untrusted) Retryable() bool { return false }

// ConfigError is a client that cannot work as it was set up.
type ConfigError struct {
	What   string
	Remedy string
	Cause  error
}

// Error says what is wrong and what to change.
func (e *ConfigError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %v. %s", e.What, e.Cause, e.Remedy)
	}
	return e.What + ". " + e.Remedy
}

// Unwrap returns the cause, if there is one.
func (e *ConfigError) Unwrap() error { return e.Cause }

// Retryable is false.
func (e *ConfigError) Retryable() bool { return false }

// wireError turns what a call returned into an Error that says where.
func wireError(where string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	a := api.FromConnect(err)
	e := &Error{
		Code:       Code(api.Name(a.Code)),
		What:       a.What,
		Where:      where,
		Remedy:     a.Advice(),
		RetryAfter: a.RetryAfter,
		Cause:      err,
		retryable:  a.Retryable(),
		sent:       !neverSent(err),
	}
	if a.Contract != "" {
		e.Code = Code(a.Contract)
	}
	switch {
	case a.Code == assentv1.Code_CODE_INTERNAL && isContext(err):
		e.Code, e.retryable = "TIMEOUT", true
	case a.Code == assentv1.Code_CODE_INTERNAL && isNetwork(err), cutOff(a.Code, err),
		a.Code == assentv1.Code_CODE_NOT_READY && a.Remedy == "": // no node of ours said so: nothing answered
		e.Code, e.retryable = "NOT_READY", true
		e.Remedy = "Start the node, or correct its address; assent doctor tells more."
	}
	return e
}

// cutOff reports whether a call reads as cancelled though its own context was
// not: the node closed the connection.
func cutOff(c api.Code, err error) bool {
	return c == assentv1.Code_CODE_CANCELLED && !errors.Is(err, context.Canceled)
}

// refusal is the Error of a transaction that the ledger holds as refused.
func refusal(where string, o *Outcome) *Error {
	entry := api.Lookup(api.FromLedger(string(o.Code)))
	what := o.Message
	if what == "" {
		what = entry.Means
	}
	return &Error{
		Code: o.Code, What: what, Where: where, Remedy: entry.Remedy,
		TxID: o.TxID, Height: o.Height, retryable: entry.Retryable, sent: true,
	}
}

func isContext(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func isNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n)
}

// neverSent reports whether the connection failed before any byte of the call
// left.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// notSent is the answer to a call that was never made.
func notSent(where string, code Code, what, remedy string) *Error {
	return &Error{Code: code, What: what, Where: where, Remedy: remedy}
}
