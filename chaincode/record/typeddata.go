package record

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
)

// What a subject signs is EIP-712 typed data, so that any wallet can show it
// before it signs. The domain is {name, version, salt = chain id}: no EVM chain
// id, which wallets would refuse as foreign.
const (
	TypedDataName    = "Assent"
	TypedDataVersion = "1"
)

// KeyEndorsement is the subject's long-lived wallet vouching for the fresh
// principal key of one consent, for one lender and one provider.
type KeyEndorsement struct {
	ConsentID    ConsentID
	Consumer     OrgID
	PrincipalKey Address
	PrincipalRef PrincipalRef
	Provider     OrgID
}

// EndorsementOf is the endorsement that belongs to a consent's terms.
func EndorsementOf(t *ConsentTerms) KeyEndorsement {
	return KeyEndorsement{
		ConsentID: t.ConsentID, Consumer: t.Consumer(), PrincipalKey: t.PrincipalKey,
		PrincipalRef: t.PrincipalRef, Provider: t.Provider(),
	}
}

// ConsentRevocation ends a consent: with one of RevocationReasons an authorised
// one, with ReasonRefused one that still awaits authorisation. It needs no
// nonce: it names one consent, and an ending is final.
type ConsentRevocation struct {
	ConsentID        ConsentID
	PrincipalRef     PrincipalRef
	Reason           Reason
	RecordCommitment Hash
}

// RevocationOf is the revocation that belongs to a consent's terms.
func RevocationOf(t *ConsentTerms, reason Reason) ConsentRevocation {
	return ConsentRevocation{
		ConsentID: t.ConsentID, PrincipalRef: t.PrincipalRef, Reason: reason, RecordCommitment: t.RecordCommitment,
	}
}

// ErasureRequest asks every holder of a sealed part to destroy it.
type ErasureRequest struct {
	ConsentID        ConsentID
	PrincipalRef     PrincipalRef
	RecordCommitment Hash
}

// DataDispute is the subject's objection to data or an answer under a consent. The
// dispute's random id keeps it from being used twice.
type DataDispute struct {
	ConsentID       ConsentID
	PrincipalRef    PrincipalRef
	DisputeID       DisputeID
	Kind            DisputeKind
	RequestID       RequestID // "": the data as such
	ClaimCommitment Hash
}

// DisputeOf is the typed data that belongs to a dispute under a consent.
func DisputeOf(t *ConsentTerms, d *DisputeSpec) DataDispute {
	return DataDispute{
		ConsentID: t.ConsentID, PrincipalRef: t.PrincipalRef, DisputeID: d.DisputeID, Kind: d.Kind,
		RequestID: d.RequestID, ClaimCommitment: d.ClaimCommitment,
	}
}

// ErasureOf is the erasure request that belongs to a consent's terms.
func ErasureOf(t *ConsentTerms) ErasureRequest {
	return ErasureRequest{ConsentID: t.ConsentID, PrincipalRef: t.PrincipalRef, RecordCommitment: t.RecordCommitment}
}

// TypedData is the dispute as eth_signTypedData_v4 takes it.
func (v DataDispute) TypedData(chainID Hash) apitypes.TypedData {
	return typedData(chainID, "DataDispute", apitypes.TypedDataMessage{
		"consentId": string(v.ConsentID), "principalRef": string(v.PrincipalRef), "disputeId": string(v.DisputeID),
		"kind": string(v.Kind), "requestId": string(v.RequestID), "claimCommitment": v.ClaimCommitment.Hex(),
	})
}

// Digest is what the subject signs to dispute.
func (v DataDispute) Digest(chainID Hash) (Hash, error) { return digest(v.TypedData(chainID)) }

