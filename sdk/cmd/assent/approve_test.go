package main

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/sdk"
)

// What a proposal came to is said in words, with the nodes' reason and the remedy.
func TestStatusSaysWhyAProposalCannotComeIntoForce(t *testing.T) {
	p := &sdk.Proposal{Needed: 3, Status: "REFUSED", Summary: []string{"protocol version: 1 → 2"}}
	for i, reason := range []string{"update the program", "config names version 2"} {
		p.Refusals = append(p.Refusals, sdk.ProposalRefusal{At: 5, OrgID: sdk.OrgID([]string{"bank", "lender"}[i]), Reason: reason})
	}
	v := &changeView{Proposal: &proposalView{p: p}, Missing: []string{"auditor"}}
	var out strings.Builder
	v.approvals(&out)
	for _, part := range []string{"REFUSED.", "refused\tbank\t", "\tupdate the program\n", "refused\tlender\t", "propose it again"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("it does not say %q:\n%s", part, &out)
		}
	}
	if strings.Contains(out.String(), "missing") {
		t.Errorf("somebody is said to be missing:\n%s", &out)
	}
	// One that is still open says whose nodes cannot.
	p.Status, p.Refusals = "OPEN", p.Refusals[:1]
	out.Reset()
	v.approvals(&out)
	if !strings.Contains(out.String(), "refused\tbank") || !strings.Contains(out.String(), "missing\tauditor") {
		t.Errorf("an open one:\n%s", &out)
	}
}
