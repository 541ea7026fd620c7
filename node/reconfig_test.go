package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// patience is how long a test waits for what must happen, on a machine that does
// much else.
const patience = 60 * time.Second

// join makes the home of a node that was not there at the founding.
func (c *cluster) join(s seat) *peer {
	c.t.Helper()
	i := len(c.nodes)
	p := c.makeHome(i, s)
	p.name = fmt.Sprintf("%s-%d", p.name, i)
	p.home = c.dir + "/" + p.name
	p.cfg.DataDir, p.cfg.Identity.KeysDir = p.home+"/data", p.home+"/keys"
	writeKeys(c.t, &p.cfg.Identity, newKey(c.t))
	card, err := Init(p.home, p.cfg, password)
	if err != nil {
		c.t.Fatal(err)
	}
	p.card = *card
	p.card.Answers = false
	p.card.APIURLs = []string{fmt.Sprintf("https://127.0.0.1:%d", 7500+i)}
	if err := JoinLedger(c.t.Context(), p.cfg); err != nil {
		c.t.Fatal(err)
	}
	c.nodes = append(c.nodes, p)
	return p
}

// observe registers a node as its member's observer, through another node.
func (c *cluster) observe(p, via *peer) {
	c.t.Helper()
	spec := p.spec(c.genesis.Hash())
	spec.Kind = "observer"
	admin, err := via.dial(c.t.Context(), sdk.WithIdentity(sdk.OrgID(p.cfg.Identity.Member), c.people[p.cfg.Identity.Member+"/admin"]))
	if err != nil {
		c.t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Nodes().Set(c.t.Context(), spec); err != nil {
		c.t.Fatal(err)
	}
}

// config is the one in force at a node.
func (p *peer) config() *ledger.Config { return p.node.store.Tip().Config }

// update makes an update of the config in force at a node, approved by the
// members named, or by all.
func (c *cluster) update(at *peer, change func(*ledger.Config), members ...string) *ledger.Update {
	c.t.Helper()
	next, err := ledger.DecodeConfig(at.config().Encode())
	if err != nil {
		c.t.Fatal(err)
	}
	next.Seq++
	change(next)
	u := &ledger.Update{ChainID: c.genesis.Hash(), Config: next}
	if len(members) == 0 {
		for _, m := range at.config().Members {
			members = append(members, m.ID)
		}
	}
	slices.Sort(members)
	for _, m := range members {
		admin := c.people[m+"/admin"]
		sig, err := admin.Sign(u.ApprovalDigest())
		if err != nil {
			c.t.Fatal(err)
		}
		u.Approvals = append(u.Approvals, ledger.Approval{Member: m, Admin: admin.Address(), Sig: sig})
	}
	return u
}

// reconfigure puts a change in force and waits until the nodes have it. It
// returns how long that took at the first of them.
func (c *cluster) reconfigure(change func(*ledger.Config), on ...*peer) time.Duration {
	c.t.Helper()
	u := c.update(on[0], change)
	began := time.Now()
	eventually(c.t, patience, func() error {
		err := on[0].node.chain.SubmitUpdate(c.t.Context(), u)
		if errors.Is(err, chain.ErrNotReady) || errors.Is(err, chain.ErrBusy) {
			return err
		}
		if err != nil {
			c.t.Fatalf("submit update: %v", err)
		}
		return nil
	})
	var took time.Duration
	for _, p := range on {
		eventually(c.t, patience, func() error {
			if got := p.config().Seq; got < u.Config.Seq {
				return fmt.Errorf("%s is at config %d", p.name, got)
			}
			return nil
		})
		if took == 0 {
			took = time.Since(began)
		}
	}
	return took
}

// addValidator admits a node under the next free number.
func addValidator(p *peer) func(*ledger.Config) {
	return func(c *ledger.Config) {
		id := c.Validators[len(c.Validators)-1].ID + 1
		c.Validators = append(c.Validators, p.card.Validator(id))
	}
}

func dropValidator(id uint64) func(*ledger.Config) {
	return func(c *ledger.Config) {
		c.Validators = slices.DeleteFunc(c.Validators, func(v ledger.Validator) bool { return v.ID == id })
	}
}

func both(changes ...func(*ledger.Config)) func(*ledger.Config) {
	return func(c *ledger.Config) {
		for _, f := range changes {
			f(c)
		}
	}
}

func (p *peer) validator() uint64 { return p.node.chain.Standing().Validator }

// orders waits until a node's engine runs.
func (c *cluster) orders(peers ...*peer) {
	c.t.Helper()
	for _, p := range peers {
		eventually(c.t, patience, func() error {
			if s := p.node.chain.Standing(); s.Validator == 0 || !s.Orders {
				return fmt.Errorf("%s stands as %+v", p.name, s)
			}
			return (&backend{Node: p.node}).Ready()
		})
	}
}

// votes waits until a validator's vote stands in a certificate: it takes part.
func (c *cluster) votes(p *peer) {
	c.t.Helper()
	from := p.node.Height()
	eventually(c.t, patience, func() error {
		tip := p.node.Height()
		for h := max(from, 1); h <= tip; h++ {
			cert, err := p.node.store.Certificate(h)
			if err != nil {
				return err
			}
			for _, v := range cert.Votes {
				if v.Validator == p.validator() {
					return nil
				}
			}
		}
		from = tip
		return fmt.Errorf("no vote of validator %d up to height %d", p.validator(), tip)
	})
}

// writers register keys through nodes, one after the other, until stopped, and
// remember what was acknowledged.
type writers struct {
	t      *testing.T
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	done []written
}

type written struct {
	tx     sdk.Hash
	height uint64
	at     time.Time
}

func (c *cluster) write(through ...*peer) *writers {
	ctx, cancel := context.WithCancel(c.t.Context())
	w := &writers{t: c.t, cancel: cancel}
	for _, p := range through {
		client := p.as("admin")
		w.wg.Go(func() {
			for ctx.Err() == nil {
				o, err := client.Clients().Register(ctx, sdk.ClientSpec{Address: ledgerKey(c.t), Roles: []sdk.ClientRole{"auditor"}, Label: "load"})
				var unknown *sdk.CommitUnknown
				switch {
				case err == nil:
					w.mu.Lock()
					w.done = append(w.done, written{o.TxID, o.Height, time.Now()})
					w.mu.Unlock()
				case ctx.Err() != nil, errors.As(err, &unknown), sdk.Retryable(err):
				default:
					c.t.Errorf("through %s: %v", p.name, err)
					return
				}
			}
		})
	}
	c.t.Cleanup(w.stop)
	return w
}

func (w *writers) stop() { w.cancel(); w.wg.Wait() }

// flows waits for n more acknowledgements.
func (w *writers) flows(n int) {
	w.t.Helper()
	before := w.count()
	eventually(w.t, patience, func() error {
		if got := w.count() - before; got < n {
			return fmt.Errorf("%d of %d transactions were acknowledged", got, n)
		}
		return nil
	})
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done)
}

