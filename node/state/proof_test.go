package state

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// Old heights can be proven back to the certified one, however old or large
// that is, and are forgotten beyond it when memory or time runs out.
func TestHowFarBackProofsGo(t *testing.T) {
	cfg := testConfig()
	cfg.ProofMillis, cfg.ProofBytes = 10*blockMillis, 1<<30
	db := mustCreate(t, cfg, newDisk())
	defer mustClose(t, db)
	s := script{seed: 31, keys: 20}
	provable := func(h ledger.Height) bool {
		t.Helper()
		p, err := db.ProveState(h, "a/k1")
		if errors.Is(err, ErrProofTooOld) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		r, ok := db.RootsAt(h)
		if !ok {
			t.Fatalf("no roots of height %d", h)
		}
		if err := p.Verify(r.State); err != nil {
			t.Fatal(err)
		}
		return true
	}
	for h := range ledger.Height(60) {
		s.run(t, db, h)
		mustFlush(t, db)
	}
	if !provable(0) {
		t.Fatal("nothing was certified, yet height 0 is forgotten")
	}
	db.SetCertified(30)
	if !provable(30) || provable(20) {
		t.Fatal("certified at 30: want 30 and not 20")
	}
	db.SetCertified(55)
	if !provable(55) || !provable(50) || provable(40) {
		t.Fatal("certified at 55, ten blocks of time: want 55 and 50 and not 40")
	}
	db.SetCertified(10) // never goes back
	db.cfg.ProofBytes = 1
	db.SetCertified(57)
	if !provable(57) || provable(50) {
		t.Fatal("certified at 57 without memory: want 57 and not 50")
	}
}

func TestWhatCannotBeProven(t *testing.T) {
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	if _, err := db.ProveState(0, "a/k1"); !errors.Is(err, ErrNotExecuted) {
		t.Errorf("before anything was executed: %v", err)
	}
	s := script{seed: 32, keys: 20}
	s.run(t, db, 0)
	for _, key := range []string{"a/log/1", "a/ix/1", "a", ""} {
		if _, err := db.ProveState(0, key); err == nil {
			t.Errorf("proved %q", key)
		}
	}
	if _, err := db.ProveReceipt(ledger.Hash{1}, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("receipt of no transaction: %v", err)
	}
	for h := ledger.Height(1); h < 9; h++ {
		s.run(t, db, h)
	}
	o, err := db.View().OutcomeAt(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{0, 3, 1 << 40} {
		if _, err := db.ProveReceipt(o.TxID, size); !errors.Is(err, ErrNotExecuted) {
			t.Errorf("receipt 3 of %d: %v", size, err)
		}
	}
	if _, err := db.View().OutcomeAt(1 << 40); !errors.Is(err, ErrNotFound) {
		t.Errorf("outcome beyond the end: %v", err)
	}
}

// An empty state, and one that became empty again, proves absence.
func TestAbsenceInAnEmptyState(t *testing.T) {
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	for h, w := range [][]ledger.Write{nil, {{Key: "a/1", Value: []byte{1}}}, {{Key: "a/1", Delete: true}}} {
		b, err := db.Begin(ledger.Height(h), uint64(h))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Apply(&Tx{TxID: ledger.Hash{byte(h)}, Code: "OK", Writes: w}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Seal(); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		mustFlush(t, db)
		mustVerify(t, db)
	}
	for h, present := range []bool{false, true, false} {
		p, err := db.ProveState(ledger.Height(h), "a/1")
		if err != nil || p.Present != present {
			t.Fatalf("height %d: %+v, %v", h, p, err)
		}
		r, _ := db.RootsAt(ledger.Height(h))
		if (r.State == ledger.EmptyStateRoot) == present {
			t.Fatalf("height %d has root %s", h, r.State)
		}
		if err := p.Verify(r.State); err != nil {
			t.Fatal(err)
		}
	}
}

// Readers of views, provers and the executor do not disturb each other.
func TestConcurrentReaders(t *testing.T) {
	cfg := testConfig()
	cfg.FlushBlocks = 5
	db := mustCreate(t, cfg, newDisk())
	defer mustClose(t, db)
	s := script{seed: 33, keys: 30}
	s.run(t, db, 0)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if err := readOnce(db, fmt.Sprintf("a/k%d", (i+r)%30)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for h := ledger.Height(1); h < 150; h++ {
		s.run(t, db, h)
		db.SetCertified(h - min(h, 3))
		if _, err := db.FlushIfDue(uint64(h)); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	readers.Wait()
}

// readOnce reads one view in every way and checks it against itself.
func readOnce(db *DB, key string) error {
	v := db.View()
	value, ok, err := v.Get(key)
	if err != nil {
		return err
	}
	rows, err := v.Range(key, key+"\x00", 2)
	if err != nil {
		return err
	}
	if len(rows) == 1 != ok || ok && string(rows[0].Value) != string(value) {
		return fmt.Errorf("%q is %q by Get and %v by Range at height %d", key, value, rows, v.Height())
	}
	p, err := db.ProveState(v.Height(), key)
	if err != nil {
		if errors.Is(err, ErrProofTooOld) {
			return nil
		}
		return err
	}
	if p.Present != ok || string(p.Value) != string(value) {
		return fmt.Errorf("%q is %q by Get and %q by proof at height %d", key, value, p.Value, v.Height())
	}
	if err := p.Verify(v.Roots().State); err != nil {
		return err
	}
	if n := v.Roots().ReceiptsSize; n > 0 {
		o, err := v.OutcomeAt(n - 1)
		if err != nil {
			return err
		}
		rp, err := v.ProveReceipt(o.TxID, n)
		if err != nil {
			return err
		}
		return rp.Verify(&ledger.Header{ReceiptsSize: n, ReceiptsRoot: v.Roots().Receipts})
	}
	_, err = db.Stats()
	return err
}

// A network at rest ends with a seal, which certifies the state before it and
// writes nothing. A node that is restarted then must go on proving that state.
func TestARestartedNodeProvesWhatASealCertified(t *testing.T) {
	cfg, d := testConfig(), newDisk()
	db := mustCreate(t, cfg, d)
	s := script{seed: 33, keys: 20}
	const last = 5
	var want Roots
	for h := range ledger.Height(last + 1) {
		want = s.run(t, db, h)
	}
	b, err := db.Begin(last+1, s.time(last+1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, db)
	mustClose(t, db)
	db = mustOpen(t, cfg, d)
	defer mustClose(t, db)
	p, err := db.ProveState(last, "a/k1")
	if err != nil {
		t.Fatalf("the state that the seal certifies: %v", err)
	}
	if err := p.Verify(want.State); err != nil {
		t.Error(err)
	}
}
