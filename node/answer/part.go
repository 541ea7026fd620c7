package answer

import (
	"crypto/hpke"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
)

const (
	domainPart     = "assent/part-envelope/1"
	domainPartInfo = "assent/hpke-part/1"

	// maxPart bounds the padded canonical JSON inside a sealed part.
	maxPart = 8 << 10
	// MaxSealedPart bounds the wire form of a sealed part, in bytes.
	MaxSealedPart = maxPart + sealOverhead + 512
)

// Subject is the recipient of the copy that goes to the subject's own wallet.
const Subject = "subject"

// PartContext is what a consent's sealed part is bound to. All of it goes into
// HPKE's info.
type PartContext struct {
	ChainID   Hash
	ConsentID record.ConsentID
	Version   uint64
	Recipient record.OrgID // the provider, or Subject
	KeyID     string       // of the recipient's data key on the ledger
}

func (c PartContext) info() []byte {
	return encode(struct {
		Domain    string
		ChainID   Hash
		ConsentID string
		Version   uint64
		Recipient string
		KeyID     string
	}{domainPartInfo, c.ChainID, string(c.ConsentID), c.Version, string(c.Recipient), c.KeyID})
}

func (c PartContext) check() error {
	if c.ConsentID.Check() != nil || c.Recipient.Check() != nil || !idOK(c.KeyID) || c.Version == 0 {
		return fmt.Errorf("%w: consent id, version, recipient or key id", ErrMalformed)
	}
	return nil
}

// SealedPart is a consent's sealed part on its way.
type SealedPart struct {
	Context PartContext
	Box     []byte
}

type wirePart struct {
	Domain    string
	ChainID   Hash
	ConsentID string
	Version   uint64
	Recipient string
	KeyID     string
	Box       []byte
}

// SealPart encrypts a part to a recipient's data key; chain, consent and version
// are the part's own.
func SealPart(to hpke.PublicKey, recipient record.OrgID, keyID string, part *record.SealedPart) (SealedPart, error) {
	c := PartContext{part.ChainID, part.ConsentID, part.Version, recipient, keyID}
	if err := c.check(); err != nil {
		return SealedPart{}, err
	}
	if err := part.Check(); err != nil {
		return SealedPart{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	plain, err := record.Encode(part)
	if err != nil {
		return SealedPart{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(plain) >= maxPart {
		return SealedPart{}, fmt.Errorf("%w: sealed part of %d bytes, at most %d", ErrMalformed, len(plain), maxPart-1)
	}
	box, err := seal(to, c.info(), pad(plain, padUnit))
	if err != nil {
		return SealedPart{}, err
	}
	return SealedPart{Context: c, Box: box}, nil
}

// Encode returns the canonical wire form.
func (s SealedPart) Encode() []byte {
	c := s.Context
	return encode(wirePart{domainPart, c.ChainID, string(c.ConsentID), c.Version, string(c.Recipient), c.KeyID, s.Box})
}

// DecodeSealedPart reads a sealed part's wire form; it checks the form only.
func DecodeSealedPart(b []byte) (SealedPart, error) {
	var w wirePart
	if err := decode(b, MaxSealedPart, &w); err != nil {
		return SealedPart{}, err
	}
	if w.Domain != domainPart {
		return SealedPart{}, fmt.Errorf("%w: not a sealed part of this version", ErrMalformed)
	}
	if !boxOK(w.Box, maxPart) {
		return SealedPart{}, fmt.Errorf("%w: box of %d bytes", ErrMalformed, len(w.Box))
	}
	s := SealedPart{PartContext{w.ChainID, record.ConsentID(w.ConsentID), w.Version, record.OrgID(w.Recipient), w.KeyID}, w.Box}
	return s, s.Context.check()
}

// OpenPart decrypts a sealed part. want is what the recipient expects: its own
// chain, member id and key, and the consent and version it looks for; the
// envelope's own fields are checked against it, outside and inside. That the part
// is the one the consent commits to is for the caller: part.Commitment.
func OpenPart(key hpke.PrivateKey, want PartContext, s SealedPart) (*record.SealedPart, error) {
	if s.Context != want {
		return nil, fmt.Errorf("%w: the envelope names another chain, consent, version, recipient or key", ErrSealed)
	}
	plain, err := open(key, want.info(), s.Box)
	if err != nil {
		return nil, err
	}
	part := new(record.SealedPart)
	if err := record.Decode(plain, part); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := part.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if part.ChainID != want.ChainID || part.ConsentID != want.ConsentID || part.Version != want.Version {
		return nil, fmt.Errorf("%w: the part inside belongs to another chain, consent or version", ErrSealed)
	}
	return part, nil
}
