package bft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// recorder is a transport that goes nowhere.
type recorder struct {
	mu        sync.Mutex
	sent      map[consensus.ReplicaID][][]byte
	forwarded map[consensus.ReplicaID]int
}

func (r *recorder) Send(to consensus.ReplicaID, msg []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent == nil {
		r.sent = make(map[consensus.ReplicaID][][]byte)
	}
	r.sent[to] = append(r.sent[to], msg)
}

func (r *recorder) Forward(to consensus.ReplicaID, _ []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.forwarded == nil {
		r.forwarded = make(map[consensus.ReplicaID]int)
	}
	r.forwarded[to]++
}

// base is a configuration on a fresh directory.
func base(t testing.TB) Config {
	t.Helper()
	return Config{Self: 1, Membership: four(), WALDir: t.TempDir(), App: consensustest.NewApp(1, four()), Transport: &recorder{}, Settings: quick()}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no application":      func(c *Config) { c.App = nil },
		"no transport":        func(c *Config) { c.Transport = nil },
		"no directory":        func(c *Config) { c.WALDir = "" },
		"not a member":        func(c *Config) { c.Self = 9 },
		"empty membership":    func(c *Config) { c.Membership = consensus.Membership{} },
		"long submit timeout": func(c *Config) { c.Settings.SubmitTimeout = time.Second },
		"long batch interval": func(c *Config) { c.Settings.BatchInterval = time.Second },
		"request over batch":  func(c *Config) { c.Settings.RequestMaxBytes = 4 << 20 },
		"batch over message":  func(c *Config) { c.Settings.BatchMaxBytes = 12 << 20 },
		"tiny pool":           func(c *Config) { c.Settings.PoolSize = 10 },
		"negative tick":       func(c *Config) { c.Settings.Tick = -1 },
		"forward over complaint": func(c *Config) {
			c.Settings.ForwardTimeout, c.Settings.ComplainTimeout = 2*time.Second, time.Second
		},
		"last decision without metadata": func(c *Config) { c.Last.Proposal.Height = 3; c.NewReplica = true },
		"last decision without votes": func(c *Config) {
			c.Last.Proposal.Height, c.Last.Proposal.Meta, c.NewReplica = 3, metaBytes(0, 3, 0), true
		},
		"last decision at another height": func(c *Config) {
			c.Last.Proposal.Height, c.Last.Proposal.Meta, c.NewReplica = 3, metaBytes(0, 4, 0), true
		},
	} {
		cfg := base(t)
		change(&cfg)
		if e, err := Open(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A field that a later version of the library adds would silently be zero.
func TestEverySettingOfTheLibraryIsDecided(t *testing.T) {
	off := []string{"SyncOnStart", "SpeedUpViewChange", "LeaderRotation", "DecisionsPerLeader"}
	cfg := reflect.ValueOf(Config{Self: 1}.withDefaults().library())
	for i := range cfg.NumField() {
		name := cfg.Type().Field(i).Name
		if zero := cfg.Field(i).IsZero(); zero != slices.Contains(off, name) {
			t.Errorf("library setting %s is %v", name, cfg.Field(i))
		}
	}
	if err := (Config{Self: 1}).withDefaults().library().Validate(); err != nil {
		t.Error(err)
	}
}

func TestAMissingLogIsRefusedUnlessTheReplicaIsNew(t *testing.T) {
	cfg := base(t)
	cfg.Last = decided(3, 2, 3, 4)
	if _, err := Open(cfg); !errors.Is(err, ErrLogMismatch) {
		t.Errorf("open: %v, want %v", err, ErrLogMismatch)
	}
	cfg.NewReplica = true
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	cfg.NewReplica = false // it has a log now
	if e, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	if err := e.Run(t.Context()); err == nil {
		t.Error("a closed engine ran")
	}
}

func TestAnInitialisedReplicaMayStartLate(t *testing.T) {
	cfg := base(t)
	cfg.Last = decided(3, 2, 3, 4)
	if err := Init(cfg.WALDir); err != nil {
		t.Fatal(err)
	}
	if err := Init(cfg.WALDir); err == nil {
		t.Error("a log was made over another")
	}
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	cfg.Last = decided(3, 1, 2, 3) // but not if it has voted
	if _, err := Open(cfg); !errors.Is(err, ErrLogMismatch) {
		t.Errorf("open: %v, want %v", err, ErrLogMismatch)
	}
}

func TestOldCopiesOfDiskAreRefused(t *testing.T) {
	c := started(t)
	r := c.Replica(4)
	// A copy of the log at height 1.
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	backup := t.TempDir()
	if err := os.CopyFS(filepath.Join(backup, "wal"), os.DirFS(r.Dir())); err != nil {
		t.Fatal(err)
	}
	c.Start(4)
	for _, id := range []string{"second", "third"} {
		c.Submit(1, consensustest.Req(id, 50))
		c.WaitApplied(c.IDs(), id)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	newest := filepath.Join(t.TempDir(), "newest")
	if err := os.Rename(r.Dir(), newest); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); !errors.Is(err, ErrLogMismatch) {
		t.Errorf("without a log: %v", err)
	}
	if err := os.RemoveAll(r.Dir()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(r.Dir(), os.DirFS(filepath.Join(backup, "wal"))); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); !errors.Is(err, ErrLogMismatch) {
		t.Errorf("with an old log: %v", err)
	}
	if err := os.RemoveAll(r.Dir()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(newest, r.Dir()); err != nil {
		t.Fatal(err)
	}
	r.App.Truncate(1)
	if err := r.Start(); !errors.Is(err, ErrLogMismatch) {
		t.Errorf("with an old block store: %v", err)
	}
	if _, err := r.App.CatchUp(t.Context()); err != nil { // the remedy
		t.Fatal(err)
	}
	c.Start(4)
	c.Submit(4, consensustest.Req("fourth", 50))
	c.WaitApplied(c.IDs(), "fourth")
}

func TestBeforeAndAfterRunNothingIsTaken(t *testing.T) {
	e, err := Open(base(t))
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		if err := e.Submit(t.Context(), consensustest.Req("x", 10)); !errors.Is(err, consensus.ErrNotRunning) {
			t.Errorf("submit %s: %v", when, err)
		}
		if err := e.Accept(t.Context(), consensustest.Req("x", 10)); !errors.Is(err, consensus.ErrNotRunning) {
			t.Errorf("accept %s: %v", when, err)
		}
		e.Step(2, []byte("x"))
		e.Forget([]consensus.RequestInfo{{ID: "x"}})
		if s := e.Status(); s.Running || s.Pool != 0 {
			t.Errorf("status %s: %+v", when, s)
		}
	}
	check("before Run")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
	check("after Run")
}

func TestSubmitPassesARequestToAllAndAcceptToNone(t *testing.T) {
	cfg := base(t)
	tr := &recorder{}
	cfg.Transport = tr
	cfg.Settings.PoolSize, cfg.Settings.BatchMaxCount = 4, 2
	cfg.Settings.ForwardTimeout, cfg.Settings.ComplainTimeout, cfg.Settings.RemoveTimeout = time.Hour, time.Hour, time.Hour
	cfg.Self = 2 // a follower: nothing leaves the pool
	e := running(t, cfg)
	for range 2 { // the second time it is known here, but perhaps not to the others
		if err := e.Submit(t.Context(), consensustest.Req("a", 10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Accept(t.Context(), consensustest.Req("b", 10)); err != nil {
		t.Fatal(err)
	}
	tr.mu.Lock()
	if got := tr.forwarded; len(got) != 3 || got[1] != 2 || got[3] != 2 || got[4] != 2 {
		t.Errorf("forwarded to %v, want twice to 1, 3 and 4", got)
	}
	tr.mu.Unlock()
	for i := range 2 {
		if err := e.Accept(t.Context(), consensustest.Req(fmt.Sprint("c", i), 10)); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	if err := e.Submit(t.Context(), consensustest.Req("d", 10)); !errors.Is(err, consensus.ErrBusy) {
		t.Errorf("submit to a full pool: %v", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("refusal took %v", took)
	}
	e.Forget([]consensus.RequestInfo{{Client: "client", ID: "a"}, {Client: "client", ID: "never seen"}})
	if n := e.Status().Pool; n != 3 {
		t.Errorf("%d requests pooled, want 3", n)
	}
	if err := e.Submit(t.Context(), consensustest.Req("a", 10)); err != nil || e.Status().Pool != 3 {
		t.Errorf("a forgotten request came back: %v, %d pooled", err, e.Status().Pool)
	}
}

// running runs one engine until the test ends.
func running(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !e.Status().Running {
		select {
		case <-tick.C:
		case err := <-done:
			t.Fatalf("engine ended: %v", err)
		}
	}
	return e
}

// Such a leader tries again as soon as the library has caught up.
func TestALeaderOfAViewItHasLeftTakesItsTime(t *testing.T) {
	e, err := Open(base(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	e.runCtx = t.Context()
	c := claimAt(t, 0, 1, "a")
	e.promises.found(c)
	if err := errors.Join(e.Append(proposedRecord(0, 1), true), e.Append(viewChangeRecord(0), false)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p := e.AssembleProposal(c.proposal.Metadata, nil)
	if took := time.Since(begin); took < e.cfg.Settings.CollectTimeout {
		t.Errorf("proposed after %v", took)
	}
	if _, err := e.VerifyProposal(p); err == nil {
		t.Error("accepted a proposal in a view that was left")
	}
}

func TestABroadcastIsEncodedOnce(t *testing.T) {
	cfg := base(t)
	tr := &recorder{}
	cfg.Transport = tr
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	m := messages()["prepare"]
	for range 2 { // said twice, as the library does
		for to := uint64(2); to <= 4; to++ {
			e.SendConsensus(to, m)
		}
	}
	if &tr.sent[2][0][0] != &tr.sent[3][0][0] || &tr.sent[2][0][0] != &tr.sent[4][0][0] {
		t.Error("replicas got different encodings of one broadcast")
	}
	if &tr.sent[2][0][0] == &tr.sent[2][1][0] {
		t.Error("the encoding outlived its broadcast")
	}
	for i := range e.encoded.ring {
		if e.encoded.ring[i].message != nil {
			t.Error("the cache retains a message that was sent to all")
		}
	}
}

func TestDecisionsCarryAQuorumOfDistinctVotes(t *testing.T) {
	vote := func(id, view uint64) smart.Signature {
		return smart.Signature{ID: id, Value: sealVote(view, []byte("s"))}
	}
	for _, test := range []struct {
		sigs        []smart.Signature
		view, votes int
		mixed       bool
	}{
		{[]smart.Signature{vote(1, 3), vote(2, 3), vote(1, 3), vote(3, 3), vote(2, 3)}, 3, 3, false},
		{[]smart.Signature{vote(1, 3), vote(2, 2), vote(3, 2), vote(4, 2)}, 2, 3, true},
		{[]smart.Signature{vote(2, 2), vote(3, 2), vote(2, 3), vote(4, 3)}, 3, 2, true},
		{[]smart.Signature{vote(1, 3), {ID: 2, Value: []byte("s")}}, 3, 1, false}, // no view
		{nil, 0, 0, false},
	} {
		if view, votes, mixed := votesOf(test.sigs); int(view) != test.view || len(votes) != test.votes || mixed != test.mixed {
			t.Errorf("%v: %d votes of view %d, mixed %v, want %+v", test.sigs, len(votes), view, mixed, test)
		}
	}
	cfg := base(t)
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	e.starting.Store(e.newInstance())
	defer e.starting.Load().stopTicks()
	e.Deliver(proposalAt(0, 1, "x"), []smart.Signature{vote(1, 0), vote(1, 0), vote(2, 0)})
	if !e.muted() {
		t.Error("two votes decided in a network of four")
	}
}

func TestRepetitionsGrowRare(t *testing.T) {
	now := time.Unix(0, 0)
	r := &repeater{after: time.Second, steady: 6 * time.Second}
	var at []int
	for s := range 60 {
		if r.due(5, now.Add(time.Duration(s)*time.Second)) {
			at = append(at, s)
		}
	}
	if want := []int{1, 3, 5, 7, 11, 19, 27, 35, 43, 51, 59}; !slices.Equal(at, want) {
		t.Errorf("repeated at %v s, want %v", at, want)
	}
	if r.due(6, now.Add(time.Hour)) || r.due(0, now.Add(2*time.Hour)) {
		t.Error("repeated at once at a new height, or with nothing to repeat")
	}
}

func TestLagIsNoticedAfterPatience(t *testing.T) {
	var l lag
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for _, step := range []struct {
		second      int
		leader, own uint64
		want        uint64
	}{
		{0, 5, 5, 5},  // level
		{1, 6, 5, 6},  // just behind
		{2, 6, 5, 6},  // patience
		{3, 6, 5, 8},  // long enough
		{4, 6, 5, 6},  // said once
		{5, 6, 6, 6},  // caught up
		{9, 7, 6, 7},  // behind anew
		{10, 8, 7, 8}, // moving on
		{11, 8, 7, 8},
		{12, 20, 7, 20},
	} {
		if got := l.hear(step.leader, step.own, at(step.second), 2*time.Second); got != step.want {
			t.Errorf("second %d: leader %d, own %d shows %d, want %d", step.second, step.leader, step.own, got, step.want)
		}
	}
}

func TestLeaderOfView(t *testing.T) {
	m := consensus.Membership{Replicas: []consensus.ReplicaID{9, 3, 7}}
	for view, want := range []consensus.ReplicaID{3, 7, 9, 3} {
		if got := leaderOf(uint64(view), m); got != want {
			t.Errorf("leader of view %d is %d, want %d", view, got, want)
		}
	}
}

// The pool's errors are told apart by text.
func TestTextsOfThePoolAreThoseOfTheLibrary(t *testing.T) {
	e := running(t, func() Config { c := base(t); c.Self = 2; return c }())
	in := e.current.Load()
	if err := in.cons.Pool.Submit(consensustest.Req("a", 10)); err != nil {
		t.Fatal(err)
	}
	if err := in.cons.Pool.Submit(consensustest.Req("a", 10)); err == nil || err.Error() != poolHasRequest {
		t.Errorf("pooled twice: %v", err)
	}
	in.forget([]consensus.RequestInfo{{Client: "client", ID: "a"}})
	if err := in.cons.Pool.Submit(consensustest.Req("a", 10)); err == nil || err.Error() != poolHadRequest {
		t.Errorf("forgotten and pooled: %v", err)
	}
	in.cons.Pool.Close()
	if err := in.submit(consensustest.Req("b", 10)); !errors.Is(err, consensus.ErrNotRunning) {
		t.Errorf("closed pool: %v", err)
	}
}
