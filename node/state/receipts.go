package state

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"github.com/assent-network/assent/node/ledger"
)

// The Merkle tree of the receipt log is kept in tiles: 16 neighbouring hashes
// of every fourth level, written once when complete. The three levels between
// are hashed again when a proof needs them. Incomplete tiles stay in memory and
// are rebuilt from the rows below them on opening.
const (
	tileBits  = 4
	tileWidth = 1 << tileBits
)

// tileID names the hashes [16·number, 16·number+16) at tree level 4·level.
type tileID struct {
	level  uint8
	number uint64
}

func encodeTile(hashes []ledger.Hash) []byte {
	b := make([]byte, 0, tileWidth*32)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

func decodeTile(id tileID, b []byte) ([]ledger.Hash, error) {
	if len(b) != tileWidth*32 {
		return nil, corrupt("receipt log", fmt.Errorf("tile %d of level %d has %d bytes, want %d", id.number, id.level, len(b), tileWidth*32))
	}
	hashes := make([]ledger.Hash, tileWidth)
	for i := range hashes {
		hashes[i] = ledger.Hash(b[32*i:])
	}
	return hashes, nil
}

// receiptLog is the growing end of the receipt log; the executor owns it.
type receiptLog struct {
	tree *compact.Range
	edge [][]ledger.Hash // incomplete tiles by level; appended to, never changed in place
	done map[tileID][]byte
}

func leafHash(r *ledger.Receipt) []byte { h := r.LeafHash(); return h[:] }

// append adds a leaf; tiles that it completes go into done.
func (l *receiptLog) append(leaf []byte) error {
	return l.tree.Append(leaf, func(id compact.NodeID, hash []byte) {
		if id.Level%tileBits != 0 {
			return
		}
		level := int(id.Level / tileBits)
		for len(l.edge) <= level {
			l.edge = append(l.edge, nil)
		}
		if l.edge[level] == nil {
			l.edge[level] = make([]ledger.Hash, 0, tileWidth)
		}
		l.edge[level] = append(l.edge[level], ledger.Hash(hash))
		if len(l.edge[level]) == tileWidth {
			l.done[tileID{uint8(level), id.Index / tileWidth}] = encodeTile(l.edge[level])
			l.edge[level] = nil
		}
	})
}

// openLog rebuilds the end of the log that v shows and fills v.edge.
func openLog(v *View) (*receiptLog, error) {
	size := v.roots.ReceiptsSize
	v.edge = nil
	for level := 0; size>>(tileBits*level) > 0; level++ {
		n := size >> (tileBits * level)
		edge := make([]ledger.Hash, 0, tileWidth)
		for i := n - n%tileWidth; i < n; i++ {
			h, err := v.edgeHash(level, i)
			if err != nil {
				return nil, err
			}
			edge = append(edge, h)
		}
		v.edge = append(v.edge, edge)
	}
	l := &receiptLog{done: map[tileID][]byte{}}
	l.edge = append(l.edge, v.edge...)
	var err error
	if l.tree, err = v.LogUpTo(size); err != nil {
		return nil, err
	}
	root, err := ledger.LogRoot(l.tree)
	if err != nil {
		return nil, corrupt("receipt log", err)
	}
	if root != v.roots.Receipts {
		return nil, corrupt("receipt log", fmt.Errorf("its %d leaves have root %s, the head row says %s", size, root, v.roots.Receipts))
	}
	return l, nil
}

// LogUpTo returns the first size leaves of the receipt log as a range that can
// grow; its root is the one that a header with that size names.
func (v *View) LogUpTo(size uint64) (*compact.Range, error) {
	if size > v.roots.ReceiptsSize {
		return nil, fmt.Errorf("%d leaves of a receipt log of %d: %w", size, v.roots.ReceiptsSize, ErrNotExecuted)
	}
	if size == 0 {
		return ledger.NewLog(), nil
	}
	ids := compact.RangeNodes(0, size, nil)
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		h, err := v.logNode(id)
		if err != nil {
			return nil, err
		}
		hashes[i] = h[:]
	}
	tree, err := ledger.ResumeLog(size, hashes)
	if err != nil {
		return nil, corrupt("receipt log", err)
	}
	return tree, nil
}

