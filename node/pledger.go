package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/total"
	"github.com/assent-network/assent/node/state"
)

// pledger makes and registers this bank's pledges for totals, off the path of any
// request: for each consent that lists a TOTAL template of the bank, once in every
// epoch. What is still to do stands on the ledger; here are only hints that it is
// time to look. One pledge after another, so that proofs leave room for answers.
type pledger struct {
	wake chan struct{} // capacity 1

	mu    sync.Mutex
	hints hints // consents that were authorised, or whose sealed part came
	all   bool  // every consent is to be looked at
}

func (p *pledger) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// hint says that a consent may be pledged for. What finds no room becomes a sweep.
func (p *pledger) hint(id record.ConsentID) {
	p.keep([]record.ConsentID{id}, false)
	p.poke()
}

// sweep says that every consent is to be looked at: after a new epoch, template or key.
func (p *pledger) sweep() {
	p.keep(nil, true)
	p.poke()
}

func (p *pledger) keep(ids []record.ConsentID, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		all = all || len(p.hints) >= maxHints
		p.hints.add(id)
	}
	p.all = p.all || all
}

func (p *pledger) take() (hinted hints, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hinted, all = p.hints, p.all
	p.hints, p.all = nil, false
	return hinted, all
}

const (
	pledgeGap   = 20 * time.Millisecond // events gather for this long
	pledgeRetry = 500 * time.Millisecond
	pledgeIdle  = 10 * time.Minute // a data key may have run out, which nobody announces
	pledgePage  = 256
)

// runPledger works until ctx ends.
func (n *Node) runPledger(ctx context.Context) error {
	if n.totals == nil {
		<-ctx.Done()
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var sweepAt time.Time
	hurried, failures := false, 0 // hurried: the timer runs for pledgeGap, and more events do not put it off
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.pledger.wake:
			if !hurried {
				hurried = true
				timer.Reset(pledgeGap)
			}
			continue
		case <-timer.C:
		}
		hurried = false
		if !n.caughtUp.Load() {
			timer.Reset(time.Second)
			continue
		}
		if now := time.Now(); !now.Before(sweepAt) {
			sweepAt = now.Add(pledgeIdle)
			n.pledger.keep(nil, true)
		}
		again, err := n.pledgeRound(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pledge for totals: %w", err)
		}
		if !again {
			failures = 0
			timer.Reset(pledgeIdle)
			continue
		}
		failures = min(failures+1, 7)
		timer.Reset(min(pledgeRetry<<(failures-1), dutyIdle))
	}
}

// pledgeRound sees to what was hinted at, and reports whether something has to be
// tried again. Its error is a state that cannot be read.
func (n *Node) pledgeRound(ctx context.Context) (again bool, err error) {
	hinted, all := n.pledger.take()
	if !n.speaks() {
		return false, nil
	}
	r := &pledging{Node: n, view: n.state.View()}
	if err := r.findTemplates(); err != nil || len(r.templates) == 0 {
		return false, err
	}
	for _, id := range slices.Sorted(maps.Keys(hinted)) {
		if err := r.consent(ctx, id); err != nil {
			return false, err
		}
	}
	if all {
		if err := r.everyConsent(ctx); err != nil {
			return false, err
		}
	}
	n.pledger.keep(r.later, false)
	return len(r.later) > 0, nil
}

// pledging is one round of the pledger.
type pledging struct {
	*Node
	view      *state.View
	templates map[record.TemplateID]*record.Template // the bank's TOTAL templates in use
	later     []record.ConsentID
}

func (r *pledging) findTemplates() error {
	r.templates = make(map[record.TemplateID]*record.Template)
	for product := range r.vaults {
		prefix := record.TemplateIndexPrefix(product)
		for from := prefix; from != ""; {
			rows, err := r.view.Range(from, prefixEnd(prefix), pledgePage)
			if err != nil {
				return err
			}
			for _, row := range rows {
				t, err := loadRecord[record.Template](r.view, record.TemplateKey(record.TemplateID(record.LastSegment(row.Key))))
				if err != nil {
					return err
				}
				if t.Kind == record.Total && t.RetiredAt == 0 && string(t.Provider) == r.member {
					r.templates[t.TemplateID] = t
				}
			}
			if from = ""; len(rows) == pledgePage {
				from = rows[len(rows)-1].Key + "\x00"
			}
		}
	}
	return nil
}

func (r *pledging) everyConsent(ctx context.Context) error {
	prefix := record.ConsentIndexPrefix(record.OrgID(r.member), record.Authorised)
	for from := prefix; from != "" && ctx.Err() == nil; {
		rows, err := r.view.Range(from, prefixEnd(prefix), pledgePage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := r.consent(ctx, record.ConsentID(record.LastSegment(row.Key))); err != nil {
				return err
			}
		}
		if from = ""; len(rows) == pledgePage {
			from = rows[len(rows)-1].Key + "\x00"
		}
		r.view = r.state.View() // it took a while
	}
	return nil
}

