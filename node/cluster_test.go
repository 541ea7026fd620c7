package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network/memnet"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// The members of the usual cluster.
const (
	harbour   = "harbour-bank"
	lake      = "lake-bank"
	lender    = "quick-loan"
	regulator = "regulator"
)

var memberRoles = map[string]string{harbour: "DATA_PROVIDER", lake: "DATA_PROVIDER", lender: "DATA_CONSUMER", regulator: "AUDITOR"}

var personRoles = []sdk.ClientRole{"integration", "officer", secondOfficer, "auditor"}

// secondOfficer is another officer's key: what one proposes the other approves.
const secondOfficer sdk.ClientRole = "second-officer"

// seat is one node of a cluster.
type seat struct {
	member string
	kind   string // validator or observer
	bank   bool   // answers from a vault
}

// fourSeats are two banks, a lender and a regulator with a validator each, in
// the order of their numbers. So the regulator leads at first, whom a test cuts
// off or stops only if it wants another leader.
var fourSeats = []seat{{regulator, "validator", false}, {lender, "validator", false}, {harbour, "validator", true}, {lake, "validator", true}}

// soloSeats is the smallest network in which somebody can ask: the lender orders
// alone, the bank observes and answers.
var soloSeats = []seat{{lender, "validator", false}, {harbour, "observer", true}}

func withObserver(s []seat) []seat {
	return append(slices.Clone(s), seat{regulator, "observer", false})
}

// cluster is a whole network in this process: real nodes on real files, over a
// network in memory, with clients over real sockets.
type cluster struct {
	t         *testing.T
	dir       string
	wires     *memnet.Net
	genesis   *ledger.Config
	nodes     []*peer
	people    map[string]ledger.Signer // by member/role
	customers []customer
	records   time.Duration                        // how old access records get; 0: as the law says
	old       map[record.RequestID]*record.Request // what nodes that prune no longer know; set by remember
	later     atomic.Int64                         // ns by which the clocks of nodes and clients are ahead
	cuts      [][2]*peer
	level     slog.Level // of what the nodes log
	// Of a simulation:
	sockets *sockets         // nil: those of the machine
	outfit  func(int, *peer) // called for every node that is made; nil: nothing
}

// newCluster makes the files of a cluster, starts its nodes and registers
// everybody. At the end of the test every node is checked: see finish.
func newCluster(t *testing.T, seats []seat, level ...slog.Level) *cluster {
	t.Helper()
	c := emptyCluster(t, t.TempDir(), level...)
	c.found(seats)
	return c
}

func emptyCluster(t *testing.T, dir string, level ...slog.Level) *cluster {
	return &cluster{
		level: append(level, logLevel())[0], t: t, dir: dir, wires: memnet.New(memnet.Faults{}),
		people: make(map[string]ledger.Signer), customers: someCustomers(),
	}
}

func (c *cluster) found(seats []seat) {
	t := c.t
	t.Helper()
	hosts := orderedHosts(t, len(seats))
	for i, s := range seats {
		if s.bank {
			c.makeVault(s.member)
		}
		p := c.makeHome(i, s)
		if c.outfit != nil {
			c.outfit(i, p)
		}
		writeKeys(t, &p.cfg.Identity, hosts[i])
		card, err := Init(p.home, p.cfg, password)
		if err != nil {
			t.Fatal(err)
		}
		p.card = *card
		p.card.Answers = s.kind == "validator" || s.bank
		p.card.APIURLs = []string{fmt.Sprintf("https://127.0.0.1:%d", 7500+i)} // the real one is known only when it runs
		c.nodes = append(c.nodes, p)
	}
	c.makeGenesis(seats)
	for _, p := range c.nodes {
		if err := CreateLedger(t.Context(), p.cfg); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.finish)
	c.start(c.kind("validator")...)
	c.enrol()
	c.start(c.kind("observer")...)
}

// now is what every clock of the cluster shows.
func (c *cluster) now() time.Time { return time.Now().Add(time.Duration(c.later.Load())) }

