package record

import "errors"

// ResolutionPeriod is how long a provider has to settle a subject's dispute:
// twenty days of block time.
const ResolutionPeriod Millis = 20 * 86_400_000

// DisputeID names a subject's dispute within its consent: 16 random bytes.
type DisputeID string

// NewDisputeID makes a dispute id of 16 random bytes.
func NewDisputeID(random [16]byte) DisputeID { return DisputeID(NewConsentID(random)) }

// Check wants 16 bytes in lower-case hex.
func (v DisputeID) Check() error { return checkHexID("dispute id", string(v), 16) }

// DisputeKind says what the subject finds wrong.
type DisputeKind string

const (
	DisputeWrong    DisputeKind = "WRONG"    // the data say something that is not so
	DisputeOutdated DisputeKind = "OUTDATED" // it was so once
	DisputeNotMine  DisputeKind = "NOT_MINE" // the data are another person's
	DisputeMisused  DisputeKind = "MISUSED"  // used for something not agreed to
)

var disputeKinds = []DisputeKind{DisputeWrong, DisputeOutdated, DisputeNotMine, DisputeMisused}

// DisputeKinds lists every kind of dispute.
func DisputeKinds() []DisputeKind { return append([]DisputeKind(nil), disputeKinds...) }

// DisputeOutcome says how a provider settled a dispute.
type DisputeOutcome string

const (
	Corrected       DisputeOutcome = "CORRECTED"
	DisputeRejected DisputeOutcome = "REJECTED"
)

var disputeOutcomes = []DisputeOutcome{Corrected, DisputeRejected}

// DisputeReason says why a provider rejected a dispute.
type DisputeReason string

const (
	DataAccurate DisputeReason = "DATA_ACCURATE" // checked, and it is so
	DataNotHeld  DisputeReason = "DATA_NOT_HELD" // the provider has no such data
	NoEvidence   DisputeReason = "NO_EVIDENCE"   // the subject showed nothing for it
)

var disputeReasons = []DisputeReason{DataAccurate, DataNotHeld, NoEvidence}

// DisputeReasons lists the reasons for rejecting a dispute.
func DisputeReasons() []DisputeReason { return append([]DisputeReason(nil), disputeReasons...) }

// DisputeSpec is the argument of RaiseDispute. What exactly is wrong stays off
// the ledger: the claim is a salted commitment to it.
type DisputeSpec struct {
	ClaimCommitment Hash
	ConsentID       ConsentID
	DisputeID       DisputeID
	Kind            DisputeKind
	RequestID       RequestID // the one answer disputed; "": the data as such
}

func (v *DisputeSpec) fields(c *codec) {
	hash(c, "claimCommitment", &v.ClaimCommitment)
	text(c, "consentId", &v.ConsentID, maxID)
	text(c, "disputeId", &v.DisputeID, maxID)
	enum(c, "kind", &v.Kind, disputeKinds)
	optText(c, "requestId", &v.RequestID, maxID+2)
}

// Check implements Checked.
func (v *DisputeSpec) Check() error {
	if v.ClaimCommitment == (Hash{}) {
		return errors.New("claimCommitment: zero")
	}
	if err := v.ConsentID.Check(); err != nil {
		return err
	}
	if v.RequestID != "" {
		if err := v.RequestID.Check(); err != nil {
			return err
		}
	}
	return v.DisputeID.Check()
}

// ResolutionSpec is the argument of ResolveDispute.
type ResolutionSpec struct {
	ConsentID ConsentID
	DisputeID DisputeID
	Outcome   DisputeOutcome
	Reason    DisputeReason // REJECTED only
	// StatementHash is a salted commitment to what the provider told the subject.
	StatementHash Hash
}

func (v *ResolutionSpec) fields(c *codec) {
	text(c, "consentId", &v.ConsentID, maxID)
	text(c, "disputeId", &v.DisputeID, maxID)
	enum(c, "outcome", &v.Outcome, disputeOutcomes)
	optEnum(c, "reason", &v.Reason, disputeReasons)
	hash(c, "statementHash", &v.StatementHash)
}

// Check implements Checked.
func (v *ResolutionSpec) Check() error {
	if err := v.ConsentID.Check(); err != nil {
		return err
	}
	if (v.Outcome == DisputeRejected) != (v.Reason != "") {
		return errors.New("reason: belongs to REJECTED, and REJECTED wants one")
	}
	if v.StatementHash == (Hash{}) {
		return errors.New("statementHash: zero")
	}
	return v.DisputeID.Check()
}

// Resolution is how the provider settled a dispute.
type Resolution struct {
	At            Millis
	ClientKey     Address
	Outcome       DisputeOutcome
	Reason        DisputeReason
	StatementHash Hash
}

func (v *Resolution) fields(c *codec) {
	number(c, "at", &v.At)
	address(c, "clientKey", &v.ClientKey)
	enum(c, "outcome", &v.Outcome, disputeOutcomes)
	optEnum(c, "reason", &v.Reason, disputeReasons)
	hash(c, "statementHash", &v.StatementHash)
}

// Dispute is a subject's objection to data, or to an answer, under a consent. It
// is overdue when block time has passed Due without a resolution, and was settled
// late when the resolution came after it.
type Dispute struct {
	ClaimCommitment Hash
	ConsentID       ConsentID
	Consumer        OrgID
	DisputeID       DisputeID
	Due             Millis
	EvidenceHash    Hash // of a dispute that came by way of the provider
	Kind            DisputeKind
	OrgID           OrgID // member that brought it
	Provider        OrgID
	RaisedAt        Millis
	RequestID       RequestID
	Resolution      *Resolution // nil while open
	Signed          bool        // the subject signed DataDispute itself; the signature is in the transaction
}

func (v *Dispute) fields(c *codec) {
	hash(c, "claimCommitment", &v.ClaimCommitment)
	text(c, "consentId", &v.ConsentID, maxID)
	text(c, "consumer", &v.Consumer, maxID)
	text(c, "disputeId", &v.DisputeID, maxID)
	number(c, "due", &v.Due)
	optHash(c, "evidenceHash", &v.EvidenceHash)
	enum(c, "kind", &v.Kind, disputeKinds)
	text(c, "orgId", &v.OrgID, maxID)
	text(c, "provider", &v.Provider, maxID)
	number(c, "raisedAt", &v.RaisedAt)
	optText(c, "requestId", &v.RequestID, maxID+2)
	optObject(c, "resolution", &v.Resolution)
	optBoolean(c, "signed", &v.Signed)
}

// DisputePage is one page of disputes.
type DisputePage struct {
	Bookmark string
	Disputes []Dispute
}

func (v *DisputePage) fields(c *codec) {
	optText(c, "bookmark", &v.Bookmark, maxBookmark)
	objects(c, "disputes", &v.Disputes, MaxPage)
}

func (*DisputePage) maxSize() int { return maxListSize }
