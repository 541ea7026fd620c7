package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/assent-network/assent/node/backup"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/state"
)

// BackupContent says what is in a backup.
type BackupContent struct {
	About  backup.About  `json:"about"`
	Height ledger.Height `json:"height"` // of the newest block in it
	Keys   int           `json:"keys"`
	// Of a node that has pruned: the height of the snapshot in it, and that from which on
	// all blocks are in it; 0: there is none, and all blocks are.
	Snapshot ledger.Height `json:"snapshot,omitempty"`
	From     ledger.Height `json:"from,omitempty"`
}

// CheckBackup checks the file of a backup: with identities it opens it and checks
// everything that Restore would, else it compares it with the list of hashes beside
// it. progress may be nil.
func CheckBackup(ctx context.Context, path string, with []age.Identity, progress func(VerifyProgress)) (*BackupContent, error) {
	if progress == nil {
		progress = func(VerifyProgress) {}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("check backup: %w", err)
	}
	defer f.Close()
	if len(with) > 0 {
		out, err := checkArchive(ctx, f, with, filepath.Dir(path), progress)
		if err != nil {
			return nil, fmt.Errorf("check backup: %w", err)
		}
		return out, nil
	}
	b, err := os.ReadFile(path + SealSuffix)
	if err != nil {
		return nil, fmt.Errorf("check backup: %w: give --identity to check it by opening it", err)
	}
	seal, err := backup.ParseSeal(b)
	if err != nil {
		return nil, fmt.Errorf("check backup: %s: %w", path+SealSuffix, err)
	}
	if err := seal.Check(ctx, f, func(done int64) { progress(VerifyProgress{"check", uint64(done), uint64(seal.Bytes)}) }); err != nil {
		return nil, fmt.Errorf("check backup: %w", err)
	}
	return &BackupContent{About: seal.About, Height: ledger.Height(seal.Height)}, nil
}

// blockWalk checks blocks one after the other from genesis on, trusting nothing but
// the genesis config, and hands them on.
type blockWalk struct {
	next   ledger.Height
	parent *ledger.Header
	config *ledger.Config
	add    func(*ledger.Block, *ledger.Certificate) error // nil: nobody wants them

	// Headers of blocks that are left out. The last waits for the one above it: where
	// that is under the same config, the block brought none.
	bare    []*ledger.CertifiedHeader
	addBare func([]*ledger.CertifiedHeader) error
}

// bareAtOnce is how many headers are handed on together.
const bareAtOnce = 1024

func newBlockWalk(genesis *ledger.Config, add func(*ledger.Block, *ledger.Certificate) error) *blockWalk {
	return &blockWalk{config: genesis, parent: &ledger.Genesis(genesis).Header, add: add}
}

// entry takes an entry of blocks of a backup.
func (w *blockWalk) entry(ctx context.Context, r io.Reader, name string) error {
	want, take := backup.BlocksName(uint64(w.next)), w.block
	if backup.IsHeaders(name) {
		want, take = backup.HeadersName(uint64(w.next)), w.header
	}
	if name != want {
		return fmt.Errorf("%s follows where %s should: %w", name, want, backup.ErrDamaged)
	}
	return backup.ReadBlocks(r, func(block, cert []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := take(block, cert); err != nil {
			return fmt.Errorf("block %d of the backup: %w", w.next, err)
		}
		w.next++
		return nil
	})
}

func (w *blockWalk) block(block, cert []byte) error {
	b, err := ledger.DecodeBlock(block)
	if err != nil {
		return err
	}
	if w.next == 0 {
		if b.Header.Hash() != w.parent.Hash() || len(cert) != 0 {
			return errors.New("it is not the genesis block of the network")
		}
		return nil
	}
	c, err := ledger.DecodeCertificate(cert)
	if err != nil {
		return err
	}
	if err := b.Header.Follows(w.parent, w.config); err != nil {
		return err
	}
	if err := w.config.VerifyCertificate(&b.Header, c); err != nil {
		return err
	}
	next, err := b.CheckContent(w.config)
	if err != nil {
		return err
	}
	if err := w.handBare(0); err != nil {
		return err
	}
	if w.add != nil {
		if err := w.add(b, c); err != nil {
			return err
		}
	}
	w.parent, w.config = &b.Header, next
	return nil
}