// gap is the longest time without an acknowledgement since a moment.
func (w *writers) gap(since time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, longest := since, time.Duration(0)
	for _, d := range w.done {
		if d.at.After(since) {
			longest, last = max(longest, d.at.Sub(last)), d.at
		}
	}
	return max(longest, time.Since(last))
}

// kept checks that nodes hold everything acknowledged where it was said to be.
func (w *writers) kept(on ...*peer) {
	w.t.Helper()
	for _, p := range on {
		for _, d := range w.done {
			o, err := p.node.state.View().Find(d.tx)
			if err != nil || uint64(o.Height) != d.height || o.Code != "OK" {
				w.t.Errorf("%s: transaction %s, acknowledged at height %d: %+v %v", p.name, d.tx, d.height, o, err)
			}
		}
	}
}

func TestFourValidatorsBecomeSevenAndFourAgainUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	old := slices.Clone(c.nodes)
	w := c.write(c.node(harbour), c.node(lake))
	w.flows(10)
	var fresh []*peer
	for _, member := range []string{harbour, lake, lender} {
		p := c.join(seat{member, "validator", false})
		c.observe(p, c.node(member))
		fresh = append(fresh, p)
	}
	// Two follow the network before they are admitted, the third is down.
	c.start(fresh[:2]...)
	for _, p := range fresh {
		from := time.Now()
		c.reconfigure(addValidator(p), old...)
		w.flows(20)
		t.Logf("a validator more: the clients waited at most %s", w.gap(from).Round(time.Millisecond))
	}
	c.orders(fresh[:2]...)
	for _, p := range fresh[:2] {
		c.votes(p)
	}
	c.start(fresh[2])
	c.votes(fresh[2])
	if got := len(old[0].config().Validators); got != 7 {
		t.Fatalf("%d validators", got)
	}
	// Back to four, without the one who leads and without restarting anybody.
	led := uint64(old[1].node.chain.EngineStatus().Leader)
	from := time.Now()
	c.reconfigure(dropValidator(led), old[1:]...)
	w.flows(20)
	t.Logf("the leader removed: the clients waited at most %s", w.gap(from).Round(time.Millisecond))
	for len(old[2].config().Validators) > 4 {
		v := old[2].config().Validators
		id := v[len(v)-1].ID
		if id == old[2].validator() || id == old[3].validator() {
			id = v[0].ID
		}
		c.reconfigure(dropValidator(id), old[2:]...)
		w.flows(20)
	}
	w.stop()
	for _, p := range c.nodes {
		// Those that are registered as observers go on following.
		p.left = !c.admits(old[2], p)
	}
	c.calm(c.inside()...)
	w.kept(c.inside()...)
}

