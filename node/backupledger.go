package node

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/assent-network/assent/node/backup"
	"github.com/assent-network/assent/node/join"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// What a backup holds of the ledger: all blocks or, of a node that has pruned, a
// snapshot, the blocks since, and of those below headers, certificates and the
// blocks that changed the configuration.

// writeLedger writes it. Nothing may be pruned meanwhile.
func writeLedger(ctx context.Context, out *tar.Writer, dataDir string, blocks *store.Store, end *liveSummary) (err error) {
	var f *snapshot.File
	if base := blocks.Base(); base > 1 {
		if f, err = snapshotBelow(ctx, blocks, filepath.Join(dataDir, snapshotsDir)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		end.Snapshot, end.From = uint64(f.Manifest.Height()), uint64(base)
		if err := writeEntry(out, backup.ManifestName, f.Manifest.Encode()); err != nil {
			return err
		}
	}
	tip := blocks.Tip().Height // not below the snapshot's header
	end.Height = uint64(tip)
	if err := writeBlocks(ctx, out, blocks, tip); err != nil || f == nil {
		return err
	}
	for i := range f.Manifest.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := f.Read(uint64(i), 0, f.Manifest.Chunks[i].Size)
		if err != nil {
			return err
		}
		if err := writeEntry(out, backup.ChunkName(uint64(i)), b); err != nil {
			return err
		}
	}
	return nil
}

// snapshotBelow opens the newest sound snapshot above which all blocks are here.
func snapshotBelow(ctx context.Context, blocks *store.Store, root string) (*snapshot.File, error) {
	dir := snapshot.Open(root)
	list, err := dir.List()
	if err != nil {
		return nil, err
	}
	why := errors.New("there is none")
	for _, m := range list {
		if m.Height()+1 < blocks.Base() {
			continue
		}
		if why = soundSnapshot(ctx, blocks, dir, m); why == nil {
			return dir.File(m.Height())
		}
	}
	return nil, fmt.Errorf("blocks below %d are pruned here, and no snapshot stands above that they are not needed for: %w: let the running node write one (assentd snapshot write), or make the backup with --no-blocks", blocks.Base(), why)
}

func writeBlocks(ctx context.Context, out *tar.Writer, blocks *store.Store, tip ledger.Height) error {
	whole := map[ledger.Height]bool{0: true}
	for _, h := range blocks.ConfigHeights() {
		whole[h] = true
	}
	var chunk []byte
	first, base := ledger.Height(0), blocks.Base()
	isWhole := func(h ledger.Height) bool { return h >= base || whole[h] }
	for h := first; h <= tip; h++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := backup.BlocksName
		if isWhole(h) {
			block, cert, err := blocks.Encoded(h)
			if err != nil {
				return err
			}
			chunk = backup.AppendBlock(chunk, block, cert)
		} else {
			name = backup.HeadersName
			ch, err := blocks.Certified(h)
			if err != nil {
				return err
			}
			chunk = backup.AppendBlock(chunk, ch.Header.Encode(), ch.Certificate.Encode())
		}
		if len(chunk) < backup.ChunkBytes && h < tip && isWhole(h) == isWhole(h+1) {
			continue
		}
		if err := writeEntry(out, name(uint64(first)), chunk); err != nil {
			return err
		}
		chunk, first = chunk[:0], h+1
	}
	return nil
}

// backedLedger takes what a backup holds of the ledger, entry by entry, and trusts
// nothing of it but the genesis config: blocks and headers by their certificates, the
// state by the roots that they certify.
type backedLedger struct {
	*blockWalk
	dir   string       // where chunks and a state in the making go
	store *store.Store // nil: nobody keeps the blocks, and there is no snapshot
	parts *snapshot.Download
	m     *snapshot.Manifest
}

// keep has the blocks stored, in a new store: what a snapshot must fit to.
func (l *backedLedger) keep(dir string) (err error) {
	if l.store, err = store.Create(dir, l.config); err != nil {
		return err
	}
	l.add, l.addBare = l.store.Append, l.store.AppendHeaders
	return nil
}

