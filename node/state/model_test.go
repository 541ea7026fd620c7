package state

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/assent-network/assent/node/ledger"
)

// The state agrees with its twin after every block, whatever was flushed and
// however often it was closed without flushing in between.
func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			m := &model{
				t: t, rnd: rand.New(rand.NewPCG(seed, 99)), disk: newDisk(), cfg: testConfig(), twin: newTwin(),
				script: script{seed: seed, keys: []int{3, 20, 400}[seed%3], batches: seed%2 == 1},
			}
			m.cfg.FlushBlocks = 1 + int(seed*3)
			m.cfg.RowCacheBytes, m.cfg.NodeCacheBytes = 2000, 4000 // so that they forget
			m.db = mustCreate(t, m.cfg, m.disk)
			for range ledger.Height(80) {
				m.step()
			}
			mustFlush(t, m.db)
			mustVerify(t, m.db)
			mustClose(t, m.db)
		})
	}
}

type model struct {
	t      *testing.T
	rnd    *rand.Rand
	disk   *disk
	cfg    Config
	db     *DB
	script script
	twin   *twin
	past   []moments // what old views must still show
	roots  []Roots   // by height
	twins  []*twin   // by height
}

type moments struct {
	view *View
	twin *twin
}

func (m *model) step() {
	t := m.t
	h := ledger.Height(len(m.roots))
	for _, tx := range m.script.block(h) {
		m.twin.apply(h, tx)
	}
	m.roots = append(m.roots, m.twin.roots(t))
	m.twins = append(m.twins, m.twin.clone())
	m.catchUp()
	if _, err := m.db.FlushIfDue(uint64(h)*200 + 1); err != nil {
		t.Fatal(err)
	}
	m.checkView(m.db.View(), m.twin)
	switch m.rnd.IntN(12) {
	case 0:
		mustFlush(t, m.db)
	case 1: // stop without flushing: as a crash between two flushes
		mustClose(t, m.db)
		m.past = nil
		m.db = mustOpen(t, m.cfg, m.disk)
		m.catchUp()
	case 2:
		m.past = append(m.past, moments{m.db.View(), m.twin.clone()})
	case 3:
		m.db.SetCertified(h - min(h, ledger.Height(m.rnd.IntN(5))))
	}
	for _, p := range m.past {
		m.checkView(p.view, p.twin)
	}
	m.checkProofs(h)
}

// catchUp executes what the state lacks.
func (m *model) catchUp() {
	for h := next(m.db); int(h) < len(m.roots); h++ {
		if got := m.script.run(m.t, m.db, h, m.readAsExecutor); got != m.roots[h] {
			m.t.Fatalf("roots after %d\n got %v\nwant %v", h, got, m.roots[h])
		}
		if got, ok := m.db.RootsAt(h); !ok || got != m.roots[h] {
			m.t.Fatalf("RootsAt(%d) = %v, %v", h, got, ok)
		}
	}
}

// readAsExecutor reads what the block before b left: the executor has caches
// that views do not.
func (m *model) readAsExecutor(b *Block) {
	t, w := m.t, newTwin()
	if b.Height() > 0 {
		w = m.twins[b.Height()-1]
	}
	for range 12 {
		key := fmt.Sprintf([]string{"a/k%d", "b/deep/er/%d", "a/ix/2/%d"}[m.rnd.IntN(3)], m.rnd.IntN(m.script.keys))
		got, ok, err := b.Get(key)
		want, present := w.rows[key]
		if err != nil || ok != present || string(got) != string(want) {
			t.Fatalf("block %d reads %q as %q, %v, %v; want %q, %v", b.Height(), key, got, ok, err, want, present)
		}
	}
	got, err := b.Range("a/ix/", "b/e", 30)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w.span("a/ix/", "b/e", 30), got); diff != "" {
		t.Fatalf("block %d ranges over (-want +got):\n%s", b.Height(), diff)
	}
}

