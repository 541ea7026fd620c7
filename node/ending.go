package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/outbox"
)

// consentChanged acts on a consent that the ledger has a new state of.
func (n *Node) consentChanged(c *record.Consent) {
	n.outbox.Recheck(string(c.ConsentID))
	ended := c.Status != record.AwaitingAuthorisation && c.Status != record.Authorised
	if c.Supersedes != "" && c.Status == record.Authorised { // it ended the version before
		n.outbox.Recheck(string(c.Supersedes))
		ended = true
	}
	if ended && isParty(c, n.member) {
		n.duties.wakeUp()
	}
	if c.Status == record.Authorised && string(c.Provider()) == n.member {
		n.pledger.hint(c.ConsentID)
	}
}

// expire tells the ledger of consents with this provider that ran out: those that
// somebody stumbled over, and a few more in passing. Every contract treats them as
// ended already; what Expire adds is the termination, which both parties sign.
func (d *dutyRun) expire(ctx context.Context) (more bool, err error) {
	if d.answerer == nil {
		return false, nil
	}
	for id := range d.hinted.expired {
		if err := d.expireIfOver(ctx, id); err != nil {
			return false, err
		}
	}
	now := time.Now()
	if now.Before(d.sweepAt) {
		return false, nil
	}
	d.sweepAt = now.Add(sweepEvery)
	standing := []record.Status{record.Authorised, record.AwaitingAuthorisation}
	ids, more, err := d.due(record.ConsentIndexPrefix(record.OrgID(d.member), standing[d.sweepStatus]), &d.sweep, sweepPage)
	if err != nil {
		return false, err
	}
	if !more {
		d.sweepStatus = (d.sweepStatus + 1) % len(standing)
	}
	for _, id := range ids {
		if err := d.expireIfOver(ctx, id); err != nil {
			return false, err
		}
	}
	return false, nil // the rest has time
}

func (d *dutyRun) expireIfOver(ctx context.Context, id record.ConsentID) error {
	c, err := loadRecord[record.Consent](d.view, record.ConsentKey(id))
	if err != nil {
		return err
	}
	if string(c.Provider()) == d.member && c.EffectiveStatus(d.latest(d.view)) != c.Status {
		d.submit(ctx, "Expire", id)
	}
	return nil
}

// acknowledge signs for terminations: the provider's node once no answer of the
// consent is left that could leave, the lender's at once.
func (d *dutyRun) acknowledge(ctx context.Context) (more bool, err error) {
	ids, more, err := d.due(record.TerminationIndexPrefix(record.OrgID(d.member)), &d.terminations, dutyPage)
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		t, err := loadRecord[record.Termination](d.view, record.TerminationKey(id))
		if err != nil {
			return false, err
		}
		if string(t.Provider) == d.member && !d.nothingLeaves(ctx, id) {
			continue
		}
		d.submit(ctx, "AcknowledgeTermination", id)
	}
	return more, nil
}

// nothingLeaves makes sure that nothing leaves any more under a consent that has
// ended: requests that wait are withheld, and the guard has destroyed every answer
// that was not delivered. It reports whether that is so.
func (d *dutyRun) nothingLeaves(ctx context.Context, id record.ConsentID) bool {
	if d.answerer == nil {
		return false // its answers, if any, are not here: this node cannot know
	}
	if !d.permitsSettled(ctx) {
		d.later = true
		return false
	}
	n, err := d.answerer.Withhold(ctx, id)
	if err != nil {
		d.later = true
		d.log.Warn("requests under an ended consent cannot be withheld yet, will try again", "consent", id, "error", err)
		return false
	}
	if n > 0 {
		d.log.Info("requests that waited under an ended consent are withheld", "consent", id, "requests", n)
	}
	d.outbox.Recheck(string(id))
	if !waitUntil(ctx, func() bool { return d.outbox.Answers(string(id)) == 0 }) {
		d.later = true
		return false
	}
	return true
}

// permitsSettled reports whether every permit that the round's view holds was
// taken care of: a consent that ended has no later ones.
func (d *dutyRun) permitsSettled(ctx context.Context) bool {
	if d.settled {
		return true
	}
	size, height := d.view.Roots().ReceiptsSize, uint64(d.view.Height())
	d.settled = waitUntil(ctx, func() bool {
		return d.follower.done.Load() >= size && d.permits.settled(height)
	})
	return d.settled
}

// maySendPart refuses to send the sealed part of a consent that has ended: nobody
// needs it any more.
func (n *Node) maySendPart(it outbox.Item) error {
	_, ended, err := n.state.View().Get(record.TerminationKey(record.ConsentID(it.ConsentID)))
	if err != nil {
		return fmt.Errorf("%w: %w", outbox.ErrNotSent, err)
	}
	if ended {
		return fmt.Errorf("%w: the consent has ended", outbox.ErrRejected)
	}
	return nil
}

// mayKeepPart refuses to take one in.
func (n *Node) mayKeepPart(wire []byte) error {
	s, err := answer.DecodeSealedPart(wire)
	if err != nil {
		return fmt.Errorf("%w: %w", outbox.ErrRejected, err)
	}
	_, ended, err := n.state.View().Get(record.TerminationKey(s.Context.ConsentID))
	if err == nil && ended {
		err = fmt.Errorf("%w: the consent has ended", outbox.ErrRejected)
	}
	return err
}

// mayKeepAnswer refuses answers under a consent whose answers this member has
// destroyed, or is asked to.
func (n *Node) mayKeepAnswer(id record.ConsentID) error {
	view := n.state.View()
	_, erased, err := view.Get(record.ErasureKey(id))
	_, deleted, more := view.Get(record.DeletionKey(id))
	if err = errors.Join(err, more); err == nil && (erased || deleted) {
		err = fmt.Errorf("%w: answers under this consent are destroyed", outbox.ErrRejected)
	}
	return err
}
