//go:build simulation

package node

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// clients are the people of a simulation: a lender who asks, subjects who agree
// and withdraw, and somebody who hands in again what others have handed in.
type clients struct {
	s       *simulation
	ctx     context.Context // ends with the work
	running sync.WaitGroup
	lend    *sdk.Client
	officer *sdk.Client   // of the answering bank
	relays  []*sdk.Client // integrations of every member: any may bring a withdrawal

	mu       sync.Mutex
	consents []*simConsent
	tickets  []*simTicket
	failures []error
}

// simConsent is a consent that was asked for, whether or not it came to be.
type simConsent struct {
	terms     sdk.ConsentTerms
	principal *ecdsa.PrivateKey
	customer  *customer
}

// simTicket is a permitted request, and what came of it.
type simTicket struct {
	consent  *simConsent
	ticket   *sdk.Ticket
	decision *sdk.Decision
	answer   *sdk.Answer // nil: not received yet
}

// dialAll connects the people; every node must be up.
func (s *simulation) dialAll() *clients {
	w := &clients{s: s}
	dial := func(member, role string) *sdk.Client {
		p := s.node(member)
		c, err := p.dial(s.t.Context(), sdk.WithIdentity(sdk.OrgID(member), s.people[member+"/"+role]),
			sdk.WithTimeouts(sdk.Timeouts{Connect: time.Second, Call: 3 * time.Second, Commit: 6 * time.Second}), sdk.WithAttempts(2))
		if err != nil {
			s.t.Fatalf("dial %s: %v", p.name, err)
		}
		return c
	}
	w.lend, w.officer = dial(lender, "integration"), dial(harbour, "officer")
	w.relays = []*sdk.Client{w.lend, dial(harbour, "integration"), dial(lake, "integration")}
	return w
}

// start sets the people to work until ctx ends.
func (w *clients) start(ctx context.Context, seed uint64) {
	w.ctx = ctx
	for i, work := range []func(*rand.Rand){w.ask, w.ask, w.live, w.live} {
		w.running.Go(func() { work(rand.New(rand.NewPCG(seed, uint64(200+i)))) })
	}
}

func (w *clients) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, fmt.Errorf(format, args...))
}

// rest pauses and reports whether there is more to do.
func (w *clients) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// submit hands in one transaction and writes down what it is told. Now and then
// it gives up a transaction of which it does not know what became, and now and
// then another node is handed the same bytes.
func (w *clients) submit(r *rand.Rand, who *sdk.Client, a *act, tx *sdk.Transaction) *sdk.Outcome {
	a.id = tx.ID()
	w.s.history.begin(a)
	out, err := who.Submit(w.ctx, tx)
	for try := 0; out == nil && try < 3 && w.ctx.Err() == nil && r.IntN(3) > 0; try++ {
		var unknown *sdk.CommitUnknown
		if !errors.As(err, &unknown) {
			break
		}
		out, err = who.Resolve(w.ctx, unknown)
	}
	var unknown *sdk.CommitUnknown
	switch {
	case out == nil && !errors.As(err, &unknown):
		w.s.history.denied(a)
		return nil // another node must not get it now: it was never sent, says the SDK
	case out != nil:
		decision := record.Code("")
		if a.what == "Request" && out.Code == record.OK {
			d, err := record.Load[record.Decision](out.Payload)
			if err != nil {
				w.fail("request %s: payload: %v", a.id, err)
				return nil
			}
			decision = d.Code
		}
		w.s.history.told(a, position{ledger.Height(out.Height), out.Index}, out.Code, decision)
	}
	if r.IntN(4) == 0 {
		w.again(r, tx.Bytes())
	}
	return out
}

// again hands the bytes of a transaction to some validator's node, as a member
// that repeats what it has seen.
func (w *clients) again(r *rand.Rand, raw []byte) {
	p := w.s.kind("validator")[r.IntN(4)]
	n := w.s.running(p)
	if n == nil {
		return
	}
	_, err := n.chain.Submit(w.ctx, raw)
	for _, may := range []error{nil, chain.ErrKnown, chain.ErrNotReady, chain.ErrStopped, chain.ErrBusy} {
		if errors.Is(err, may) {
			return
		}
	}
	if w.ctx.Err() == nil && !p.machine.life.gone.Load() {
		w.fail("%s does not take a transaction again: %v", p.name, err)
	}
}

// live makes consents and ends them.
func (w *clients) live(r *rand.Rand) {
	for w.rest(time.Duration(200+r.IntN(1500)) * time.Millisecond) {
		if c := w.pick(r); c != nil && r.IntN(3) == 0 {
			w.revoke(r, c)
		} else {
			w.agree(r)
		}
	}
}

func (w *clients) pick(r *rand.Rand) *simConsent {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.consents) == 0 {
		return nil
	}
	return w.consents[max(0, len(w.consents)-1-r.IntN(6))] // one of the newest
}

