package record

import "errors"

// AnswerClaim says what a lender finds wrong with an answer it was given.
type AnswerClaim string

const (
	ClaimMismatch    AnswerClaim = "MISMATCH"     // what was opened is not what the receipt commits to
	ClaimImplausible AnswerClaim = "IMPLAUSIBLE"  // it contradicts what the lender can show
	ClaimNotReceived AnswerClaim = "NOT_RECEIVED" // the receipt says ANSWERED, and nothing came
	ClaimNotAnchored AnswerClaim = "NOT_ANCHORED" // it is not the one that the provider anchored for the epoch
)

// AnswerClaims lists every claim.
func AnswerClaims() []AnswerClaim { return append([]AnswerClaim(nil), answerClaims...) }

var answerClaims = []AnswerClaim{ClaimMismatch, ClaimImplausible, ClaimNotReceived, ClaimNotAnchored}

// Finding is an authority's verdict on a claim.
type Finding string

const (
	Upheld    Finding = "UPHELD"
	Dismissed Finding = "DISMISSED"
	Undecided Finding = "UNDECIDED" // it cannot be told from what was shown
)

// Findings lists every finding.
func Findings() []Finding { return append([]Finding(nil), findings...) }

var findings = []Finding{Upheld, Dismissed, Undecided}

// AnswerDisputeSpec is the argument of DisputeAnswer. The opening, an answer with
// its salt, goes to the authority alone and never on the ledger, where it would be
// a person's figure for everybody to read.
type AnswerDisputeSpec struct {
	Authority   OrgID // an AUDITOR
	Claim       AnswerClaim
	OpeningHash Hash // AnswerBody.OpeningHash of what the authority gets; zero with NOT_RECEIVED
	RequestID   RequestID
}

func (v *AnswerDisputeSpec) fields(c *codec) {
	text(c, "authority", &v.Authority, maxID)
	enum(c, "claim", &v.Claim, answerClaims)
	optHash(c, "openingHash", &v.OpeningHash)
	text(c, "requestId", &v.RequestID, maxID+2)
}

// Check implements Checked.
func (v *AnswerDisputeSpec) Check() error {
	if err := v.Authority.Check(); err != nil {
		return err
	}
	if (v.Claim == ClaimNotReceived) != (v.OpeningHash == Hash{}) {
		return errors.New("openingHash: wanted with every claim but NOT_RECEIVED")
	}
	return v.RequestID.Check()
}

// VerdictSpec is the argument of JudgeAnswer.
type VerdictSpec struct {
	Finding   Finding
	RequestID RequestID
	// StatementHash is a salted commitment to the authority's reasons.
	StatementHash Hash
}

func (v *VerdictSpec) fields(c *codec) {
	enum(c, "finding", &v.Finding, findings)
	text(c, "requestId", &v.RequestID, maxID+2)
	hash(c, "statementHash", &v.StatementHash)
}

// Check implements Checked.
func (v *VerdictSpec) Check() error {
	if v.StatementHash == (Hash{}) {
		return errors.New("statementHash: zero")
	}
	return v.RequestID.Check()
}

// Verdict is what the authority found.
type Verdict struct {
	At            Millis
	ClientKey     Address
	Finding       Finding
	StatementHash Hash
}

func (v *Verdict) fields(c *codec) {
	number(c, "at", &v.At)
	address(c, "clientKey", &v.ClientKey)
	enum(c, "finding", &v.Finding, findings)
	hash(c, "statementHash", &v.StatementHash)
}

// AnswerDispute is a lender's objection to one answer, judged by an authority
// that opens it off the ledger. There is at most one for a request.
type AnswerDispute struct {
	AnchorRoot       Hash // NOT_ANCHORED only: what the opening is held against
	Authority        OrgID
	Claim            AnswerClaim
	ClientKey        Address
	ConsentID        ConsentID
	Consumer         OrgID
	OpeningHash      Hash
	Provider         OrgID
	RaisedAt         Millis
	RequestID        RequestID
	ResultCommitment Hash     // the receipt's
	Verdict          *Verdict // nil while open
}

func (v *AnswerDispute) fields(c *codec) {
	optHash(c, "anchorRoot", &v.AnchorRoot)
	text(c, "authority", &v.Authority, maxID)
	enum(c, "claim", &v.Claim, answerClaims)
	address(c, "clientKey", &v.ClientKey)
	text(c, "consentId", &v.ConsentID, maxID)
	text(c, "consumer", &v.Consumer, maxID)
	optHash(c, "openingHash", &v.OpeningHash)
	text(c, "provider", &v.Provider, maxID)
	number(c, "raisedAt", &v.RaisedAt)
	text(c, "requestId", &v.RequestID, maxID+2)
	hash(c, "resultCommitment", &v.ResultCommitment)
	optObject(c, "verdict", &v.Verdict)
}

// AnswerDisputePage is one page of disputed answers.
type AnswerDisputePage struct {
	Bookmark string
	Disputes []AnswerDispute
}

func (v *AnswerDisputePage) fields(c *codec) {
	optText(c, "bookmark", &v.Bookmark, maxBookmark)
	objects(c, "disputes", &v.Disputes, MaxPage)
}

func (*AnswerDisputePage) maxSize() int { return maxListSize }
