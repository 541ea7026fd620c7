package peerside

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Identity is an X.509 member of an MSP.
type Identity struct {
	MSP         string
	Certificate *x509.Certificate
	PEM         []byte
}

// NewIdentity makes an identity with a P-256 key of its own. Nobody checks its
// signature, so it signs itself.
func NewIdentity(mspID, name string) (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Identity{mspID, certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// Serialized is the identity as a proposal's creator.
func (i *Identity) Serialized() []byte {
	b, err := proto.Marshal(&msp.SerializedIdentity{Mspid: i.MSP, IdBytes: i.PEM})
	if err != nil {
		panic(err) // an MSP id that is no UTF-8
	}
	return b
}

// Proposal is what a client asks a peer to have simulated.
type Proposal struct {
	Channel string
	TxID    string
	Creator []byte // serialised identity
	Time    time.Time
	Args    []string // "contract:Function" and its arguments
	Init    bool

	// Signed, if set, are the arguments in the signed proposal, other than Args:
	// what a chaincode sees that another chaincode called.
	Signed []string
	// Unsigned leaves the signed proposal out.
	Unsigned bool
}

// NewTxID is a transaction id as Fabric computes it.
func NewTxID(nonce, creator []byte) string {
	sum := sha256.Sum256(append(append([]byte(nil), nonce...), creator...))
	return hex.EncodeToString(sum[:])
}

func input(args []string) *peer.ChaincodeInput {
	in := new(peer.ChaincodeInput)
	for _, a := range args {
		in.Args = append(in.Args, []byte(a))
	}
	return in
}

// message is the peer's message for the proposal.
func (p *Proposal) message() (*peer.ChaincodeMessage, error) {
	called := input(p.Args)
	called.IsInit = p.Init
	payload, err := proto.Marshal(called)
	if err != nil {
		return nil, err
	}
	msg := &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_TRANSACTION, Payload: payload, Txid: p.TxID, ChannelId: p.Channel}
	if p.Init {
		msg.Type = peer.ChaincodeMessage_INIT
	}
	if p.Unsigned {
		return msg, nil
	}
	signed := called
	if p.Signed != nil {
		signed = input(p.Signed)
	}
	msg.Proposal, err = p.sign(signed)
	return msg, err
}

func (p *Proposal) sign(in *peer.ChaincodeInput) (*peer.SignedProposal, error) {
	var failed error
	bytes := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil && failed == nil {
			failed = err
		}
		return b
	}
	header := &common.Header{
		ChannelHeader: bytes(&common.ChannelHeader{
			Type: int32(common.HeaderType_ENDORSER_TRANSACTION), ChannelId: p.Channel, TxId: p.TxID, Timestamp: timestamppb.New(p.Time),
		}),
		SignatureHeader: bytes(&common.SignatureHeader{Creator: p.Creator, Nonce: []byte("nonce")}),
	}
	spec := &peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{
		Type: peer.ChaincodeSpec_GOLANG, ChaincodeId: &peer.ChaincodeID{Name: "datashare"}, Input: in,
	}}
	proposal := bytes(&peer.Proposal{Header: bytes(header), Payload: bytes(&peer.ChaincodeProposalPayload{Input: bytes(spec)})})
	if failed != nil {
		return nil, fmt.Errorf("make proposal: %w", failed)
	}
	return &peer.SignedProposal{ProposalBytes: proposal, Signature: []byte("the peer checks it, the chaincode does not")}, nil
}
