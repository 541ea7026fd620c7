package record

import (
	"errors"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// DomainHostProof begins what a host key signs to show that its node is a member's.
const DomainHostProof = "assent/host-proof/1"

// MaxHostProof is how far ahead a proof's end may lie, in milliseconds: one that was
// made long ago says little about who has the key now.
const MaxHostProof = 90 * 24 * 3_600_000

// HostProof shows that whoever registers a node has its host key, and lets a member
// register it.
type HostProof struct {
	Signature  Blob   // by the host key over HostProofDigest
	ValidUntil Millis // block time after which it proves nothing; at most MaxHostProof ahead
}

func (v *HostProof) fields(c *codec) {
	blob(c, "signature", &v.Signature, 65)
	number(c, "validUntil", &v.ValidUntil)
}

// HostProofDigest is what a node's host key signs so that a member can register the
// node: keccak256(RLP [domain, chainID, organisation, host key, validUntil]). It
// names network and member, so that nobody else can use the signature.
func HostProofDigest(chainID Hash, org OrgID, hostKey Blob, validUntil Millis) Hash {
	b, err := rlp.EncodeToBytes(&struct {
		Domain     string
		ChainID    Hash
		Org        string
		HostKey    []byte
		ValidUntil uint64
	}{DomainHostProof, chainID, string(org), hostKey, uint64(validUntil)})
	if err != nil {
		panic(err) // these types always have an encoding
	}
	return crypto.Keccak256Hash(b)
}

// Check reports why v does not show at now that hostKey lets org register its node.
func (v *HostProof) Check(chainID Hash, org OrgID, hostKey Blob, now Millis) error {
	switch {
	case v.ValidUntil < now:
		return errors.New("it has ended; make a new one")
	case v.ValidUntil-now > MaxHostProof:
		return errors.New("it ends more than 90 days ahead; make one with an earlier end")
	}
	public, err := crypto.DecompressPubkey(hostKey)
	if err != nil {
		return errors.New("the host key is not a point of the curve")
	}
	return Verify(HostProofDigest(chainID, org, hostKey, v.ValidUntil), v.Signature, crypto.PubkeyToAddress(*public))
}

// RunsValidatorUnder reports whether a config names a validator of a member with a
// host key. An error says that the bytes are no config.
func RunsValidatorUnder(config []byte, org OrgID, hostKey Blob) (bool, error) {
	if _, err := OutlineConfig(config); err != nil {
		return false, err
	}
	var r configRLP
	var validators []configValidatorRLP
	if err := rlp.DecodeBytes(config, &r); err != nil || rlp.DecodeBytes(r.Validators, &validators) != nil {
		return false, errors.New("config: not the encoding of an ordering config")
	}
	for i := range validators {
		if v := &validators[i]; v.Member == string(org) && string(v.HostKey[:]) == string(hostKey) {
			return true, nil
		}
	}
	return false, nil
}
