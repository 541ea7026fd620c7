package snapshot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
)

func TestMain(m *testing.M) {
	// goleveldb ends the drain of its pool within a second of Close, without
	// waiting for it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// world is a state, its certified header and a snapshot of it.
type world struct {
	p      *population
	conf   *ledger.Config
	header *ledger.CertifiedHeader
	dir    *snapshot.Dir
	root   string
}

func newWorld(t testing.TB, consents int) *world {
	t.Helper()
	w := &world{p: populate(t, consents), conf: ledgertest.Config(4), root: filepath.Join(t.TempDir(), "snapshots")}
	w.header = certify(w.conf.Hash(), w.conf, w.p.height+1, w.p.height, w.p.roots)
	w.dir = snapshot.Open(w.root)
	if _, err := w.dir.Write(t.Context(), w.config()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) config() snapshot.WriteConfig {
	return snapshot.WriteConfig{ChainID: w.conf.Hash(), Header: w.header, Source: w.p}
}

func (w *world) path(file string) string {
	heights, _ := w.dir.Heights()
	if len(heights) == 0 {
		return ""
	}
	m, _ := filepath.Glob(filepath.Join(w.root, "*", file))
	return m[0]
}

// restore makes a state of the snapshot in dir; "" checks only.
func (w *world) restore(t testing.TB, dir string) error {
	t.Helper()
	f, err := w.dir.File(w.p.height)
	if err != nil {
		return err
	}
	defer f.Close()
	cfg := snapshot.RestoreConfig{Scratch: t.TempDir(), Time: w.p.Time(), TimeOf: func(h ledger.Height) (uint64, error) { return timeOf(h), nil }}
	if dir != "" {
		cfg.State = state.Config{Dir: dir, ChainID: w.conf.Hash()}
	}
	return f.Restore(t.Context(), cfg)
}

// A snapshot of a restored state is the same bytes again, and the state verifies.
func TestSnapshotRoundTrip(t *testing.T) {
	for _, consents := range []int{0, 1, 3000} { // the last takes several chunks
		w := newWorld(t, consents)
		dir := filepath.Join(t.TempDir(), "state")
		if err := w.restore(t, dir); err != nil {
			t.Fatal(err)
		}
		if err := w.restore(t, ""); err != nil {
			t.Fatal(err)
		}
		db, err := state.Open(t.Context(), state.Config{Dir: dir, ChainID: w.conf.Hash()})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := db.Verify(t.Context(), nil); err != nil || r.Records != uint64(consents) {
			t.Fatalf("%d consents: %+v, %v", consents, r, err)
		}
		f, err := db.Freeze(w.p.height)
		if err != nil {
			t.Fatal(err)
		}
		again := snapshot.Open(filepath.Join(t.TempDir(), "again"))
		cfg := w.config()
		cfg.Source = f
		m, err := again.Write(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		first, err := w.dir.Manifest(w.p.height)
		if err != nil {
			t.Fatal(err)
		}
		if m.ID() != first.ID() {
			t.Errorf("%d consents: the state's copy is %s, the copy's copy %s", consents, first.ID(), m.ID())
		}
		if consents > 1000 && len(m.Chunks) < 4 {
			t.Errorf("%d chunks", len(m.Chunks))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever is done to a snapshot is found, and no state comes of it.
func TestCorruptSnapshotsAreRefused(t *testing.T) {
	w := newWorld(t, 1200)
	manifest, chunks := w.path("manifest"), w.path("chunks")
	m, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	c, err := os.ReadFile(chunks)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := snapshot.Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t, 1201)
	foreign, err := os.ReadFile(other.path("chunks"))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(f func(*snapshot.Manifest)) func() ([]byte, []byte) {
		return func() ([]byte, []byte) {
			e, err := snapshot.Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			f(e)
			return e.Encode(), c
		}
	}
	first, second := decoded.Chunks[0].Size, decoded.Chunks[1].Size
	for name, change := range map[string]func() ([]byte, []byte){
		"chunk flipped":     func() ([]byte, []byte) { b := clone(c); b[len(b)/2] ^= 1; return m, b },
		"last byte flipped": func() ([]byte, []byte) { b := clone(c); b[len(b)-1] ^= 1; return m, b },
		"chunks cut":        func() ([]byte, []byte) { return m, c[:len(c)-1] },
		"chunks gone":       func() ([]byte, []byte) { return m, nil },
		"chunks of another": func() ([]byte, []byte) { return m, foreign },
		"chunks swapped": func() ([]byte, []byte) {
			return m, append(clone(c[first:first+second]), append(clone(c[:first]), c[first+second:]...)...)
		},
		"manifest flipped":    func() ([]byte, []byte) { b := clone(m); b[len(b)-1] ^= 1; return b, c },
		"manifest cut":        func() ([]byte, []byte) { return m[:len(m)-1], c },
		"manifest empty":      func() ([]byte, []byte) { return nil, c },
		"chunk left out":      edit(func(e *snapshot.Manifest) { e.Chunks = e.Chunks[1:] }),
		"chunk twice":         edit(func(e *snapshot.Manifest) { e.Chunks = append(e.Chunks[:1:1], e.Chunks...) }),
		"another item count":  edit(func(e *snapshot.Manifest) { e.Chunks[0].Items++ }),
		"another length":      edit(func(e *snapshot.Manifest) { e.Chunks[0].Raw++ }),
		"absurd length":       edit(func(e *snapshot.Manifest) { e.Chunks[0].Raw = 1 << 40 }),
		"another kind":        edit(func(e *snapshot.Manifest) { e.Chunks[len(e.Chunks)-1].Kind = 1 }),
		"another time":        edit(func(e *snapshot.Manifest) { e.Time++ }),
		"another height":      edit(func(e *snapshot.Manifest) { e.Header.Header.ExecHeight--; recertify(w, e) }),
		"another state root":  edit(func(e *snapshot.Manifest) { e.Header.Header.StateRoot[0] ^= 1; recertify(w, e) }),
		"another receipts":    edit(func(e *snapshot.Manifest) { e.Header.Header.ReceiptsRoot[0] ^= 1; recertify(w, e) }),
		"another log size":    edit(func(e *snapshot.Manifest) { e.Header.Header.ReceiptsSize--; recertify(w, e) }),
		"another certificate": edit(func(e *snapshot.Manifest) { e.Header.Certificate.Header[0] ^= 1 }),
		"another network":     edit(func(e *snapshot.Manifest) { e.ChainID[0] ^= 1 }),
	} {
		t.Run(name, func(t *testing.T) {
			nm, nc := change()
			if err := errors.Join(os.WriteFile(manifest, nm, 0o600), os.WriteFile(chunks, nc, 0o600)); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "state")
			err := w.restore(t, dir)
			if !errors.Is(err, snapshot.ErrBad) && !errors.Is(err, state.ErrForged) {
				t.Fatalf("restored with %v", err)
			}
			if _, err := state.Open(t.Context(), state.Config{Dir: dir, ChainID: w.conf.Hash()}); err == nil {
				t.Error("a state came of it")
			}
		})
	}
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

func recertify(w *world, m *snapshot.Manifest) {
	m.Header.Certificate = *ledgertest.Certify(w.conf, &m.Header.Header)
}

// brokenSource fails after some rows.
type brokenSource struct {
	*population
	rows int
}

var errSource = errors.New("source failed")

func (s brokenSource) Rows(yield func(key, value []byte) error) error {
	n := 0
	return s.population.Rows(func(k, v []byte) error {
		if n++; n > s.rows {
			return errSource
		}
		return yield(k, v)
	})
}

// An interrupted Write leaves nothing that is listed, and the next one succeeds.
func TestInterruptedWriteLeavesNothing(t *testing.T) {
	w := newWorld(t, 50)
	if err := w.dir.Remove(w.p.height); err != nil {
		t.Fatal(err)
	}
	cfg := w.config()
	cfg.Source = brokenSource{w.p, 20}
	if _, err := w.dir.Write(t.Context(), cfg); !errors.Is(err, errSource) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.dir.Write(ctx, w.config()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// A crash leaves the folder under its working name.
	if err := os.MkdirAll(filepath.Join(w.root, "77.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if list, err := w.dir.List(); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	if _, err := w.dir.Write(t.Context(), w.config()); err != nil {
		t.Fatal(err)
	}
	if err := w.dir.Keep(1); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(w.root)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
}

func TestWrongHeaderIsRefused(t *testing.T) {
	w := newWorld(t, 5)
	cfg := w.config()
	roots := w.p.roots
	roots.State[0] ^= 1
	cfg.Header = certify(w.conf.Hash(), w.conf, w.p.height+1, w.p.height, roots)
	if _, err := w.dir.Write(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "another state") {
		t.Fatal(err)
	}
}

// A download goes on where it was interrupted, and takes nothing else.
func TestDownloadGoesOn(t *testing.T) {
	w := newWorld(t, 1500)
	f, err := w.dir.File(w.p.height)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir, m := filepath.Join(t.TempDir(), "download"), f.Manifest
	if len(m.Chunks) < 3 {
		t.Fatalf("%d chunks are too few for this test", len(m.Chunks))
	}
	chunk := func(i int) []byte {
		b, err := f.Read(uint64(i), 0, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for i := range m.Chunks { // stopped after each chunk
		d, err := snapshot.OpenDownload(dir, m)
		if err != nil {
			t.Fatal(err)
		}
		if d.Next() != uint64(i) {
			t.Fatalf("goes on with chunk %d, want %d", d.Next(), i)
		}
		if i == 1 {
			if err := d.Finish(); err == nil {
				t.Fatal("finished with chunks missing")
			}
			bad := clone(chunk(1))
			bad[0] ^= 1
			for _, b := range [][]byte{bad, bad[1:], nil, chunk(0)} {
				if err := d.Add(b); !errors.Is(err, snapshot.ErrBad) {
					t.Fatalf("took %d wrong bytes: %v", len(b), err)
				}
			}
		}
		if err := d.Add(chunk(i)); err != nil {
			t.Fatal(err)
		}
		if i == len(m.Chunks)-1 {
			if err := d.Finish(); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 0 { // a torn write behind the first chunk
			file, err := os.OpenFile(filepath.Join(dir, "chunks"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.Write([]byte("torn")); err != nil {
				t.Fatal(err)
			}
			file.Close()
		}
	}
	kept := snapshot.Open(filepath.Join(t.TempDir(), "kept"))
	if got, err := kept.Adopt(dir); err != nil || got.ID() != m.ID() {
		t.Fatalf("%v, %v", got, err)
	}
	if list, err := kept.List(); err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
}

// FuzzManifest: no manifest makes the decoder panic, and what is decoded has one
// encoding.
func FuzzManifest(f *testing.F) {
	w := newWorld(f, 3)
	m, err := w.dir.Manifest(w.p.height)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Encode())
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := snapshot.Decode(b)
		if err != nil {
			return
		}
		if got := m.Encode(); string(got) != string(b) {
			t.Fatalf("decoding and encoding changes it: %x became %x", b, got)
		}
		m.ID()
		m.Bytes()
	})
}
