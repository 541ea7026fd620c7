package chain

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/ledger"
)

func TestSubmittedTransactionGetsItsOutcome(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(0, t.TempDir()), w.start(1, t.TempDir())
	tx := w.register(1)
	wait, stop := a.Expect(tx.ID(), tx.Payload.ValidUntil)
	defer stop()
	if _, err := a.Submit(t.Context(), tx.Encode()); err != nil {
		t.Fatal(err)
	}
	reqs := a.eng.taken()
	if len(reqs) != 1 {
		t.Fatalf("%d requests reached the engine, want 1", len(reqs))
	}
	w.commit([]*member{a, b}, reqs...)
	o, err := wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if o.Code != "OK" || o.Height != 1 || o.TxID != tx.ID() {
		t.Fatalf("outcome %+v", o)
	}
	if _, err := a.Submit(t.Context(), tx.Encode()); !errors.Is(err, ErrKnown) {
		t.Errorf("submitting it again: %v, want ErrKnown", err)
	}
	cert, err := a.cfg.Store.Certificate(1)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := a.cfg.Store.Header(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.config.VerifyCertificate(h, cert); err != nil {
		t.Error(err)
	}
	_, ra, _ := a.cfg.State.Executed()
	_, rb, _ := b.cfg.State.Executed()
	if ra != rb {
		t.Errorf("roots differ: %+v %+v", ra, rb)
	}
}

func TestLeaderSealsTheLastRootAndThenRests(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	w.commit([]*member{a}, w.register(1).Encode())
	var seal [][]byte
	w.until("the leader seals", func() bool { seal = append(seal, a.eng.taken()...); return len(seal) > 0 })
	if ledger.KindOf(seal[0]) != ledger.KindSeal {
		t.Fatalf("the leader submitted a %s", ledger.KindOf(seal[0]))
	}
	before, size, _ := a.cfg.State.Executed()
	w.commit([]*member{a}, seal...)
	if got := a.Tip().Header.ExecHeight; got != 1 {
		t.Errorf("the seal's block certifies height %d, want 1", got)
	}
	after, roots, _ := a.cfg.State.Executed()
	if after != before+1 || roots != size {
		t.Errorf("a seal changed the roots: %+v, then %+v", size, roots)
	}
	// A block of nothing but a seal asks for no further one.
	if needsSeal(&ledger.Block{Header: ledger.Header{Height: 2}, Requests: seal}) {
		t.Error("a seal needs a seal")
	}
	if _, err := a.Inspect(seal[0]), a.Accept(t.Context(), 1, seal[0]); err != nil {
		t.Errorf("a late seal is an error: %v", err)
	}
	if got := a.eng.taken(); len(got) != 0 {
		t.Errorf("a late seal reached the engine")
	}
}

func TestARestartSealsWhatTheStopLeftUncertified(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	a := w.start(0, dir, func(c *Config) { c.SealDelay = time.Hour })
	w.commit([]*member{a}, w.register(1).Encode())
	a.stop() // executed and flushed: the restart has nothing to execute
	a = w.start(0, dir)
	var seal [][]byte
	w.until("the leader seals", func() bool { seal = append(seal, a.eng.taken()...); return len(seal) > 0 })
	w.commit([]*member{a}, seal...)
	if got := a.Tip().Header.ExecHeight; got != 1 {
		t.Errorf("the seal's block certifies height %d, want 1", got)
	}
	a.stop()
	a = w.start(0, dir)
	if got := a.unsealed.Load(); got != 0 {
		t.Errorf("a certified root is to be sealed again: height %d", got)
	}
}

func TestAdmissionRefuses(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	now := uint64(w.ms.Load())
	withHighS := func() []byte {
		tx := w.register(1)
		tx.Sig = highS(tx.Sig)
		return tx.Encode()
	}
	stranger := func() []byte {
		tx := w.register(1)
		tx.Sig[3] ^= 1
		return tx.Encode()
	}
	for name, tc := range map[string]struct {
		req  []byte
		want error
		text string
	}{
		"garbage":         {[]byte("garbage"), ErrInvalid, "decode"},
		"empty":           {nil, ErrInvalid, "decode"},
		"wrong chain":     {w.register(1, func(p *ledger.Payload) { p.ChainID[0] ^= 1 }).Encode(), ErrInvalid, "another network"},
		"high s":          {withHighS(), ErrInvalid, "low-s"},
		"other signature": {stranger(), ErrInvalid, "signature"},
		"not yet valid":   {w.register(1, func(p *ledger.Payload) { p.NotBefore = now + 1 }).Encode(), ErrNotNow, "clock"},
		"about to expire": {w.register(1, func(p *ledger.Payload) { p.ValidUntil = now + ledger.PoolMarginMillis - 1 }).Encode(), ErrNotNow, "sign it anew"},
		"no member":       {w.register(1, func(p *ledger.Payload) { p.Org = "nobody" }).Encode(), ErrInvalid, "no member"},
		"oversized":       {make([]byte, ledger.MaxRequestBytes+1), ErrInvalid, ""},
	} {
		_, err := a.Submit(t.Context(), tc.req)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v, want %v with %q", name, err, tc.want, tc.text)
		}
		if err := a.Accept(t.Context(), 1, tc.req); !errors.Is(err, tc.want) {
			t.Errorf("%s, forwarded: %v, want %v", name, err, tc.want)
		}
	}
	if n := len(a.eng.taken()); n != 0 {
		t.Errorf("%d refused requests reached the engine", n)
	}
}

