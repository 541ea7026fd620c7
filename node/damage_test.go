package node

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/network/memnet"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/outbox"
)

// kept is the data directory of a validator and bank that was stopped, with every
// kind of file in it, and what verifying it finds.
type kept struct {
	*cluster
	bank  *peer
	whole Verified
}

func keep(t *testing.T) *kept {
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank := c.node(harbour)
	who := &c.customers[0]
	a := c.agree(harbour, notice, who.identity, true)
	a.ask(everLate)
	bank.restart() // turns the journals of before into tables
	a.ask(incomeBand)
	c.converge(c.nodes...)
	if _, err := bank.node.writeSnapshot(t.Context(), func(VerifyProgress) {}); err != nil {
		t.Fatal(err)
	}
	bank.stop()
	k := &kept{cluster: c, bank: bank}
	var err error
	if k.whole, err = Verify(t.Context(), k.copied(t), nil); err != nil { // of a copy: opening moves journals into tables
		t.Fatal(err)
	}
	if k.whole.Snapshots != 1 {
		t.Fatalf("%d snapshots were checked", k.whole.Snapshots)
	}
	if k.whole.Private != "every byte" {
		t.Fatalf("private.db was checked by %s", k.whole.Private)
	}
	return k
}

// copied is the configuration of a copy of the node.
func (k *kept) copied(t *testing.T) config.Config {
	t.Helper()
	cfg := k.bank.cfg
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	if err := copyData(cfg.DataDir, k.bank.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// start opens a node and closes it again.
func (k *kept) start(cfg config.Config) error {
	n, err := Open(k.t.Context(), Options{
		Config: cfg, Password: keys.Fixed(password), Version: "test", Logger: slog.New(slog.DiscardHandler),
		Network: func(_ context.Context, cfg network.Config) (Host, error) {
			return k.wires.Open(memnet.Config{ID: k.bank.id(), Limits: cfg.Limits, Logger: cfg.Logger})
		},
	})
	if err != nil {
		return err
	}
	return n.Close()
}

// biggest returns the largest file that matches.
func biggest(t *testing.T, dir, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file %s (%v)", pattern, err)
	}
	best, most := "", int64(-1)
	for _, p := range paths {
		if fi, err := os.Stat(p); err == nil && fi.Size() > most {
			best, most = p, fi.Size()
		}
	}
	return best
}

var harms = []struct {
	name string
	do   func(t *testing.T, rng *rand.Rand, path string)
}{
	{"a flipped bit", func(t *testing.T, rng *rand.Rand, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			t.Fatalf("%s is empty: the test harms nothing", path)
		}
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}},
	{"cut", func(t *testing.T, rng *rand.Rand, path string) {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, rng.Int64N(fi.Size())); err != nil {
			t.Fatal(err)
		}
	}},
	{"missing", func(t *testing.T, _ *rand.Rand, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}},
}

