package testnet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/sdk"
)

// up makes and starts a network of the manifest's processes in a directory of
// the test's own.
func up(t *testing.T, m Manifest) *Net {
	t.Helper()
	if testing.Short() {
		t.Skip("processes are not for -short")
	}
	dir := t.TempDir()
	program, err := Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Create(t.Context(), filepath.Join(dir, "net"), program, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, x := range n.Nodes {
			if t.Failed() && x.proc != nil {
				t.Logf("%s: last line: %s", x.Name, x.proc.lastLine())
			}
			x.Kill()
			// For go test -artifacts.
			if err := os.Rename(x.LogPath(), filepath.Join(t.ArtifactDir(), x.Name+".log")); err != nil {
				t.Log(err)
			}
		}
	})
	if err := n.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits for a condition, looks often and fails after within.
func eventually(t *testing.T, within time.Duration, cond func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %v", within, err)
		}
	}
}

// ack is a transaction that a node acknowledged.
type ack struct {
	id     sdk.Hash
	height uint64
	at     time.Time
	via    *Node
}

// load is clients that register keys, one after the other, each through its own
// member's validator.
type load struct {
	t      *testing.T
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	acks    []ack
	unknown []*sdk.CommitUnknown
	errors  []error
}

const clientsPerNode = 2

// startLoad loads the nodes named, or all validators.
func startLoad(t *testing.T, n *Net, through ...*Node) *load {
	t.Helper()
	if len(through) == 0 {
		through = validators(n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, cancel: cancel}
	for _, x := range through {
		for range clientsPerNode {
			c, err := n.DialAs(t.Context(), x, "admin")
			if err != nil {
				t.Fatal(err)
			}
			l.wg.Go(func() {
				defer c.Close()
				for ctx.Err() == nil {
					l.register(ctx, c, x)
				}
			})
		}
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) register(ctx context.Context, c *sdk.Client, via *Node) {
	key, err := crypto.GenerateKey()
	if err != nil {
		l.t.Error(err)
		return
	}
	o, err := c.Clients().Register(ctx, sdk.ClientSpec{Address: crypto.PubkeyToAddress(key.PublicKey), Roles: []sdk.ClientRole{"auditor"}, Label: "load"})
	l.mu.Lock()
	defer l.mu.Unlock()
	var unknown *sdk.CommitUnknown
	switch {
	case err == nil:
		l.acks = append(l.acks, ack{o.TxID, o.Height, time.Now(), via})
	case errors.As(err, &unknown):
		l.unknown = append(l.unknown, unknown)
	case ctx.Err() == nil:
		l.errors = append(l.errors, err)
	}
}

// stop ends the load and waits for its clients.
func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *load) count(via *Node) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for i := range l.acks {
		if via == nil || l.acks[i].via == via {
			n++
		}
	}
	return n
}

// flows waits until some nodes' clients have got n more acknowledgements each.
func (l *load) flows(n int, via ...*Node) {
	l.t.Helper()
	before := make(map[*Node]int)
	for _, x := range via {
		before[x] = l.count(x)
	}
	eventually(l.t, 60*time.Second, func() error {
		for _, x := range via {
			if got := l.count(x) - before[x]; got < n {
				return fmt.Errorf("%s acknowledged %d of %d", x.Name, got, n)
			}
		}
		return nil
	})
}

// gap is the longest time after a moment in which nobody got an acknowledgement.
func (l *load) gap(since time.Time, without *Node) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, longest := since, time.Duration(0)
	for _, a := range l.acks {
		if a.via == without || a.at.Before(since) {
			continue
		}
		longest = max(longest, a.at.Sub(last))
		last = a.at
	}
	return longest
}

func validators(n *Net) []*Node {
	return slices.DeleteFunc(slices.Clone(n.Nodes), func(x *Node) bool { return !x.Validator() })
}

