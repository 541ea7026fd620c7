package sdk

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// AnchorOpening is what a lender hands to the authority, and to nobody else, with the
// claim NOT_ANCHORED: it shows the answer and about whom it is.
type AnchorOpening struct {
	Answer json.RawMessage `json:"answer"`          // as Answer.Opening returns it
	Part   json.RawMessage `json:"part"`            // the consent's sealed part, as PreparedConsent.PartJSON returns it
	Proof  []byte          `json:"proof,omitempty"` // as it came with the answer; none came: empty
}

// AnchorOpening returns what settles the claim NOT_ANCHORED about the answer. part is
// the sealed part of the consent, which the lender kept when it made the consent: it
// proves about whom the answer is.
func (a *Answer) AnchorOpening(part []byte) ([]byte, error) {
	body, err := a.Opening()
	if err != nil {
		return nil, err
	}
	if body == nil {
		return nil, &ConfigError{What: "opening of an answer that says nothing", Remedy: "Only an ANSWERED request can be claimed to be NOT_ANCHORED."}
	}
	if _, err := record.Load[record.SealedPart](part); err != nil {
		return nil, &ConfigError{What: "sealed part of the consent", Cause: err, Remedy: "Give the file that was kept when the consent was created."}
	}
	return json.Marshal(AnchorOpening{body, part, a.opened.Proof})
}

// PartJSON returns the consent's sealed part with its salt, canonical JSON. It names
// the person: keep it as such. AnchorOpening needs it.
func (p *PreparedConsent) PartJSON() ([]byte, error) { return record.Encode(&p.Part) }

// Settlement is what an opening proves about a claim NOT_ANCHORED.
type Settlement struct {
	Finding AnswerFinding
	Value   string // the disputed answer
	Why     string // one sentence
}

// SettleAnchor computes the verdict on a claim NOT_ANCHORED from what the lender
// handed over and what the ledger holds: anybody who has the opening gets the same.
// Read dispute, consent and anchor with proofs, or from a node you trust. Finding is
// UPHELD if the provider's receipt commits to an answer that is not the anchored one
// about this consent's subject, DISMISSED if it is, UNDECIDED if only the provider
// can show the opening that its answer names. The error is ErrOpening if the lender
// showed something else than it and the consent committed to.
func SettleAnchor(opening []byte, chainID Hash, d *AnswerDispute, c *Consent, a *Anchor) (*Settlement, error) {
	bad := func(err error) (*Settlement, error) { return nil, fmt.Errorf("%w: %w", ErrOpening, err) }
	if d.Claim != record.ClaimNotAnchored || d.ConsentID != c.ConsentID || a.Root != d.AnchorRoot {
		return bad(errors.New("dispute, consent and anchor do not belong together"))
	}
	if len(opening) > MaxOpening {
		return bad(fmt.Errorf("it has %d bytes, at most %d are read", len(opening), MaxOpening))
	}
	var o AnchorOpening
	if err := json.Unmarshal(opening, &o); err != nil {
		return bad(errors.New("it is no JSON object with answer, part and proof"))
	}
	value, provider, err := ReadOpening(o.Answer, d)
	if err != nil {
		return nil, err
	}
	part, err := record.Load[record.SealedPart](o.Part)
	if err != nil {
		return bad(errors.New("the consent's sealed part cannot be read"))
	}
	committed, err := part.Commitment()
	if err != nil {
		return bad(err)
	}
	if committed != c.RecordCommitment || part.ConsentID != c.ConsentID {
		return bad(errors.New("the sealed part is not the one to which the consent commits"))
	}
	if !provider {
		return &Settlement{record.Undecided, value, "The provider's receipt commits to another answer than the lender shows: that is the claim MISMATCH."}, nil
	}
	body, err := record.Load[record.AnswerBody](o.Answer)
	if err != nil {
		return bad(err)
	}
	return settle(body, o.Proof, chainID, a, part.SubjectID), nil
}

func settle(body *record.AnswerBody, proof []byte, chainID Hash, a *Anchor, subject string) *Settlement {
	if body.Value == record.NoRecord {
		return &Settlement{record.Dismissed, body.Value, "NO_RECORD has no opening, so the anchor says nothing about it."}
	}
	if (body.ProofHash != Hash{}) && answer.ProofHash(proof) != body.ProofHash {
		return &Settlement{record.Undecided, body.Value, "The answer names an opening that the lender does not show. Ask the provider for it: without one the claim stands."}
	}
	full := answer.Answer{Outcome: record.Answered, Body: *body, Proof: proof}
	if err := full.CheckAnchor(chainID, a, subject); err != nil {
		return &Settlement{record.Upheld, body.Value, "The provider's receipt commits to an answer that is not the one it anchored: " + err.Error() + "."}
	}
	return &Settlement{record.Dismissed, body.Value, "The opening leads from this answer to the anchored root."}
}
