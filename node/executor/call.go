package executor

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/assent-network/assent/chaincode/record"
)

// verdict is how a contract call ended.
type verdict struct {
	code    record.Code
	message string // for people, bounded; holds no argument
	payload []byte
	err     error // the state could not be read: no verdict
}

// abort unwinds a contract that may not go on; only stubs throw it.
type abort struct{}

// run calls the contract. Whatever the contract does with the errors of its
// stub, the first thing the stub refused decides.
func (e *Executor) run(s *stub) (v verdict) {
	defer func() {
		p := recover()
		if _, ours := p.(abort); p != nil && !ours {
			e.logPanic(s, p)
			v = verdict{code: record.CodePanic, message: "the contract has a defect: report it with the transaction's id"}
		}
		switch {
		case s.fatal != nil:
			v = verdict{err: s.fatal}
		case s.refusal != nil:
			v = verdict{code: s.refusal.Code, message: bounded(s.refusal.Detail)}
		}
	}()
	resp := e.contracts.Chaincode.Invoke(s)
	if resp.GetStatus() < shim.ERRORTHRESHOLD {
		if n := len(resp.GetPayload()); n > s.limits.response {
			return verdict{code: record.CodeLimitExceeded, message: fmt.Sprintf("the contract returned %d bytes, at most %d are allowed", n, s.limits.response)}
		}
		return verdict{code: record.OK, payload: resp.GetPayload()}
	}
	code, ok := record.CodeOfText(resp.GetMessage())
	if !ok || code == record.OK {
		// An error without a code is not a refusal but something the contract
		// did not expect of its own records. Its text may hold anything.
		e.log.Error("contract failed without a code", "contract", s.inv.call.Contract, "function", s.inv.call.Function, "tx", s.inv.call.TxID)
		return verdict{code: record.CodePanic, message: "the contract has a defect: report it with the transaction's id"}
	}
	return verdict{code: code, message: bounded(strings.TrimPrefix(resp.GetMessage(), string(code)+": "))}
}

// logPanic says where a contract panicked. A panic's text may quote what the
// contract was given, so only the runtime's own is logged.
func (e *Executor) logPanic(s *stub, p any) {
	what := fmt.Sprintf("%T", p)
	var re runtime.Error
	if err, ok := p.(error); ok && errors.As(err, &re) {
		what = re.Error()
	}
	e.log.Error("contract panicked", "contract", s.inv.call.Contract, "function", s.inv.call.Function,
		"tx", s.inv.call.TxID, "panic", what, "stack", string(debug.Stack()))
}

// bounded cuts text to maxMessage bytes of valid UTF-8.
func bounded(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
