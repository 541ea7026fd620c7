package record

// Creator is who signed a transaction, in the form a contract receives it from
// its stub: the member it speaks for and the key that signed.
type Creator struct {
	Address string // FormatAddress, or SystemAddress
	OrgID   OrgID  // "" for the node itself
}

// SystemAddress is the creator of calls the node makes itself: ApplyConfig.
const SystemAddress = "system"

func (v *Creator) fields(c *codec) {
	text(c, "address", &v.Address, maxID)
	text(c, "org", &v.OrgID, maxID)
}

// SystemCreator is the creator of calls the node makes itself.
func SystemCreator() *Creator { return &Creator{Address: SystemAddress} }

// NewCreator is the creator of a member's transaction.
func NewCreator(org OrgID, key Address) *Creator {
	return &Creator{Address: FormatAddress(key), OrgID: org}
}

// System reports whether the node itself calls. No member's creator can: its
// address is always hex.
func (v *Creator) System() bool { return v.OrgID == "" && v.Address == SystemAddress }
