package record

// Samples of what happens to a consent after it was given.

func sampleAcknowledgement() *Acknowledgement {
	return &Acknowledgement{At: 7, ClientKey: sampleAddress(2), OrgID: "bank-a"}
}

func sampleSuspension() *Suspension {
	return &Suspension{At: 7, ClientKey: sampleAddress(3), OrgID: "regulator", Reason: SuspensionReasons()[0]}
}

func sampleTermination() *Termination {
	return &Termination{
		Acknowledged: []Acknowledgement{*sampleAcknowledgement()}, ConsentID: NewConsentID(sampleID(1)), ConsentVersion: 2,
		Consumer: "lender-a", DeletionDue: 9, EndedAt: 6, Initiator: BySubject, Pending: []OrgID{"lender-a"}, Provider: "bank-a",
		Reason: ReasonSuperseded, RecordedAt: 7, Status: Revoked, SupersededBy: NewConsentID(sampleID(4)),
	}
}

func sampleErasure() *Erasure {
	return &Erasure{
		ConsentID: NewConsentID(sampleID(1)), Consumer: "lender-a", Due: 9, ErasedAt: 8, EvidenceHash: sampleHash(5), OrgID: "bank-a",
		Pending: []OrgID{"lender-a"}, Provider: "bank-a", Receipts: []Acknowledgement{*sampleAcknowledgement()}, RequestedAt: 6, Signed: true,
	}
}

func sampleDisputeSpec() *DisputeSpec {
	return &DisputeSpec{
		ClaimCommitment: sampleHash(1), ConsentID: NewConsentID(sampleID(1)), DisputeID: NewDisputeID(sampleID(5)),
		Kind: DisputeOutdated, RequestID: NewRequestID(sampleHash(9)),
	}
}

func sampleDispute() *Dispute {
	return &Dispute{
		ClaimCommitment: sampleHash(1), ConsentID: NewConsentID(sampleID(1)), Consumer: "lender-a", DisputeID: NewDisputeID(sampleID(5)),
		Due: 9, EvidenceHash: sampleHash(5), Kind: DisputeOutdated, OrgID: "bank-a", Provider: "bank-a", RaisedAt: 6,
		RequestID: NewRequestID(sampleHash(9)), Signed: true, Resolution: &Resolution{
			At: 8, ClientKey: sampleAddress(2), Outcome: DisputeRejected, Reason: DataAccurate, StatementHash: sampleHash(2),
		},
	}
}

func sampleAnswerDispute() *AnswerDispute {
	return &AnswerDispute{
		AnchorRoot: sampleHash(4),
		Authority:  "regulator", Claim: ClaimMismatch, ClientKey: sampleAddress(1), ConsentID: NewConsentID(sampleID(1)), Consumer: "lender-a",
		OpeningHash: sampleHash(1), Provider: "bank-a", RaisedAt: 6, RequestID: NewRequestID(sampleHash(9)), ResultCommitment: sampleHash(2),
		Verdict: &Verdict{At: 8, ClientKey: sampleAddress(3), Finding: Upheld, StatementHash: sampleHash(3)},
	}
}

func sampleBatch() *BatchSpec {
	return &BatchSpec{
		AnswerKey: sampleBlob(32), DeadlineMs: MinAnswerTTL, Items: []BatchItem{
			{ConsentID: NewConsentID(sampleID(1)), Params: sampleRequest().Params, Purpose: CreditChecking, TemplateID: "income-over"},
			{ConsentID: NewConsentID(sampleID(2)), Purpose: FraudManagement, TemplateID: "income-band"},
		},
	}
}

func sampleBatchResult() *Batch {
	return &Batch{
		BatchID: sampleHash(10), Consumer: "lender-a", Results: []ItemResult{
			{Code: CodePermit, Deadline: 9, Decision: Permit, Disputed: true, Epoch: 3, RequestID: NewRequestID(sampleHash(9))},
			{Code: CodeConsentUnknown},
		},
	}
}

func sampleTemplateProposal() *TemplateProposal {
	return &TemplateProposal{
		TemplateSpec: sampleTemplate().TemplateSpec, CodeHash: sampleHash(1), ProposedAt: 2, ProposedBy: sampleAddress(4),
		Provider: "bank-a", SettledAt: 3, SettledBy: sampleAddress(2), Status: TemplateWithdrawn,
	}
}

func sampleAnchor() *Anchor {
	return &Anchor{
		AnchorSpec: AnchorSpec{
			CodeHash: sampleHash(1), Epoch: 3, Nonce: sampleHash(2), Params: sampleRequest().Params, Root: sampleHash(3), TemplateID: "income-over",
		},
		AnchoredAt: 5, AnchoredBy: sampleAddress(1), ProductID: "income", Provider: "bank-a",
	}
}
