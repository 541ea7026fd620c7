package snapshot_test

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
)

var consents = flag.Int("consents", 2_000, "consents in the state of the benchmarks")

// BenchmarkSnapshot measures writing a snapshot of a state and beginning from it,
// without a network. Run it with -benchtime 1x -consents 1000000.
func BenchmarkSnapshot(b *testing.B) {
	p := populate(b, *consents)
	conf := ledgertest.Config(4)
	header := certify(conf.Hash(), conf, p.height+1, p.height, p.roots)
	base := b.TempDir()
	var write, restore time.Duration
	var size, raw uint64
	var heap uint64
	for b.Loop() {
		made := filepath.Join(base, "made")
		source := snapshot.Open(made)
		if _, err := source.Write(b.Context(), snapshot.WriteConfig{ChainID: conf.Hash(), Header: header, Source: p}); err != nil {
			b.Fatal(err)
		}
		stateDir := filepath.Join(base, "state")
		runtime.GC()
		begin := time.Now()
		peak := watchHeap(b)
		restoreFile(b, source, p, conf, stateDir)
		restore += time.Since(begin)
		heap = max(heap, peak())
		db, err := state.Open(b.Context(), state.Config{Dir: stateDir, ChainID: conf.Hash()})
		if err != nil {
			b.Fatal(err)
		}
		again := snapshot.Open(filepath.Join(base, "again"))
		begin = time.Now()
		f, err := db.Freeze(p.height)
		if err != nil {
			b.Fatal(err)
		}
		m, err := again.Write(b.Context(), snapshot.WriteConfig{ChainID: conf.Hash(), Header: header, Source: f})
		if err != nil {
			b.Fatal(err)
		}
		write += time.Since(begin)
		size, raw = m.Bytes()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		for _, dir := range []string{"made", "again", "state"} {
			if err := os.RemoveAll(filepath.Join(base, dir)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(write.Seconds()/float64(b.N), "s/write")
	b.ReportMetric(restore.Seconds()/float64(b.N), "s/restore")
	b.ReportMetric(float64(size)/1e6, "MB")
	b.ReportMetric(float64(raw)/1e6, "MB-raw")
	b.ReportMetric(float64(heap)/1e6, "MB-heap")
}

// watchHeap samples the heap until the function it returns is called.
func watchHeap(t testing.TB) func() uint64 {
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		top := uint64(0)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			top = max(top, m.HeapAlloc)
			select {
			case <-tick.C:
			case <-stop:
				peak <- top
				return
			}
		}
	}()
	return func() uint64 { close(stop); return <-peak }
}

func restoreFile(t testing.TB, d *snapshot.Dir, p *population, conf *ledger.Config, dir string) {
	t.Helper()
	f, err := d.File(p.height)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = f.Restore(t.Context(), snapshot.RestoreConfig{
		State: state.Config{Dir: dir, ChainID: conf.Hash()}, Scratch: t.TempDir(), Time: p.Time(),
		TimeOf: func(h ledger.Height) (uint64, error) { return timeOf(h), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
}
