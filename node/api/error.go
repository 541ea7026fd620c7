package api

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"connectrpc.com/connect"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// Error is a failed call, on either side of the wire.
type Error struct {
	Code       Code
	What       string        // what failed, with its facts; crosses the wire, so no personal data
	Remedy     string        // what to do; empty: the code's own sentence
	RetryAfter time.Duration // zero: no advice
	Contract   string        // the code as the contract gave it, if a contract refused
	Cause      error         // stays on this side of the wire
}

// Refuse returns an error of code c that says what failed.
func Refuse(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: c, What: err.Error(), Cause: errors.Unwrap(err)}
}

// RefuseContract returns the error of a contract that refused with a code.
func RefuseContract(contractCode, what string) *Error {
	return &Error{Code: FromLedger(contractCode), What: what, Contract: contractCode}
}

// Error says what failed and what to do.
func (e *Error) Error() string {
	what := e.What
	if what == "" {
		what = Lookup(e.Code).Means
	}
	return Name(e.Code) + ": " + what + ". " + e.Advice()
}

// Advice is what to do about it, never empty.
func (e *Error) Advice() string {
	if e.Remedy != "" {
		return e.Remedy
	}
	return Lookup(e.Code).Remedy
}

// Retryable reports whether the same call may succeed later.
func (e *Error) Retryable() bool { return Lookup(e.Code).Retryable }

// Unwrap returns the cause on this side of the wire.
func (e *Error) Unwrap() error { return e.Cause }

// Is makes errors.Is(err, &Error{Code: c}) compare codes.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf returns the code of err: 0 if err holds no *Error.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// ToConnect returns e as the wire carries it.
func (e *Error) ToConnect() *connect.Error {
	entry := Lookup(e.Code)
	status := entry.Connect
	if status == 0 { // OK and PERMIT are no errors; whoever makes one of them has a bug
		status = connect.CodeInternal
	}
	d := e.Detail()
	out := connect.NewError(status, errors.New(d.What))
	if detail, err := connect.NewErrorDetail(d); err == nil {
		out.AddDetail(detail)
	}
	return out
}

// Detail returns e as a message. What is not UTF-8 in it is replaced: text from
// outside must not make an answer unsendable.
func (e *Error) Detail() *assentv1.ErrorDetail {
	entry := Lookup(e.Code)
	what := e.What
	if what == "" {
		what = entry.Means
	}
	text := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
	ms := min((e.RetryAfter+time.Millisecond-1)/time.Millisecond, math.MaxUint32)
	return &assentv1.ErrorDetail{
		Code:         e.Code,
		What:         text(what),
		Remedy:       text(e.Advice()),
		Retryable:    entry.Retryable,
		RetryAfterMs: uint32(max(ms, 0)),
		ContractCode: text(e.Contract),
	}
}

// FromDetail returns the error that a message holds. cause may be nil.
func FromDetail(d *assentv1.ErrorDetail, cause error) *Error {
	return &Error{
		Code:       d.GetCode(),
		What:       d.GetWhat(),
		Remedy:     d.GetRemedy(),
		RetryAfter: time.Duration(d.GetRetryAfterMs()) * time.Millisecond,
		Contract:   d.GetContractCode(),
		Cause:      cause,
	}
}

// FromConnect returns the error that a call gave the client: what the node said,
// or, if no node of ours answered, what the status allows to conclude. It
// returns nil for nil.
func FromConnect(err error) *Error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return &Error{Code: assentv1.Code_CODE_INTERNAL, What: err.Error(), Cause: err}
	}
	for _, d := range ce.Details() {
		msg, derr := d.Value()
		if derr != nil {
			continue
		}
		if x, ok := msg.(*assentv1.ErrorDetail); ok {
			return FromDetail(x, err)
		}
	}
	c, ok := fromStatus[ce.Code()]
	if !ok {
		c = assentv1.Code_CODE_INTERNAL
	}
	return &Error{Code: c, What: ce.Message(), Cause: err}
}

// fromStatus serves answers without a detail: from a proxy, or from the
// protocol layer below the handlers.
var fromStatus = map[connect.Code]Code{
	connect.CodeCanceled:          assentv1.Code_CODE_CANCELLED,
	connect.CodeDeadlineExceeded:  assentv1.Code_CODE_TIMEOUT,
	connect.CodeInvalidArgument:   assentv1.Code_CODE_BAD_REQUEST,
	connect.CodeNotFound:          assentv1.Code_CODE_NOT_FOUND,
	connect.CodePermissionDenied:  assentv1.Code_CODE_FORBIDDEN,
	connect.CodeResourceExhausted: assentv1.Code_CODE_TOO_LARGE,
	connect.CodeUnauthenticated:   assentv1.Code_CODE_TOKEN_INVALID,
	connect.CodeUnavailable:       assentv1.Code_CODE_NOT_READY,
	connect.CodeUnimplemented:     assentv1.Code_CODE_UNKNOWN_METHOD,
}
