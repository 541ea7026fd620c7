package record

import (
	"encoding/binary"

	"github.com/ethereum/go-ethereum/crypto"
)

// Samples with every field set, so that a test that walks them meets them all.

func sampleHash(n byte) Hash { return crypto.Keccak256Hash([]byte{n}) }

func sampleAddress(n byte) Address { return Address(sampleHash(n).Bytes()[:20]) }

func sampleBlob(size int) Blob {
	b := make(Blob, size)
	for i := range b {
		b[i] = byte(i + 2)
	}
	return b
}

func sampleID(n byte) [16]byte {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(n)*0x0123456789)
	return id
}

const awkward = "quote \" slash \\ line\nbell\atab\t\u2028 \u00fc 税 \U0001F4B0"

func sampleTerms() *ConsentTerms {
	return &ConsentTerms{
		AccessLimits: AccessLimits{FrequencyPerDay: 2, MaxUses: 10}, AutomatedDecision: true,
		ConsentID: NewConsentID(sampleID(1)), ConsentType: Separate, DataClasses: []DataClass{C1, C2},
		DeclinedPurposes: []Purpose{CreditScoreEvaluation}, ExpirationDateTime: 1_800_000_000_000,
		ImpactAssessmentHash: sampleHash(1), NoticeHash: sampleHash(2),
		Parties:      []Party{{PartyID: "lender-a", Role: DataConsumer}, {PartyID: "bank-a", Role: DataProvider}},
		PrincipalKey: sampleAddress(3), PrincipalRef: NewPrincipalRef(sampleID(2)),
		ProcessingMethods: []TemplateKind{Bucket, Predicate}, ProductID: "income", Purposes: []Purpose{CreditChecking, FraudManagement},
		RecordCommitment: sampleHash(4), SchemaVersion: SchemaVersion, Supersedes: NewConsentID(sampleID(3)),
		TemplateIDs: []TemplateID{"income-band", "income-over"}, ValidFrom: 1_772_323_200_000, Version: 2,
	}
}

func sampleConsent() *Consent {
	return &Consent{
		ConsentTerms: *sampleTerms(),
		Authorisation: &Authorisation{
			At: 1_772_323_300_000, ClientKey: sampleAddress(8), Countersignature: sampleAcknowledgement(), EvidenceHash: sampleHash(5), Method: Wallet, OrgID: "lender-a", Signature: sampleBlob(65),
		},
		CreatedAt: 1_772_323_200_001, CreatedBy: sampleAddress(6), Disputed: true, ErasureStatus: ErasureRequested,
		Status: Revoked, StatusUpdateDateTime: 1_772_323_400_000, SupersededBy: NewConsentID(sampleID(4)),
		StatusReason: []StatusReason{{
			At: 1_772_323_400_000, Code: ReasonWithdrawn, EvidenceHash: sampleHash(7), Initiator: BySubject,
			OrgID: "lender-a", Signature: sampleBlob(65),
		}},
	}
}

func sampleProduct() *Product {
	return &Product{
		ProductSpec: ProductSpec{
			Columns: []Column{
				{Class: Class{BitsPerEpoch: 4, BitsPerYear: 8, Kind: ClassAnswerOnly}, DataClass: C2, Name: "income", Type: TypeInt},
				{Class: Class{EpsilonMicro: 500_000, K: 10, Kind: ClassStatOnly}, DataClass: C1, Name: "region", Type: TypeString},
			},
			Methods: []Method{ProviderAuthenticated, Wallet}, ProductID: "income", Purposes: []Purpose{CreditChecking},
			Title: "Income 收入", Version: 1,
		},
		Provider: "bank-a", PublishedAt: 1, PublishedBy: sampleAddress(1), RetiredAt: 2, Suspension: sampleSuspension(),
	}
}

func sampleTemplate() *Template {
	return &Template{
		TemplateSpec: TemplateSpec{
			AnswerTTL: MinAnswerTTL, Columns: []string{"income"}, CostLimit: 10_000, Kind: Predicate,
			Outputs: []string{"YES", "NO", NoRecord}, ProductID: "income", TemplateID: "income-over", Version: 1,
			Params: []Param{{Name: "currency", Type: TypeString, Values: []string{"EUR"}}, {Name: "min", Type: TypeInt, Values: []string{"20000", "40000"}}},
			Source: "income >= min\n  ? \"YES\" : \"NO\"",
		},
		ApprovedAt: 3, ApprovedBy: sampleAddress(2), CodeHash: sampleHash(1), ProposedAt: 2,
		ProposedBy: sampleAddress(4), Provider: "bank-a", RetiredAt: 4, Suspension: sampleSuspension(),
	}
}