// consent pledges for every TOTAL template of a consent that the ledger would take a
// pledge for and has none.
func (r *pledging) consent(ctx context.Context, id record.ConsentID) error {
	c, err := loadRecord[record.Consent](r.view, record.ConsentKey(id))
	if errors.Is(err, errNoRecord) {
		return nil // its part came before it: it is hinted at once more when it is authorised
	}
	if err != nil {
		return err
	}
	if string(c.Provider()) != r.member || c.EffectiveStatus(r.latest(r.view)) != record.Authorised ||
		c.Authorisation == nil || c.Authorisation.Method != record.Wallet {
		return nil
	}
	for _, t := range c.TemplateIDs {
		template := r.templates[t]
		if template == nil || ctx.Err() != nil {
			continue
		}
		spec, err := r.due(ctx, c, template)
		if errors.Is(err, query.ErrNotYet) {
			r.log.Debug("no pledge for a consent yet", "consent", id, "reason", err)
			r.later = append(r.later, id)
			continue
		}
		if err != nil {
			r.log.Error("a consent cannot be pledged for: totals with it are denied as NO_PLEDGE until an operator has looked", "consent", id, "template", t, "err", err)
			continue
		}
		if spec != nil && !r.register(ctx, spec) {
			r.later = append(r.later, id)
		}
	}
	return nil
}

// due returns what is to be registered for a consent, nil if nothing is.
func (r *pledging) due(ctx context.Context, c *record.Consent, t *record.Template) (*record.PledgeSpec, error) {
	e, err := loadRecord[record.Epoch](r.view, record.EpochKey(t.ProductID))
	if errors.Is(err, errNoRecord) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := newestDataKey(r.view, record.OrgID(r.member), func(k *record.DataKey) bool {
		_, here := r.secrets.data.find(string(k.KeyID))
		return here
	})
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, fmt.Errorf("%w: no data key in force is here", query.ErrNotYet)
	}
	spec := &record.PledgeSpec{ConsentID: c.ConsentID, Epoch: e.Epoch, KeyID: key.KeyID, TemplateID: t.TemplateID}
	known, err := loadRecord[record.Pledge](r.view, record.PledgeKey(c.ConsentID, t.TemplateID, e.Epoch))
	switch {
	case err == nil:
		old, err := loadRecord[record.DataKey](r.view, record.DataKeyKey(record.OrgID(r.member), known.KeyID))
		if err == nil && old.Usable(record.Millis(r.view.Time())) {
			return nil, nil
		}
		spec.Pledge = known.Pledge
		return spec, nil
	case !errors.Is(err, errNoRecord):
		return nil, err
	}
	spec.Pledge, err = r.pledge(ctx, c, t, e.Epoch)
	return spec, err
}

// pledge makes the pledge, or finds the one that was made.
func (r *pledging) pledge(ctx context.Context, c *record.Consent, t *record.Template, epoch uint64) (record.Hash, error) {
	of := total.Of{ConsentID: c.ConsentID, Epoch: epoch, CodeHash: t.CodeHash}
	if hash, ok, err := r.totals.Made(ctx, of); err != nil || ok {
		return hash, err
	}
	product, err := loadRecord[record.Product](r.view, record.ProductKey(t.ProductID))
	if err != nil {
		return record.Hash{}, err
	}
	figure, err := r.answerer.Figure(ctx, &query.Permit{
		Request: record.Request{ConsentID: c.ConsentID, Consumer: c.Consumer(), Provider: c.Provider()}, Consent: *c, Template: *t, Product: *product,
	})
	if err != nil {
		return record.Hash{}, err
	}
	return r.totals.Make(ctx, of, figure)
}

// register puts a pledge on the ledger, and reports whether that is settled.
func (r *pledging) register(ctx context.Context, spec *record.PledgeSpec) bool {
	text, err := record.Encode(spec)
	if err != nil {
		r.log.Error("a pledge cannot be written", "consent", spec.ConsentID, "err", err)
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, dutySubmit)
	defer cancel()
	id := fmt.Sprintf("pledge/%s/%s/%d/%s", spec.ConsentID, spec.TemplateID, spec.Epoch, spec.KeyID)
	code, err := r.submitOwn(ctx, id, record.ContractAccess, "RegisterPledge", text)
	switch {
	case err != nil:
		r.log.Info("a pledge is not ordered yet, will try again", "consent", spec.ConsentID, "reason", err)
		return false
	case code == record.OK, code == record.CodeAlreadyExists, code == record.CodeDuplicate:
		return true
	case code == record.CodeWrongState, code == record.CodeTemplateRetired:
		r.log.Debug("a pledge was not needed any more", "consent", spec.ConsentID, "code", code)
		return true // another epoch, or the end of the consent, is hinted at by its own event
	}
	r.log.Error("the ledger refuses a pledge of this node: check that its transaction key is registered (assent member node)", "consent", spec.ConsentID, "code", code)
	return false
}
