package consensustest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
)

// Spec is what an engine under test is opened with.
type Spec struct {
	Self       consensus.ReplicaID
	Membership consensus.Membership
	// Dir is the engine's own directory; it survives restarts.
	Dir       string
	Last      consensus.Decision
	App       consensus.App
	Transport consensus.Transport
	Logger    *slog.Logger
}

// OpenFunc makes an engine that has not run. Its time-outs should be short: the
// suite waits for view changes.
type OpenFunc func(Spec) (consensus.Engine, error)

// LogLevel is what engines under test write when tests run with -v.
var LogLevel = new(slog.LevelVar)

// patience is how long a test waits for anything that must happen.
const patience = 30 * time.Second

// Cluster is a set of replicas on one Net.
type Cluster struct {
	Net *Net

	t        testing.TB
	open     OpenFunc
	dir      string
	genesis  consensus.Membership
	replicas map[consensus.ReplicaID]*Replica
}

// Replica is one member of a Cluster: an application that persists and at most
// one engine that runs.
type Replica struct {
	ID  consensus.ReplicaID
	App *App

	cluster *Cluster
	engine  atomic.Pointer[consensus.Engine]

	mu     sync.Mutex // guards cancel and done
	cancel context.CancelFunc
	done   chan struct{} // closed when Run returned
	err    error         // of Run; read after done
}

// NewCluster makes n replicas, 1 to n, none of them running. It stops them and
// checks agreement when the test ends.
func NewCluster(t testing.TB, n int, open OpenFunc) *Cluster {
	t.Helper()
	c := &Cluster{Net: newNet(), t: t, open: open, dir: t.TempDir(), replicas: make(map[consensus.ReplicaID]*Replica)}
	c.genesis.ConfigSeq = 1
	for i := range n {
		c.genesis.Replicas = append(c.genesis.Replicas, consensus.ReplicaID(i+1))
	}
	for _, id := range c.genesis.Replicas {
		c.Add(id)
	}
	t.Cleanup(func() {
		for _, r := range c.replicas {
			if err := r.Stop(); err != nil && !errors.Is(err, errNotRunning) {
				t.Errorf("replica %d ended with: %v", r.ID, err)
			}
		}
		c.Net.close()
		c.CheckAgreement()
	})
	return c
}

// Add makes one more replica, which knows the first membership only.
func (c *Cluster) Add(id consensus.ReplicaID) *Replica {
	r := &Replica{ID: id, App: NewApp(id, c.genesis), cluster: c}
	r.App.engine = r.Engine
	r.App.fetch = func(height uint64) (consensus.Decision, bool) { return c.fetch(id, height) }
	c.replicas[id] = r
	c.Net.attach(id, r.receive)
	return r
}

// fetch answers a replica that catches up from any running replica it reaches.
func (c *Cluster) fetch(by consensus.ReplicaID, height uint64) (consensus.Decision, bool) {
	for _, id := range c.IDs() {
		r := c.replicas[id]
		if id == by || r.Engine() == nil || !c.Net.connected(by, id) || !c.Net.connected(id, by) {
			continue
		}
		if d, ok := r.App.Decision(height); ok {
			return d, true
		}
	}
	return consensus.Decision{}, false
}

