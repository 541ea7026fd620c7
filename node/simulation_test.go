//go:build simulation

package node

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/consensus/consensustest" // also so that a wait for a mutex does not stop simulated time
	"github.com/assent-network/assent/network/memnet"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/sdk"
)

// The simulation runs a whole network in one process and in simulated time: five
// real nodes (four validators and an observer; SmartBFT, executor, state, stores
// on files, the answering of queries, the API) on memnet, with real SDK clients,
// while a schedule of faults drawn from a seed cuts, mutes, delays, repeats and
// loses what they say, sets clocks wrong, and kills nodes in the middle of a write
// or of a message, with or without what was not synced. Nothing waits for real
// time (testing/synctest), so a minute of the network takes a second or two.
//
// One seed, with its figures; many, from a first one on; as many as fit into some
// time:
//
//	scripts/simulate --seed 17 --seeds 1 -v
//	scripts/simulate --seed 1000 --seeds 500
//	scripts/simulate --duration 30m
//
// (They run go test with the build tag simulation, for which see package
// consensustest.) A failure prints the seed, the command that repeats it, what
// happened when (simulated time since the start), and the last lines of every
// node's log. Read it from the claim that failed back to the last fault before
// it; ASSENT_TEST_LOG=debug makes the nodes tell more. The schedule and every decision about a message follow
// from the seed. The order in which goroutines run does not, nor do keys and
// nonces: a rare failure may want -count. The claims are those of judge (what
// clients saw), watch (one block per height, at any time; no node ends by itself)
// and end (everybody converges, CheckLedger, answers).
//
// A real disk's slowness has no place here: a goroutine that waits for simulated
// time with a mutex held stops that time. Nor has corruption: see memnet.
var (
	simSeed     = flag.Uint64("simulation.seed", 1, "first seed of TestSimulation")
	simSeeds    = flag.Int("simulation.seeds", 2, "number of seeds of TestSimulation")
	simFaults   = flag.Int("simulation.faults", 14, "faults in a schedule")
	simDuration = flag.Duration("simulation.duration", 0, "take seeds for so long instead of a number of them")
)

// allPermits counts the permitted requests of all seeds. One seed may have none,
// in foul weather; all of them together without any would have shown nothing.
var allPermits atomic.Int64

func TestSimulation(t *testing.T) {
	t.Cleanup(func() {
		if allPermits.Load() == 0 {
			t.Error("no seed had a permitted request: nothing was shown")
		}
	})
	w := makeWorld(t)
	began := time.Now()
	one := func(t *testing.T, seed uint64) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if *simDuration == 0 {
				t.Parallel()
			}
			synctest.Test(t, func(t *testing.T) { simulate(t, w, seed, *simFaults) })
		})
	}
	for seed := *simSeed; *simDuration > 0 && time.Since(began) < *simDuration; seed++ {
		one(t, seed)
	}
	if *simDuration == 0 {
		for i := range *simSeeds {
			one(t, *simSeed+uint64(i))
		}
	}
}

// simulation is one seed's run.
type simulation struct {
	*cluster
	seed    uint64
	notice  sdk.Hash
	weather *memnet.Weather
	clients *clients
	history *history
	began   time.Time
	log     []string // what happened when

	blocks map[ledger.Height]ledger.Hash // the one block of each height
	seen   map[*peer]ledger.Height       // up to which a node's blocks were looked at
}

func simulate(t *testing.T, w *world, seed uint64, faults int) {
	consensustest.KeepTime(t)
	t.Cleanup(lastGoroutines)
	weather := memnet.NewWeather(seed)
	s := &simulation{
		cluster: w.cluster(t, seed, memnet.New(weather.Faults())), seed: seed, notice: w.notice, weather: weather,
		history: newHistory(), blocks: make(map[ledger.Height]ledger.Hash), seen: make(map[*peer]ledger.Height),
	}
	t.Cleanup(s.report)
	s.began = time.Now()
	weather.Set(weathers[0].Conditions)
	for _, p := range s.nodes {
		s.boot(p)
	}
	for _, p := range s.nodes {
		p.ready()
	}
	s.clients = s.dialAll()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.clients.start(ctx, seed)
	for _, f := range draw(rand.New(rand.NewPCG(seed, 1)), faults, len(s.nodes)) {
		s.note("%s", f)
		s.apply(f)
		s.pause(f.pause)
	}
	s.end(cancel)
}

