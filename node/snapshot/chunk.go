package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/assent-network/assent/node/ledger"
)

// A chunk before compression is a list of items: of rows a key and a value, of
// receipts one string each, every one behind its length as a uvarint.

func appendString(b, s []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// cutString reads what appendString wrote. A length that could be shorter is
// refused: equal states give equal bytes.
func cutString(b []byte) (s, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	switch {
	case k <= 0:
		return nil, nil, errors.New("ends within a length")
	case k > 1 && b[k-1] == 0:
		return nil, nil, errors.New("has a length that is not in its shortest form")
	case n > maxItem || n > uint64(len(b)-k):
		return nil, nil, fmt.Errorf("names %d bytes where %d are left", n, len(b)-k)
	}
	return b[k : k+int(n)], b[k+int(n):], nil
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
}

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
}

// unpack checks a chunk's frame against the manifest and returns what is in it.
func (c *Chunk) unpack(dec *zstd.Decoder, packed, raw []byte) ([]byte, error) {
	if uint64(len(packed)) != c.Size {
		return nil, fmt.Errorf("has %d bytes, the manifest says %d", len(packed), c.Size)
	}
	if h := ledger.Sum(packed); h != c.Hash {
		return nil, fmt.Errorf("has hash %s, the manifest says %s", h, c.Hash)
	}
	out, err := dec.DecodeAll(packed, raw[:0])
	if err != nil {
		return nil, fmt.Errorf("cannot be decompressed: %w", err)
	}
	if uint64(len(out)) != c.Raw {
		return nil, fmt.Errorf("holds %d bytes, the manifest says %d", len(out), c.Raw)
	}
	return out, nil
}

// sink takes the items of a chunk.
type sink interface {
	Row(key, value []byte) error
	Receipt(item []byte) error
}

// deliver hands the items of a decompressed chunk on.
func (c *Chunk) deliver(raw []byte, to sink) error {
	n := uint64(0)
	for ; len(raw) > 0; n++ {
		var a, b []byte
		var err error
		if a, raw, err = cutString(raw); err != nil {
			return formed(err)
		}
		if c.Kind == kindReceipts {
			err = to.Receipt(a)
		} else {
			if b, raw, err = cutString(raw); err != nil {
				return formed(err)
			}
			err = to.Row(a, b)
		}
		if err != nil {
			return err
		}
	}
	if n != c.Items {
		return formed(fmt.Errorf("holds %d items, the manifest says %d", n, c.Items))
	}
	return nil
}

// formed is an error about the form of a chunk: whoever wrote it is to blame.
func formed(err error) error { return fmt.Errorf("%w: chunk %w", ErrBad, err) }
