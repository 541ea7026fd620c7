// Package wallet is the subject's side of consent: a wallet key that the bank
// knows, a fresh key for every consent, the signatures that give, refuse and
// withdraw it, and the links by which lender and wallet talk.
//
// It promises that a wallet signs only terms that are the ones it was offered,
// bound to its own key and to a sealed part that it has read; that keys of two
// consents have nothing in common; that everything it keeps is encrypted with
// the owner's password; and that what is to be signed can be shown in plain
// words first (Explain). It contacts nobody.
//
// In order of use: Create a wallet and have the bank bind its Address; Endorse a
// lender's Offer; Review and Sign the Terms, which Compare holds against the
// version signed before; Refuse or Revoke; Dispute and Erase. The lender's side of
// the same is package sdk.
package wallet

import (
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk/internal/envelope"
)

const (
	fileKind    = "assent-wallet"
	fileVersion = 2 // 1 had no claims, endings and erasures; it is read and becomes 2 when written
	maxFile     = 16 << 20
	maxConsents = 4096
)

// Errors of wallets.
var (
	ErrPassword = errors.New("the wallet does not open with this password")
	ErrExists   = errors.New("there is a wallet already: a lost wallet key cannot be recovered, so it is never replaced")
	ErrUnknown  = errors.New("this wallet has no such consent")
	ErrTerms    = errors.New("these are not the terms that were offered: do not sign them")
)

// State is how far a consent has come in this wallet; the ledger may know more.
type State string

// The states.
const (
	Endorsed State = "ENDORSED" // the offer was answered
	Signed   State = "SIGNED"   // the authorisation was signed
	Refused  State = "REFUSED"
	Revoked  State = "REVOKED"
)

// Entry is a consent as the wallet keeps it.
type Entry struct {
	Consent record.ConsentID
	State   State
	Chain   record.Hash
	Names   map[string]string
	Terms   record.ConsentTerms // the offered ones until Signed
	Reason  record.Reason       // Refused, Revoked: the one that was signed
	Claims  []Claim             // of the disputes that were signed, oldest first
	Erasing bool                // the erasure was asked for
}

// Wallet is an opened wallet file. It is not safe for concurrent use.
type Wallet struct {
	path     string
	password string
	work     scrypt
	key      *ecdsa.PrivateKey
	consents []*consent // in the order of their offers
}

// consent is what the wallet keeps of one consent, in memory.
type consent struct {
	Entry
	principal *ecdsa.PrivateKey
	part      []byte // X25519 private key
}

// file is the form on disk.
type file struct {
	Crypto  keystore.CryptoJSON `json:"crypto"`
	Kind    string              `json:"kind"`
	Version int                 `json:"version"`
}

// secrets is what file.Crypto encrypts.
type secrets struct {
	WalletKey string          `json:"walletKey"`
	Consents  []storedConsent `json:"consents"`
}

type storedConsent struct {
	Chain     record.Hash       `json:"chain"`
	Names     map[string]string `json:"names"`
	State     State             `json:"state"`
	Terms     json.RawMessage   `json:"terms"`
	Principal string            `json:"principal"`
	Part      string            `json:"part"`
	Reason    record.Reason     `json:"reason,omitempty"`
	Claims    []Claim           `json:"claims,omitempty"`
	Erasing   bool              `json:"erasing,omitempty"`
}

// scrypt is how much work it is to try a password.
type scrypt struct{ n, p int }

var light = scrypt{keystore.LightScryptN, keystore.LightScryptP} // 4 MB and a tenth of a second

// Create makes a wallet with a random key in a new file.
func Create(path, password string) (*Wallet, error) { return create(path, password, light) }

func create(path, password string, work scrypt) (*Wallet, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create wallet %s: %w", path, errors.Join(ErrExists, err))
	}
	if password == "" {
		return nil, fmt.Errorf("create wallet %s: the password is empty", path)
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("create wallet: %w", err)
	}
	w := &Wallet{path: path, password: password, work: work, key: key}
	return w, w.save()
}

