package record

// The closed lists. Each is only ever appended to: a value that was once on a
// ledger keeps its meaning. Reading or writing a value off its list fails.

// MemberRole says what a member organisation is.
type MemberRole string

const (
	DataProvider          MemberRole = "DATA_PROVIDER"
	DataConsumer          MemberRole = "DATA_CONSUMER"
	CreditReportingAgency MemberRole = "CREDIT_REPORTING_AGENCY"
	Auditor               MemberRole = "AUDITOR"
)

// MemberRoles lists every member role.
func MemberRoles() []MemberRole { return append([]MemberRole(nil), memberRoles...) }

var memberRoles = []MemberRole{DataProvider, DataConsumer, CreditReportingAgency, Auditor}

// ClientRole says what a client key may do for its member.
type ClientRole string

const (
	RoleAdmin       ClientRole = "admin"       // from the ordering config only
	RoleOperator    ClientRole = "operator"    // runs nodes and data keys
	RoleOfficer     ClientRole = "officer"     // answers for products, templates, notices, authorisations
	RoleIntegration ClientRole = "integration" // a system of the member: consents, requests, receipts
	RoleAuditor     ClientRole = "auditor"     // reads
	RoleNode        ClientRole = "node"        // a node's transaction key; given by SetNode only
)

// ClientRoles lists every client role.
func ClientRoles() []ClientRole { return append([]ClientRole(nil), clientRoles...) }

var clientRoles = []ClientRole{RoleAdmin, RoleOperator, RoleOfficer, RoleIntegration, RoleAuditor, RoleNode}

// KeyReason says why a client key ended.
type KeyReason string

const (
	KeyRotated     KeyReason = "ROTATED"
	KeyCompromised KeyReason = "COMPROMISED"
	KeyUnused      KeyReason = "UNUSED"
	KeyConfig      KeyReason = "CONFIG" // left the ordering config, or its node was removed
)

// RevokeReasons lists the reasons an admin may give for revoking a key.
func RevokeReasons() []KeyReason { return append([]KeyReason(nil), keyReasons[:3]...) }

var keyReasons = []KeyReason{KeyRotated, KeyCompromised, KeyUnused, KeyConfig}

// NodeKind says what a node does.
type NodeKind string

const (
	Validator NodeKind = "validator"
	Observer  NodeKind = "observer"
)

var nodeKinds = []NodeKind{Validator, Observer}

// Suite names an HPKE suite of a data key.
type Suite string

// SuiteX25519 is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
const SuiteX25519 Suite = "X25519-HKDF-SHA256-AES-256-GCM"

var suites = []Suite{SuiteX25519}

// ColumnType is the type of a product's column as a template sees it.
type ColumnType string

const (
	TypeBool      ColumnType = "BOOL"
	TypeInt       ColumnType = "INT"
	TypeDouble    ColumnType = "DOUBLE"
	TypeString    ColumnType = "STRING"
	TypeTimestamp ColumnType = "TIMESTAMP"
)

// ColumnTypes lists every column type.
func ColumnTypes() []ColumnType { return append([]ColumnType(nil), columnTypes...) }

var columnTypes = []ColumnType{TypeBool, TypeInt, TypeDouble, TypeString, TypeTimestamp}

// ClassKind says what may leave a column.
type ClassKind string

const (
	ClassNever      ClassKind = "NEVER"
	ClassAnswerOnly ClassKind = "ANSWER_ONLY"
	ClassSumOnly    ClassKind = "SUM_ONLY"
	ClassStatOnly   ClassKind = "STAT_ONLY"
)

var classKinds = []ClassKind{ClassNever, ClassAnswerOnly, ClassSumOnly, ClassStatOnly}

// DataClass is the sensitivity of a column. Class C3, authentication data, is
// on no list: it can be neither published nor consented to.
type DataClass string

const (
	C1 DataClass = "C1"
	C2 DataClass = "C2"
)

var dataClasses = []DataClass{C1, C2}

// Purpose is a purpose of use, a term of the Data Privacy Vocabulary (DPV 2.3,
// finance sector). Coarse on purpose: a rare purpose can identify a person.
type Purpose string

const (
	AntiMoneyLaunderingCompliance Purpose = "AntiMoneyLaunderingCompliance"
	CreditChecking                Purpose = "CreditChecking"
	CreditHistoryEvaluation       Purpose = "CreditHistoryEvaluation"
	CreditLimitDetermination      Purpose = "CreditLimitDetermination"
	CreditScoreEvaluation         Purpose = "CreditScoreEvaluation"
	CustomerDueDiligence          Purpose = "CustomerDueDiligence"
	DebtManagement                Purpose = "DebtManagement"
	FraudManagement               Purpose = "FraudManagement"
	LoanServiceProvision          Purpose = "LoanServiceProvision"
)

// Purposes lists every purpose.
func Purposes() []Purpose { return append([]Purpose(nil), purposes...) }

var purposes = []Purpose{
	AntiMoneyLaunderingCompliance, CreditChecking, CreditHistoryEvaluation, CreditLimitDetermination,
	CreditScoreEvaluation, CustomerDueDiligence, DebtManagement, FraudManagement, LoanServiceProvision,
}

// TemplateKind says what shape of answer a template gives. A consent names the
// kinds it allows as its processing methods.
type TemplateKind string

const (
	Predicate TemplateKind = "PREDICATE"
	Bucket    TemplateKind = "BUCKET"
	Score     TemplateKind = "SCORE"
	// Total is the sum of one column over the banks of a set.
	Total TemplateKind = "TOTAL"
	// CohortKind is statistics over the customers of the banks of a set.
	CohortKind TemplateKind = "COHORT"
)

