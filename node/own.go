package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/outbox"
)

// ownTxs keeps the transactions of this node that are under way, by what they are
// for, so that a retry sends the same one.
type ownTxs struct {
	mu   sync.Mutex
	byID map[string]*ledger.Transaction
	look int // at how many to look for expired ones again
}

// leastOwnTxs is how many are kept before those that have expired are looked for.
const leastOwnTxs = 1024

func (o *ownTxs) drop(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byID, id)
}

// submitOwn puts a transaction of this node's own key on the ledger and returns
// the code of its outcome. id says what it is for: calling again after an error,
// which leaves open whether it is ordered, goes on with the same transaction. An
// error that is outbox.ErrNotSent says that it was not.
func (n *Node) submitOwn(ctx context.Context, id, contract, function string, args ...[]byte) (record.Code, error) {
	tx, err := n.ownTx(id, contract, function, args)
	if err != nil {
		return "", err
	}
	wait, stop := n.chain.Expect(tx.ID(), tx.Payload.ValidUntil)
	defer stop()
	var code string
	_, err = n.chain.Submit(ctx, tx.Encode())
	switch {
	case errors.Is(err, chain.ErrKnown):
		o, err := n.state.View().Find(tx.ID())
		if err != nil {
			return "", err
		}
		code = o.Code
	case errors.Is(err, chain.ErrNotNow), errors.Is(err, chain.ErrExpired):
		n.own.drop(id)
		return "", fmt.Errorf("%w: %w", outbox.ErrNotSent, err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", outbox.ErrNotSent, err)
	default:
		o, err := wait(ctx)
		if err != nil {
			if errors.Is(err, chain.ErrExpired) {
				n.own.drop(id)
			}
			return "", err
		}
		code = o.Code
	}
	n.own.drop(id)
	return record.Code(code), nil
}

// ownTx returns the transaction under way for a purpose, or signs one.
func (n *Node) ownTx(id, contract, function string, args [][]byte) (*ledger.Transaction, error) {
	o := &n.own
	now := uint64(n.now().UnixMilli())
	o.mu.Lock()
	tx := o.byID[id]
	o.mu.Unlock()
	if tx != nil && tx.Payload.ValidUntil > now+ledger.PoolMarginMillis {
		return tx, nil
	}
	p := ledger.Payload{
		ChainID: n.chainID, Org: n.member, Key: n.txKey.Address(), Contract: contract, Function: function,
		Args: args, NotBefore: now - 30_000, ValidUntil: now - 30_000 + ledger.MaxValidityMillis,
	}
	rand.Read(p.Nonce[:])
	tx = ledger.NewTransaction(p)
	if err := tx.Sign(n.txKey); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.byID) >= max(o.look, leastOwnTxs) { // what somebody else did meanwhile is never asked about again
		maps.DeleteFunc(o.byID, func(_ string, old *ledger.Transaction) bool { return old.Payload.ValidUntil < now })
		o.look = 2 * len(o.byID)
	}
	o.byID[id] = tx
	return tx, nil
}
