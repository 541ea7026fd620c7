package record

// DeletionPeriod is how long after the end of a consent its lender may keep the
// answers it was given: thirty days.
const DeletionPeriod Millis = 30 * 86_400_000

// Acknowledgement is one party's word that it has taken note.
type Acknowledgement struct {
	At        Millis
	ClientKey Address
	OrgID     OrgID
}

func (v *Acknowledgement) fields(c *codec) {
	number(c, "at", &v.At)
	address(c, "clientKey", &v.ClientKey)
	text(c, "orgId", &v.OrgID, maxID)
}

// Termination says how a consent ended, who has acknowledged it and who has not.
// Every ending leaves one, in the same transaction.
type Termination struct {
	Acknowledged   []Acknowledgement // in the order they came
	ConsentID      ConsentID
	ConsentVersion uint64
	Consumer       OrgID
	DeletionDue    Millis // block time until which the lender destroys its answers; 0: it was given none
	EndedAt        Millis // first block time at which the consent no longer held
	Initiator      Initiator
	Pending        []OrgID // parties that have not acknowledged, strictly ascending
	Provider       OrgID
	Reason         Reason
	RecordedAt     Millis // later than EndedAt when a consent ran out and nobody said so
	Status         Status
	SupersededBy   ConsentID // the version that took its place; "": none
}

func (v *Termination) fields(c *codec) {
	objects(c, "acknowledged", &v.Acknowledged, maxParties)
	text(c, "consentId", &v.ConsentID, maxID)
	number(c, "consentVersion", &v.ConsentVersion)
	text(c, "consumer", &v.Consumer, maxID)
	optNumber(c, "deletionDue", &v.DeletionDue)
	number(c, "endedAt", &v.EndedAt)
	enum(c, "initiator", &v.Initiator, initiators)
	texts(c, "pending", &v.Pending, maxParties, maxID)
	text(c, "provider", &v.Provider, maxID)
	enum(c, "reason", &v.Reason, reasons)
	number(c, "recordedAt", &v.RecordedAt)
	enum(c, "status", &v.Status, statuses)
	optText(c, "supersededBy", &v.SupersededBy, maxID)
}

// DeletionSpec is the argument of ConfirmDeletion: the lender names the answers
// it destroyed by the usage chain of the consent, which commits to every request
// there was. A lender that lost count is told so.
type DeletionSpec struct {
	ConsentID ConsentID
	Head      Hash   // of the usage chain
	Requests  uint64 // its length
}

func (v *DeletionSpec) fields(c *codec) {
	text(c, "consentId", &v.ConsentID, maxID)
	hash(c, "head", &v.Head)
	number(c, "requests", &v.Requests)
}

// Check implements Checked.
func (v *DeletionSpec) Check() error { return v.ConsentID.Check() }

// Deletion is the lender's receipt for having destroyed every answer that it got
// under a consent. There is at most one for a consent.
type Deletion struct {
	ClientKey  Address // key that signed it
	ConsentID  ConsentID
	Consumer   OrgID
	Due        Millis
	Head       Hash // of the usage chain: the requests whose answers are gone
	RecordedAt Millis
	Requests   uint64
	Uses       uint64 // permits among them
}

func (v *Deletion) fields(c *codec) {
	address(c, "clientKey", &v.ClientKey)
	text(c, "consentId", &v.ConsentID, maxID)
	text(c, "consumer", &v.Consumer, maxID)
	number(c, "due", &v.Due)
	hash(c, "head", &v.Head)
	number(c, "recordedAt", &v.RecordedAt)
	number(c, "requests", &v.Requests)
	number(c, "uses", &v.Uses)
}

// TerminationPage is one page of terminations.
type TerminationPage struct {
	Bookmark     string
	Terminations []Termination
}

func (v *TerminationPage) fields(c *codec) {
	optText(c, "bookmark", &v.Bookmark, maxBookmark)
	objects(c, "terminations", &v.Terminations, MaxPage)
}

func (*TerminationPage) maxSize() int { return maxListSize }
