package executor

import (
	"context"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// Identity is in whose name a read call is made.
type Identity struct {
	Org string
	Key ledger.Address
}

// Evaluate runs a read call on a view, at the time of the view's block. Any
// number of goroutines may evaluate while blocks are executed. A refusal is a
// *record.Refusal; any other error means that ctx ended or the state could not
// be read.
func (e *Executor) Evaluate(ctx context.Context, view *state.View, who Identity, contract, function string, args [][]byte) ([]byte, error) {
	f, ok := e.contracts.Lookup(contract, function)
	switch {
	case !ok:
		return nil, record.Refuse(record.CodeUnknownFunction, "no such contract or function")
	case !f.Read:
		return nil, record.Refuse(record.CodeBadRequest, "the function writes: submit it as a transaction")
	case len(args) != f.Args:
		return nil, record.Refuse(record.CodeUnknownFunction, "the function takes %d arguments, %d were given", f.Args, len(args))
	}
	total := 0
	for _, a := range args {
		total += len(a)
	}
	if total > ledger.MaxRequestBytes {
		return nil, record.Refuse(record.CodeLimitExceeded, "arguments have %d bytes, at most %d are allowed", total, ledger.MaxRequestBytes)
	}
	creator, err := record.Encode(record.NewCreator(record.OrgID(who.Org), who.Key))
	if err != nil {
		return nil, record.Refuse(record.CodeUnknownKey, "the organisation's name is not in its form")
	}
	s := newStub(view, invocation{
		call: Call{Contract: contract, Function: function}, args: args, creator: creator,
		channel: e.channel, time: view.Time(), reading: ctx,
	}, readLimits)
	v := e.run(s)
	if v.err != nil {
		return nil, fmt.Errorf("evaluate %s.%s: %w", contract, function, v.err)
	}
	if v.code != record.OK {
		return nil, &record.Refusal{Code: v.code, Detail: v.message}
	}
	return v.payload, nil
}
