package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// Verified says what Verify has checked.
type Verified struct {
	ChainID   string        `json:"chainId"`
	Blocks    ledger.Height `json:"blocks"` // height of the newest
	Executed  ledger.Height `json:"executed"`
	StateRoot string        `json:"stateRoot"`
	Receipts  uint64        `json:"receipts"`
}

// VerifyProgress says how far Verify is.
type VerifyProgress struct {
	Step        string
	Done, Total uint64
}

// Verify checks the ledger of a stopped node, trusting nothing but its genesis
// file: hash chain, bodies, certificates and config changes of every block; every
// root that a header names, by executing all blocks again beside the data
// directory; and that the node's own state has those roots, its index and its
// receipt log. The data are not changed. The error names the first thing that is
// wrong and what to do.
func Verify(ctx context.Context, cfg config.Config, progress func(VerifyProgress)) (v Verified, err error) {
	if progress == nil {
		progress = func(VerifyProgress) {}
	}
	genesis, err := config.ReadGenesis(cfg.Genesis)
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	v.ChainID = genesis.Hash().Hex()
	blocks, err := store.Open(filepath.Join(cfg.DataDir, blocksDir), genesis.Hash())
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, blocks.Close()) }()
	v.Blocks = blocks.Tip().Height
	if err := blocks.Verify(ctx, func(done, total ledger.Height) {
		progress(VerifyProgress{"blocks and certificates", uint64(done), uint64(total)})
	}); err != nil {
		return v, fmt.Errorf("verify blocks: %w", err)
	}
	db, err := state.Open(ctx, state.Config{Dir: filepath.Join(cfg.DataDir, stateDir), ChainID: genesis.Hash()})
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	executed, roots, _ := db.Executed()
	v.Executed, v.StateRoot, v.Receipts = executed, roots.State.Hex(), roots.ReceiptsSize
	if executed > v.Blocks {
		return v, fmt.Errorf("verify: the state was executed up to height %d, the blocks end at %d: restore both from one backup, or start with empty folders and catch up", executed, v.Blocks)
	}
	if _, err := db.Verify(ctx, func(p state.Progress) { progress(VerifyProgress{"state: " + p.Stage, p.Done, p.Total}) }); err != nil {
		return v, fmt.Errorf("verify: %w: move %s away and start the node, it executes the blocks anew", err, filepath.Join(cfg.DataDir, stateDir))
	}
	if err := verifyExecution(ctx, cfg, genesis, blocks, db, progress); err != nil {
		return v, fmt.Errorf("verify execution: %w", err)
	}
	return v, nil
}

// verifyExecution executes every block again in a state of its own.
func verifyExecution(ctx context.Context, cfg config.Config, genesis *ledger.Config, blocks *store.Store, own *state.DB, progress func(VerifyProgress)) (err error) {
	dir, err := os.MkdirTemp(cfg.DataDir, "verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	again, err := state.Create(ctx, state.Config{Dir: filepath.Join(dir, stateDir), ChainID: genesis.Hash()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	contracts, err := Contracts()
	if err != nil {
		return err
	}
	ex, err := executor.New(executor.Config{DB: again, Genesis: genesis, Contracts: contracts})
	if err != nil {
		return err
	}
	tip := blocks.Tip().Height
	executed, _, ok := own.Executed()
	for b, err := range blocks.Blocks(0, tip) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h := &b.Header
		if h.Height > 0 {
			if err := compareRoots(again, h); err != nil {
				return err
			}
		}
		res, err := ex.Execute(b, nil)
		if err != nil {
			return err
		}
		if ok && h.Height == executed {
			if _, mine, _ := own.Executed(); mine != res.Roots {
				return fmt.Errorf("the state after height %d is %+v, executing the blocks again gives %+v: move %s away and start the node, it executes the blocks anew", executed, mine, res.Roots, filepath.Join(cfg.DataDir, stateDir))
			}
		}
		if ok && h.Height <= executed {
			if err := compareOutcomes(own.View(), res.Outcomes); err != nil {
				return fmt.Errorf("%w: move %s away and start the node, it executes the blocks anew", err, filepath.Join(cfg.DataDir, stateDir))
			}
		}
		if _, err := again.FlushIfDue(h.Time); err != nil {
			return err
		}
		progress(VerifyProgress{"execution", uint64(h.Height), uint64(tip)})
	}
	return nil
}

// compareOutcomes finds what no root commits to and clients are told all the
// same: what a call returned. The sentence for people may differ between
// versions of this program.
func compareOutcomes(own *state.View, again []*state.Outcome) error {
	for _, want := range again {
		got, err := own.OutcomeAt(want.Position)
		if err != nil {
			return err
		}
		if got.TxID != want.TxID || got.Height != want.Height || got.Time != want.Time || !bytes.Equal(got.Payload, want.Payload) {
			return fmt.Errorf("the state keeps another outcome of transaction %s at height %d than executing it gives", want.TxID, want.Height)
		}
	}
	return nil
}

func compareRoots(db *state.DB, h *ledger.Header) error {
	got, ok := db.RootsAt(h.ExecHeight)
	want := state.Roots{State: h.StateRoot, Receipts: h.ReceiptsRoot, ReceiptsSize: h.ReceiptsSize}
	if !ok || got != want {
		return fmt.Errorf("header %d certifies %+v after height %d, executing gives %+v: this program computes other results than the network; compare versions", h.Height, want, h.ExecHeight, got)
	}
	return nil
}