// TypedData is the endorsement as eth_signTypedData_v4 takes it.
func (v KeyEndorsement) TypedData(chainID Hash) apitypes.TypedData {
	return typedData(chainID, "KeyEndorsement", apitypes.TypedDataMessage{
		"consentId": string(v.ConsentID), "consumer": string(v.Consumer), "principalKey": FormatAddress(v.PrincipalKey),
		"principalRef": string(v.PrincipalRef), "provider": string(v.Provider),
	})
}

// TypedData is the revocation as eth_signTypedData_v4 takes it.
func (v ConsentRevocation) TypedData(chainID Hash) apitypes.TypedData {
	return typedData(chainID, "ConsentRevocation", apitypes.TypedDataMessage{
		"consentId": string(v.ConsentID), "principalRef": string(v.PrincipalRef),
		"reason": string(v.Reason), "recordCommitment": v.RecordCommitment.Hex(),
	})
}

// TypedData is the erasure request as eth_signTypedData_v4 takes it.
func (v ErasureRequest) TypedData(chainID Hash) apitypes.TypedData {
	return typedData(chainID, "ErasureRequest", apitypes.TypedDataMessage{
		"consentId": string(v.ConsentID), "principalRef": string(v.PrincipalRef),
		"recordCommitment": v.RecordCommitment.Hex(),
	})
}

// TypedData is the authorisation of these terms as eth_signTypedData_v4 takes
// it. It covers every field of the terms.
func (v *ConsentTerms) TypedData(chainID Hash) apitypes.TypedData {
	parties := make([]any, len(v.Parties))
	for i, p := range v.Parties {
		parties[i] = apitypes.TypedDataMessage{"partyId": string(p.PartyID), "role": string(p.Role)}
	}
	return typedData(chainID, "ConsentAuthorisation", apitypes.TypedDataMessage{
		"schemaVersion":      number64(v.SchemaVersion),
		"consentId":          string(v.ConsentID),
		"version":            number64(v.Version),
		"supersedes":         string(v.Supersedes),
		"principalRef":       string(v.PrincipalRef),
		"principalKey":       FormatAddress(v.PrincipalKey),
		"recordCommitment":   v.RecordCommitment.Hex(),
		"parties":            parties,
		"productId":          string(v.ProductID),
		"templateIds":        anyStrings(v.TemplateIDs),
		"purposes":           anyStrings(v.Purposes),
		"declinedPurposes":   anyStrings(v.DeclinedPurposes),
		"dataClasses":        anyStrings(v.DataClasses),
		"processingMethods":  anyStrings(v.ProcessingMethods),
		"automatedDecision":  v.AutomatedDecision,
		"consentType":        string(v.ConsentType),
		"validFrom":          number64(uint64(v.ValidFrom)),
		"expirationDateTime": number64(uint64(v.ExpirationDateTime)),
		"accessLimits": apitypes.TypedDataMessage{
			"maxUses": number64(v.AccessLimits.MaxUses), "frequencyPerDay": number64(v.AccessLimits.FrequencyPerDay),
		},
		"noticeHash":           v.NoticeHash.Hex(),
		"impactAssessmentHash": v.ImpactAssessmentHash.Hex(),
	})
}

// Digest is what the subject signs to endorse the key.
func (v KeyEndorsement) Digest(chainID Hash) (Hash, error) { return digest(v.TypedData(chainID)) }

// Digest is what the subject signs to revoke.
func (v ConsentRevocation) Digest(chainID Hash) (Hash, error) { return digest(v.TypedData(chainID)) }

// Digest is what the subject signs to have its data erased.
func (v ErasureRequest) Digest(chainID Hash) (Hash, error) { return digest(v.TypedData(chainID)) }

// Digest is what the subject signs to authorise these terms.
func (v *ConsentTerms) Digest(chainID Hash) (Hash, error) { return digest(v.TypedData(chainID)) }

func digest(d apitypes.TypedData) (Hash, error) {
	sum, _, err := apitypes.TypedDataAndHash(d)
	if err != nil {
		return Hash{}, fmt.Errorf("typed data %s: %w", d.PrimaryType, err)
	}
	return Hash(sum), nil
}