// Open opens a wallet file with its password.
func Open(path, password string) (*Wallet, error) {
	w, err := open(path, password, light)
	if err != nil {
		return nil, fmt.Errorf("open wallet %s: %w", path, err)
	}
	return w, nil
}

func open(path, password string, work scrypt) (*Wallet, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%d bytes, at most %d are read", info.Size(), maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	plain, err := decrypt(b, password)
	if err != nil {
		return nil, err
	}
	w, err := load(plain)
	if err != nil {
		return nil, err
	}
	w.path, w.password, w.work = path, password, work
	return w, nil
}

// decrypt opens the content of a wallet's file.
func decrypt(b []byte, password string) ([]byte, error) {
	var f file
	if err := json.Unmarshal(b, &f); err != nil || f.Kind != fileKind {
		return nil, errors.New("not a wallet file")
	}
	if f.Version < 1 || f.Version > fileVersion {
		return nil, fmt.Errorf("its format is version %d, this program reads 1 to %d: use a newer program", f.Version, fileVersion)
	}
	plain, err := envelope.Open(f.Crypto, password)
	if errors.Is(err, envelope.ErrPassword) {
		return nil, ErrPassword
	}
	return plain, err
}

// load reads the decrypted content. Its errors never quote it.
func load(plain []byte) (*Wallet, error) {
	var s secrets
	if err := json.Unmarshal(plain, &s); err != nil || len(s.Consents) > maxConsents {
		return nil, errors.New("its content is damaged")
	}
	w := &Wallet{}
	var err error
	if w.key, err = crypto.HexToECDSA(s.WalletKey); err != nil {
		return nil, errors.New("its wallet key is damaged")
	}
	for i, sc := range s.Consents {
		c := &consent{Entry: Entry{
			State: sc.State, Chain: sc.Chain, Names: sc.Names, Reason: sc.Reason, Claims: sc.Claims, Erasing: sc.Erasing,
		}}
		terms, err := record.Load[record.ConsentTerms](sc.Terms)
		if err == nil {
			c.Terms, c.Consent = *terms, terms.ConsentID
			c.principal, err = crypto.HexToECDSA(sc.Principal)
		}
		if err == nil {
			c.part, err = hex.DecodeString(sc.Part)
		}
		if err != nil {
			return nil, fmt.Errorf("its consent %d is damaged", i)
		}
		w.consents = append(w.consents, c)
	}
	return w, nil
}

