package record

import (
	"errors"

	"github.com/ethereum/go-ethereum/crypto"
)

// Domain tags: each thing hashed starts with its own, so that bytes hashed for
// one purpose never stand for another.
const (
	DomainSealedPart = "assent/sealed-part/1"
	DomainAnswer     = "assent/answer/1"
	DomainCode       = "assent/template-code/1"
	DomainNotice     = "assent/notice/1"
	DomainUsage      = "assent/usage/1"
	DomainBatchItem  = "assent/batch-item/1"
	DomainOpening    = "assent/answer-opening/1"
	DomainClaim      = "assent/claim/1"
	DomainParams     = "assent/params/1"
)

// CodeHash names the template's text: keccak256(domain ‖ canonical JSON of the
// specification). Equal hashes mean the same question with the same answers.
func (v *TemplateSpec) CodeHash() (Hash, error) { return tagged(DomainCode, v) }

// Hash names the notice: keccak256(domain ‖ canonical JSON of the specification).
func (v *NoticeSpec) Hash() (Hash, error) { return tagged(DomainNotice, v) }

func tagged(domain string, r Record) (Hash, error) {
	body, err := Encode(r)
	if err != nil {
		return Hash{}, err
	}
	return crypto.Keccak256Hash([]byte(domain), body), nil
}

// salted is keccak256(domain ‖ salt ‖ canonical JSON): hiding as long as the
// 32 random bytes of the salt are secret.
func salted(domain string, salt Hash, r Record) (Hash, error) {
	if salt == (Hash{}) {
		return Hash{}, errors.New("commitment: salt is zero")
	}
	body, err := Encode(r)
	if err != nil {
		return Hash{}, err
	}
	return crypto.Keccak256Hash([]byte(domain), salt[:], body), nil
}

// ClaimCommitment is what the ledger holds of what a subject says is wrong:
// keccak256(domain ‖ dispute id ‖ salt ‖ text). It hides the text while the 32
// random bytes of the salt are secret; dispute ids have one length.
func ClaimCommitment(id DisputeID, salt Hash, text string) Hash {
	return crypto.Keccak256Hash([]byte(DomainClaim), []byte(id), salt[:], []byte(text))
}

// NextHead extends a usage chain by one request record in its canonical JSON:
// keccak256(domain ‖ head ‖ keccak256(record)). The chain begins at the zero hash.
func NextHead(head Hash, request []byte) Hash {
	inner := crypto.Keccak256Hash(request)
	b := make([]byte, 0, len(DomainUsage)+2*len(head))
	b = append(append(append(b, DomainUsage...), head[:]...), inner[:]...)
	return crypto.Keccak256Hash(b)
}
