package testnet

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

// change puts an edit in force and says how long it took.
func change(t *testing.T, n *Net, l *load, via *Node, what string, edit func(*sdk.ConfigEditor)) *sdk.Config {
	t.Helper()
	began := time.Now()
	c, err := n.Change(t.Context(), via, edit)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	l.flows(5, via)
	t.Logf("%s: in force %s after its last approval; clients waited at most %s", what, c.InForce.Sub(c.Enough).Round(time.Millisecond), l.gap(began, nil).Round(time.Millisecond))
	return c.Config
}

// votesIn waits until a header's certificate holds the vote of a validator.
func votesIn(t *testing.T, c *sdk.Client, id uint64) {
	t.Helper()
	// Of seven on a busy machine, whoever has just come is seldom among the first five.
	eventually(t, 3*time.Minute, func() error {
		h, err := c.Proofs().Header(t.Context())
		if err != nil {
			return err
		}
		for _, v := range h.Certificate.Votes {
			if v.Validator == id {
				return nil
			}
		}
		return fmt.Errorf("no vote of validator %d at height %d", id, h.Header.Height)
	})
}

func idOf(conf *sdk.Config, x *Node) uint64 {
	if v := conf.ValidatorByVoteKey(x.Card.VoteKey); v != nil {
		return v.ID
	}
	return 0
}

// readiness is what a node's /readyz says; "" for ready.
func readiness(t *testing.T, x *Node) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	client := x.HTTPClient()
	defer client.CloseIdleConnections()
	if err := ready(ctx, client, x.API); err != nil {
		return err.Error()
	}
	return ""
}

// Four validators become seven, one of them down when it is admitted, and four
// again without the one that led, all under load and with nobody restarted.
func TestFourValidatorsBecomeSevenAndFourAgain(t *testing.T) {
	n := up(t, DefaultManifest())
	ctx := t.Context()
	founders := validators(n)
	home := n.First("harbour-bank") // its clients are served all the time
	lead := leader(t, n, home)
	if lead == home {
		home = n.First("lake-bank")
	}
	l := startLoad(t, n, slices.DeleteFunc(slices.Clone(founders), func(x *Node) bool { return x == lead })...)
	l.flows(10, home)
	// This client proves records from before the first change to after the last.
	watch, err := n.DialAs(ctx, home, "auditor")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()

	fresh := make([]*Node, 3)
	for i, member := range []string{"harbour-bank", "lake-bank", "quick-loan"} {
		if fresh[i], err = n.Join(ctx, member, "validator"); err != nil {
			t.Fatal(err)
		}
		if err := n.Register(ctx, fresh[i]); err != nil {
			t.Fatal(err)
		}
	}
	// The third is down until it has long been admitted.
	if err := n.Start(ctx, func(x *Node) bool { return x == fresh[0] || x == fresh[1] }); err != nil {
		t.Fatal(err)
	}
	var conf *sdk.Config
	for _, x := range fresh {
		from := time.Now()
		preflight(t, n, home, x, x == fresh[2])
		conf = change(t, n, l, home, "one validator more", func(e *sdk.ConfigEditor) { e.AddValidator(x.SDKCard()) })
		if x != fresh[2] {
			votesIn(t, watch, idOf(conf, x))
			t.Logf("it voted %s after it was proposed", time.Since(from).Round(time.Millisecond))
		}
	}
	if len(conf.Validators) != 7 {
		t.Fatalf("%d validators", len(conf.Validators))
	}
	from := time.Now()
	if err := n.Start(ctx, func(x *Node) bool { return x == fresh[2] }); err != nil {
		t.Fatal(err)
	}
	votesIn(t, watch, idOf(conf, fresh[2]))
	t.Logf("the one that was down voted %s after its start", time.Since(from).Round(time.Millisecond))

	conf = change(t, n, l, home, "the leader removed", func(e *sdk.ConfigEditor) { e.RemoveValidator(idOf(conf, lead)) })
	lead.Removed = true
	for _, x := range fresh[1:] {
		conf = change(t, n, l, home, "one validator less", func(e *sdk.ConfigEditor) { e.RemoveValidator(idOf(conf, x)) })
	}
	if len(conf.Validators) != 4 {
		t.Fatalf("%d validators", len(conf.Validators))
	}
	if p, err := watch.Proofs().Record(ctx, record.MemberKey("lake-bank")); err != nil || !p.Present {
		t.Errorf("a client from before the changes proves a record: %v", err)
	}
	removedAndCut(t, n, lead, home)
	l.stop()
	afterwards(t, n, l, lead)
}

