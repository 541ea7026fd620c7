package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/scripts/faults/check"
	"github.com/assent-network/assent/sdk"
)

// load is the clients: two of each lender make consents, use them and end them,
// and one of every member writes records of its own.
type load struct {
	w       *world
	history *check.History
	census  *census
	people  map[string]*person // by member
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	consents []*agreed
	unknown  []maybe
	failures []error
}

// person is a member's clients on its own node.
type person struct {
	member string
	via    string // the node's name
	integ  *sdk.Client
	admin  *sdk.Client
	sign   sdk.Signer // of integ
}

// agreed is a consent that was asked for, whether or not it came to be.
type agreed struct {
	terms     sdk.ConsentTerms
	principal *ecdsa.PrivateKey
	delivered bool // its sealed part is with the lender's node for sure
}

// maybe is a transaction of which nobody knows what became.
type maybe struct {
	act  *check.Act
	who  *sdk.Client
	what *sdk.CommitUnknown
}

// patience of clients: they are to notice that a node does not answer, and the
// history is to hold acts of unknown outcome.
var patience = sdk.Timeouts{Connect: time.Second, Call: 3 * time.Second, Commit: 6 * time.Second}

// dial connects the clients; every node must be up.
func (w *world) dial(ctx context.Context) (*load, error) {
	l := &load{w: w, history: check.NewHistory(), people: make(map[string]*person)}
	l.census = newCensus(w)
	for _, m := range members {
		x := w.net.First(m)
		p := &person{member: m, via: x.Name}
		l.people[m] = p
		var err error
		if p.integ, err = w.net.Client(ctx, m, "integration", sdk.WithTimeouts(patience), sdk.WithAttempts(2)); err != nil {
			return l, err
		}
		if p.admin, err = w.net.Client(ctx, m, "admin", sdk.WithTimeouts(patience), sdk.WithAttempts(2)); err != nil {
			return l, err
		}
		if p.sign, err = w.net.Signer(m, "integration"); err != nil {
			return l, err
		}
	}
	return l, nil
}

// start sets the clients to work.
func (l *load) start(ctx context.Context, seed uint64) {
	ctx, l.end = context.WithCancel(ctx)
	for i, m := range members {
		p := l.people[m]
		l.running.Go(func() { l.write(ctx, rand.New(rand.NewPCG(seed, uint64(100+i))), p) })
	}
	for i := range 2 * len(lenders) {
		p := l.people[lenders[i%2]]
		l.running.Go(func() { l.live(ctx, rand.New(rand.NewPCG(seed, uint64(200+i))), p) })
	}
}

// stop ends the work and waits for it.
func (l *load) stop() {
	if l.end != nil {
		l.end()
	}
	l.running.Wait()
}

func (l *load) close() {
	l.stop()
	l.census.stop()
	for _, p := range l.people {
		for _, c := range []*sdk.Client{p.integ, p.admin} {
			if c != nil {
				c.Close()
			}
		}
	}
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Errorf(format, args...))
}

// rest pauses and reports whether there is more to do.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// submit hands in one transaction and writes down what it is told.
func (l *load) submit(ctx context.Context, who *sdk.Client, a *check.Act, tx *sdk.Transaction) *sdk.Outcome {
	a.ID = tx.ID().Hex()
	l.history.Begin(a)
	// Not cut short when the work ends: the SDK's own patience bounds it.
	out, err := who.Submit(context.WithoutCancel(ctx), tx)
	return l.heard(who, a, out, err)
}

// heard writes down what became of an act.
func (l *load) heard(who *sdk.Client, a *check.Act, out *sdk.Outcome, err error) *sdk.Outcome {
	var unknown *sdk.CommitUnknown
	switch {
	case out != nil:
		decision := ""
		if a.What == check.Request && out.Code == record.OK {
			d, err := record.Load[record.Decision](out.Payload)
			if err != nil {
				l.fail("%s: payload: %v", a, err)
				return nil
			}
			decision = string(d.Code)
		}
		l.history.Told(a, check.Position{Height: out.Height, Index: out.Index}, string(out.Code), decision)
	case errors.As(err, &unknown):
		l.mu.Lock()
		l.unknown = append(l.unknown, maybe{a, who, unknown})
		l.mu.Unlock()
	default:
		l.history.Denied(a)
	}
	return out
}

