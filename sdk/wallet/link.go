package wallet

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Links carry what lender and wallet say to each other. A link is
//
//	assent:<base64url of one canonical JSON document>
//
// with sorted fields and no white space, so that each has one spelling and fits
// a QR code without its notice.
const (
	Scheme = "assent:"

	// MaxLink bounds a link, in bytes.
	MaxLink = 48 << 10

	linkVersion = 1
	maxNames    = 64
	maxName     = 256
)

// ErrLink means that a text is no link of this version.
var ErrLink = errors.New("not an assent link of this version")

// Document is the content of a link: *Offer, *Endorsement, *Terms,
// *Authorisation, *Ending, *Dispute or *Erasure.
type Document interface {
	// Check reports the first rule that the document breaks.
	Check() error

	stamp()
}

// The kinds of document, in the order in which they are exchanged.
const (
	kindOffer         = "offer"
	kindEndorsement   = "endorsement"
	kindTerms         = "terms"
	kindAuthorisation = "authorisation"
	kindEnding        = "ending"
)

// Offer is what a lender asks a subject to agree to. Its terms have no principal
// key and no record commitment yet.
type Offer struct {
	Chain   record.Hash       `json:"chain"`
	Kind    string            `json:"kind"`
	Names   map[string]string `json:"names"`            // titles, by "org/<id>", "product/<id>", "template/<id>"; the lender's word
	Notice  json.RawMessage   `json:"notice,omitempty"` // canonical JSON of the notice's record.NoticeSpec
	Terms   json.RawMessage   `json:"terms"`            // canonical JSON of record.ConsentTerms
	Until   int64             `json:"until"`            // Unix ms; the lender does not wait longer
	Version int               `json:"v"`
}

// Endorsement is the wallet's answer to an offer: a fresh principal key, vouched
// for by the wallet that the provider knows.
type Endorsement struct {
	Chain        record.Hash      `json:"chain"`
	ConsentID    record.ConsentID `json:"consentId"`
	Kind         string           `json:"kind"`
	PartKey      record.Hash      `json:"partKey"` // X25519 public key for the subject's copy of the sealed part
	PrincipalKey record.Address   `json:"principalKey"`
	Signature    Signature        `json:"signature"` // KeyEndorsement by Wallet
	Version      int              `json:"v"`
	Wallet       record.Address   `json:"wallet"`
}

// Terms is what the wallet is to sign, as it stands on the ledger, with the
// subject's copy of the sealed part.
type Terms struct {
	Chain   record.Hash     `json:"chain"`
	Kind    string          `json:"kind"`
	Part    []byte          `json:"part"`  // answer.SealedPart, sealed to the endorsement's PartKey
	Terms   json.RawMessage `json:"terms"` // canonical JSON of record.ConsentTerms
	Version int             `json:"v"`
}

// Authorisation is the subject's yes: the principal key's signature over the
// terms. Any member may bring it to the ledger.
type Authorisation struct {
	Chain     record.Hash      `json:"chain"`
	ConsentID record.ConsentID `json:"consentId"`
	Kind      string           `json:"kind"`
	Signature Signature        `json:"signature"`
	Version   int              `json:"v"`
}

// Ending is the subject's no: with reason REFUSED to a consent that awaits
// authorisation, with any other to one that was authorised.
type Ending struct {
	Chain     record.Hash      `json:"chain"`
	ConsentID record.ConsentID `json:"consentId"`
	Kind      string           `json:"kind"`
	Reason    record.Reason    `json:"reason"`
	Signature Signature        `json:"signature"`
	Version   int              `json:"v"`
}

func (d *Offer) stamp()         { d.Kind, d.Version = kindOffer, linkVersion }
func (d *Endorsement) stamp()   { d.Kind, d.Version = kindEndorsement, linkVersion }
func (d *Terms) stamp()         { d.Kind, d.Version = kindTerms, linkVersion }
func (d *Authorisation) stamp() { d.Kind, d.Version = kindAuthorisation, linkVersion }
func (d *Ending) stamp()        { d.Kind, d.Version = kindEnding, linkVersion }

