package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// testAge is how old access records get in these tests.
const testAge = 40 * blockMillis

func goOn(Pruning) error { return nil }

// prune prunes as much as may be.
func prune(t testing.TB, db *DB) Pruning {
	t.Helper()
	mustFlush(t, db)
	v := db.View()
	p, err := db.Prune(v.Time()-min(v.Time(), testAge), testAge, goOn)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// aging returns what a block does before its transactions: read random access
// records, and note what it saw.
func aging(t *testing.T, rnd *rand.Rand, keys []string, saw *[]string) func(*Block) {
	return func(b *Block) {
		b.Age(b.Time() - min(b.Time(), testAge))
		for range 8 {
			if len(keys) == 0 {
				return
			}
			key := keys[rnd.IntN(len(keys))]
			value, ok, err := b.Get(key)
			if err != nil && !errors.Is(err, ErrAged) {
				t.Fatal(err)
			}
			*saw = append(*saw, fmt.Sprintf("%s %q %v %v", key, value, ok, err))
			rows, err := b.Range(key, key+"\x00", 1)
			if err != nil && !errors.Is(err, ErrAged) {
				t.Fatal(err)
			}
			*saw = append(*saw, fmt.Sprintf("%v %v", rows, err))
			// Whether the old record is here or not, it is not written again.
			tx := &Tx{TxID: ledger.Sum([]byte(key)), Writes: []ledger.Write{{Key: key, Value: []byte("again")}}}
			if _, err := b.Apply(tx); !errors.Is(err, ErrLogRowExists) {
				t.Fatalf("writing %q again gives %v", key, err)
			}
		}
	}
}

// A node that prunes at any time executes what one that never does executes, sees
// the same, proves what it has pruned, and its state verifies and can be carried
// to another node, which goes on like both.
func TestPrunedStateAgreesWithOneThatIsNot(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 17))
			s := script{seed: seed, keys: 30, batches: seed%2 == 1, access: true}
			cfg := testConfig()
			cfg.FlushBlocks = 1 + int(seed*5)
			d := newDisk()
			pruned, whole := mustCreate(t, cfg, d), mustCreate(t, cfg, newDisk())
			var keys []string
			end, sweeps := ledger.Height(140), uint64(0)
			for h := range end {
				look := rnd.Uint64()
				var mine, other []string
				got := s.run(t, pruned, h, aging(t, rand.New(rand.NewPCG(look, 0)), keys, &mine))
				want := s.run(t, whole, h, aging(t, rand.New(rand.NewPCG(look, 0)), keys, &other))
				if got != want || strings.Join(mine, "\n") != strings.Join(other, "\n") {
					t.Fatalf("at height %d the pruned node has %v and saw\n%s\nthe other %v\n%s", h, got, strings.Join(mine, "\n"), want, strings.Join(other, "\n"))
				}
				for _, tx := range s.block(h) {
					for _, w := range tx.Writes {
						if ledger.Ages(w.Key) && !w.Delete {
							keys = append(keys, w.Key)
						}
					}
				}
				if _, err := pruned.FlushIfDue(1); err != nil {
					t.Fatal(err)
				}
				switch {
				case h > 40 && rnd.IntN(20) == 0:
					sweeps += prune(t, pruned).Pruned
				case rnd.IntN(30) == 0:
					mustClose(t, pruned)
					pruned = mustOpen(t, cfg, d)
					for x := next(pruned); x <= h; x++ {
						s.run(t, pruned, x, func(b *Block) { b.Age(b.Time() - min(b.Time(), testAge)) })
					}
				}
			}
			sweeps += prune(t, pruned).Pruned
			if sweeps < 100 {
				t.Fatalf("only %d outcomes were pruned", sweeps)
			}
			mustVerify(t, pruned)
			samePruned(t, pruned, whole)

			f, err := pruned.Freeze(end - 1)
			if err != nil {
				t.Fatal(err)
			}
			c := copyOf(t, f, s)
			c.target.RecordAge = testAge
			dir := filepath.Join(t.TempDir(), "state")
			if err := c.restore(t, dir); err != nil {
				t.Fatal(err)
			}
			cfg.Dir = dir
			again, err := Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			for h := end; h < end+60; h++ {
				age := func(b *Block) { b.Age(b.Time() - testAge) }
				if a, b := s.run(t, again, h, age), s.run(t, whole, h, age); a != b {
					t.Fatalf("at height %d the restored node has %v, want %v", h, a, b)
				}
			}
			if p := prune(t, again); p.Pruned == 0 || p.Height == 0 {
				t.Errorf("the restored node pruned %+v", p)
			}
			mustVerify(t, again)
			samePruned(t, again, whole)
			for _, db := range []*DB{pruned, whole, again} {
				mustClose(t, db)
			}
		})
	}
}

