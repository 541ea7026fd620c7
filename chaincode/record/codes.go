package record

import (
	"errors"
	"fmt"
	"strings"
)

// Code is the one word an outcome is known by, on the ledger and across the
// API. The list is closed and appended only; a code never changes its meaning.
type Code string

const (
	OK Code = "OK"

	// Given by the node before or around a contract call.
	CodeDuplicate        Code = "DUPLICATE"          // the transaction is already in a recent block
	CodeUnknownFunction  Code = "UNKNOWN_FUNCTION"   // no such contract or function, or another argument count
	CodeReadOnlyFunction Code = "READ_ONLY_FUNCTION" // a transaction named a read function
	CodePanic            Code = "PANIC"              // the contract panicked: a defect of ours
	CodePruned           Code = "PRUNED"             // it read an access record that is older than every node keeps

	// Given by a contract that refuses a call.
	CodeBadRequest       Code = "BAD_REQUEST"
	CodeUnknownKey       Code = "UNKNOWN_KEY"
	CodeKeyRevoked       Code = "KEY_REVOKED"
	CodeKeyExpired       Code = "KEY_EXPIRED"
	CodeForbidden        Code = "FORBIDDEN"
	CodeNotFound         Code = "NOT_FOUND"
	CodeAlreadyExists    Code = "ALREADY_EXISTS"
	CodeWrongState       Code = "WRONG_STATE"
	CodeLimitExceeded    Code = "LIMIT_EXCEEDED"
	CodeBadSignature     Code = "BAD_SIGNATURE"
	CodeMethodNotAllowed Code = "METHOD_NOT_ALLOWED"
	CodeConsentUnknown   Code = "CONSENT_UNKNOWN"
	CodeMemberSuspended  Code = "MEMBER_SUSPENDED"  // by an authority
	CodeKeyNotYetValid   Code = "KEY_NOT_YET_VALID" // registered for later
	CodeProposalStale    Code = "PROPOSAL_STALE"    // made for a config that is no longer in force
	CodeDowngrade        Code = "PROTOCOL_DOWNGRADE"
	CodeDuplicateKey     Code = "DUPLICATE_KEY" // two validators of a config share a key, or nodes of two members a host key

	// Decisions on an access request. Some also refuse a consent that could
	// never be used.
	CodePermit               Code = "PERMIT"
	CodeConsentNotAuthorised Code = "CONSENT_NOT_AUTHORISED"
	CodeConsentRejected      Code = "CONSENT_REJECTED"
	CodeConsentRevoked       Code = "CONSENT_REVOKED"
	CodeConsentExpired       Code = "CONSENT_EXPIRED"
	CodeNotYetValid          Code = "NOT_YET_VALID"
	CodePurposeNotAllowed    Code = "PURPOSE_NOT_ALLOWED"
	CodeTemplateNotAllowed   Code = "TEMPLATE_NOT_ALLOWED"
	CodeTemplateRetired      Code = "TEMPLATE_RETIRED"
	CodeProductRetired       Code = "PRODUCT_RETIRED"
	CodeParameterNotAllowed  Code = "PARAMETER_NOT_ALLOWED"
	CodeUsesExhausted        Code = "USES_EXHAUSTED"
	CodeFrequencyExceeded    Code = "FREQUENCY_EXCEEDED"
	CodeNoEpoch              Code = "NO_EPOCH"
	CodePurposeDeclined      Code = "PURPOSE_DECLINED" // the subject was shown the purpose and said no
	CodeProductSuspended     Code = "PRODUCT_SUSPENDED"
	CodeTemplateSuspended    Code = "TEMPLATE_SUSPENDED"
	CodeNoPledge             Code = "NO_PLEDGE"         // of a set: this bank has not committed itself to its figure
	CodeSetIncomplete        Code = "SET_INCOMPLETE"    // of a set: another bank's seat was denied
	CodeSetTooClose          Code = "SET_TOO_CLOSE"     // of a set: with earlier totals it would show one bank's figure
	CodeEpsilonExhausted     Code = "EPSILON_EXHAUSTED" // of a cohort: this bank's account for the year does not allow it
)

// Codes lists every code.
func Codes() []Code { return append([]Code(nil), codes...) }

var codes = []Code{
	OK, CodeDuplicate, CodeUnknownFunction, CodeReadOnlyFunction, CodePanic,
	CodeBadRequest, CodeUnknownKey, CodeKeyRevoked, CodeKeyExpired, CodeForbidden, CodeNotFound, CodeAlreadyExists,
	CodeWrongState, CodeLimitExceeded, CodeBadSignature, CodeMethodNotAllowed, CodeConsentUnknown,
	CodePermit, CodeConsentNotAuthorised, CodeConsentRejected, CodeConsentRevoked, CodeConsentExpired, CodeNotYetValid,
	CodePurposeNotAllowed, CodeTemplateNotAllowed, CodeTemplateRetired, CodeProductRetired, CodeParameterNotAllowed,
	CodeUsesExhausted, CodeFrequencyExceeded, CodeNoEpoch,
	CodeMemberSuspended, CodeKeyNotYetValid, CodeProposalStale, CodeDowngrade, CodeDuplicateKey, CodePruned,
	CodePurposeDeclined, CodeProductSuspended, CodeTemplateSuspended,
	CodeNoPledge, CodeSetIncomplete, CodeSetTooClose, CodeEpsilonExhausted,
}

// decisionCodes are the codes an access request can be decided with.
var decisionCodes = []Code{
	CodePermit, CodeConsentNotAuthorised, CodeConsentRejected, CodeConsentRevoked, CodeConsentExpired, CodeNotYetValid,
	CodePurposeNotAllowed, CodeTemplateNotAllowed, CodeTemplateRetired, CodeProductRetired, CodeParameterNotAllowed,
	CodeUsesExhausted, CodeFrequencyExceeded, CodeNoEpoch,
	CodePurposeDeclined, CodeProductSuspended, CodeTemplateSuspended, CodeMemberSuspended,
	CodeNoPledge, CodeSetIncomplete, CodeSetTooClose, CodeEpsilonExhausted,
}

// DecisionCodes lists the codes an access request can be decided with.
func DecisionCodes() []Code { return append([]Code(nil), decisionCodes...) }

// Refusal is a call that a contract refuses: nothing is written, and only the
// code reaches the ledger. The text is for people and holds no argument.
type Refusal struct {
	Code   Code
	Detail string
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Detail }

// Refuse makes a refusal. Its text is the code, ": " and the formatted detail,
// which names fields and states, never what the caller sent.
func Refuse(code Code, format string, args ...any) error {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of a refusal, OK for nil. Any other error has no code: it
// means that the state could not be read, not that the call was refused.
func CodeOf(err error) (Code, bool) {
	if err == nil {
		return OK, true
	}
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code, true
	}
	return CodeOfText(err.Error())
}

// CodeOfText is the code at the beginning of a refusal's text, for those who
// hold only the message of a response.
func CodeOfText(text string) (Code, bool) {
	word, _, found := strings.Cut(text, ": ")
	if !found || !listed(Code(word), codes) {
		return "", false
	}
	return Code(word), true
}
