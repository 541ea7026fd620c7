package snapshot

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

const (
	domainManifest = "assent/snapshot/2"
	domainContent  = "assent/snapshot-content/1"

	// MaxManifestBytes bounds an encoded manifest: what the network allows a frame,
	// and some 400 GB of state.
	MaxManifestBytes = 7 << 20
	// maxChunks bounds the chunks that a manifest lists.
	maxChunks = 100_000
	// chunkBytes is when a chunk is closed; it holds at least one item.
	chunkBytes = 2 << 20
	// maxItem bounds an item of a chunk: more than any row or receipt has.
	maxItem = 8 << 20
	// maxRaw bounds a chunk before compression, maxPacked after it.
	maxRaw    = chunkBytes + maxItem + 64
	maxPacked = maxRaw + 1<<20
)

// Kinds of chunks, in the order in which they come.
const (
	kindRows     = 1
	kindReceipts = 2
)

// Chunk says what a chunk must be.
type Chunk struct {
	Kind  uint64
	Items uint64
	Raw   uint64      // bytes before compression
	Size  uint64      // bytes of the zstd frame
	Hash  ledger.Hash // keccak256 of the zstd frame
}

// Manifest describes a snapshot.
type Manifest struct {
	Domain  string
	ChainID ledger.Hash
	Header  ledger.CertifiedHeader // its roots are those of the state; its ExecHeight is the snapshot's height
	Time    uint64                 // of the block at that height, Unix ms
	Chunks  []Chunk
}

// Height returns the height after which the snapshot shows the state.
func (m *Manifest) Height() ledger.Height { return m.Header.Header.ExecHeight }

// Roots returns the roots that the state must have.
func (m *Manifest) Roots() state.Roots {
	h := &m.Header.Header
	return state.Roots{State: h.StateRoot, Receipts: h.ReceiptsRoot, ReceiptsSize: h.ReceiptsSize}
}

// Bytes returns the size of all chunks, Raw before compression.
func (m *Manifest) Bytes() (size, raw uint64) {
	for i := range m.Chunks {
		size, raw = size+m.Chunks[i].Size, raw+m.Chunks[i].Raw
	}
	return size, raw
}

// ID names the content: two nodes that copy the same state name it alike,
// whichever certificates they hold.
func (m *Manifest) ID() ledger.Hash {
	b, err := rlp.EncodeToBytes(&struct {
		Domain  string
		ChainID ledger.Hash
		Header  ledger.Hash
		Chunks  []Chunk
	}{domainContent, m.ChainID, m.Header.Header.Hash(), m.Chunks})
	if err != nil {
		panic(fmt.Sprintf("snapshot: encode content: %v", err)) // our own type
	}
	return ledger.Sum(b)
}

// Encode returns the canonical bytes.
func (m *Manifest) Encode() []byte {
	d := *m
	d.Domain = domainManifest
	if h, err := ledger.DecodeHeader(m.Header.Header.Encode()); err == nil {
		d.Header.Header = *h // with its domain, which one made here may lack
	}
	b, err := rlp.EncodeToBytes(&d)
	if err != nil {
		panic(fmt.Sprintf("snapshot: encode manifest: %v", err)) // our own type
	}
	return b
}

// Decode reads a manifest and checks its form; whether its header is certified
// is for the caller to find out.
func Decode(b []byte) (*Manifest, error) {
	if len(b) > MaxManifestBytes {
		return nil, fmt.Errorf("manifest of %d bytes, at most %d are allowed", len(b), MaxManifestBytes)
	}
	m := new(Manifest)
	if err := rlp.DecodeBytes(b, m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if !bytes.Equal(b, m.Encode()) { // a header's hash does not tell whether it begins as headers do
		return nil, errors.New("manifest: its header does not say that it is one")
	}
	return m, nil
}

func (m *Manifest) check() error {
	h := &m.Header.Header
	switch {
	case m.Domain != domainManifest:
		return fmt.Errorf("is %.40q, want %q: of another release?", m.Domain, domainManifest)
	case h.ChainID != m.ChainID:
		return errors.New("names another network than its header")
	case h.ExecHeight >= h.Height:
		return fmt.Errorf("its header %d names height %d as executed", h.Height, h.ExecHeight)
	case m.Header.Certificate.Header != h.Hash():
		return errors.New("its certificate is for another header")
	case len(m.Chunks) > maxChunks:
		return fmt.Errorf("%d chunks, at most %d are allowed", len(m.Chunks), maxChunks)
	}
	receipts := uint64(0)
	for i, c := range m.Chunks {
		switch {
		case c.Kind != kindRows && c.Kind != kindReceipts, i > 0 && c.Kind < m.Chunks[i-1].Kind:
			return fmt.Errorf("chunk %d has kind %d: rows come first, then receipts", i, c.Kind)
		case c.Items == 0 || c.Raw < c.Items || c.Raw > maxRaw || c.Size == 0 || c.Size > maxPacked:
			return fmt.Errorf("chunk %d has %d items in %d bytes, %d compressed", i, c.Items, c.Raw, c.Size)
		}
		if c.Kind == kindReceipts {
			receipts += c.Items
		}
	}
	if receipts != h.ReceiptsSize {
		return fmt.Errorf("chunks carry %d receipts, the header names %d", receipts, h.ReceiptsSize)
	}
	return nil
}