// leader asks a node who leads.
func leader(t *testing.T, n *Net, ask *Node) *Node {
	t.Helper()
	s, err := n.StatusOf(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range validators(n) {
		if v := n.Genesis().Validator(s.Leader); v != nil && v.VoteKey == x.Card.VoteKey {
			return x
		}
	}
	t.Fatalf("%s names validator %d as the leader", ask.Name, s.Leader)
	return nil
}

func TestNoAcknowledgedTransactionIsLost(t *testing.T) {
	n := up(t, DefaultManifest())
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l := startLoad(t, n)
	l.flows(20, validators(n)...)
	killInTurn(t, n, l, rand.New(rand.NewPCG(seed, 0)))
	killAllAtOnce(t, n, l)
	l.stop()
	resolveAll(t, n, l)
	sameEverywhere(t, n)
	stopCleanly(t, n)
	for _, x := range n.Nodes {
		holdsAll(t, n, x, l.acks)
		if out, err := exec.CommandContext(t.Context(), n.Program, "verify", "--home", x.Home).CombinedOutput(); err != nil {
			t.Errorf("verify %s: %v\n%s", x.Name, err, out)
		}
	}
	t.Logf("%d transactions acknowledged, %d errors to clients, %d outcomes to be resolved", len(l.acks), len(l.errors), len(l.unknown))
}

// killInTurn kills each validator under load and starts it again, the leader
// first and the others in random order.
func killInTurn(t *testing.T, n *Net, l *load, rng *rand.Rand) {
	t.Helper()
	all := validators(n)
	first := leader(t, n, all[0])
	victims := slices.DeleteFunc(slices.Clone(all), func(x *Node) bool { return x == first })
	rng.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for _, x := range append([]*Node{first}, victims...) {
		rest := slices.DeleteFunc(slices.Clone(all), func(o *Node) bool { return o == x })
		role := "follower"
		if leader(t, n, rest[0]) == x {
			role = "leader"
		}
		killed := time.Now()
		x.Kill()
		l.flows(20, rest...)
		t.Logf("kill -9 of %s (%s): the others' clients waited at most %s", x.Name, role, l.gap(killed, x).Round(time.Millisecond))
		again := time.Now()
		if err := n.Start(t.Context(), func(o *Node) bool { return o == x }); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s was ready %s after it was started again", x.Name, time.Since(again).Round(time.Millisecond))
		l.flows(20, all...)
	}
}

func killAllAtOnce(t *testing.T, n *Net, l *load) {
	t.Helper()
	all := validators(n)
	for _, x := range all {
		if err := x.proc.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range all {
		x.Kill() // waits
	}
	again := time.Now()
	if err := n.Start(t.Context(), (*Node).Validator); err != nil {
		t.Fatal(err)
	}
	l.flows(20, all...)
	t.Logf("killed all at once: everybody served again %s after the start", time.Since(again).Round(time.Millisecond))
}

// stopCleanly ends every node by SIGTERM, the others running on.
func stopCleanly(t *testing.T, n *Net) {
	t.Helper()
	for _, x := range n.Nodes {
		began := time.Now()
		if err := x.StopNode(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s to stop", x.Name, took)
		}
		if x.proc.err != nil {
			t.Errorf("%s ended with %v: %s", x.Name, x.proc.err, x.proc.lastLine())
		}
	}
}

// resolveAll finds out what became of the transactions of which nobody could
// tell, as a client does, and counts those that were ordered as acknowledged.
func resolveAll(t *testing.T, n *Net, l *load) {
	t.Helper()
	for _, u := range l.unknown {
		via := n.First(u.Transaction().Payload().Org)
		c, err := n.DialAs(t.Context(), via, "admin")
		if err != nil {
			t.Fatal(err)
		}
		o, err := c.Resolve(t.Context(), u)
		c.Close()
		if err != nil {
			t.Errorf("resolve: %v", err)
			continue
		}
		l.acks = append(l.acks, ack{o.TxID, o.Height, time.Now(), via})
	}
}

// sameEverywhere waits until the nodes named, or all, are at the same height, and
// compares what they certify.
func sameEverywhere(t *testing.T, n *Net, nodes ...*Node) {
	t.Helper()
	if len(nodes) == 0 {
		nodes = n.Nodes
	}
	eventually(t, 30*time.Second, func() error {
		var first *ledger.CertifiedHeader
		for _, x := range nodes {
			c, err := n.DialAs(t.Context(), x, "auditor")
			if err != nil {
				return err
			}
			h, err := c.Proofs().Header(t.Context())
			c.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", x.Name, err)
			}
			if first == nil {
				first = h
			}
			if h.Header.Height != first.Header.Height {
				return fmt.Errorf("%s is at height %d, %s at %d", nodes[0].Name, first.Header.Height, x.Name, h.Header.Height)
			}
			if h.Header.Hash() != first.Header.Hash() || h.Header.StateRoot != first.Header.StateRoot {
				t.Fatalf("fork at height %d: %s and %s differ", h.Header.Height, nodes[0].Name, x.Name)
			}
		}
		return nil
	})
}

type outcome = state.Outcome

// outcomes visits everything that a stopped node executed, in order.
func outcomes(t *testing.T, n *Net, x *Node, visit func(*outcome)) (err error) {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: filepath.Join(x.DataDir(), "state"), ChainID: n.Genesis().Hash()})
	if err != nil {
		return fmt.Errorf("%s: %w", x.Name, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	view := db.View()
	for i := range view.Roots().ReceiptsSize {
		o, err := view.OutcomeAt(i)
		if err != nil {
			return fmt.Errorf("%s: %w", x.Name, err)
		}
		visit(o)
	}
	return nil
}

// holdsAll checks that a stopped node holds every acknowledged transaction where
// the client was told, and executed it once.
func holdsAll(t *testing.T, n *Net, x *Node, acks []ack) {
	t.Helper()
	executed := make(map[sdk.Hash]uint64)
	err := outcomes(t, n, x, func(o *outcome) {
		if o.Code != "OK" {
			return
		}
		if before, twice := executed[o.TxID]; twice {
			t.Errorf("%s: transaction %s took effect at height %d and again at %d", x.Name, o.TxID, before, o.Height)
		}
		executed[o.TxID] = uint64(o.Height)
	})
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, a := range acks {
		if got, ok := executed[a.id]; !ok || got != a.height {
			if lost++; lost <= 5 {
				t.Errorf("%s: transaction %s was acknowledged at height %d by %s, here it is at %d (%t)", x.Name, a.id, a.height, a.via.Name, got, ok)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%s lost %d of %d acknowledged transactions", x.Name, lost, len(acks))
	}
}
