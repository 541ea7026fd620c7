package gateway

import (
	"context"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/ledger"
)

type ledgerService struct{ *Server }

var _ assentv1connect.LedgerServiceHandler = ledgerService{}

func (s ledgerService) Submit(ctx context.Context, req *connect.Request[assentv1.SubmitRequest]) (*connect.Response[assentv1.SubmitResponse], error) {
	if s.cfg.Transactions == nil {
		return nil, notServed()
	}
	var f form
	f.size("transaction", len(req.Msg.Transaction), 1, api.MaxTransactionBytes)
	wait := commitWait(req.Msg)
	if wait > api.MaxWait {
		f.refuse("timeout_ms is %d, at most %d are allowed", req.Msg.TimeoutMs, api.MaxWait/time.Millisecond)
	}
	if f.err != nil {
		return nil, f.err
	}
	id, out, err := s.cfg.Transactions.Submit(ctx, req.Msg.Transaction, wait)
	if err != nil {
		return nil, err
	}
	resp := &assentv1.SubmitResponse{TxId: hex0x(id[:])}
	if out != nil {
		resp.Outcome = outcomeOf(out)
	}
	return connect.NewResponse(resp), nil
}

func (s ledgerService) GetOutcome(ctx context.Context, req *connect.Request[assentv1.GetOutcomeRequest]) (*connect.Response[assentv1.GetOutcomeResponse], error) {
	if s.cfg.Transactions == nil {
		return nil, notServed()
	}
	var f form
	id, wait := f.hash("tx_id", req.Msg.TxId), f.wait("wait_ms", req.Msg.WaitMs)
	if f.err != nil {
		return nil, f.err
	}
	out, err := s.cfg.Transactions.Outcome(ctx, id, wait)
	if err != nil {
		return nil, err
	}
	if out == nil {
		return nil, &api.Error{Code: assentv1.Code_CODE_NOT_COMMITTED}
	}
	return connect.NewResponse(&assentv1.GetOutcomeResponse{Outcome: outcomeOf(out)}), nil
}

func outcomeOf(o *Outcome) *assentv1.Outcome {
	events := make([]*assentv1.Event, len(o.Events))
	for i := range o.Events {
		events[i] = eventOf(&o.Events[i])
	}
	return &assentv1.Outcome{
		TxId: hex0x(o.TxID[:]), Height: uint64(o.Height), Index: o.Index, Code: text(o.Code), Message: text(o.Message),
		Payload: o.Payload, Events: events, BlockTimeMs: o.BlockTime,
	}
}

func (s ledgerService) Evaluate(ctx context.Context, req *connect.Request[assentv1.EvaluateRequest]) (*connect.Response[assentv1.EvaluateResponse], error) {
	m := req.Msg
	var f form
	f.name("contract", m.Contract)
	f.name("function", m.Function)
	f.args(m.Args)
	wait := f.wait("wait_ms", m.WaitMs)
	if f.err != nil {
		return nil, f.err
	}
	c := Call{
		Caller: callOf(ctx).caller, Contract: m.Contract, Function: m.Function, Args: m.Args,
		MinHeight: ledger.Height(m.MinHeight), Wait: wait,
	}
	if c.Caller.Subject {
		if err := s.subjectMayEvaluate(ctx, c); err != nil {
			return nil, err
		}
	}
	payload, h, err := s.cfg.Reads.Evaluate(ctx, c)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.EvaluateResponse{Payload: payload, ExecutedHeight: uint64(h)}), nil
}

func (s ledgerService) GetStatus(ctx context.Context, _ *connect.Request[assentv1.GetStatusRequest]) (*connect.Response[assentv1.GetStatusResponse], error) {
	st := s.cfg.Node.Status()
	resp := &assentv1.GetStatusResponse{
		ChainId: hex0x(s.chain[:]), Network: s.network, NodeId: s.cfg.NodeID, Member: s.cfg.Member,
		Software: s.cfg.Software, Protocol: st.Protocol, ProtocolKnown: ledger.Protocol,
	}
	if !callOf(ctx).known {
		return connect.NewResponse(resp), nil
	}
	resp.Role = assentv1.NodeRole_NODE_ROLE_OBSERVER
	if st.Validator != 0 {
		resp.Role = assentv1.NodeRole_NODE_ROLE_VALIDATOR
	}
	resp.Height, resp.ExecutedHeight, resp.CertifiedHeight = uint64(st.Height), uint64(st.Executed), uint64(st.Certified)
	resp.ConfigSeq, resp.Validator, resp.Leader, resp.View = st.ConfigSeq, st.Validator, st.Leader, st.View
	resp.BlockTimeMs, resp.ViewAgeMs = st.BlockTime, uint64(max(st.ViewAge, 0).Milliseconds())
	resp.Pool, resp.Peers = uint64(max(st.Pool, 0)), uint64(max(st.Peers, 0))
	if err := s.cfg.Node.Ready(); err != nil {
		resp.NotReadyBecause = err.Error()
	} else {
		resp.Ready = true
	}
	return connect.NewResponse(resp), nil
}