// save encrypts and writes the wallet; a crash leaves the old file or the new one.
func (w *Wallet) save() error {
	s := secrets{WalletKey: hex.EncodeToString(crypto.FromECDSA(w.key)), Consents: []storedConsent{}}
	for _, c := range w.consents {
		terms, err := record.Encode(&c.Terms)
		if err != nil {
			return fmt.Errorf("save wallet: %w", err)
		}
		s.Consents = append(s.Consents, storedConsent{
			c.Chain, c.Names, c.State, terms, hex.EncodeToString(crypto.FromECDSA(c.principal)), hex.EncodeToString(c.part),
			c.Reason, c.Claims, c.Erasing,
		})
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	box, err := keystore.EncryptDataV3(plain, []byte(w.password), w.work.n, w.work.p)
	if err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	b, err := json.Marshal(file{box, fileKind, fileVersion})
	if err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	if err := durable.WriteFile(w.path, b); err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	return nil
}

// Address is what the bank binds to its customer. Nobody but banks sees it.
func (w *Wallet) Address() record.Address { return crypto.PubkeyToAddress(w.key.PublicKey) }

// Consents returns what the wallet keeps, oldest first.
func (w *Wallet) Consents() []Entry {
	out := make([]Entry, len(w.consents))
	for i, c := range w.consents {
		out[i] = c.Entry
	}
	return out
}

func (w *Wallet) find(id record.ConsentID) (*consent, error) {
	for _, c := range w.consents {
		if c.Consent == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("consent %s: %w", id, ErrUnknown)
}

// Principal returns the signer of a consent's principal key, with which the
// subject reads that consent and its uses (sdk.WithSubject).
func (w *Wallet) Principal(id record.ConsentID) (ledger.Signer, error) {
	c, err := w.find(id)
	if err != nil {
		return nil, err
	}
	return ledger.NewKeySigner(c.principal), nil
}

// Endorse answers an offer: it makes a fresh principal key and vouches for it.
// That gives nothing away yet and authorises nothing. Asked again for the same
// offer it gives the same answer.
func (w *Wallet) Endorse(o *Offer) (*Endorsement, error) {
	draft, err := o.Draft()
	if err != nil {
		return nil, err
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	c, err := w.find(draft.ConsentID)
	if err != nil {
		if len(w.consents) >= maxConsents {
			return nil, fmt.Errorf("endorse: the wallet holds %d consents already", maxConsents)
		}
		principal, err := crypto.GenerateKey()
		if err != nil {
			return nil, fmt.Errorf("endorse: make a principal key: %w", err)
		}
		if c, err = newConsent(o, draft, principal); err != nil {
			return nil, err
		}
		w.consents = append(w.consents, c)
		if err := w.save(); err != nil { // before the keys are used
			w.consents = w.consents[:len(w.consents)-1]
			return nil, err
		}
	} else if !sameTerms(&c.Terms, draft) || c.Chain != o.Chain {
		return nil, fmt.Errorf("endorse %s: an offer with this id and other terms was answered before: %w", draft.ConsentID, ErrTerms)
	}
	return w.vouch(c)
}

// vouch signs that the wallet's holder has the consent's principal key.
func (w *Wallet) vouch(c *consent) (*Endorsement, error) {
	terms := c.Terms
	terms.PrincipalKey = crypto.PubkeyToAddress(c.principal.PublicKey)
	sig, err := sign(w.key, record.EndorsementOf(&terms).Digest, c.Chain)
	if err != nil {
		return nil, fmt.Errorf("endorse: %w", err)
	}
	part, err := answer.ParsePrivateKey(c.part)
	if err != nil {
		return nil, err
	}
	return &Endorsement{
		Chain: c.Chain, ConsentID: c.Consent, PartKey: record.Hash(part.PublicKey().Bytes()),
		PrincipalKey: terms.PrincipalKey, Signature: sig, Wallet: w.Address(),
	}, nil
}

func newConsent(o *Offer, draft *record.ConsentTerms, principal *ecdsa.PrivateKey) (*consent, error) {
	key, err := answer.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("endorse: make a part key: %w", err)
	}
	part, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("endorse: make a part key: %w", err)
	}
	return &consent{
		Entry:     Entry{Consent: draft.ConsentID, State: Endorsed, Chain: o.Chain, Names: o.Names, Terms: *draft},
		principal: principal, part: part,
	}, nil
}

// sameTerms compares all but what wallet and lender fill in after the offer.
func sameTerms(a, b *record.ConsentTerms) bool {
	x, y := *a, *b
	x.PrincipalKey, y.PrincipalKey = record.Address{}, record.Address{}
	x.RecordCommitment, y.RecordCommitment = record.Hash{}, record.Hash{}
	bx, err := record.Encode(&x)
	if err != nil {
		return false
	}
	by, err := record.Encode(&y)
	return err == nil && slices.Equal(bx, by)
}

// Review holds terms against the offer that the wallet answered and opens the
// subject's copy of the sealed part: what the lender tells the bank about the
// subject. The error is ErrTerms if anything differs from what was offered.
func (w *Wallet) Review(t *Terms) (*record.ConsentTerms, *record.SealedPart, error) {
	terms, err := t.Final()
	if err != nil {
		return nil, nil, err
	}
	if err := t.Check(); err != nil {
		return nil, nil, err
	}
	c, err := w.find(terms.ConsentID)
	if err != nil {
		return nil, nil, err
	}
	if !sameTerms(&c.Terms, terms) || t.Chain != c.Chain {
		return nil, nil, fmt.Errorf("review %s: %w", c.Consent, ErrTerms)
	}
	if terms.PrincipalKey != crypto.PubkeyToAddress(c.principal.PublicKey) {
		return nil, nil, fmt.Errorf("review %s: the terms name another principal key: %w", c.Consent, ErrTerms)
	}
	part, err := c.openPart(t.Part, terms)
	if err != nil {
		return nil, nil, fmt.Errorf("review %s: %w", c.Consent, err)
	}
	if e := part.Endorsement; e == nil || e.Wallet != w.Address() {
		return nil, nil, fmt.Errorf("review %s: the sealed part does not carry this wallet's endorsement: %w", c.Consent, ErrTerms)
	}
	return terms, part, nil
}

func (c *consent) openPart(sealed []byte, terms *record.ConsentTerms) (*record.SealedPart, error) {
	key, err := answer.ParsePrivateKey(c.part)
	if err != nil {
		return nil, err
	}
	s, err := answer.DecodeSealedPart(sealed)
	if err != nil {
		return nil, err
	}
	part, err := answer.OpenPart(key, answer.PartContext{
		ChainID: c.Chain, ConsentID: terms.ConsentID, Version: terms.Version,
		Recipient: answer.Subject, KeyID: answer.KeyID(key.PublicKey().Bytes()),
	}, s)
	if err != nil {
		return nil, err
	}
	if got, err := part.Commitment(); err != nil || got != terms.RecordCommitment {
		return nil, fmt.Errorf("the sealed part is not the one that the terms commit to: %w", ErrTerms)
	}
	return part, nil
}

// Sign reviews the terms and signs the authorisation over every field of them.
func (w *Wallet) Sign(t *Terms) (*Authorisation, error) {
	terms, _, err := w.Review(t)
	if err != nil {
		return nil, err
	}
	c, err := w.find(terms.ConsentID)
	if err != nil {
		return nil, err
	}
	if c.State != Endorsed && c.State != Signed {
		return nil, fmt.Errorf("sign %s: it was %s in this wallet, and there is no way back: ask the lender for a new offer", c.Consent, c.State)
	}
	sig, err := sign(c.principal, terms.Digest, c.Chain)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	c.Terms, c.State = *terms, Signed
	if err := w.save(); err != nil {
		return nil, err
	}
	return &Authorisation{Chain: c.Chain, ConsentID: c.Consent, Signature: sig}, nil
}

// Refuse signs the subject's no to terms that await authorisation.
func (w *Wallet) Refuse(t *Terms) (*Ending, error) {
	terms, _, err := w.Review(t)
	if err != nil {
		return nil, err
	}
	c, err := w.find(terms.ConsentID)
	if err != nil {
		return nil, err
	}
	if c.State == Signed || c.State == Revoked {
		return nil, fmt.Errorf("refuse %s: it is %s already: revoke it instead", c.Consent, c.State)
	}
	c.Terms = *terms
	return w.end(c, record.ReasonRefused, Refused)
}

// Revoke signs the withdrawal of a consent that was signed.
func (w *Wallet) Revoke(id record.ConsentID, why record.Reason) (*Ending, error) {
	c, err := w.find(id)
	if err != nil {
		return nil, err
	}
	if c.State != Signed && c.State != Revoked {
		return nil, fmt.Errorf("revoke %s: it is %s in this wallet: only a signed consent can be withdrawn", id, c.State)
	}
	if !record.HasItem(record.RevocationReasons(), why) {
		return nil, fmt.Errorf("revoke %s: the reason must be one of %v", id, record.RevocationReasons())
	}
	return w.end(c, why, Revoked)
}

func (w *Wallet) end(c *consent, why record.Reason, to State) (*Ending, error) {
	sig, err := sign(c.principal, record.RevocationOf(&c.Terms, why).Digest, c.Chain)
	if err != nil {
		return nil, fmt.Errorf("end %s: %w", c.Consent, err)
	}
	c.State, c.Reason = to, why
	if err := w.save(); err != nil {
		return nil, err
	}
	return &Ending{Chain: c.Chain, ConsentID: c.Consent, Reason: why, Signature: sig}, nil
}

func sign(key *ecdsa.PrivateKey, digest func(record.Hash) (record.Hash, error), chain record.Hash) (Signature, error) {
	d, err := digest(chain)
	if err != nil {
		return Signature{}, err
	}
	sig, err := ledger.NewKeySigner(key).Sign(d)
	return Signature(sig), err
}
