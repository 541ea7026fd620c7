package executor

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
)

// BenchmarkRequest measures one permitted access.Request with everything the
// node does for it after ordering: contract call, write set, trie, receipt
// leaf, rows, and its share of flushes. Blocks hold 100 requests over random
// consents.
func BenchmarkRequest(b *testing.B) {
	for _, consents := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("consents=%d", consents), func(b *testing.B) { benchmarkRequest(b, consents, 100) })
	}
}

func benchmarkRequest(b *testing.B, consents, perBlock int) {
	n := newNetwork(b, Contracts{})
	n.found()
	fill(n, consents)
	specs := make([]string, consents)
	for i := range specs {
		specs[i] = requestSpec(b, strconv.Itoa(i))
	}
	if err := n.db.Flush(); err != nil {
		b.Fatal(err)
	}
	before, cpu := written(b), time.Duration(0)
	clock := uint64(1)
	seed := uint32(1)
	requests := 0
	b.ReportAllocs()
	b.ResetTimer()
	for requests < b.N {
		b.StopTimer()
		for range perBlock {
			seed = seed*1664525 + 1013904223
			n.add("lender-a", "lender-a-app", "access", "Request", specs[int(seed>>8)%consents])
		}
		n.time += 20
		blk, txs := n.block(), n.txs
		n.txs = nil
		b.StartTimer()
		began := cpuTime(b)
		r, err := n.exec.Execute(blk, txs)
		if err != nil {
			b.Fatal(err)
		}
		n.next++
		n.db.SetCertified(r.Height)
		clock += 40 // 2,500 requests a second
		if _, err := n.db.FlushIfDue(clock); err != nil {
			b.Fatal(err)
		}
		cpu += cpuTime(b) - began
		b.StopTimer()
		for _, o := range r.Outcomes {
			if o.Code != string(record.OK) {
				b.Fatal(o.Code, o.Message)
			}
		}
		b.StartTimer()
		requests += perBlock
	}
	b.StopTimer()
	if s, err := n.db.Stats(); err == nil {
		b.Logf("%+v", s)
	}
	var m runtime.MemStats
	specs, n.blocks = nil, nil
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapInuse)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(requests), "cpu-ns/op")
	b.ReportMetric(float64(written(b)-before)/float64(requests), "disk-B/op")
}

// fill creates and authorises consents in large blocks.
func fill(n *network, consents int) {
	for done := 0; done < consents; done += 500 {
		for i := done; i < min(done+500, consents); i++ {
			n.addCreate(strconv.Itoa(i), record.MaxUses, record.MaxUses)
		}
		for _, o := range n.commit().Outcomes {
			if o.Code != "OK" {
				n.t.Fatal(o.Code, o.Message)
			}
		}
		for i := done; i < min(done+500, consents); i++ {
			n.addAuthorise(strconv.Itoa(i), record.MaxUses, record.MaxUses)
		}
		for _, o := range n.commit().Outcomes {
			if o.Code != "OK" {
				n.t.Fatal(o.Code, o.Message)
			}
		}
		n.db.SetCertified(n.next - 1)
		if err := n.db.Flush(); err != nil {
			n.t.Fatal(err)
		}
		n.blocks = nil
	}
}

// cpuTime returns what the process has used of all processors: on a shared
// machine the clock says little.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// written returns the bytes this process has written to files so far.
func written(tb testing.TB) uint64 {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		tb.Log("bytes written are not known here:", err)
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "wchar: "); ok {
			v, err := strconv.ParseUint(rest, 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return v
		}
	}
	return 0
}
