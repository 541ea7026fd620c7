package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/assent-network/assent/node/ledger"
)

// Inputs are the files of an export.
type Inputs struct{ Proof, Records, Table, Manifest io.Reader }

// Verified is what an export proves.
type Verified struct {
	Manifest Manifest
	Blocks   uint64
	Records  uint64 // lines of the records file
}

// Verify checks an export with nothing but the genesis config. What it returns an
// error for proves nothing; the error names the file and the place.
func Verify(genesis *ledger.Config, in Inputs) (*Verified, error) {
	light, err := ledger.NewLightClient(genesis)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(in.Manifest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ManifestFile, err)
	}
	if m.Scope.ChainID != light.ChainID() {
		return nil, fmt.Errorf("%s: %w: it is of network %s, the genesis config founds %s", ManifestFile, ledger.ErrWrongChain, m.Scope.ChainID, light.ChainID())
	}
	v := &verifier{light: light, out: Verified{Manifest: *m}}
	tee := func(name string, r io.Reader) (*lines, *counted) {
		c := newCounted(io.Discard)
		return newLines(name, io.TeeReader(r, c)), c
	}
	var sums [3]*counted
	v.proof, sums[0] = tee(ProofFile, in.Proof)
	v.records, sums[1] = tee(RecordsFile, in.Records)
	v.table, sums[2] = tee(TableFile, in.Table)
	if err := v.run(); err != nil {
		return nil, err
	}
	for i, name := range []string{ProofFile, RecordsFile, TableFile} {
		if got := sums[i].file(name); len(m.Files) != len(sums) || m.Files[i] != got {
			return nil, fmt.Errorf("%s is not the file that %s names: it was altered after the export was signed", name, ManifestFile)
		}
	}
	return &v.out, nil
}

func readManifest(r io.Reader) (*Manifest, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return nil, err
	}
	body, whole := bytes.CutSuffix(b, []byte("\n"))
	if !whole || len(b) > maxManifest {
		return nil, errors.New("truncated, or no manifest of an export")
	}
	m := new(Manifest)
	if err := strict(body, m); err != nil {
		return nil, err
	}
	if m.Version != version {
		return nil, fmt.Errorf("version %d, this program reads %d", m.Version, version)
	}
	d, err := m.digest()
	if err != nil {
		return nil, err
	}
	if err := ledger.VerifySignature(d, m.Sig, m.Key); err != nil {
		return nil, fmt.Errorf("the exporter's signature is wrong, or the manifest was altered: %w", err)
	}
	return m, nil
}

type verifier struct {
	light                 *ledger.LightClient
	chain                 *chain
	proof, records, table *lines
	configs               int
	out                   Verified
}

func (v *verifier) run() error {
	if err := v.sameTable(nil); err != nil {
		return err
	}
	for ended := false; ; {
		b, err := v.proof.next()
		if errors.Is(err, io.EOF) && ended {
			break
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s ends before its certificate: it is truncated", ProofFile)
		}
		if err == nil {
			if ended {
				err = errors.New("more follows the certificate")
			} else if ended, err = v.line(b); err != nil {
				err = fmt.Errorf("%s line %d: %w", ProofFile, v.proof.n, err)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, l := range []*lines{v.records, v.table} {
		if _, err := l.next(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s line %d: the proof shows no such record: it was added", l.name, l.n)
		}
	}
	return nil
}

func (v *verifier) line(b []byte) (ended bool, err error) {
	var l line
	if err := strict(b, &l); err != nil {
		return false, err
	}
	switch {
	case v.chain == nil && l.Begin != nil:
		if l.Begin.Version != version || l.Begin.Scope != v.out.Manifest.Scope {
			return false, fmt.Errorf("it is of another version or scope than %s says", ManifestFile)
		}
		v.chain, err = newChain(l.Begin.Scope, l.Begin.Log)
		return false, err
	case v.chain == nil:
		return false, errors.New("a proof file begins with its scope")
	case l.Config != nil && v.chain.tip == nil:
		if v.configs++; v.configs > maxConfigs {
			return false, fmt.Errorf("more than %d changes of the config", maxConfigs)
		}
		p, err := ledger.DecodeConfigProof(l.Config)
		if err != nil {
			return false, err
		}
		return false, v.light.Advance(p)
	case l.Block != nil:
		return false, v.block(l.Block)
	case l.End != nil:
		return true, v.end(l.End)
	}
	return false, errors.New("neither block nor certificate")
}

func (v *verifier) block(b *Block) error {
	h, entries, err := v.chain.add(b)
	if err != nil || h.Height > v.chain.scope.To {
		return err
	}
	v.out.Blocks++
	rows := v.chain.scope.records(h, entries)
	for i := range rows {
		want, err := json.Marshal(&rows[i])
		if err != nil {
			return err
		}
		if err := v.records.same(want, &rows[i]); err != nil {
			return err
		}
	}
	v.out.Records += uint64(len(rows))
	if len(rows) == 0 {
		return nil
	}
	return v.sameTable(rows)
}

// sameTable holds the next rows of the CSV against those that the proof shows.
func (v *verifier) sameTable(rows []Record) error {
	var b bytes.Buffer
	if err := writeTable(&b, rows); err != nil {
		return err
	}
	var first *Record
	if len(rows) > 0 {
		first = &rows[0]
	}
	for want := range bytes.Lines(b.Bytes()) {
		if err := v.table.same(want[:len(want)-1], first); err != nil {
			return err
		}
	}
	return nil
}

func (l *lines) same(want []byte, r *Record) error {
	at := "the heading"
	if r != nil {
		at = fmt.Sprintf("block %d", r.Height)
	}
	got, err := l.next()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s ends after line %d, where %s has more: lines were removed", l.name, l.n, at)
	}
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s line %d is not what %s proves: a line was altered, removed, added or moved", l.name, l.n, at)
	}
	return err
}

func (v *verifier) end(e *end) error {
	if err := v.chain.done(); err != nil {
		return err
	}
	c, err := ledger.DecodeCertificate(e.Certificate)
	if err != nil {
		return err
	}
	return v.light.Verify(&ledger.CertifiedHeader{Header: *v.chain.tip, Certificate: *c})
}
