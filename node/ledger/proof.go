package ledger

import (
	"bytes"
	"fmt"

	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/trie"
)

// Bounds of proofs.
const (
	MaxProofBytes = 1 << 20 // of an encoded proof
	maxProofNodes = 65      // a path of 64 nibbles, and the root
)

// StateProof shows the value of a record, or that there is none, under a state
// root. Present tells which; Value is the record's bytes.
type StateProof struct {
	Key     string
	Present bool
	Value   []byte
	Nodes   [][]byte // trie nodes from the root down
}

// Verify reports why p does not hold under root.
func (p *StateProof) Verify(root Hash) error {
	if KeepingOf(p.Key) != KeepRecord {
		return fmt.Errorf("state proof of %q: such rows are committed by receipts, not by the state root", p.Key)
	}
	if _, _, err := SplitKey(p.Key); err != nil {
		return fmt.Errorf("state proof: %w", err)
	}
	if !p.Present && len(p.Value) != 0 {
		return fmt.Errorf("state proof of %q: absent, yet it carries a value", p.Key)
	}
	if root == EmptyStateRoot { // an empty trie has no node that could show absence
		if p.Present || len(p.Nodes) != 0 {
			return fmt.Errorf("state proof of %q: the state is empty", p.Key)
		}
		return nil
	}
	db := memorydb.New()
	for _, n := range p.Nodes { // keyed by what the bytes hash to, never by what a peer says
		h := Sum(n)
		if err := db.Put(h[:], n); err != nil {
			return fmt.Errorf("state proof of %q: %w", p.Key, err)
		}
	}
	tk := TrieKey(p.Key)
	leaf, err := trie.VerifyProof(root, tk[:], db)
	if err != nil {
		return fmt.Errorf("state proof of %q under root %s: %w", p.Key, root, err)
	}
	if !p.Present {
		if leaf != nil {
			return fmt.Errorf("state proof of %q: said to be absent, but the root holds it", p.Key)
		}
		return nil
	}
	if want := Sum(p.Value); !bytes.Equal(leaf, want[:]) {
		return fmt.Errorf("state proof of %q: the root holds another value", p.Key)
	}
	return nil
}

// ReceiptProof shows a transaction's receipt, and all it wrote, under a
// receipts root.
type ReceiptProof struct {
	Receipt Receipt
	Log     LogProof
	Writes  []WriteHash // the whole write set, in order
}

// Verify reports why p does not hold under the roots of h.
func (p *ReceiptProof) Verify(h *Header) error {
	if p.Log.Size != h.ReceiptsSize {
		return fmt.Errorf("receipt proof is for a log of %d leaves, header %d certifies %d", p.Log.Size, h.Height, h.ReceiptsSize)
	}
	if HashWrites(p.Writes) != p.Receipt.Writes {
		return fmt.Errorf("receipt proof of %s: the write set is not the one of the receipt", p.Receipt.TxID)
	}
	return p.Log.Verify(h.ReceiptsRoot, p.Receipt.Encode())
}

// Wrote reports whether the proven transaction wrote value under key.
func (p *ReceiptProof) Wrote(key string, value []byte) bool {
	want := Sum(value)
	for _, w := range p.Writes {
		if w.Key == key {
			return bytes.Equal(w.Value, want[:])
		}
	}
	return false
}

// CertifiedHeader is a header with the votes that make it final.
type CertifiedHeader struct {
	Header      Header
	Certificate Certificate
}

// Encode returns RLP [header, certificate].
func (c *CertifiedHeader) Encode() []byte {
	d := *c
	d.Header.Domain = domainHeader
	return mustEncode(&d)
}

// DecodeCertifiedHeader reads canonical bytes; it does not check the votes.
func DecodeCertifiedHeader(b []byte) (*CertifiedHeader, error) {
	c := new(CertifiedHeader)
	if err := decode("certified header", b, maxHeaderBytes+maxCertificateBytes, c); err != nil {
		return nil, err
	}
	if err := wantDomain("header", c.Header.Domain, domainHeader); err != nil {
		return nil, err
	}
	return c, nil
}

// Encode returns the canonical bytes.
func (p *StateProof) Encode() []byte { return mustEncode(p) }

// DecodeStateProof reads canonical bytes; it checks nothing but the form.
func DecodeStateProof(b []byte) (*StateProof, error) {
	p := new(StateProof)
	if err := decodeListed("state proof", b, MaxProofBytes, p, maxProofNodes, 3); err != nil {
		return nil, err
	}
	return p, nil
}

// Encode returns the canonical bytes.
func (p *ReceiptProof) Encode() []byte {
	d := *p
	d.Receipt.Domain = domainReceipt
	return mustEncode(&d)
}

// DecodeReceiptProof reads canonical bytes; it checks nothing but the form.
func DecodeReceiptProof(b []byte) (*ReceiptProof, error) {
	p := new(ReceiptProof)
	if err := decode("receipt proof", b, MaxProofBytes, p); err != nil {
		return nil, err
	}
	if err := wantDomain("receipt", p.Receipt.Domain, domainReceipt); err != nil {
		return nil, err
	}
	return p, nil
}
