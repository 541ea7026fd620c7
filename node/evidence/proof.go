package evidence

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/assent-network/assent/node/ledger"
)

const (
	// format is the version of a proof's file.
	format = 2
	// DoubleVote is the one kind of proof.
	DoubleVote = "DOUBLE_VOTE"
	// maxFile is more than the largest proof takes.
	maxFile = 64 << 10
)

// Hex are bytes that stand in JSON as 0x-hex.
type Hex []byte

// MarshalText returns the bytes as 0x-hex.
func (h Hex) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(h)), nil }

// UnmarshalText reads lower-case 0x-hex.
func (h *Hex) UnmarshalText(text []byte) error {
	if len(text) < 2 || text[0] != '0' || text[1] != 'x' {
		return errors.New("want 0x and hex digits")
	}
	b := make([]byte, hex.DecodedLen(len(text)-2))
	if _, err := hex.Decode(b, text[2:]); err != nil {
		return err
	}
	*h = b
	return nil
}

// Vote is one validator's vote for one block.
type Vote struct {
	Header    Hex              `json:"header"`    // the block's, as it is hashed
	Signature ledger.Signature `json:"signature"` // over the header's hash and the view, as in a certificate
}

// Hash is the hash of the block voted for.
func (v *Vote) Hash() ledger.Hash { return ledger.Sum(v.Header) }

// Proof shows that the holder of a vote key voted, in one view, for two blocks of one
// height, which the rules of ordering never ask for. In different views a validator
// may rightly vote for different blocks.
type Proof struct {
	Format  uint64         `json:"format"`
	Kind    string         `json:"kind"`
	ChainID ledger.Hash    `json:"chainId"`
	VoteKey ledger.Address `json:"voteKey"`
	Height  ledger.Height  `json:"height"`
	View    uint64         `json:"view"`
	First   Vote           `json:"first"` // of the lower hash
	Second  Vote           `json:"second"`

	// The rest is what the node that found it adds; nothing proves it.
	Validator uint64    `json:"validator"` // its number in the config in force
	Member    string    `json:"member"`
	Found     time.Time `json:"found"`
}

// prove makes the proof that a and b are, or says why they are none.
func prove(chain ledger.Hash, view uint64, a, b Vote) (*Proof, error) {
	if x, y := a.Hash(), b.Hash(); bytes.Compare(x[:], y[:]) > 0 {
		a, b = b, a
	}
	h, err := ledger.DecodeHeader(a.Header)
	if err != nil {
		return nil, err
	}
	key, err := ledger.Recover(ledger.VoteDigest(a.Hash(), view), a.Signature)
	if err != nil {
		return nil, err
	}
	p := &Proof{Format: format, Kind: DoubleVote, ChainID: chain, VoteKey: key, Height: h.Height, View: view, First: a, Second: b}
	return p, p.Check(chain)
}

// Check reports why p does not prove, on the network chain, what it says. Whose the
// key is, the network's configs tell.
func (p *Proof) Check(chain ledger.Hash) error {
	switch {
	case p.Format != format:
		return fmt.Errorf("format %d of a proof: this program knows %d", p.Format, format)
	case p.Kind != DoubleVote:
		return fmt.Errorf("a proof of kind %q: this program knows %s", p.Kind, DoubleVote)
	case p.ChainID != chain:
		return fmt.Errorf("the proof is about the network %s, not %s", p.ChainID, chain)
	}
	first, second := p.First.Hash(), p.Second.Hash()
	if bytes.Compare(first[:], second[:]) >= 0 {
		return errors.New("the votes are for one block, or not in order")
	}
	for i, v := range []*Vote{&p.First, &p.Second} {
		if err := p.checkVote(v); err != nil {
			return fmt.Errorf("vote %d: %w", i+1, err)
		}
	}
	return nil
}

func (p *Proof) checkVote(v *Vote) error {
	h, err := ledger.DecodeHeader(v.Header)
	if err != nil {
		return err
	}
	switch {
	case h.ChainID != p.ChainID:
		return errors.New("its header is another network's")
	case h.Height != p.Height:
		return fmt.Errorf("it is for height %d, not %d", h.Height, p.Height)
	}
	return ledger.VerifySignature(ledger.VoteDigest(v.Hash(), p.View), v.Signature, p.VoteKey)
}

// Encode returns the proof as its file holds it.
func (p *Proof) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(p, "", "  ")
	return append(b, '\n'), err
}

// Decode reads what Encode wrote; it does not check it.
func Decode(b []byte) (*Proof, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("a proof of %d bytes: at most %d", len(b), maxFile)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	p := &Proof{}
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("decode proof: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode proof: something follows it")
	}
	return p, nil
}