// A payload that was checked under its right signature must not carry another.
func TestCacheIsKeyedOnAllSignedBytes(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	tx := w.register(1)
	if _, err := a.CheckRequest(tx.Encode()); err != nil {
		t.Fatal(err)
	}
	tx.Sig[5] ^= 1
	if _, err := a.CheckRequest(tx.Encode()); err == nil {
		t.Error("a known payload under another signature was accepted")
	}
}

func TestValidatorRefusesProposals(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(0, t.TempDir()), w.start(1, t.TempDir())
	w.commit([]*member{a, b}, w.register(1).Encode())
	now := uint64(w.ms.Load())
	good := w.register(2).Encode()
	expired := w.register(3, func(p *ledger.Payload) { p.NotBefore, p.ValidUntil = now-2000, now-1000 }).Encode()

	for name, tc := range map[string]struct {
		reqs   [][]byte
		change func(*ledger.Header)
		want   string
	}{
		"other parent":        {[][]byte{good}, func(h *ledger.Header) { h.Prev[0] ^= 1 }, "follows"},
		"time not after":      {[][]byte{good}, func(h *ledger.Header) { h.Time = a.Tip().Header.Time }, "not after"},
		"clock ahead":         {[][]byte{good}, func(h *ledger.Header) { h.Time += 6000 }, "clock"},
		"config":              {[][]byte{good}, func(h *ledger.Header) { h.ConfigSeq++ }, "config"},
		"validators":          {[][]byte{good}, func(h *ledger.Header) { h.ValidatorsHash[1] ^= 1 }, "validators hash"},
		"next validators":     {[][]byte{good}, func(h *ledger.Header) { h.NextValidatorsHash[1] ^= 1 }, "validators hash"},
		"state root":          {[][]byte{good}, func(h *ledger.Header) { h.StateRoot[1] ^= 1 }, "executed root differs"},
		"receipts root":       {[][]byte{good}, func(h *ledger.Header) { h.ReceiptsRoot[1] ^= 1 }, "executed root differs"},
		"receipts size":       {[][]byte{good}, func(h *ledger.Header) { h.ReceiptsSize++ }, "executed root differs"},
		"executed too far":    {[][]byte{good}, func(h *ledger.Header) { h.ExecHeight = h.Height }, "executed height"},
		"tx root":             {[][]byte{good}, func(h *ledger.Header) { h.TxRoot[0] ^= 1 }, "requests have root"},
		"engine metadata":     {[][]byte{good}, func(h *ledger.Header) { h.EngineMetaHash[0] ^= 1 }, "engine metadata"},
		"chain":               {[][]byte{good}, func(h *ledger.Header) { h.ChainID[0] ^= 1 }, "another network"},
		"expired transaction": {[][]byte{good, expired}, nil, "not valid at block time"},
		"garbage request":     {[][]byte{good, []byte("garbage")}, nil, "request 1"},
	} {
		p := proposal(a, tc.reqs, now, tc.change)
		_, err := b.CheckLive(p)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	if _, err := b.CheckLive(proposal(a, [][]byte{good, good}, now, nil)); err != nil {
		t.Errorf("a proposal that holds a request twice is refused: %v", err)
	}
}

// proposal builds what an arbitrary leader might send.
func proposal(from *member, reqs [][]byte, now uint64, change func(*ledger.Header)) consensus.Proposal {
	tip := from.Tip()
	_, roots, _ := from.cfg.State.Executed()
	meta := []byte("meta")
	h := ledger.Header{
		ChainID: from.cfg.ChainID, Height: tip.Height + 1, Prev: tip.Hash, TxRoot: ledger.TxRoot(reqs), Time: now,
		ConfigSeq: tip.Config.Seq, ValidatorsHash: tip.Config.ValidatorsHash(), NextValidatorsHash: tip.Config.ValidatorsHash(),
		EngineMetaHash: ledger.HashMeta(meta), ExecHeight: tip.Height,
		StateRoot: roots.State, ReceiptsRoot: roots.Receipts, ReceiptsSize: roots.ReceiptsSize,
	}
	if change != nil {
		change(&h)
	}
	p := proposalOf(&ledger.Block{Header: h, Requests: reqs, Meta: meta})
	p.Height = uint64(tip.Height) + 1
	return p
}

func TestCertifiedForeignRootHaltsTheNode(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	w.commit([]*member{a}, w.register(1).Encode())
	d := w.sign(proposal(a, [][]byte{w.register(2).Encode()}, uint64(w.ms.Load()), func(h *ledger.Header) { h.StateRoot[7] ^= 1 }))
	if _, err := a.Deliver(d); err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	select {
	case err := <-a.ended:
		if !errors.Is(err, ErrRootMismatch) || !strings.Contains(err.Error(), "ALARM") {
			t.Errorf("Run ended with %v", err)
		}
		_, own, _ := a.cfg.State.Executed()
		var d *Differs
		if !errors.As(a.Failure(), &d) || d.Height != 2 || d.Own != own {
			t.Errorf("the failure is %+v, roots %+v", a.Failure(), own)
		}
		a.ended <- nil
	case <-time.After(10 * time.Second):
		t.Fatal("the node goes on over a certified root that is not its own")
	}
	if _, err := a.SignVote(d.Proposal, 0); err == nil {
		t.Error("a halted node still votes")
	}
}

// stuck is an executor that does not return from a contract.
type stuck struct {
	Executor
	enough chan struct{}
}

func (s stuck) Execute(b *ledger.Block, txs []*ledger.Transaction) (*executor.Result, error) {
	if b.Header.Height == 2 {
		<-s.enough
		return nil, errors.New("the test ends")
	}
	return s.Executor.Execute(b, txs)
}

func (s stuck) Running() *executor.Call {
	return &executor.Call{Contract: "access", Function: "Request", TxID: ledger.Hash{7}}
}

func (s stuck) Touched() string { return "access/usage/1" }

func TestAContractThatDoesNotReturnHaltsTheNodeAndIsNamed(t *testing.T) {
	w := newWorld(t)
	enough := make(chan struct{})
	defer close(enough)
	a := w.start(0, t.TempDir(), func(c *Config) {
		c.Executor, c.ContractLimit = stuck{c.Executor, enough}, 200*time.Millisecond
	})
	w.commit([]*member{a}, w.register(1).Encode())
	if _, err := a.Deliver(w.sign(proposal(a, [][]byte{w.register(2).Encode()}, uint64(w.ms.Load()), nil))); err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	select {
	case err := <-a.ended:
		var h *Hangs
		if !errors.As(err, &h) || h.Height != 2 || h.Key != "access/usage/1" || !strings.Contains(err.Error(), "access.Request of transaction 0x07") || !strings.Contains(err.Error(), "access/usage/1") {
			t.Errorf("Run ended with %v", err)
		}
		a.ended <- nil
	case <-time.After(20 * time.Second):
		t.Fatal("the node waits for a contract that does not return")
	}
}

// Blocks go on coming while a contract hangs, until the queue is full and whoever
// brings one waits. The halt frees it, and the node ends in order.
func TestAFullQueueDoesNotOutliveAHalt(t *testing.T) {
	w := newWorld(t)
	enough := make(chan struct{})
	defer close(enough)
	a := w.start(0, t.TempDir(), func(c *Config) {
		c.Executor, c.ContractLimit, c.QueueBlocks = stuck{c.Executor, enough}, 500*time.Millisecond, 1
	})
	w.commit([]*member{a}, w.register(1).Encode())
	deliver := func(n uint64) error {
		_, err := a.Deliver(w.sign(proposal(a, [][]byte{w.register(n).Encode()}, uint64(w.ms.Load())+n, nil)))
		return err
	}
	waits := make(chan error, 2)
	go func() { waits <- a.WaitExecuted(context.Background(), 3) }()
	watch := a.Watch(1)
	defer watch.Stop()
	tx := w.register(2)
	watch.Add(0, tx.ID(), tx.Payload.ValidUntil)
	go func() { _, err := watch.Next(context.Background()); waits <- err }()
	var err error
	for n := uint64(2); err == nil && n < 9; n++ { // the fourth finds no room
		err = deliver(n)
	}
	var h *Hangs
	for range 2 { // a client that waits would keep the API from stopping
		select {
		case err := <-waits:
			if !errors.Is(err, ErrStopped) {
				t.Errorf("who waits for the block is told %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("who waits for the block waits on")
		}
	}
	if !errors.As(err, &h) || h.Height != 2 {
		t.Errorf("a block that finds no room ends with %v", err)
	}
	select {
	case err := <-a.ended:
		if !errors.As(err, &h) {
			t.Errorf("Run ended with %v", err)
		}
		a.ended <- nil
	case <-time.After(20 * time.Second):
		t.Fatal("the node does not end")
	}
	if err := deliver(10); !errors.As(err, &h) {
		t.Errorf("a halted chain takes a block: %v", err)
	}
}

// Errors that come one upon the other, as from the executor and from whoever brings it
// a block, end a node once, with the first.
func TestErrorsOneUponTheOtherEndANodeOnce(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	first := errors.New("the first")
	a.fail(first)
	for range 1000 {
		a.fail(errors.New("a later one"))
		runtime.Gosched() // to whoever is told
	}
	select {
	case err := <-a.ended:
		if !errors.Is(err, first) {
			t.Errorf("Run ended with %v", err)
		}
		a.ended <- nil
	case <-time.After(20 * time.Second):
		t.Fatal("the node does not end")
	}
}

// An engine that could not be stopped in time appends nothing to a chain that ended.
func TestAnEndedChainTakesNoBlock(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	d := w.sign(proposal(a, [][]byte{w.register(1).Encode()}, uint64(w.ms.Load()), nil))
	a.stop()
	if _, err := a.Deliver(d); !errors.Is(err, ErrStopped) {
		t.Errorf("it ends with %v", err)
	}
}

func TestForkAtAStoredHeightIsFatal(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	other := w.sign(proposal(a, [][]byte{w.register(2).Encode()}, uint64(w.ms.Load()), nil))
	d := w.commit([]*member{a}, w.register(1).Encode())
	if _, err := a.Deliver(d); err != nil {
		t.Errorf("delivering the same block again: %v", err)
	}
	if _, err := a.Deliver(other); err == nil || !strings.Contains(err.Error(), "fork at height 1") {
		t.Errorf("another block at height 1: %v", err)
	}
	<-a.ended
	a.ended <- nil
}

func TestRestartReplaysTheSameRoots(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	a := w.start(0, dir)
	for i := range uint64(5) {
		w.commit([]*member{a}, w.register(2*i).Encode(), w.register(2*i+1).Encode())
	}
	_, want, _ := a.cfg.State.Executed()
	tip := a.Tip()
	a.stop()
	b := w.start(0, dir)
	h, got, _ := b.cfg.State.Executed()
	if h != tip.Height || got != want || b.Tip().Hash != tip.Hash {
		t.Errorf("after the restart: height %d roots %+v, before: %d %+v", h, got, tip.Height, want)
	}
	last, err := b.lastDecision()
	if err != nil {
		t.Fatal(err)
	}
	if last.Proposal.Height != uint64(tip.Height) || len(last.Votes) != 3 {
		t.Errorf("last decision: height %d, %d votes", last.Proposal.Height, len(last.Votes))
	}
	for _, v := range last.Votes {
		if err := b.VerifyVote(last.Proposal, last.View, v); err != nil {
			t.Error(err)
		}
	}
	w.commit([]*member{b}, w.register(50).Encode())
}

func TestWaitingEndsWhenTheTransactionCanNoLongerCome(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	lost := w.register(1)
	wait, stop := a.Expect(lost.ID(), lost.Payload.ValidUntil)
	defer stop()
	w.ms.Store(int64(lost.Payload.ValidUntil) + 1)
	w.commit([]*member{a}, w.register(2).Encode())
	if _, err := wait(t.Context()); !errors.Is(err, ErrExpired) {
		t.Errorf("wait: %v, want ErrExpired", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wait2, stop2 := a.Expect(ledger.Hash{1}, 1<<60)
	defer stop2()
	if _, err := wait2(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with an ended context: %v", err)
	}
}

func TestLeaderLeavesOutAndForgetsWhatExpired(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	old, young := w.register(1), w.register(2)
	w.ms.Store(int64(old.Payload.ValidUntil) - 1000)
	young2 := w.register(3)
	w.ms.Store(int64(old.Payload.ValidUntil) + 1)
	d := w.decide(a, nil, old.Encode(), young.Encode(), young2.Encode())
	reqs, err := ledger.DecodeRequests(d.Proposal.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if len(reqs) != 1 {
		t.Errorf("%d requests in the proposal, want only the one still valid", len(reqs))
	}
	if n := len(a.eng.forgotten); n != 2 {
		t.Errorf("%d requests forgotten, want the 2 expired", n)
	}
}

func TestVotesOfStrangersAndForgedVotesAreRefused(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	d := w.decide(a, nil, w.register(1).Encode())
	good := d.Votes[1]
	if err := a.VerifyVote(d.Proposal, d.View, good); err != nil {
		t.Fatal(err)
	}
	forged := append([]byte{}, good.Signature...)
	forged[0] ^= 1
	for name, v := range map[string]consensus.Vote{
		"another's signature": {Replica: 3, Signature: good.Signature},
		"no validator":        {Replica: 9, Signature: good.Signature},
		"forged":              {Replica: 2, Signature: forged},
		"short":               {Replica: 2, Signature: good.Signature[:64]},
	} {
		if err := a.VerifyVote(d.Proposal, d.View, v); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := a.VerifyVote(d.Proposal, d.View+1, good); err == nil {
		t.Error("a vote counts in a view in which it was not cast")
	}
	sig, err := a.Sign([]byte("view data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(1, []byte("view data"), sig); err != nil {
		t.Error(err)
	}
	if err := a.Verify(1, []byte("other data"), sig); err == nil {
		t.Error("a signature over other data is accepted")
	}
	if err := a.Verify(2, []byte("view data"), sig); err == nil {
		t.Error("another validator's signature is accepted")
	}
}

// What the leader leaves out for good must leave the followers' pools too, or
// they complain about it in every view.
func TestFollowersForgetExpiredRequestsAndNeedlessSeals(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(0, t.TempDir()), w.start(1, t.TempDir())
	both := []*member{a, b}
	w.commit(both, w.register(1).Encode())
	old := w.register(2)
	if err := b.Accept(t.Context(), 1, old.Encode()); err != nil {
		t.Fatal(err)
	}
	s, err := ledger.NewSeal(w.config.Hash(), 1, w.votes[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Accept(t.Context(), 1, s.Encode()); err != nil {
		t.Fatal(err)
	}
	w.ms.Store(int64(old.Payload.ValidUntil) + 1)
	w.commit(both, w.register(3).Encode()) // its header certifies height 1
	for what, id := range map[string]ledger.Hash{"the expired transaction": old.ID(), "the needless seal": s.ID()} {
		w.until(what+" leaves the follower's pool", func() bool { return slices.Contains(b.eng.gone(), infoOf(id)) })
	}
	early, err := ledger.NewSeal(w.config.Hash(), 99, w.votes[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Accept(t.Context(), 1, early.Encode()); !errors.Is(err, ErrNotNow) {
		t.Errorf("a seal of a block that is not there: %v", err)
	}
}
