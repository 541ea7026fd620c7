package doctor

import (
	"fmt"
	"time"
)

// Accusation is what a node holds against a validator.
type Accusation struct {
	Validator uint64    `json:"validator"`
	Member    string    `json:"member,omitempty"`
	VoteKey   string    `json:"voteKey,omitempty"` // of a proof
	Kind      string    `json:"kind,omitempty"`
	Proven    bool      `json:"proven"` // else this node alone saw it, since it started
	InForce   bool      `json:"inForce"`
	Times     int       `json:"times"`
	Height    uint64    `json:"height"` // of the last
	View      uint64    `json:"view"`
	At        time.Time `json:"at"`
	File      string    `json:"file,omitempty"`
	Damaged   bool      `json:"damaged,omitempty"` // File held a proof and does not any more
}

// accusations says which validators contradicted themselves.
func (j *judge) accusations() {
	if j.Node == nil {
		return
	}
	for i := range j.Node.Accusations {
		a := &j.Node.Accusations[i]
		who := fmt.Sprintf("Validator %d of %s", a.Validator, a.Member)
		check := fmt.Sprintf("validator %d", a.Validator)
		remove := fmt.Sprintf("Suspend or remove this validator: hand %s to the other members (assentd evidence shows it, anybody can check it), and approve a config without validator %d, or with a new vote key of its member after it has explained itself.", a.File, a.Validator)
		switch {
		case a.Damaged:
			j.say("evidence", Warn, "The file "+a.File+" in evidence/ is no proof of this network: it was damaged or does not belong there.", "Restore it from a copy, or move it away.")
		case a.Proven && a.InForce:
			j.say(check, Fail, fmt.Sprintf("%s voted for two blocks of one height and view, last at height %d, view %d; the proof is kept.", who, a.Height, a.View), remove)
		case a.Proven:
			j.say(check, OK, fmt.Sprintf("%s voted for two blocks at height %d; its vote key %s is not in force any more.", who, a.Height, a.VoteKey), "")
		case a.InForce:
			j.say(check, Fail, fmt.Sprintf("%s contradicted itself (%s), %d times, last at height %d, view %d; this node saw it, nothing proves it to others.", who, a.Kind, a.Times, a.Height, a.View),
				"Ask the other members whether their doctors say the same and the validator's operator whether two processes share its keys; if it does not end, suspend or remove this validator by a config without it.")
		}
	}
	if len(j.Node.Accusations) == 0 {
		j.say("evidence", OK, "No validator contradicted itself as far as this node knows.", "")
	}
}
