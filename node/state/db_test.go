package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// The roots of a fixed chain never change: if this fails, nodes of this version
// would fork from those before it.
func TestGoldenRoots(t *testing.T) {
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	if got := db.View().Roots(); got != emptyRoots || got != EmptyRoots {
		t.Fatalf("an empty state has roots %v", got)
	}
	golden := map[ledger.Height][2]string{
		0:  {"0x21e8d83885475d3aad29de0148e000219d42510b3a27db5bf3af342c103a2282", "0x05e17ba3b86fa87a551d267574dee553b24e890f86f99128c842f36ab179182e"},
		1:  {"0x3b568b335329447856aa286d0a58e4944360163076a54e6eae5860ab224d05d4", "0x7f617d49560dcacdcd2a42c66d3c25048c804138490b6aa65b05dbe434dfaf4a"},
		10: {"0xfb82540f99e1ee2cf4feb833b763fa71f5a42e4101d1ea943434436e582c5bca", "0x56a0fb2fe5ed742e0f574924bdc34d2bad1df8def224dcd1ea208b13f31ed1f5"},
		99: {"0x05f6ba50681ab0e5c16fa6b72da7ffd90e931cdb9a2cd79450ccda5a92b94462", "0xd54df298af92762b175a61ba589020cbc561bba52a13a4553fbc30f429cb4a71"},
	}
	s := script{seed: 2026, keys: 50}
	for h := range ledger.Height(100) {
		r := s.run(t, db, h)
		if want, ok := golden[h]; ok && (r.State.Hex() != want[0] || r.Receipts.Hex() != want[1]) {
			t.Errorf("%d: {%q, %q},", h, r.State.Hex(), r.Receipts.Hex())
		}
	}
}

// Two states that executed the same blocks have the same roots and rows,
// whatever their flushes.
func TestFlushesDoNotMatter(t *testing.T) {
	s := script{seed: 5, keys: 40}
	often, never := mustCreate(t, testConfig(), newDisk()), mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, often)
	defer mustClose(t, never)
	for h := range ledger.Height(50) {
		if a, b := s.run(t, often, h), s.run(t, never, h); a != b {
			t.Fatalf("height %d: %v and %v", h, a, b)
		}
		mustFlush(t, often)
	}
	a, err := often.View().Range("", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	b, err := never.View().Range("", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) == 0 || len(a) != len(b) {
		t.Fatalf("%d and %d rows", len(a), len(b))
	}
	for i := range a {
		if a[i].Key != b[i].Key || string(a[i].Value) != string(b[i].Value) {
			t.Fatalf("row %d: %q and %q", i, a[i].Key, b[i].Key)
		}
	}
}

