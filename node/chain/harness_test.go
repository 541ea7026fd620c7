package chain

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// world is a network of four validators whose engine is the test itself: it
// asks one chain to assemble, the others to check, and hands the decision to
// all that it wants to have it.
type world struct {
	t      testing.TB
	config *ledger.Config
	votes  []ledger.KeySigner
	admin  ledger.KeySigner
	ms     atomic.Int64 // Unix ms of every clock; moved by the test

	mu    sync.Mutex
	nonce uint64
}

func key(seed uint64) *ecdsa.PrivateKey {
	var b [32]byte
	binary.BigEndian.PutUint64(b[24:], seed+1)
	k, err := crypto.ToECDSA(b[:])
	if err != nil {
		panic(err)
	}
	return k
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, admin: ledger.NewKeySigner(key(100))}
	w.ms.Store(1_800_000_000_000)
	c := &ledger.Config{Network: "test", Protocol: 1, GenesisTime: uint64(w.ms.Load()) - 1000, Limits: ledger.DefaultLimits()}
	c.Members = []ledger.Member{{ID: "bank", Name: "Bank", Roles: []string{"DATA_PROVIDER"}, Admins: []ledger.Address{w.admin.Address()}}}
	for i := range uint64(4) {
		v := ledger.Validator{ID: i + 1, Member: "bank", Addrs: []string{"/ip4/127.0.0.1/tcp/1"}}
		signer := ledger.NewKeySigner(key(i))
		w.votes = append(w.votes, signer)
		v.VoteKey = signer.Address()
		v.HostKey = ledger.HostKey(crypto.CompressPubkey(&key(50 + i).PublicKey))
		c.Validators = append(c.Validators, v)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	w.config = c
	return w
}

// member is one validator of the world.
type member struct {
	*Chain
	w     *world
	dir   string
	st    *store.Store
	db    *state.DB
	stop  func()
	ended chan error
	eng   *idleEngine
}

// idleEngine never orders: the test does.
type idleEngine struct {
	mu        sync.Mutex
	submitted [][]byte
	forgotten []consensus.RequestInfo
}

func (e *idleEngine) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (e *idleEngine) Submit(_ context.Context, req []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.submitted = append(e.submitted, req)
	return nil
}
func (e *idleEngine) Accept(ctx context.Context, req []byte) error { return e.Submit(ctx, req) }
func (e *idleEngine) Step(consensus.ReplicaID, []byte)             {}
func (e *idleEngine) Forget(r []consensus.RequestInfo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten = append(e.forgotten, r...)
}
func (e *idleEngine) Status() consensus.Status { return consensus.Status{Running: true, Leader: 1} }

func (e *idleEngine) taken() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.submitted
	e.submitted = nil
	return out
}

type noPeers struct{}

func (noPeers) CatchUp(context.Context, func(*ledger.Block, *ledger.Certificate) error) error {
	return nil
}
func (noPeers) Follow(ctx context.Context, _ func(*ledger.Block, *ledger.Certificate) error) error {
	<-ctx.Done()
	return nil
}

// start makes validator i in dir, or opens it if it is there.
func (w *world) start(i int, dir string, change ...func(*Config)) *member {
	t := w.t
	t.Helper()
	m := &member{w: w, dir: dir, ended: make(chan error, 1), eng: &idleEngine{}}
	chainID := w.config.Hash()
	var err error
	if m.st, err = store.Create(filepath.Join(dir, "blocks"), w.config); err != nil {
		if m.st, err = store.Open(filepath.Join(dir, "blocks"), chainID); err != nil {
			t.Fatal(err)
		}
	}
	sc := state.Config{Dir: filepath.Join(dir, "state"), ChainID: chainID}
	if m.db, err = state.Create(t.Context(), sc); err != nil {
		if m.db, err = state.Open(t.Context(), sc); err != nil {
			t.Fatal(err)
		}
	}
	cc, err := chaincode.NewDirect()
	if err != nil {
		t.Fatal(err)
	}
	ex, err := executor.New(executor.Config{DB: m.db, Genesis: w.config, Contracts: executor.Contracts{Chaincode: cc, Lookup: lookup}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		ChainID: chainID, Store: m.st, State: m.db, Executor: ex, Peers: noPeers{}, Votes: []ledger.Signer{w.votes[i]},
		NewEngine: func(consensus.App, Replica) (consensus.Engine, error) {
			return m.eng, nil
		},
		Clock:        func() time.Time { return time.UnixMilli(w.ms.Load()) },
		SealFallback: time.Hour, SealDelay: time.Millisecond,
	}
	for _, f := range change {
		f(&cfg)
	}
	if m.Chain, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { m.ended <- m.Run(ctx) }()
	var once sync.Once
	m.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-m.ended; err != nil {
				t.Logf("validator %d: Run: %v", i+1, err)
				m.ended <- err
			}
			m.db.Close()
			m.st.Close()
		})
	}
	t.Cleanup(m.stop)
	w.until("validator runs", func() bool { return m.engine.Load() != nil })
	if err := m.WaitExecuted(t.Context(), m.Tip().Height); err != nil {
		t.Fatal(err)
	}
	return m
}

