package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/sdk"
)

// image copies a running node's data directory as a crash would leave it at this
// moment. The copy is taken again until nothing was written while it was made.
func (p *peer) image() string {
	t := p.c.t
	t.Helper()
	var to string
	eventually(t, 20*time.Second, func() error {
		before, err := listing(p.cfg.DataDir)
		if err != nil {
			return err
		}
		to = filepath.Join(t.TempDir(), "data")
		if err := copyData(to, p.cfg.DataDir); err != nil {
			return err
		}
		after, err := listing(p.cfg.DataDir)
		if err != nil {
			return err
		}
		if !slices.Equal(before, after) {
			return errors.New("the node keeps writing")
		}
		return nil
	})
	return to
}

// copyData copies a data directory without its control socket, which is no file.
func copyData(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == controlFile {
			continue
		}
		if err := copyTree(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// listing tells files apart by name, size and time of the last write.
func listing(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out = append(out, fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano()))
		return nil
	})
	return out, err
}

// noAnswerLeaves lets every sealed answer fail before anything of it was sent.
var noAnswerLeaves = &rules{request: func(_ context.Context, _ network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
	if p == network.ProtocolAnswer {
		return nil, fmt.Errorf("%w: %w", network.ErrNotSent, errRule)
	}
	return next()
}}

// crashTo ends a node and starts it again from an image of an earlier moment.
// What release lets go was held until the node was dead.
func (p *peer) crashTo(image string, release func()) {
	p.c.t.Helper()
	p.stop()
	release()
	p.rules(nil)
	if err := os.RemoveAll(p.cfg.DataDir); err != nil {
		p.c.t.Fatal(err)
	}
	if err := os.Rename(image, p.cfg.DataDir); err != nil {
		p.c.t.Fatal(err)
	}
	p.c.start(p)
}

// A provider dies at every step between the permit and the receipt. Whatever the
// moment, the lender gets one answer, the right one, and the ledger one receipt
// (CheckLedger counts them).
func TestOneAnswerWhereverTheProviderCrashes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank := c.node(harbour)
	for i, crash := range []struct {
		when string
		// hold returns when the provider has come to that moment and stays there,
		// with what ends the holding.
		hold func(a *agreement) (*sdk.Ticket, *sdk.Decision, func())
	}{
		{"before it saw the permit", func(a *agreement) (*sdk.Ticket, *sdk.Decision, func()) {
			bank.stop()
			ticket, d := a.request(a.question(incomeBand))
			// The image may be older than what the running node then does with the
			// permit: nothing of that may leave, as nothing leaves a dead node.
			bank.rules(noAnswerLeaves)
			bank.open()
			bank.ready()
			return ticket, d, func() {}
		}},
		{"while the vault is locked", func(a *agreement) (*sdk.Ticket, *sdk.Decision, func()) {
			unlock := c.lockVault(harbour)
			ticket, d := a.request(a.question(incomeBand))
			eventually(t, 20*time.Second, func() error {
				if bank.node.answerer.Waiting() == 0 {
					return errors.New("the request does not wait for the vault")
				}
				return nil
			})
			return ticket, d, unlock
		}},
		{"with the answer committed, before it left", func(a *agreement) (*sdk.Ticket, *sdk.Decision, func()) {
			bank.rules(noAnswerLeaves)
			ticket, d := a.request(a.question(incomeBand))
			bank.waiting(d.RequestID)
			return ticket, d, func() {}
		}},
		{"with the answer delivered, before it knew", func(a *agreement) (*sdk.Ticket, *sdk.Decision, func()) {
			held := make(chan struct{}, 64)
			bank.rules(&rules{request: func(ctx context.Context, _ network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
				got, err := next()
				if p == network.ProtocolAnswer && err == nil {
					held <- struct{}{}
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return got, err
			}})
			ticket, d := a.request(a.question(incomeBand))
			<-held
			return ticket, d, func() {}
		}},
		{"with the receipt on the ledger", func(a *agreement) (*sdk.Ticket, *sdk.Decision, func()) {
			ticket, d := a.request(a.question(incomeBand))
			c.node(lake).outcome(d.RequestID)
			return ticket, d, func() {}
		}},
	} {
		who := &c.customers[i]
		a := c.agree(harbour, notice, who.identity, true)
		c.converge(c.nodes...)
		ticket, d, release := crash.hold(a)
		if !d.Permit {
			t.Fatalf("%s: %s", crash.when, d.Code)
		}
		// A validator that votes after its image was taken must not run on it: it
		// could vote twice, and refuses. So nothing may be decided meanwhile.
		c.calm(c.nodes...)
		image := bank.image()
		bank.crashTo(image, release)
		r := a.receive(ticket, d)
		if got := value(r); got != who.band() {
			t.Errorf("crashed %s: the answer is %s, the bank's row says %s", crash.when, got, who.band())
		}
		c.converge(c.nodes...)
		var payloads [][]byte
		for _, x := range bank.departed() {
			if requestOf(t, x) == d.RequestID {
				payloads = append(payloads, x.payload)
			}
		}
		for _, x := range payloads {
			if !slices.Equal(x, payloads[0]) {
				t.Errorf("crashed %s: two different answers left", crash.when)
			}
		}
	}
}

