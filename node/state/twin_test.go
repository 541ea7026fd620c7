package state

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/trie"

	"github.com/assent-network/assent/node/ledger"
)

// twin is the slow, obviously right state: a map of rows and a list of leaves.
type twin struct {
	rows   map[string][]byte
	leaves [][]byte
}

func newTwin() *twin { return &twin{rows: map[string][]byte{}} }

func (w *twin) clone() *twin { return &twin{maps.Clone(w.rows), slices.Clone(w.leaves)} }

func (w *twin) apply(h ledger.Height, tx *Tx) {
	for _, wr := range tx.Writes {
		if wr.Delete {
			delete(w.rows, wr.Key)
		} else {
			w.rows[wr.Key] = wr.Value
		}
	}
	r := ledger.Receipt{
		TxID: tx.TxID, Height: h, Index: tx.Index, Code: tx.Code,
		Events: ledger.HashEvents(tx.Events), Writes: ledger.HashWrites(ledger.HashedWrites(tx.Writes)),
	}
	w.leaves = append(w.leaves, r.Encode())
}

// roots builds trie and log from nothing.
func (w *twin) roots(t testing.TB) Roots {
	t.Helper()
	tr := trie.NewEmpty(nil)
	for k, v := range w.rows {
		if ledger.KeepingOf(k) == ledger.KeepRecord {
			tk, h := ledger.TrieKey(k), ledger.Sum(v)
			if err := tr.Update(tk[:], h[:]); err != nil {
				t.Fatal(err)
			}
		}
	}
	log := ledger.NewLog()
	for _, l := range w.leaves {
		if err := log.Append(ledger.LogHasher{}.HashLeaf(l), nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := ledger.LogRoot(log)
	if err != nil {
		t.Fatal(err)
	}
	return Roots{State: tr.Hash(), Receipts: root, ReceiptsSize: uint64(len(w.leaves))}
}

func (w *twin) span(start, end string, limit int) []Row {
	var rows []Row
	for _, k := range slices.Sorted(maps.Keys(w.rows)) {
		if k >= start && (end == "" || k < end) && len(rows) < limit {
			rows = append(rows, Row{k, w.rows[k]})
		}
	}
	return rows
}

// script is a reproducible chain: block h is the same whoever asks.
type script struct {
	seed    uint64
	keys    int
	batches bool // some transactions write many log rows
	access  bool // transactions write access records
}

const blockMillis = 700

func (s script) time(h ledger.Height) uint64 { return 1_000_000 + uint64(h)*blockMillis }

func (s script) block(h ledger.Height) []*Tx {
	rnd := rand.New(rand.NewPCG(s.seed, uint64(h)))
	var txs []*Tx
	for i := range rnd.IntN(6) {
		tx := &Tx{TxID: ledger.Sum(fmt.Appendf(nil, "%d/%d/%d", s.seed, h, i)), Index: uint64(2 * i), Code: "OK"}
		if rnd.IntN(5) == 0 {
			tx.Code, tx.Message = "FORBIDDEN", "because of the dice"
			txs = append(txs, tx)
			continue
		}
		writes := map[string]ledger.Write{}
		for range rnd.IntN(7) {
			n := rnd.IntN(s.keys)
			key := []string{
				fmt.Sprintf("a/k%d", n), fmt.Sprintf("b/deep/er/%d", n), fmt.Sprintf("a/ix/%d/%d", n%5, n),
			}[rnd.IntN(3)]
			w := ledger.Write{Key: key, Value: fmt.Appendf(nil, "value %d of %s at %d", rnd.IntN(3), key, h)}
			if rnd.IntN(4) == 0 {
				w = ledger.Write{Key: key, Delete: true}
			}
			writes[key] = w
		}
		if rnd.IntN(2) == 0 {
			key := "a/log/own/" + tx.TxID.Hex()
			writes[key] = ledger.Write{Key: key, Value: fmt.Appendf(nil, "logged by %d", i)}
			key = fmt.Sprintf("b/log/%06d/%d", h, i)
			writes[key] = ledger.Write{Key: key, Value: bytes.Repeat([]byte{byte(h)}, rnd.IntN(40)+1)}
		}
		if s.batches && rnd.IntN(3) == 0 {
			for n := range rnd.IntN(3 * maxSharedLogs) {
				key := fmt.Sprintf("c/log/%06d/%d/%d", h, i, n)
				writes[key] = ledger.Write{Key: key, Value: fmt.Appendf(nil, "item %d of %d", n, rnd.IntN(9))}
			}
		}
		if s.access {
			if rnd.IntN(4) > 0 { // those of the others have nothing that must stay
				clear(writes)
			}
			n := []int{1, 2, 3 * maxSharedLogs}[rnd.IntN(3)]
			for i := range n {
				key := fmt.Sprintf("access/log/request/%s%02d", tx.TxID.Hex(), i)
				writes[key] = ledger.Write{Key: key, Value: incompressible(rnd, 300)}
			}
		}
		for _, k := range slices.Sorted(maps.Keys(writes)) {
			tx.Writes = append(tx.Writes, writes[k])
			if rnd.IntN(3) == 0 {
				tx.Events = []ledger.Event{{Contract: "a", Name: "did", Payload: writes[k].Value}}
			}
		}
		tx.Payload = fmt.Appendf(nil, "paid %d", i)
		txs = append(txs, tx)
	}
	return txs
}

func incompressible(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// run executes block h of s on db.
func (s script) run(t testing.TB, db *DB, h ledger.Height, first ...func(*Block)) Roots {
	t.Helper()
	b, err := db.Begin(h, s.time(h))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range first {
		f(b)
	}
	for _, tx := range s.block(h) {
		if known, err := b.Known(tx.TxID); err != nil || known {
			t.Fatalf("new transaction is known: %v %v", known, err)
		}
		if _, err := b.Apply(tx); err != nil {
			t.Fatal(err)
		}
		if known, err := b.Known(tx.TxID); err != nil || !known {
			t.Fatalf("applied transaction is not known: %v %v", known, err)
		}
		for _, w := range tx.Writes {
			got, ok, err := b.Get(w.Key)
			if err != nil || ok == w.Delete || !bytes.Equal(got, w.Value) {
				t.Fatalf("after its write %q is %q, %v, %v", w.Key, got, ok, err)
			}
		}
	}
	r, err := b.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return r
}

// next is the height to execute next.
func next(db *DB) ledger.Height {
	h, _, ok := db.Executed()
	if !ok {
		return 0
	}
	return h + 1
}

func testConfig() Config { return Config{Dir: "in memory", ChainID: ledger.Hash{7}} }

func fill(t testing.TB, cfg Config) Config {
	t.Helper()
	if err := cfg.fill(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func mustCreate(t testing.TB, cfg Config, d *disk) *DB {
	t.Helper()
	db, err := create(fill(t, cfg), d)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func mustOpen(t testing.TB, cfg Config, d *disk) *DB {
	t.Helper()
	db, err := open(fill(t, cfg), d)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func mustClose(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustFlush(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
}

func mustVerify(t testing.TB, db *DB) {
	t.Helper()
	if _, err := db.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

var emptyRoots = Roots{State: types.EmptyRootHash, Receipts: ledger.EmptyLogRoot}
