//go:build simulation

package node

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/consensus/consensustest"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/network/memnet"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// world is a network at rest with everybody registered and a bank's product
// published: what every seed begins from, made once.
type world struct {
	dir    string
	nodes  []*peer
	gen    *ledger.Config
	people map[string]ledger.Signer
	notice sdk.Hash
	made   time.Time // when, in simulated time
}

// simSeats are four validators, of which one answers, and an observer.
var simSeats = withObserver([]seat{
	{regulator, "validator", false}, {lender, "validator", false}, {harbour, "validator", true}, {lake, "validator", false},
})

// simDir makes a directory for a simulation's files: in memory where the system
// has such a place, since their fate in a crash is simulated anyway.
func simDir(t *testing.T) string {
	t.Helper()
	base := "/dev/shm"
	if f, err := os.CreateTemp(base, "probe"); err != nil {
		base = ""
	} else {
		f.Close()
		os.Remove(f.Name())
	}
	dir, err := os.MkdirTemp(base, "assent-simulation-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// lastGoroutines gives goleveldb's the second that they take to see a Close.
func lastGoroutines() { time.Sleep(2 * time.Second) }

func makeWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: simDir(t)}
	synctest.Test(t, func(t *testing.T) {
		consensustest.KeepTime(t)
		t.Cleanup(lastGoroutines)
		c := emptyCluster(t, w.dir)
		c.sockets = newSockets()
		t.Cleanup(c.sockets.close)
		c.outfit = func(i int, p *peer) { c.equip(i, p, 0) }
		c.found(simSeats)
		w.notice = c.publish(harbour)
		w.nodes, w.gen, w.people = c.nodes, c.genesis, c.people
		w.made = time.Now()
	})
	if t.Failed() {
		t.FailNow()
	}
	return w
}

// equip gives a node its machine.
func (c *cluster) equip(i int, p *peer, seed uint64) {
	p.machine = &machine{peer: p, addr: fmt.Sprintf("127.0.0.1:%d", 9000+i), random: rand.New(rand.NewPCG(seed, uint64(100+i)))}
}

// cluster returns a copy of the world, none of whose nodes runs yet.
func (w *world) cluster(t *testing.T, seed uint64, wires *memnet.Net) *cluster {
	t.Helper()
	dir := simDir(t)
	if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	c := emptyCluster(t, dir)
	c.wires, c.sockets, c.genesis, c.people = wires, newSockets(), w.gen, w.people
	t.Cleanup(c.sockets.close)
	for i, old := range w.nodes {
		p := &peer{c: c, name: old.name, home: filepath.Join(dir, old.name), cfg: old.cfg, card: old.card}
		move := func(path string) string {
			rel, err := filepath.Rel(w.dir, path)
			if err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, rel)
		}
		p.cfg.DataDir, p.cfg.Genesis = move(old.cfg.DataDir), move(old.cfg.Genesis) // the keys stay where they are
		if len(p.cfg.Answering.Vaults) > 0 {
			p.cfg.Answering.Vaults = []config.Vault{c.vaultOf(p.cfg.Identity.Member)}
		}
		c.equip(i, p, seed)
		c.nodes = append(c.nodes, p)
	}
	time.Sleep(time.Until(w.made) + time.Minute) // every bubble begins at the same time
	return c
}

// ids lists the nodes' names on the network.
func (c *cluster) ids() []network.PeerID {
	out := make([]network.PeerID, len(c.nodes))
	for i, p := range c.nodes {
		out[i] = p.id()
	}
	return out
}
