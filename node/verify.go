package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/join"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
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
	// Begin is the height of the snapshot from which execution was repeated; 0:
	// from genesis on. It is that of a snapshot where blocks were pruned or the node
	// began with one.
	Begin ledger.Height `json:"begin"`
	// Repeated is false if nothing could be executed again: blocks are missing and no
	// snapshot stands below those that are there.
	Repeated bool `json:"repeated"`
	// Private says how private.db was checked: "every byte", or "form" alone after a
	// crash: start and stop the node once for the rest.
	Private string `json:"private"`
	// Snapshots is how many are kept, all of them sound.
	Snapshots int `json:"snapshots"`
}

// VerifyProgress says how far Verify is.
type VerifyProgress struct {
	Step        string
	Done, Total uint64
}

// Verify checks the ledger of a stopped node, trusting nothing but its genesis
// file: hash chain, bodies, certificates and config changes of every block; every
// root that a header names, by executing the blocks again beside the data
// directory, all of them or, where they were pruned, those above a snapshot of its
// own; that the node's own state has those roots, its index and its receipt log;
// that the private database is whole and of this network, and the ordering log fits
// the blocks. The data are not changed. The error names what is
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
	if err := verifyDisk(cfg.DataDir); err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	blocks, err := store.Open(filepath.Join(cfg.DataDir, blocksDir), genesis.Hash())
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, blocks.Close()) }()
	v.Blocks = blocks.Tip().Height
	sealed, beside := verifyBeside(ctx, &cfg, genesis.Hash(), blocks)
	v.Private = map[bool]string{true: "every byte", false: "form"}[sealed]
	if beside != nil {
		defer func() { err = errors.Join(err, fmt.Errorf("verify: %w", beside)) }()
	}
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
	var broken error
	if v.Snapshots, broken = verifySnapshots(ctx, cfg, blocks, progress); broken != nil {
		defer func() { err = errors.Join(err, fmt.Errorf("verify: %w", broken)) }()
	}
	v.Begin, v.Repeated, err = verifyExecution(ctx, cfg, genesis, blocks, db, progress)
	if err != nil {
		return v, fmt.Errorf("verify execution: %w", err)
	}
	return v, nil
}

// verifyExecution executes every block that is kept again, in a state of its own.
func verifyExecution(ctx context.Context, cfg config.Config, genesis *ledger.Config, blocks *store.Store, own *state.DB, progress func(VerifyProgress)) (begin ledger.Height, repeated bool, err error) {
	dir, err := os.MkdirTemp(cfg.DataDir, "verify-")
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	again, err := beginAgain(ctx, cfg, genesis, blocks, dir, progress)
	if err != nil || again == nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	return again.BeganAt(), true, executeAgain(ctx, cfg, genesis, blocks, own, again, progress)
}

// beginAgain returns a state below the first block that is kept: empty, or made
// of a snapshot; nil if there is none.
func beginAgain(ctx context.Context, cfg config.Config, genesis *ledger.Config, blocks *store.Store, dir string, progress func(VerifyProgress)) (*state.DB, error) {
	sc := state.Config{Dir: filepath.Join(dir, stateDir), ChainID: genesis.Hash()}
	if blocks.Base() <= 1 {
		return state.Create(ctx, sc)
	}
	own := snapshot.Open(filepath.Join(cfg.DataDir, snapshotsDir))
	list, err := own.List()
	if err != nil {
		return nil, err
	}
	for _, m := range slices.Backward(list) { // the oldest that fits
		if !join.Fits(blocks, m) || m.Height()+1 < blocks.Base() {
			continue
		}
		f, err := own.File(m.Height())
		if err != nil {
			return nil, err
		}
		err = join.Restore(ctx, blocks, f, sc, dir, func(p join.Progress) { progress(VerifyProgress{"snapshot: " + p.Step, p.Done, p.Total}) })
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("snapshot of height %d: %w: remove it, and write another", m.Height(), err)
		}
		return state.Open(ctx, sc)
	}
	return nil, nil
}

func executeAgain(ctx context.Context, cfg config.Config, genesis *ledger.Config, blocks *store.Store, own, again *state.DB, progress func(VerifyProgress)) error {
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
	next := ledger.Height(0)
	if h, _, ok := again.Executed(); ok {
		next = h + 1
	}
	for b, err := range blocks.Blocks(next, tip) {
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
		if errors.Is(err, state.ErrPruned) {
			r, err := own.ReceiptAt(want.Position)
			if err == nil && r != want.Receipt() {
				err = fmt.Errorf("the state keeps another receipt of transaction %s at height %d than executing it gives", want.TxID, want.Height)
			}
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if got.TxID != want.TxID || got.Height != want.Height || got.Time != want.Time || !got.NoPayload && !bytes.Equal(got.Payload, want.Payload) {
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