// Leaf returns the leaf at a position of the receipt log and the hashes of the
// writes that it commits to, pruned or not, or an error that is ErrNotFound.
func (v *View) Leaf(position uint64) (*ledger.Receipt, []ledger.WriteHash, error) {
	o, gone, err := v.leafAt(position)
	if err != nil {
		return nil, nil, err
	}
	if gone != nil {
		r := gone.receipt()
		return &r, gone.writes(), nil
	}
	r := o.Receipt()
	return &r, o.Writes, nil
}

// edgeHash computes hash i of tile level from what lies below it.
func (v *View) edgeHash(level int, i uint64) (ledger.Hash, error) {
	if level == 0 {
		r, err := v.ReceiptAt(i)
		if err != nil {
			return ledger.Hash{}, err
		}
		return ledger.Hash(leafHash(&r)), nil
	}
	hashes, err := v.tile(tileID{uint8(level - 1), i})
	if err != nil {
		return ledger.Hash{}, err
	}
	return fold(hashes), nil
}

// logNode returns the root of a complete subtree of the log.
func (v *View) logNode(id compact.NodeID) (ledger.Hash, error) {
	level, above := id.Level/tileBits, id.Level%tileBits
	first := id.Index << above
	hashes, err := v.tile(tileID{uint8(level), first / tileWidth})
	if err != nil {
		return ledger.Hash{}, err
	}
	from, n := first%tileWidth, uint64(1)<<above
	if from+n > uint64(len(hashes)) {
		return ledger.Hash{}, corrupt("receipt log", fmt.Errorf("node %d of level %d is beyond its %d leaves", id.Index, id.Level, v.roots.ReceiptsSize))
	}
	return fold(hashes[from : from+n]), nil
}

// fold returns the root over 1, 2, 4, … hashes.
func fold(hashes []ledger.Hash) ledger.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	l, r := fold(hashes[:len(hashes)/2]), fold(hashes[len(hashes)/2:])
	return ledger.Hash(ledger.LogHasher{}.HashChildren(l[:], r[:]))
}

// ProveReceipt proves the receipt of transaction id to the receipts root of a
// log of size leaves, the one a certified header names. ErrNotFound: no such
// transaction; ErrNotExecuted: it is not among the first size leaves, or this
// node has fewer. The receipt of a pruned outcome is proven all the same: whoever
// kept what it commits to can always show that.
func (v *View) ProveReceipt(id ledger.Hash, size uint64) (*ledger.ReceiptProof, error) {
	ref, ok, err := v.ref(id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("transaction %s: %w", id, ErrNotFound)
	}
	if size > v.roots.ReceiptsSize || ref.position >= size {
		return nil, fmt.Errorf("receipt %d of transaction %s in a log of %d of %d leaves: %w: wait for a higher certified header",
			ref.position, id, size, v.roots.ReceiptsSize, ErrNotExecuted)
	}
	leaf, writes, err := v.Leaf(ref.position)
	if err != nil {
		return nil, err
	}
	hashes, err := v.inclusion(ref.position, size)
	if err != nil {
		return nil, err
	}
	return &ledger.ReceiptProof{Receipt: *leaf, Writes: writes, Log: ledger.LogProof{Index: ref.position, Size: size, Hashes: hashes}}, nil
}

func (v *View) inclusion(position, size uint64) ([]ledger.Hash, error) {
	nodes, err := proof.Inclusion(position, size)
	if err != nil {
		return nil, fmt.Errorf("prove receipt %d of %d: %w", position, size, err)
	}
	raw := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		h, err := v.logNode(id)
		if err != nil {
			return nil, err
		}
		raw[i] = h[:]
	}
	if raw, err = nodes.Rehash(raw, ledger.LogHasher{}.HashChildren); err != nil {
		return nil, fmt.Errorf("prove receipt %d of %d: %w", position, size, err)
	}
	hashes := make([]ledger.Hash, len(raw))
	for i := range raw {
		hashes[i] = ledger.Hash(raw[i])
	}
	return hashes, nil
}
