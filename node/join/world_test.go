package join

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	stdsync "sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/node/sync"
)

func TestMain(m *testing.M) {
	// goleveldb ends the drain of its pool within a second of Close, without
	// waiting for it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// history is a chain whose headers name true roots, and snapshots of its states.
type history struct {
	t         *testing.T
	chain     *ledgertest.Chain
	db        *state.DB
	snapshots *snapshot.Dir
	written   []ledger.Height
}

// newHistory makes blocks; at the heights given the config changes, and snapshots
// are written of the states given.
func newHistory(t *testing.T, blocks int, configs map[int]bool, snapshots ...int) *history {
	t.Helper()
	return newHistoryOf(t, ledgertest.Config(4), blocks, configs, snapshots...)
}

func newHistoryOf(t *testing.T, genesis *ledger.Config, blocks int, configs map[int]bool, snapshots ...int) *history {
	t.Helper()
	h := &history{t: t, chain: ledgertest.NewChain(genesis), snapshots: snapshot.Open(filepath.Join(t.TempDir(), "snapshots"))}
	db, err := state.Create(t.Context(), state.Config{Dir: filepath.Join(t.TempDir(), "state"), ChainID: h.chain.ChainID()})
	if err != nil {
		t.Fatal(err)
	}
	h.db = db
	t.Cleanup(func() { db.Close() })
	execute(t, db, h.chain.Blocks[0])
	for i := 1; i <= blocks; i++ {
		if configs[i] {
			h.extend(ledgertest.Update(h.chain.ChainID(), h.chain.Config, func(c *ledger.Config) { c.Limits.ClockToleranceMs++ }).Encode())
		} else {
			h.extend(h.chain.Transaction(fmt.Appendf(nil, "block %d", i)), h.chain.Transaction(bytes.Repeat([]byte("x"), i%50)))
		}
		for _, s := range snapshots {
			if i == s+1 {
				h.write(ledger.Height(s))
			}
		}
	}
	return h
}

// extend adds a block and executes it.
func (h *history) extend(reqs ...[]byte) {
	c := h.chain
	b := c.Block(reqs...)
	_, roots, _ := h.db.Executed()
	b.Header.StateRoot, b.Header.ReceiptsRoot, b.Header.ReceiptsSize = roots.State, roots.Receipts, roots.ReceiptsSize
	c.Certs = append(c.Certs, ledgertest.Certify(c.Config, &b.Header))
	c.Blocks = append(c.Blocks, b)
	if u, err := b.Update(); err == nil && u != nil {
		c.Config = u.Config
	}
	execute(h.t, h.db, b)
}

// write writes a snapshot of the state after a height, which the block above
// certifies.
func (h *history) write(at ledger.Height) {
	h.t.Helper()
	f, err := h.db.Freeze(at)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = h.snapshots.Write(h.t.Context(), snapshot.WriteConfig{ChainID: h.chain.ChainID(), Header: h.certified(at + 1), Source: f})
	if err != nil {
		h.t.Fatal(err)
	}
	h.written = append(h.written, at)
}

func (h *history) certified(at ledger.Height) *ledger.CertifiedHeader {
	return &ledger.CertifiedHeader{Header: h.chain.Blocks[at].Header, Certificate: *h.chain.Certs[at]}
}

// execute does something simple with every request of a block: a record, an index
// row, a log row and an event.
func execute(t *testing.T, db *state.DB, b *ledger.Block) state.Roots {
	t.Helper()
	h := &b.Header
	block, err := db.Begin(h.Height, h.Time)
	if err != nil {
		t.Fatal(err)
	}
	for i, req := range b.Requests {
		id, err := ledger.RequestID(req)
		if err != nil {
			t.Fatal(err)
		}
		tx := &state.Tx{TxID: id, Index: uint64(i), Code: "OK", Payload: []byte("done"), Writes: []ledger.Write{
			{Key: fmt.Sprintf("a/ix/%d", h.Height%7), Value: id[:]},
			{Key: "a/log/" + id.Hex(), Value: req},
			{Key: fmt.Sprintf("a/record/%d", h.Height%11), Value: id[:4]},
		}, Events: []ledger.Event{{Contract: "a", Name: "did", Payload: req}}}
		if _, err := block.Apply(tx); err != nil {
			t.Fatal(err)
		}
	}
	roots, err := block.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if err := block.Commit(); err != nil {
		t.Fatal(err)
	}
	return roots
}

// server is a peer that has the whole history.
type server struct {
	*sync.Server
	store *store.Store
}

// offering offers the snapshots of a directory.
type offering struct{ dir *snapshot.Dir }

func (o offering) Offers() (out []sync.Offer, err error) {
	list, err := o.dir.List()
	for _, m := range list {
		size, _ := m.Bytes()
		out = append(out, sync.Offer{Height: m.Height(), ID: m.ID(), Manifest: uint64(len(m.Encode())), Bytes: size})
	}
	return out, err
}

func (o offering) Piece(id ledger.Hash, part, offset, limit uint64) ([]byte, error) {
	list, err := o.dir.List()
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if m.ID() != id {
			continue
		}
		if part == 0 {
			return m.Encode()[offset:], nil
		}
		f, err := o.dir.File(m.Height())
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return f.Read(part-1, offset, limit)
	}
	return nil, errors.New("no such snapshot")
}

