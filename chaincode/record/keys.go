package record

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// State keys are "<contract>/<rest>". The second segment decides how a row is
// kept: LogSegment rows are append-only and outside the trie, IndexSegment rows
// are for listing and outside the trie, every other row is a mutable record
// with a trie leaf.
const (
	LogSegment   = "log"
	IndexSegment = "ix"
)

// Names of the contracts: the first segment of every key they may write.
const (
	ContractMembership = "membership"
	ContractCatalog    = "catalog"
	ContractConsent    = "consent"
	ContractAccess     = "access"
)

// KeyKind is how a row is kept.
type KeyKind uint8

const (
	KeyRecord KeyKind = iota // mutable, with a trie leaf
	KeyLog                   // append-only, outside the trie
	KeyIndex                 // for listing, outside the trie
)

// SplitKey takes a state key apart: contract, the rest after the first slash,
// and how the row is kept.
func SplitKey(key string) (contract, rest string, kind KeyKind, err error) {
	contract, rest, found := strings.Cut(key, "/")
	if !found || contract == "" || rest == "" {
		return "", "", 0, fmt.Errorf("state key: want contract/rest")
	}
	segment, _, deeper := strings.Cut(rest, "/")
	switch {
	case deeper && segment == LogSegment:
		kind = KeyLog
	case deeper && segment == IndexSegment:
		kind = KeyIndex
	}
	return contract, rest, kind, nil
}

// Keys of the membership contract.

const ConfigKey = ContractMembership + "/config"

func MemberKey(org OrgID) string { return "membership/member/" + string(org) }
func ClientKey(org OrgID, key Address) string {
	return ClientPrefix(org) + FormatAddress(key)
}
func NodeKey(org OrgID, id NodeID) string       { return "membership/node/" + string(org) + "/" + string(id) }
func HostOwnerKey(hostKey Blob) string          { return "membership/host/" + hex.EncodeToString(hostKey) }
func DataKeyKey(org OrgID, id DataKeyID) string { return DataKeyPrefix(org) + string(id) }

func MemberPrefix() string { return "membership/member/" }

// ProposalPrefix begins the keys of proposals.
const ProposalPrefix = "membership/proposal/"

func ProposalKey(configHash Hash) string       { return ProposalPrefix + configHash.Hex() }
func ProposedConfigKey(configHash Hash) string { return "membership/log/config/" + configHash.Hex() }
func ProposalCountKey(org OrgID) string        { return "membership/proposals/" + string(org) }

// ProposalIndex lists the proposals for a sequence.
func ProposalIndex(seq uint64, configHash Hash) string {
	return ProposalIndexPrefix(seq) + configHash.Hex()
}
func ProposalIndexPrefix(seq uint64) string {
	return "membership/ix/proposal/" + strconv.FormatUint(seq, 10) + "/"
}

func ClientPrefix(org OrgID) string  { return "membership/client/" + string(org) + "/" }
func NodePrefix() string             { return "membership/node/" }
func DataKeyPrefix(org OrgID) string { return "membership/datakey/" + string(org) + "/" }

// Keys of the catalog contract.

func NoticeKey(hash Hash) string       { return "catalog/notice/" + hash.Hex() }
func ProductKey(id ProductID) string   { return "catalog/product/" + string(id) }
func TemplateKey(id TemplateID) string { return "catalog/template/" + string(id) }
func EpochKey(id ProductID) string     { return "catalog/epoch/" + string(id) }

// AnchorKey is where the root of a template's answers in one epoch stands.
func AnchorKey(id TemplateID, epoch uint64, params ParamValues) string {
	return AnchorPrefix(id, epoch) + params.Digest().Hex()
}
func AnchorPrefix(id TemplateID, epoch uint64) string {
	return "catalog/anchor/" + string(id) + "/" + strconv.FormatUint(epoch, 10) + "/"
}
func TemplateProposalKey(provider OrgID, id TemplateID) string {
	return TemplateProposalPrefix(provider) + string(id)
}
func TemplateProposalPrefix(provider OrgID) string {
	return "catalog/proposal/" + string(provider) + "/"
}
func ProductPrefix() string { return "catalog/product/" }
func ProductIndex(provider OrgID, id ProductID) string {
	return ProductIndexPrefix(provider) + string(id)
}
func ProductIndexPrefix(provider OrgID) string { return "catalog/ix/product/" + string(provider) + "/" }
func TemplateIndex(product ProductID, id TemplateID) string {
	return TemplateIndexPrefix(product) + string(id)
}
func TemplateIndexPrefix(product ProductID) string {
	return "catalog/ix/template/" + string(product) + "/"
}

// Keys of the consent contract.

func ConsentKey(id ConsentID) string { return "consent/rec/" + string(id) }

// Rows that go with a consent: how it ended, what was deleted, erased, disputed.
func TerminationKey(id ConsentID) string { return "consent/termination/" + string(id) }
func DeletionKey(id ConsentID) string    { return "consent/log/deletion/" + string(id) }
func ErasureKey(id ConsentID) string     { return "consent/erasure/" + string(id) }
func DisputeKey(consent ConsentID, id DisputeID) string {
	return "consent/dispute/" + string(consent) + "/" + string(id)
}

// TerminationIndex lists the endings that a party has not acknowledged, oldest first.
func TerminationIndex(party OrgID, endedAt Millis, id ConsentID) string {
	return TerminationIndexPrefix(party) + TimeSegment(endedAt) + "/" + string(id)
}
func TerminationIndexPrefix(party OrgID) string {
	return "consent/ix/termination/" + string(party) + "/"
}

