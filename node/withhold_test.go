package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/sdk"
)

// waiting waits until the bank has sealed its answer to a request and cannot get
// rid of it, and returns the sealed bytes.
func (p *peer) waiting(id sdk.RequestID) []byte {
	p.c.t.Helper()
	var sealed []byte
	eventually(p.c.t, 10*time.Second, func() error {
		err := p.node.private.Reader().QueryRow(`SELECT payload FROM outbox_items WHERE id = ?`, answerItem+string(id)).Scan(&sealed)
		if err != nil {
			return fmt.Errorf("no answer waits: %w", err)
		}
		return nil
	})
	return sealed
}

// outcome waits for the receipt of a request, on this node.
func (p *peer) outcome(id sdk.RequestID) *record.Receipt {
	p.c.t.Helper()
	var r *record.Receipt
	eventually(p.c.t, 20*time.Second, func() error {
		var err error
		r, err = loadRecord[record.Receipt](p.node.state.View(), record.ReceiptKey(id))
		return err
	})
	return r
}

func (p *peer) inbox(id sdk.RequestID, from string) []byte {
	p.c.t.Helper()
	b, err := p.node.inbox.Get(p.c.t.Context(), string(id), from)
	if err != nil {
		p.c.t.Fatal(err)
	}
	return b
}