// An answer outlives a restart of every node at once, on a network where nothing
// else happens.
func TestAnAnswerOutlivesARestartOfTheWholeNetwork(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	who := &c.customers[0]
	a := c.agree(harbour, notice, who.identity, true)
	c.cut(c.node(harbour), c.node(lender))
	ticket, d := a.request(a.question(incomeBand))
	c.node(harbour).waiting(d.RequestID)
	for _, p := range c.nodes {
		p.stop()
	}
	c.healAll()
	c.start(c.nodes...)
	if got := value(a.receive(ticket, d)); got != who.band() {
		t.Errorf("the answer is %s, the bank's row says %s", got, who.band())
	}
}

// A validator's blocks are damaged: they are put away, the ledger is made again
// around the ordering log, and the node catches up and votes on.
func TestALedgerMadeAgainKeepsTheOrderingLog(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	p := c.node(lake)
	p.stop()
	before, err := listing(filepath.Join(p.cfg.DataDir, walDir))
	if err != nil {
		t.Fatal(err)
	}
	if err := CreateLedger(t.Context(), p.cfg); err == nil {
		t.Fatal("a ledger was made over another")
	}
	for _, part := range []string{blocksDir, stateDir} {
		if err := os.RemoveAll(filepath.Join(p.cfg.DataDir, part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := CreateLedger(t.Context(), p.cfg); err != nil {
		t.Fatal(err)
	}
	after, err := listing(filepath.Join(p.cfg.DataDir, walDir))
	if err != nil || !slices.Equal(before, after) {
		t.Fatalf("the ordering log was changed: %q, then %q, %v", before, after, err)
	}
	c.start(p)
	c.orders(p)
	other := c.node(regulator) // without it nothing is ordered but with p's vote
	other.stop()
	c.agree(harbour, notice, c.customers[0].identity, true)
	c.start(other)
	c.converge(c.nodes...)
}

func TestAnAnswerThatComesTooLateIsOverdue(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank := c.node(harbour)
	first := c.agree(harbour, notice, c.customers[0].identity, true)
	second := c.agree(harbour, notice, c.customers[1].identity, true)
	bank.stop()
	late := func(a *agreement) (*sdk.Ticket, *sdk.Decision) {
		q := a.question(incomeBand)
		q.Deadline = 1500 * time.Millisecond
		return a.request(q)
	}
	recorded, byLender := late(first)
	waiting, byBank := late(second)
	lend := c.node(lender).as("integration").Queries()
	if _, err := lend.Overdue(t.Context(), byLender.RequestID); sdk.CodeOf(err) != record.CodeWrongState {
		t.Errorf("the lender may say OVERDUE before the deadline: %v", err)
	}
	eventually(t, 10*time.Second, func() error {
		if left := time.Until(byBank.Deadline.Add(50 * time.Millisecond)); left > 0 {
			return fmt.Errorf("%s are left", left)
		}
		return nil
	})
	if _, err := lend.Overdue(t.Context(), byLender.RequestID); err != nil {
		t.Errorf("the lender says OVERDUE: %v", err)
	}
	c.start(bank)
	for _, x := range []struct {
		a      *agreement
		ticket *sdk.Ticket
		d      *sdk.Decision
		by     string
	}{{first, recorded, byLender, lender}, {second, waiting, byBank, harbour}} {
		r := x.a.receive(x.ticket, x.d)
		if r.Answer.Outcome != record.Overdue || r.Verified.Receipt.Outcome != record.Overdue || string(r.Verified.Receipt.OrgID) != x.by {
			t.Errorf("the lender is told %s, the ledger certifies %s by %s, want by %s", r.Answer.Outcome, r.Verified.Receipt.Outcome, r.Verified.Receipt.OrgID, x.by)
		}
		if got := c.node(lender).inbox(x.d.RequestID, harbour); got != nil {
			t.Error("an answer arrived after its deadline")
		}
	}
}
