package doctor

import "fmt"

// restored says what a node that came from a backup still has before it until it
// is like any other.
func (j *judge) restored() {
	if j.Node == nil || j.Node.Restored == nil {
		return
	}
	r := j.Node.Restored
	from := fmt.Sprintf("This node was restored on %s from a backup made on %s", r.On, r.Made)
	begun := len(j.out)
	if r.Validator != 0 && !r.Admitted {
		key, first := r.VoteKey, ""
		if key == "" {
			key, first = "ADDRESS", "Make a key, assentd keys new NAME --kind vote, and name it as identity.voteKey. "
		}
		j.say("restored", Fail, fmt.Sprintf("%s: it observes and does not vote, for validator %d still has the vote key from before, which may have voted for what the backup does not know.", from, r.Validator),
			fmt.Sprintf("%sLet the members admit the new key: assent member propose rotate-vote-key %d %s.", first, r.Validator, key))
	}
	if !r.CaughtUp {
		j.say("restored", Warn, from+" and has not caught up since: it does not know what was asked meanwhile and answers nothing.", "Start it where it reaches a quorum of the validators, and wait.")
	}
	if !r.Erased {
		j.say("restored", Warn, from+" and has not yet destroyed again what was erased since: it hands out no answers until then.", "Leave it running; if this stays, its log says what it waits for.")
	}
	for _, c := range r.Closed {
		j.say("restored", Warn, fmt.Sprintf("%s: answers of epoch %d of product %s were lost with what came after it, and requests in that epoch end as WITHHELD.", from, c.Epoch, c.Product),
			fmt.Sprintf("Open the next epoch: assent product epoch open %s.", c.Product))
	}
	if len(j.out) == begun {
		j.say("restored", OK, from+", and is like any other since.", "")
	}
}
