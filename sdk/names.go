package sdk

import "github.com/assent-network/assent/chaincode/record"

// The words with which a consent's life is told. What each means stands in
// chaincode/record.
type (
	DisputeID      = record.DisputeID
	DisputeKind    = record.DisputeKind
	DisputeOutcome = record.DisputeOutcome
	DisputeReason  = record.DisputeReason
	AnswerFinding  = record.Finding
)

// Who may end a consent besides time.
const (
	BySubject   = record.BySubject
	ByParty     = record.ByParty
	ByAuthority = record.ByAuthority
)

// ClaimNotReceived is the one claim about an answer that needs no opening.
const ClaimNotReceived = record.ClaimNotReceived

// ClaimNotAnchored says that an answer is not the one that the provider anchored.
const ClaimNotAnchored = record.ClaimNotAnchored

// NewDisputeID makes a dispute id of 16 random bytes.
func NewDisputeID(random [16]byte) DisputeID { return record.NewDisputeID(random) }

// RevocationReasons lists the reasons that an initiator may give for ending a
// consent; nil for one that cannot.
func RevocationReasons(by Initiator) []Reason { return record.RevocationReasonsOf(by) }
