package fabric

import (
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// FuzzProposal opens what a peer passes on as the proposal that a client signed.
func FuzzProposal(f *testing.F) {
	b, err := proto.Marshal(&peer.Proposal{Header: []byte{10, 0}, Payload: []byte{10, 0}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		header, _, err := openProposal(&peer.SignedProposal{ProposalBytes: b})
		if err == nil && header == nil {
			t.Fatal("no header and no error")
		}
	})
}