func (s *simulation) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%10s  ", time.Since(s.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// report tells a failed run.
func (s *simulation) report() {
	if !s.t.Failed() {
		s.t.Logf("%s of the network, %d blocks, %s", time.Since(s.began).Round(time.Second), len(s.blocks), s.history.counts())
		return
	}
	s.t.Logf("repeat with: scripts/simulate --seed %d --seeds 1 --faults %d -v", s.seed, *simFaults)
	s.t.Logf("what happened:\n%s\n%s", strings.Join(s.log, "\n"), s.history.counts())
	for i, p := range s.nodes {
		if n := p.node; n != nil {
			s.t.Logf("%s is %+v", nodeName(i), (&backend{Node: n}).Status())
			p.cancel()
			<-p.done
		}
		p.log.show(s.t, nodeName(i))
	}
}

// pause lets the network go on for a while, and watches it.
func (s *simulation) pause(d time.Duration) {
	for d > 0 {
		step := min(d, 250*time.Millisecond)
		time.Sleep(step)
		d -= step
		s.watch()
	}
}

// watch looks at what must hold at every moment, and takes note of deaths.
func (s *simulation) watch() {
	s.t.Helper()
	for _, p := range s.nodes {
		n := s.running(p)
		if n == nil {
			continue
		}
		if how := p.dead(); how != "" {
			s.note("%s: %s", s.name(p), how)
			s.bury(p)
			continue
		}
		select {
		case err := <-p.done:
			p.done <- err
			s.t.Fatalf("%s ended by itself: %v", s.name(p), err)
		default:
		}
		s.compare(p)
	}
}

// compare holds a running node's new blocks against those of the others.
func (s *simulation) compare(p *peer) {
	s.t.Helper()
	tip := p.node.store.Tip().Height
	for h := s.seen[p] + 1; h <= tip; h++ {
		_, hash, err := p.node.store.Header(h)
		if err != nil {
			s.t.Fatalf("%s: block %d: %v", s.name(p), h, err)
		}
		if other, ok := s.blocks[h]; ok && other != hash {
			s.t.Fatalf("fork: at height %d %s has %s, another node has %s", h, s.name(p), hash, other)
		}
		s.blocks[h] = hash
	}
	s.seen[p] = tip
}

func (s *simulation) name(p *peer) string {
	for i := range s.nodes {
		if s.nodes[i] == p {
			return nodeName(i)
		}
	}
	return p.name
}

// running returns a peer's node while it runs, to any goroutine.
func (s *simulation) running(p *peer) *Node { return p.machine.node.Load() }

func (s *simulation) boot(p *peer) {
	s.note("%s starts", s.name(p))
	s.seen[p] = 0
	p.open()
	p.machine.node.Store(p.node)
}

func (s *simulation) stop(p *peer) {
	if s.running(p) == nil {
		return
	}
	p.machine.node.Store(nil)
	if p.dead() != "" {
		s.bury(p)
		return
	}
	p.stop()
}

// kill ends a node between two moments: while everybody waits for something.
func (s *simulation) kill(p *peer, power bool) {
	if s.running(p) == nil {
		return
	}
	synctest.Wait()
	p.machine.life.die(anyMoment, power)
	s.note("%s: %s", s.name(p), p.dead())
	s.bury(p)
}

func (s *simulation) bury(p *peer) {
	s.t.Helper()
	p.machine.node.Store(nil)
	if err := p.bury(); err != nil {
		s.t.Fatal(err)
	}
}

// leader is the place of the node that most validators take for the leader.
func (s *simulation) leader() int {
	votes := make(map[uint64]int)
	for _, p := range s.kind("validator") {
		if n := s.running(p); n != nil {
			votes[uint64(n.chain.EngineStatus().Leader)]++
		}
	}
	best := uint64(1)
	for id := uint64(1); id <= 4; id++ {
		if votes[id] > votes[best] {
			best = id
		}
	}
	return int(best) - 1 // validators are numbered in the order of the seats
}

// Time within which a network without faults must have come to rest. An answer
// whose sealed part was lost with its sender waits for its deadline, answerTTL.
const (
	orderWithin = 60 * time.Second
	restWithin  = 2*answerTTL + 60*time.Second
)

// end mends everything and looks at what has become of it.
func (s *simulation) end(stopWork func()) {
	t := s.t
	s.note("the end: no more faults")
	for _, p := range s.nodes {
		if how := p.dead(); how != "" {
			s.note("%s: %s", s.name(p), how)
			s.bury(p)
		} else if s.running(p) != nil {
			p.machine.life.set(trap{})
		}
		p.machine.skew.Store(p.machine.skew.Load() / 4) // ±1 s: as clocks are
	}
	s.weather.Clear()
	s.weather.Set(weathers[0].Conditions)
	s.heal()
	s.within(orderWithin, "a request is ordered", func() error { return s.orders() })
	stopWork()
	s.clients.running.Wait()
	s.within(restWithin, "every node comes to rest", func() error {
		for _, p := range s.nodes {
			if err := p.idle(); err != nil {
				return fmt.Errorf("%s: %w", s.name(p), err)
			}
			if err := (&backend{Node: p.node}).Ready(); err != nil {
				return fmt.Errorf("%s: %w", s.name(p), err)
			}
		}
		return s.uncalm(s.nodes)
	})
	s.note("at rest")
	s.answers()
	if err := s.clients.verdict(); err != nil {
		t.Error(err)
	}
	s.sockets.close()
	for _, p := range s.nodes {
		s.stop(p)
	}
	s.verdict()
}

