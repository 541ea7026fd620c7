package node

import (
	"context"
	"crypto/hpke"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/celquery"
	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/sdk"
)

// call puts a function on the ledger in a person's name.
func (p *peer) call(role, contract, function string, args ...string) *sdk.Outcome {
	p.c.t.Helper()
	o, err := p.as(role).Invoke(p.c.t.Context(), contract, function, args...)
	if err != nil {
		p.c.t.Fatalf("%s.%s: %v", contract, function, err)
	}
	return o
}

func encoded(t *testing.T, r record.Record) string {
	t.Helper()
	b, err := record.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// held reads a record from a node's own state.
func held[T any, P interface {
	*T
	record.Record
}](p *peer, key string) *T {
	p.c.t.Helper()
	r, err := loadRecord[T, P](p.node.state.View(), key)
	if err != nil {
		p.c.t.Fatalf("%s: %v", p.name, err)
	}
	return r
}

// terminated waits until both parties of a consent have signed for its end.
func (c *cluster) terminated(id sdk.ConsentID) *record.Termination {
	c.t.Helper()
	var end *record.Termination
	eventually(c.t, 30*time.Second, func() (err error) {
		if end, err = loadRecord[record.Termination](c.node(lake).node.state.View(), record.TerminationKey(id)); err != nil {
			return err
		}
		if len(end.Pending) > 0 {
			return fmt.Errorf("%v have not signed", end.Pending)
		}
		return nil
	})
	return end
}

// agreeInWriting makes a consent by a document, countersigned by the bank, which
// has bound it to a customer or not.
func (c *cluster) agreeInWriting(bank string, notice sdk.Hash, identity string, bound bool) *agreement {
	t := c.t
	t.Helper()
	ctx, lend := t.Context(), c.node(lender).as("integration")
	terms, err := lend.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: sdk.OrgID(bank), Product: productOf(bank), Purposes: []sdk.Purpose{record.CreditChecking}, NoticeHash: notice,
		Templates: []sdk.TemplateID{templateOf(bank, incomeBand)}, Expires: time.Now().Add(24 * time.Hour), MaxUses: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	terms.ConsentType = record.Written
	prepared, err := lend.Consents().Prepare(ctx, terms, sdk.SealedPart{SubjectID: identity})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lend.Consents().Create(ctx, prepared); err != nil {
		t.Fatal(err)
	}
	document := record.Hash(crypto.Keccak256Hash([]byte("the document"), terms.RecordCommitment[:]))
	if _, err := lend.Consents().Authorise(ctx, terms.ConsentID, record.WrittenEvidence, record.Evidence{EvidenceHash: document}); err != nil {
		t.Fatal(err)
	}
	if bound {
		if err := c.node(bank).as("officer").BindConsent(ctx, terms.ConsentID, identity); err != nil {
			t.Fatal(err)
		}
	}
	c.node(bank).call("officer", record.ContractConsent, "Countersign", string(terms.ConsentID), document.Hex())
	return &agreement{c: c, bank: bank, id: terms.ConsentID, terms: prepared.Terms}
}

func TestAWrittenConsentIsAnsweredForWhomTheBankBoundIt(t *testing.T) {
	t.Parallel()
	c := newCluster(t, soloSeats)
	notice := c.publish(harbour)
	who := &c.customers[0]
	if got := value(c.agreeInWriting(harbour, notice, who.identity, true).ask(incomeBand)); got != who.band() {
		t.Errorf("the answer is %s, the bank's row says %s", got, who.band())
	}
	if got := value(c.agreeInWriting(harbour, notice, who.identity, false).ask(incomeBand)); got != record.NoRecord {
		t.Errorf("not bound, the answer is %s", got)
	}
}

// Whatever an authority suspends while an answer cannot get away, the answer never
// leaves. What does not rest on it does.
func TestASuspensionDestroysAnAnswerThatHasNotLeft(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank, judge := c.node(harbour), c.node(regulator)
	why := string(record.SuspendedForInvestigation)
	for i, x := range []struct {
		what, contract, object, suspend, reinstate string
		other                                      string // outcome of an answer by another template
	}{
		{"the template", record.ContractCatalog, string(templateOf(harbour, everLate)), "SuspendTemplate", "ReinstateTemplate", string(record.Answered)},
		{"the product", record.ContractCatalog, string(productOf(harbour)), "SuspendProduct", "ReinstateProduct", string(record.Withheld)},
		{"the lender", record.ContractMembership, lender, "SuspendMember", "ReinstateMember", string(record.Withheld)},
		{"the provider", record.ContractMembership, harbour, "SuspendMember", "ReinstateMember", string(record.Withheld)},
	} {
		a := c.agree(harbour, notice, c.customers[i].identity, true)
		bank.rules(noAnswerLeaves)
		_, d := a.request(a.question(everLate))
		_, other := a.request(a.question(incomeBand))
		sealed := bank.waiting(d.RequestID)
		bank.waiting(other.RequestID)
		judge.call("officer", x.contract, x.suspend, x.object, why)
		if got := c.node(lake).outcome(d.RequestID); got.Outcome != record.Withheld {
			t.Errorf("%s is suspended: the ledger records %s", x.what, got.Outcome)
		}
		bank.rules(nil)
		if got := c.node(lake).outcome(other.RequestID); string(got.Outcome) != x.other {
			t.Errorf("%s is suspended: the ledger records %s for another template, want %s", x.what, got.Outcome, x.other)
		}
		if c.node(lender).inbox(d.RequestID, harbour) != nil {
			t.Errorf("%s is suspended, and the answer arrived", x.what)
		}
		eventually(t, 10*time.Second, func() error {
			if n := bank.node.outbox.Answers(string(a.id)); n > 0 {
				return fmt.Errorf("%d answers are still here", n)
			}
			return nil
		})
		bank.destroyed("the answer withheld as "+x.what+" was suspended", sealed[len(sealed)-64:])
		judge.call("officer", x.contract, x.reinstate, x.object)
	}
}

// A provider that goes down with a sealed answer, and comes back after the
// deadline, says OVERDUE and destroys it.
func TestAnAnswerIsOverdueAfterARestartAndNeverLeaves(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank := c.node(harbour)
	a := c.agree(harbour, notice, c.customers[0].identity, true)
	c.cut(bank, c.node(lender))
	q := a.question(incomeBand)
	q.Deadline = 3 * time.Second
	ticket, d := a.request(q)
	sealed := bank.waiting(d.RequestID)
	bank.stop()
	c.healAll()
	eventually(t, 20*time.Second, func() error {
		if left := time.Until(d.Deadline.Add(50 * time.Millisecond)); left > 0 {
			return fmt.Errorf("%s are left", left)
		}
		return nil
	})
	c.start(bank)
	r := a.receive(ticket, d)
	if r.Answer.Outcome != record.Overdue || r.Verified.Receipt.Outcome != record.Overdue || string(r.Verified.Receipt.OrgID) != harbour {
		t.Errorf("the lender is told %s, the ledger certifies %s by %s", r.Answer.Outcome, r.Verified.Receipt.Outcome, r.Verified.Receipt.OrgID)
	}
	if c.node(lender).inbox(d.RequestID, harbour) != nil {
		t.Error("the answer arrived after its deadline")
	}
	eventually(t, 10*time.Second, bank.idle)
	if _, body, ok, err := bank.node.answerer.Outcome(t.Context(), d.RequestID); err != nil || !ok || body != nil {
		t.Errorf("the opening of an overdue answer: %v, %v", body, err)
	}
	if err := bank.node.private.Checkpoint(t.Context()); err != nil {
		t.Error(err)
	}
	bank.destroyed("the overdue answer", sealed[len(sealed)-64:])
	// Whatever its own clock says: what the ledger calls overdue never leaves.
	v, err := bank.node.guard(t.Context(), outbox.Item{ID: answerItem + string(d.RequestID), ConsentID: string(a.id)})
	if err != nil || v != outbox.Withhold {
		t.Errorf("the guard says %v, %v of an answer that the ledger calls overdue", v, err)
	}
}

// batch asks for many answers in one transaction, and opens them.
type batch struct {
	c      *cluster
	key    hpke.PrivateKey
	items  []record.BatchItem
	result *record.Batch
}

func (c *cluster) batch(items []record.BatchItem) *batch {
	c.t.Helper()
	key, err := answer.GenerateKey()
	if err != nil {
		c.t.Fatal(err)
	}
	o := c.node(lender).call("integration", record.ContractAccess, "RequestBatch", encoded(c.t, &record.BatchSpec{AnswerKey: key.PublicKey().Bytes(), Items: items}))
	b, err := record.Load[record.Batch](o.Payload)
	if err != nil {
		c.t.Fatal(err)
	}
	return &batch{c, key, items, b}
}

// value waits for the answer to an item, opens it and holds it against its own
// receipt.
func (b *batch) value(i int) string {
	t := b.c.t
	t.Helper()
	id := b.result.Results[i].RequestID
	lend := b.c.node(lender)
	receipt := lend.outcome(id)
	r := held[record.Request](lend, record.RequestKey(id))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	wire, err := lend.node.inbox.Wait(ctx, string(id), string(r.Provider))
	if err != nil {
		t.Fatalf("item %d: %v", i, err)
	}
	sealed, err := answer.DecodeSealed(wire)
	if err != nil {
		t.Fatal(err)
	}
	x, err := answer.Open(b.key, answer.Context{ChainID: b.c.genesis.Hash(), RequestID: id, Recipient: lender, KeyID: answer.KeyID(r.AnswerKey)}, sealed)
	if err != nil {
		t.Fatalf("item %d: %v", i, err)
	}
	tpl := held[record.Template](lend, record.TemplateKey(r.TemplateID))
	err = answer.Verify(x, answer.Expect{ChainID: b.c.genesis.Hash(), RequestID: id, ConsentID: r.ConsentID, TemplateID: r.TemplateID,
		CodeHash: r.CodeHash, Epoch: r.Epoch, Outputs: tpl.Outputs}, *receipt)
	if err != nil {
		t.Errorf("item %d: %v", i, err)
	}
	return x.Body.Value
}

// Two banks answer their items of one batch. One of them dies with some of its
// items waiting, and forgets nothing and answers nothing twice.
func TestABatchIsAnsweredItemByItemAcrossACrash(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notices := map[string]sdk.Hash{harbour: c.publish(harbour), lake: c.publish(lake)}
	var items []record.BatchItem
	var want []string
	for i := range 3 * len(c.customers) {
		who, bank := &c.customers[i%len(c.customers)], []string{harbour, lake}[i%2]
		if i < len(c.customers) { // later items use the same consents again
			a := c.agree(bank, notices[bank], who.identity, true)
			items = append(items, record.BatchItem{ConsentID: a.id, Params: record.ParamValues{}, Purpose: record.CreditChecking, TemplateID: templateOf(bank, incomeBand)})
		} else {
			items = append(items, items[i%len(c.customers)])
		}
		want = append(want, who.band())
	}
	items = append(items, record.BatchItem{ConsentID: record.NewConsentID([16]byte{1}), Params: record.ParamValues{}, Purpose: record.CreditChecking, TemplateID: templateOf(harbour, incomeBand)})
	c.converge(c.nodes...)
	bank := c.node(harbour)
	unlock := c.lockVault(harbour)
	b := c.batch(items)
	eventually(t, 20*time.Second, func() error {
		if n := bank.node.answerer.Waiting(); n < len(want)/2 {
			return fmt.Errorf("%d requests wait for the vault", n)
		}
		return nil
	})
	for i := range want {
		if i%2 == 1 && b.value(i) != want[i] {
			t.Errorf("item %d is not what %s holds", i, lake)
		}
	}
	eventually(t, 20*time.Second, c.node(lake).idle)
	c.calm(c.nodes...)
	bank.crashTo(bank.image(), unlock)
	for i := range want {
		if got := b.value(i); got != want[i] {
			t.Errorf("item %d is answered %s, the row says %s", i, got, want[i])
		}
	}
	if last := b.result.Results[len(want)]; last.RequestID != "" || last.Code != record.CodeConsentUnknown {
		t.Errorf("an unknown consent's item became %+v", last)
	}
	seen := make(map[record.RequestID][]byte)
	for _, p := range []*peer{bank, c.node(lake)} {
		for _, x := range p.departed() {
			id := requestOf(t, x)
			if seen[id] != nil && !slices.Equal(seen[id], x.payload) {
				t.Errorf("two different answers to %s left", id)
			}
			seen[id] = x.payload
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d answers left to %d permits", len(seen), len(want))
	}
}

// Everybody signs for the end of a consent, without being told: revoked while all
// are there, revoked while the bank is down, and run out.
func TestTheEndOfAConsentIsSignedByBothParties(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank := c.node(harbour)
	revoked := c.agree(harbour, notice, c.customers[0].identity, true)
	missed := c.agree(harbour, notice, c.customers[1].identity, true)
	short := c.agree(harbour, notice, c.customers[2].identity, true, time.Now().Add(4*time.Second))
	stays := c.agree(harbour, notice, c.customers[3].identity, true)
	if got := value(revoked.ask(incomeBand)); got != c.customers[0].band() {
		t.Fatalf("the answer is %s", got)
	}

	revoked.revoke(c.node(lake))
	end := c.terminated(revoked.id)
	for _, a := range end.Acknowledged {
		if want := c.node(string(a.OrgID)).node.txKey.Address(); a.ClientKey != want {
			t.Errorf("%s has signed with %s, want its node's key", a.OrgID, a.ClientKey)
		}
	}
	if end.DeletionDue == 0 || end.Status != record.Revoked {
		t.Errorf("the termination is %+v", end)
	}

	bank.stop()
	missed.revoke(c.node(lake))
	c.start(bank)
	c.terminated(missed.id)

	end = c.terminated(short.id)
	if end.Status != record.Expired || end.EndedAt != short.terms.ExpirationDateTime || end.Initiator != record.ByTime || end.DeletionDue != 0 {
		t.Errorf("the termination of a consent that ran out is %+v", end)
	}
	if s := held[record.Consent](bank, record.ConsentKey(stays.id)).Status; s != record.Authorised {
		t.Errorf("a consent that nobody ended is %s", s)
	}
}

// A request that waits for a sealed part is withheld when its consent ends, not
// overdue an hour later.
func TestARequestThatWaitsIsWithheldWhenItsConsentEnds(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	lend, bank := c.node(lender), c.node(harbour)
	lend.rules(&rules{request: func(_ context.Context, _ network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
		if p == network.ProtocolSealed {
			return nil, fmt.Errorf("%w: %w", network.ErrNotSent, errRule)
		}
		return next()
	}})
	a := c.agree(harbour, notice, c.customers[0].identity, true)
	_, d := a.request(a.question(incomeBand))
	eventually(t, 20*time.Second, func() error {
		if bank.node.answerer.Waiting() == 0 {
			return errors.New("nothing waits")
		}
		return nil
	})
	a.revoke(c.node(lake))
	if got := c.node(lake).outcome(d.RequestID); got.Outcome != record.Withheld {
		t.Errorf("the ledger records %s", got.Outcome)
	}
	c.terminated(a.id)
	lend.rules(nil)
	c.converge(c.nodes...) // the lender's node gives up the sealed part
	for _, p := range c.nodes {
		if p.node.answerer == nil {
			continue
		}
		var n int
		if err := p.node.private.Reader().QueryRow(`SELECT count(*) FROM query_parts WHERE consent_id = ?`, string(a.id)).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s keeps %d sealed parts of the ended consent (%v)", p.name, n, err)
		}
	}
}

// A permit that a stopping node was still working on stays above its checkpoint,
// however much of the ledger was read beyond, and is delivered again.
func TestAPermitUnderWayWhenTheNodeStopsIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	db, err := outbox.OpenPrivate(t.Context(), filepath.Join(t.TempDir(), privateFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a, err := query.Open(t.Context(), query.Config{
		Store: db, Departures: departures{}, Engine: celquery.New(), ChainID: record.Hash{1}, Member: harbour, TagKey: make([]byte, 32),
		Vault:   func(record.ProductID) (vault.Connector, bool) { return nil, false },
		DataKey: func(string) (hpke.PrivateKey, bool) { return nil, false },
	})
	if err != nil {
		t.Fatal(err)
	}
	p := newPermits(a, 0, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	// Another bank's permit: the answerer says no to it as often as it is asked.
	if err := p.start(ctx, query.Permit{Request: record.Request{Provider: lake, Decision: record.Permit}, Height: 7}); err != nil {
		t.Fatal(err)
	}
	if err := p.passed(t.Context(), 9, time.Now()); err != nil {
		t.Fatal(err)
	}
	stop()
	p.running.Wait()
	if p.settled(7) || !p.settled(6) {
		t.Error("a permit that nobody finished counts as settled")
	}
	if err := p.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h, err := a.Checkpoint(t.Context()); err != nil || h != 6 {
		t.Errorf("the checkpoint is %d (%v), want below the permit", h, err)
	}
}
