package evidence

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
)

// Bounds of what is kept. The first proofs are enough to act on; a validator that
// goes on lying adds nothing to them.
const (
	MaxPerKey = 16
	MaxProofs = 1024
)

const suffix = ".json"

// Book keeps proofs, each in a file of its own: whoever wants to show one to others
// hands on that file. Safe for concurrent use.
type Book struct {
	dir   string
	chain ledger.Hash

	mu      sync.Mutex // guards all below, and the files: additions are as rare as lies
	proofs  []*Proof   // in the order of their names
	damaged []string   // names of files that hold no proof
}

// Open reads the proofs in dir, which may be missing: it is made with the first
// proof. A file that holds none is not touched, and named by Damaged.
func Open(dir string, chain ledger.Hash) (*Book, error) {
	b := &Book{dir: dir, chain: chain}
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list evidence: %w", err)
	}
	for _, e := range names {
		name := e.Name()
		if !strings.HasSuffix(name, suffix) || len(b.proofs)+len(b.damaged) >= MaxProofs {
			continue // of a write that a crash cut off, or more than was ever kept
		}
		p, err := ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = p.Check(chain)
		}
		if err != nil || fileOf(p) != name {
			b.damaged = append(b.damaged, name)
			continue
		}
		b.proofs = append(b.proofs, p)
	}
	return b, nil
}

// ReadFile reads a proof; it does not check it.
func ReadFile(path string) (*Proof, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return Decode(raw)
}

// fileOf is one name for every key, height and view.
func fileOf(p *Proof) string {
	return fmt.Sprintf("%s-%d-%d%s", strings.ToLower(p.VoteKey.Hex()), p.Height, p.View, suffix)
}

// File returns where p is kept.
func (b *Book) File(p *Proof) string { return filepath.Join(b.dir, fileOf(p)) }

// Proofs returns what is kept.
func (b *Book) Proofs() []*Proof {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.proofs)
}

// Damaged names the files that hold no proof any more.
func (b *Book) Damaged() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.damaged)
}

// Add keeps a proof, on disk when it returns. added is false if there is one for
// that key, height and view, or if there are enough.
func (b *Book) Add(p *Proof) (added bool, err error) {
	if err := p.Check(b.chain); err != nil {
		return false, fmt.Errorf("keep evidence: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ofKey := 0
	for _, o := range b.proofs {
		if o.VoteKey != p.VoteKey {
			continue
		}
		if ofKey++; o.Height == p.Height && o.View == p.View {
			return false, nil
		}
	}
	if ofKey >= MaxPerKey || len(b.proofs)+len(b.damaged) >= MaxProofs {
		return false, nil
	}
	raw, err := p.Encode()
	if err == nil {
		err = writeSynced(b.dir, fileOf(p), raw)
	}
	if err != nil {
		return false, fmt.Errorf("keep evidence: %w", err)
	}
	b.proofs = append(b.proofs, p)
	return true, nil
}

// writeSynced makes a file that is there whole or not at all.
func writeSynced(dir, name string, raw []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The directory's own entry too, should it be new.
	return errors.Join(durable.WriteFile(filepath.Join(dir, name), raw), durable.SyncDir(filepath.Dir(dir)))
}
