package answer

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/chaincode/record"
)

// A provider that anchors its answers before an epoch begins puts them into a tree:
// one leaf for each subject and question, at a place that follows from the subject
// alone. Whoever knows the subject's identifier knows the place, so there cannot be a
// second leaf for the same subject, and the tree cannot say two things.
//
// The tree has the same depth for any number of subjects, and what is not there
// looks like what is: an opening shows a lender its own leaf and 48 hashes that say
// nothing. SHA-256, not the ledger's keccak256: a provider hashes some 80 million
// times for a million subjects, and processors do this one in hardware.

// TreeDepth is the number of hashes in every opening: the leaf of a subject stands
// where the first 48 bits of its tag lead.
const TreeDepth = 48

const (
	domainTree  = "assent/answer-tree/1"
	domainProof = "assent/answer-proof/1"

	// What is hashed within a tree begins with one of these.
	tagHash  = 0x00
	leafHash = 0x01
	nodeHash = 0x02

	// maxProof bounds an encoded opening, in bytes.
	maxProof = TreeDepth*32 + 96
)

// ErrNotAnchored: an answer is not the one that the provider anchored for the epoch.
// Its text says what differs.
var ErrNotAnchored = errors.New("answer: not the anchored one")

// TreeID names what a tree answers: network, product, template text, parameters,
// epoch and the tree's own nonce. Every tag is bound to it.
func TreeID(chainID Hash, a *record.Anchor) Hash {
	type param struct{ Name, Value string }
	params := make([]param, len(a.Params))
	for i, p := range a.Params {
		params[i] = param{p.Name, p.Value}
	}
	return sha256.Sum256(encode(struct {
		Domain   string
		ChainID  Hash
		Product  string
		Template string
		CodeHash Hash
		Epoch    uint64
		Params   []param
		Nonce    Hash
	}{domainTree, chainID, string(a.ProductID), string(a.TemplateID), a.CodeHash, a.Epoch, params, a.Nonce}))
}

// Tag is a subject's name in a tree. Whoever knows the identifier can compute it, so
// it goes nowhere but into leaves, where a secret salt hides it.
func Tag(tree Hash, subject string) Hash {
	b := make([]byte, 0, 33+128)
	b = append(append(append(b, tagHash), tree[:]...), subject...)
	return sha256.Sum256(b)
}

// Position is where a tag's leaf stands: its first TreeDepth bits, the first one
// choosing at the root.
func Position(tag Hash) uint64 {
	return uint64(tag[0])<<40 | uint64(tag[1])<<32 | uint64(tag[2])<<24 | uint64(tag[3])<<16 | uint64(tag[4])<<8 | uint64(tag[5])
}

// Leaf is the salted hash of one answer. It says nothing while the salt is secret.
func Leaf(salt, tag Hash, value string) Hash {
	b := make([]byte, 0, 65+64)
	b = append(append(append(append(b, leafHash), salt[:]...), tag[:]...), value...)
	return sha256.Sum256(b)
}

// Node is the hash over two nodes of a tree.
func Node(left, right *Hash) Hash {
	var b [65]byte
	b[0] = nodeHash
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// Proof is the opening of one leaf: its salt and the hashes beside the way from it
// to the root, the leaf's neighbour first.
type Proof struct {
	Salt Hash
	Path [TreeDepth]Hash
}

// Root is the root that the proof leads to from a subject's tag and an answer.
func (p *Proof) Root(tag Hash, value string) Hash {
	h, at := Leaf(p.Salt, tag, value), Position(tag)
	for i := range p.Path {
		if at>>i&1 == 0 {
			h = Node(&h, &p.Path[i])
		} else {
			h = Node(&p.Path[i], &h)
		}
	}
	return h
}

// Encode returns the canonical bytes of p; all proofs have one length.
func (p *Proof) Encode() []byte {
	path := make([]byte, 0, TreeDepth*32)
	for i := range p.Path {
		path = append(path, p.Path[i][:]...)
	}
	return encode(wireProof{domainProof, p.Salt, path})
}

type wireProof struct {
	Domain string
	Salt   Hash
	Path   []byte
}

// DecodeProof reads an encoded proof. It checks the form only.
func DecodeProof(b []byte) (*Proof, error) {
	var w wireProof
	if err := decode(b, maxProof, &w); err != nil {
		return nil, err
	}
	if w.Domain != domainProof || len(w.Path) != TreeDepth*32 {
		return nil, fmt.Errorf("%w: not a proof of this version", ErrMalformed)
	}
	p := &Proof{Salt: w.Salt}
	for i := range p.Path {
		copy(p.Path[i][:], w.Path[i*32:])
	}
	return p, nil
}

// ProofHash is how an answer's body names the proof that comes with it.
func ProofHash(proof []byte) Hash { return sha256.Sum256(proof) }

// CheckAnchor holds an opened answer against the anchor of its question and epoch,
// which the caller has read with a proof. NO_RECORD has no opening: to show that a
// subject has no leaf would be to tell who is a customer. The error is
// ErrNotAnchored.
func (a Answer) CheckAnchor(chainID Hash, anchor *record.Anchor, subject string) error {
	p, err := a.Opened(anchor)
	if p == nil || err != nil {
		return err
	}
	if p.Root(Tag(TreeID(chainID, anchor), subject), a.Body.Value) != anchor.Root {
		return fmt.Errorf("%w: its opening does not lead to the anchored root", ErrNotAnchored)
	}
	return nil
}

// Opened returns the opening of an answer to the anchored question, nil for an
// answer that has none by right. It is all that can be checked without knowing about
// whom the answer is. The error is ErrNotAnchored.
func (a Answer) Opened(anchor *record.Anchor) (*Proof, error) {
	if a.Outcome != record.Answered || a.Body.Value == record.NoRecord {
		return nil, nil
	}
	switch b := &a.Body; {
	case b.TemplateID != anchor.TemplateID || b.CodeHash != anchor.CodeHash || b.Epoch != anchor.Epoch:
		return nil, fmt.Errorf("%w: it is of another template or epoch than the anchor", ErrNotAnchored)
	case len(a.Proof) == 0:
		return nil, fmt.Errorf("%w: it comes without its opening", ErrNotAnchored)
	case ProofHash(a.Proof) != b.ProofHash:
		return nil, fmt.Errorf("%w: its body names another opening than came with it", ErrNotAnchored)
	}
	p, err := DecodeProof(a.Proof)
	if err != nil {
		return nil, fmt.Errorf("%w: its opening cannot be read: %w", ErrNotAnchored, err)
	}
	return p, nil
}

// wireContent2 is the content of an answer since there are openings.
type wireContent2 struct {
	Domain  string
	Outcome string
	Body    []byte // canonical JSON
	Proof   []byte // empty: none
}

// splitContent reads either version of an answer's content.
func splitContent(b []byte) (w wireContent2, err error) {
	if len(b) > maxContent {
		return w, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), maxContent)
	}
	list, _, err := rlp.SplitList(b)
	if err != nil {
		return w, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	domain, _, err := rlp.SplitString(list)
	if err != nil {
		return w, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch string(domain) {
	case domainContent:
		err = decode(b, maxContent, &w)
	case domainContent1:
		var old wireContent
		err = decode(b, maxContent, &old)
		w = wireContent2{old.Domain, old.Outcome, old.Body, nil}
	default:
		err = fmt.Errorf("%w: not an answer of this version", ErrMalformed)
	}
	return w, err
}
