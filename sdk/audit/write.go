package audit

import (
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
)

// Exporter says who makes an export.
type Exporter struct {
	Member string
	Signer ledger.Signer
	Time   time.Time
}

// Outputs are where the files of an export go.
type Outputs struct{ Proof, Records, Table, Manifest io.Writer }

// Manifest names the files of an export, and who says that they are it.
type Manifest struct {
	Version  int              `json:"version"`
	Scope    Scope            `json:"scope"`
	Exporter string           `json:"exporter"` // member
	Key      ledger.Address   `json:"key"`
	Time     string           `json:"time"` // by the exporter's clock
	Files    []File           `json:"files"`
	Sig      ledger.Signature `json:"signature"` // over keccak256(domain ‖ this JSON with a signature of zeros)
}

// File is the name, size and hash of a file.
type File struct {
	Name      string `json:"name"`
	Bytes     uint64 `json:"bytes"`
	Keccak256 string `json:"keccak256"`
}

func (m *Manifest) digest() (ledger.Hash, error) {
	d := *m
	d.Sig = ledger.Signature{}
	b, err := json.Marshal(&d)
	return ledger.Sum([]byte(domain), b), err
}

// counted hashes and counts what passes through it.
type counted struct {
	w io.Writer
	h hash.Hash
	n uint64
}

func newCounted(w io.Writer) *counted { return &counted{w: w, h: crypto.NewKeccakState()} }

func (c *counted) Write(b []byte) (int, error) {
	c.h.Write(b)
	c.n += uint64(len(b))
	return c.w.Write(b)
}

func (c *counted) file(name string) File {
	return File{Name: name, Bytes: c.n, Keccak256: fmt.Sprintf("%#x", c.h.Sum(nil))}
}

// Writer writes an export, one block after another.
type Writer struct {
	chain                 *chain
	proof, records, table *counted
	manifest              io.Writer
}

// NewWriter begins an export. configs are the config proofs from genesis to the
// config of the last block.
func NewWriter(out Outputs, s Scope, f Frontier, configs [][]byte) (*Writer, error) {
	c, err := newChain(s, f)
	if err != nil {
		return nil, err
	}
	w := &Writer{c, newCounted(out.Proof), newCounted(out.Records), newCounted(out.Table), out.Manifest}
	if err := writeTable(w.table, nil); err != nil {
		return nil, err
	}
	if err := put(w.proof, &line{Begin: &begin{version, s, f}}); err != nil {
		return nil, err
	}
	for _, b := range configs {
		if err := put(w.proof, &line{Config: b}); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func put(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}

// Add checks the next block and writes it.
func (w *Writer) Add(b *Block) error {
	h, entries, err := w.chain.add(b)
	if err != nil {
		return err
	}
	if err := put(w.proof, &line{Block: b}); err != nil {
		return err
	}
	if h.Height > w.chain.scope.To {
		return nil
	}
	rows := w.chain.scope.records(h, entries)
	for i := range rows {
		if err := put(w.records, &rows[i]); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return writeTable(w.table, rows)
}

// Complete reports whether the blocks so far certify the whole period.
func (w *Writer) Complete() bool { return w.chain.done() == nil }

// Finish ends the export with the certificate of the last block and signs it.
func (w *Writer) Finish(c *ledger.Certificate, by Exporter) error {
	if err := w.chain.done(); err != nil {
		return err
	}
	if err := put(w.proof, &line{End: &end{c.Encode()}}); err != nil {
		return err
	}
	m := &Manifest{
		Version: version, Scope: w.chain.scope, Exporter: by.Member, Key: by.Signer.Address(), Time: by.Time.UTC().Format(time.RFC3339),
		Files: []File{w.proof.file(ProofFile), w.records.file(RecordsFile), w.table.file(TableFile)},
	}
	d, err := m.digest()
	if err != nil {
		return err
	}
	if m.Sig, err = by.Signer.Sign(d); err != nil {
		return fmt.Errorf("sign the export: %w", err)
	}
	return put(w.manifest, m)
}
