package record

import (
	"strings"
	"testing"
)

func TestDisputeRules(t *testing.T) {
	checkRules(t, sampleDisputeSpec, []rule[DisputeSpec]{
		{"claim", func(v *DisputeSpec) { v.ClaimCommitment = Hash{} }, "claimCommitment"},
		{"consent", func(v *DisputeSpec) { v.ConsentID = "c1" }, "consent id"},
		{"dispute", func(v *DisputeSpec) { v.DisputeID = "my income is wrong" }, "dispute id"},
		{"request", func(v *DisputeSpec) { v.RequestID = "0x00" }, "request id"},
	})
	general := sampleDisputeSpec()
	general.RequestID = ""
	if err := general.Check(); err != nil {
		t.Errorf("a dispute of the data as such: %v", err)
	}
	resolution := func() *ResolutionSpec {
		return &ResolutionSpec{ConsentID: NewConsentID(sampleID(1)), DisputeID: NewDisputeID(sampleID(5)), Outcome: DisputeRejected, Reason: NoEvidence, StatementHash: sampleHash(1)}
	}
	checkRules(t, resolution, []rule[ResolutionSpec]{
		{"rejected without reason", func(v *ResolutionSpec) { v.Reason = "" }, "reason"},
		{"corrected with one", func(v *ResolutionSpec) { v.Outcome = Corrected }, "reason"},
		{"statement", func(v *ResolutionSpec) { v.StatementHash = Hash{} }, "statementHash"},
		{"consent", func(v *ResolutionSpec) { v.ConsentID = "" }, "consent id"},
		{"dispute", func(v *ResolutionSpec) { v.DisputeID = "" }, "dispute id"},
	})
	checkRules(t, func() *DeletionSpec { return &DeletionSpec{ConsentID: NewConsentID(sampleID(1))} }, []rule[DeletionSpec]{
		{"consent", func(v *DeletionSpec) { v.ConsentID = "all of them" }, "consent id"},
	})
}

func TestAnswerDisputeRules(t *testing.T) {
	claim := func() *AnswerDisputeSpec {
		return &AnswerDisputeSpec{Authority: "regulator", Claim: ClaimImplausible, OpeningHash: sampleHash(1), RequestID: NewRequestID(sampleHash(9))}
	}
	checkRules(t, claim, []rule[AnswerDisputeSpec]{
		{"authority", func(v *AnswerDisputeSpec) { v.Authority = "a/b" }, "organisation id"},
		{"no opening", func(v *AnswerDisputeSpec) { v.OpeningHash = Hash{} }, "openingHash"},
		{"opening of nothing", func(v *AnswerDisputeSpec) { v.Claim = ClaimNotReceived }, "openingHash"},
		{"request", func(v *AnswerDisputeSpec) { v.RequestID = "HIGH" }, "request id"},
	})
	verdict := func() *VerdictSpec {
		return &VerdictSpec{Finding: Undecided, RequestID: NewRequestID(sampleHash(9)), StatementHash: sampleHash(1)}
	}
	checkRules(t, verdict, []rule[VerdictSpec]{
		{"statement", func(v *VerdictSpec) { v.StatementHash = Hash{} }, "statementHash"},
		{"request", func(v *VerdictSpec) { v.RequestID = "" }, "request id"},
	})
}

func TestBatchRules(t *testing.T) {
	checkRules(t, sampleBatch, []rule[BatchSpec]{
		{"nothing", func(v *BatchSpec) { v.Items = nil }, "items"},
		{"zero key", func(v *BatchSpec) { v.AnswerKey = make(Blob, 32) }, "answerKey"},
		{"deadline", func(v *BatchSpec) { v.DeadlineMs = MaxAnswerTTL + 1 }, "deadlineMs"},
		{"second item", func(v *BatchSpec) { v.Items[1].ConsentID = "c2" }, "item 1: consent id"},
		{"template", func(v *BatchSpec) { v.Items[0].TemplateID = "a b" }, "item 0: template id"},
	})
	ids := map[RequestID]bool{}
	for i := range MaxBatch {
		ids[BatchRequestID(sampleHash(1), i)] = true
		ids[BatchRequestID(sampleHash(2), i)] = true
	}
	if len(ids) != 2*MaxBatch {
		t.Errorf("%d names for %d items", len(ids), 2*MaxBatch)
	}
}

// TestATombstoneTellsNothingOfItsSubject walks the JSON of an erased consent for
// anything that the subject made, chose or signed.
func TestATombstoneTellsNothingOfItsSubject(t *testing.T) {
	v := sampleConsent()
	before := mustEncode(t, v)
	gone := []string{
		FormatAddress(v.PrincipalKey), string(v.PrincipalRef), v.RecordCommitment.Hex(), `"signature"`, `"evidenceHash"`,
		v.Authorisation.EvidenceHash.Hex(), v.StatusReason[0].EvidenceHash.Hex(),
	}
	v.Entomb()
	after := mustEncode(t, v)
	for _, word := range gone {
		if !strings.Contains(before, word) {
			t.Fatalf("the sample does not hold %s: the test proves nothing", word)
		}
		if strings.Contains(after, word) {
			t.Errorf("the tombstone holds %s", word)
		}
	}
	if v.ErasureStatus != Erased || v.Status != Revoked || v.Consumer() != "lender-a" || v.Authorisation.Method != Wallet {
		t.Errorf("what the members did is gone too: %s", after)
	}
	never := &Consent{ConsentTerms: *sampleTerms(), Status: Rejected}
	never.Entomb() // never authorised: nothing to take off
	if never.WasAuthorised() {
		t.Error("erasure authorised a consent")
	}
}

func TestWrittenConsentStandsWithItsCountersignatureOnly(t *testing.T) {
	for _, c := range []struct {
		name string
		a    *Authorisation
		want bool
	}{
		{"none", nil, false}, {"wallet", &Authorisation{Method: Wallet}, true}, {"provider", &Authorisation{Method: ProviderAuthenticated}, true},
		{"document", &Authorisation{Method: WrittenEvidence}, false},
		{"countersigned", &Authorisation{Method: WrittenEvidence, Countersignature: sampleAcknowledgement()}, true},
	} {
		if got := (&Consent{Authorisation: c.a}).WasAuthorised(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