// logLevel is debug with ASSENT_TEST_LOG=debug in the environment.
func logLevel() (l slog.Level) {
	_ = l.UnmarshalText([]byte(os.Getenv("ASSENT_TEST_LOG"))) // else info
	return l
}

func (c *cluster) makeHome(i int, s seat) *peer {
	p := &peer{c: c, name: s.member + "-" + s.kind}
	p.home = filepath.Join(c.dir, p.name)
	p.cfg = config.Default()
	p.cfg.DataDir, p.cfg.Genesis = filepath.Join(p.home, "data"), filepath.Join(c.dir, "genesis.json")
	id := &p.cfg.Identity
	id.Member, id.Node, id.KeysDir, id.DataKeys = s.member, s.kind, filepath.Join(p.home, "keys"), []string{"data"}
	p.cfg.Network.Listen = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 7400+i)} // a name only: the network is in memory
	p.cfg.API.Listen, p.cfg.API.Names = "127.0.0.1:0", []string{"127.0.0.1"}
	p.cfg.Metrics.Listen = config.Off
	if i == 0 {
		p.cfg.API.Guests = []string{harbour} // where the bank has no node that orders, its admin comes here
	}
	if s.bank {
		p.cfg.Answering = config.Answering{Enabled: true, Vaults: []config.Vault{c.vaultOf(s.member)}}
	}
	return p
}

func (c *cluster) makeGenesis(seats []seat) {
	c.t.Helper()
	var members []GenesisMember
	var cards []Card
	for i, s := range seats {
		cards = append(cards, c.nodes[i].card)
		if c.people[s.member+"/admin"] != nil {
			continue
		}
		for _, role := range append([]sdk.ClientRole{"admin"}, personRoles...) {
			c.people[s.member+"/"+string(role)] = ledger.NewKeySigner(newKey(c.t))
		}
		members = append(members, GenesisMember{
			ID: s.member, Name: s.member, Roles: []string{memberRoles[s.member]},
			Admins: []ledger.Address{c.people[s.member+"/admin"].Address()},
		})
	}
	g, err := Genesis("test", uint64(time.Now().UnixMilli()), members, cards)
	if err != nil {
		c.t.Fatal(err)
	}
	g.Limits.RecordMillis = uint64(c.records.Milliseconds())
	b, err := config.FormatGenesis(g)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.nodes[0].cfg.Genesis, b, 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.genesis = g
}

