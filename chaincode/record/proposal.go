package record

import (
	"encoding/base64"
	"errors"
	"fmt"
)

const (
	// MaxConfigBytes bounds the encoding of an ordering config.
	MaxConfigBytes = 128 << 10

	maxSummaryLines = 64
	maxSummaryLine  = 256
	maxProposal     = 256 << 10
)

// ProposalStatus is the state of a proposed config.
type ProposalStatus string

const (
	ProposalOpen      ProposalStatus = "OPEN"
	ProposalApplied   ProposalStatus = "APPLIED"   // it came into force
	ProposalWithdrawn ProposalStatus = "WITHDRAWN" // by the member that made it
	// ProposalRefused: it had its approvals, and the nodes of so many validators
	// cannot put it in force that the others make no quorum.
	ProposalRefused ProposalStatus = "REFUSED"
	// ProposalStale: another config came into force in its place. Never stored:
	// read functions say it of an open proposal whose turn has passed.
	ProposalStale ProposalStatus = "STALE"
)

// ProposalStatuses lists every status.
func ProposalStatuses() []ProposalStatus { return append([]ProposalStatus(nil), proposalStatuses...) }

var proposalStatuses = []ProposalStatus{ProposalOpen, ProposalApplied, ProposalWithdrawn, ProposalRefused, ProposalStale}

// ProposalSpec is the argument of Propose: the next ordering config, in the exact
// bytes that the ordering level hashes, with the first approval.
type ProposalSpec struct {
	Admin     Address // admin key of the caller's member that signed
	Config    []byte  // at most MaxConfigBytes; in JSON standard base64
	Signature Blob    // over ApprovalDigest
	// Summary tells people what changes and why, a line each; 1 to 64 lines of at
	// most 256 bytes. Nobody may rely on it: approvers compare the configs.
	Summary []string
}

func (v *ProposalSpec) fields(c *codec) {
	address(c, "admin", &v.Admin)
	base64Bytes(c, "config", &v.Config, MaxConfigBytes)
	blob(c, "signature", &v.Signature, 65)
	texts(c, "summary", &v.Summary, maxSummaryLines, maxSummaryLine)
}

func (*ProposalSpec) maxSize() int { return maxProposal }

// Check implements Checked.
func (v *ProposalSpec) Check() error {
	if len(v.Config) == 0 {
		return errors.New("config: empty")
	}
	if len(v.Summary) == 0 {
		return errors.New("summary: want at least one line")
	}
	for i, line := range v.Summary {
		if err := checkTitle(fmt.Sprintf("summary line %d", i), line); err != nil {
			return err
		}
	}
	return nil
}

// ApprovalSpec is the argument of Approve.
type ApprovalSpec struct {
	Admin      Address // admin key of the caller's member that signed
	ConfigHash Hash    // names the proposal
	Reason     string  // why in spite of what the preflight warned of; at most 256 bytes; "": none
	Signature  Blob    // over ApprovalDigest
}

func (v *ApprovalSpec) fields(c *codec) {
	address(c, "admin", &v.Admin)
	hash(c, "configHash", &v.ConfigHash)
	optText(c, "reason", &v.Reason, maxSummaryLine)
	blob(c, "signature", &v.Signature, 65)
}

// Check implements Checked.
func (v *ApprovalSpec) Check() error {
	if v.ConfigHash == (Hash{}) {
		return errors.New("configHash: zero")
	}
	if v.Reason != "" {
		return checkTitle("reason", v.Reason)
	}
	return nil
}

// Approval is one member's signature under a proposed config.
type Approval struct {
	Admin     Address
	At        Millis
	OrgID     OrgID
	Reason    string // why in spite of warnings, in the approver's words; "": none
	Signature Blob   // 65 bytes, v 0 or 1
}

func (v *Approval) fields(c *codec) {
	address(c, "admin", &v.Admin)
	number(c, "at", &v.At)
	text(c, "orgId", &v.OrgID, maxID)
	optText(c, "reason", &v.Reason, maxSummaryLine)
	blob(c, "signature", &v.Signature, 65)
}

// RefusalSpec is the argument of Refuse: why a node cannot put an approved config
// in force.
type RefusalSpec struct {
	ConfigHash Hash   // names the proposal
	Reason     string // the node program's words, at most 256 bytes
}

func (v *RefusalSpec) fields(c *codec) {
	hash(c, "configHash", &v.ConfigHash)
	text(c, "reason", &v.Reason, maxSummaryLine)
}

// Check implements Checked.
func (v *RefusalSpec) Check() error {
	if v.ConfigHash == (Hash{}) {
		return errors.New("configHash: zero")
	}
	return checkTitle("reason", v.Reason)
}

// ProposalRefusal is the word of a member's node that it cannot put a proposal
// that has its approvals in force.
type ProposalRefusal struct {
	At     Millis
	OrgID  OrgID
	Reason string
}

func (v *ProposalRefusal) fields(c *codec) {
	number(c, "at", &v.At)
	text(c, "orgId", &v.OrgID, maxID)
	text(c, "reason", &v.Reason, maxSummaryLine)
}