// serve makes a peer with the blocks of h and the snapshots in dir.
func (h *history) serve(dir *snapshot.Dir) *server {
	h.t.Helper()
	s, err := store.Create(filepath.Join(h.t.TempDir(), "blocks"), h.chain.Genesis)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	for i := 1; i < len(h.chain.Blocks); i++ {
		if err := s.Append(h.chain.Blocks[i], h.chain.Certs[i]); err != nil {
			h.t.Fatal(err)
		}
	}
	srv, err := sync.NewServer(sync.ServerConfig{Store: s, Snapshots: offering{dir}, Rate: 1e6, SnapshotRate: 1 << 30})
	if err != nil {
		h.t.Fatal(err)
	}
	return &server{srv, s}
}

// wire connects a joining node to peers.
type wire struct {
	mu    stdsync.Mutex
	peers map[string]func(ctx context.Context, req []byte) ([]byte, error)
	order []string
	asked int
	stop  int // the request at which cancel is called; 0: never
	cut   context.CancelFunc
}

func newWire() *wire {
	return &wire{peers: map[string]func(context.Context, []byte) ([]byte, error){}}
}

func (w *wire) add(name string, s *server) { w.put(name, s.answer) }

func (s *server) answer(ctx context.Context, req []byte) ([]byte, error) {
	return s.Handle(ctx, "asker", req)
}

func (w *wire) put(name string, f func(context.Context, []byte) ([]byte, error)) {
	w.peers[name] = f
	w.order = append(w.order, name)
}

func (w *wire) request(ctx context.Context, peer string, req []byte) ([]byte, error) {
	w.mu.Lock()
	w.asked++
	if w.stop > 0 && w.asked >= w.stop {
		w.cut()
	}
	w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return w.peers[peer](ctx, req)
}

// newcomer is the node that joins.
type newcomer struct {
	t    *testing.T
	h    *history
	home string
	log  bytes.Buffer
}