// write registers one key after the other, as an admin with a long list does.
func (l *load) write(ctx context.Context, r *rand.Rand, p *person) {
	for rest(ctx, time.Duration(20+r.IntN(60))*time.Millisecond) {
		key, err := crypto.GenerateKey()
		if err != nil {
			l.fail("key: %v", err)
			return
		}
		a := &check.Act{What: check.Other, Via: p.via}
		tx, err := p.admin.NewTransaction(record.ContractMembership, "RegisterClient", registration(crypto.PubkeyToAddress(key.PublicKey)))
		if err == nil {
			var s sdk.Signer
			if s, err = l.w.net.Signer(p.member, "admin"); err == nil {
				tx, err = tx.Sign(s)
			}
		}
		if err != nil {
			l.fail("register: %v", err)
			return
		}
		l.submit(ctx, p.admin, a, tx)
	}
}

func registration(a sdk.Address) string {
	b, err := sdk.JSON(&sdk.ClientSpec{Address: a, Roles: []sdk.ClientRole{"auditor"}, Label: "load"})
	if err != nil {
		panic(err) // our own record
	}
	return string(b)
}

// live makes consents, uses them and ends them.
func (l *load) live(ctx context.Context, r *rand.Rand, p *person) {
	for rest(ctx, time.Duration(20+r.IntN(100))*time.Millisecond) {
		c := l.agree(ctx, r, p)
		if c == nil {
			rest(ctx, 200*time.Millisecond) // the node does not answer
			continue
		}
		for range 1 + r.IntN(4) {
			l.ask(ctx, p, c)
		}
		if r.IntN(3) > 0 {
			var both sync.WaitGroup
			both.Go(func() { l.revoke(ctx, l.people[members[r.IntN(len(members))]], c) })
			l.ask(ctx, p, c)
			both.Wait()
			l.ask(ctx, p, c)
		}
		if old := l.pick(r, p.member); old != nil {
			l.ask(ctx, p, old)
		}
	}
}

// pick returns one of a lender's newest consents.
func (l *load) pick(r *rand.Rand, member string) *agreed {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.consents) - 1 - r.IntN(8); i >= 0; i-- {
		if c := l.consents[i]; string(c.terms.Consumer()) == member {
			return c
		}
	}
	return nil
}

// agree makes a consent. nil: the lender's node did not help to draft it.
func (l *load) agree(ctx context.Context, r *rand.Rand, p *person) *agreed {
	terms, err := p.integ.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: bank, Product: product, Purposes: []sdk.Purpose{record.CreditChecking}, NoticeHash: l.w.notice,
		Templates: []sdk.TemplateID{late}, Expires: time.Now().Add(24 * time.Hour), MaxUses: uint64(1 + r.IntN(5)),
	})
	if err != nil {
		return nil
	}
	who := r.IntN(customers)
	principal, err := crypto.GenerateKey()
	if err != nil {
		l.fail("key: %v", err)
		return nil
	}
	c := &agreed{principal: principal}
	terms.PrincipalKey = crypto.PubkeyToAddress(principal.PublicKey)
	endorsed := record.EndorsementOf(terms)
	signature, err := l.sign(l.w.wallets[who], endorsed.Digest)
	if err != nil {
		l.fail("endorse: %v", err)
		return nil
	}
	prepared, err := p.integ.Consents().Prepare(ctx, terms, sdk.SealedPart{
		SubjectID: identity(who), Endorsement: &record.WalletEndorsement{Wallet: crypto.PubkeyToAddress(l.w.wallets[who].PublicKey), Signature: signature},
	})
	if err != nil {
		return nil
	}
	c.terms = prepared.Terms
	body, err := record.Encode(&c.terms)
	if err != nil {
		l.fail("terms: %v", err)
		return nil
	}
	out := l.invoke(ctx, p, &check.Act{What: check.Create, MaxUses: c.terms.AccessLimits.MaxUses}, c, string(body))
	if out != nil && out.Code == record.OK {
		c.delivered = p.integ.Consents().Deliver(ctx, prepared) == nil
	}
	if evidence, ok := l.evidence(c.principal, c.terms.Digest); ok {
		l.invoke(ctx, l.people[members[r.IntN(len(members))]], &check.Act{What: check.Authorise}, c, string(c.terms.ConsentID), string(record.Wallet), evidence)
	}
	l.mu.Lock()
	l.consents = append(l.consents, c)
	l.mu.Unlock()
	return c
}