// header takes the header of a block that is left out.
func (w *blockWalk) header(header, cert []byte) error {
	h, err := ledger.DecodeHeader(header)
	if err != nil {
		return err
	}
	c, err := ledger.DecodeCertificate(cert)
	if err != nil {
		return err
	}
	if err := h.Follows(w.parent, w.config); err != nil {
		return err
	}
	if err := w.config.VerifyCertificate(h, c); err != nil {
		return err
	}
	w.bare, w.parent = append(w.bare, &ledger.CertifiedHeader{Header: *h, Certificate: *c}), h
	if len(w.bare) > bareAtOnce {
		return w.handBare(1)
	}
	return nil
}

// handBare hands on the headers but the last ones.
func (w *blockWalk) handBare(keep int) error {
	n := len(w.bare) - keep
	if n <= 0 {
		return nil
	}
	if err := w.addBare(w.bare[:n]); err != nil {
		return err
	}
	w.bare = append([]*ledger.CertifiedHeader(nil), w.bare[n:]...)
	return nil
}

// ended reports a backup that ends with a block that is left out.
func (w *blockWalk) ended() error {
	if len(w.bare) > 0 {
		return fmt.Errorf("block %d, its newest, has a header alone: %w", w.next-1, backup.ErrDamaged)
	}
	return nil
}

// checkArchive opens a backup and checks all of it. For as long as that takes a copy
// of its database stands in dir, readable by its owner alone, and of a node that has
// pruned one of its blocks and of its snapshot.
func checkArchive(ctx context.Context, from io.Reader, with []age.Identity, dir string, progress func(VerifyProgress)) (out *BackupContent, err error) {
	r, err := backup.NewReader(from, with)
	if err != nil {
		return nil, err
	}
	dir, err = os.MkdirTemp(dir, copyPrefix)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out = &BackupContent{About: r.About()}
	var ours *backedLedger
	defer func() {
		if ours != nil && ours.store != nil {
			err = errors.Join(err, ours.store.Close())
		}
		err = errors.Join(err, ours.Close())
	}()
	for done := uint64(0); ; {
		name, size, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
		case name == backup.GenesisName:
			ours, err = genesisWalk(r, out.About.ChainID, dir)
		case name == backup.PrivateName:
			path := filepath.Join(dir, privateFile)
			if err = copyTo(path, r); err == nil {
				_, err = outbox.CheckFile(ctx, path)
			}
		case backup.IsKey(name):
			out.Keys++
		case ours != nil:
			if name == backup.ManifestName {
				err = ours.keep(filepath.Join(dir, blocksDir))
			}
			if err == nil {
				_, err = ours.entry(ctx, r, name)
			}
		}
		if err != nil {
			return nil, err
		}
		done += uint64(size)
		progress(VerifyProgress{"open and check", done, 0})
	}
	if ours == nil {
		return nil, fmt.Errorf("it holds no genesis file: %w", backup.ErrDamaged)
	}
	if err := ours.finish(ctx, state.Config{}, progress); err != nil {
		return nil, err
	}
	if ours.next > 0 {
		out.Height = ours.next - 1
	}
	out.Snapshot, out.From = ours.snapshot()
	return out, nil
}

func genesisWalk(r io.Reader, chainID, dir string) (*backedLedger, error) {
	b, err := io.ReadAll(io.LimitReader(r, backup.MaxSmall))
	if err != nil {
		return nil, err
	}
	genesis, err := config.ParseGenesis(b)
	if err != nil {
		return nil, err
	}
	if genesis.Hash().Hex() != chainID {
		return nil, fmt.Errorf("its genesis file is of network %s, not %s: %w", genesis.Hash(), chainID, backup.ErrDamaged)
	}
	return &backedLedger{blockWalk: newBlockWalk(genesis, nil), dir: dir}, nil
}
