package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/assent-network/assent/node/ledger"
)

// The files of an export.
const (
	ProofFile    = "proof.jsonl"
	RecordsFile  = "records.jsonl"
	TableFile    = "records.csv"
	ManifestFile = "manifest.json"
)

const (
	version = 1
	domain  = "assent/audit-export/1\n"
	// maxLine bounds a line: a block of 4 MiB in base64, its receipts and events.
	maxLine     = 64 << 20
	maxManifest = 64 << 10
	maxConfigs  = 10_000
	rememberLag = 4096 // heights whose roots are kept until a header certifies them
)

// Scope says what an export covers.
type Scope struct {
	ChainID ledger.Hash   `json:"chainId"`
	From    ledger.Height `json:"from"`             // first height
	To      ledger.Height `json:"to"`               // last height
	Member  string        `json:"member,omitempty"` // records show what names it; the proof is whole
}

func (s *Scope) check() error {
	if s.From == 0 || s.To < s.From {
		return fmt.Errorf("heights %d to %d: want 1 or more, and the last not below the first", s.From, s.To)
	}
	return nil
}

// Frontier is the log of receipts below the first height: its size, and the roots
// of its complete subtrees from the left.
type Frontier struct {
	Size   uint64        `json:"size"`
	Hashes []ledger.Hash `json:"hashes"`
}

// FrontierOf takes the frontier from the proof of the first receipt of the period:
// the complete subtrees to its left are the left siblings of its path.
func FrontierOf(p *ledger.LogProof) (Frontier, error) {
	f := Frontier{Size: p.Index}
	fn, sn, at := p.Index, p.Size-1, 0
	if p.Index >= p.Size {
		return f, fmt.Errorf("receipt %d of %d", p.Index, p.Size)
	}
	for ; sn > 0; fn, sn = fn>>1, sn>>1 {
		if fn&1 == 0 && fn == sn {
			continue // the rightmost, without a sibling at this level
		}
		if at == len(p.Hashes) {
			return f, errors.New("the proof is too short")
		}
		if fn&1 == 1 {
			f.Hashes = append([]ledger.Hash{p.Hashes[at]}, f.Hashes...)
		}
		at++
	}
	return f, nil
}

// Event is what a contract announced.
type Event struct {
	Contract string `json:"contract"`
	Name     string `json:"name"`
	Payload  []byte `json:"payload"`
}

// Outcome is the receipt of a request, encoded, and the events it commits to.
type Outcome struct {
	Receipt []byte  `json:"receipt"`
	Events  []Event `json:"events,omitempty"`
}

// Block is one block of the proof file. Outcomes has one entry for each request that
// is not a seal; it is nil for blocks that only carry the certificate of others.
type Block struct {
	Header   []byte    `json:"header"`
	Requests [][]byte  `json:"requests"`
	Outcomes []Outcome `json:"outcomes"`
}

// line is a line of the proof file: one of its fields is set.
type line struct {
	Begin  *begin `json:"begin,omitempty"`
	Config []byte `json:"config,omitempty"`
	Block  *Block `json:"block,omitempty"`
	End    *end   `json:"end,omitempty"`
}

type begin struct {
	Version int      `json:"version"`
	Scope   Scope    `json:"scope"`
	Log     Frontier `json:"log"`
}

type end struct {
	Certificate []byte `json:"certificate"` // of the last block's header
}

// lines reads a file line by line.
type lines struct {
	r    *bufio.Reader
	name string
	n    int // lines read
}

func newLines(name string, r io.Reader) *lines {
	return &lines{r: bufio.NewReaderSize(r, 64<<10), name: name}
}

// next returns the next line without its end; io.EOF after the last. A line that
// does not end is a truncated file.
func (l *lines) next() ([]byte, error) {
	var out []byte
	for {
		part, err := l.r.ReadSlice('\n')
		out = append(out, part...)
		switch {
		case len(out) > maxLine:
			return nil, fmt.Errorf("%s line %d: longer than %d bytes", l.name, l.n+1, maxLine)
		case err == nil:
			l.n++
			return out[:len(out)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(out) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%s ends in the middle of line %d: it is truncated", l.name, l.n+1)
		default:
			return nil, fmt.Errorf("read %s: %w", l.name, err)
		}
	}
}

// strict decodes b, which must be the very bytes that encoding gives again.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, b) {
		return errors.New("not in canonical form")
	}
	return nil
}