// Proposal is a config that a member proposes to follow the one in force. Its
// bytes are the ProposedConfig of the same hash.
type Proposal struct {
	AppliedAt   Millis
	Approvals   []Approval // strictly ascending by OrgID, the proposer's among them
	ConfigHash  Hash
	ConfigSeq   uint64 // of the proposed config
	Needed      uint64 // approvals that bring it into force
	ProposedAt  Millis
	ProposedBy  Address // client key
	Proposer    OrgID
	Refusals    []ProposalRefusal // strictly ascending by OrgID
	RefusedAt   Millis            // when they were too many
	Status      ProposalStatus
	Summary     []string
	WithdrawnAt Millis
}

func (v *Proposal) fields(c *codec) {
	optNumber(c, "appliedAt", &v.AppliedAt)
	objects(c, "approvals", &v.Approvals, maxMembers)
	hash(c, "configHash", &v.ConfigHash)
	number(c, "configSeq", &v.ConfigSeq)
	number(c, "needed", &v.Needed)
	number(c, "proposedAt", &v.ProposedAt)
	address(c, "proposedBy", &v.ProposedBy)
	text(c, "proposer", &v.Proposer, maxID)
	optObjects(c, "refusals", &v.Refusals, maxMembers)
	optNumber(c, "refusedAt", &v.RefusedAt)
	enum(c, "status", &v.Status, proposalStatuses)
	texts(c, "summary", &v.Summary, maxSummaryLines, maxSummaryLine)
	optNumber(c, "withdrawnAt", &v.WithdrawnAt)
}

func (*Proposal) maxSize() int { return maxProposal }

// EffectiveStatus is the status while the config with sequence inForce is in
// force.
func (v *Proposal) EffectiveStatus(inForce uint64) ProposalStatus {
	if v.Status == ProposalOpen && v.ConfigSeq <= inForce {
		return ProposalStale
	}
	return v.Status
}

// Enough reports whether the approvals suffice.
func (v *Proposal) Enough() bool { return uint64(len(v.Approvals)) >= v.Needed }

// ApprovalOf returns the approval of a member, or nil.
func (v *Proposal) ApprovalOf(org OrgID) *Approval {
	for i := range v.Approvals {
		if v.Approvals[i].OrgID == org {
			return &v.Approvals[i]
		}
	}
	return nil
}

// RefusalOf returns the refusal of a member, or nil.
func (v *Proposal) RefusalOf(org OrgID) *ProposalRefusal {
	for i := range v.Refusals {
		if v.Refusals[i].OrgID == org {
			return &v.Refusals[i]
		}
	}
	return nil
}

// Ended reports whether the proposal can be made anew: nothing more comes of it.
func (v *Proposal) Ended() bool { return v.Status == ProposalWithdrawn || v.Status == ProposalRefused }

// ApprovalsNeeded is how many of a number of members must approve a config: more
// than two thirds.
func ApprovalsNeeded(members int) uint64 { return uint64(2*members/3 + 1) }

// ProposedConfig holds the bytes of a proposed config.
type ProposedConfig struct{ Config []byte }

func (v *ProposedConfig) fields(c *codec) { base64Bytes(c, "config", &v.Config, MaxConfigBytes) }

func (*ProposedConfig) maxSize() int { return maxProposal }

// ProposalCount is how many configs a member has proposed for one sequence.
type ProposalCount struct {
	ConfigSeq uint64
	OrgID     OrgID
	Proposals uint64
}

func (v *ProposalCount) fields(c *codec) {
	number(c, "configSeq", &v.ConfigSeq)
	text(c, "orgId", &v.OrgID, maxID)
	number(c, "proposals", &v.Proposals)
}

// MaxProposals bounds how many configs a member may propose for one sequence.
const MaxProposals = 16

// ProposalPage is what ListProposals returns.
type ProposalPage struct {
	Bookmark  string
	Proposals []Proposal
}

func (v *ProposalPage) fields(c *codec) {
	optText(c, "bookmark", &v.Bookmark, maxBookmark)
	objects(c, "proposals", &v.Proposals, MaxPage)
}

func (*ProposalPage) maxSize() int { return maxListSize }

// base64Bytes is a byte string of any length up to max, in standard base64 with
// padding and without line ends.
func base64Bytes(c *codec, name string, v *[]byte, max int) {
	if c.field(name, false, true) {
		base64Value(c, name, v, max)
	}
}

func optBase64Bytes(c *codec, name string, v *[]byte, max int) {
	if !c.field(name, true, len(*v) != 0) {
		return
	}
	base64Value(c, name, v, max)
	if len(*v) == 0 {
		c.failField(name, "left out when empty")
	}
}

func base64Value(c *codec, name string, v *[]byte, max int) {
	if !c.reading {
		if len(*v) > max {
			c.failField(name, "within its length limit")
			return
		}
		c.writeText(name, base64.StdEncoding.EncodeToString(*v))
		return
	}
	text := c.readText(name, base64.StdEncoding.EncodedLen(max))
	if c.err != nil {
		return
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	// The decoder skips line ends; then the text is longer than its content.
	if err != nil || len(b) > max || base64.StdEncoding.EncodedLen(len(b)) != len(text) {
		c.failField(name, "as standard base64 within its length limit")
		return
	}
	if len(b) != 0 {
		*v = b
	}
}
