package chaincode_test

import (
	"fmt"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

func TestProposalsOfAMemberAreBounded(t *testing.T) {
	s := &scenario{world: newWorld(t), proposed: map[string][]byte{}}
	s.found()
	propose := func(org record.OrgID, name string, seq string) record.Code {
		args := s.proposalArgs("Propose", options{"config": name, "seq": seq, "signed-seq": seq, "admin": string(org) + "-admin"})
		return s.submit(org, string(org)+"-admin", "membership:Propose", args...).Code
	}
	for i := range record.MaxProposals {
		if code := propose("bank-a", fmt.Sprint("a", i), "2"); code != record.OK {
			t.Fatalf("proposal %d: %s", i, code)
		}
	}
	if code := propose("bank-a", "one-more", "2"); code != record.CodeLimitExceeded {
		t.Errorf("one proposal too many: %s", code)
	}
	if code := propose("bank-b", "b", "2"); code != record.OK {
		t.Errorf("another member's: %s", code)
	}
	// Proposing what was withdrawn costs nothing new, so it is not counted.
	s.must("bank-a", "bank-a-admin", "membership:Withdraw", record.ConfigHash(s.proposed["a0"]).Hex())
	if code := propose("bank-a", "a0", "2"); code != record.OK {
		t.Errorf("again after its withdrawal: %s", code)
	}
	next := config()
	next.ConfigSeq = 2
	if r := s.submitAs(record.SystemCreator(), "membership:ApplyConfig", encode(t, next)); r.Code != record.OK {
		t.Fatal(r.Message)
	}
	if code := propose("bank-a", "later", "3"); code != record.OK {
		t.Errorf("after the next config: %s", code)
	}
}

// TestALargestConfigCanBeProposedAndApproved has every approval of the largest
// network in one record.
func TestALargestConfigCanBeProposedAndApproved(t *testing.T) {
	p := &record.Proposal{ConfigSeq: 1, Status: record.ProposalOpen, Summary: []string{"x"}}
	for i := range 256 {
		p.Approvals = append(p.Approvals, record.Approval{
			OrgID: record.OrgID(fmt.Sprintf("%064d", i)), At: record.MaxInt, Signature: make(record.Blob, 65),
		})
	}
	if n := len(encode(t, p)); n > 256<<10 {
		t.Errorf("%d bytes, more than a contract may write", n)
	}
	if n := len(encode(t, &record.ProposedConfig{Config: make([]byte, record.MaxConfigBytes)})); n > 256<<10 {
		t.Errorf("%d bytes, more than a contract may write", n)
	}
}
