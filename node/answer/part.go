package answer

import (
	"crypto/hpke"
	"fmt"
)

const (
	domainPart       = "assent/consent-part/1"
	domainSealedPart = "assent/sealed-part/1"
	domainPartInfo   = "assent/hpke-part/1"
)

// Limits of a consent's sealed part.
const (
	MaxPartBytes  = 16 << 10 // the canonical JSON inside
	MaxSealedPart = MaxPartBytes + 4*padUnit + sealOverhead
)

// Part is the content of a consent's sealed part: the salt and the canonical JSON
// under the consent's recordCommitment. What the JSON says is chaincode/record's.
type Part struct {
	ConsentID string
	Version   uint64
	Salt      [SaltBytes]byte
	Record    []byte
}

type wirePart struct {
	Domain    string
	ConsentID string
	Version   uint64
	Salt      [SaltBytes]byte
	Record    []byte
}

// PartContext is what a sealed part is bound to. All of it goes into HPKE's info.
type PartContext struct {
	ChainID   Hash
	ConsentID string
	Version   uint64
	Recipient string // the provider's member id, or "subject"
	KeyID     string // of the recipient's data key on the ledger
}

func (c PartContext) info() []byte {
	return encode(struct {
		Domain    string
		ChainID   Hash
		ConsentID string
		Version   uint64
		Recipient string
		KeyID     string
	}{domainPartInfo, c.ChainID, c.ConsentID, c.Version, c.Recipient, c.KeyID})
}

func (c PartContext) check() error {
	if !idOK(c.ConsentID) || !idOK(c.Recipient) || !idOK(c.KeyID) {
		return fmt.Errorf("%w: consent, recipient or key id", ErrMalformed)
	}
	return nil
}

// SealedPart is a sealed part on its way.
type SealedPart struct {
	Context PartContext
	Box     []byte
}

type wireSealedPart struct {
	Domain    string
	ChainID   Hash
	ConsentID string
	Version   uint64
	Recipient string
	KeyID     string
	Box       []byte
}

// SealPart encrypts a part to a recipient's data key.
func SealPart(to hpke.PublicKey, c PartContext, salt [SaltBytes]byte, recordJSON []byte) (SealedPart, error) {
	if err := c.check(); err != nil {
		return SealedPart{}, err
	}
	if len(recordJSON) == 0 || len(recordJSON) > MaxPartBytes {
		return SealedPart{}, fmt.Errorf("%w: sealed part of %d bytes, want 1 to %d", ErrMalformed, len(recordJSON), MaxPartBytes)
	}
	box, err := seal(to, c.info(), encode(wirePart{domainPart, c.ConsentID, c.Version, salt, recordJSON}))
	if err != nil {
		return SealedPart{}, err
	}
	return SealedPart{Context: c, Box: box}, nil
}

// Encode returns the canonical wire form.
func (s SealedPart) Encode() []byte {
	c := s.Context
	return encode(wireSealedPart{domainSealedPart, c.ChainID, c.ConsentID, c.Version, c.Recipient, c.KeyID, s.Box})
}

// DecodeSealedPart reads a sealed part's wire form; it checks the form only.
func DecodeSealedPart(b []byte) (SealedPart, error) {
	var w wireSealedPart
	if err := decode(b, MaxSealedPart, &w); err != nil {
		return SealedPart{}, err
	}
	if w.Domain != domainSealedPart {
		return SealedPart{}, fmt.Errorf("%w: not a sealed part of this version", ErrMalformed)
	}
	s := SealedPart{PartContext{w.ChainID, w.ConsentID, w.Version, w.Recipient, w.KeyID}, w.Box}
	if len(w.Box) < padUnit+sealOverhead || (len(w.Box)-sealOverhead)%padUnit != 0 {
		return SealedPart{}, fmt.Errorf("%w: box of %d bytes", ErrMalformed, len(w.Box))
	}
	return s, s.Context.check()
}

// OpenPart decrypts a sealed part. want is what the recipient expects: its own
// chain, member id and key, and the consent and version it looks for; the
// envelope's own fields are checked against it, outside and inside.
func OpenPart(key hpke.PrivateKey, want PartContext, s SealedPart) (Part, error) {
	if s.Context != want {
		return Part{}, fmt.Errorf("%w: the envelope names another chain, consent, version, recipient or key", ErrSealed)
	}
	plain, err := open(key, want.info(), s.Box)
	if err != nil {
		return Part{}, err
	}
	var w wirePart
	if err := decode(plain, MaxSealedPart, &w); err != nil {
		return Part{}, err
	}
	if w.Domain != domainPart || len(w.Record) == 0 || len(w.Record) > MaxPartBytes {
		return Part{}, fmt.Errorf("%w: not a consent part of this version", ErrMalformed)
	}
	if w.ConsentID != want.ConsentID || w.Version != want.Version {
		return Part{}, fmt.Errorf("%w: the part inside belongs to another consent or version", ErrSealed)
	}
	return Part{w.ConsentID, w.Version, w.Salt, w.Record}, nil
}
