package sdk

import (
	"context"
	"errors"
	"sync"

	"github.com/assent-network/assent/chaincode/record"
)

// whole is what the questions of one batch share while their answers come: the
// proof of their one transaction, which is as long as the batch, and one stream of
// receipts. Each question for itself would fetch the former and read all of the
// latter: a thousand times a thousand. A nil whole is a question by itself.
type whole struct {
	m     Queries
	proof func() (*ProvenReceipt, error) // fetched once, by whoever needs it first

	filter  EventFilter
	from    Checkpoint
	found   map[RequestID]chan Hash // for each permitted question room for its receipt's transaction
	stopped chan struct{}           // closed when no more will be found
}

// newWhole is for the permitted questions of a batch, of which t is any ticket, and
// whose answers come until ctx ends.
func (m Queries) newWhole(ctx context.Context, t *Ticket, permitted []RequestID) *whole {
	w := &whole{
		m: m, from: Checkpoint{Height: t.Height}, found: make(map[RequestID]chan Hash, len(permitted)), stopped: make(chan struct{}),
		filter: EventFilter{Contracts: []string{record.ContractAccess}, Names: []string{"receipt"}, Party: m.c.set.org},
	}
	for _, id := range permitted {
		w.found[id] = make(chan Hash, 1)
	}
	w.proof = sync.OnceValues(func() (*ProvenReceipt, error) {
		tx, err := t.transaction()
		if err != nil {
			return nil, err
		}
		return m.c.Proofs().Receipt(ctx, tx.ID())
	})
	return w
}

// watch finds the receipts of the batch until it has them all, or ctx ends.
func (w *whole) watch(ctx context.Context) {
	defer close(w.stopped)
	left := len(w.found)
	for ev, err := range w.m.c.Events(ctx, &w.from, w.filter) {
		if err != nil {
			return // each question looks for itself, and says what is wrong
		}
		r, err := record.Load[record.Receipt](ev.Payload)
		if err != nil {
			continue
		}
		select {
		case w.found[r.RequestID] <- ev.TxID: // another's has no channel, and is not waited for
			left--
		default:
		}
		if left == 0 {
			return
		}
	}
}

// receipt waits for the transaction of a question's receipt. ok is false if the
// caller has to look for it.
func (w *whole) receipt(ctx context.Context, id RequestID) (txID Hash, ok bool) {
	if w == nil || w.found[id] == nil {
		return Hash{}, false
	}
	select {
	case txID = <-w.found[id]:
		return txID, true
	case <-ctx.Done():
		return Hash{}, false
	case <-w.stopped:
	}
	select { // it may have been the last one
	case txID = <-w.found[id]:
		return txID, true
	default:
		return Hash{}, false
	}
}

// request proves the record of a question, which transaction txID wrote. In a
// batch the record alone is fetched and held against the one proof.
func (w *whole) request(ctx context.Context, m Queries, txID Hash, id RequestID) (*ProvenReceipt, error) {
	key := record.RequestKey(id)
	if w == nil {
		return m.c.Proofs().Receipt(ctx, txID, key)
	}
	all, err := w.proof()
	if err != nil { // of one attempt for all of them
		return m.c.Proofs().Receipt(ctx, txID, key)
	}
	row, err := round(ctx, m.c, "read request "+string(id), anyNode, func(ctx context.Context, e *endpoint) ([]byte, error) {
		row, err := m.c.evaluateAt(ctx, e, all.Height, record.ContractAccess, "GetRequest", string(id))
		if err == nil && !all.Proof.Wrote(key, row) {
			err = &Untrusted{Node: e.url, What: "request " + string(id), Cause: errors.New("the batch's transaction did not write it")}
		}
		return row, err
	})
	if err != nil {
		return nil, err
	}
	p := *all
	p.Records = map[string][]byte{key: row}
	return &p, nil
}
