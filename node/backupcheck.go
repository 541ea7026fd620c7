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
)

// BackupContent says what is in a backup.
type BackupContent struct {
	About  backup.About  `json:"about"`
	Height ledger.Height `json:"height"` // of the newest block in it
	Keys   int           `json:"keys"`
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
}

func newBlockWalk(genesis *ledger.Config, add func(*ledger.Block, *ledger.Certificate) error) *blockWalk {
	return &blockWalk{config: genesis, parent: &ledger.Genesis(genesis).Header, add: add}
}

// entry takes an entry of blocks of a backup.
func (w *blockWalk) entry(ctx context.Context, r io.Reader, name string) error {
	if want := backup.BlocksName(uint64(w.next)); name != want {
		return fmt.Errorf("%s follows where %s should: %w", name, want, backup.ErrDamaged)
	}
	return backup.ReadBlocks(r, func(block, cert []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.block(block, cert); err != nil {
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
	if w.add != nil {
		if err := w.add(b, c); err != nil {
			return err
		}
	}
	w.parent, w.config = &b.Header, next
	return nil
}

// checkArchive opens a backup and checks all of it. For as long as that takes a copy
// of its database stands in dir, readable by its owner alone.
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
	var walk *blockWalk
	for done := uint64(0); ; {
		name, size, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
		case name == backup.GenesisName:
			walk, err = genesisWalk(r, out.About.ChainID)
		case name == backup.PrivateName:
			path := filepath.Join(dir, privateFile)
			if err = copyTo(path, r); err == nil {
				_, err = outbox.CheckFile(ctx, path)
			}
		case backup.IsKey(name):
			out.Keys++
		case backup.IsBlocks(name) && walk != nil:
			err = walk.entry(ctx, r, name)
		}
		if err != nil {
			return nil, err
		}
		done += uint64(size)
		progress(VerifyProgress{"open and check", done, 0})
	}
	if walk == nil {
		return nil, fmt.Errorf("it holds no genesis file: %w", backup.ErrDamaged)
	}
	if walk.next > 0 {
		out.Height = walk.next - 1
	}
	return out, nil
}

func genesisWalk(r io.Reader, chainID string) (*blockWalk, error) {
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
	return newBlockWalk(genesis, nil), nil
}
