package join

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/snapshot"
)

// A node begins with the newest snapshot, through config changes, and goes on
// with the blocks above; it can then offer the snapshot itself.
func TestJoinAndGoOn(t *testing.T) {
	h := newHistory(t, 60, map[int]bool{5: true, 6: true, 30: true, 41: true, 50: true}, 20, 40)
	w := newWire()
	w.add("a", h.serve(h.snapshots))
	n := h.newcomer()
	if err := n.join(t.Context(), w); err != nil {
		t.Fatalf("%v\n%s", err, &n.log)
	}
	if _, err := os.Stat(filepath.Join(n.home, "join")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was unfinished is still there: %v", err)
	}
	n.check(40)
	list, err := snapshot.Open(filepath.Join(n.home, "snapshots")).List()
	if err != nil || len(list) != 1 || list[0].Height() != 40 {
		t.Errorf("the node keeps snapshots %v, %v", list, err)
	}
}

// The bodies of the known-transaction window are there, and those below it are
// not.
func TestJoinFetchesTheKnownWindow(t *testing.T) {
	h := newHistory(t, 30, nil)
	step := ledger.KnownWindowMillis/ledgertest.BlockMillis + 1
	if step < 30 { // the chain is longer than the window
		t.Fatalf("the window is %d blocks", step)
	}
	h.write(29)
	w := newWire()
	w.add("a", h.serve(h.snapshots))
	n := h.newcomer()
	if err := n.join(t.Context(), w); err != nil {
		t.Fatalf("%v\n%s", err, &n.log)
	}
	s := n.openStore()
	if s.Base() != 1 {
		t.Errorf("bodies begin with %d although all are in the window", s.Base())
	}
	s.Close()
	n.check(29)
}

// Peers that have pruned all but the window serve a joining node; one that has
// pruned less or more is no obstacle.
func TestJoinFromPrunedPeers(t *testing.T) {
	h := newHistory(t, 50, map[int]bool{3: true, 12: true}, 44)
	w := newWire()
	for name, below := range map[string]ledger.Height{"a": 40, "b": 45} {
		s := h.serve(h.snapshots)
		if _, err := s.store.Prune(below, nil); err != nil {
			t.Fatal(err)
		}
		w.add(name, s)
	}
	n := h.newcomer()
	if err := n.join(t.Context(), w); err != nil {
		t.Fatalf("%v\n%s", err, &n.log)
	}
	s := n.openStore()
	base := s.Base()
	s.Close()
	if base > 45 {
		t.Errorf("bodies begin with %d, block 45 must be executed", base)
	}
	n.check(44)
}