// preflight looks at the admission of a node, as its members would: one that is
// down is refused, and admitted only by its name.
func preflight(t *testing.T, n *Net, via, x *Node, down bool) {
	t.Helper()
	admin, err := n.DialAs(t.Context(), via, "admin")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	e, err := admin.Members().Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next, err := e.AddValidator(x.SDKCard()).Config()
	if err != nil {
		t.Fatal(err)
	}
	look := func(opts ...sdk.PreflightOption) *sdk.Preflight {
		p, err := admin.Members().Preflight(t.Context(), next, append(opts, sdk.WithCards(x.SDKCard()))...)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	refusals := look().Of(sdk.RemarkRefusal)
	if !down {
		if len(refusals) != 0 {
			t.Errorf("the admission of %s is refused: %+v", x.Name, refusals)
		}
		return
	}
	if len(refusals) != 1 || !strings.Contains(refusals[0].What, x.Card.NodeID) || !strings.Contains(refusals[0].Remedy, "--unreachable "+x.Card.NodeID) {
		t.Errorf("%s is down; refused is %+v", x.Name, refusals)
	}
	if p := look(sdk.AcceptUnreachable(sdk.NodeID(x.Card.NodeID))); len(p.Of(sdk.RemarkRefusal)) != 0 || len(p.Accepted) != 1 {
		t.Errorf("%s is down and accepted as such: %+v", x.Name, p.Remarks)
	}
}

// removedAndCut waits until a removed node has lost its connections and says why.
func removedAndCut(t *testing.T, n *Net, gone, other *Node) {
	t.Helper()
	eventually(t, 60*time.Second, func() error {
		s, err := n.StatusOf(t.Context(), gone)
		if err != nil {
			return err
		}
		if s.Peers != 0 || s.Validator != 0 {
			return fmt.Errorf("%s has %d peers as validator %d", gone.Name, s.Peers, s.Validator)
		}
		return nil
	})
	// What /readyz says may be as old as the last look.
	eventually(t, 60*time.Second, func() error {
		if got := readiness(t, gone); !strings.Contains(got, "was removed from the network") {
			return fmt.Errorf("%s says %q of its readiness", gone.Name, got)
		}
		return nil
	})
	if got := readiness(t, other); got != "" {
		t.Errorf("%s is not ready: %s", other.Name, got)
	}
}

// afterwards holds every node's ledger against what clients were told; the
// removed one has less of it.
func afterwards(t *testing.T, n *Net, l *load, gone *Node) {
	t.Helper()
	rest := slices.DeleteFunc(slices.Clone(n.Nodes), func(x *Node) bool { return x == gone })
	resolveAll(t, n, l)
	sameEverywhere(t, n, rest...)
	stopCleanly(t, n)
	for _, x := range n.Nodes {
		if x != gone {
			holdsAll(t, n, x, l.acks)
		}
		if out, err := exec.CommandContext(t.Context(), n.Program, "verify", "--home", x.Home).CombinedOutput(); err != nil {
			t.Errorf("verify %s: %v\n%s", x.Name, err, out)
		}
	}
	t.Logf("%d transactions acknowledged, %d errors to clients, %d outcomes to be resolved", len(l.acks), len(l.errors), len(l.unknown))
	for i, err := range l.errors {
		if i < 3 {
			t.Logf("an error: %v", err)
		}
	}
}