// enrol registers the people, nodes and data keys of every member, each through
// its own admin. Admins of members without a running node use the first.
func (c *cluster) enrol() {
	c.t.Helper()
	var g errgroup.Group
	for _, m := range c.genesis.Members {
		via := c.nodes[0]
		if p := c.find(m.ID, "validator"); p != nil {
			via = p
		}
		g.Go(func() error {
			if err := c.enrolMember(m.ID, via); err != nil {
				return fmt.Errorf("enrol %s: %w", m.ID, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) enrolMember(member string, via *peer) error {
	ctx := c.t.Context()
	admin, err := via.dial(ctx, sdk.WithIdentity(sdk.OrgID(member), c.people[member+"/admin"]))
	if err != nil {
		return err
	}
	defer admin.Close()
	for _, role := range personRoles {
		key, as := c.people[member+"/"+string(role)].Address(), role
		if role == secondOfficer {
			as = "officer"
		}
		if _, err := admin.Clients().Register(ctx, sdk.ClientSpec{Address: key, Roles: []sdk.ClientRole{as}, Label: string(role)}); err != nil {
			return err
		}
	}
	for _, p := range c.nodes {
		if p.cfg.Identity.Member != member {
			continue
		}
		if _, err := admin.Nodes().Set(ctx, p.spec(c.genesis.Hash())); err != nil {
			return err
		}
		if !p.card.Answers {
			continue
		}
		key, err := p.card.DataKeySpec(time.Now())
		if err != nil {
			return err
		}
		if _, err := admin.DataKeys().Set(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) kind(kind string) []*peer {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(p *peer) bool { return p.cfg.Identity.Node != kind })
}

// inside are the nodes that the network has not removed.
func (c *cluster) inside() []*peer {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(p *peer) bool { return p.left })
}

func (c *cluster) find(member, kind string) *peer {
	for _, p := range c.kind(kind) {
		if p.cfg.Identity.Member == member {
			return p
		}
	}
	return nil
}

// node returns a member's validator, or its observer if it has no other.
func (c *cluster) node(member string) *peer {
	if p := c.find(member, "validator"); p != nil {
		return p
	}
	return c.find(member, "observer")
}

// start starts nodes and waits until each is ready.
func (c *cluster) start(peers ...*peer) {
	c.t.Helper()
	for _, p := range peers {
		p.open()
	}
	for _, p := range peers {
		p.ready()
	}
}

// cut breaks the link between two nodes until heal.
func (c *cluster) cut(a, b *peer) {
	c.wires.Cut(a.id(), b.id())
	c.cuts = append(c.cuts, [2]*peer{a, b})
}

func (c *cluster) heal(a, b *peer) { c.wires.Heal(a.id(), b.id()) }

func (c *cluster) healAll() {
	for _, x := range c.cuts {
		c.heal(x[0], x[1])
	}
	c.cuts = nil
}

// finish ends a test: it repairs what the test broke, waits until every node
// holds the same block and nothing is left to do, stops the nodes and checks what
// they leave behind.
func (c *cluster) finish() {
	t := c.t
	if !t.Failed() {
		c.healAll()
		var stopped []*peer
		for _, p := range c.inside() {
			p.rules(nil)
			if !p.running() {
				stopped = append(stopped, p)
			}
		}
		c.start(stopped...)
		c.converge(c.inside()...)
	}
	for _, p := range c.nodes {
		if t.Failed() && p.running() {
			t.Logf("%s: %+v", p.name, (&backend{Node: p.node}).Status())
		}
	}
	for _, p := range c.nodes {
		p.stop()
	}
	if t.Failed() {
		for _, p := range c.nodes {
			p.log.show(t, p.name)
		}
		return
	}
	last := c.nodes[0]
	for _, p := range c.nodes {
		CheckLedger(t, p)
		sameLedger(t, last, p)
	}
	c.searchForPersons()
	if t.Failed() {
		for _, p := range c.nodes {
			p.log.show(t, p.name)
		}
	}
}

// converge waits until calm nodes have nothing left to do.
func (c *cluster) converge(peers ...*peer) {
	c.t.Helper()
	eventually(c.t, 60*time.Second, func() error {
		for _, p := range peers {
			if err := p.idle(); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		return c.uncalm(peers)
	})
}

// calm waits until nodes hold the same newest block, have executed it, and it is
// one that only seals the ones before: no further one comes by itself.
func (c *cluster) calm(peers ...*peer) {
	c.t.Helper()
	eventually(c.t, 60*time.Second, func() error { return c.uncalm(peers) })
}

func (c *cluster) uncalm(peers []*peer) error {
	first := peers[0].node.store.Tip()
	for _, p := range peers {
		tip := p.node.store.Tip()
		if tip.Hash != first.Hash {
			return fmt.Errorf("%s is at height %d, %s at %d", peers[0].name, first.Height, p.name, tip.Height)
		}
		if h, _, _ := p.node.state.Executed(); h != tip.Height {
			return fmt.Errorf("%s has executed %d of %d", p.name, h, tip.Height)
		}
	}
	b, err := peers[0].node.store.Block(first.Height)
	if err != nil {
		return err
	}
	for _, r := range b.Requests {
		if ledger.KindOf(r) != ledger.KindSeal {
			return errors.New("the newest block is not sealed")
		}
	}
	return nil
}

// eventually waits for a condition. It looks often and fails after within.
func eventually(t *testing.T, within time.Duration, cond func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
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

// spec is the node's record with the proof that it has its host key.
func (p *peer) spec(chain ledger.Hash) sdk.NodeSpec {
	card := p.card
	store, err := keys.Open(p.cfg.Identity.KeysDir)
	if err != nil {
		panic(err)
	}
	if err := card.prove(&p.cfg.Identity, store, password, chain, time.Now()); err != nil {
		panic(err)
	}
	return card.Spec()
}
