package node

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/metrics"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/sdk"
)

// find returns where bytes stand in what a node keeps beside the ledger.
func (p *peer) find(needle []byte) (where []string) {
	p.c.t.Helper()
	for _, name := range []string{privateFile, privateFile + "-wal"} {
		file, err := os.ReadFile(filepath.Join(p.cfg.DataDir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			p.c.t.Fatal(err)
		}
		if bytes.Contains(file, needle) {
			where = append(where, name)
		}
	}
	return where
}

// account is what a customer's answers may have told so far, in words.
func (p *peer) account(identity string) string {
	p.c.t.Helper()
	lines, err := p.node.answerer.Leaked(p.c.t.Context(), vault.Subject(identity))
	if err != nil {
		p.c.t.Fatal(err)
	}
	if len(lines) == 0 {
		p.c.t.Fatal("the account is empty")
	}
	return fmt.Sprint(lines)
}

func TestErasureDestroysWhatLeadsToThePerson(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank, lend := c.node(harbour), c.node(lender)
	who := &c.customers[0]
	a, other := c.agree(harbour, notice, who.identity, true), c.agree(harbour, notice, who.identity, true)
	ticket, d := a.request(a.question(everLate))
	a.receive(ticket, d)
	both := a.ask(incomeBand)
	other.ask(incomeBand)
	c.converge(c.nodes...)

	// What is planted is there, or a search that finds nothing proves nothing.
	planted := make(map[string][]byte)
	for _, id := range []sdk.RequestID{d.RequestID, both.Decision.RequestID} {
		_, body, _, err := bank.node.answerer.Outcome(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		planted["the salt of the answer to "+string(id)] = []byte(strings.TrimPrefix(body.Salt.Hex(), "0x"))
	}
	var part []byte
	if err := bank.node.private.Reader().QueryRow(`SELECT sealed FROM query_parts WHERE consent_id = ?`, string(a.id)).Scan(&part); err != nil {
		t.Fatal(err)
	}
	planted["the sealed part"] = part[len(part)-64:]
	inbox := lend.inbox(d.RequestID, harbour)
	kept := inbox[len(inbox)-64:]
	for what, b := range planted {
		if len(bank.find(b)) == 0 {
			t.Fatalf("%s does not stand anywhere before", what)
		}
	}
	if len(lend.find(kept)) == 0 {
		t.Fatal("the lender's node has no copy of the answer")
	}
	before := bank.account(who.identity)
	a.revoke(c.node(lake))
	c.terminated(a.id)
	e := record.Evidence{Signature: c.sign(a.principal, record.ErasureOf(&a.terms).Digest)}
	c.node(lake).call("integration", record.ContractConsent, "RequestErasure", string(a.id), encoded(t, &e))

	// The bank signs at once; the lender's node destroys its copies, and signs when
	// the lender has said that its own systems did.
	eventually(t, 30*time.Second, func() error {
		e, err := loadRecord[record.Erasure](lend.node.state.View(), record.ErasureKey(a.id))
		if err != nil {
			return err
		}
		if !slices.Equal(e.Pending, []record.OrgID{lender}) {
			return fmt.Errorf("%v have not signed", e.Pending)
		}
		if where := lend.find(kept); len(where) > 0 {
			return fmt.Errorf("the lender's copy of the answer stands in %v", where)
		}
		return nil
	})
	// Whoever watches the lender sees what it owes once the date has passed.
	var now, nextYear metrics.Figures
	lend.node.dutyFigures(&now, time.Now())
	lend.node.dutyFigures(&nextYear, time.Now().AddDate(1, 1, 0))
	if now.Overdue["erasure"] != 0 || nextYear.Overdue["erasure"] != 1 || nextYear.Overdue["deletion"] != 1 {
		t.Errorf("overdue now %v, in a year %v", now.Overdue, nextYear.Overdue)
	}
	var bankNow metrics.Figures
	bank.node.dutyFigures(&bankNow, time.Now())
	if !slices.ContainsFunc(slices.Collect(maps.Keys(bankNow.KeyEnds)), func(k metrics.Key) bool { return k.Kind == "data" && bankNow.KeyEnds[k] > 0 }) {
		t.Errorf("no end of the bank's data key among %v", bankNow.KeyEnds)
	}
	usage := held[record.Usage](lend, record.UsageKey(a.id))
	lend.call("integration", record.ContractConsent, "ConfirmDeletion", encoded(t, &record.DeletionSpec{ConsentID: a.id, Head: usage.Head, Requests: usage.Requests}))
	eventually(t, 30*time.Second, func() error {
		if s := held[record.Consent](c.node(lake), record.ConsentKey(a.id)).ErasureStatus; s != record.Erased {
			return fmt.Errorf("the erasure is %s", s)
		}
		return nil
	})
	c.converge(c.nodes...)
	for what, b := range planted {
		if where := bank.find(b); len(where) > 0 {
			t.Errorf("%s still stands in %v", what, where)
		}
	}
	for _, p := range c.nodes {
		x := held[record.Consent](p, record.ConsentKey(a.id))
		if x.PrincipalKey != (record.Address{}) || x.PrincipalRef != "" || x.RecordCommitment != (record.Hash{}) || x.Authorisation.Signature != nil {
			t.Errorf("%s keeps more than a tombstone: %+v", p.name, x)
		}
	}
	// What the other consent was given stays frozen for it, and what was told stays
	// told: the account is what it was.
	if got := value(other.ask(incomeBand)); got != who.band() {
		t.Errorf("the other consent's answer is %s", got)
	}
	if after := bank.account(who.identity); after != before {
		t.Errorf("the leak account was %s and is %s", before, after)
	}
	// Nothing of the consent is taken in any more.
	if err := bank.node.take(t.Context(), network.ProtocolSealed, lender, part); !errors.Is(err, outbox.ErrRejected) {
		t.Errorf("the sealed part of an erased consent is taken in: %v", err)
	}
	if err := lend.node.take(t.Context(), network.ProtocolAnswer, harbour, inbox); !errors.Is(err, outbox.ErrRejected) {
		t.Errorf("the answer of an erased consent is taken in: %v", err)
	}
}