// TestVerifyFindsDamageInEveryKindOfFile harms each kind of file at random places.
// What passes must be what nothing depends on: verifying executes every block again
// and compares every row, so a pass with the same result says that no content changed.
func TestVerifyFindsDamageInEveryKindOfFile(t *testing.T) {
	k := keep(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, file := range []struct {
		pattern string
		sure    bool // every harm must be found
		may     string
	}{
		{"blocks/*.ldb", false, "bytes between the tables' blocks are not read"},
		{"blocks/*.log", false, "a journal that was taken over into a table is not read again"},
		{"blocks/MANIFEST-*", false, "records of files that are gone; a cut one is a torn end if the files are found"},
		{"blocks/CURRENT", true, ""},
		{"state/*.ldb", false, "bytes between the tables' blocks are not read"},
		{"state/*.log", false, "a torn flush: the blocks are executed again"},
		{"state/MANIFEST-*", false, "as for the blocks"},
		{"state/CURRENT", true, ""},
		{"wal/*/*.wal", false, "a cut cannot be told from a crash before a vote"},
		{privateFile, true, ""},
		{"snapshots/*/chunks", true, ""},
		{"snapshots/*/manifest", true, ""},
		{privateFile + ".sums", false, "it is no data: then the form alone is checked"},
	} {
		found, passed := 0, 0
		for _, harm := range harms {
			rounds := 3
			if harm.name == "missing" {
				rounds = 1
			}
			for range rounds {
				cfg := k.copied(t)
				path := biggest(t, cfg.DataDir, file.pattern)
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				harm.do(t, rng, path)
				v, err := Verify(t.Context(), cfg, nil)
				switch {
				case err != nil:
					found++
					if !remedied(err.Error()) {
						t.Errorf("%s, %s: the error says nothing to do: %v", file.pattern, harm.name, err)
					}
				case file.sure && !samePointer(path, whole) || v.Blocks != k.whole.Blocks || v.ChainID != k.whole.ChainID:
					t.Errorf("%s, %s: %s passed unnoticed: %+v, it was %+v", file.pattern, harm.name, filepath.Base(path), v, k.whole)
				default:
					passed++
				}
			}
		}
		t.Logf("%-18s %d found, %d passed %s", file.pattern, found, passed, file.may)
	}
}

// samePointer reports whether a harmed CURRENT still names the same manifest, as the
// database reads it: a space in the place of the number's first zero is skipped.
func samePointer(path string, whole []byte) bool {
	now, err := os.ReadFile(path)
	return err == nil && filepath.Base(path) == "CURRENT" && bytes.Equal(bytes.Replace(now, []byte("- "), []byte("-0"), 1), whole)
}

func TestOnlyASpaceForAZeroLeavesAPointerAsItWas(t *testing.T) {
	path, whole := filepath.Join(t.TempDir(), "CURRENT"), []byte("MANIFEST-000004\n")
	for text, want := range map[string]bool{"MANIFEST- 00004\n": true, "MANIFEST-0 0004\n": false, "MANIFEST-000005\n": false, "MANIFEST-000004": false, "": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := samePointer(path, whole); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// Every byte of a snapshot's manifest counts, its certificate's too: other nodes go
// by it.
func TestEveryByteOfAManifestCounts(t *testing.T) {
	k := keep(t)
	cfg := k.copied(t)
	path := biggest(t, cfg.DataDir, "snapshots/*/manifest")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func() error {
		_, err := VerifySnapshot(t.Context(), cfg, 0, func(VerifyProgress) {})
		return err
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if i%5 != 0 && i < len(whole)-80 { // the last bytes are a vote's
			continue
		}
		bad := slices.Clone(whole)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if check() == nil {
			t.Errorf("a bit of byte %d of %d passed unnoticed", i, len(whole))
		}
	}
}

// remedied reports whether an error tells its reader what to do.
func remedied(text string) bool {
	for _, word := range []string{"restore", "start again", "start the node", "admit a new vote key", "correct", "create the node", "run the release", "free", "move"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// A node does not start on what it cannot mend, and mends what it can.
func TestNodeDoesNotStartOnDamage(t *testing.T) {
	k := keep(t)
	swap := func(t *testing.T, path string, f func([]byte)) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f(b)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		harm func(t *testing.T, dir string)
		want error // nil: it heals
	}{
		"nothing": {func(*testing.T, string) {}, nil},
		"a bit of the private database": {func(t *testing.T, dir string) {
			swap(t, filepath.Join(dir, privateFile), func(b []byte) { b[len(b)/2] ^= 1 })
		}, outbox.ErrDamaged},
		"no private database": {func(t *testing.T, dir string) {
			for _, name := range []string{privateFile, privateFile + ".sums"} {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}, errNoPrivate},
		"another network's private database": {func(t *testing.T, dir string) {
			p, err := outbox.OpenPrivate(t.Context(), filepath.Join(dir, privateFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Do(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec(`UPDATE node_about SET chain = ?`, make([]byte, 32))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}, errOtherPrivate},
		"no state": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, stateDir)); err != nil {
				t.Fatal(err)
			}
		}, nil},
	} {
		cfg := k.copied(t)
		tc.harm(t, cfg.DataDir)
		if err := k.start(cfg); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// A disk without room, or without a directory, is named before anything else.
func TestVerifyNamesTheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := verifyDisk(dir); err == nil || !strings.Contains(err.Error(), "correct dataDir") {
		t.Errorf("a missing directory: %v", err)
	}
	if err := verifyDisk("/proc"); err == nil || !remedied(err.Error()) && !strings.Contains(err.Error(), "replace it") {
		t.Errorf("a directory that takes no file: %v", err)
	}
	if os.Geteuid() != 0 { // root may write anywhere
		shut := t.TempDir()
		if err := os.Chmod(shut, 0o500); err != nil {
			t.Fatal(err)
		}
		if err := verifyDisk(shut); err == nil || !strings.Contains(err.Error(), "own user") {
			t.Errorf("a directory of somebody else's: %v", err)
		}
	}
	if err := verifyDisk(t.TempDir()); err != nil {
		t.Error(err)
	}
}
