package ledger_test

// Slow and obvious twins of what this package hashes and encodes, written from
// SPEC.md alone and without this package or its libraries (but keccak256).

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/assent-network/assent/node/ledger"
	"github.com/ethereum/go-ethereum/crypto"
)

func twinHash(parts ...[]byte) []byte { return crypto.Keccak256(parts...) }

// raw is bytes that stand in RLP as they are.
type raw []byte

// twinRLP encodes byte strings, texts, integers and lists of them.
func twinRLP(v any) []byte {
	head := func(short, long byte, n int) []byte {
		if n < 56 {
			return []byte{short + byte(n)}
		}
		size := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, uint64(n)), "\x00")
		return append([]byte{long + byte(len(size))}, size...)
	}
	switch v := v.(type) {
	case []any:
		var body []byte
		for _, e := range v {
			body = append(body, twinRLP(e)...)
		}
		return append(head(0xc0, 0xf7, len(body)), body...)
	case []byte:
		if len(v) == 1 && v[0] < 0x80 {
			return v
		}
		return append(head(0x80, 0xb7, len(v)), v...)
	case raw:
		return v
	case string:
		return twinRLP([]byte(v))
	case uint64:
		return twinRLP(twinInt(v))
	case ledger.Hash:
		return twinRLP(v[:])
	case ledger.Address:
		return twinRLP(v[:])
	case ledger.Height:
		return twinRLP(uint64(v))
	case ledger.Signature:
		return twinRLP(v[:])
	}
	panic(fmt.Sprintf("twin: no RLP of %T", v))
}

// twinLogRoot is the definition of RFC 6962, section 2.1, with keccak256.
func twinLogRoot(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		return twinHash()
	case 1:
		return twinHash([]byte{0}, leaves[0])
	}
	k := twinSplit(len(leaves))
	return twinHash([]byte{1}, twinLogRoot(leaves[:k]), twinLogRoot(leaves[k:]))
}

// twinSplit is the largest power of two below n.
func twinSplit(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

// twinLogPath is the definition of RFC 6962, section 2.1.1.
func twinLogPath(m int, leaves [][]byte) [][]byte {
	if len(leaves) == 1 {
		return nil
	}
	k := twinSplit(len(leaves))
	if m < k {
		return append(twinLogPath(m, leaves[:k]), twinLogRoot(leaves[k:]))
	}
	return append(twinLogPath(m-k, leaves[k:]), twinLogRoot(leaves[:k]))
}

// twinTrieRoot is the root of the Merkle Patricia trie over 32-byte keys.
func twinTrieRoot(rows map[ledger.Hash][]byte) []byte {
	if len(rows) == 0 {
		return twinHash([]byte{0x80})
	}
	var leaves []twinLeaf
	for k, v := range rows {
		l := twinLeaf{value: v}
		for _, b := range k {
			l.path = append(l.path, b>>4, b&15)
		}
		leaves = append(leaves, l)
	}
	return twinHash(twinRLP(twinNode(leaves)))
}

type twinLeaf struct {
	path  []byte // nibbles that are left
	value []byte
}

// twinNode returns the RLP list of the node over leaves, which is not empty.
func twinNode(leaves []twinLeaf) []any {
	if len(leaves) == 1 {
		return []any{twinNibbles(leaves[0].path, true), leaves[0].value}
	}
	common := leaves[0].path
	for _, l := range leaves {
		for !bytes.HasPrefix(l.path, common) {
			common = common[:len(common)-1]
		}
	}
	if n := len(common); n > 0 {
		rest := make([]twinLeaf, len(leaves))
		for i, l := range leaves {
			rest[i] = twinLeaf{l.path[n:], l.value}
		}
		return []any{twinNibbles(common, false), twinRef(twinNode(rest))}
	}
	branch := make([]any, 17)
	for i := range 16 {
		var below []twinLeaf
		for _, l := range leaves {
			if l.path[0] == byte(i) {
				below = append(below, twinLeaf{l.path[1:], l.value})
			}
		}
		branch[i] = []byte{}
		if len(below) > 0 {
			branch[i] = twinRef(twinNode(below))
		}
	}
	branch[16] = []byte{} // all keys have one length
	return branch
}

// twinRef is how a node names a child: by hash, or itself if it is short.
func twinRef(node []any) any {
	if enc := twinRLP(node); len(enc) >= 32 {
		return twinHash(enc)
	}
	return node
}

// twinNibbles is the hex-prefix encoding.
func twinNibbles(path []byte, leaf bool) []byte {
	flag := byte(0)
	if leaf {
		flag = 2
	}
	nibbles := []byte{flag, 0}
	if len(path)%2 == 1 {
		nibbles = []byte{flag + 1}
	}
	nibbles = append(nibbles, path...)
	var out []byte
	for i := 0; i < len(nibbles); i += 2 {
		out = append(out, nibbles[i]<<4|nibbles[i+1])
	}
	return out
}

// twinInt is an integer as RLP wants it: big-endian without leading zeros.
func twinInt(v uint64) []byte {
	return bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, v), "\x00")
}

func bytesToInt(b []byte) *big.Int { return new(big.Int).SetBytes(b) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