func sampleRequest() *Request {
	return &Request{
		AnswerKey: sampleBlob(32), BatchID: sampleHash(10), ClientKey: sampleAddress(1), Code: CodePermit, CodeHash: sampleHash(1),
		ConsentID: NewConsentID(sampleID(1)), ConsentVersion: 1, Consumer: "lender-a", Deadline: 1_772_323_500_000,
		Decision: Permit, Disputed: true, Epoch: 3, Params: ParamValues{{"currency", "EUR"}, {"min", "20000"}}, ProductID: "income",
		Provider: "bank-a", Purpose: CreditChecking, RequestID: NewRequestID(sampleHash(9)),
		RequestedAt: 1_772_323_400_000, Sequence: 7, TemplateID: "income-over",
	}
}

func sampleSealed() *SealedPart {
	return &SealedPart{
		Account: "DE02120300000000202051", ChainID: sampleHash(1), ConsentID: NewConsentID(sampleID(1)),
		Contacts:    []Contact{{Kind: Email, Value: "a@example.org"}, {Kind: Phone, Value: "+49 30 123456"}},
		Endorsement: &WalletEndorsement{Signature: sampleBlob(65), Wallet: sampleAddress(2)}, NoticeLanguage: "zh-Hans",
		Salt: sampleHash(8), SubjectID: awkward, Version: 1,
	}
}

func sampleAnswer() *AnswerBody {
	return &AnswerBody{
		ChainID: sampleHash(1), CodeHash: sampleHash(2), ConsentID: NewConsentID(sampleID(1)), Epoch: 3,
		EvaluatedHeight: 1_234, ProofHash: sampleHash(3), RequestID: NewRequestID(sampleHash(9)), Salt: sampleHash(8), TemplateID: "income-over", Value: "YES",
	}
}

func sampleNode() *Node {
	return &Node{
		NodeSpec: NodeSpec{
			Addrs: []string{"/ip4/10.0.0.1/tcp/7000"}, Answers: true, APIURLs: []string{"https://node1.bank-a.example"},
			HostKey: sampleBlob(33), Kind: Validator, NodeID: "node1", SPKI: sampleHash(1), TxKey: sampleAddress(1),
		},
		OrgID: "bank-a", RemovedAt: 5, UpdatedAt: 4,
	}
}

func sampleNodeSpec() *NodeSpec {
	n := sampleNode().NodeSpec
	n.HostProof = &HostProof{Signature: sampleBlob(65), ValidUntil: 9}
	return &n
}

func sampleProposal() *Proposal {
	return &Proposal{
		AppliedAt: 5, Approvals: []Approval{{Admin: sampleAddress(1), At: 3, OrgID: "bank-a", Reason: "the node starts tomorrow", Signature: sampleBlob(65)}},
		ConfigHash: sampleHash(2), ConfigSeq: 2, Needed: 3, ProposedAt: 2, ProposedBy: sampleAddress(1), Proposer: "bank-a",
		Refusals: []ProposalRefusal{{At: 4, OrgID: "bank-b", Reason: "update the program"}}, RefusedAt: 4,
		Status: ProposalApplied, Summary: []string{"adds Bank B", "新增成员"}, WithdrawnAt: 4,
	}
}

func sampleDataKey() *DataKey {
	return &DataKey{
		DataKeySpec: DataKeySpec{KeyID: "2026-1", PublicKey: sampleBlob(32), Suite: SuiteX25519, ValidFrom: 1, ValidUntil: 9},
		OrgID:       "bank-a", RevokedAt: 3, SetAt: 2,
	}
}

// fixture is one record type: a sample with every field set, and a way to a zero.
type fixture struct {
	name string
	full Record
	zero func() Record
}

func kind[T any, P interface {
	*T
	Record
}](name string, full P) fixture {
	return fixture{name, full, func() Record { return P(new(T)) }}
}