// within waits for a claim in simulated time, and watches meanwhile.
func (s *simulation) within(limit time.Duration, what string, claim func() error) {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := claim()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("without faults, not within %s: %s: %v", limit, what, err)
		}
		s.pause(100 * time.Millisecond)
	}
}

// orders hands in one more transaction, about a consent that does not exist, and
// wants its outcome.
func (s *simulation) orders() error {
	w := s.clients
	ticket, err := w.lend.Queries().Prepare(sdk.QueryRequest{Consent: record.NewConsentID([16]byte{1}), Template: templateOf(harbour, incomeBand), Purpose: record.CreditChecking})
	if err != nil {
		return err
	}
	tx, err := sdk.ParseTransaction(ticket.Transaction)
	if err != nil {
		return err
	}
	a := &act{id: tx.ID(), what: "Request", consent: ticket.Query.Consent}
	s.history.begin(a)
	out, err := w.lend.Submit(s.t.Context(), tx)
	if out == nil {
		return err
	}
	s.history.told(a, position{ledger.Height(out.Height), out.Index}, out.Code, "")
	return nil
}

// answers wants something to have come of every permitted request, and no answer
// to have left long after its consent was withdrawn.
func (s *simulation) answers() {
	t, w := s.t, s.clients
	for _, x := range w.tickets {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // at rest: what comes has come
		err := w.receive(ctx, x)
		cancel()
		if err == nil {
			continue
		}
		// An answer that may have left and was then withdrawn counts as given, and
		// the lender may not have it. That, too, stands on the ledger.
		view := s.node(harbour).node.state.View()
		receipt, rerr := loadRecord[record.Receipt](view, record.ReceiptKey(x.decision.RequestID))
		consent, cerr := loadRecord[record.Consent](view, record.ConsentKey(x.consent.terms.ConsentID))
		if rerr != nil || cerr != nil || receipt.Outcome != record.Answered || consent.Status != record.Revoked {
			t.Errorf("nothing came of request %s, permitted at height %d: %v; its receipt is %+v (%v), its consent %+v (%v)",
				x.decision.RequestID, x.decision.Height, err, receipt, rerr, consent, cerr)
		}
	}
	revoked, byRequest := s.history.revocations(), make(map[record.RequestID]record.ConsentID)
	for _, a := range s.history.permits() {
		byRequest[record.NewRequestID(a.id)] = a.consent
	}
	for _, p := range s.nodes {
		first := make(map[record.RequestID][]byte)
		for _, d := range p.departed() {
			id := requestOf(t, d)
			if at, ok := revoked[byRequest[id]]; ok && d.at.After(at.Add(2*time.Second)) {
				t.Errorf("%s sent the answer to %s %s after the withdrawal of its consent was acknowledged", s.name(p), id, d.at.Sub(at))
			}
			if first[id] == nil {
				first[id] = d.payload
			}
			if !bytes.Equal(first[id], d.payload) {
				t.Errorf("%s sent two different answers to %s", s.name(p), id)
			}
		}
	}
}

// verdict looks at what the stopped nodes have kept.
func (s *simulation) verdict() {
	t := s.t
	for _, p := range s.nodes {
		CheckLedger(t, p)
		sameLedger(t, s.nodes[0], p)
	}
	if s.seed%8 == 0 { // a fifth of a run's work
		s.searchForPersons()
	}
	p := s.nodes[0]
	blocks, err := store.Open(filepath.Join(p.cfg.DataDir, blocksDir), s.genesis.Hash())
	if err != nil {
		t.Fatal(err)
	}
	defer blocks.Close()
	for h, want := range s.blocks {
		if _, got, err := blocks.Header(h); err != nil || got != want {
			t.Errorf("block %d was %s while the network ran and is %s at the end (%v)", h, want, got, err)
		}
	}
	db, err := state.Open(context.Background(), state.Config{Dir: filepath.Join(p.cfg.DataDir, stateDir), ChainID: s.genesis.Hash()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := s.history.judge(db.View()); err != nil {
		t.Error(err)
	}
	allPermits.Add(int64(len(s.history.permits())))
}
