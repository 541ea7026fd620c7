package snapshot

import (
	"bytes"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// collector is a sink that writes down what it is given, as a chunk does.
type collector struct{ raw []byte }

func (c *collector) Row(key, value []byte) error {
	c.raw = appendString(appendString(c.raw, key), value)
	return nil
}

func (c *collector) Receipt(item []byte) error {
	c.raw = appendString(c.raw, item)
	return nil
}

// FuzzChunk: no chunk makes the decoder panic or take more than its manifest
// says, and what is decoded has one encoding.
func FuzzChunk(f *testing.F) {
	enc, err := newEncoder()
	if err != nil {
		f.Fatal(err)
	}
	dec, err := newDecoder()
	if err != nil {
		f.Fatal(err)
	}
	defer dec.Close()
	raw := appendString(appendString(nil, []byte("a/key")), bytes.Repeat([]byte("value"), 100))
	f.Add(enc.EncodeAll(raw, nil), raw, true)
	f.Add(enc.EncodeAll(nil, nil), []byte{}, false)
	f.Add([]byte("not zstd"), []byte{0x80, 0x00}, false)
	f.Add(enc.EncodeAll(make([]byte, 1<<20), nil), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, true)
	f.Fuzz(func(t *testing.T, packed, raw []byte, rows bool) {
		c := Chunk{Kind: kindReceipts, Size: uint64(len(packed)), Hash: ledger.Sum(packed), Raw: uint64(len(raw))}
		if rows {
			c.Kind = kindRows
		}
		if out, err := c.unpack(dec, packed, nil); err == nil && uint64(len(out)) != c.Raw {
			t.Fatalf("unpacked %d bytes, the manifest says %d", len(out), c.Raw)
		}
		for n := range uint64(4) {
			c.Items = n
			var got collector
			if err := c.deliver(raw, &got); err == nil && !bytes.Equal(got.raw, raw) {
				t.Fatalf("%x became %x", raw, got.raw)
			}
		}
	})
}
