package record

import (
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/signer/core/apitypes"
)

// TestSpecSaysWhatTheCodeDoes finds every closed value, domain tag and typed
// data type of the code in SPEC.md.
func TestSpecSaysWhatTheCodeDoes(t *testing.T) {
	data, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(string(data), func(r rune) bool { return strings.ContainsRune(" \n|`(),{}[]?", r) }) {
		words[strings.Trim(w, `"`)] = true
	}
	want := []string{DomainSealedPart, DomainAnswer, DomainCode, DomainNotice, DomainUsage, DomainBatchItem, DomainOpening, DomainClaim, DomainParams}
	add := func(list []string) { want = append(want, list...) }
	add(asStrings(memberRoles))
	add(asStrings(clientRoles))
	add(asStrings(purposes))
	add(asStrings(templateKinds))
	add(asStrings(methods))
	add(asStrings(statuses))
	add(asStrings(initiators))
	add(asStrings(reasons))
	add(asStrings(outcomes))
	add(asStrings(receiptOutcomes))
	add(asStrings(classKinds))
	add(asStrings(dataClasses))
	add(asStrings(columnTypes))
	add(asStrings(disputeKinds))
	add(asStrings(disputeOutcomes))
	add(asStrings(disputeReasons))
	add(asStrings(answerClaims))
	add(asStrings(findings))
	add(asStrings(templateProposalStatuses))
	add(asStrings(suspensionReasons))
	add(asStrings(proposalStatuses))
	want = append(want, DomainApproval, DomainHostProof)
	for _, w := range want {
		if !words[w] {
			t.Errorf("SPEC.md does not name %q", w)
		}
	}
	dense := strings.Join(strings.Fields(string(data)), "")
	for primary, types := range typedDataTypes {
		for name := range types {
			if name == "EIP712Domain" {
				continue
			}
			typed := apitypes.TypedData{Types: types, PrimaryType: primary}
			text, _, _ := strings.Cut(string(typed.EncodeType(name)), ")")
			if !strings.Contains(dense, strings.Join(strings.Fields(text), "")+")") {
				t.Errorf("SPEC.md does not have %s)", text)
			}
		}
	}
}

func asStrings[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