var typedDataDomain = []apitypes.Type{
	{Name: "name", Type: "string"}, {Name: "version", Type: "string"}, {Name: "salt", Type: "bytes32"},
}

// typedDataTypes gives each primary type its struct types, so that a wallet is
// shown, and hashes, nothing it does not sign.
var typedDataTypes = map[string]apitypes.Types{
	"KeyEndorsement": {
		"EIP712Domain": typedDataDomain,
		"KeyEndorsement": {
			{Name: "consentId", Type: "string"}, {Name: "consumer", Type: "string"}, {Name: "provider", Type: "string"},
			{Name: "principalRef", Type: "string"}, {Name: "principalKey", Type: "address"},
		},
	},
	"ConsentRevocation": {
		"EIP712Domain": typedDataDomain,
		"ConsentRevocation": {
			{Name: "consentId", Type: "string"}, {Name: "principalRef", Type: "string"},
			{Name: "recordCommitment", Type: "bytes32"}, {Name: "reason", Type: "string"},
		},
	},
	"ErasureRequest": {
		"EIP712Domain": typedDataDomain,
		"ErasureRequest": {
			{Name: "consentId", Type: "string"}, {Name: "principalRef", Type: "string"},
			{Name: "recordCommitment", Type: "bytes32"},
		},
	},
	"DataDispute": {
		"EIP712Domain": typedDataDomain,
		"DataDispute": {
			{Name: "consentId", Type: "string"}, {Name: "principalRef", Type: "string"},
			{Name: "disputeId", Type: "string"}, {Name: "kind", Type: "string"},
			{Name: "requestId", Type: "string"}, {Name: "claimCommitment", Type: "bytes32"},
		},
	},
	"ConsentAuthorisation": {
		"EIP712Domain": typedDataDomain,
		"ConsentAuthorisation": {
			{Name: "schemaVersion", Type: "uint64"}, {Name: "consentId", Type: "string"},
			{Name: "version", Type: "uint64"}, {Name: "supersedes", Type: "string"},
			{Name: "principalRef", Type: "string"}, {Name: "principalKey", Type: "address"},
			{Name: "recordCommitment", Type: "bytes32"}, {Name: "parties", Type: "Party[]"},
			{Name: "productId", Type: "string"}, {Name: "templateIds", Type: "string[]"},
			{Name: "purposes", Type: "string[]"}, {Name: "declinedPurposes", Type: "string[]"},
			{Name: "dataClasses", Type: "string[]"}, {Name: "processingMethods", Type: "string[]"},
			{Name: "automatedDecision", Type: "bool"}, {Name: "consentType", Type: "string"},
			{Name: "validFrom", Type: "uint64"}, {Name: "expirationDateTime", Type: "uint64"},
			{Name: "accessLimits", Type: "AccessLimits"}, {Name: "noticeHash", Type: "bytes32"},
			{Name: "impactAssessmentHash", Type: "bytes32"},
		},
		"AccessLimits": {{Name: "maxUses", Type: "uint64"}, {Name: "frequencyPerDay", Type: "uint64"}},
		"Party":        {{Name: "partyId", Type: "string"}, {Name: "role", Type: "string"}},
	},
}

func typedData(chainID Hash, primary string, message apitypes.TypedDataMessage) apitypes.TypedData {
	return apitypes.TypedData{
		Types:       typedDataTypes[primary],
		PrimaryType: primary,
		Domain: apitypes.TypedDataDomain{
			Name: TypedDataName, Version: TypedDataVersion, Salt: hexutil.Encode(chainID[:]),
		},
		Message: message,
	}
}

func number64(n uint64) *math.HexOrDecimal256 {
	return (*math.HexOrDecimal256)(new(big.Int).SetUint64(n))
}

func anyStrings[S ~string](list []S) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
