package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// backend serves the API's calls from the node's rooms.
type backend struct {
	*Node
	events  *eventLog
	probing chan struct{} // room for one
}

// Client implements gateway.Clients.
func (b *backend) Client(org record.OrgID, key ledger.Address) (*record.Client, record.Millis, error) {
	view := b.state.View()
	c, err := loadRecord[record.Client](view, record.ClientKey(org, key))
	if errors.Is(err, errNoRecord) {
		return nil, record.Millis(view.Time()), nil
	}
	return c, record.Millis(view.Time()), err
}

// Submit implements gateway.Transactions.
func (b *backend) Submit(ctx context.Context, raw []byte, wait time.Duration) (ledger.Hash, *gateway.Outcome, error) {
	begun := time.Now()
	w := b.chain.Watch(1)
	defer w.Stop()
	id, o, err := b.pass(ctx, raw, w, 0)
	if o != nil || err != nil || wait <= 0 {
		return id, o, err
	}
	wctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	settled, err := w.Next(wctx)
	if err == nil {
		err = settled[0].Err
	}
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return id, nil, nil // not known in time
		}
		return id, nil, b.refusal(err)
	}
	b.metrics.Committed(time.Since(begun))
	return id, apiOutcome(settled[0].Outcome), nil
}

// pass admits a transaction whose outcome w will tell under index. One that is
// executed already has its outcome here.
func (b *backend) pass(ctx context.Context, raw []byte, w *chain.Watch, index int) (ledger.Hash, *gateway.Outcome, error) {
	tx, err := ledger.DecodeTransaction(raw)
	if err != nil {
		return ledger.Hash{}, nil, api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	if err := b.checkTemplateTransaction(tx); err != nil {
		return ledger.Hash{}, nil, err
	}
	if err := b.refuseHalted(); err != nil {
		b.metrics.Refused(whyRefused(err))
		return ledger.Hash{}, nil, err
	}
	w.Add(index, tx.ID(), tx.Payload.ValidUntil)
	_, err = b.chain.SubmitDecoded(ctx, raw, tx)
	switch {
	case errors.Is(err, chain.ErrKnown):
		o, err := b.Outcome(ctx, tx.ID(), 0)
		return tx.ID(), o, err
	case errors.Is(err, chain.ErrStranger):
		return ledger.Hash{}, nil, b.stranger(&tx.Payload, err)
	case err != nil:
		b.metrics.Refused(whyRefused(err))
		return ledger.Hash{}, nil, b.refusal(err)
	}
	return tx.ID(), nil, nil
}

// stranger says what is the matter with a key that no node takes transactions of,
// with the code that the contract would have given.
func (b *backend) stranger(p *ledger.Payload, cause error) error {
	client, now, err := b.Client(record.OrgID(p.Org), p.Key)
	if err != nil {
		return err
	}
	code := record.CodeUnknownKey
	if client != nil {
		if c, ok := record.CodeOf(client.Usable(now)); ok && c != record.OK {
			code = c
		}
	}
	return api.Refuse(api.FromLedger(string(code)), "the transaction's key is not registered for the member it names, or may not act any more: %w", cause)
}

// refusal turns an error of the chain into one of the API.
func refusal(err error) error {
	var busy *chain.Busy
	if errors.As(err, &busy) {
		return &api.Error{Code: pb.Code_CODE_OVERLOADED, What: busy.Error(), RetryAfter: busy.RetryAfter, Cause: err}
	}
	code := pb.Code(0)
	switch {
	case errors.Is(err, chain.ErrTooLarge):
		code = pb.Code_CODE_TOO_LARGE
	case errors.Is(err, ledger.ErrWrongChain):
		code = pb.Code_CODE_WRONG_CHAIN
	case errors.Is(err, ledger.ErrBadSignature), errors.Is(err, ledger.ErrWrongSigner):
		code = pb.Code_CODE_BAD_SIGNATURE
	case errors.Is(err, chain.ErrInvalid):
		code = pb.Code_CODE_BAD_REQUEST
	case errors.Is(err, chain.ErrNotNow), errors.Is(err, chain.ErrExpired):
		code = pb.Code_CODE_NOT_VALID_NOW
	case errors.Is(err, chain.ErrBusy):
		code = pb.Code_CODE_OVERLOADED
	case errors.Is(err, chain.ErrNotReady), errors.Is(err, chain.ErrStopped):
		code = pb.Code_CODE_NOT_READY
	default:
		return err
	}
	return api.Refuse(code, "%w", err)
}

// Outcome implements gateway.Transactions.
func (b *backend) Outcome(ctx context.Context, id ledger.Hash, wait time.Duration) (*gateway.Outcome, error) {
	wctx, cancel := context.WithTimeout(ctx, wait) // not for asking others who keeps it
	defer cancel()
	for {
		next := b.chain.Executed()
		o, err := b.state.View().Find(id)
		if err == nil && o.NoPayload {
			return nil, b.pruned(ctx, o.Height, fmt.Sprintf("what transaction %s returned at height %d", id, o.Height), recordsKept)
		}
		if err == nil {
			return apiOutcome(o), nil
		}
		if !errors.Is(err, state.ErrNotFound) {
			return nil, b.sayPruned(ctx, err)
		}
		select {
		case <-next:
		case <-wctx.Done():
			return nil, nil
		}
	}
}

func apiOutcome(o *state.Outcome) *gateway.Outcome {
	out := &gateway.Outcome{
		TxID: o.TxID, Height: o.Height, Index: o.Index, Code: o.Code, Message: o.Message, Payload: o.Payload, BlockTime: o.Time,
	}
	for i := range o.Events {
		e := &o.Events[i]
		out.Events = append(out.Events, gateway.Event{Height: o.Height, TxID: o.TxID, Contract: e.Contract, Name: e.Name, Payload: e.Payload, BlockTime: o.Time})
	}
	return out
}

// Evaluate implements gateway.Reads.
func (b *backend) Evaluate(ctx context.Context, c gateway.Call) ([]byte, ledger.Height, error) {
	if err := b.waitFor(ctx, c.MinHeight, c.Wait); err != nil {
		return nil, 0, err
	}
	if f, ok := chaincode.Lookup(c.Contract, c.Function); ok && !f.Evaluate {
		return nil, 0, api.Refuse(pb.Code_CODE_WRITE_IN_READ, "%s.%s writes", c.Contract, c.Function)
	}
	view := b.state.View()
	args := make([][]byte, len(c.Args))
	for i, a := range c.Args {
		args[i] = []byte(a)
	}
	out, err := b.executor.Evaluate(ctx, view, executor.Identity{Org: c.Caller.Org, Key: c.Caller.Address}, c.Contract, c.Function, args)
	return out, view.Height(), b.sayPruned(ctx, err)
}

// waitFor waits at most wait until a height is executed.
func (b *backend) waitFor(ctx context.Context, h ledger.Height, wait time.Duration) error {
	if e, _, ok := b.state.Executed(); ok && e >= h {
		return nil
	}
	wctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := b.chain.WaitExecuted(wctx, h); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, chain.ErrStopped) {
			return b.refusal(err)
		}
		e, _, _ := b.state.Executed()
		return api.Refuse(pb.Code_CODE_NOT_EXECUTED, "height %d is not executed here yet, the newest is %d", h, e)
	}
	return nil
}

// ProveRecord implements gateway.Proofs.
func (b *backend) ProveRecord(ctx context.Context, key string, minHeight ledger.Height, wait time.Duration) (*ledger.CertifiedHeader, *ledger.StateProof, error) {
	var proof *ledger.StateProof
	h, err := b.certified(ctx, wait, func(h *ledger.Header) (bool, error) {
		if h.ExecHeight < minHeight {
			return false, nil
		}
		var err error
		proof, err = b.state.ProveState(h.ExecHeight, key)
		if errors.Is(err, state.ErrProofTooOld) && b.store.Tip().Height > h.Height {
			return false, nil // a newer header came meanwhile
		}
		if errors.Is(err, state.ErrProofTooOld) {
			return false, api.Refuse(pb.Code_CODE_PROOF_TOO_OLD, "%w", err)
		}
		return err == nil, err
	})
	return h, proof, err
}

// ProveReceipt implements gateway.Proofs.
func (b *backend) ProveReceipt(ctx context.Context, id ledger.Hash, wait time.Duration) (*ledger.CertifiedHeader, *ledger.ReceiptProof, error) {
	var proof *ledger.ReceiptProof
	found := false
	h, err := b.certified(ctx, wait, func(h *ledger.Header) (bool, error) {
		view := b.state.View()
		var err error
		proof, err = view.ProveReceipt(id, h.ReceiptsSize)
		if errors.Is(err, state.ErrNotFound) {
			return false, nil
		}
		found = true
		if errors.Is(err, state.ErrNotExecuted) {
			return false, nil
		}
		return err == nil, err
	})
	if api.CodeOf(err) == pb.Code_CODE_NOT_CERTIFIED && !found {
		err = api.Refuse(pb.Code_CODE_NOT_COMMITTED, "transaction %s is in no block yet", id)
	}
	return h, proof, err
}

// certified tries the newest certified header, and every newer one that comes
// within wait, until try succeeds.
func (b *backend) certified(ctx context.Context, wait time.Duration, try func(*ledger.Header) (bool, error)) (*ledger.CertifiedHeader, error) {
	h, err := (&certificates{tip: b.store.Tip, grown: b.store.Wait, executed: b.waitFor}).first(ctx, wait, try)
	if err != nil {
		return nil, err
	}
	return b.store.Certified(h)
}

// Row implements gateway.Proofs.
func (b *backend) Row(ctx context.Context, key string) ([]byte, error) {
	v, ok, err := b.state.View().Get(key)
	if !ok {
		return nil, b.sayPruned(ctx, err)
	}
	return v, nil
}

// Genesis implements gateway.Blocks.
func (b *backend) Genesis() *ledger.Config { return b.genesis }

// Tip implements gateway.Blocks.
func (b *backend) Tip() ledger.Height { return b.store.Tip().Height }

func aboveTip(err error) error {
	if errors.Is(err, store.ErrAbove) {
		return api.Refuse(pb.Code_CODE_NOT_FOUND, "%w", err)
	}
	return err
}

// Block implements gateway.Blocks.
func (b *backend) Block(ctx context.Context, h ledger.Height) (block, certificate []byte, err error) {
	block, certificate, err = b.store.Encoded(h)
	if errors.Is(err, store.ErrPruned) {
		return nil, nil, b.pruned(ctx, h, fmt.Sprintf("block %d", h), blocksKept)
	}
	return block, certificate, aboveTip(err)
}

// Header implements gateway.Blocks.
func (b *backend) Header(_ context.Context, h ledger.Height) (*ledger.CertifiedHeader, error) {
	if h == 0 {
		header, _, err := b.store.Header(0)
		if err != nil {
			return nil, err
		}
		return &ledger.CertifiedHeader{Header: *header}, nil
	}
	c, err := b.store.Certified(h)
	return c, aboveTip(err)
}

// ConfigProofs implements gateway.Blocks.
func (b *backend) ConfigProofs(_ context.Context, seq uint64, most int) ([]*ledger.ConfigProof, bool, error) {
	newest := b.store.Tip().Config.Seq
	var out []*ledger.ConfigProof
	for ; seq <= newest && len(out) < most; seq++ {
		if seq == 0 {
			continue // genesis proves itself
		}
		p, err := b.store.ConfigProof(seq)
		if err != nil {
			return nil, false, err
		}
		out = append(out, p)
	}
	return out, seq <= newest, nil
}

// Next implements gateway.Events.
func (b *backend) Next() gateway.Checkpoint {
	h, _, ok := b.state.Executed()
	if !ok {
		return gateway.Checkpoint{}
	}
	return gateway.Checkpoint{Height: h + 1}
}

// Status implements gateway.Node.
func (b *backend) Status() gateway.Status {
	tip, engine := b.store.Tip(), b.chain.EngineStatus()
	executed, _, _ := b.state.Executed()
	s := gateway.Status{
		Protocol: tip.Config.Protocol, Height: tip.Height, Executed: executed, Certified: tip.Header.ExecHeight,
		ConfigSeq: tip.Config.Seq, Leader: uint64(engine.Leader), View: engine.View, BlockTime: tip.Header.Time, Pool: engine.Pool,
	}
	s.Validator = b.chain.Standing().Validator
	if age, ok := b.view.Age(); ok {
		s.ViewAge = age
	}
	for _, p := range b.host.Status() {
		if p.Connected {
			s.Peers++
		}
	}
	return s
}