var templateKinds = []TemplateKind{Predicate, Bucket, Score, Total, CohortKind}

// NoRecord is the output every template lists: the subject has no record here.
const NoRecord = "NO_RECORD"

// Method is a way of authorising a consent.
type Method string

const (
	// ProviderAuthenticated: the provider authenticated its customer in its own session.
	ProviderAuthenticated Method = "PROVIDER_AUTHENTICATED"
	// Wallet: the subject signed the consent's typed data with the principal key.
	Wallet Method = "WALLET"
	// WrittenEvidence: the subject signed a document; the provider countersigns.
	WrittenEvidence Method = "WRITTEN"
)

// Methods lists every method.
func Methods() []Method { return append([]Method(nil), methods...) }

var methods = []Method{ProviderAuthenticated, Wallet, WrittenEvidence}

// ConsentType says in which legal form consent was given.
type ConsentType string

const (
	Separate ConsentType = "SEPARATE"
	Written  ConsentType = "WRITTEN"
)

var consentTypes = []ConsentType{Separate, Written}

// Status is the state of a consent.
type Status string

const (
	AwaitingAuthorisation Status = "AwaitingAuthorisation"
	Authorised            Status = "Authorised"
	Rejected              Status = "Rejected"
	Revoked               Status = "Revoked"
	Expired               Status = "Expired"
)

// Statuses lists every status.
func Statuses() []Status { return append([]Status(nil), statuses...) }

var statuses = []Status{AwaitingAuthorisation, Authorised, Rejected, Revoked, Expired}

// Initiator says who brought a consent into its state.
type Initiator string

const (
	BySubject   Initiator = "SUBJECT"
	ByParty     Initiator = "PARTY"
	ByAuthority Initiator = "AUTHORITY"
	ByTime      Initiator = "TIME"
)

var initiators = []Initiator{BySubject, ByParty, ByAuthority, ByTime}

// Reason says why a consent is in its state.
type Reason string

const (
	ReasonCreated      Reason = "CREATED"
	ReasonAuthorised   Reason = "AUTHORISED"
	ReasonRefused      Reason = "REFUSED"       // the subject said no
	ReasonWithdrawn    Reason = "WITHDRAWN"     // the subject changed their mind
	ReasonPurposeEnded Reason = "PURPOSE_ENDED" // no longer needed
	ReasonMistake      Reason = "MISTAKE"       // should not have been given
	ReasonMisuse       Reason = "MISUSE"        // suspected misuse
	ReasonSuperseded   Reason = "SUPERSEDED"    // a newer version was authorised
	ReasonTimeElapsed  Reason = "TIME_ELAPSED"
	ReasonEvidence     Reason = "EVIDENCE"      // written evidence is there, the countersignature is not
	ReasonServiceEnded Reason = "SERVICE_ENDED" // a party no longer offers or needs it
	ReasonUnlawful     Reason = "UNLAWFUL"      // an authority found that it must not stand
)

var reasons = []Reason{
	ReasonCreated, ReasonAuthorised, ReasonRefused, ReasonWithdrawn, ReasonPurposeEnded,
	ReasonMistake, ReasonMisuse, ReasonSuperseded, ReasonTimeElapsed,
	ReasonEvidence, ReasonServiceEnded, ReasonUnlawful,
}

// RevocationReasons lists the reasons a subject's revocation may give.
func RevocationReasons() []Reason { return RevocationReasonsOf(BySubject) }

// RevocationReasonsOf lists the reasons that an initiator may give; nil for one
// that cannot revoke.
func RevocationReasonsOf(by Initiator) []Reason {
	switch by {
	case BySubject:
		return []Reason{ReasonWithdrawn, ReasonPurposeEnded, ReasonMistake, ReasonMisuse}
	case ByParty:
		return []Reason{ReasonPurposeEnded, ReasonMistake, ReasonMisuse, ReasonServiceEnded}
	case ByAuthority:
		return []Reason{ReasonMistake, ReasonMisuse, ReasonUnlawful}
	}
	return nil
}

// ErasureStatus is how far the erasure of the off-ledger parts has come. The
// zero value means that nobody asked.
type ErasureStatus string

const (
	ErasureRequested ErasureStatus = "REQUESTED"
	Erased           ErasureStatus = "ERASED"
)

var erasureStatuses = []ErasureStatus{ErasureRequested, Erased}

// Outcome is the decision on an access request.
type Outcome string

const (
	Permit Outcome = "PERMIT"
	Deny   Outcome = "DENY"
)

var outcomes = []Outcome{Permit, Deny}

// ReceiptOutcome is what became of a permitted request.
type ReceiptOutcome string

const (
	Answered ReceiptOutcome = "ANSWERED"
	Refused  ReceiptOutcome = "REFUSED"
	Withheld ReceiptOutcome = "WITHHELD"
	Overdue  ReceiptOutcome = "OVERDUE"
)

// ReceiptOutcomes lists every receipt outcome.
func ReceiptOutcomes() []ReceiptOutcome { return append([]ReceiptOutcome(nil), receiptOutcomes...) }

var receiptOutcomes = []ReceiptOutcome{Answered, Refused, Withheld, Overdue}

// ContactKind is a way to reach a subject; sealed parts only.
type ContactKind string

const (
	Email ContactKind = "EMAIL"
	Phone ContactKind = "PHONE"
	Post  ContactKind = "POST"
)

var contactKinds = []ContactKind{Email, Phone, Post}