// fixtures has every record type of the package.
func fixtures() []fixture {
	client := &Client{
		Address: sampleAddress(1), Label: "payments system", NodeID: "node1", OrgID: "bank-a", RegisteredAt: 1,
		RevokeReason: KeyRotated, RevokedAt: 3, Roles: []ClientRole{RoleIntegration, RoleOfficer}, ValidFrom: 2, ValidUntil: 9,
	}
	suspension := &Suspension{At: 4, ClientKey: sampleAddress(1), OrgID: "regulator", Reason: SuspendedForMisuse}
	member := &Member{Active: true, ConfigSeq: 2, Observers: 1, OrgID: "bank-a", Roles: []MemberRole{CreditReportingAgency, DataProvider}, Suspension: suspension, Title: "Bank A"}
	notice := &Notice{
		NoticeSpec: NoticeSpec{Language: "en", NoticeID: "income", Text: awkward, Title: "Income"},
		NoticeHash: sampleHash(1), OrgID: "bank-a", PublishedAt: 1,
	}
	configMember := ConfigMember{AdminKeys: []Address{{1}, {2}}, OrgID: "bank-a", Roles: []MemberRole{DataProvider}, Title: "Bank A"}
	return []fixture{
		kind("creator", NewCreator("bank-a", sampleAddress(1))),
		kind("config", &OrderingConfig{ChainID: sampleHash(1), Config: []byte{0xf8, 0xff, 0x3f}, ConfigHash: ConfigHash([]byte{0xf8, 0xff, 0x3f}), ConfigSeq: 1, Members: []ConfigMember{configMember}, ObserversPerMember: 4, ProtocolVersion: 1}),
		kind("configMember", &configMember),
		kind("suspension", suspension),
		kind("member", member),
		kind("clientSpec", &ClientSpec{Address: sampleAddress(1), Label: "payments", Roles: []ClientRole{RoleIntegration}, ValidFrom: 2, ValidUntil: 9}),
		kind("client", client),
		kind("nodeSpec", sampleNodeSpec()),
		kind("hostProof", sampleNodeSpec().HostProof),
		kind("node", sampleNode()),
		kind("dataKeySpec", &sampleDataKey().DataKeySpec),
		kind("dataKey", sampleDataKey()),
		kind("noticeSpec", &notice.NoticeSpec),
		kind("notice", notice),
		kind("productSpec", &sampleProduct().ProductSpec),
		kind("product", sampleProduct()),
		kind("column", &sampleProduct().Columns[0]),
		kind("class", &Class{BitsPerEpoch: 1, BitsPerYear: 2, EpsilonMicro: 3, K: 4, Kind: ClassStatOnly}),
		kind("param", &sampleTemplate().Params[0]),
		kind("templateSpec", &fullTemplate().TemplateSpec),
		kind("template", fullTemplate()),
		kind("epoch", &Epoch{Epoch: 1, OpenedAt: 2, OpenedBy: sampleAddress(1), ProductID: "income", Provider: "bank-a"}),
		kind("anchorSpec", &sampleAnchor().AnchorSpec),
		kind("anchor", sampleAnchor()),
		kind("anchorParams", &anchorParams{sampleRequest().Params}),
		kind("anchorList", &AnchorList{Anchors: []Anchor{*sampleAnchor()}}),
		kind("party", &sampleTerms().Parties[0]),
		kind("accessLimits", &AccessLimits{FrequencyPerDay: 1, MaxUses: 2}),
		kind("terms", sampleTerms()),
		kind("consent", sampleConsent()),
		kind("evidence", &Evidence{EvidenceHash: sampleHash(1), Signature: sampleBlob(65)}),
		kind("authorisation", sampleConsent().Authorisation),
		kind("statusReason", &sampleConsent().StatusReason[0]),
		kind("requestSpec", &RequestSpec{AnswerKey: sampleBlob(32), ConsentID: NewConsentID(sampleID(1)), DeadlineMs: MinAnswerTTL, Params: sampleRequest().Params, Purpose: CreditChecking, TemplateID: "income-over"}),
		kind("decision", &Decision{Code: CodePermit, Deadline: 5, Decision: Permit, Disputed: true, Epoch: 3, RequestID: NewRequestID(sampleHash(9))}),
		kind("request", sampleRequest()),
		kind("usage", &Usage{ConsentID: NewConsentID(sampleID(1)), Day: 20_513, DayUses: 1, Head: sampleHash(1), Requests: 5, Uses: 2}),
		kind("receiptSpec", &ReceiptSpec{CodeHash: sampleHash(1), EvaluatedHeight: 12, Outcome: Answered, RequestID: NewRequestID(sampleHash(9)), ResultCommitment: sampleHash(2)}),
		kind("receipt", &Receipt{
			ClientKey: sampleAddress(1), CodeHash: sampleHash(1), ConsentID: NewConsentID(sampleID(1)), Consumer: "lender-a",
			Deadline: 9, EvaluatedHeight: 12, OrgID: "bank-a", Outcome: Answered, Provider: "bank-a", RecordedAt: 8,
			RequestID: NewRequestID(sampleHash(9)), ResultCommitment: sampleHash(2),
		}),
		kind("acknowledgement", sampleAcknowledgement()),
		kind("termination", sampleTermination()),
		kind("deletionSpec", &DeletionSpec{ConsentID: NewConsentID(sampleID(1)), Head: sampleHash(1), Requests: 5}),
		kind("deletion", &Deletion{ClientKey: sampleAddress(1), ConsentID: NewConsentID(sampleID(1)), Consumer: "lender-a", Due: 9, Head: sampleHash(1), RecordedAt: 8, Requests: 5, Uses: 2}),
		kind("erasure", sampleErasure()),
		kind("disputeSpec", sampleDisputeSpec()),
		kind("dispute", sampleDispute()),
		kind("resolutionSpec", &ResolutionSpec{ConsentID: NewConsentID(sampleID(1)), DisputeID: NewDisputeID(sampleID(5)), Outcome: DisputeRejected, Reason: DataAccurate, StatementHash: sampleHash(1)}),
		kind("resolution", sampleDispute().Resolution),
		kind("answerDisputeSpec", &AnswerDisputeSpec{Authority: "regulator", Claim: ClaimMismatch, OpeningHash: sampleHash(1), RequestID: NewRequestID(sampleHash(9))}),
		kind("answerDispute", sampleAnswerDispute()),
		kind("verdictSpec", &VerdictSpec{Finding: Upheld, RequestID: NewRequestID(sampleHash(9)), StatementHash: sampleHash(1)}),
		kind("verdict", sampleAnswerDispute().Verdict),
		kind("pledgeSpec", &samplePledge().PledgeSpec),
		kind("pledge", samplePledge()),
		kind("exposureItem", &sampleExposureSpec().Items[0]),
		kind("exposureSpec", sampleExposureSpec()),
		kind("exposureSeat", &sampleExposure().Seats[0]),
		kind("exposure", sampleExposure()),
		kind("figure", &sampleHistory().Sets[0].Figures[0]),
		kind("figureSet", &sampleHistory().Sets[0]),
		kind("exposureHistory", sampleHistory()),
		kind("cohortStatistic", fullStatistic()),
		kind("cohortPlan", samplePlan()),
		kind("cohortItem", &sampleCohortSpec().Items[0]),
		kind("cohortSpec", sampleCohortSpec()),
		kind("cohortSeat", &sampleCohort().Seats[0]),
		kind("cohort", sampleCohort()),
		kind("epsilonAccount", &EpsilonAccount{Answers: 1, ProductID: "stats", SpentMicro: 800_000, Year: 2026}),
		kind("batchItem", &sampleBatch().Items[0]),
		kind("batchSpec", sampleBatch()),
		kind("itemResult", &sampleBatchResult().Results[0]),
		kind("batch", sampleBatchResult()),
		kind("templateProposal", fullTemplateProposal()),
		kind("sealedPart", sampleSealed()),
		kind("contact", &sampleSealed().Contacts[0]),
		kind("endorsement", sampleSealed().Endorsement),
		kind("answerBody", sampleAnswer()),
		kind("proposalSpec", &ProposalSpec{Admin: sampleAddress(1), Config: []byte{0xf8, 0xff, 0x3f}, Signature: sampleBlob(65), Summary: []string{"adds Bank B"}}),
		kind("approvalSpec", &ApprovalSpec{Admin: sampleAddress(1), ConfigHash: sampleHash(2), Reason: "the node starts tomorrow", Signature: sampleBlob(65)}),
		kind("approval", &sampleProposal().Approvals[0]),
		kind("refusalSpec", &RefusalSpec{ConfigHash: sampleHash(2), Reason: "update the program"}),
		kind("proposalRefusal", &sampleProposal().Refusals[0]),
		kind("proposal", sampleProposal()),
		kind("proposedConfig", &ProposedConfig{Config: []byte{0xf8, 0xff, 0x3f}}),
		kind("hostOwner", &HostOwner{FreeFrom: 9, NodeID: "node1", OrgID: "bank-a"}),
		kind("proposalCount", &ProposalCount{ConfigSeq: 2, OrgID: "bank-a", Proposals: 1}),
		kind("proposalPage", &ProposalPage{Bookmark: "b", Proposals: []Proposal{*sampleProposal()}}),
		kind("memberList", &MemberList{Members: []Member{*member}}),
		kind("clientList", &ClientList{Clients: []Client{*client}}),
		kind("nodeList", &NodeList{Nodes: []Node{*sampleNode()}}),
		kind("dataKeyList", &DataKeyList{DataKeys: []DataKey{*sampleDataKey()}}),
		kind("productList", &ProductList{Products: []Product{*sampleProduct()}}),
		kind("templateList", &TemplateList{Templates: []Template{*sampleTemplate()}}),
		kind("consentPage", &ConsentPage{Bookmark: "b", Consents: []Consent{*sampleConsent()}}),
		kind("requestPage", &RequestPage{Bookmark: "b", Requests: []Request{*sampleRequest()}}),
		kind("terminationPage", &TerminationPage{Bookmark: "b", Terminations: []Termination{*sampleTermination()}}),
		kind("erasurePage", &ErasurePage{Bookmark: "b", Erasures: []Erasure{*sampleErasure()}}),
		kind("disputePage", &DisputePage{Bookmark: "b", Disputes: []Dispute{*sampleDispute()}}),
		kind("answerDisputePage", &AnswerDisputePage{Bookmark: "b", Disputes: []AnswerDispute{*sampleAnswerDispute()}}),
		kind("templateProposalList", &TemplateProposalList{Proposals: []TemplateProposal{*sampleTemplateProposal()}}),
	}
}