// samePruned compares what is left with what a node has that did not prune.
func samePruned(t *testing.T, got, want *DB) {
	t.Helper()
	v, w := got.View(), want.View()
	size, gone := v.Roots().ReceiptsSize, 0
	for i := range size {
		o, err := w.OutcomeAt(i)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := v.ReceiptAt(i); err != nil || r != o.Receipt() {
			t.Fatalf("receipt %d is %+v, %v, want %+v", i, r, err, o.Receipt())
		}
		if i%8 == 0 {
			p, err := v.ProveReceipt(o.TxID, size)
			if err != nil {
				t.Fatal(err)
			}
			q, err := w.ProveReceipt(o.TxID, size)
			if err != nil || !bytes.Equal(p.Encode(), q.Encode()) {
				t.Fatalf("receipt %d is proven by %+v, want %+v, %v", i, p, q, err)
			}
		}
		_, err = v.Find(o.TxID)
		var pruned *Pruned
		if err != nil && (!errors.As(err, &pruned) || !errors.Is(err, ErrPruned) || pruned.TxID != o.TxID || pruned.Height != o.Height) {
			t.Fatalf("transaction %s: %v", o.TxID, err)
		}
		logs := 0
		for _, x := range o.Writes {
			if ledger.KeepingOf(x.Key) != ledger.KeepLog {
				continue
			}
			logs++
			if !ledger.Ages(x.Key) && err != nil {
				t.Fatalf("the outcome of %s is pruned, which wrote %q", o.TxID, x.Key)
			}
			value, ok, lost := v.Get(x.Key)
			switch same, _, _ := w.Get(x.Key); {
			case err == nil && (lost != nil || !ok || !bytes.Equal(value, same)):
				t.Fatalf("row %q is %q, %v, want %q", x.Key, value, lost, same)
			case err != nil && !errors.As(lost, &pruned):
				t.Fatalf("row %q of pruned transaction %s: %q, %v", x.Key, o.TxID, value, lost)
			}
		}
		if err != nil {
			gone++
			if i >= got.Pruned().Done || o.Height >= got.Pruned().Height {
				t.Fatalf("receipt %d of height %d is pruned, pruning says %+v", i, o.Height, got.Pruned())
			}
		}
	}
	if gone == 0 {
		t.Error("nothing is pruned")
	}
}

// A crash at any write of a pruning loses nothing: what is left verifies, the next
// pruning goes on, and both end alike.
func TestCrashWhilePruning(t *testing.T) {
	s := script{seed: 21, keys: 30, access: true}
	cfg := testConfig()
	cfg.FlushBlocks = 1000
	d := newDisk()
	db := mustCreate(t, cfg, d)
	const end = 150
	for h := range ledger.Height(end) {
		s.run(t, db, h)
	}
	mustFlush(t, db)
	whole := d.image(func(f *file) int { return len(f.data) })
	var images []*disk
	writes := 0
	d.mu.Lock()
	d.onWrite = func(d *disk, last *file, size int) {
		if writes++; writes > 12 && writes%9 > 0 { // there are hundreds, and most are of one table
			return
		}
		for _, keep := range crashes {
			images = append(images, d.image(func(f *file) int { return keep(f, last, size) }))
		}
	}
	d.mu.Unlock()
	done := prune(t, db)
	for h := ledger.Height(end); h < end+2; h++ { // so that the state is flushed over the pruning
		s.run(t, db, h)
		mustFlush(t, db)
	}
	eventuallyFreed(t, db)
	mustClose(t, db)
	other := mustOpen(t, cfg, whole)
	defer mustClose(t, other)
	for h := next(other); h < end+3; h++ {
		s.run(t, other, h)
	}
	if len(images) < 12 || done.Pruned < pruneBatch {
		t.Fatalf("%d moments to crash at, %d pruned", len(images), done.Pruned)
	}
	for i := 0; i < len(images); i += 1 + len(images)/9 {
		db, err := open(fill(t, cfg), images[i])
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		mustVerify(t, db)
		for h := next(db); h < end+2; h++ {
			s.run(t, db, h)
		}
		prune(t, db)
		s.run(t, db, end+2)
		mustFlush(t, db) // views show what is pruned after the next flush
		mustVerify(t, db)
		if i%4 == 0 {
			samePruned(t, db, other)
		}
		mustClose(t, db)
	}
}

