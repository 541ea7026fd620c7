package record

import (
	"encoding/hex"
	"fmt"
)

// Identifiers. The first group is chosen by members and public: letters, digits
// and "._-", 1 to 64 of them, beginning with a letter or digit (a member id, with
// any of them), so that no identifier can hold a key separator. The second group is random, 16 bytes as
// "0x" and 32 lower-case hex digits, so that nobody can put a meaning, or a
// person, into it by accident.
type (
	OrgID      string // a member organisation, also called party
	NodeID     string // a node of a member, unique within the member
	DataKeyID  string // an HPKE key of a member, unique within the member
	NoticeID   string // a notice text, together with its language
	ProductID  string // a data product; never reused
	TemplateID string // a query template; never reused, new text is a new id

	ConsentID    string
	PrincipalRef string
)

// RequestID names an access request: the "0x" hex transaction id that carried it.
type RequestID string

const (
	maxID    = 64
	maxTitle = 128
	maxLabel = 64
)

// NewConsentID makes a consent id of 16 random bytes.
func NewConsentID(random [16]byte) ConsentID {
	return ConsentID("0x" + hex.EncodeToString(random[:]))
}

// NewPrincipalRef makes a principal reference of 16 random bytes.
func NewPrincipalRef(random [16]byte) PrincipalRef {
	return PrincipalRef("0x" + hex.EncodeToString(random[:]))
}

// NewRequestID is the request id of the transaction with this id.
func NewRequestID(txID Hash) RequestID { return RequestID(txID.Hex()) }

// Check admits every member id that the ordering config admits, which is wider
// than the identifiers below: the first character may be any of them.
func (id OrgID) Check() error { return checkChars("organisation id", string(id), false) }

func (id NodeID) Check() error       { return checkName("node id", string(id)) }
func (id DataKeyID) Check() error    { return checkName("data key id", string(id)) }
func (id NoticeID) Check() error     { return checkName("notice id", string(id)) }
func (id ProductID) Check() error    { return checkName("product id", string(id)) }
func (id TemplateID) Check() error   { return checkName("template id", string(id)) }
func (id ConsentID) Check() error    { return checkHexID("consent id", string(id), 16) }
func (id PrincipalRef) Check() error { return checkHexID("principal reference", string(id), 16) }
func (id RequestID) Check() error    { return checkHexID("request id", string(id), 32) }

func checkName(what, s string) error { return checkChars(what, s, true) }

func checkChars(what, s string, strictFirst bool) error {
	if len(s) == 0 || len(s) > maxID {
		return fmt.Errorf("%s: want 1 to %d characters", what, maxID)
	}
	for i := 0; i < len(s); i++ {
		if !nameByte(s[i], strictFirst && i == 0) {
			return fmt.Errorf("%s: want letters, digits and \"._-\", beginning with a letter or digit", what)
		}
	}
	return nil
}

func nameByte(b byte, first bool) bool {
	switch {
	case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		return true
	case b == '.', b == '_', b == '-':
		return !first
	}
	return false
}

func checkHexID(what, s string, size int) error {
	if len(s) != 2+2*size || s[0] != '0' || s[1] != 'x' {
		return fmt.Errorf("%s: want 0x and %d lower-case hex digits", what, 2*size)
	}
	for i := 2; i < len(s); i++ {
		if nibble(s[i]) > 15 {
			return fmt.Errorf("%s: want 0x and %d lower-case hex digits", what, 2*size)
		}
	}
	return nil
}

// ParseAddress reads the one text form of an address. The zero address, which
// nobody can sign for, is refused.
func ParseAddress(s string) (Address, error) {
	var a Address
	if err := parseHex("address", s, a[:]); err != nil {
		return a, err
	}
	if a == (Address{}) {
		return a, fmt.Errorf("address: zero")
	}
	return a, nil
}

// ParseHash reads the one text form of a hash.
func ParseHash(s string) (Hash, error) {
	var h Hash
	return h, parseHex("hash", s, h[:])
}

func parseHex(what, s string, out []byte) error {
	if err := checkHexID(what, s, len(out)); err != nil {
		return err
	}
	_, err := hex.Decode(out, []byte(s[2:]))
	return err
}

// FormatAddress is the one text form of an address.
func FormatAddress(a Address) string { return "0x" + hex.EncodeToString(a[:]) }

// Blob is a byte string of a length that its field fixes; in JSON "0x" hex.
type Blob []byte

// ascending reports whether a set is in its one form: strictly ascending, so
// sorted and without repetition.
func ascending[S ~string](set []S) bool {
	for i := 1; i < len(set); i++ {
		if set[i-1] >= set[i] {
			return false
		}
	}
	return true
}

func checkSet[S ~string](what string, set []S, min int) error {
	if len(set) < min {
		return fmt.Errorf("%s: want at least %d", what, min)
	}
	if !ascending(set) {
		return fmt.Errorf("%s: want strictly ascending order", what)
	}
	return nil
}

func checkNames[S ~string](what string, set []S, min int) error {
	if err := checkSet(what, set, min); err != nil {
		return err
	}
	for _, s := range set {
		if err := checkName(what, string(s)); err != nil {
			return err
		}
	}
	return nil
}

// HasItem reports whether set holds v.
func HasItem[S comparable](set []S, v S) bool { return listed(v, set) }
