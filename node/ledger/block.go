package ledger

import (
	"fmt"
	"slices"
)

// Bounds of a block.
const (
	MaxBlockBytes    = 4 << 20 // sum of the requests' bytes
	MaxBlockRequests = 10_000
	maxHeaderBytes   = 1 << 10
	maxMetaBytes     = 64 << 10
	// MaxValidators votes of at most 80 bytes each.
	maxCertificateBytes = 16 << 10
	maxEncodedBlock     = MaxBlockBytes + 16*MaxBlockRequests + maxHeaderBytes + maxMetaBytes
)

// Header is what validators vote for.
type Header struct {
	Domain             string
	ChainID            Hash
	Height             Height
	Prev               Hash   // hash of the header below; zero at genesis
	TxRoot             Hash   // Merkle root over the signed bytes of the block's requests
	Time               uint64 // Unix ms, greater than the previous block's
	ConfigSeq          uint64 // config in force when the block was proposed
	ValidatorsHash     Hash   // of that config
	NextValidatorsHash Hash   // of the config in force after the block
	EngineMetaHash     Hash   // of the ordering engine's metadata
	ExecHeight         Height // the roots below are those after executing this height
	StateRoot          Hash
	ReceiptsRoot       Hash   // Merkle log root over all receipts from genesis to ExecHeight
	ReceiptsSize       uint64 // number of those receipts
}

// Encode returns the canonical bytes.
func (h *Header) Encode() []byte {
	d := *h
	d.Domain = domainHeader
	return mustEncode(&d)
}

// Hash returns keccak256 of the encoding.
func (h *Header) Hash() Hash { return Sum(h.Encode()) }

// DecodeHeader reads canonical bytes.
func DecodeHeader(b []byte) (*Header, error) {
	h := new(Header)
	if err := decode("header", b, maxHeaderBytes, h); err != nil {
		return nil, err
	}
	if err := wantDomain("header", h.Domain, domainHeader); err != nil {
		return nil, err
	}
	return h, nil
}

// Block is a header and what it commits to.
type Block struct {
	Header   Header
	Requests [][]byte // signed bytes, in order
	Meta     []byte   // the ordering engine's metadata
}

// HashMeta returns the commitment to an engine's metadata.
func HashMeta(meta []byte) Hash {
	return hashOf(&struct {
		Domain string
		Meta   []byte
	}{domainMeta, meta})
}

// EncodeRequests returns the canonical bytes of a block's requests: an RLP list
// of strings.
func EncodeRequests(reqs [][]byte) []byte {
	if reqs == nil {
		reqs = [][]byte{}
	}
	return mustEncode(reqs)
}

// DecodeRequests reads what EncodeRequests wrote, within the bounds of a block.
func DecodeRequests(b []byte) ([][]byte, error) {
	var reqs [][]byte
	if err := decodeListed("block requests", b, MaxBlockBytes+16*MaxBlockRequests, &reqs, MaxBlockRequests); err != nil {
		return nil, err
	}
	return reqs, nil
}

type blockRLP struct {
	Header   Header
	Requests [][]byte
	Meta     []byte
}

// Encode returns the canonical bytes: RLP [header, requests, meta].
func (b *Block) Encode() []byte {
	h := b.Header
	h.Domain = domainHeader
	return mustEncode(&blockRLP{h, b.Requests, b.Meta})
}

// DecodeBlock reads canonical bytes and checks that header and body belong
// together.
func DecodeBlock(b []byte) (*Block, error) {
	var r blockRLP
	if err := decodeListed("block", b, maxEncodedBlock, &r, MaxBlockRequests, 1); err != nil {
		return nil, err
	}
	if err := wantDomain("header", r.Header.Domain, domainHeader); err != nil {
		return nil, err
	}
	blk := &Block{r.Header, r.Requests, r.Meta}
	if err := blk.CheckBody(); err != nil {
		return nil, err
	}
	return blk, nil
}

// CheckBody reports whether the body is not the one the header commits to.
func (b *Block) CheckBody() error {
	if root := TxRoot(b.Requests); root != b.Header.TxRoot {
		return fmt.Errorf("block %d: requests have root %s, header says %s", b.Header.Height, root, b.Header.TxRoot)
	}
	if m := HashMeta(b.Meta); m != b.Header.EngineMetaHash {
		return fmt.Errorf("block %d: engine metadata has hash %s, header says %s", b.Header.Height, m, b.Header.EngineMetaHash)
	}
	return nil
}

