package fakenode

import (
	"bytes"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// A Merkle Patricia trie as the yellow paper writes it down: built from scratch
// for every root, obviously right, and shared with no other code of ours.

type leaf struct {
	path  []byte // nibbles
	value []byte
}

// buildTrie returns the root over records and the nodes by hash.
func buildTrie(records map[string][]byte) (ledger.Hash, map[ledger.Hash][]byte) {
	if len(records) == 0 {
		return types.EmptyRootHash, nil
	}
	nodes := map[ledger.Hash][]byte{}
	var leaves []leaf
	for key, v := range records {
		h, sum := ledger.TrieKey(key), ledger.Sum(v)
		leaves = append(leaves, leaf{nibbles(h[:]), sum[:]})
	}
	return ledger.Hash(build(leaves, 0, nodes)), nodes
}

func nibbles(b []byte) []byte {
	out := make([]byte, 0, 2*len(b))
	for _, v := range b {
		out = append(out, v>>4, v&15)
	}
	return out
}

// build returns the reference to the subtrie of leaves below depth. Values have
// 32 bytes, so no node is short enough to stand inside its parent.
func build(leaves []leaf, depth int, nodes map[ledger.Hash][]byte) []byte {
	if len(leaves) == 1 {
		return put(nodes, []any{compact(leaves[0].path[depth:], true), leaves[0].value})
	}
	shared := depth
	for same(leaves, shared) {
		shared++
	}
	if shared > depth {
		return put(nodes, []any{compact(leaves[0].path[depth:shared], false), build(leaves, shared, nodes)})
	}
	branch := make([]any, 17)
	for i := range branch {
		branch[i] = []byte{}
	}
	for n := range byte(16) {
		var below []leaf
		for _, l := range leaves {
			if l.path[depth] == n {
				below = append(below, l)
			}
		}
		if len(below) > 0 {
			branch[n] = build(below, depth+1, nodes)
		}
	}
	return put(nodes, branch)
}

func same(leaves []leaf, at int) bool {
	for _, l := range leaves[1:] {
		if l.path[at] != leaves[0].path[at] {
			return false
		}
	}
	return true
}

func put(nodes map[ledger.Hash][]byte, node []any) []byte {
	b, err := rlp.EncodeToBytes(node)
	if err != nil {
		panic(err)
	}
	h := ledger.Sum(b)
	nodes[h] = b
	return h[:]
}

// compact is the hex-prefix encoding of nibbles.
func compact(path []byte, isLeaf bool) []byte {
	flag := byte(0)
	if isLeaf {
		flag = 2
	}
	if len(path)%2 == 1 {
		path = append([]byte{flag + 1}, path...)
	} else {
		path = append([]byte{flag, 0}, path...)
	}
	out := make([]byte, len(path)/2)
	for i := range out {
		out[i] = path[2*i]<<4 | path[2*i+1]
	}
	return out
}

// proveState returns the nodes from the root towards key, as far as they go.
func proveState(root ledger.Hash, nodes map[ledger.Hash][]byte, key string) [][]byte {
	var out [][]byte
	h := ledger.TrieKey(key)
	path := nibbles(h[:])
	for ref := root[:]; len(ref) == 32; {
		b, ok := nodes[ledger.Hash(ref)]
		if !ok {
			return out
		}
		out = append(out, b)
		var node [][]byte
		if err := rlp.DecodeBytes(b, &node); err != nil {
			panic(err)
		}
		if len(node) == 17 {
			ref, path = node[path[0]], path[1:]
			continue
		}
		part := nibbles(node[0])
		isLeaf, part := part[0] >= 2, part[2-part[0]%2:]
		if isLeaf || !bytes.HasPrefix(path, part) {
			return out
		}
		ref, path = node[1], path[len(part):]
	}
	return out
}

// logRoot and logPath are RFC 6962 with the ledger's hasher, by its definitions.
func logRoot(leaves [][]byte) ledger.Hash {
	var h ledger.LogHasher
	switch len(leaves) {
	case 0:
		return ledger.EmptyLogRoot
	case 1:
		return ledger.Hash(h.HashLeaf(leaves[0]))
	}
	k := split(len(leaves))
	l, r := logRoot(leaves[:k]), logRoot(leaves[k:])
	return ledger.Hash(h.HashChildren(l[:], r[:]))
}

func logPath(leaves [][]byte, i int) []ledger.Hash {
	if len(leaves) <= 1 {
		return nil
	}
	if k := split(len(leaves)); i < k {
		return append(logPath(leaves[:k], i), logRoot(leaves[k:]))
	} else {
		return append(logPath(leaves[k:], i-k), logRoot(leaves[:k]))
	}
}

// split is the largest power of two below n.
func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}