// admits reports whether a node is a validator or an observer by the directory
// of another.
func (c *cluster) admits(at, p *peer) bool {
	_, ok := at.node.dir.member(p.id())
	return ok || at == p
}

func TestARemovedNodeIsCutOffAndSaysSo(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	p := c.join(seat{lender, "validator", false})
	rest := slices.Clone(c.nodes[:4])
	c.reconfigure(addValidator(p), rest...)
	c.start(p)
	c.orders(p)
	c.reconfigure(dropValidator(p.validator()), append(rest, p)...)
	p.left = true
	eventually(t, patience, func() error {
		for _, q := range rest {
			for _, s := range q.node.host.Status() {
				if s.ID == p.id() {
					return fmt.Errorf("%s still admits it (connected: %t)", q.name, s.Connected)
				}
			}
		}
		return nil
	})
	b := &backend{Node: p.node}
	if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "was removed from the network") {
		t.Errorf("readiness: %v", err)
	}
	if s := b.Status(); s.Validator != 0 {
		t.Errorf("it still says that it is validator %d", s.Validator)
	}
	if !strings.Contains(string(p.log.bytes()), "was removed from the network") {
		t.Error("its log does not say so")
	}
	// Nor does it accept what it could not pass on.
	tx := c.transaction(p)
	if _, err := p.node.chain.Submit(t.Context(), tx); !errors.Is(err, chain.ErrNotReady) {
		t.Errorf("a transaction through it: %v", err)
	}
}

// transaction is one that a node would pass on.
func (c *cluster) transaction(p *peer) []byte {
	now := uint64(time.Now().UnixMilli())
	key := c.people[lender+"/admin"]
	tx := ledger.NewTransaction(ledger.Payload{
		ChainID: c.genesis.Hash(), Org: lender, Key: key.Address(), Contract: "membership", Function: "RegisterClient",
		Args: [][]byte{[]byte("{}")}, Nonce: [16]byte{1}, NotBefore: now - 30_000, ValidUntil: now + 300_000,
	})
	if err := tx.Sign(key); err != nil {
		c.t.Fatal(err)
	}
	return tx.Encode()
}
