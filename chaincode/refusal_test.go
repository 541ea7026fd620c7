package chaincode_test

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// An approved config that so many validators cannot put in force that the others
// make no quorum ends, with the reason; fewer end nothing, and nobody else may say it.
func TestAConfigThatNoQuorumCanPutInForceEnds(t *testing.T) {
	s := &scenario{world: newWorld(t), proposed: map[string][]byte{}}
	s.found()
	// From here on the contract knows the bytes in force: four members with a validator each.
	s.proposed["in-force"] = s.proposedConfig("in-force", options{"seq": "2"})
	next := config()
	next.ConfigSeq, next.Config, next.ConfigHash = 2, s.proposed["in-force"], record.ConfigHash(s.proposed["in-force"])
	if r := s.submitAs(record.SystemCreator(), "membership:ApplyConfig", encode(t, next)); r.Code != record.OK {
		t.Fatal(r.Message)
	}
	s.proposed["a"] = s.proposedConfig("a", options{"seq": "3", "protocol": "2"})
	hash := record.ConfigHash(s.proposed["a"])
	step := func(org record.OrgID, function string) record.Code {
		args := s.proposalArgs(function, options{"config": "a", "seq": "3", "signed-seq": "3", "admin": string(org) + "-admin"})
		return s.submit(org, string(org)+"-admin", "membership:"+function, args...).Code
	}
	refuse := func(org record.OrgID, key, reason string) record.Code {
		return s.submit(org, key, "membership:Refuse", encode(t, &record.RefusalSpec{ConfigHash: hash, Reason: reason})).Code
	}
	for _, org := range []record.OrgID{"bank-a", "bank-b", "lender-a", "lender-b", "regulator"} {
		s.org = string(org)
		s.must(org, string(org)+"-admin", "membership:SetNode", s.membershipArgs("SetNode", options{"node": string(org), "txkey": string(org) + "-tx"})...)
	}
	want := func(what string, got, want record.Code) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	status := func() *record.Proposal {
		t.Helper()
		p, err := record.Load[record.Proposal]([]byte(s.evaluate("membership:GetProposal", hash.Hex()).Payload))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	want("what nobody proposed", refuse("bank-a", "bank-a-tx", "x"), record.CodeNotFound)
	for i := range 2 { // and once more after it has ended
		want("propose", step("bank-a", "Propose"), record.OK)
		want("without its approvals", refuse("bank-b", "bank-b-tx", "x"), record.CodeWrongState)
		for _, org := range []record.OrgID{"bank-b", "lender-a", "lender-b"} {
			want("approve", step(org, "Approve"), record.OK)
		}
		want("by an admin", refuse("bank-b", "bank-b-admin", "x"), record.CodeForbidden)
		want("by the node of a member without a validator", refuse("regulator", "regulator-tx", "x"), record.CodeForbidden)
		want("with two lines", refuse("bank-b", "bank-b-tx", "a\nb"), record.CodeBadRequest)
		long := strings.Replace(encode(t, &record.RefusalSpec{ConfigHash: hash, Reason: "x"}), `"x"`, `"`+strings.Repeat("x", 257)+`"`, 1)
		want("with a long reason", s.submit("bank-b", "bank-b-tx", "membership:Refuse", long).Code, record.CodeBadRequest)
		want("the first", refuse("lender-b", "lender-b-tx", "update the program"), record.OK)
		want("the first again", refuse("lender-b", "lender-b-tx", "update the program"), record.CodeAlreadyExists)
		if p := status(); p.Status != record.ProposalOpen || len(p.Refusals) != 1 || p.RefusedAt != 0 {
			t.Fatalf("one of four ends it: %+v", p)
		}
		want("the second", refuse("bank-b", "bank-b-tx", "update the program"), record.OK)
		p := status()
		if p.Status != record.ProposalRefused || p.RefusedAt == 0 || len(p.Refusals) != 2 || p.Refusals[0].OrgID != "bank-b" || p.Refusals[0].Reason != "update the program" {
			t.Fatalf("round %d, two of four: %+v", i, p)
		}
		want("the third", refuse("bank-a", "bank-a-tx", "x"), record.CodeWrongState)
		want("an approval of what has ended", step("regulator", "Approve"), record.CodeWrongState)
	}
	// What comes into force all the same is in force.
	next = config()
	next.ConfigSeq, next.ProtocolVersion, next.ConfigHash = 3, 2, hash
	if r := s.submitAs(record.SystemCreator(), "membership:ApplyConfig", encode(t, next)); r.Code != record.OK {
		t.Fatal(r.Message)
	}
	if p := status(); p.Status != record.ProposalApplied || p.RefusedAt != 0 {
		t.Errorf("in force, yet %+v", p)
	}
}
