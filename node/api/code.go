package api

import (
	"strings"

	"connectrpc.com/connect"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// Code is why a call failed, why a transaction was refused or why an access
// request was denied.
type Code = assentv1.Code

// Entry is what is fixed about a code.
type Entry struct {
	Code Code
	// Connect is the status that goes with the code; it fixes the gRPC status
	// and the HTTP status.
	Connect connect.Code
	// Retryable: the same call may succeed later without anybody changing it.
	Retryable bool
	// Ledger: the code may stand in an outcome or a decision, under Name.
	Ledger bool
	Means  string // one clause, lower case, no full stop
	Remedy string // one sentence on what to do
}

// Name is the code as ledger outcomes and decisions write it: "FORBIDDEN".
func Name(c Code) string { return strings.TrimPrefix(c.String(), "CODE_") }

// Lookup returns what is fixed about c. A code that this version does not know,
// sent by a newer node, reads as one that must not be retried.
func Lookup(c Code) Entry {
	if e, ok := byCode[c]; ok {
		return e
	}
	return Entry{
		Code:    c,
		Connect: connect.CodeUnknown,
		Means:   "the node answered with a code that this version does not know",
		Remedy:  "Upgrade the client to the node's version or newer.",
	}
}

// Entries returns every code in numerical order.
func Entries() []Entry { return append([]Entry(nil), table...) }

// FromLedger returns the code that an outcome or a decision names. A name that
// this version does not know is CODE_REFUSED.
func FromLedger(name string) Code {
	if e, ok := byName[name]; ok {
		return e.Code
	}
	return assentv1.Code_CODE_REFUSED
}

// HTTPStatus returns the status with which JSON callers see c.
func HTTPStatus(c Code) int {
	if s, ok := httpStatus[Lookup(c).Connect]; ok {
		return s
	}
	return 500
}

// httpStatus is the table of the Connect protocol.
var httpStatus = map[connect.Code]int{
	connect.CodeCanceled:           499,
	connect.CodeUnknown:            500,
	connect.CodeInvalidArgument:    400,
	connect.CodeDeadlineExceeded:   504,
	connect.CodeNotFound:           404,
	connect.CodeAlreadyExists:      409,
	connect.CodePermissionDenied:   403,
	connect.CodeResourceExhausted:  429,
	connect.CodeFailedPrecondition: 400,
	connect.CodeAborted:            409,
	connect.CodeOutOfRange:         400,
	connect.CodeUnimplemented:      501,
	connect.CodeInternal:           500,
	connect.CodeUnavailable:        503,
	connect.CodeDataLoss:           500,
	connect.CodeUnauthenticated:    401,
}

var byCode, byName = index(table)

func index(table []Entry) (map[Code]Entry, map[string]Entry) {
	codes, names := make(map[Code]Entry, len(table)), make(map[string]Entry, len(table))
	for _, e := range table {
		codes[e.Code] = e
		if e.Ledger {
			names[Name(e.Code)] = e
		}
	}
	return codes, names
}
