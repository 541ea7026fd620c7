package state

import (
	"encoding/binary"
	"fmt"

	"github.com/assent-network/assent/node/ledger"
)

// Every key of the database starts with one of these bytes. Numbers in keys are
// big-endian, so that the order of keys is the order of numbers.
const (
	prefixMeta    = 'm' // "m"                     → format version, chain id
	prefixHead    = 'e' // "e"                     → executed height, its time and roots
	prefixRoots   = 'h' // "h" height:8            → time and roots after that height; the last rootsStored
	prefixRow     = 'r' // "r" key                 → a row of a contract: a record or index row as written, for a log row its time and value, or where they stand: see rows.go
	prefixNode    = 't' // "t" path (1 B/nibble)   → node of the state trie
	prefixOutcome = 'l' // "l" position:8          → what became of a transaction, and the few log rows it wrote; by place in the receipt log
	prefixPruned  = 'p' // "p" position:8          → what is left of a pruned outcome: enough to verify the log
	prefixTile    = 'n' // "n" level:1 number:8    → 16 hashes of the receipt log's Merkle tree
	prefixIndex   = 'x' // "x" txID:32             → where the transaction stands
	prefixPruning = 'q' // "q"                     → how far outcomes were pruned; missing: not at all
)

var (
	keyMeta = []byte{prefixMeta}
	keyHead = []byte{prefixHead}

	keyPruning = []byte{prefixPruning}
)

func keyRow(key string) []byte {
	b := make([]byte, 0, 1+len(key))
	b = append(b, prefixRow)
	return append(b, key...)
}

func keyNode(path string) []byte {
	b := make([]byte, 0, 1+len(path))
	b = append(b, prefixNode)
	return append(b, path...)
}

func keyRoots(h ledger.Height) []byte { return numbered(prefixRoots, uint64(h)) }

func keyOutcome(position uint64) []byte { return numbered(prefixOutcome, position) }

func keyPruned(position uint64) []byte { return numbered(prefixPruned, position) }

func keyTile(id tileID) []byte {
	b := make([]byte, 0, 10)
	b = append(b, prefixTile, id.level)
	return binary.BigEndian.AppendUint64(b, id.number)
}

func keyIndex(id ledger.Hash) []byte {
	b := make([]byte, 0, 33)
	b = append(b, prefixIndex)
	return append(b, id[:]...)
}

func numbered(prefix byte, n uint64) []byte {
	b := make([]byte, 0, 9)
	b = append(b, prefix)
	return binary.BigEndian.AppendUint64(b, n)
}

// parseNumbered reads a key that numbered made.
func parseNumbered(prefix byte, key []byte) (uint64, error) {
	if len(key) != 9 || key[0] != prefix {
		return 0, fmt.Errorf("key %x is not %q and 8 bytes", key, prefix)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}
