package store

import (
	"testing"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// FuzzRows reads rows of a block store: whatever stands there, it is the block that
// the hash names, or damage.
func FuzzRows(f *testing.F) {
	c := crashChain(3)
	for _, b := range c.Blocks {
		header, body := splitBlock(b.Encode())
		hash := ledger.Sum(header)
		f.Add(append(hash[:], header...), body)
	}
	f.Add([]byte{}, []byte{0xc0})
	f.Fuzz(func(t *testing.T, row, body []byte) {
		var about format
		_ = rlp.DecodeBytes(row, &about) // must not panic
		_ = rlp.DecodeBytes(row, new(base))
		splitKey(row)
		for h := range ledger.Height(4) {
			header, hash, err := decodeHeader(row, h)
			if err != nil {
				continue
			}
			if header.Hash() != hash || header.Height != h {
				t.Fatalf("header %s of height %d was read as %s of %d", header.Hash(), header.Height, hash, h)
			}
			if b, err := ledger.DecodeBlock(joinBlock(row[32:], body)); err == nil && b.Header.Hash() != hash {
				t.Fatal("a body gave a block another header")
			}
		}
	})
}
