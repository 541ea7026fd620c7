// Package epoch works out a provider's answers before an epoch begins, keeps them
// in files, and opens them one by one.
//
// It owns the files of one directory: one for each question (template, parameters)
// and epoch, named by its tree. It promises that a tree is built in one pass over the
// bank's rows with memory that does not grow with them but for a thousandth of
// what is written; that every opening it gives leads to the root in the ledger's anchor, and
// that a file of which this is not so any more gives nothing; that an opening costs
// the same, and looks the same to whoever times it, whether the subject is in the
// tree or not; and that a stolen file names nobody without the member's tag key,
// which lies elsewhere.
//
// It leaves the bytes of trees and openings to node/answer, rows to the vault, what a
// template says about one to its caller, and anchoring to the catalog contract.
// DESIGN.md of node/query has the threat model.
package epoch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Errors of opening.
var (
	// ErrMissing: the answers of this epoch are not here. Restore the file, or open
	// another epoch.
	ErrMissing = errors.New("epoch: the anchored answers are not here")
	// ErrDamaged: the file is not the one that was anchored, or has been damaged.
	// Restore it, or open another epoch.
	ErrDamaged = errors.New("epoch: the file of anchored answers is damaged")
)

const (
	suffix   = ".answers"
	building = ".building"
)

// Store is a directory of epoch files. Its methods are safe for concurrent use.
type Store struct {
	dir     string
	chainID record.Hash
	key     []byte

	mu   sync.Mutex
	open map[record.Hash]*file // by tree
}

// maxOpen bounds the files held open.
const maxOpen = 64

// Open opens a directory, which is made when the first tree is built. key is 32
// secret bytes. What a build left behind when the process died is removed.
func Open(dir string, chainID record.Hash, key []byte) (*Store, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("epoch: the key has %d bytes, want 32", len(key))
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"+building))
	if err != nil {
		return nil, fmt.Errorf("epoch: %w", err)
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("epoch: remove what a build left: %w", err)
		}
	}
	return &Store{dir: dir, chainID: chainID, key: slices.Clone(key), open: map[record.Hash]*file{}}, nil
}

// Close closes the files.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for tree, f := range s.open {
		errs = append(errs, f.close())
		delete(s.open, tree)
	}
	return errors.Join(errs...)
}

// Find opens the anchored answer about a subject: the value and its encoded proof,
// or NO_RECORD and nil. The work is the same for both. outputs are the template's.
// Errors: ErrMissing, ErrDamaged, or the file system's.
func (s *Store) Find(a *record.Anchor, outputs []string, subject string) (value string, proof []byte, err error) {
	f, err := s.file(a)
	if err != nil {
		return "", nil, err
	}
	defer f.release()
	return f.find(a.Root, outputs, subject)
}

// file returns an open file, held until it is released.
func (s *Store) file(a *record.Anchor) (*file, error) {
	tree := answer.TreeID(s.chainID, a)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.open[tree]; f != nil {
		f.hold()
		return f, nil
	}
	f, err := openFile(s.path(tree), tree, deriveKeys(s.key, tree), s.chainID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: tree %s of template %s, epoch %d", ErrMissing, tree, a.TemplateID, a.Epoch)
	}
	if err != nil {
		return nil, fmt.Errorf("open anchored answers of template %s, epoch %d: %w", a.TemplateID, a.Epoch, err)
	}
	if len(s.open) >= maxOpen {
		for other, old := range s.open { // any one: a bank has a few questions an epoch
			old.drop()
			delete(s.open, other)
			break
		}
	}
	s.open[tree] = f
	f.hold()
	return f, nil
}

func (s *Store) path(tree record.Hash) string {
	return filepath.Join(s.dir, hex.EncodeToString(tree[:])+suffix)
}

// Info describes one file.
type Info struct {
	Anchor record.Anchor // without who anchored it and when
	Tree   record.Hash
	Leaves uint64 // subjects with an answer
	Bytes  int64
	Err    error // what is wrong with it, if something is
}

// List describes every file, by template and epoch. It checks heads, not trees.
func (s *Store) List() ([]Info, error) {
	names, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list epoch files: %w", err)
	}
	var out []Info
	for _, n := range names {
		tree, ok := treeOf(n.Name())
		if !ok {
			continue
		}
		info := Info{Tree: tree}
		f, err := openFile(s.path(tree), tree, deriveKeys(s.key, tree), s.chainID)
		if err != nil {
			info.Err = err
		} else {
			info.Anchor, info.Leaves, info.Bytes = f.head.anchor, f.head.leaves, f.head.size()
			info.Err = f.close()
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b Info) int {
		return strings.Compare(fmt.Sprintf("%s %020d", a.Anchor.TemplateID, a.Anchor.Epoch), fmt.Sprintf("%s %020d", b.Anchor.TemplateID, b.Anchor.Epoch))
	})
	return out, nil
}

// Remove deletes the files for which over reports true: their epochs have ended and
// nobody waits for an answer of them. It returns how many those were.
func (s *Store) Remove(over func(*record.Anchor) bool) (int, error) {
	list, err := s.List()
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range list {
		if list[i].Err != nil || !over(&list[i].Anchor) {
			continue
		}
		s.mu.Lock()
		if f := s.open[list[i].Tree]; f != nil {
			f.drop()
			delete(s.open, list[i].Tree)
		}
		s.mu.Unlock()
		if err := os.Remove(s.path(list[i].Tree)); err != nil {
			return n, fmt.Errorf("remove answers of an epoch that is over: %w", err)
		}
		n++
	}
	return n, nil
}

func treeOf(name string) (tree record.Hash, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 64 {
		return tree, false
	}
	_, err := hex.Decode(tree[:], []byte(digits))
	return tree, err == nil
}

// keys are the secrets of one tree. Each tree has its own, so nothing in it can be
// told to be of the same subject as something in another.
type keys struct {
	salt, filler, cipher, head []byte
}

func deriveKeys(key []byte, tree record.Hash) *keys {
	of := func(what string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("assent/epoch-key/1"))
		mac.Write(tree[:])
		mac.Write([]byte(what))
		return mac.Sum(nil)
	}
	return &keys{salt: of("salt"), filler: of("filler"), cipher: of("cipher"), head: of("head")}
}
