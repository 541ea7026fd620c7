package gateway

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
)

// partOfAnswer is the size from which results leave in a further message.
const partOfAnswer = 256 << 10

// SubmitMany passes every transaction through the limits as if it had come by
// Submit, and counts it as such a call: coming together saves the work around
// transactions and gives no more of anything.
func (s ledgerService) SubmitMany(ctx context.Context, req *connect.Request[assentv1.SubmitManyRequest], stream *connect.ServerStream[assentv1.SubmitManyResponse]) error {
	if s.cfg.Transactions == nil {
		return notServed()
	}
	c := callOf(ctx)
	c.stopReading()
	c.read(req.Msg)
	var f form
	f.count("transactions", len(req.Msg.Transactions), api.MaxSubmitMany)
	if len(req.Msg.Transactions) == 0 {
		f.refuse("transactions is missing")
	}
	wait := f.wait("timeout_ms", req.Msg.TimeoutMs)
	if f.err != nil {
		return f.err
	}
	if wait == 0 {
		wait = api.DefaultCommitWait
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limits.RequestTimeout+wait)
	defer cancel()
	m := &many{Server: s.Server, call: c, stream: stream, parts: make([]part, len(req.Msg.Transactions))}
	code := assentv1.Code_CODE_CANCELLED
	defer func() { m.end(code) }()
	admitted := m.admit(req.Msg.Transactions)
	if len(admitted) == 0 {
		return m.send()
	}
	err := s.cfg.Transactions.SubmitMany(ctx, admitted, wait, m.report)
	if c := api.CodeOf(err); c != 0 {
		code = c
	}
	return err
}

// many is one call of SubmitMany.
type many struct {
	*Server
	call   *call
	stream *connect.ServerStream[assentv1.SubmitManyResponse]
	parts  []part // by index in the request
	passed []int  // of the transactions handed to the backend, their index in the request

	out  *assentv1.SubmitManyResponse
	size int // of out
}

// part is one transaction on its way.
type part struct {
	call  *call // counts as one of Submit; nil when it was told
	begun time.Time
}

// admit holds the transactions against the caller's limits and returns those
// that pass. The others have their result.
func (m *many) admit(txs [][]byte) [][]byte {
	admitted := make([][]byte, 0, len(txs))
	meter := m.clients.of(m.call.caller.Address, m.now())
	for i, tx := range txs {
		one := &call{
			server: m.Server, method: assentv1connect.LedgerServiceSubmitProcedure, caller: m.call.caller, known: m.call.known,
			body: true, http: m.call.http, http1: m.call.http1,
		}
		m.parts[i] = part{one, time.Now()}
		var f form
		if f.size("transaction", len(tx), 1, api.MaxTransactionBytes); f.err != nil {
			m.tell(i, &assentv1.SubmitResult{}, f.err)
			continue
		}
		if err := m.occupy(one, meter, m.now()); err != nil { // its bytes are the message's, counted already
			m.tell(i, &assentv1.SubmitResult{}, err)
			continue
		}
		admitted, m.passed = append(admitted, tx), append(m.passed, i)
	}
	return admitted
}

// report sends what the backend found out.
func (m *many) report(all []Submitted) error {
	for _, x := range all {
		r := &assentv1.SubmitResult{}
		if x.Err == nil {
			r.TxId = hex0x(x.TxID[:])
			if x.Outcome != nil {
				r.Outcome = outcomeOf(x.Outcome)
			}
		}
		m.tell(m.passed[x.Index], r, x.Err)
		if m.size >= partOfAnswer {
			if err := m.send(); err != nil {
				return err
			}
		}
	}
	return m.send()
}

// tell adds the result of transaction i to the next message and ends its call.
func (m *many) tell(i int, r *assentv1.SubmitResult, err error) {
	p := &m.parts[i]
	r.Index = uint32(i)
	if err != nil {
		r.Error = p.call.failed(err).Detail()
	}
	m.finish(p.call, time.Since(p.begun))
	p.call = nil
	if m.out == nil {
		m.out = &assentv1.SubmitManyResponse{}
	}
	m.out.Results = append(m.out.Results, r)
	m.size += proto.Size(r)
}

// send lets the results gathered leave.
func (m *many) send() error {
	if m.out == nil {
		return nil
	}
	out, size, held := m.out, m.size, m.call.held
	m.out, m.size = nil, 0
	if size > smallAnswer {
		if err := m.call.hold(int64(size)); err != nil {
			return err
		}
	}
	err := m.stream.Send(out)
	m.call.shrink(held)
	return err
}

// end ends the calls of transactions of which nothing was told.
func (m *many) end(code api.Code) {
	for i := range m.parts {
		if p := &m.parts[i]; p.call != nil {
			p.call.code = code
			m.finish(p.call, time.Since(p.begun))
		}
	}
}

// text replaces what is not UTF-8: one outcome must not make the message of all
// unsendable.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
