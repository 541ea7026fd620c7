package state

import (
	"fmt"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// crashBlocks is how many blocks the crash tests execute.
const crashBlocks = 24

// What a crash may leave of a file that was being written.
var crashes = map[string]func(f, last *file, size int) int{
	"process killed": func(f, _ *file, _ int) int { return len(f.data) },
	"power lost":     func(f, _ *file, _ int) int { return f.synced },
	"write torn": func(f, last *file, size int) int {
		if f == last {
			return max(f.synced, len(f.data)-size/2-1)
		}
		return len(f.data)
	},
}

// A crash at any write loses at most the blocks since the last flush;
// executing them again gives the same roots.
func TestCrashAtEveryWrite(t *testing.T) {
	s := script{seed: 11, keys: 30, batches: true}
	for name, keep := range crashes {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.FlushBlocks = 2
			d := newDisk()
			var images []*disk
			db := mustCreate(t, cfg, d)
			d.onWrite = func(d *disk, last *file, size int) {
				images = append(images, d.image(func(f *file) int { return keep(f, last, size) }))
			}
			var want []Roots
			for h := range ledger.Height(crashBlocks) {
				want = append(want, s.run(t, db, h))
				if _, err := db.FlushIfDue(1); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, db)
			if len(images) < 12 {
				t.Fatalf("only %d moments to crash at", len(images))
			}
			for i, image := range images {
				recoverImage(t, fmt.Sprintf("image %d", i), cfg, image, s, want)
			}
		})
	}
}

// The same when flushes are written as tables.
func TestCrashDuringBulkFlush(t *testing.T) {
	s := script{seed: 12, keys: 30}
	cfg := testConfig()
	cfg.FlushBlocks = 1000
	for name, keep := range crashes {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			db := mustCreate(t, cfg, d)
			var want []Roots
			var images []*disk
			for h := range ledger.Height(crashBlocks) {
				want = append(want, s.run(t, db, h))
				if h%8 != 7 {
					continue
				}
				db.layer.bytes = bulkBytes // as if it were that much
				d.mu.Lock()
				d.onWrite = func(d *disk, last *file, size int) {
					images = append(images, d.image(func(f *file) int { return keep(f, last, size) }))
				}
				d.mu.Unlock()
				mustFlush(t, db)
				d.mu.Lock()
				d.onWrite = nil
				d.mu.Unlock()
			}
			mustClose(t, db)
			if len(images) < 6 {
				t.Fatalf("only %d moments to crash at", len(images))
			}
			for i, image := range images {
				recoverImage(t, fmt.Sprintf("image %d", i), cfg, image, s, want)
			}
		})
	}
}

// The same while the database recovers from an earlier crash.
func TestCrashDuringRecovery(t *testing.T) {
	s := script{seed: 13, keys: 30}
	cfg := testConfig()
	d := newDisk()
	db := mustCreate(t, cfg, d)
	var want []Roots
	for h := range ledger.Height(crashBlocks) {
		want = append(want, s.run(t, db, h))
		if h%4 == 3 {
			mustFlush(t, db)
		}
	}
	crashed := d.image(func(f *file) int { return f.synced })
	mustClose(t, db)
	var images []*disk
	crashed.onWrite = func(d *disk, last *file, size int) {
		for _, keep := range crashes {
			images = append(images, d.image(func(f *file) int { return keep(f, last, size) }))
		}
	}
	recoverImage(t, "first", cfg, crashed, s, want)
	if len(images) < 6 {
		t.Fatalf("only %d moments to crash at", len(images))
	}
	for i, image := range images {
		recoverImage(t, fmt.Sprintf("image %d", i), cfg, image, s, want)
	}
}

// recoverImage opens what a crash left, checks it and brings it up to date.
func recoverImage(t *testing.T, what string, cfg Config, image *disk, s script, want []Roots) {
	t.Helper()
	db, err := open(fill(t, cfg), image)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer mustClose(t, db)
	mustVerify(t, db)
	if h, r, ok := db.Executed(); ok && r != want[h] {
		t.Fatalf("%s: after the crash height %d has roots %v, want %v", what, h, r, want[h])
	}
	for h := next(db); int(h) < len(want); h++ {
		if r := s.run(t, db, h); r != want[h] {
			t.Fatalf("%s: executed again, height %d has roots %v, want %v", what, h, r, want[h])
		}
	}
	mustFlush(t, db)
	mustVerify(t, db)
}