// DeletionIndex lists the endings after which a lender has yet to destroy
// answers, the first due first.
func DeletionIndex(consumer OrgID, due Millis, id ConsentID) string {
	return DeletionIndexPrefix(consumer) + TimeSegment(due) + "/" + string(id)
}
func DeletionIndexPrefix(consumer OrgID) string {
	return "consent/ix/deletion/" + string(consumer) + "/"
}

// ErasureIndex lists the erasures that a holder has not signed, the first due first.
func ErasureIndex(holder OrgID, due Millis, id ConsentID) string {
	return ErasureIndexPrefix(holder) + TimeSegment(due) + "/" + string(id)
}
func ErasureIndexPrefix(holder OrgID) string { return "consent/ix/erasure/" + string(holder) + "/" }

// DisputeIndex lists a consent's disputes, oldest first; DisputeDueIndex the open
// ones of a provider, the first due first. Both end in the two ids of the
// dispute, joined by a point.
func DisputeIndex(consent ConsentID, raisedAt Millis, id DisputeID) string {
	return DisputeIndexPrefix(consent) + TimeSegment(raisedAt) + "/" + string(consent) + "." + string(id)
}
func DisputeIndexPrefix(consent ConsentID) string {
	return "consent/ix/dispute/" + string(consent) + "/"
}
func DisputeDueIndex(provider OrgID, due Millis, consent ConsentID, id DisputeID) string {
	return DisputeDueIndexPrefix(provider) + TimeSegment(due) + "/" + string(consent) + "." + string(id)
}
func DisputeDueIndexPrefix(provider OrgID) string {
	return "consent/ix/disputedue/" + string(provider) + "/"
}

// DisputeKeyOf is the key of the dispute that an index row's last segment names.
func DisputeKeyOf(ids string) string {
	consent, id, _ := strings.Cut(ids, ".")
	return DisputeKey(ConsentID(consent), DisputeID(id))
}

// ConsentIndex lists a party's consents by status, oldest first.
func ConsentIndex(party OrgID, status Status, createdAt Millis, id ConsentID) string {
	return ConsentIndexPrefix(party, status) + TimeSegment(createdAt) + "/" + string(id)
}
func ConsentIndexPrefix(party OrgID, status Status) string {
	if status == "" {
		return "consent/ix/party/" + string(party) + "/"
	}
	return "consent/ix/party/" + string(party) + "/" + string(status) + "/"
}
func PrincipalIndex(key Address, id ConsentID) string {
	return PrincipalIndexPrefix(key) + string(id)
}
func PrincipalIndexPrefix(key Address) string {
	return "consent/ix/principal/" + FormatAddress(key) + "/"
}

// Keys of the access contract.

func UsageKey(id ConsentID) string   { return "access/usage/" + string(id) }
func RequestKey(id RequestID) string { return "access/log/request/" + string(id) }
func ReceiptKey(id RequestID) string { return "access/log/receipt/" + string(id) }

// PledgeKey is where a bank's pledge for a consent, its template and an epoch stands.
func PledgeKey(consent ConsentID, template TemplateID, epoch uint64) string {
	return "access/pledge/" + string(consent) + "/" + string(template) + "/" + strconv.FormatUint(epoch, 10)
}
func ExposureKey(id Hash) string { return "access/exposure/" + id.Hex() }
func ExposureHistoryKey(principalKey Address) string {
	return "access/exposures/" + FormatAddress(principalKey)
}

// CohortKey is where a permitted request for statistics stands; EpsilonKey what such
// requests took from a product in a year.
func CohortKey(id Hash) string { return "access/cohort/" + id.Hex() }
func EpsilonKey(product ProductID, year uint64) string {
	return "access/epsilon/" + string(product) + "/" + strconv.FormatUint(year, 10)
}

func AnswerDisputeKey(id RequestID) string { return "access/dispute/" + string(id) }

// AnswerDisputeIndex lists the answers an authority has yet to judge, oldest first.
func AnswerDisputeIndex(authority OrgID, raisedAt Millis, id RequestID) string {
	return AnswerDisputeIndexPrefix(authority) + TimeSegment(raisedAt) + "/" + string(id)
}
func AnswerDisputeIndexPrefix(authority OrgID) string {
	return "access/ix/dispute/" + string(authority) + "/"
}

// RequestConsentIndex lists a consent's requests in the order of its usage chain.
func RequestConsentIndex(id ConsentID, sequence uint64, request RequestID) string {
	n := strconv.FormatUint(sequence, 10)
	return RequestConsentPrefix(id) + "0000000000"[min(len(n), 10):] + n + "/" + string(request)
}
func RequestConsentPrefix(id ConsentID) string { return "access/ix/consent/" + string(id) + "/" }

// RequestPartyIndex lists the requests a party made or has to answer, oldest first.
func RequestPartyIndex(party OrgID, at Millis, request RequestID) string {
	return RequestPartyPrefix(party) + TimeSegment(at) + "/" + string(request)
}
func RequestPartyPrefix(party OrgID) string { return "access/ix/party/" + string(party) + "/" }

// TimeSegment is a time as index keys write it; it orders as text, for 16 digits
// hold MaxInt.
func TimeSegment(t Millis) string {
	n := strconv.FormatInt(t, 10)
	return "0000000000000000"[min(len(n), 16):] + n
}

// LastSegment is the identifier at the end of an index key.
func LastSegment(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }
