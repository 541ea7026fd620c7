package fabric

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
)

// keyDomain keeps these addresses apart from those of secp256k1 keys, which are
// hashes without a domain.
const keyDomain = "assent/fabric/key/1\x00"

// maxIdentity bounds a serialised identity; an ordinary one has about 1 KiB.
const maxIdentity = 16 << 10

// KeyAddress is the address under which a certificate's key is registered as a
// client: the last 20 bytes of keccak256(domain ‖ SubjectPublicKeyInfo). It names
// the key, so a renewed certificate for the same key keeps it.
func KeyAddress(certificate *x509.Certificate) record.Address {
	digest := crypto.Keccak256([]byte(keyDomain), certificate.RawSubjectPublicKeyInfo)
	return record.Address(digest[12:])
}

// ParseCertificate reads the one PEM certificate in data.
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) != 0 || len(bytes.TrimSpace(rest)) != 0 {
		return nil, record.Refuse(record.CodeUnknownKey, "want one X.509 certificate in PEM and nothing else")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, record.Refuse(record.CodeUnknownKey, "the X.509 certificate cannot be read")
	}
	return certificate, nil
}

// CreatorOf turns a serialised MSP identity into a creator: the MSP id is the
// organisation id, letter by letter, and the key's address the client key. An
// identity that is no X.509 certificate, such as an Idemix one, is refused.
func CreatorOf(serialized []byte) (*record.Creator, error) {
	if len(serialized) == 0 || len(serialized) > maxIdentity {
		return nil, record.Refuse(record.CodeUnknownKey, "want a serialised MSP identity of 1 to %d bytes", maxIdentity)
	}
	identity := new(msp.SerializedIdentity)
	if err := proto.Unmarshal(serialized, identity); err != nil {
		return nil, record.Refuse(record.CodeUnknownKey, "creator is no serialised MSP identity")
	}
	org := record.OrgID(identity.GetMspid())
	if org.Check() != nil {
		return nil, record.Refuse(record.CodeUnknownKey, "MSP id is no organisation id: want 1 to 64 letters, digits and \"._-\"")
	}
	certificate, err := ParseCertificate(identity.GetIdBytes())
	if err != nil {
		return nil, err
	}
	return record.NewCreator(org, KeyAddress(certificate)), nil
}

func creatorOf(outer shim.ChaincodeStubInterface) (*record.Creator, error) {
	serialized, err := outer.GetCreator()
	if err != nil {
		return nil, record.Refuse(record.CodeUnknownKey, "the proposal names no creator")
	}
	return CreatorOf(serialized)
}
