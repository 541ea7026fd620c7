package bft

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func openDefault(s consensustest.Spec) (consensus.Engine, error) {
	cfg := config(s)
	cfg.Settings = Settings{}
	return Open(cfg)
}

// BenchmarkOneClient commits one request after the other; p50 and p99 are from
// Submit to delivery on all four replicas.
func BenchmarkOneClient(b *testing.B) {
	c := consensustest.NewCluster(b, 4, openDefault)
	c.Start()
	b.ReportAllocs()
	start := cpu()
	var took []time.Duration
	i := 0
	for b.Loop() {
		id := fmt.Sprintf("one-%d", i)
		begin := time.Now()
		c.Submit(consensus.ReplicaID(i%4+1), consensustest.Req(id, 500))
		c.AwaitApplied(id)
		took = append(took, time.Since(begin))
		i++
	}
	b.ReportMetric((cpu()-start).Seconds()*1000/float64(b.N), "cpu-s/1000")
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(took[len(took)-1].Seconds()*1000, "max-ms")
}

// BenchmarkThroughput has 64 clients, each with 8 requests under way.
func BenchmarkThroughput(b *testing.B) {
	c := consensustest.NewCluster(b, 4, openDefault)
	c.Start()
	start, begin := cpu(), time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	total := int64(b.N)
	b.ResetTimer()
	for w := range 64 {
		wg.Go(func() {
			for {
				var ids []string
				for len(ids) < 8 {
					i := next.Add(1)
					if i > total {
						break
					}
					ids = append(ids, fmt.Sprintf("many-%d", i))
					c.Submit(consensus.ReplicaID(w%4+1), consensustest.Req(ids[len(ids)-1], 500))
				}
				if len(ids) == 0 {
					return
				}
				c.AwaitApplied(ids...)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "req/s")
	b.ReportMetric((cpu()-start).Seconds()*1000/float64(b.N), "cpu-s/1000")
	b.ReportMetric(float64(b.N)/float64(c.Replica(1).App.Height()), "req/block")
}

// BenchmarkIdle reports the share of one core that four idle engines use.
func BenchmarkIdle(b *testing.B) {
	c := consensustest.NewCluster(b, 4, openDefault)
	c.Start()
	c.Submit(1, consensustest.Req("first", 100))
	c.WaitApplied(c.IDs(), "first")
	for b.Loop() {
		start := cpu()
		<-time.After(5 * time.Second)
		b.ReportMetric((cpu()-start).Seconds()/5, "cores")
	}
}