func lookup(contract, function string) (executor.Function, bool) {
	f, ok := chaincode.Lookup(contract, function)
	return executor.Function{Read: f.Evaluate, Args: f.Args}, ok
}

func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			w.t.Fatalf("timed out: %s", what)
		case <-tick.C:
		}
	}
}

// register makes a signed transaction of the admin that registers client n.
func (w *world) register(n uint64, change ...func(*ledger.Payload)) *ledger.Transaction {
	w.t.Helper()
	spec := record.ClientSpec{Address: crypto.PubkeyToAddress(key(1000 + n).PublicKey), Roles: []record.ClientRole{record.RoleOfficer}}
	arg, err := record.Encode(&spec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.nonce++
	nonce := w.nonce
	w.mu.Unlock()
	now := uint64(w.ms.Load())
	p := ledger.Payload{
		ChainID: w.config.Hash(), Org: "bank", Key: w.admin.Address(), Contract: "membership", Function: "RegisterClient",
		Args: [][]byte{arg}, NotBefore: now - 30_000, ValidUntil: now + 300_000,
	}
	binary.BigEndian.PutUint64(p.Nonce[:], nonce)
	for _, f := range change {
		f(&p)
	}
	tx := ledger.NewTransaction(p)
	if err := tx.Sign(w.admin); err != nil {
		w.t.Fatal(err)
	}
	return tx
}

// decide lets the first member assemble reqs, the others check it, and signs
// the decision; it delivers to nobody.
func (w *world) decide(leader *member, others []*member, reqs ...[]byte) consensus.Decision {
	w.t.Helper()
	h := uint64(leader.Tip().Height) + 1
	meta := fmt.Appendf(nil, "meta %d", h)
	p, err := leader.Assemble(h, meta, reqs)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Height, p.Meta = h, meta
	for _, m := range append([]*member{leader}, others...) {
		if _, err := m.CheckLive(p); err != nil {
			w.t.Fatalf("CheckLive: %v", err)
		}
	}
	return w.sign(p)
}

// sign makes a decision of any proposal.
func (w *world) sign(p consensus.Proposal) consensus.Decision {
	d := consensus.Decision{Proposal: p}
	for i := range 3 {
		sig, err := w.votes[i].Sign(ledger.VoteDigest(ledger.Sum(p.Header), d.View))
		if err != nil {
			w.t.Fatal(err)
		}
		d.Votes = append(d.Votes, consensus.Vote{Replica: consensus.ReplicaID(i + 1), Signature: sig[:]})
	}
	return d
}

// commit decides reqs and delivers to all.
func (w *world) commit(members []*member, reqs ...[]byte) consensus.Decision {
	w.t.Helper()
	d := w.decide(members[0], members[1:], reqs...)
	for _, m := range members {
		if _, err := m.Deliver(d); err != nil {
			w.t.Fatalf("Deliver: %v", err)
		}
		if err := m.WaitExecuted(w.t.Context(), ledger.Height(d.Proposal.Height)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.ms.Add(5)
	return d
}

// highS gives the other signature over the same digest, the high-s one.
func highS(sig ledger.Signature) ledger.Signature {
	n := crypto.S256().Params().N
	s := new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:64]))
	s.FillBytes(sig[32:64])
	sig[64] ^= 1
	return sig
}

func (e *idleEngine) gone() []consensus.RequestInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.forgotten)
}
