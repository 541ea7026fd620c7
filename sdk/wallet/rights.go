package wallet

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// What a subject may ask for besides giving and ending a consent: that its data
// be corrected, and that what identifies it be destroyed.
const (
	kindDispute = "dispute"
	kindErasure = "erasure"

	maxClaim    = 2000 // bytes of a claim's text
	maxDisputes = 64   // that one consent may have in a wallet
)

// Dispute is the subject's objection to data, or to one answer, under a consent.
// Any member may bring it to the ledger. What exactly is wrong is in the Claim,
// which goes to the provider alone.
type Dispute struct {
	Chain           record.Hash        `json:"chain"`
	ClaimCommitment record.Hash        `json:"claimCommitment"`
	ConsentID       record.ConsentID   `json:"consentId"`
	DisputeID       record.DisputeID   `json:"disputeId"`
	DisputeKind     record.DisputeKind `json:"disputeKind"`
	Kind            string             `json:"kind"`
	RequestID       record.RequestID   `json:"requestId,omitempty"` // the one answer; "": the data as such
	Signature       Signature          `json:"signature"`           // DataDispute by the principal key
	Version         int                `json:"v"`
}

// Erasure is the subject's wish that every holder destroy what identifies it
// under a consent that has ended. Any member may bring it to the ledger.
type Erasure struct {
	Chain     record.Hash      `json:"chain"`
	ConsentID record.ConsentID `json:"consentId"`
	Kind      string           `json:"kind"`
	Signature Signature        `json:"signature"` // ErasureRequest by the principal key
	Version   int              `json:"v"`
}

// Claim is what a subject says is wrong, with the salt that opens the commitment
// to it on the ledger. It may name persons and figures: it is for the provider's
// eyes and never on the ledger.
type Claim struct {
	DisputeID record.DisputeID `json:"disputeId"`
	Salt      record.Hash      `json:"salt"`
	Text      string           `json:"text"`
}

// Commitment is what the ledger holds of a claim: record.ClaimCommitment.
func (c *Claim) Commitment() record.Hash {
	return record.ClaimCommitment(c.DisputeID, c.Salt, c.Text)
}

func (d *Dispute) stamp() { d.Kind, d.Version = kindDispute, linkVersion }
func (d *Erasure) stamp() { d.Kind, d.Version = kindErasure, linkVersion }

// Spec is the dispute as the consent contract takes it.
func (d *Dispute) Spec() record.DisputeSpec {
	return record.DisputeSpec{
		ClaimCommitment: d.ClaimCommitment, ConsentID: d.ConsentID, DisputeID: d.DisputeID, Kind: d.DisputeKind, RequestID: d.RequestID,
	}
}

// Check implements Document.
func (d *Dispute) Check() error {
	spec := d.Spec()
	if !record.HasItem(record.DisputeKinds(), d.DisputeKind) {
		return fmt.Errorf("dispute: kind is not one of %v", record.DisputeKinds())
	}
	if err := spec.Check(); err != nil {
		return fmt.Errorf("dispute: %w", err)
	}
	return nil
}

// Check implements Document.
func (d *Erasure) Check() error { return d.ConsentID.Check() }

// Evidence returns the signature as the consent contract takes it.
func (d *Dispute) Evidence() record.Evidence { return record.Evidence{Signature: d.Signature[:]} }

// Evidence returns the signature as the consent contract takes it.
func (d *Erasure) Evidence() record.Evidence { return record.Evidence{Signature: d.Signature[:]} }

// final finds a consent whose terms are those on the ledger.
func (w *Wallet) final(id record.ConsentID, step string) (*consent, error) {
	c, err := w.find(id)
	if err != nil {
		return nil, err
	}
	if c.State == Endorsed {
		return nil, fmt.Errorf("%s %s: it is %s in this wallet: nothing was signed under it yet", step, id, c.State)
	}
	return c, nil
}

// Dispute signs the subject's objection under a consent that it signed: to the
// data as such, or to the answer to one request. The claim is kept in the wallet,
// before anything is signed, and handed to the provider by the subject.
func (w *Wallet) Dispute(id record.ConsentID, kind record.DisputeKind, request record.RequestID, text string) (*Dispute, *Claim, error) {
	c, err := w.final(id, "dispute")
	if err != nil {
		return nil, nil, err
	}
	switch {
	case c.State == Refused:
		return nil, nil, fmt.Errorf("dispute %s: it was refused, so nothing was ever asked under it", id)
	case text == "" || len(text) > maxClaim || !plain(text):
		return nil, nil, fmt.Errorf("dispute %s: say what is wrong in 1 to %d bytes without control characters", id, maxClaim)
	case len(c.Claims) >= maxDisputes:
		return nil, nil, fmt.Errorf("dispute %s: the wallet holds %d disputes under it already", id, maxDisputes)
	}
	var random [16]byte
	rand.Read(random[:]) // never fails since Go 1.24
	claim := Claim{DisputeID: record.NewDisputeID(random), Salt: answer.NewSalt(), Text: text}
	d := &Dispute{
		Chain: c.Chain, ClaimCommitment: claim.Commitment(), ConsentID: id, DisputeID: claim.DisputeID, DisputeKind: kind, RequestID: request,
	}
	if err := d.Check(); err != nil {
		return nil, nil, err
	}
	before := c.Claims
	c.Claims = append(c.Claims[:len(c.Claims):len(c.Claims)], claim)
	if err := w.save(); err != nil {
		c.Claims = before
		return nil, nil, err
	}
	spec := d.Spec()
	if d.Signature, err = sign(c.principal, record.DisputeOf(&c.Terms, &spec).Digest, c.Chain); err != nil {
		return nil, nil, fmt.Errorf("dispute %s: %w", id, err)
	}
	return d, &claim, nil
}

// Erase signs the wish that a consent's salts, keys and mappings be destroyed.
// The ledger takes it once the consent has ended, for whatever reason. Asked
// again it gives the same signature: the wish cannot be taken back.
func (w *Wallet) Erase(id record.ConsentID) (*Erasure, error) {
	c, err := w.final(id, "erase")
	if err != nil {
		return nil, err
	}
	if c.Terms.RecordCommitment == (record.Hash{}) {
		return nil, fmt.Errorf("erase %s: %w", id, errors.New("its terms never came to this wallet"))
	}
	d := &Erasure{Chain: c.Chain, ConsentID: id}
	if d.Signature, err = sign(c.principal, record.ErasureOf(&c.Terms).Digest, c.Chain); err != nil {
		return nil, fmt.Errorf("erase %s: %w", id, err)
	}
	if !c.Erasing {
		c.Erasing = true
		if err := w.save(); err != nil {
			c.Erasing = false
			return nil, err
		}
	}
	return d, nil
}
