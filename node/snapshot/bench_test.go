package snapshot_test

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
)

var consents = flag.Int("consents", 2_000, "consents in the state of the benchmarks")

// cost is what something takes of the machine. CPU seconds say the same on one
// that does other things as well.
type cost struct {
	wall, cpu time.Duration
	allocated uint64
}

func (c *cost) measure(t testing.TB, f func() error) {
	t.Helper()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin, cpu := time.Now(), cpuTime(t)
	if err := f(); err != nil {
		t.Fatal(err)
	}
	c.wall, c.cpu = c.wall+time.Since(begin), c.cpu+cpuTime(t)-cpu
	runtime.ReadMemStats(&after)
	c.allocated += after.TotalAlloc - before.TotalAlloc
}

func (c *cost) report(b *testing.B, m *snapshot.Manifest) {
	size, raw := m.Bytes()
	perMillion := 1e6 / float64(*consents) / float64(b.N)
	b.ReportMetric(0, "ns/op") // with making the state, which is nobody's cost
	b.ReportMetric(c.wall.Seconds()*perMillion, "s/Mconsents")
	b.ReportMetric(c.cpu.Seconds()*perMillion, "CPU-s/Mconsents")
	b.ReportMetric(float64(c.allocated)/1e6*perMillion, "MB-allocated/Mconsents")
	b.ReportMetric(float64(size)/1e6, "MB")
	b.ReportMetric(float64(raw)/1e6, "MB-raw")
}

func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWrite measures writing a snapshot of a state in its database, as fast
// as it goes and without a network. Run it with -benchtime 3x -consents 200000.
func BenchmarkWrite(b *testing.B) {
	p, conf, header, made := made(b)
	stateDir := filepath.Join(b.TempDir(), "state")
	restoreFile(b, made, p, conf, stateDir)
	db, err := state.Open(b.Context(), state.Config{Dir: stateDir, ChainID: conf.Hash()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	}()
	var c cost
	var m *snapshot.Manifest
	root := b.TempDir()
	for b.Loop() {
		c.measure(b, func() error {
			f, err := db.Freeze(p.height)
			if err == nil {
				m, err = snapshot.Open(root).Write(b.Context(), snapshot.WriteConfig{ChainID: conf.Hash(), Header: header, Source: f})
			}
			return err
		})
		if err := snapshot.Open(root).Remove(p.height); err != nil {
			b.Fatal(err)
		}
	}
	c.report(b, m)
}

// BenchmarkRestore measures making a state of a snapshot, with all that is
// verified, and the memory that takes.
func BenchmarkRestore(b *testing.B) {
	p, conf, _, made := made(b)
	var c cost
	var heap uint64
	stateDir := filepath.Join(b.TempDir(), "state")
	for b.Loop() {
		peak := watchHeap()
		c.measure(b, func() error { restoreFile(b, made, p, conf, stateDir); return nil })
		heap = max(heap, peak())
		if err := os.RemoveAll(stateDir); err != nil {
			b.Fatal(err)
		}
	}
	m, err := made.Manifest(p.height)
	if err != nil {
		b.Fatal(err)
	}
	c.report(b, m)
	b.ReportMetric(float64(heap)/1e6, "MB-heap")
}

// made returns a population and its snapshot.
func made(b *testing.B) (*population, *ledger.Config, *ledger.CertifiedHeader, *snapshot.Dir) {
	b.Helper()
	p, conf := populate(b, *consents), ledgertest.Config(4)
	header := certify(conf.Hash(), conf, p.height+1, p.height, p.roots)
	d := snapshot.Open(b.TempDir())
	if _, err := d.Write(b.Context(), snapshot.WriteConfig{ChainID: conf.Hash(), Header: header, Source: p}); err != nil {
		b.Fatal(err)
	}
	return p, conf, header, d
}

// watchHeap samples the heap until the function it returns is called.
func watchHeap() func() uint64 {
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