func TestCreateAndOpenAreDifferent(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "state"), ChainID: ledger.Hash{1}}
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Fatalf("opened a state that was never created: %v", err)
	}
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("a refused Open left something behind")
	}
	db, err := Create(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Fatal("opened a state that is open")
	}
	(script{seed: 1, keys: 9}).run(t, db, 0)
	mustFlush(t, db)
	want := db.View().Roots()
	mustClose(t, db)
	if _, err := Create(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Fatalf("created over a state: %v", err)
	}
	other := cfg
	other.ChainID = ledger.Hash{2}
	if _, err := Open(t.Context(), other); err == nil || !strings.Contains(err.Error(), "belongs to chain") {
		t.Fatalf("opened the state of another chain: %v", err)
	}
	if db, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if h, r, ok := db.Executed(); h != 0 || !ok || r != want {
		t.Fatalf("reopened at %d, %v, %v", h, r, ok)
	}
	mustClose(t, db)
	if _, err := db.Begin(1, 5); err == nil {
		t.Fatal("a closed state takes blocks")
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	d := newDisk()
	db := mustCreate(t, testConfig(), d)
	if err := db.ldb.Put(keyMeta, encodeRow(&metaRow{Version: formatVersion + 1, ChainID: testConfig().ChainID}), nil); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	if _, err := open(fill(t, testConfig()), d); err == nil || !strings.Contains(err.Error(), "format 4") {
		t.Fatalf("opened a newer format: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	err := (&Config{FlushBlocks: -1, ProofBytes: -2}).fill()
	for _, want := range []string{"Dir", "ChainID", "FlushBlocks", "ProofBytes"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no complaint about %s in %v", want, err)
		}
	}
}

func TestBlocksComeInOrder(t *testing.T) {
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	if _, err := db.Begin(1, 1); err == nil {
		t.Fatal("block 1 before block 0")
	}
	s := script{seed: 1, keys: 9}
	s.run(t, db, 0)
	if _, err := db.Begin(0, 1); err == nil {
		t.Fatal("block 0 twice")
	}
	s.run(t, db, 1)
}

// After an error nothing more is written: what is in memory cannot be trusted.
func TestMisuseStopsTheState(t *testing.T) {
	for name, f := range map[string]func(b *Block) error{
		"unsorted writes": func(b *Block) error {
			_, err := b.Apply(&Tx{Code: "OK", Writes: []ledger.Write{{Key: "a/2", Value: []byte{1}}, {Key: "a/1", Value: []byte{1}}}})
			return err
		},
		"repeated key": func(b *Block) error {
			_, err := b.Apply(&Tx{Code: "OK", Writes: []ledger.Write{{Key: "a/1", Value: []byte{1}}, {Key: "a/1", Delete: true}}})
			return err
		},
		"key without contract": func(b *Block) error {
			_, err := b.Apply(&Tx{Code: "OK", Writes: []ledger.Write{{Key: "/1", Value: []byte{1}}}})
			return err
		},
		"deletion with a value": func(b *Block) error {
			_, err := b.Apply(&Tx{Code: "OK", Writes: []ledger.Write{{Key: "a/1", Value: []byte{1}, Delete: true}}})
			return err
		},
		"commit before seal": func(b *Block) error { return b.Commit() },
		"apply after seal": func(b *Block) error {
			if _, err := b.Seal(); err != nil {
				return nil
			}
			_, err := b.Apply(&Tx{Code: "OK"})
			return err
		},
		"two blocks at once": func(b *Block) error { _, err := b.db.Begin(b.height, 9); return err },
	} {
		t.Run(name, func(t *testing.T) {
			db := mustCreate(t, testConfig(), newDisk())
			defer mustClose(t, db)
			b, err := db.Begin(0, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := f(b); err == nil {
				t.Fatal("no error")
			}
			if err := b.Commit(); err == nil {
				t.Fatal("committed after an error")
			}
			if _, _, ok := db.Executed(); ok {
				t.Fatal("something was executed")
			}
		})
	}
}

// A log row is written once; the transaction that would change it leaves no
// trace and the block goes on.
func TestLogRowsAreWrittenOnce(t *testing.T) {
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	row := ledger.Write{Key: "a/log/1", Value: []byte("first")}
	for h, flush := range []bool{false, false, true, false} {
		b, err := db.Begin(ledger.Height(h), uint64(h))
		if err != nil {
			t.Fatal(err)
		}
		if h == 0 {
			if _, err := b.Apply(&Tx{TxID: ledger.Hash{1}, Code: "OK", Writes: []ledger.Write{row}}); err != nil {
				t.Fatal(err)
			}
		}
		for i, w := range []ledger.Write{{Key: row.Key, Value: []byte("second")}, {Key: row.Key, Delete: true}, {Key: "a/log/none", Delete: true}} {
			tx := &Tx{TxID: ledger.Hash{2, byte(h), byte(i)}, Code: "OK", Writes: []ledger.Write{{Key: "a/k", Value: []byte{1}}, w}}
			if _, err := b.Apply(tx); !errors.Is(err, ErrLogRowExists) {
				t.Fatalf("height %d, write %d: %v", h, i, err)
			}
			if known, err := b.Known(tx.TxID); err != nil || known {
				t.Fatalf("a transaction that was not applied is known: %v, %v", known, err)
			}
		}
		r, err := b.Seal()
		if err != nil || r.ReceiptsSize != 1 || r.State != ledger.EmptyStateRoot {
			t.Fatalf("height %d: %v, %v", h, r, err)
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if flush {
			mustFlush(t, db)
		}
		if v, ok, err := db.View().Get(row.Key); err != nil || !ok || string(v) != "first" {
			t.Fatalf("the row is %q, %v, %v", v, ok, err)
		}
	}
}

// FlushIfDue flushes by blocks, by time and by bytes, and says when to come
// back.
func TestFlushIfDue(t *testing.T) {
	cfg := testConfig()
	cfg.FlushBlocks, cfg.FlushMillis, cfg.FlushBytes = 4, 100, 1<<20
	db := mustCreate(t, cfg, newDisk())
	defer mustClose(t, db)
	s := script{seed: 3, keys: 9}
	expect := func(now, wait uint64, dirty int) {
		t.Helper()
		got, err := db.FlushIfDue(now)
		if err != nil || got != wait || db.dirty != dirty {
			t.Fatalf("at %d: wait %d with %d blocks, %v; want %d with %d", now, got, db.dirty, err, wait, dirty)
		}
	}
	expect(5, 0, 0)
	s.run(t, db, 0)
	expect(10, 100, 1)
	s.run(t, db, 1)
	expect(60, 50, 2)
	expect(110, 0, 0)
	for h := ledger.Height(2); h < 5; h++ {
		s.run(t, db, h)
		expect(200, 100, int(h)-1)
	}
	s.run(t, db, 5)
	expect(200, 0, 0)
	b, err := db.Begin(6, s.time(6))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(&Tx{Code: "OK", Writes: []ledger.Write{{Key: "a/big", Value: make([]byte, 2<<20)}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	expect(300, 0, 0)
	if h := mustStored(t, db); h != 6 {
		t.Fatalf("the database holds height %d", h)
	}
}

// mustStored returns the height that the database holds.
func mustStored(t *testing.T, db *DB) ledger.Height {
	t.Helper()
	b, err := stored(db.snap, "head row", keyHead)
	if err != nil {
		t.Fatal(err)
	}
	var h headRow
	if err := decodeRow("head row", b, &h); err != nil {
		t.Fatal(err)
	}
	return h.Height
}
