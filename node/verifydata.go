package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
)

// verifyDisk reports a data directory in which a node could not work: one that is
// missing, full, or mounted read-only.
func verifyDisk(dir string) error {
	f, err := os.CreateTemp(dir, "verify-")
	if err != nil {
		return diskProblem(dir, err)
	}
	_, err = f.Write(make([]byte, 4096))
	if err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())); err != nil {
		return diskProblem(dir, err)
	}
	free, err := diskFree(dir)
	if err == nil && free < minDiskFree {
		err = fmt.Errorf("%d MiB are left for %s: free or add space before the node starts; its files are checked when there is room for it", free>>20, dir)
	}
	return err
}

func diskProblem(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s cannot be written (%w): look at the disk (dmesg), mount it for writing again, then repeat this", dir, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s is full (%w): free or add space; nothing that was acknowledged is lost by this", dir, err)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: correct dataDir, or restore the node from a backup (assentd restore)", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: run this as the node's own user", err)
	}
	return fmt.Errorf("the disk of %s does not take a write (%w): replace it; on another one the node fetches its blocks again (assentd restore, or init --join)", dir, err)
}

// verifyLogs holds the ordering logs of this node's vote keys against the blocks.
func verifyLogs(cfg *config.Config, blocks *store.Store) error {
	x := &examination{cfg: cfg, facts: &doctor.Facts{}}
	x.keys(nil)
	if err := x.facts.Keystore; err != nil {
		return err
	}
	if err := x.checkLog(blocks); err != nil {
		return fmt.Errorf("ordering log: %w: the node starts and observes; let the members admit a new vote key (assentd keys new NAME --kind vote, then assent member propose rotate-vote-key)", err)
	}
	return nil
}

// verifyBeside checks what lies beside blocks and state. One problem does not hide
// another.
func verifyBeside(ctx context.Context, cfg *config.Config, chain ledger.Hash, blocks *store.Store) (sealed bool, err error) {
	sealed, private := verifyPrivate(ctx, filepath.Join(cfg.DataDir, privateFile), chain)
	_, marked := readMark(cfg.DataDir)
	return sealed, errors.Join(private, marked, verifyLogs(cfg, blocks))
}