// Update returns the config update that b carries, or nil. A config update is
// alone in its block.
func (b *Block) Update() (*Update, error) {
	if len(b.Requests) != 1 || KindOf(b.Requests[0]) != KindUpdate {
		return nil, nil
	}
	return DecodeUpdate(b.Requests[0])
}

// Genesis returns block 0 of the network that c founds. It holds no request and
// needs no certificate: its hash follows from the config, which everybody has.
// Its roots are those of the empty state; the members of c enter the state when
// block 0 is executed and are certified from block 1 on.
func Genesis(c *Config) *Block {
	vh := c.ValidatorsHash()
	return &Block{Requests: [][]byte{}, Meta: []byte{}, Header: Header{
		Domain:             domainHeader,
		ChainID:            c.Hash(),
		Time:               c.GenesisTime,
		TxRoot:             TxRoot(nil),
		ValidatorsHash:     vh,
		NextValidatorsHash: vh,
		EngineMetaHash:     HashMeta(nil),
		StateRoot:          EmptyStateRoot,
		ReceiptsRoot:       EmptyLogRoot,
	}}
}

// Vote is one validator's signature under a header.
type Vote struct {
	Validator uint64
	Sig       Signature
}

// VoteDigest returns what a validator signs when it votes for a header in a view of
// the ordering engine: keccak256(RLP [domain, header hash, view]).
func VoteDigest(header Hash, view uint64) Hash {
	return hashOf(&struct {
		Domain string
		Header Hash
		View   uint64
	}{domainVote, header, view})
}

// Certificate is a quorum of votes for one header, cast in one view, ascending by
// validator. Nodes may hold different certificates for the same header, also of
// different views. Votes of several views prove nothing together: who has left a view
// without a decision may rightly vote for another block in a later one.
type Certificate struct {
	Header Hash
	View   uint64
	Votes  []Vote
}

// Encode returns RLP [header hash, view, votes].
func (c *Certificate) Encode() []byte { return mustEncode(c) }

// DecodeCertificate reads canonical bytes; it does not check the votes.
func DecodeCertificate(b []byte) (*Certificate, error) {
	c := new(Certificate)
	if err := decode("certificate", b, maxCertificateBytes, c); err != nil {
		return nil, err
	}
	return c, nil
}

// SortVotes puts votes into the order a certificate wants.
func SortVotes(votes []Vote) {
	slices.SortFunc(votes, func(a, b Vote) int {
		if a.Validator < b.Validator {
			return -1
		}
		if a.Validator > b.Validator {
			return 1
		}
		return 0
	})
}

// VerifyCertificate reports why cert does not prove that a quorum of c's
// validators voted for h. c must be the config in force at h.
func (c *Config) VerifyCertificate(h *Header, cert *Certificate) error {
	hash := h.Hash()
	if cert.Header != hash {
		return fmt.Errorf("certificate of header %s given for header %s at height %d", cert.Header, hash, h.Height)
	}
	if h.ConfigSeq != c.Seq || h.ValidatorsHash != c.ValidatorsHash() {
		return fmt.Errorf("header %d was voted under config %d with validators %s, not under config %d", h.Height, h.ConfigSeq, h.ValidatorsHash, c.Seq)
	}
	if need := Quorum(len(c.Validators)); len(cert.Votes) < need {
		return fmt.Errorf("certificate at height %d has %d votes, %d are needed", h.Height, len(cert.Votes), need)
	}
	if len(cert.Votes) > len(c.Validators) {
		return fmt.Errorf("certificate at height %d has %d votes of %d validators", h.Height, len(cert.Votes), len(c.Validators))
	}
	digest := VoteDigest(hash, cert.View)
	for i, v := range cert.Votes {
		if i > 0 && cert.Votes[i-1].Validator >= v.Validator {
			return fmt.Errorf("certificate at height %d: votes must ascend by validator without repeats", h.Height)
		}
		val := c.Validator(v.Validator)
		if val == nil {
			return fmt.Errorf("certificate at height %d: %d is not a validator of config %d", h.Height, v.Validator, c.Seq)
		}
		if err := VerifySignature(digest, v.Sig, val.VoteKey); err != nil {
			return fmt.Errorf("certificate at height %d: vote of validator %d: %w", h.Height, v.Validator, err)
		}
	}
	return nil
}