// agree makes a consent, in steps of which each may fail and be left.
func (w *clients) agree(r *rand.Rand) {
	who := &w.s.customers[r.IntN(len(w.s.customers))]
	uses := uint64(1 + r.IntN(6))
	terms, err := w.lend.Consents().Draft(w.ctx, sdk.ConsentDraft{
		Provider: harbour, Product: productOf(harbour), Purposes: []sdk.Purpose{record.CreditChecking}, NoticeHash: w.s.notice,
		Templates: []sdk.TemplateID{templateOf(harbour, incomeBand)}, Expires: time.Now().Add(24 * time.Hour),
		MaxUses: uses, PerDay: 1 + uint64(r.IntN(int(uses))),
	})
	if err != nil {
		return // the lender's node does not answer
	}
	wallet, c := newKey(w.s.t), &simConsent{principal: newKey(w.s.t), customer: who}
	if err := w.officer.Bind(w.ctx, who.identity, crypto.PubkeyToAddress(wallet.PublicKey)); err != nil {
		return // the bank's does not
	}
	terms.PrincipalKey = crypto.PubkeyToAddress(c.principal.PublicKey)
	endorsement := &record.WalletEndorsement{Wallet: crypto.PubkeyToAddress(wallet.PublicKey), Signature: w.s.sign(wallet, record.EndorsementOf(terms).Digest)}
	prepared, err := w.lend.Consents().Prepare(w.ctx, terms, sdk.SealedPart{SubjectID: who.identity, Endorsement: endorsement})
	if err != nil {
		return
	}
	c.terms = prepared.Terms
	body, err := record.Encode(&c.terms)
	if err != nil {
		w.fail("terms: %v", err)
		return
	}
	out := w.invoke(r, w.lend, &act{what: "Create", consent: c.terms.ConsentID, terms: &c.terms}, lender, string(body))
	w.mu.Lock()
	w.consents = append(w.consents, c) // also when nobody knows whether it exists
	w.mu.Unlock()
	if out != nil && out.Code == record.OK {
		_ = w.lend.Consents().Deliver(w.ctx, prepared) // without it the bank cannot answer, and the request runs out
	}
	evidence, err := record.Encode(&record.Evidence{Signature: w.s.sign(c.principal, c.terms.Digest)})
	if err != nil {
		w.fail("evidence: %v", err)
		return
	}
	w.invoke(r, w.lend, &act{what: "Authorise", consent: c.terms.ConsentID}, lender, string(c.terms.ConsentID), string(record.Wallet), string(evidence))
}

func (w *clients) revoke(r *rand.Rand, c *simConsent) {
	const why = record.ReasonWithdrawn
	evidence, err := record.Encode(&record.Evidence{Signature: w.s.sign(c.principal, record.RevocationOf(&c.terms, why).Digest)})
	if err != nil {
		w.fail("evidence: %v", err)
		return
	}
	i := r.IntN(len(w.relays))
	member := []string{lender, harbour, lake}[i]
	w.invoke(r, w.relays[i], &act{what: "Revoke", consent: c.terms.ConsentID}, member, string(c.terms.ConsentID), string(record.BySubject), string(why), string(evidence))
}

// invoke signs and submits a call of the consent contract.
func (w *clients) invoke(r *rand.Rand, who *sdk.Client, a *act, member string, args ...string) *sdk.Outcome {
	tx, err := who.NewTransaction(record.ContractConsent, a.what, args...)
	if err == nil {
		tx, err = tx.Sign(w.s.people[member+"/integration"])
	}
	if err != nil {
		w.fail("%s: %v", a.what, err)
		return nil
	}
	return w.submit(r, who, a, tx)
}

// ask uses consents.
func (w *clients) ask(r *rand.Rand) {
	for w.rest(time.Duration(20+r.IntN(700)) * time.Millisecond) {
		c := w.pick(r)
		if c == nil {
			continue
		}
		ticket, err := w.lend.Queries().Prepare(sdk.QueryRequest{Consent: c.terms.ConsentID, Template: templateOf(harbour, incomeBand), Purpose: record.CreditChecking})
		if err != nil {
			w.fail("prepare: %v", err)
			return
		}
		tx, err := sdk.ParseTransaction(ticket.Transaction)
		if err != nil {
			w.fail("ticket: %v", err)
			return
		}
		out := w.submit(r, w.lend, &act{what: "Request", consent: c.terms.ConsentID}, tx)
		if out == nil || out.Code != record.OK {
			continue
		}
		// The same ticket again asks once, and says what the ledger said.
		d, err := w.lend.Queries().Request(w.ctx, ticket)
		if err != nil || !d.Permit {
			continue
		}
		t := &simTicket{consent: c, ticket: ticket, decision: d}
		w.mu.Lock()
		w.tickets = append(w.tickets, t)
		w.mu.Unlock()
		if r.IntN(2) == 0 {
			w.running.Go(func() { _ = w.receive(w.ctx, t) }) // an error: not yet; it is asked for again in the end
		}
	}
}

// receive waits for what comes of a permitted request.
func (w *clients) receive(ctx context.Context, t *simTicket) error {
	steps := w.lend.Queries()
	got, err := steps.Await(ctx, t.ticket, t.decision)
	if err != nil {
		return err
	}
	a, err := steps.Open(t.ticket, got)
	if err != nil {
		w.fail("open the answer to %s: %v", t.decision.RequestID, err)
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.answer != nil && *t.answer != *a && (t.answer.Outcome != a.Outcome || t.answer.Value != a.Value) {
		w.failures = append(w.failures, fmt.Errorf("request %s was answered %s %s and then %s %s", a.RequestID, t.answer.Outcome, t.answer.Value, a.Outcome, a.Value))
	}
	t.answer = a
	if want := t.consent.customer.band(); a.Outcome == record.Answered && a.Value != want {
		w.failures = append(w.failures, fmt.Errorf("request %s was answered %s, the bank's row says %s", a.RequestID, a.Value, want))
	}
	return nil
}

// verdict joins what went wrong before the clients' eyes.
func (w *clients) verdict() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.failures...)
}
