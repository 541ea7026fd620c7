package record

// SuspensionReason says why an authority took something out of use.
type SuspensionReason string

const (
	SuspendedForInvestigation SuspensionReason = "INVESTIGATION"
	SuspendedForMisuse        SuspensionReason = "MISUSE"
	SuspendedForIncident      SuspensionReason = "SECURITY_INCIDENT"
	SuspendedForLicence       SuspensionReason = "LICENCE_WITHDRAWN"
	SuspendedByOrder          SuspensionReason = "COURT_ORDER"
)

// SuspensionReasons lists every reason.
func SuspensionReasons() []SuspensionReason {
	return append([]SuspensionReason(nil), suspensionReasons...)
}

var suspensionReasons = []SuspensionReason{
	SuspendedForInvestigation, SuspendedForMisuse, SuspendedForIncident, SuspendedForLicence, SuspendedByOrder,
}

// Suspension stands in a record that an authority, a member with the role
// AUDITOR, has taken out of use until it is reinstated.
type Suspension struct {
	At        Millis
	ClientKey Address // that signed it
	OrgID     OrgID   // the authority
	Reason    SuspensionReason
}

func (v *Suspension) fields(c *codec) {
	number(c, "at", &v.At)
	address(c, "clientKey", &v.ClientKey)
	text(c, "orgId", &v.OrgID, maxID)
	enum(c, "reason", &v.Reason, suspensionReasons)
}
