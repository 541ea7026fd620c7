package ledger

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/core/types"
)

// EmptyStateRoot is the root of a state without records.
var EmptyStateRoot = types.EmptyRootHash

// Event is what a contract announced.
type Event struct {
	Contract string
	Name     string
	Payload  []byte
}

// Write is one change of a state record. Keys are "<contract>/<rest>".
type Write struct {
	Key    string
	Value  []byte // empty and Delete set: the record is removed
	Delete bool
}

// WriteHash is what a receipt commits to of a Write: the key and keccak256 of
// the value, or no bytes for a deletion.
type WriteHash struct {
	Key   string
	Value []byte
}

// Receipt is the leaf that the log of receipts keeps of a transaction or config
// update: what became of it, and commitments to all its effects.
type Receipt struct {
	Domain string
	TxID   Hash
	Height Height
	Index  uint64 // position of the request in its block
	Code   string // "OK", or why it was refused
	Events Hash
	Writes Hash
}

// HashEvents commits to events in order.
func HashEvents(events []Event) Hash {
	return hashOf(&struct {
		Domain string
		Events []Event
	}{domainEvents, events})
}

// HashedWrites returns the hashes of writes, in order.
func HashedWrites(writes []Write) []WriteHash {
	out, sums := make([]WriteHash, len(writes)), make([]Hash, len(writes))
	for i := range writes {
		w := &writes[i]
		out[i].Key = w.Key
		switch {
		case w.Delete:
		case i > 0 && out[i-1].Value != nil && bytes.Equal(w.Value, writes[i-1].Value): // index rows
			out[i].Value = out[i-1].Value
		default:
			sums[i] = Sum(w.Value)
			out[i].Value = sums[i][:]
		}
	}
	return out
}

// HashWrites commits to writes, which must ascend by key without repeats.
func HashWrites(writes []WriteHash) Hash {
	return hashOf(&struct {
		Domain string
		Writes []WriteHash
	}{domainWrites, writes})
}

// Encode returns the leaf's bytes.
func (r *Receipt) Encode() []byte {
	d := *r
	d.Domain = domainReceipt
	return mustEncode(&d)
}

// LeafHash returns LogHasher.HashLeaf(r.Encode()), without the bytes in between.
func (r *Receipt) LeafHash() Hash {
	d := *r
	d.Domain = domainReceipt
	return hashBehind(leafPrefix, &d)
}

// DecodeReceipt reads a leaf's bytes.
func DecodeReceipt(b []byte) (*Receipt, error) {
	r := new(Receipt)
	if err := decode("receipt", b, 512, r); err != nil {
		return nil, err
	}
	if err := wantDomain("receipt", r.Domain, domainReceipt); err != nil {
		return nil, err
	}
	return r, nil
}

// Keeping tells how a state row is kept.
type Keeping uint8

// The ways to keep a row, by the second segment of its key.
const (
	KeepRecord Keeping = iota // mutable, in the trie
	KeepLog                   // "<contract>/log/…": written once, committed by its receipt, not in the trie
	KeepIndex                 // "<contract>/ix/…": for listing, not in the trie
)

// KeepingOf returns how the row under key is kept.
func KeepingOf(key string) Keeping {
	_, rest, _ := strings.Cut(key, "/")
	switch {
	case strings.HasPrefix(rest, "log/"):
		return KeepLog
	case strings.HasPrefix(rest, "ix/"):
		return KeepIndex
	}
	return KeepRecord
}

// Ages reports whether the row under key is an access record: a log row that no
// transaction may read once it is older than the config's Limits.RecordAge, so that
// nodes may prune it.
func Ages(key string) bool { return strings.HasPrefix(key, "access/log/") }

// maxShownKey bounds what ShownKey returns of a key, in bytes.
const maxShownKey = 200

// ShownKey returns key as logs and alarms may show it. Keys hold ids, names and
// hashes that stand on the ledger, and no person; but an index row may name the
// key of a subject's consent, so of index rows only what they list is shown. What
// a contract gone wrong put into a key is quoted and cut.
func ShownKey(key string) string {
	if KeepingOf(key) == KeepIndex {
		parts := strings.SplitN(key, "/", 4)
		if len(parts) > 3 {
			parts[3] = "…"
		}
		key = strings.Join(parts, "/")
	}
	plain := len(key) <= maxShownKey && utf8.ValidString(key)
	for _, r := range key {
		plain = plain && unicode.IsPrint(r) && r != ' ' && r != '"'
	}
	if plain {
		return key
	}
	return strconv.QuoteToASCII(key[:min(len(key), maxShownKey)])
}

// SplitKey returns the contract that owns key and the rest after the first '/'.
func SplitKey(key string) (contract, rest string, err error) {
	contract, rest, ok := strings.Cut(key, "/")
	if !ok || contract == "" || rest == "" {
		return "", "", fmt.Errorf("state key %.80q: want \"<contract>/<rest>\"", key)
	}
	return contract, rest, nil
}

// TrieKey returns where the trie keeps key: keccak256(contract ‖ 0 ‖ rest).
func TrieKey(key string) Hash {
	contract, rest, _ := strings.Cut(key, "/")
	b := make([]byte, 0, len(key))
	b = append(b, contract...)
	b = append(b, 0)
	b = append(b, rest...)
	return Sum(b)
}