// Pruning that is stopped goes on where it was; it refuses to take what may still
// be read; and it gives the disk back.
func TestPruningIsBoundedAndGivesSpaceBack(t *testing.T) {
	s := script{seed: 22, keys: 30, access: true, batches: true}
	cfg := testConfig()
	cfg.FlushBlocks = 20
	d := newDisk()
	db := mustCreate(t, cfg, d)
	defer mustClose(t, db)
	for h := range ledger.Height(900) {
		s.run(t, db, h)
		if _, err := db.FlushIfDue(1); err != nil {
			t.Fatal(err)
		}
	}
	mustFlush(t, db)
	now, before := db.View().Time(), d.bytes()
	if p, err := db.Prune(now, now, goOn); err != nil || p.Pruned > 0 {
		t.Fatalf("what may still be read is pruned: %+v, %v", p, err)
	}
	if p, err := db.Prune(1, 0, goOn); err == nil || p.Pruned > 0 {
		t.Fatalf("without an age pruned %+v, %v", p, err)
	}
	stop := errors.New("stop")
	p, err := db.Prune(now, testAge, func(Pruning) error { return stop })
	if !errors.Is(err, stop) || p.Pruned == 0 || p.Done != pruneBatch {
		t.Fatalf("stopped at %+v, %v", p, err)
	}
	if ok, err := db.Free(goOn); ok || err != nil {
		t.Fatalf("freed before the states from before have gone: %v, %v", ok, err)
	}
	calls := 0
	if p, err = db.Prune(now, testAge, func(Pruning) error { calls++; return nil }); err != nil || p.Pruned < 10*uint64(calls) || calls < 3 {
		t.Fatalf("pruned %+v in %d steps, %v", p, calls, err)
	}
	for h := ledger.Height(900); h < 903; h++ {
		s.run(t, db, h)
		mustFlush(t, db)
	}
	if o, err := db.View().OutcomeAt(p.Done); err != nil || o.Time < now-testAge {
		t.Fatalf("pruning ended below %+v, %v", o, err)
	}
	db.SetCertified(902)
	eventuallyFreed(t, db)
	eventually(t, func() bool { return d.bytes() < before*3/4 }) // old tables go in the background
	if p := db.Pruned(); p.Unfreed != 0 || p.Height == 0 {
		t.Errorf("in the end %+v", p)
	}
	mustVerify(t, db)
}

// eventuallyFreed frees as soon as what readers held is collected.
func eventuallyFreed(t *testing.T, db *DB) {
	t.Helper()
	db.mu.Lock()
	for _, p := range db.past { // as if the time of proofs were over
		p.snap.Release()
	}
	db.past = nil
	db.mu.Unlock()
	eventually(t, func() bool { // the database's snapshots end when nobody refers to them
		runtime.GC()
		ok, err := db.Free(goOn)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	})
}

func eventually(t *testing.T, try func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !try(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within a minute")
		}
	}
}

func (d *disk) bytes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, f := range d.files {
		n += len(f.data)
	}
	return n
}

// A snapshot in which somebody pruned what every node keeps is refused: a node
// that began with it would stop at the first transaction that reads it.
func TestPrunedTooMuchIsRefused(t *testing.T) {
	s := script{seed: 23, keys: 30, access: true}
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	for h := range ledger.Height(120) {
		s.run(t, db, h)
	}
	f, err := db.Freeze(119)
	if err != nil {
		t.Fatal(err)
	}
	// forget prunes a receipt as a node would that may.
	forget := func(c *copied, i int) {
		var x carried
		if err := rlp.DecodeBytes(c.items[i], &x); err != nil {
			t.Fatal(err)
		}
		row := &outcomeRow{TxID: x.TxID, Height: x.Height, Index: x.Index, Code: x.Code, Logs: x.Logs, Writes: x.Writes, Events: x.Events}
		o, err := row.outcome(uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Logs) == 0 { // rows that stood alone go with it
			kept := c.rows[:0:0]
			for _, r := range c.rows {
				if !strings.Contains(string(r[0]), x.TxID.Hex()) {
					kept = append(kept, r)
				}
			}
			c.rows = kept
		}
		h := hashEvents(o.Events)
		x.Logs, x.Events, x.EventsHash, x.Writes = nil, nil, h[:], nil
		for _, w := range o.Writes {
			x.Writes = append(x.Writes, storedWrite{w.Key, w.Value})
		}
		c.items[i] = encodeRow(&x)
	}
	find := func(stays bool, from ledger.Height) int {
		for i := range f.Roots().ReceiptsSize {
			o, err := db.View().OutcomeAt(i)
			if err != nil {
				t.Fatal(err)
			}
			other, own := false, false
			for _, w := range o.Writes {
				other = other || ledger.KeepingOf(w.Key) == ledger.KeepLog && !ledger.Ages(w.Key)
				own = own || ledger.Ages(w.Key)
			}
			if other == stays && own && o.Height >= from {
				return int(i)
			}
		}
		t.Fatal("no such receipt")
		return 0
	}
	for name, tt := range map[string]struct {
		age  uint64
		item int
		good bool
	}{
		"old enough":           {testAge, find(false, 0), true},
		"too young":            {testAge, find(false, 110), false},
		"no age is known":      {0, find(false, 0), false},
		"wrote what must stay": {testAge, find(true, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			c := copyOf(t, f, s)
			c.target.RecordAge = tt.age
			forget(c, tt.item)
			err := c.restore(t, filepath.Join(t.TempDir(), "state"))
			if tt.good != (err == nil) || err != nil && !errors.Is(err, ErrForged) {
				t.Errorf("restored with %v", err)
			}
		})
	}
}
