package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/store"
)

// verifySnapshots checks every snapshot that the node keeps: its header against the
// block store, and all of its content against the header's roots. It returns how
// many are sound; one problem does not hide another.
func verifySnapshots(ctx context.Context, cfg config.Config, blocks *store.Store, progress func(VerifyProgress)) (sound int, err error) {
	root := filepath.Join(cfg.DataDir, snapshotsDir)
	dir := snapshot.Open(root)
	heights, err := dir.Heights()
	if err != nil {
		return 0, fmt.Errorf("snapshots: %w", err)
	}
	var errs []error
	for _, h := range heights {
		bad := verifyOwn(ctx, cfg, dir, h, blocks, progress)
		switch {
		case bad == nil:
			sound++
		case ctx.Err() != nil:
			return sound, ctx.Err()
		default:
			errs = append(errs, fmt.Errorf("snapshot of height %d: %w: move %s away; the node goes on without it and writes another (assentd snapshot write)",
				h, bad, filepath.Join(root, strconv.FormatUint(uint64(h), 10))))
		}
	}
	return sound, errors.Join(errs...)
}

func verifyOwn(ctx context.Context, cfg config.Config, dir *snapshot.Dir, h ledger.Height, blocks *store.Store, progress func(VerifyProgress)) (err error) {
	f, err := dir.File(h)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := certifiedSnapshot(blocks, f.Manifest); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(cfg.DataDir, "verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	return f.Restore(ctx, snapshot.RestoreConfig{
		Scratch: scratch, Progress: func(p snapshot.Progress) {
			progress(VerifyProgress{fmt.Sprintf("snapshot of height %d: %s", h, p.Stage), p.Done, p.Total})
		},
	})
}
