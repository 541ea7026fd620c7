package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/scripts/faults/check"
	"github.com/assent-network/assent/scripts/testnet"
)

// readLedger reads what a stopped node holds.
func readLedger(ctx context.Context, n *testnet.Net, x *testnet.Node) (l check.Ledger, err error) {
	l.Node = x.Name
	chain := n.Genesis().Hash()
	blocks, err := store.Open(filepath.Join(x.DataDir(), "blocks"), chain)
	if err != nil {
		return l, fmt.Errorf("%s: %w", x.Name, err)
	}
	defer func() { err = errors.Join(err, blocks.Close()) }()
	for h := range blocks.Tip().Height + 1 {
		_, hash, err := blocks.Header(ledger.Height(h))
		if err != nil {
			return l, fmt.Errorf("%s: header at height %d: %w", x.Name, h, err)
		}
		l.Hashes = append(l.Hashes, hash.Hex())
	}
	db, err := state.Open(ctx, state.Config{Dir: filepath.Join(x.DataDir(), "state"), ChainID: chain})
	if err != nil {
		return l, fmt.Errorf("%s: %w", x.Name, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	view := db.View()
	l.Root = view.Roots().State.Hex()
	for i := range view.Roots().ReceiptsSize {
		o, err := view.OutcomeAt(i)
		if err != nil {
			return l, fmt.Errorf("%s: %w", x.Name, err)
		}
		e, err := executed(o)
		if err != nil {
			return l, fmt.Errorf("%s: outcome of %s: %w", x.Name, o.TxID, err)
		}
		l.Order = append(l.Order, e)
	}
	return l, nil
}

func executed(o *state.Outcome) (check.Executed, error) {
	e := check.Executed{
		ID: o.TxID.Hex(), At: check.Position{Height: uint64(o.Height), Index: o.Index}, Time: o.Time, Code: o.Code,
	}
	for i := range o.Events {
		ev := &o.Events[i]
		if ev.Contract != record.ContractAccess {
			continue
		}
		switch ev.Name {
		case "request":
			r, err := record.Load[record.Request](ev.Payload)
			if err != nil {
				return e, err
			}
			e.Decision, e.Request = string(r.Code), string(r.RequestID)
		case "receipt":
			r, err := record.Load[record.Receipt](ev.Payload)
			if err != nil {
				return e, err
			}
			e.Receipts = append(e.Receipts, string(r.RequestID))
		}
	}
	return e, nil
}
