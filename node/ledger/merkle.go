package ledger

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
)

// LogHasher is the RFC 6962 tree with keccak256: leaf = H(0 ‖ data),
// node = H(1 ‖ left ‖ right), empty = H("").
type LogHasher struct{}

// EmptyRoot returns the root of an empty log.
func (LogHasher) EmptyRoot() []byte { return ownBytes(Sum()) }

// What is hashed in front of a leaf's data and of two subtrees.
var (
	leafPrefix  = []byte{0}
	innerPrefix = []byte{1}
)

// HashLeaf hashes leaf data.
func (LogHasher) HashLeaf(data []byte) []byte { return ownBytes(Sum(leafPrefix, data)) }

// HashChildren hashes two subtrees.
func (LogHasher) HashChildren(l, r []byte) []byte { return ownBytes(Sum(innerPrefix, l, r)) }

func ownBytes(h Hash) []byte { return h[:] }

// Size returns the size of a hash in bytes.
func (LogHasher) Size() int { return 32 }

// EmptyLogRoot is the root of a log without leaves.
var EmptyLogRoot = Hash(LogHasher{}.EmptyRoot())

var ranges = compact.RangeFactory{Hash: LogHasher{}.HashChildren}

// NewLog returns an empty compact range of the receipt log's shape.
func NewLog() *compact.Range { return ranges.NewEmptyRange(0) }

// ResumeLog returns the compact range [0, size) from its subtree roots.
func ResumeLog(size uint64, hashes [][]byte) (*compact.Range, error) {
	return ranges.NewRange(0, size, hashes)
}

// LogRoot returns the root of r.
func LogRoot(r *compact.Range) (Hash, error) {
	if r.End() == 0 {
		return EmptyLogRoot, nil
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		return Hash{}, fmt.Errorf("root of a log of %d leaves: %w", r.End(), err)
	}
	return Hash(root), nil
}

// TxRoot returns the Merkle root over a block's requests.
func TxRoot(reqs [][]byte) Hash {
	r := NewLog()
	for _, b := range reqs {
		if err := r.Append(LogHasher{}.HashLeaf(b), nil); err != nil {
			panic(fmt.Sprintf("ledger: append to a range: %v", err)) // only a mismatched range errs
		}
	}
	root, err := LogRoot(r)
	if err != nil {
		panic(fmt.Sprintf("ledger: %v", err))
	}
	return root
}

// LogProof shows that a leaf stands at Index of a log of Size leaves.
type LogProof struct {
	Index  uint64
	Size   uint64
	Hashes []Hash
}

// Verify reports why leaf data is not at p.Index under root.
func (p *LogProof) Verify(root Hash, leaf []byte) error {
	if p.Index >= p.Size {
		return fmt.Errorf("log proof: index %d is outside a log of %d leaves", p.Index, p.Size)
	}
	hashes := make([][]byte, len(p.Hashes))
	for i := range p.Hashes {
		hashes[i] = p.Hashes[i][:]
	}
	if err := proof.VerifyInclusion(LogHasher{}, p.Index, p.Size, LogHasher{}.HashLeaf(leaf), hashes, root[:]); err != nil {
		return fmt.Errorf("log proof of leaf %d of %d: %w", p.Index, p.Size, err)
	}
	return nil
}
