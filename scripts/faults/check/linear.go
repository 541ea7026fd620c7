package check

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// What the ledger says, as far as the model of a consent goes.
const (
	ok             = "OK"
	permit         = "PERMIT"
	alreadyExists  = "ALREADY_EXISTS"
	wrongState     = "WRONG_STATE"
	consentUnknown = "CONSENT_UNKNOWN"
	notAuthorised  = "CONSENT_NOT_AUTHORISED"
	consentRevoked = "CONSENT_REVOKED"
	usesExhausted  = "USES_EXHAUSTED"
	checkPatience  = 60 * time.Second
	neverReturned  = math.MaxInt64
	statusNone     = 0
	statusAwaiting = 1
	statusAgreed   = 2
	statusRevoked  = 3
)

// consent is a consent as a few lines of arithmetic see it.
type consent struct {
	status        int
	uses, maxUses uint64
}

// said is what came of an act; known is false if nobody knows.
type said struct {
	known          bool
	code, decision string
}

// step is the specification: what an act does to a consent and what is said.
func (c consent) step(a *Act) (consent, said) {
	told := func(code, decision string) said { return said{true, code, decision} }
	if a.What == Create {
		if c.status != statusNone {
			return c, told(alreadyExists, "")
		}
		return consent{status: statusAwaiting, maxUses: a.MaxUses}, told(ok, "")
	}
	if c.status == statusNone {
		return c, told(consentUnknown, "")
	}
	move := func(from, to int) (consent, said) {
		if c.status != from {
			return c, told(wrongState, "")
		}
		c.status = to
		return c, told(ok, "")
	}
	switch {
	case a.What == Authorise:
		return move(statusAwaiting, statusAgreed)
	case a.What == Revoke:
		return move(statusAgreed, statusRevoked)
	case c.status == statusAwaiting:
		return c, told(ok, notAuthorised)
	case c.status == statusRevoked:
		return c, told(ok, consentRevoked)
	case c.uses >= c.maxUses:
		return c, told(ok, usesExhausted)
	}
	c.uses++
	return c, told(ok, permit)
}

var model = porcupine.Model{
	Init: func() any { return consent{} },
	Step: func(state, input, output any) (bool, any) {
		next, want := state.(consent).step(input.(*Act))
		if got := output.(said); got.known && got != want {
			return false, nil
		}
		return true, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %+v", input, output) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

// Linearizable reports whether the acts on each consent can have happened one
// after the other, each between its begin and the moment its client was told, with
// the outcomes that clients were told. An act of which the client was not told may
// have happened at any time after its begin, or never; if the ledger holds it, it
// happened, with the ledger's outcome.
func Linearizable(acts []Act, order []Executed) error {
	at := make(map[string]*Executed, len(order))
	for i := range order {
		if e := &order[i]; e.Code != codeDuplicate && at[e.ID] == nil {
			at[e.ID] = e
		}
	}
	histories := make(map[string][]porcupine.Operation)
	for i := range acts {
		a := &acts[i]
		if a.What == Other || a.Never {
			continue
		}
		op := porcupine.Operation{ClientId: 0, Input: a, Call: int64(a.Begun), Return: neverReturned}
		out := said{}
		if a.acked() {
			op.Return, out = int64(a.Known), said{true, a.Code, a.Decision}
		} else if e := at[a.ID]; e != nil {
			out = said{true, e.Code, e.Decision}
		}
		op.Output = out
		histories[a.Consent] = append(histories[a.Consent], op)
	}
	deadline := time.Now().Add(checkPatience)
	for id, ops := range histories {
		switch porcupine.CheckOperationsTimeout(model, ops, max(time.Until(deadline), time.Millisecond)) {
		case porcupine.Illegal:
			return fmt.Errorf("what clients saw of consent %s is not linearizable (%d acts)", short(id), len(ops))
		case porcupine.Unknown:
			return fmt.Errorf("whether what clients saw of consent %s is linearizable could not be found out within %s (%d acts)", short(id), checkPatience, len(ops))
		}
	}
	return nil
}