// Check implements Document.
func (d *Offer) Check() error {
	t, err := d.Draft()
	if err != nil {
		return err
	}
	if t.PrincipalKey != (record.Address{}) || t.RecordCommitment != (record.Hash{}) {
		return errors.New("offer: its terms have a principal key or a commitment already")
	}
	probe := *t
	probe.RecordCommitment = record.Hash{1}
	if err := probe.Check(); err != nil {
		return fmt.Errorf("offer: terms: %w", err)
	}
	if d.Until <= 0 || d.Until > record.MaxInt {
		return errors.New("offer: until is missing")
	}
	if len(d.Names) > maxNames {
		return fmt.Errorf("offer: %d names, at most %d", len(d.Names), maxNames)
	}
	for k, v := range d.Names {
		if len(k) > maxName || len(v) > maxName || !plain(k) || !plain(v) {
			return errors.New("offer: names must be short texts without control characters")
		}
	}
	if _, err := d.NoticeText(); err != nil {
		return err
	}
	return nil
}

// Draft returns the offer's terms.
func (d *Offer) Draft() (*record.ConsentTerms, error) {
	t, err := record.Load[record.ConsentTerms](d.Terms)
	if err != nil {
		return nil, fmt.Errorf("offer: terms: %w", err)
	}
	return t, nil
}

// NoticeText returns the notice that the offer carries, nil if it carries none.
// Its hash is the one in the terms.
func (d *Offer) NoticeText() (*record.NoticeSpec, error) {
	if len(d.Notice) == 0 {
		return nil, nil
	}
	n, err := record.Parse[record.NoticeSpec](string(d.Notice))
	if err != nil {
		return nil, fmt.Errorf("offer: notice: %w", err)
	}
	t, err := d.Draft()
	if err != nil {
		return nil, err
	}
	if h, err := n.Hash(); err != nil || h != t.NoticeHash {
		return nil, errors.New("offer: the notice shown is not the one that the terms name")
	}
	return n, nil
}

// Check implements Document.
func (d *Endorsement) Check() error {
	if d.PartKey == (record.Hash{}) || d.PrincipalKey == (record.Address{}) || d.Wallet == (record.Address{}) {
		return errors.New("endorsement: a key is missing")
	}
	return d.ConsentID.Check()
}

// Check implements Document.
func (d *Terms) Check() error {
	t, err := d.Final()
	if err != nil {
		return err
	}
	if err := t.Check(); err != nil {
		return fmt.Errorf("terms: %w", err)
	}
	if _, err := answer.DecodeSealedPart(d.Part); err != nil {
		return fmt.Errorf("terms: sealed part: %w", err)
	}
	return nil
}

// Final returns the terms to sign.
func (d *Terms) Final() (*record.ConsentTerms, error) {
	t, err := record.Load[record.ConsentTerms](d.Terms)
	if err != nil {
		return nil, fmt.Errorf("terms: %w", err)
	}
	return t, nil
}

// Check implements Document.
func (d *Authorisation) Check() error { return d.ConsentID.Check() }

// Check implements Document.
func (d *Ending) Check() error {
	if d.Reason != record.ReasonRefused && !record.HasItem(record.RevocationReasons(), d.Reason) {
		return fmt.Errorf("ending: reason is neither %s nor one of %v", record.ReasonRefused, record.RevocationReasons())
	}
	return d.ConsentID.Check()
}

// Link returns the link of a document.
func Link(d Document) (string, error) {
	d.stamp()
	if err := d.Check(); err != nil {
		return "", fmt.Errorf("make link: %w", err)
	}
	b, err := canonical(d)
	if err != nil {
		return "", fmt.Errorf("make link: %w", err)
	}
	link := Scheme + base64.RawURLEncoding.EncodeToString(b)
	if len(link) > MaxLink {
		return "", fmt.Errorf("make link: %d bytes, at most %d: leave out the notice", len(link), MaxLink)
	}
	return link, nil
}