func (l *load) revoke(ctx context.Context, p *person, c *agreed) {
	const why = record.ReasonWithdrawn
	evidence, ok := l.evidence(c.principal, record.RevocationOf(&c.terms, why).Digest)
	if !ok {
		return
	}
	out := l.invoke(ctx, p, &check.Act{What: check.Revoke}, c, string(c.terms.ConsentID), string(record.BySubject), string(why), evidence)
	if out != nil && out.Code == record.OK {
		l.census.revoked(string(c.terms.Consumer()), string(c.terms.ConsentID), time.Now())
	}
}

// ask uses a consent. One whose sealed part may not have been sent is left alone:
// the bank could not answer.
func (l *load) ask(ctx context.Context, p *person, c *agreed) {
	if !c.delivered {
		return
	}
	ticket, err := p.integ.Queries().Prepare(sdk.QueryRequest{Consent: c.terms.ConsentID, Template: late, Purpose: record.CreditChecking})
	if err != nil {
		l.fail("prepare: %v", err)
		return
	}
	tx, err := sdk.ParseTransaction(ticket.Transaction)
	if err != nil {
		l.fail("ticket: %v", err)
		return
	}
	id, err := ticket.RequestID()
	if err != nil {
		l.fail("ticket: %v", err)
		return
	}
	l.census.asked(string(c.terms.ConsentID), string(id))
	l.submit(ctx, p.integ, &check.Act{What: check.Request, Consent: string(c.terms.ConsentID), Request: string(id), Via: p.via}, tx)
}

func (l *load) sign(key *ecdsa.PrivateKey, digest func(record.Hash) (record.Hash, error)) ([]byte, error) {
	d, err := digest(l.w.net.Genesis().Hash())
	if err != nil {
		return nil, err
	}
	sig, err := ledger.NewKeySigner(key).Sign(d)
	return sig[:], err
}

func (l *load) evidence(key *ecdsa.PrivateKey, digest func(record.Hash) (record.Hash, error)) (string, bool) {
	sig, err := l.sign(key, digest)
	if err != nil {
		l.fail("evidence: %v", err)
		return "", false
	}
	b, err := record.Encode(&record.Evidence{Signature: sig})
	if err != nil {
		l.fail("evidence: %v", err)
		return "", false
	}
	return string(b), true
}

// invoke signs and submits a call of the consent contract.
func (l *load) invoke(ctx context.Context, p *person, a *check.Act, c *agreed, args ...string) *sdk.Outcome {
	a.Consent, a.Via = string(c.terms.ConsentID), p.via
	tx, err := p.integ.NewTransaction(record.ContractConsent, a.What, args...)
	if err == nil {
		tx, err = tx.Sign(p.sign)
	}
	if err != nil {
		l.fail("%s: %v", a.What, err)
		return nil
	}
	return l.submit(ctx, p.integ, a, tx)
}

// resolve finds out what became of the transactions of which nobody could tell,
// as a client does.
func (l *load) resolve(ctx context.Context) {
	l.mu.Lock()
	open := slices.Clone(l.unknown)
	l.mu.Unlock()
	for _, m := range open {
		// That it never happened is known for sure only when its time is over, which
		// is longer than a scenario: then it stays unknown.
		out, _ := m.who.Resolve(ctx, m.what)
		if out != nil {
			l.heard(m.who, m.act, out, nil)
		}
	}
}

// verdict lists what went wrong before the clients' eyes.
func (l *load) verdict() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, err := range l.failures {
		if len(out) < 5 {
			out = append(out, err.Error())
		}
	}
	return out
}
