package record

// ErasurePeriod is how long a holder has to destroy the sealed part of a consent
// and everything that connects it with a person: thirty days.
const ErasurePeriod Millis = 30 * 86_400_000

// Erasure follows a subject's wish to be forgotten: who holds a sealed part, and
// who has signed that it is destroyed.
type Erasure struct {
	ConsentID    ConsentID
	Consumer     OrgID
	Due          Millis
	ErasedAt     Millis  // when the last holder signed; 0: not yet
	EvidenceHash Hash    // of a request that came by way of the provider
	OrgID        OrgID   // member that brought the request
	Pending      []OrgID // holders that have not signed, strictly ascending
	Provider     OrgID
	Receipts     []Acknowledgement // holders' erasure receipts, in the order they came
	RequestedAt  Millis
	Signed       bool // the subject signed ErasureRequest itself; the signature is in the transaction
}

func (v *Erasure) fields(c *codec) {
	text(c, "consentId", &v.ConsentID, maxID)
	text(c, "consumer", &v.Consumer, maxID)
	number(c, "due", &v.Due)
	optNumber(c, "erasedAt", &v.ErasedAt)
	optHash(c, "evidenceHash", &v.EvidenceHash)
	text(c, "orgId", &v.OrgID, maxID)
	texts(c, "pending", &v.Pending, maxParties, maxID)
	text(c, "provider", &v.Provider, maxID)
	objects(c, "receipts", &v.Receipts, maxParties)
	number(c, "requestedAt", &v.RequestedAt)
	optBoolean(c, "signed", &v.Signed)
}

// ErasurePage is one page of erasures.
type ErasurePage struct {
	Bookmark string
	Erasures []Erasure
}

func (v *ErasurePage) fields(c *codec) {
	optText(c, "bookmark", &v.Bookmark, maxBookmark)
	objects(c, "erasures", &v.Erasures, MaxPage)
}

func (*ErasurePage) maxSize() int { return maxListSize }

// Entomb turns an erased consent into its tombstone: what the members did stays,
// and nothing is left that could lead to the subject. A signature goes too, for
// the key that made it can be computed from it.
func (v *Consent) Entomb() {
	v.ErasureStatus, v.Disputed = Erased, false
	v.PrincipalKey, v.PrincipalRef, v.RecordCommitment = Address{}, "", Hash{}
	if v.Authorisation != nil {
		v.Authorisation.Signature, v.Authorisation.EvidenceHash = nil, Hash{}
	}
	for i := range v.StatusReason {
		v.StatusReason[i].Signature, v.StatusReason[i].EvidenceHash = nil, Hash{}
	}
}