// forgeries are snapshots that a peer offers as newer than the true one.
func forgeries(t *testing.T, h *history) map[string]*snapshot.Dir {
	t.Helper()
	forge := func(at ledger.Height, change func(m *snapshot.Manifest, chunks []byte) []byte) *snapshot.Dir {
		dir := t.TempDir()
		src := snapshotPath(h, at)
		b, err := os.ReadFile(filepath.Join(src, "manifest"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := snapshot.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		chunks, err := os.ReadFile(filepath.Join(src, "chunks"))
		if err != nil {
			t.Fatal(err)
		}
		chunks = change(m, chunks)
		to := filepath.Join(dir, fmt.Sprint(m.Height()))
		if err := errors.Join(os.MkdirAll(to, 0o700), os.WriteFile(filepath.Join(to, "manifest"), m.Encode(), 0o600), os.WriteFile(filepath.Join(to, "chunks"), chunks, 0o600)); err != nil {
			t.Fatal(err)
		}
		return snapshot.Open(dir)
	}
	other := newHistoryOf(t, ledgertest.Config(7), 50, nil, 45)
	resealed := func(m *snapshot.Manifest) {
		m.Header.Certificate = *ledgertest.Certify(h.chain.Genesis, &m.Header.Header)
	}
	return map[string]*snapshot.Dir{
		"flipped": forge(40, func(m *snapshot.Manifest, c []byte) []byte { c[len(c)/2] ^= 1; return c }),
		"flipped and hashed anew": forge(40, func(m *snapshot.Manifest, c []byte) []byte {
			c[len(c)-20] ^= 1
			last := &m.Chunks[len(m.Chunks)-1]
			last.Hash = ledger.Sum(c[uint64(len(c))-last.Size:])
			return c
		}),
		"cut":                forge(40, func(m *snapshot.Manifest, c []byte) []byte { return c[:len(c)-5] }),
		"rows of an old one": forge(40, func(m *snapshot.Manifest, c []byte) []byte { return oldRows(t, h, m, c) }),
		"a wrong state root": forge(40, func(m *snapshot.Manifest, c []byte) []byte { m.Header.Header.StateRoot[3] ^= 1; resealed(m); return c }),
		"a height to come":   forge(40, func(m *snapshot.Manifest, c []byte) []byte { m.Header.Header.Height += 1000; resealed(m); return c }),
		"a state to come": forge(40, func(m *snapshot.Manifest, c []byte) []byte {
			m.Header.Header.ExecHeight = 47
			m.Header.Header.Height = 48
			resealed(m)
			return c
		}),
		"a time of its own":  forge(40, func(m *snapshot.Manifest, c []byte) []byte { m.Time++; return c }),
		"of another network": other.snapshots,
	}
}

// oldRows puts the chunks of an older snapshot under the manifest of a newer one.
func oldRows(t *testing.T, h *history, m *snapshot.Manifest, _ []byte) []byte {
	t.Helper()
	old, err := h.snapshots.Manifest(20)
	if err != nil {
		t.Fatal(err)
	}
	c, err := os.ReadFile(filepath.Join(snapshotPath(h, 20), "chunks"))
	if err != nil {
		t.Fatal(err)
	}
	m.Chunks = old.Chunks
	m.Header.Header.ReceiptsSize = old.Header.Header.ReceiptsSize
	m.Header.Certificate = *ledgertest.Certify(h.chain.Genesis, &m.Header.Header)
	return c
}

// A forged snapshot is refused, the peer named, and another peer's is taken.
func TestForgedSnapshotsAreRefused(t *testing.T) {
	h := newHistory(t, 50, nil, 20, 40)
	for name, dir := range forgeries(t, h) {
		t.Run(name, func(t *testing.T) {
			h := &history{t: t, chain: h.chain, db: h.db, snapshots: h.snapshots}
			w := newWire()
			w.add("liar", h.serve(dir))
			h.joinDespite(w, 20)
		})
	}
}

func snapshotPath(h *history, at ledger.Height) string {
	f, err := h.snapshots.File(at)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	return f.Dir()
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Interrupted at any request, joining goes on where it was.
func TestJoinGoesOnAfterInterruption(t *testing.T) {
	h := newHistory(t, 40, map[int]bool{7: true, 20: true}, 30)
	a := h.serve(h.snapshots)
	count := func() int {
		w := newWire()
		w.add("a", a)
		if err := h.newcomer().join(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		return w.asked
	}()
	for stop := 1; stop <= count; stop++ {
		n := h.newcomer()
		tries := 0
		for ; ; tries++ {
			if tries > 2*count {
				t.Fatalf("interrupted at every request %d it never ends", stop)
			}
			w := newWire()
			w.add("a", a)
			ctx, cancel := context.WithCancel(t.Context())
			w.cut = cancel
			if tries == 0 {
				w.stop = stop
			}
			err := n.join(ctx, w)
			cancel()
			if err == nil {
				break
			}
			if tries > 0 {
				t.Fatalf("interrupted at request %d, then: %v\n%s", stop, err, &n.log)
			}
		}
		n.check(30)
	}
}

// A crash at any step of the adoption leaves the old state or the new one.
func TestAdoptionSurvivesACrash(t *testing.T) {
	make := func(t *testing.T, there ...string) string {
		dir := filepath.Join(t.TempDir(), "state")
		for _, suffix := range there {
			if err := errors.Join(os.Mkdir(dir+suffix, 0o700), os.WriteFile(filepath.Join(dir+suffix, "which"), []byte(suffix), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for name, tt := range map[string]struct {
		there []string
		want  string
	}{
		"nothing":                {nil, ""},
		"before":                 {[]string{""}, ""},
		"while restoring":        {[]string{"", freshSuffix}, ""},
		"ready":                  {[]string{"", readySuffix}, ""},
		"old one moved away":     {[]string{oldSuffix, readySuffix}, readySuffix},
		"new one in place":       {[]string{"", oldSuffix}, ""},
		"there was no old state": {[]string{readySuffix}, readySuffix},
	} {
		t.Run(name, func(t *testing.T) {
			dir := make(t, tt.there...)
			if err := Recover(dir); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, "which"))
			if len(tt.there) == 0 {
				if !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Fatalf("state is %q, %v; want %q", got, err, tt.want)
			}
			if _, err := os.Stat(dir + oldSuffix); !errors.Is(err, os.ErrNotExist) {
				t.Error("the old state is still there")
			}
		})
	}
}

// A state that was not restored to its end is none, also where the old one is gone:
// an operator has removed it to have it made again.
func TestAnUnfinishedStateIsNotAdopted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir+freshSuffix, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Recover(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("an unfinished state was adopted: %v", err)
	}
}

// Without a snapshot of anybody joining says so; a node that has headers alone
// then takes the bodies if somebody keeps them.
func TestJoinWithoutASnapshot(t *testing.T) {
	h := newHistory(t, 20, map[int]bool{9: true})
	none := snapshot.Open(t.TempDir())
	w := newWire()
	w.add("a", h.serve(none))
	n := h.newcomer()
	if err := n.join(t.Context(), w); !errors.Is(err, ErrNoSnapshot) {
		t.Fatalf("joined with %v", err)
	}
	s := n.openStore()
	var bare []*ledger.CertifiedHeader
	for i := ledger.Height(1); i < 9; i++ {
		bare = append(bare, h.certified(i))
	}
	if err := s.AppendHeaders(bare); err != nil {
		t.Fatal(err)
	}
	if !Needed(s, n.executed()) {
		t.Fatal("headers alone are enough")
	}
	s.Close()
	if err := n.join(t.Context(), w); err != nil {
		t.Fatalf("%v\n%s", err, &n.log)
	}
	n.check(0)

	pruned := h.serve(none)
	if _, err := pruned.store.Prune(15, nil); err != nil {
		t.Fatal(err)
	}
	w = newWire()
	w.add("a", pruned)
	n = h.newcomer()
	s = n.openStore()
	if err := s.AppendHeaders(bare); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := n.join(t.Context(), w); !errors.Is(err, ErrNoSnapshot) {
		t.Fatalf("joined with %v", err)
	}
}

// A snapshot that does not fit on the disk is left for another.
func TestJoinLooksForSpace(t *testing.T) {
	h := newHistory(t, 30, nil, 25)
	w := newWire()
	w.add("a", h.serve(h.snapshots))
	n := h.newcomer()
	err := n.join(t.Context(), w, func(c *Config) { c.Free = func() (uint64, error) { return 1000, nil } })
	if !errors.Is(err, ErrNoSnapshot) || !bytes.Contains(n.log.Bytes(), []byte("free on this disk")) {
		t.Fatalf("joined with %v\n%s", err, &n.log)
	}
}

// A peer that stops in the middle is left for another, and what it sent is kept.
func TestJoinChangesPeers(t *testing.T) {
	h := newHistory(t, 60, nil, 50)
	a := h.serve(h.snapshots)
	w := newWire()
	sent := 0
	w.put("weak", func(ctx context.Context, req []byte) ([]byte, error) {
		if sent++; sent > 4 {
			return nil, errors.New("gone")
		}
		return a.answer(ctx, req)
	})
	w.add("strong", a)
	n := h.newcomer()
	if err := n.join(t.Context(), w); err != nil {
		t.Fatalf("%v\n%s", err, &n.log)
	}
	n.check(50)
}
