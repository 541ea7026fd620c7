package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// ErrBadSnapshot: a snapshot is not what its header certifies.
var ErrBadSnapshot = snapshot.ErrBad

// ListSnapshots describes a node's snapshots, newest first. The node may run.
func ListSnapshots(cfg config.Config) ([]SnapshotInfo, error) {
	list, err := snapshot.Open(filepath.Join(cfg.DataDir, snapshotsDir)).List()
	out := make([]SnapshotInfo, len(list))
	for i, m := range list {
		out[i] = snapshotInfo(m)
	}
	return out, err
}

// WriteSnapshot writes a snapshot of the newest certified state: the running node
// does, or this process if it is stopped.
func WriteSnapshot(ctx context.Context, cfg config.Config, progress func(VerifyProgress)) (SnapshotInfo, error) {
	info, err := askRunning[SnapshotInfo](ctx, cfg.DataDir, snapshotPath, progress)
	if !errors.Is(err, errNotRunning) {
		return info, err
	}
	begin := time.Now()
	m, err := writeStopped(ctx, cfg, progress)
	if err != nil {
		return SnapshotInfo{}, err
	}
	info = snapshotInfo(m)
	info.Millis = time.Since(begin).Milliseconds()
	return info, nil
}

func writeStopped(ctx context.Context, cfg config.Config, progress func(VerifyProgress)) (m *snapshot.Manifest, err error) {
	genesis, err := config.ReadGenesis(cfg.Genesis)
	if err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	blocks, err := store.Open(filepath.Join(cfg.DataDir, blocksDir), genesis.Hash())
	if err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, blocks.Close()) }()
	db, err := state.Open(ctx, state.Config{Dir: filepath.Join(cfg.DataDir, stateDir), ChainID: genesis.Hash()})
	if err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.Freeze(blocks.Tip().Header.ExecHeight); err != nil { // it will not change while nothing runs
		return nil, fmt.Errorf("write snapshot: %w: no header certifies the state that is on disk: start the node and let it write the snapshot", err)
	}
	own := newSnapshots(filepath.Join(cfg.DataDir, snapshotsDir))
	return own.write(ctx, blocks, db, 0, func(p snapshot.Progress) { progress(VerifyProgress{p.Stage, p.Done, p.Total}) })
}

// VerifySnapshot checks the snapshot of a height, 0 for the newest: its header
// against the node's own block store, or, while the node runs, against the
// genesis config; and all of its content against that header.
func VerifySnapshot(ctx context.Context, cfg config.Config, h ledger.Height, progress func(VerifyProgress)) (info SnapshotInfo, err error) {
	dir := snapshot.Open(filepath.Join(cfg.DataDir, snapshotsDir))
	if h == 0 {
		heights, err := dir.Heights()
		if err != nil {
			return info, err
		}
		if len(heights) == 0 {
			return info, fmt.Errorf("verify snapshot: %w: let the node write one: assentd snapshot write", snapshot.ErrNone)
		}
		h = heights[0]
	}
	f, err := dir.File(h)
	if err != nil {
		return info, fmt.Errorf("verify snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := verifyHeader(cfg, f.Manifest); err != nil {
		return info, fmt.Errorf("verify snapshot of height %d: %w", h, err)
	}
	scratch, err := os.MkdirTemp(cfg.DataDir, "verify-")
	if err != nil {
		return info, fmt.Errorf("verify snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	err = f.Restore(ctx, snapshot.RestoreConfig{
		Scratch: scratch, Progress: func(p snapshot.Progress) { progress(VerifyProgress{p.Stage, p.Done, p.Total}) },
	})
	if errors.Is(err, state.ErrForged) {
		err = fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	if err != nil {
		return info, fmt.Errorf("verify snapshot of height %d: %w", h, err)
	}
	return snapshotInfo(f.Manifest), nil
}

// verifyHeader reports a header of a manifest that is not certified.
func verifyHeader(cfg config.Config, m *snapshot.Manifest) (err error) {
	genesis, err := config.ReadGenesis(cfg.Genesis)
	if err != nil {
		return err
	}
	blocks, err := store.Open(filepath.Join(cfg.DataDir, blocksDir), genesis.Hash())
	if errors.Is(err, syscall.EAGAIN) {
		light, err := ledger.NewLightClient(genesis)
		if err != nil {
			return err
		}
		if m.Header.Header.ConfigSeq > 0 {
			return fmt.Errorf("its header is of config %d, which the running node's blocks prove: stop the node first", m.Header.Header.ConfigSeq)
		}
		if err := light.Verify(&m.Header); err != nil {
			return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blocks.Close()) }()
	return certifiedSnapshot(blocks, m)
}