func (s ledgerService) GetGenesis(context.Context, *connect.Request[assentv1.GetGenesisRequest]) (*connect.Response[assentv1.GetGenesisResponse], error) {
	return connect.NewResponse(&assentv1.GetGenesisResponse{Config: s.genesis}), nil
}

func (s ledgerService) GetBlock(ctx context.Context, req *connect.Request[assentv1.GetBlockRequest]) (*connect.Response[assentv1.GetBlockResponse], error) {
	block, cert, err := s.cfg.Blocks.Block(ctx, ledger.Height(req.Msg.Height))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.GetBlockResponse{Block: block, Certificate: cert}), nil
}

func (s ledgerService) GetHeader(ctx context.Context, req *connect.Request[assentv1.GetHeaderRequest]) (*connect.Response[assentv1.GetHeaderResponse], error) {
	h := s.cfg.Blocks.Tip()
	if req.Msg.Height != nil {
		h = ledger.Height(*req.Msg.Height)
	}
	header, err := s.cfg.Blocks.Header(ctx, h)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.GetHeaderResponse{CertifiedHeader: header.Encode()}), nil
}

func (s ledgerService) ProveRecord(ctx context.Context, req *connect.Request[assentv1.ProveRecordRequest]) (*connect.Response[assentv1.ProveRecordResponse], error) {
	if s.cfg.Proofs == nil {
		return nil, notServed()
	}
	var f form
	f.key("key", req.Msg.Key)
	wait := f.wait("wait_ms", req.Msg.WaitMs)
	if f.err == nil && ledger.KeepingOf(req.Msg.Key) != ledger.KeepRecord {
		f.refuse("key names a row that is no record: prove the receipt of the transaction that wrote it")
	}
	if f.err != nil {
		return nil, f.err
	}
	if c := callOf(ctx).caller; c.Subject {
		if err := s.subjectMayProve(ctx, c, req.Msg.Key); err != nil {
			return nil, err
		}
	}
	header, proof, err := s.cfg.Proofs.ProveRecord(ctx, req.Msg.Key, ledger.Height(req.Msg.MinHeight), wait)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.ProveRecordResponse{CertifiedHeader: header.Encode(), StateProof: proof.Encode()}), nil
}

func (s ledgerService) ProveReceipt(ctx context.Context, req *connect.Request[assentv1.ProveReceiptRequest]) (*connect.Response[assentv1.ProveReceiptResponse], error) {
	if s.cfg.Proofs == nil {
		return nil, notServed()
	}
	var f form
	id, wait := f.hash("tx_id", req.Msg.TxId), f.wait("wait_ms", req.Msg.WaitMs)
	f.count("keys", len(req.Msg.Keys), api.MaxProofKeys)
	for _, k := range req.Msg.Keys {
		f.key("keys", k)
	}
	if f.err != nil {
		return nil, f.err
	}
	if c := callOf(ctx).caller; c.Subject {
		if err := s.subjectMayProveReceipt(ctx, c, req.Msg.TxId); err != nil {
			return nil, err
		}
	}
	header, proof, err := s.cfg.Proofs.ProveReceipt(ctx, id, wait)
	if err != nil {
		return nil, err
	}
	resp := &assentv1.ProveReceiptResponse{CertifiedHeader: header.Encode(), ReceiptProof: proof.Encode()}
	for _, k := range req.Msg.Keys {
		if !slices.ContainsFunc(proof.Writes, func(w ledger.WriteHash) bool { return w.Key == k }) {
			return nil, api.Refuse(assentv1.Code_CODE_NOT_FOUND, "the transaction wrote nothing under one of the keys")
		}
		value, err := s.cfg.Proofs.Row(ctx, k)
		if err != nil {
			return nil, err
		}
		if !proof.Wrote(k, value) {
			return nil, &api.Error{
				Code:   assentv1.Code_CODE_NOT_FOUND,
				What:   "a later transaction has replaced the value under one of the keys",
				Remedy: "Ask without keys, or prove the record as it is now.",
			}
		}
		resp.Records = append(resp.Records, &assentv1.Record{Key: k, Value: value})
	}
	return connect.NewResponse(resp), nil
}

func (s ledgerService) GetConfigProofs(ctx context.Context, req *connect.Request[assentv1.GetConfigProofsRequest]) (*connect.Response[assentv1.GetConfigProofsResponse], error) {
	proofs, more, err := s.cfg.Blocks.ConfigProofs(ctx, max(req.Msg.FromSeq, 1), api.MaxConfigProofs) // config 0 is genesis
	if err != nil {
		return nil, err
	}
	resp := &assentv1.GetConfigProofsResponse{More: more}
	for _, p := range proofs {
		resp.ConfigProofs = append(resp.ConfigProofs, p.Encode())
	}
	return connect.NewResponse(resp), nil
}

func notServed() error { return &api.Error{Code: assentv1.Code_CODE_NOT_SERVED} }
