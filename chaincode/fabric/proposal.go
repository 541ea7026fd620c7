package fabric

import (
	"bytes"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
)

// checkProposal refuses a call that is not, word for word, what its creator
// signed. When another chaincode calls this one, the peer still names the
// original creator: without this check that chaincode could do in the creator's
// name whatever it likes.
func checkProposal(outer shim.ChaincodeStubInterface) error {
	signed, err := outer.GetSignedProposal()
	if err != nil || signed == nil {
		return record.Refuse(record.CodeBadRequest, "the call carries no signed proposal")
	}
	header, args, err := openProposal(signed)
	if err != nil {
		return record.Refuse(record.CodeBadRequest, "the signed proposal cannot be read")
	}
	if header.GetChannelId() != outer.GetChannelID() || header.GetTxId() != outer.GetTxID() {
		return record.Refuse(record.CodeForbidden, "the signed proposal is for another channel or transaction")
	}
	if (record.RequestID("0x" + outer.GetTxID())).Check() != nil {
		return record.Refuse(record.CodeBadRequest, "transaction id: want 64 lower-case hex digits")
	}
	given := outer.GetArgs()
	if len(args) != len(given) {
		return notSigned()
	}
	for i := range args {
		if !bytes.Equal(args[i], given[i]) {
			return notSigned()
		}
	}
	return nil
}

func notSigned() error {
	return record.Refuse(record.CodeForbidden, "the call is not the one its creator signed: another chaincode cannot call in somebody's name")
}

// openProposal returns the channel header and the arguments that were signed.
func openProposal(signed *peer.SignedProposal) (*common.ChannelHeader, [][]byte, error) {
	proposal, header, channel := new(peer.Proposal), new(common.Header), new(common.ChannelHeader)
	payload, spec := new(peer.ChaincodeProposalPayload), new(peer.ChaincodeInvocationSpec)
	for _, step := range []func() error{
		func() error { return proto.Unmarshal(signed.GetProposalBytes(), proposal) },
		func() error { return proto.Unmarshal(proposal.GetHeader(), header) },
		func() error { return proto.Unmarshal(header.GetChannelHeader(), channel) },
		func() error { return proto.Unmarshal(proposal.GetPayload(), payload) },
		func() error { return proto.Unmarshal(payload.GetInput(), spec) },
	} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	return channel, spec.GetChaincodeSpec().GetInput().GetArgs(), nil
}
