package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/state"
)

// deletionConfirmed destroys the inbox's copies too once this member, the lender,
// has signed that it destroyed the answers of a consent.
func (n *Node) deletionConfirmed(o *state.Outcome, payload []byte) error {
	r, err := record.Load[record.Deletion](payload)
	if err != nil {
		return fmt.Errorf("deletion event at height %d: %w", o.Height, err)
	}
	if string(r.Consumer) == n.member {
		n.duties.hint(&n.duties.deleted, r.ConsentID)
	}
	return nil
}

// erasureWent notes that somebody asked for an erasure or signed for one. An
// officer may have signed for this member: then the index does not show it.
func (n *Node) erasureWent(o *state.Outcome, payload []byte) error {
	e, err := record.Load[record.Erasure](payload)
	if err != nil {
		return fmt.Errorf("erasure event at height %d: %w", o.Height, err)
	}
	if string(e.Provider) == n.member || string(e.Consumer) == n.member {
		n.duties.hint(&n.duties.erasing, e.ConsentID)
	}
	return nil
}

// discardDeleted does what deletionConfirmed noted. What a crash loses here the
// inbox's own expiry destroys within a day of the answers' deadlines.
func (d *dutyRun) discardDeleted(ctx context.Context) error {
	for id := range d.hinted.deleted {
		c, err := loadRecord[record.Consent](d.view, record.ConsentKey(id))
		if err != nil {
			return err
		}
		if err := d.discardAnswers(ctx, c); err != nil {
			d.later = true
			d.duties.hint(&d.duties.deleted, id)
			d.log.Warn("answers whose deletion is confirmed cannot be destroyed yet, will try again", "consent", id, "error", err)
		}
		delete(d.emptied, id)
	}
	return nil
}

// erase destroys what this member holds of consents whose subjects want to be
// forgotten, and signs for it. A lender that was given answers signs only once its
// deletion receipt stands: the node destroys its own copies at once, what the
// lender's other systems keep it cannot see.
func (d *dutyRun) erase(ctx context.Context) (more bool, err error) {
	ids, more, err := d.due(record.ErasureIndexPrefix(record.OrgID(d.member)), &d.erasures, dutyPage)
	if err != nil {
		return false, err
	}
	listed := len(ids)
	for id := range d.hinted.erasing {
		ids = append(ids, id)
	}
	destroyed := make(hints)
	var sign []record.ConsentID
	for i, id := range ids {
		if _, again := destroyed[id]; again {
			continue
		}
		ready, err := d.destroy(ctx, id)
		if err != nil {
			d.later = true
			d.log.Warn("an erasure is not done yet, will try again", "consent", id, "error", err)
			continue
		}
		destroyed.add(id)
		if ready && i < listed {
			sign = append(sign, id)
		}
	}
	if len(destroyed) == 0 {
		return more, nil
	}
	// The deleted pages are overwritten; older copies of them stand in the log.
	if err := d.private.Checkpoint(ctx); err != nil {
		d.later = true
		d.log.Warn("erasures are not signed yet: older copies stand in the log of the private database", "error", err)
		return more, nil
	}
	for _, id := range sign {
		d.submit(ctx, "ConfirmErasure", id)
	}
	return more, nil
}

// destroy destroys what this node holds of a consent and reports whether its
// member may sign for it.
func (d *dutyRun) destroy(ctx context.Context, id record.ConsentID) (ready bool, err error) {
	c, err := loadRecord[record.Consent](d.view, record.ConsentKey(id))
	if err != nil {
		return false, err
	}
	if string(c.Provider()) == d.member {
		if !d.nothingLeaves(ctx, id) {
			return false, fmt.Errorf("answers that were not delivered are not destroyed yet")
		}
		return true, d.answerer.Erase(ctx, c, permitted(d.view, id))
	}
	if string(c.Consumer()) != d.member {
		return false, nil
	}
	if _, done := d.emptied[id]; !done {
		if err := d.discardAnswers(ctx, c); err != nil {
			return false, err
		}
		if err := d.discardParts(ctx, c); err != nil {
			return false, err
		}
	}
	owes, err := owesDeletion(d.view, id)
	if err == nil && owes {
		if _, said := d.emptied[id]; !said {
			d.log.Info("an erasure waits for this member's deletion receipt: destroy the answers in your own systems and confirm it (ConfirmDeletion)", "consent", id)
		}
		if len(d.emptied) >= maxHints {
			clear(d.emptied)
		}
		d.emptied.add(id)
	}
	return !owes, err
}

// owesDeletion reports whether the lender has yet to confirm that it destroyed the
// answers of a consent that ended.
func owesDeletion(view *state.View, id record.ConsentID) (bool, error) {
	t, err := loadRecord[record.Termination](view, record.TerminationKey(id))
	if err != nil || t.DeletionDue == 0 {
		return false, err
	}
	_, deleted, err := view.Get(record.DeletionKey(id))
	return !deleted, err
}

// discardAnswers destroys the inbox's copies of every answer under a consent.
func (d *dutyRun) discardAnswers(ctx context.Context, c *record.Consent) error {
	total := 0
	for page, err := range permitted(d.view, c.ConsentID) {
		if err != nil {
			return err
		}
		ids := make([]string, len(page))
		for i := range page {
			ids[i] = string(page[i].RequestID)
		}
		n, err := d.inbox.Discard(ctx, string(c.Provider()), ids)
		if err != nil {
			return err
		}
		total += n
	}
	if total > 0 {
		d.log.Info("answers under an ended consent are destroyed", "consent", c.ConsentID, "answers", total)
	}
	return nil
}

// discardParts sees to it that no sealed part of the consent waits for delivery,
// and forgets which one it was.
func (d *dutyRun) discardParts(ctx context.Context, c *record.Consent) error {
	item := partID(string(c.ConsentID), c.Version, string(c.Provider()))
	d.outbox.Expedite(string(c.Provider())) // maySendPart ends it
	if !waitUntil(ctx, func() bool { return !d.outbox.Waits(item) }) {
		return fmt.Errorf("its sealed part is still on the way")
	}
	return d.private.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM node_parts WHERE id = ?`, item)
		return err
	})
}

// permitted pages through the permitted requests of a consent.
func permitted(view *state.View, id record.ConsentID) iter.Seq2[[]record.Request, error] {
	const page = 128
	return func(yield func([]record.Request, error) bool) {
		prefix := record.RequestConsentPrefix(id)
		for from := prefix; ; {
			rows, err := view.Range(from, prefixEnd(prefix), page)
			var out []record.Request
			for _, row := range rows {
				var r *record.Request
				request := record.RequestID(record.LastSegment(row.Key))
				r, err = loadRecord[record.Request](view, record.RequestKey(request))
				if errors.Is(err, state.ErrPruned) { // it may have been permitted, and what was kept of it goes too
					r, err = &record.Request{RequestID: request, ConsentID: id, Decision: record.Permit}, nil
				}
				if err != nil {
					break
				}
				if r.Decision == record.Permit {
					out = append(out, *r)
				}
			}
			if !yield(out, err) || err != nil || len(rows) < page {
				return
			}
			from = rows[len(rows)-1].Key + "\x00"
		}
	}
}