// entry takes an entry; false: it is none of the ledger's.
func (l *backedLedger) entry(ctx context.Context, r io.Reader, name string) (bool, error) {
	switch {
	case name == backup.ManifestName:
		return true, l.manifest(r)
	case backup.IsBlocks(name), backup.IsHeaders(name):
		if l.m == nil && backup.IsHeaders(name) {
			return true, fmt.Errorf("%s has headers alone, and there is no snapshot: %w", name, backup.ErrDamaged)
		}
		return true, l.blockWalk.entry(ctx, r, name)
	case backup.IsChunk(name):
		return true, l.chunk(r, name)
	}
	return false, nil
}

func (l *backedLedger) manifest(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, backup.MaxManifest))
	if err != nil {
		return err
	}
	m, err := snapshot.Decode(b)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", backup.ManifestName, err, backup.ErrDamaged)
	}
	if m.ChainID != l.parent.ChainID {
		return fmt.Errorf("%s is of network %s: %w", backup.ManifestName, m.ChainID, backup.ErrDamaged)
	}
	if l.parts, err = snapshot.OpenDownload(filepath.Join(l.dir, "chunks"), m); err != nil {
		return err
	}
	l.m = m
	return nil
}

func (l *backedLedger) chunk(r io.Reader, name string) error {
	if l.parts == nil || name != backup.ChunkName(l.parts.Next()) {
		return fmt.Errorf("%s stands where no such chunk of a snapshot should: %w", name, backup.ErrDamaged)
	}
	b, err := io.ReadAll(r)
	if err == nil {
		err = l.parts.Add(b)
	}
	if errors.Is(err, snapshot.ErrBad) {
		err = fmt.Errorf("%w: %w", err, backup.ErrDamaged)
	}
	return err
}

// finish makes the state of the snapshot, or checks that it could be made if sc names
// no directory. It is nothing where there is no snapshot.
func (l *backedLedger) finish(ctx context.Context, sc state.Config, progress func(VerifyProgress)) (err error) {
	if err := l.ended(); err != nil || l.m == nil {
		return err
	}
	if err := l.parts.Finish(); err != nil {
		return fmt.Errorf("%w: %w", err, backup.ErrDamaged)
	}
	if l.store.Base() > l.m.Height()+1 {
		return fmt.Errorf("its snapshot is of height %d, and all blocks are in it from %d on only: %w", l.m.Height(), l.store.Base(), backup.ErrDamaged)
	}
	if err := certifiedSnapshot(l.store, l.m); err != nil {
		return fmt.Errorf("its snapshot of height %d: %w: %w", l.m.Height(), err, backup.ErrDamaged)
	}
	f, err := snapshot.OpenFile(filepath.Join(l.dir, "chunks"))
	if err != nil {
		return err
	}
	scratch := filepath.Join(l.dir, "scratch")
	if err := errors.Join(os.MkdirAll(scratch, 0o700)); err != nil {
		return errors.Join(err, f.Close())
	}
	err = join.Restore(ctx, l.store, f, sc, scratch, func(p join.Progress) { progress(VerifyProgress{"snapshot: " + p.Step, p.Done, p.Total}) })
	if errors.Is(err, snapshot.ErrBad) || errors.Is(err, state.ErrForged) {
		err = fmt.Errorf("its snapshot of height %d: %w: %w", l.m.Height(), err, backup.ErrDamaged)
	}
	return errors.Join(err, f.Close(), os.RemoveAll(scratch))
}

// snapshot says of what height the state is, and from where on all blocks are there.
func (l *backedLedger) snapshot() (height, from ledger.Height) {
	if l.m == nil {
		return 0, 0
	}
	return l.m.Height(), l.store.Base()
}

// Close closes what is open of the chunks.
func (l *backedLedger) Close() error {
	if l == nil || l.parts == nil {
		return nil
	}
	return l.parts.Close()
}
