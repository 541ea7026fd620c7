package fakenode

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// handler implements the services over the ledger.
type handler struct{ n *Node }

// until waits for ok, asked again at each block, at most ms milliseconds.
func (h handler) until(ctx context.Context, ms uint32, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
	defer cancel()
	for {
		h.n.Net.mu.Lock()
		done, news := ok(), h.n.Net.news
		h.n.Net.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

func refusal(err error) error {
	if code, ok := record.CodeOf(err); ok {
		_, text, _ := strings.Cut(err.Error(), ": ")
		return api.RefuseContract(string(code), text).ToConnect()
	}
	var r *record.Refusal
	if errors.As(err, &r) { // a code of the node's own
		for _, e := range api.Entries() {
			if api.Name(e.Code) == string(r.Code) {
				return wire(e.Code, r.Detail)
			}
		}
	}
	return wire(v1.Code_CODE_INTERNAL, "fake node failed")
}

func outcome(t *tx, b *block) *v1.Outcome {
	o := &v1.Outcome{
		TxId: t.receipt.TxID.Hex(), Height: t.height, Index: uint64(t.index), Code: t.receipt.Code, Message: t.message,
		Payload: t.payload, BlockTimeMs: b.Header.Time,
	}
	for i, e := range t.events {
		o.Events = append(o.Events, eventOf(b, i, e))
	}
	return o
}

func eventOf(b *block, i int, e event) *v1.Event {
	return &v1.Event{
		Height: uint64(b.Header.Height), Index: uint32(i), TxId: e.txID.Hex(), Contract: e.Contract, Name: e.Name,
		Payload: e.Payload, BlockTimeMs: b.Header.Time,
	}
}

func (h handler) Submit(_ context.Context, req *connect.Request[v1.SubmitRequest]) (*connect.Response[v1.SubmitResponse], error) {
	net := h.n.Net
	t, known, err := net.submit(req.Msg.Transaction)
	if err != nil {
		return nil, refusal(err)
	}
	if known {
		return nil, wire(v1.Code_CODE_DUPLICATE, "the transaction is in block")
	}
	net.mu.Lock()
	defer net.mu.Unlock()
	return connect.NewResponse(&v1.SubmitResponse{TxId: t.receipt.TxID.Hex(), Outcome: outcome(t, net.blocks[t.height])}), nil
}

func (h handler) tx(id string) *tx {
	x, err := record.ParseHash(id)
	if err != nil {
		return nil
	}
	return h.n.Net.txs[x]
}

func (h handler) GetOutcome(ctx context.Context, req *connect.Request[v1.GetOutcomeRequest]) (*connect.Response[v1.GetOutcomeResponse], error) {
	net := h.n.Net
	if !h.until(ctx, req.Msg.WaitMs, func() bool { return h.tx(req.Msg.TxId) != nil }) {
		return nil, wire(v1.Code_CODE_NOT_COMMITTED, "no block holds it")
	}
	net.mu.Lock()
	defer net.mu.Unlock()
	t := h.tx(req.Msg.TxId)
	return connect.NewResponse(&v1.GetOutcomeResponse{Outcome: outcome(t, net.blocks[t.height])}), nil
}

func (h handler) Evaluate(_ context.Context, req *connect.Request[v1.EvaluateRequest]) (*connect.Response[v1.EvaluateResponse], error) {
	net := h.n.Net
	net.mu.Lock()
	defer net.mu.Unlock()
	c := &call{n: net}
	var args [][]byte
	for _, a := range req.Msg.Args {
		args = append(args, []byte(a))
	}
	b, err := c.run(req.Msg.Contract, req.Msg.Function, args)
	if err != nil {
		return nil, refusal(err)
	}
	height := uint64(len(net.blocks) - 1)
	if height < req.Msg.MinHeight {
		return nil, wire(v1.Code_CODE_NOT_EXECUTED, "not executed yet")
	}
	return connect.NewResponse(&v1.EvaluateResponse{Payload: b, ExecutedHeight: height}), nil
}

func (h handler) GetStatus(_ context.Context, req *connect.Request[v1.GetStatusRequest]) (*connect.Response[v1.GetStatusResponse], error) {
	net := h.n.Net
	h.n.mu.Lock()
	id := h.n.ID
	h.n.mu.Unlock()
	net.mu.Lock()
	defer net.mu.Unlock()
	tip := net.blocks[len(net.blocks)-1].Header
	s := &v1.GetStatusResponse{ChainId: net.ChainID().Hex(), Network: "fake", NodeId: id, Member: h.n.Member, Software: "fake", Protocol: 1, ProtocolKnown: 1}
	if req.Header().Get("Authorization") != "" {
		s.Height, s.ExecutedHeight, s.CertifiedHeight = uint64(tip.Height), uint64(tip.Height), uint64(tip.ExecHeight)
		s.BlockTimeMs, s.Ready, s.Leader, s.Validator, s.ConfigSeq, s.Peers = tip.Time, true, 1, 1, net.config.Seq, 3
	}
	return connect.NewResponse(s), nil
}

func (h handler) GetGenesis(context.Context, *connect.Request[v1.GetGenesisRequest]) (*connect.Response[v1.GetGenesisResponse], error) {
	return connect.NewResponse(&v1.GetGenesisResponse{Config: h.n.Net.Genesis.Encode()}), nil
}

func (h handler) GetBlock(_ context.Context, req *connect.Request[v1.GetBlockRequest]) (*connect.Response[v1.GetBlockResponse], error) {
	net := h.n.Net
	net.mu.Lock()
	defer net.mu.Unlock()
	if req.Msg.Height >= uint64(len(net.blocks)) {
		return nil, wire(v1.Code_CODE_NOT_FOUND, "no such block")
	}
	b := net.blocks[req.Msg.Height]
	return connect.NewResponse(&v1.GetBlockResponse{Block: b.Encode(), Certificate: b.cert.Encode()}), nil
}

func (h handler) GetHeader(_ context.Context, req *connect.Request[v1.GetHeaderRequest]) (*connect.Response[v1.GetHeaderResponse], error) {
	net := h.n.Net
	net.mu.Lock()
	defer net.mu.Unlock()
	at := len(net.blocks) - 1
	if req.Msg.Height != nil {
		at = int(req.Msg.GetHeight())
	}
	if at >= len(net.blocks) {
		return nil, wire(v1.Code_CODE_NOT_FOUND, "no such header")
	}
	return connect.NewResponse(&v1.GetHeaderResponse{CertifiedHeader: net.certified(at).Encode()}), nil
}

func (h handler) ProveRecord(ctx context.Context, req *connect.Request[v1.ProveRecordRequest]) (*connect.Response[v1.ProveRecordResponse], error) {
	net := h.n.Net
	ok := func() bool { return uint64(net.blocks[len(net.blocks)-1].Header.ExecHeight) >= req.Msg.MinHeight }
	if !h.until(ctx, req.Msg.WaitMs, ok) {
		return nil, wire(v1.Code_CODE_NOT_CERTIFIED, "no certificate yet")
	}
	net.mu.Lock()
	defer net.mu.Unlock()
	ch, p := net.proveRecord(len(net.blocks)-1, req.Msg.Key)
	return connect.NewResponse(&v1.ProveRecordResponse{CertifiedHeader: ch.Encode(), StateProof: p.Encode()}), nil
}

func (h handler) ProveReceipt(ctx context.Context, req *connect.Request[v1.ProveReceiptRequest]) (*connect.Response[v1.ProveReceiptResponse], error) {
	net := h.n.Net
	if !h.until(ctx, req.Msg.WaitMs, func() bool { return h.tx(req.Msg.TxId) != nil }) {
		return nil, wire(v1.Code_CODE_NOT_COMMITTED, "no block holds it")
	}
	net.mu.Lock()
	defer net.mu.Unlock()
	t := h.tx(req.Msg.TxId)
	ch, p := net.proveReceipt(len(net.blocks)-1, t)
	resp := &v1.ProveReceiptResponse{CertifiedHeader: ch.Encode(), ReceiptProof: p.Encode()}
	for _, key := range req.Msg.Keys {
		i := slices.IndexFunc(t.writes, func(w ledger.Write) bool { return w.Key == key })
		if i < 0 {
			return nil, wire(v1.Code_CODE_NOT_FOUND, "the transaction did not write that row")
		}
		resp.Records = append(resp.Records, &v1.Record{Key: key, Value: t.writes[i].Value})
	}
	return connect.NewResponse(resp), nil
}

func (h handler) GetConfigProofs(_ context.Context, req *connect.Request[v1.GetConfigProofsRequest]) (*connect.Response[v1.GetConfigProofsResponse], error) {
	net := h.n.Net
	net.mu.Lock()
	defer net.mu.Unlock()
	if req.Msg.FromSeq == 0 || req.Msg.FromSeq > uint64(len(net.configs)) {
		return connect.NewResponse(&v1.GetConfigProofsResponse{}), nil
	}
	rest := net.configs[req.Msg.FromSeq-1:]
	n := min(len(rest), api.MaxConfigProofs)
	return connect.NewResponse(&v1.GetConfigProofsResponse{ConfigProofs: slices.Clone(rest[:n]), More: n < len(rest)}), nil
}

func (h handler) Events(ctx context.Context, req *connect.Request[v1.EventsRequest], st *connect.ServerStream[v1.EventsResponse]) error {
	h.n.mu.Lock()
	end, rewind := h.n.stream, h.n.rewind
	h.n.mu.Unlock()
	net := h.n.Net
	height, index := uint64(0), uint32(0)
	net.mu.Lock()
	if from := req.Msg.From; from != nil {
		height, index = from.Height, from.Index
		if rewind > 0 {
			height, index = height-min(rewind, height), 0
		}
	} else {
		height = uint64(len(net.blocks))
	}
	net.mu.Unlock()
	for sent := 0; ; {
		net.mu.Lock()
		news := net.news
		var out []*v1.EventsResponse
		for ; height < uint64(len(net.blocks)); height, index = height+1, 0 {
			b := net.blocks[height]
			for i, e := range b.events {
				if uint32(i) >= index && matches(req.Msg, e) {
					out = append(out, &v1.EventsResponse{Event: eventOf(b, i, e), Next: &v1.Checkpoint{Height: height, Index: uint32(i + 1)}})
				}
			}
		}
		net.mu.Unlock()
		for _, m := range append(out, &v1.EventsResponse{Next: &v1.Checkpoint{Height: height}}) {
			if end != nil {
				if err := end(sent); err != nil {
					return err
				}
			}
			if err := st.Send(m); err != nil {
				return err
			}
			if m.Event != nil {
				sent++
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func matches(req *v1.EventsRequest, e event) bool {
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return in(req.Contracts, e.Contract) && in(req.Names, e.Name) &&
		strings.Contains(string(e.Payload), req.ConsentId) && strings.Contains(string(e.Payload), `"`+req.Party)
}

func (h handler) PutSealedPart(_ context.Context, req *connect.Request[v1.PutSealedPartRequest]) (*connect.Response[v1.PutSealedPartResponse], error) {
	net := h.n.Net
	net.mu.Lock()
	defer net.mu.Unlock()
	key := req.Msg.ConsentId + "/" + req.Msg.Recipient
	if old, ok := net.parts[key]; ok && string(old) != string(req.Msg.Sealed) {
		return nil, wire(v1.Code_CODE_ALREADY_EXISTS, "other bytes are there")
	}
	net.parts[key] = req.Msg.Sealed
	return connect.NewResponse(&v1.PutSealedPartResponse{}), nil
}

func (h handler) AwaitAnswer(ctx context.Context, req *connect.Request[v1.AwaitAnswerRequest]) (*connect.Response[v1.AwaitAnswerResponse], error) {
	net := h.n.Net
	var b []byte
	if !h.until(ctx, req.Msg.TimeoutMs, func() bool { b = net.answers[req.Msg.RequestId]; return b != nil }) {
		return nil, wire(v1.Code_CODE_ANSWER_PENDING, "it has not arrived")
	}
	return connect.NewResponse(&v1.AwaitAnswerResponse{Envelope: b}), nil
}

func (h handler) Bind(_ context.Context, req *connect.Request[v1.BindRequest]) (*connect.Response[v1.BindResponse], error) {
	a, err := record.ParseAddress(req.Msg.Wallet)
	if err != nil {
		return nil, wire(v1.Code_CODE_BAD_REQUEST, "wallet")
	}
	h.n.Net.mu.Lock()
	defer h.n.Net.mu.Unlock()
	h.n.Net.bound[req.Msg.Subject] = a
	return connect.NewResponse(&v1.BindResponse{}), nil
}

func (h handler) BindConsent(_ context.Context, req *connect.Request[v1.BindConsentRequest]) (*connect.Response[v1.BindConsentResponse], error) {
	h.n.Net.mu.Lock()
	defer h.n.Net.mu.Unlock()
	if old, ok := h.n.Net.boundTo[req.Msg.ConsentId]; ok && old != req.Msg.Subject {
		return nil, wire(v1.Code_CODE_ALREADY_EXISTS, "the consent is bound to another customer")
	}
	h.n.Net.boundTo[req.Msg.ConsentId] = req.Msg.Subject
	return connect.NewResponse(&v1.BindConsentResponse{}), nil
}

func (h handler) Unbind(_ context.Context, req *connect.Request[v1.UnbindRequest]) (*connect.Response[v1.UnbindResponse], error) {
	h.n.Net.mu.Lock()
	defer h.n.Net.mu.Unlock()
	delete(h.n.Net.bound, req.Msg.Subject)
	return connect.NewResponse(&v1.UnbindResponse{}), nil
}

func (h handler) CheckTemplate(_ context.Context, req *connect.Request[v1.CheckTemplateRequest]) (*connect.Response[v1.CheckTemplateResponse], error) {
	resp := &v1.CheckTemplateResponse{}
	if strings.Contains(req.Msg.TemplateJson, "syntax error") {
		resp.Findings = []*v1.Finding{{Severity: v1.Severity_SEVERITY_ERROR, Field: "source", Line: 1, Column: 8, What: "does not compile", Remedy: "Correct it."}}
	}
	return connect.NewResponse(resp), nil
}

// SubmitMany is Submit for each, told one by one. An answer to Submit that is to
// be lost ends the stream.
func (h handler) SubmitMany(ctx context.Context, req *connect.Request[v1.SubmitManyRequest], stream *connect.ServerStream[v1.SubmitManyResponse]) error {
	for i, tx := range req.Msg.Transactions {
		r := &v1.SubmitResult{Index: uint32(i)}
		resp, err := h.Submit(ctx, connect.NewRequest(&v1.SubmitRequest{Transaction: tx, Wait: v1.Wait_WAIT_COMMITTED, TimeoutMs: req.Msg.TimeoutMs}))
		if err != nil {
			r.Error = api.FromConnect(err).Detail()
		} else {
			r.TxId, r.Outcome = resp.Msg.TxId, resp.Msg.Outcome
		}
		msg := &v1.SubmitManyResponse{Results: []*v1.SubmitResult{r}}
		alter, lost := h.n.mishap("Submit", "SubmitMany")
		if lost {
			return Unavailable()
		}
		if alter != nil {
			alter(msg)
		}
		if err := stream.Send(msg); err != nil {
			return err
		}
	}
	return nil
}