func (m *model) checkView(v *View, w *twin) {
	t := m.t
	if v.Roots().ReceiptsSize != uint64(len(w.leaves)) {
		t.Fatalf("view has %d receipts, want %d", v.Roots().ReceiptsSize, len(w.leaves))
	}
	all := slices.Sorted(maps.Keys(w.rows))
	for range 6 {
		key := fmt.Sprintf("a/k%d", m.rnd.IntN(m.script.keys))
		if len(all) > 0 && m.rnd.IntN(2) == 0 {
			key = all[m.rnd.IntN(len(all))]
		}
		got, ok, err := v.Get(key)
		want, present := w.rows[key]
		if err != nil || ok != present || string(got) != string(want) {
			t.Fatalf("Get(%q) at %d = %q, %v, %v; want %q, %v", key, v.Height(), got, ok, err, want, present)
		}
	}
	bounds := []string{"", "a/", "a/ix/", "a/ix/3/", "a/ix0", "a/k2", "a/log/", "b/", "b/log/000050/", "c"}
	start, end, limit := bounds[m.rnd.IntN(len(bounds))], bounds[m.rnd.IntN(len(bounds))], 1+m.rnd.IntN(20)
	got, err := v.Range(start, end, limit)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w.span(start, end, limit), got); diff != "" {
		t.Fatalf("Range(%q, %q, %d) at %d (-want +got):\n%s", start, end, limit, v.Height(), diff)
	}
	if got, err = v.Last(start, end, limit); err != nil {
		t.Fatal(err)
	}
	want := w.span(start, end, 1<<20)
	slices.Reverse(want)
	if diff := cmp.Diff(want[:min(limit, len(want))], got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("Last(%q, %q, %d) at %d (-want +got):\n%s", start, end, limit, v.Height(), diff)
	}
	if n := v.Roots().ReceiptsSize; n > 0 {
		m.checkOutcome(v, w, m.rnd.Uint64N(n))
	}
}

func (m *model) checkOutcome(v *View, w *twin, position uint64) {
	t := m.t
	o, err := v.OutcomeAt(position)
	if err != nil {
		t.Fatal(err)
	}
	r := o.Receipt()
	if string(r.Encode()) != string(w.leaves[position]) {
		t.Fatalf("outcome %d has another leaf than its transaction", position)
	}
	found, err := v.Find(o.TxID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o, found); diff != "" {
		t.Fatalf("found by id (-by position +by id):\n%s", diff)
	}
	size := position + 1 + m.rnd.Uint64N(v.Roots().ReceiptsSize-position)
	p, err := v.ProveReceipt(o.TxID, size)
	if err != nil {
		t.Fatal(err)
	}
	h := &ledger.Header{ReceiptsSize: size, ReceiptsRoot: (&twin{leaves: w.leaves[:size]}).roots(t).Receipts}
	if err := p.Verify(h); err != nil {
		t.Fatalf("receipt %d of %d: %v", position, size, err)
	}
}

// checkProofs proves records, present and absent, at every height back to the
// certified one.
func (m *model) checkProofs(h ledger.Height) {
	t := m.t
	m.db.mu.Lock()
	certified := m.db.certified
	m.db.mu.Unlock()
	at := certified + ledger.Height(m.rnd.Uint64N(uint64(h-certified)+1))
	key := fmt.Sprintf("b/deep/er/%d", m.rnd.IntN(m.script.keys))
	p, err := m.db.ProveState(at, key)
	if err != nil {
		t.Fatalf("at %d, certified %d, executed %d: %v", at, certified, h, err)
	}
	if err := p.Verify(m.roots[at].State); err != nil {
		t.Fatal(err)
	}
	want, present := m.twins[at].rows[key]
	if p.Present != present || string(p.Value) != string(want) {
		t.Fatalf("proof of %q at %d says %v %q, want %v %q", key, at, p.Present, p.Value, present, want)
	}
	if p.Present && (&ledger.StateProof{Key: key, Present: true, Value: append(p.Value, 0), Nodes: p.Nodes}).Verify(m.roots[at].State) == nil {
		t.Fatal("a proof holds for another value")
	}
	if _, err := m.db.ProveState(h+1, key); !errors.Is(err, ErrNotExecuted) {
		t.Fatalf("proof above the executed height: %v", err)
	}
}