// IDs lists the replicas in order.
func (c *Cluster) IDs() []consensus.ReplicaID {
	ids := make([]consensus.ReplicaID, 0, len(c.replicas))
	for id := range c.replicas {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Replica returns the one with this id.
func (c *Cluster) Replica(id consensus.ReplicaID) *Replica { return c.replicas[id] }

// Start runs the replicas named, or all.
func (c *Cluster) Start(ids ...consensus.ReplicaID) {
	c.t.Helper()
	if len(ids) == 0 {
		ids = c.IDs()
	}
	for _, id := range ids {
		if err := c.replicas[id].Start(); err != nil {
			c.t.Fatalf("start replica %d: %v", id, err)
		}
	}
	for _, id := range ids {
		r := c.replicas[id]
		c.Wait(fmt.Sprintf("replica %d to run", id), func() bool {
			e := r.Engine()
			return e == nil || e.Status().Running
		})
	}
}

// Isolate cuts a replica off from all others, Rejoin undoes it.
func (c *Cluster) Isolate(id consensus.ReplicaID) { c.links(id, c.Net.Cut) }

// Rejoin undoes Isolate.
func (c *Cluster) Rejoin(id consensus.ReplicaID) { c.links(id, c.Net.Heal) }

func (c *Cluster) links(id consensus.ReplicaID, set func(from, to consensus.ReplicaID)) {
	for _, other := range c.IDs() {
		if other != id {
			set(id, other)
			set(other, id)
		}
	}
}

// Submit hands a request to one replica's engine and insists until it is taken.
func (c *Cluster) Submit(to consensus.ReplicaID, req []byte) {
	c.t.Helper()
	var err error
	c.Wait(fmt.Sprintf("replica %d to take a request", to), func() bool {
		e := c.replicas[to].Engine()
		if e == nil {
			err = consensus.ErrNotRunning
			return false
		}
		err = e.Submit(c.t.Context(), req)
		return !errors.Is(err, consensus.ErrBusy) && !errors.Is(err, consensus.ErrNotRunning)
	})
	if err != nil {
		c.t.Fatalf("submit to replica %d: %v", to, err)
	}
}

// Wait checks ok again and again until it holds or patience ends.
func (c *Cluster) Wait(what string, ok func() bool) {
	c.t.Helper()
	if ok() {
		return
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case <-tick.C:
			if ok() {
				return
			}
		case <-deadline.C:
			c.t.Fatalf("waited %v for %s\n%s", patience, what, c.describe())
		}
	}
}

// WaitApplied waits until the replicas have delivered all requests.
func (c *Cluster) WaitApplied(on []consensus.ReplicaID, ids ...string) {
	c.t.Helper()
	for _, r := range on {
		app := c.replicas[r].App
		c.Wait(fmt.Sprintf("replica %d to deliver %d requests", r, len(ids)), func() bool {
			return !slices.ContainsFunc(ids, func(id string) bool { return !app.Has(id) })
		})
	}
}

// AwaitApplied waits, without polling, until all replicas have delivered the
// requests.
func (c *Cluster) AwaitApplied(ids ...string) {
	c.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for _, r := range c.replicas {
		for {
			wake := r.App.wake()
			if !slices.ContainsFunc(ids, func(id string) bool { return !r.App.Has(id) }) {
				break
			}
			select {
			case <-wake:
			case <-deadline.C:
				c.t.Errorf("waited %v for %d requests\n%s", patience, len(ids), c.describe())
				return
			}
		}
	}
}

// WaitHeight waits until the replicas have delivered that many decisions.
func (c *Cluster) WaitHeight(height uint64, on ...consensus.ReplicaID) {
	c.t.Helper()
	for _, r := range on {
		app := c.replicas[r].App
		c.Wait(fmt.Sprintf("replica %d to reach height %d", r, height), func() bool { return app.Height() >= height })
	}
}

func (c *Cluster) describe() string {
	var out string
	for _, id := range c.IDs() {
		r := c.replicas[id]
		out += fmt.Sprintf("replica %d: height %d, %d requests", id, r.App.Height(), len(r.App.Applied()))
		if e := r.Engine(); e != nil {
			out += fmt.Sprintf(", %+v", e.Status())
		} else {
			out += ", not running"
		}
		out += "\n"
	}
	return out
}

// CheckAgreement fails the test if two replicas differ at a height or an
// application saw what it never may.
func (c *Cluster) CheckAgreement() {
	c.t.Helper()
	var longest *App
	for _, id := range c.IDs() {
		app := c.replicas[id].App
		if err := app.check(); err != nil {
			c.t.Error(err)
		}
		if longest == nil || app.Height() > longest.Height() {
			longest = app
		}
	}
	for _, id := range c.IDs() {
		app := c.replicas[id].App
		for h := uint64(1); h <= app.Height(); h++ {
			mine, _ := app.Decision(h)
			theirs, _ := longest.Decision(h)
			if !reflect.DeepEqual(theirs.Proposal, mine.Proposal) {
				c.t.Fatalf("replicas %d and %d disagree at height %d:\n%+v\n%+v", longest.self, id, h, theirs.Proposal, mine.Proposal)
			}
		}
	}
}

var errNotRunning = errors.New("replica does not run")

// Engine returns the engine that runs, or nil.
func (r *Replica) Engine() consensus.Engine {
	if e := r.engine.Load(); e != nil {
		return *e
	}
	return nil
}

// Start opens an engine on the replica's application and runs it.
func (r *Replica) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		return errors.New("replica already runs")
	}
	logger := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		logger = slog.New(slog.NewTextHandler(r.cluster.t.Output(), &slog.HandlerOptions{Level: LogLevel})).With("replica", r.ID)
	}
	e, err := r.cluster.open(Spec{
		Self:       r.ID,
		Membership: r.App.Membership(),
		Dir:        filepath.Join(r.cluster.dir, fmt.Sprint(r.ID)),
		Last:       r.App.Last(),
		App:        r.App,
		Transport:  endpoint{net: r.cluster.Net, id: r.ID},
		Logger:     logger,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r.cancel, r.done = cancel, done
	r.engine.Store(&e)
	go func() {
		defer close(done)
		r.err = e.Run(ctx)
		r.engine.Store(nil)
	}()
	return nil
}

// Stop ends the engine and returns what Run returned.
func (r *Replica) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel == nil {
		return errNotRunning
	}
	r.cancel()
	<-r.done
	r.cancel = nil
	return r.err
}

// Dir is the engine's directory.
func (r *Replica) Dir() string { return filepath.Join(r.cluster.dir, fmt.Sprint(r.ID)) }

// Ended waits until Run has returned by itself, and returns its error.
func (r *Replica) Ended() error {
	r.mu.Lock()
	done := r.done
	r.mu.Unlock()
	select {
	case <-done:
	case <-time.After(patience):
		r.cluster.t.Fatalf("replica %d did not end within %v", r.ID, patience)
	}
	return r.Stop()
}

// receive is the far end of the replica's links.
func (r *Replica) receive(m Message) {
	e := r.Engine()
	if e == nil {
		return
	}
	if m.Class == Consensus {
		e.Step(m.From, m.Body)
		return
	}
	if _, err := r.App.CheckRequest(m.Body); err != nil {
		return
	}
	if r.App.Has(r.App.Inspect(m.Body).ID) {
		return
	}
	_ = e.Accept(context.Background(), m.Body) // full or stopping: the engine of the sender insists
}
