package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/assent-network/assent/node/ledger"
)

// MaxBundle bounds an exported proof, in bytes.
const MaxBundle = 32 << 20

const (
	bundleKind    = "assent-proof"
	bundleVersion = 1
)

// bundle is an exported proof: all that somebody needs who has the genesis
// config and no connection.
type bundle struct {
	Kind    string            `json:"kind"`
	Version int               `json:"version"`
	ChainID Hash              `json:"chainId"`
	Configs [][]byte          `json:"configs"` // config proofs from genesis up to the header's config
	Header  []byte            `json:"header"`  // certified header
	State   []byte            `json:"state,omitempty"`
	Receipt []byte            `json:"receipt,omitempty"`
	Records map[string]string `json:"records,omitempty"` // rows that the receipt's transaction wrote
}

// ExportRecord returns a proven record as a file that VerifyBundle checks.
func (p Proofs) ExportRecord(r *ProvenRecord) ([]byte, error) {
	return p.export(&r.Header, bundle{State: r.Proof.Encode()})
}

// ExportReceipt returns a proven receipt as a file that VerifyBundle checks.
func (p Proofs) ExportReceipt(r *ProvenReceipt) ([]byte, error) {
	rows := make(map[string]string, len(r.Records))
	for k, v := range r.Records {
		rows[k] = string(v)
	}
	return p.export(&r.Header, bundle{Receipt: r.Proof.Encode(), Records: rows})
}

func (p Proofs) export(h *ledger.CertifiedHeader, b bundle) ([]byte, error) {
	b.Kind, b.Version, b.ChainID, b.Header = bundleKind, bundleVersion, p.c.chainID, h.Encode()
	b.Configs = p.c.trust.walkTo(h.Header.ConfigSeq)
	return json.MarshalIndent(b, "", " ")
}

// walkTo returns the config proofs from 1 to seq.
func (t *trust) walkTo(seq uint64) [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.walked[:min(seq, uint64(len(t.walked)))])
}

// Proven is a proof that was checked: one of the two is set.
type Proven struct {
	Record  *ProvenRecord
	Receipt *ProvenReceipt
}

// VerifyBundle checks an exported proof with nothing but the genesis config: no
// node, no network, no clock.
func VerifyBundle(genesis, data []byte) (*Proven, error) {
	cfg, err := ParseGenesis(genesis)
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBundle {
		return nil, fmt.Errorf("proof file of %d bytes, at most %d are read", len(data), MaxBundle)
	}
	var b bundle
	if err := json.Unmarshal(data, &b); err != nil || b.Kind != bundleKind {
		return nil, errors.New("not a proof file: make one with assent proof record or assent proof receipt")
	}
	if b.Version != bundleVersion {
		return nil, fmt.Errorf("proof file of version %d, this program reads %d", b.Version, bundleVersion)
	}
	p, err := b.verify(cfg)
	if err != nil {
		return nil, &Untrusted{Node: "the proof file", What: "a proof", Cause: err}
	}
	return p, nil
}

func (b *bundle) verify(genesis *ledger.Config) (*Proven, error) {
	if chain := genesis.Hash(); b.ChainID != chain {
		return nil, fmt.Errorf("%w: it is of network %s, the genesis config founds %s", ledger.ErrWrongChain, b.ChainID, chain)
	}
	t, err := newTrust(&settings{genesis: genesis})
	if err != nil {
		return nil, err
	}
	if err := t.advance(1, b.Configs); err != nil {
		return nil, err
	}
	h, err := ledger.DecodeCertifiedHeader(b.Header)
	if err != nil {
		return nil, err
	}
	if h, err = t.check(h); err != nil {
		return nil, err
	}
	switch {
	case len(b.State) > 0 && len(b.Receipt) == 0:
		return b.verifyState(h)
	case len(b.Receipt) > 0 && len(b.State) == 0:
		return b.verifyReceipt(h)
	}
	return nil, errors.New("it must hold either a state proof or a receipt proof")
}

func (b *bundle) verifyState(h *ledger.CertifiedHeader) (*Proven, error) {
	sp, err := ledger.DecodeStateProof(b.State)
	if err != nil {
		return nil, err
	}
	r := &ProvenRecord{Key: sp.Key, Header: *h, Proof: *sp}
	return &Proven{Record: r}, r.fill()
}

func (b *bundle) verifyReceipt(h *ledger.CertifiedHeader) (*Proven, error) {
	rp, err := ledger.DecodeReceiptProof(b.Receipt)
	if err != nil {
		return nil, err
	}
	r := &ProvenReceipt{TxID: rp.Receipt.TxID, Header: *h, Proof: *rp, Records: map[string][]byte{}}
	if err := r.fill(); err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(b.Records)) {
		v := []byte(b.Records[k])
		if !rp.Wrote(k, v) {
			return nil, fmt.Errorf("the transaction did not write this row %q", k)
		}
		r.Records[k] = v
	}
	return &Proven{Receipt: r}, nil
}
