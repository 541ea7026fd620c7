package node

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/state"
)

// maxViewAge is how old a provider's view of the ledger may be when an answer is
// sent. With the second that one attempt to send may take, no answer leaves later
// than two seconds after a revocation.
const maxViewAge = time.Second

// guard decides whether an answer may leave now. On a view of the ledger that is
// at most maxViewAge old, the consent must stand, nobody and nothing that the
// answer rests on may be suspended, and the ledger must not say already that the
// answer never came: so no answer leaves later than a revocation, a suspension or
// an OVERDUE and that time, even across a partition.
func (n *Node) guard(ctx context.Context, it outbox.Item) (outbox.Verdict, error) {
	if _, err := n.view.Fresh(ctx, maxViewAge); err != nil {
		return outbox.Wait, err
	}
	view := n.state.View()
	now := n.latest(view)
	request := record.RequestID(strings.TrimPrefix(it.ID, answerItem))
	if verdict, err := n.stands(view, it, request, now); err != nil || verdict != outbox.Send {
		return verdict, err
	}
	gone, err := givenUp(view, request)
	if err != nil {
		return outbox.Wait, err
	}
	if gone {
		return outbox.Withhold, nil
	}
	if !it.Deadline.IsZero() && now >= it.Deadline.UnixMilli() {
		return outbox.Wait, nil // block time is past it, this clock not yet: it ends as overdue
	}
	return outbox.Send, nil
}

// latest is the later of block time and clock: an idle network's block time stands
// still, and a consent must not outlive its end because of that.
func (n *Node) latest(view *state.View) record.Millis {
	return max(record.Millis(view.Time()), n.now().UnixMilli())
}

// givenUp reports whether the ledger says that a request's answer never came: a
// lender may record OVERDUE too.
func givenUp(view *state.View, id record.RequestID) (bool, error) {
	key := record.ReceiptKey(id)
	if _, ok, err := view.Get(key); err != nil || !ok {
		return false, err
	}
	r, err := loadRecord[record.Receipt](view, key)
	if err != nil {
		return false, err
	}
	return r.Outcome == record.Overdue || r.Outcome == record.Withheld, nil
}

// stands is the part of guard's verdict that what an answer rests on gives: its
// consent, unless it is of statistics, which have none that could end, and whoever and
// whatever an authority may have suspended.
func (n *Node) stands(view *state.View, it outbox.Item, id record.RequestID, now record.Millis) (outbox.Verdict, error) {
	held := n.requestHeld
	if it.ConsentID != "" {
		c, err := loadRecord[record.Consent](view, record.ConsentKey(record.ConsentID(it.ConsentID)))
		if err != nil {
			return outbox.Wait, err
		}
		if status := c.EffectiveStatus(now); status != record.Authorised {
			if status != c.Status {
				n.duties.ranOut(c.ConsentID)
			}
			return outbox.Withhold, nil
		}
		held = func(view *state.View, id record.RequestID) (bool, error) { return n.consentHeld(view, c, id) }
	}
	is, err := held(view, id)
	if err != nil {
		return outbox.Wait, err
	}
	if is {
		n.log.Info("an answer is withheld: an authority has suspended what it rests on", "request", id, "consent", record.ConsentID(it.ConsentID))
		return outbox.Withhold, nil
	}
	return outbox.Send, nil
}

// consentHeld reports whether an authority has suspended the lender, the provider, the
// product or the template that the answer to a request rests on.
func (n *Node) consentHeld(view *state.View, c *record.Consent, id record.RequestID) (bool, error) {
	if held, err := n.productHeld(view, c.Consumer(), c.Provider(), c.ProductID); err != nil || held {
		return held, err
	}
	for _, t := range c.TemplateIDs {
		held, err := n.holds.look(view, record.TemplateKey(t), templateSuspended)
		if err != nil {
			return false, err
		}
		if !held {
			continue
		}
		// Only now does it matter which of the consent's templates was asked.
		r, err := loadRecord[record.Request](view, record.RequestKey(id))
		if err != nil {
			return false, err
		}
		if r.TemplateID == t {
			return true, nil
		}
	}
	return false, nil
}

// requestHeld is consentHeld for a request that rests on no consent.
func (n *Node) requestHeld(view *state.View, id record.RequestID) (bool, error) {
	r, err := loadRecord[record.Request](view, record.RequestKey(id))
	if err != nil {
		return false, err
	}
	if held, err := n.productHeld(view, r.Consumer, r.Provider, r.ProductID); err != nil || held {
		return held, err
	}
	return n.holds.look(view, record.TemplateKey(r.TemplateID), templateSuspended)
}

// productHeld reports whether an authority has suspended one of two members, or the
// product that the one asks and the other has.
func (n *Node) productHeld(view *state.View, consumer, provider record.OrgID, product record.ProductID) (bool, error) {
	if held, err := n.holds.look(view, record.MemberKey(consumer), memberSuspended); err != nil || held {
		return held, err
	}
	if held, err := n.holds.look(view, record.MemberKey(provider), memberSuspended); err != nil || held {
		return held, err
	}
	return n.holds.look(view, record.ProductKey(product), productSuspended)
}

func memberSuspended(b []byte) (bool, error) {
	m, err := record.Load[record.Member](b)
	return err == nil && m.Usable() != nil, err
}

func productSuspended(b []byte) (bool, error) {
	p, err := record.Load[record.Product](b)
	return err == nil && p.Suspension != nil, err
}

func templateSuspended(b []byte) (bool, error) {
	t, err := record.Load[record.Template](b)
	return err == nil && t.Suspension != nil, err
}

// holds remembers what rows that stand behind every answer say about suspension,
// so that a guard decodes none that it has seen.
type holds struct {
	mu   sync.Mutex
	rows map[string]hold
}

type hold struct {
	row       []byte
	suspended bool
}

// maxHolds bounds the rows remembered.
const maxHolds = 1024

func (h *holds) look(view *state.View, key string, suspended func([]byte) (bool, error)) (bool, error) {
	b, ok, err := view.Get(key)
	if err == nil && !ok {
		err = errNoRecord
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.rows[key]; ok && bytes.Equal(known.row, b) {
		return known.suspended, nil
	}
	held, err := suspended(b)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	if h.rows == nil || len(h.rows) >= maxHolds {
		h.rows = make(map[string]hold)
	}
	h.rows[key] = hold{b, held}
	return held, nil
}
