package state

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb/database"

	"github.com/assent-network/assent/node/ledger"
)

// This file is the only one that knows the trie library. Nodes are kept by
// their path from the root, newest only; the library reads them through
// nodeReader and hands back, once per block, the nodes that changed.

// nodeReader finds a node of one state: by path, with the hash that its parent
// says it has. It is the library's view of our database.
type nodeReader func(path string, hash ledger.Hash) ([]byte, error)

// NodeReader implements the library's database.
func (r nodeReader) NodeReader(common.Hash) (database.NodeReader, error) { return r, nil }

// Node implements the library's reader. There is one trie, so owner is unused.
func (r nodeReader) Node(_ common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	return r(string(path), hash)
}

// checkNode reports whether blob is not the node that its parent names.
func checkNode(path string, want ledger.Hash, blob []byte) error {
	if blob == nil {
		return corrupt("state trie", fmt.Errorf("node %s at path %x is missing", want, path))
	}
	if got := ledger.Sum(blob); got != want {
		return corrupt("state trie", fmt.Errorf("node at path %x has hash %s, its parent says %s", path, got, want))
	}
	return nil
}

// leaf is a change of the trie: value is keccak256 of a record, or empty to
// remove it.
type leaf struct {
	key   ledger.Hash
	value []byte
}

// nodeChange is a changed node; no blob: removed.
type nodeChange struct {
	path string
	hash ledger.Hash
	blob []byte
}

// updateTrie applies leaves, which name each key once, to the trie with the
// given root. It returns the new root and the changed nodes by ascending path.
// The result does not depend on the order of leaves.
func updateTrie(root ledger.Hash, read nodeReader, leaves []leaf) (ledger.Hash, []nodeChange, error) {
	if len(leaves) == 0 {
		return root, nil, nil
	}
	// A trie is dead after Commit, so every block opens one.
	t, err := trie.New(trie.TrieID(root), read)
	if err != nil {
		return ledger.Hash{}, nil, fmt.Errorf("open trie %s: %w", root, err)
	}
	slices.SortFunc(leaves, func(a, b leaf) int { return bytes.Compare(a.key[:], b.key[:]) })
	for i := range leaves {
		if err := t.Update(leaves[i].key[:], leaves[i].value); err != nil {
			return ledger.Hash{}, nil, fmt.Errorf("update trie %s: %w", root, err)
		}
	}
	next, set := t.Commit(false)
	if set == nil { // every value was there already
		return next, nil, nil
	}
	changes := make([]nodeChange, 0, len(set.Nodes))
	for path, n := range set.Nodes { //archtest:order-free sorted below
		changes = append(changes, nodeChange{path, n.Hash, n.Blob})
	}
	slices.SortFunc(changes, func(a, b nodeChange) int { return bytes.Compare([]byte(a.path), []byte(b.path)) })
	return next, changes, nil
}

// proofList collects the nodes of a proof from the root down.
type proofList [][]byte

func (l *proofList) Put(_, node []byte) error { *l = append(*l, bytes.Clone(node)); return nil }
func (l *proofList) Delete([]byte) error      { return fmt.Errorf("proofs only grow") }

// proveLeaf returns the nodes that show what the trie holds under key.
func proveLeaf(root ledger.Hash, read nodeReader, key ledger.Hash) ([][]byte, error) {
	if root == ledger.EmptyStateRoot {
		return nil, nil
	}
	t, err := trie.New(trie.TrieID(root), read)
	if err != nil {
		return nil, fmt.Errorf("open trie %s: %w", root, err)
	}
	var nodes proofList
	if err := t.Prove(key[:], &nodes); err != nil {
		return nil, fmt.Errorf("prove under %s: %w", root, err)
	}
	return nodes, nil
}

// rebuildTrie computes the trie over all leaves, which walk yields in any order
// as often as asked. To bound memory it works in so many passes. visit sees
// every node; the number of nodes is returned with the root.
func rebuildTrie(walk func(func(leaf)) error, passes uint64, visit func(path string, blob []byte) error) (ledger.Hash, uint64, error) {
	nodes := uint64(0)
	var failed error
	t := trie.NewStackTrie(func(path []byte, _ common.Hash, blob []byte) {
		nodes++
		if failed == nil {
			failed = visit(string(path), blob)
		}
	})
	passes = min(passes, 1<<16)
	for pass := range passes {
		var leaves []leaf
		err := walk(func(l leaf) {
			if (uint64(l.key[0])<<8|uint64(l.key[1]))*passes>>16 == pass {
				leaves = append(leaves, l)
			}
		})
		if err != nil {
			return ledger.Hash{}, 0, err
		}
		slices.SortFunc(leaves, func(a, b leaf) int { return bytes.Compare(a.key[:], b.key[:]) })
		for i := range leaves {
			if err := t.Update(leaves[i].key[:], leaves[i].value); err != nil {
				return ledger.Hash{}, 0, fmt.Errorf("rebuild trie: %w", err)
			}
		}
	}
	root := t.Hash()
	return root, nodes, failed
}