// destroyed fails if bytes still stand anywhere in what a node keeps of its own.
func (p *peer) destroyed(what string, b []byte) {
	p.c.t.Helper()
	for _, name := range []string{privateFile, privateFile + "-wal"} {
		file, err := os.ReadFile(filepath.Join(p.cfg.DataDir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			p.c.t.Fatal(err)
		}
		if bytes.Contains(file, b) {
			p.c.t.Errorf("%s still stands in %s of %s", what, name, p.name)
		}
	}
}

func TestARevocationDestroysAnAnswerThatHasNotLeft(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	a := c.agree(harbour, notice, c.customers[0].identity, true)
	bank, lend := c.node(harbour), c.node(lender)
	c.cut(bank, lend)
	ticket, d := a.request(a.question(incomeBand))
	sealed := bank.waiting(d.RequestID)
	// An attempt is under way or has failed; the answer cannot have left.
	eventually(t, 10*time.Second, func() error {
		if len(bank.departed()) == 0 {
			return errors.New("the bank has not tried to send")
		}
		return nil
	})
	a.revoke(c.node(lake))
	if got := c.node(lake).outcome(d.RequestID); got.Outcome != record.Withheld {
		t.Fatalf("the ledger records %s for an answer that never left", got.Outcome)
	}
	c.healAll()
	r := a.receive(ticket, d)
	if r.Answer.Outcome != record.Withheld || r.Verified.Receipt.Outcome != record.Withheld {
		t.Errorf("the lender is told %s, the ledger certifies %s", r.Answer.Outcome, r.Verified.Receipt.Outcome)
	}
	c.converge(c.nodes...)
	if got := lend.inbox(d.RequestID, harbour); got != nil {
		t.Error("the answer arrived after the revocation")
	}
	bank.destroyed("the withheld answer", sealed[len(sealed)-64:])
}

// TestNothingLeavesAProviderThatDoesNotKnowOfARevocation: the lender's own
// validator keeps the bank in the dark, answers none of its questions and passes
// on no message of the ordering, but would gladly take the answer: two seconds after
// the revocation at the latest, when the bank's first attempts were lost.
func TestNothingLeavesAProviderThatDoesNotKnowOfARevocation(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	a := c.agree(harbour, notice, c.customers[0].identity, true)
	bank, lend := c.node(harbour), c.node(lender)
	c.cut(bank, lend)
	_, d := a.request(a.question(incomeBand))
	bank.waiting(d.RequestID)
	c.cut(bank, c.node(regulator))
	c.cut(bank, c.node(lake))
	var open atomic.Bool
	bank.rules(&rules{
		deaf: func(from network.PeerID, _ network.Class) bool { return from == lend.id() },
		request: func(ctx context.Context, to network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
			switch {
			case to == lend.id() && p == network.ProtocolSync:
				<-ctx.Done()
				return nil, ctx.Err()
			case p == network.ProtocolAnswer && !open.Load():
				return nil, fmt.Errorf("%w: %w", network.ErrNotSent, errRule)
			}
			return next()
		},
	})
	c.heal(bank, lend)
	a.revoke(c.node(lake))
	revoked := time.Now()
	// Whatever the bank sent within two seconds it sent rightly: it could not know.
	passed := func(d time.Duration) {
		eventually(t, 10*time.Second, func() error {
			if since := time.Since(revoked); since < d {
				return fmt.Errorf("%s have passed", since)
			}
			return nil
		})
	}
	passed(2050 * time.Millisecond)
	open.Store(true)
	bank.node.outbox.Recheck(string(a.id)) // it would try at once
	passed(5 * time.Second)                // a look at the ledger that fails takes a while
	sent := bank.departed()
	for _, x := range sent {
		if late := x.at.Sub(revoked); late > 2*time.Second {
			t.Errorf("an answer left %s after the revocation", late)
		}
	}
	arrived := lend.inbox(d.RequestID, harbour) != nil
	bank.rules(nil)
	c.healAll()
	want := record.Withheld
	if arrived {
		want = record.Answered
	}
	if got := c.node(lake).outcome(d.RequestID); got.Outcome != want {
		t.Errorf("the ledger records %s, arrived: %t", got.Outcome, arrived)
	}
	c.converge(c.nodes...)
	if got := lend.inbox(d.RequestID, harbour) != nil; got != arrived {
		t.Error("the answer arrived after the revocation")
	}
}

// A consent that runs out ends like one that is revoked, with nobody doing
// anything: on an idle network block time stands still, the clock does not.
func TestAnAnswerDoesNotOutliveItsConsent(t *testing.T) {
	t.Parallel()
	c := newCluster(t, soloSeats)
	notice := c.publish(harbour)
	expires := time.Now().Add(3 * time.Second)
	a := c.agree(harbour, notice, c.customers[0].identity, true, expires)
	bank, lend := c.node(harbour), c.node(lender)
	bank.rules(&rules{request: func(ctx context.Context, _ network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
		if p == network.ProtocolAnswer && time.Now().Before(expires) {
			return nil, fmt.Errorf("%w: %w", network.ErrNotSent, errRule)
		}
		return next()
	}})
	ticket, d := a.request(a.question(incomeBand))
	sealed := bank.waiting(d.RequestID)
	r := a.receive(ticket, d)
	if r.Answer.Outcome != record.Withheld || r.Verified.Receipt.Outcome != record.Withheld {
		t.Errorf("the lender is told %s, the ledger certifies %s", r.Answer.Outcome, r.Verified.Receipt.Outcome)
	}
	if got := lend.inbox(d.RequestID, harbour); got != nil {
		t.Error("the answer arrived after the consent had run out")
	}
	c.converge(c.nodes...)
	bank.destroyed("the withheld answer", sealed[len(sealed)-64:])
}

func TestAnAnswerWaitsForALenderThatIsDown(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	who := &c.customers[0]
	a := c.agree(harbour, notice, who.identity, true)
	bank, lend := c.node(harbour), c.node(lender)
	bank.rules(&rules{request: func(ctx context.Context, _ network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
		if p == network.ProtocolAnswer {
			return nil, fmt.Errorf("%w: %w", network.ErrNotSent, errRule)
		}
		return next()
	}})
	ticket, d := a.request(a.question(incomeBand))
	bank.waiting(d.RequestID)
	lend.stop()
	bank.rules(nil)
	bank.waiting(d.RequestID)
	c.start(lend)
	if got := value(a.receive(ticket, d)); got != who.band() {
		t.Errorf("the answer is %s, the bank's row says %s", got, who.band())
	}
}