func canonical(d Document) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// Parse reads a link. It takes nothing but what Link writes, and checks it; that
// a signature in it holds is for the one who knows the consent.
func Parse(link string) (Document, error) {
	link = strings.TrimSpace(link)
	text, ok := strings.CutPrefix(link, Scheme)
	if !ok || len(link) > MaxLink {
		return nil, fmt.Errorf("%w: it begins with %q and has at most %d bytes", ErrLink, Scheme, MaxLink)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, fmt.Errorf("%w: not base64url; was it cut off?", ErrLink)
	}
	var head struct {
		Kind    string `json:"kind"`
		Version int    `json:"v"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: no JSON document inside", ErrLink)
	}
	if head.Version != linkVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrLink, head.Version, linkVersion)
	}
	d := documentOf(head.Kind)
	if d == nil {
		return nil, fmt.Errorf("%w: kind %.40q", ErrLink, head.Kind)
	}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%w: a field has the wrong form", ErrLink)
	}
	// Whatever the decoder forgave (unknown or repeated fields, case, order,
	// white space) is not what encoding gives.
	if again, err := canonical(d); err != nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: not in its canonical spelling", ErrLink)
	}
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLink, err)
	}
	return d, nil
}

// documentOf makes an empty document of a kind, nil for a kind that is none.
func documentOf(kind string) Document {
	switch kind {
	case kindOffer:
		return new(Offer)
	case kindEndorsement:
		return new(Endorsement)
	case kindTerms:
		return new(Terms)
	case kindAuthorisation:
		return new(Authorisation)
	case kindEnding:
		return new(Ending)
	case kindDispute:
		return new(Dispute)
	case kindErasure:
		return new(Erasure)
	}
	return nil
}

// ParseAs reads a link of one kind.
func ParseAs[T any, P interface {
	*T
	Document
}](link string) (*T, error) {
	d, err := Parse(link)
	if err != nil {
		return nil, err
	}
	v, ok := d.(P)
	if !ok {
		return nil, fmt.Errorf("%w: it holds %s, wanted is %s", ErrLink, describe(d), describe(P(new(T))))
	}
	return (*T)(v), nil
}

func describe(d Document) string {
	switch d.(type) {
	case *Offer:
		return "a lender's offer"
	case *Endorsement:
		return "a wallet's endorsement"
	case *Terms:
		return "terms to sign"
	case *Authorisation:
		return "an authorisation"
	case *Dispute:
		return "a dispute"
	case *Erasure:
		return "an erasure request"
	}
	return "a refusal or withdrawal"
}

// Signature is 65 bytes r ‖ s ‖ v; in JSON 0x-hex.
type Signature [65]byte

// MarshalText returns lower-case 0x-hex.
func (s Signature) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "0x%x", s[:]), nil }

// UnmarshalText reads 0x-hex of exactly 65 bytes.
func (s *Signature) UnmarshalText(text []byte) error {
	var b []byte
	if n, err := fmt.Sscanf(string(text), "0x%x", &b); n != 1 || err != nil || len(b) != len(s) || len(text) != 2+2*len(s) {
		return errors.New("signature: want 0x and 130 hex digits")
	}
	copy(s[:], b)
	return nil
}

func plain(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0
}

// NewOffer makes a lender's offer from draft terms (sdk.Consents.Draft). names
// are titles for people; notice may be nil.
func NewOffer(chain record.Hash, draft *record.ConsentTerms, names map[string]string, notice *record.NoticeSpec, until record.Millis) (*Offer, error) {
	o := &Offer{Chain: chain, Names: names, Until: until}
	if o.Names == nil {
		o.Names = map[string]string{}
	}
	var err error
	if o.Terms, err = record.Encode(draft); err != nil {
		return nil, fmt.Errorf("make offer: %w", err)
	}
	if notice != nil {
		if o.Notice, err = record.Encode(notice); err != nil {
			return nil, fmt.Errorf("make offer: %w", err)
		}
	}
	return o, o.Check()
}

// NewTerms makes what goes back to the wallet to be signed: final terms and the
// subject's copy of the sealed part (sdk.PreparedConsent.ForSubject).
func NewTerms(chain record.Hash, terms *record.ConsentTerms, part []byte) (*Terms, error) {
	b, err := record.Encode(terms)
	if err != nil {
		return nil, fmt.Errorf("make terms: %w", err)
	}
	t := &Terms{Chain: chain, Part: part, Terms: b}
	return t, t.Check()
}

// Record returns the endorsement as the sealed part carries it.
func (d *Endorsement) Record() *record.WalletEndorsement {
	return &record.WalletEndorsement{Signature: d.Signature[:], Wallet: d.Wallet}
}

// Evidence returns the signature as the consent contract takes it.
func (d *Authorisation) Evidence() record.Evidence {
	return record.Evidence{Signature: d.Signature[:]}
}

// Evidence returns the signature as the consent contract takes it.
func (d *Ending) Evidence() record.Evidence { return record.Evidence{Signature: d.Signature[:]} }
