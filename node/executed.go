package node

import (
	"context"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/state"
)

// executed acts on one outcome of the ledger; the follower calls it in order.
func (n *Node) executed(ctx context.Context, o *state.Outcome, at time.Time) error {
	for i := range o.Events {
		e := &o.Events[i]
		switch e.Contract + "/" + e.Name {
		case "membership/node", "membership/config":
			n.roster.wakeUp()
			n.duties.wakeUp() // this node may speak for its member from now on
		case "membership/proposal":
			n.assembler.wakeUp()
		case "consent/consent":
			c, err := record.Load[record.Consent](e.Payload)
			if err != nil {
				return fmt.Errorf("consent event at height %d: %w", o.Height, err)
			}
			n.consentChanged(c)
		case "consent/erasure":
			if err := n.erasureWent(o, e.Payload); err != nil {
				return err
			}
		case "consent/deletion":
			if err := n.deletionConfirmed(o, e.Payload); err != nil {
				return err
			}
		case "membership/member", "catalog/product", "catalog/template":
			n.outbox.RecheckAll() // an authority may have suspended it
			n.pledger.sweep()
		case "catalog/epoch", "membership/datakey":
			n.pledger.sweep()
		case "access/cohort":
			if err := n.requestedCohort(ctx, o, e.Payload, at); err != nil {
				return err
			}
		case "access/exposure":
			if err := n.requestedShare(ctx, o, e.Payload, at); err != nil {
				return err
			}
		case "access/request":
			if err := n.requested(ctx, o, e.Payload, at); err != nil {
				return err
			}
		case "access/batch":
			if err := n.requestedBatch(ctx, o, e.Payload, at); err != nil {
				return err
			}
		}
	}
	if n.permits != nil && o.Height > 0 {
		return n.permits.passed(ctx, uint64(o.Height)-1, at)
	}
	return nil
}

func (n *Node) requested(ctx context.Context, o *state.Outcome, payload []byte, at time.Time) error {
	if n.permits == nil {
		return nil
	}
	r, err := record.Load[record.Request](payload)
	if err != nil {
		return fmt.Errorf("request event at height %d: %w", o.Height, err)
	}
	if string(r.Provider) != n.member {
		return nil
	}
	if r.Code == record.CodeConsentExpired {
		n.duties.ranOut(r.ConsentID)
	}
	if r.Decision != record.Permit {
		return nil
	}
	p, err := n.permitOf(r, o, at)
	if err != nil {
		return err
	}
	return n.permits.start(ctx, p)
}