func (h *history) newcomer() *newcomer {
	h.t.Helper()
	n := &newcomer{t: h.t, h: h, home: h.t.TempDir()}
	s, err := store.Create(filepath.Join(n.home, "blocks"), h.chain.Genesis)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		h.t.Fatal(err)
	}
	db, err := state.Create(h.t.Context(), n.stateConfig())
	if err != nil {
		h.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (n *newcomer) stateConfig() state.Config {
	return state.Config{Dir: filepath.Join(n.home, "state"), ChainID: n.h.chain.ChainID()}
}

func (n *newcomer) openStore() *store.Store {
	n.t.Helper()
	s, err := store.Open(filepath.Join(n.home, "blocks"), n.h.chain.ChainID())
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *newcomer) openState() *state.DB {
	n.t.Helper()
	if err := Recover(n.stateConfig().Dir); err != nil {
		n.t.Fatal(err)
	}
	db, err := state.Open(n.t.Context(), n.stateConfig())
	if err != nil {
		n.t.Fatal(err)
	}
	return db
}

// executed is the height of the newcomer's state.
func (n *newcomer) executed() int64 {
	db := n.openState()
	defer db.Close()
	h, _, ok := db.Executed()
	if !ok {
		return -1
	}
	return int64(h)
}

// join runs it once.
func (n *newcomer) join(ctx context.Context, w *wire, change ...func(*Config)) error {
	n.t.Helper()
	executed := n.executed()
	s := n.openStore()
	defer s.Close()
	client, err := sync.NewClient(sync.ClientConfig{Store: s, Request: w.request, Peers: w.list, MaxBackoff: 1})
	if err != nil {
		n.t.Fatal(err)
	}
	cfg := Config{
		Store: s, Snapshots: snapshot.Open(filepath.Join(n.home, "snapshots")), State: n.stateConfig(), Work: filepath.Join(n.home, "join"),
		Client: client, Peers: w.list, Logger: slog.New(slog.NewTextHandler(&n.log, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	return Run(ctx, cfg, executed)
}

func (w *wire) list() []sync.Peer {
	var out []sync.Peer
	for i, name := range w.order {
		out = append(out, sync.Peer{ID: name, Validator: uint64(i + 1)})
	}
	return out
}

// check brings the newcomer to the tip by blocks, as a running node does, and
// compares everything with the history.
func (n *newcomer) check(wantBegan ledger.Height) {
	t, c := n.t, n.h.chain
	t.Helper()
	s, db := n.openStore(), n.openState()
	defer s.Close()
	defer db.Close()
	if db.BeganAt() != wantBegan {
		t.Fatalf("began with height %d, want %d", db.BeganAt(), wantBegan)
	}
	for h := s.Tip().Height + 1; int(h) < len(c.Blocks); h++ {
		if err := s.Append(c.Blocks[h], c.Certs[h]); err != nil {
			t.Fatal(err)
		}
	}
	next := ledger.Height(0)
	if h, _, ok := db.Executed(); ok {
		next = h + 1
	}
	for h := next; h <= s.Tip().Height; h++ {
		b, err := s.Block(h)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := db.RootsAt(b.Header.ExecHeight)
		if h == 0 {
			execute(t, db, b)
			continue
		}
		if want := (state.Roots{State: b.Header.StateRoot, Receipts: b.Header.ReceiptsRoot, ReceiptsSize: b.Header.ReceiptsSize}); !ok || got != want {
			t.Fatalf("block %d names %v after %d, the node has %v, %v", h, want, b.Header.ExecHeight, got, ok)
		}
		execute(t, db, b)
	}
	_, got, _ := db.Executed()
	if _, want, _ := n.h.db.Executed(); got != want {
		t.Fatalf("roots are %v, want %v", got, want)
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// joinDespite lets a node join from a wire on which there is a peer named liar, and
// one more that honestly has the snapshot of a height, which the node must end with;
// the liar must be named.
func (h *history) joinDespite(w *wire, at ledger.Height) *newcomer {
	t := h.t
	t.Helper()
	honest := snapshot.Open(t.TempDir())
	if _, err := honest.Adopt(copyOf(t, snapshotPath(h, at))); err != nil {
		t.Fatal(err)
	}
	w.add("honest", h.serve(honest))
	n := h.newcomer()
	if err := n.join(t.Context(), w); err != nil {
		t.Fatalf("%v\n%s", err, &n.log)
	}
	if !strings.Contains(n.log.String(), "peer=liar") {
		t.Errorf("the liar is not named:\n%s", &n.log)
	}
	n.check(at)
	return n
}
