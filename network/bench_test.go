package network_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/assent-network/assent/network"
)

// cluster runs n hosts that admit and dial each other, on loopback.
func cluster(b *testing.B, n int, l network.Limits, handle func(i int, c network.Class, from network.PeerID, msg []byte)) (hosts []*network.Host, ids []network.PeerID) {
	o := newOpener(l)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	b.Cleanup(func() { cancel(); wg.Wait() })
	var peers []network.Peer
	for i := range n {
		h := o.open(b, i)
		for _, c := range network.Classes() {
			h.Handle(c, func(from network.PeerID, msg []byte) { handle(i, c, from, msg) })
		}
		hosts, ids = append(hosts, h), append(ids, h.ID())
		peers = append(peers, network.Peer{ID: h.ID(), Addrs: h.Addrs(), Dial: true})
	}
	for _, h := range hosts {
		h.SetPeers(peers)
		wg.Go(func() { h.Run(ctx) })
	}
	for _, h := range hosts {
		for !slices.ContainsFunc(h.Status(), func(s network.PeerStatus) bool { return s.Connected }) || slices.ContainsFunc(h.Status(), func(s network.PeerStatus) bool { return !s.Connected }) {
			time.Sleep(time.Millisecond)
		}
	}
	return hosts, ids
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stamp is a message of size bytes that carries the time.
func stamp(size int) []byte {
	msg := make([]byte, size)
	binary.BigEndian.PutUint64(msg, uint64(time.Now().UnixNano()))
	return msg
}

// BenchmarkTxPaced sends transactions of 700 bytes at a steady rate to three
// nodes of four, as admission does: all from one node, or from each in turn. One
// operation is one transaction; cpu-µs/op is all four nodes together.
func BenchmarkTxPaced(b *testing.B) {
	for _, rate := range []int{100, 1000, 2500} {
		for _, senders := range []int{1, 4} {
			for _, pace := range []time.Duration{-1, network.DefaultLimits().TxPace} {
				b.Run(fmt.Sprintf("rate=%d/senders=%d/pace=%v", rate, senders, max(0, pace)), func(b *testing.B) {
					txPaced(b, rate, senders, pace)
				})
			}
		}
	}
}

func txPaced(b *testing.B, rate, senders int, pace time.Duration) {
	var mu sync.Mutex
	var took []time.Duration
	var received atomic.Int64
	hosts, ids := cluster(b, 4, network.Limits{TxPace: pace}, func(_ int, _ network.Class, _ network.PeerID, msg []byte) {
		d := time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(msg))))
		mu.Lock()
		took = append(took, d)
		mu.Unlock()
		received.Add(1)
	})
	began, used := time.Now(), cpu()
	n := 0
	for b.Loop() {
		if wait := time.Duration(n)*time.Second/time.Duration(rate) - time.Since(began); wait > 0 {
			time.Sleep(wait)
		}
		hosts[n%senders].Broadcast(ids, network.ClassTx, stamp(700))
		n++
	}
	for received.Load() < int64(3*n) {
		time.Sleep(100 * time.Microsecond)
	}
	used = cpu() - used
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(took)
	b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-µs/op")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkTxFlatOut sends as fast as the queues take them.
func BenchmarkTxFlatOut(b *testing.B) {
	var received atomic.Int64
	hosts, ids := cluster(b, 4, network.Limits{TxRate: 1e9, TxBurst: 1e9}, func(int, network.Class, network.PeerID, []byte) { received.Add(1) })
	msg := stamp(700)
	used := cpu()
	n := 0
	for b.Loop() {
		for received.Load() < int64(3*n)-10_000 { // less than a queue holds: nothing is lost
			time.Sleep(50 * time.Microsecond)
		}
		hosts[n%4].Broadcast(ids, network.ClassTx, msg)
		n++
	}
	for began := time.Now(); received.Load() < int64(3*n); time.Sleep(50 * time.Microsecond) {
		if time.Since(began) > 10*time.Second {
			for _, h := range hosts {
				b.Logf("%+v", h.Status())
			}
			b.Fatalf("%d of %d messages arrived", received.Load(), 3*n)
		}
	}
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(n), "cpu-µs/op")
}

// BenchmarkConsensusRound is the message pattern of one decision of four
// replicas: a proposal to three, then two rounds of everybody to everybody.
func BenchmarkConsensusRound(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 2 << 20} {
		b.Run(fmt.Sprintf("proposal=%dKiB", size>>10), func(b *testing.B) { consensusRound(b, size) })
	}
}

func consensusRound(b *testing.B, size int) {
	var hosts []*network.Host
	var ids []network.PeerID
	small := make([]byte, 200)
	decided := make(chan int, 4)
	var mu sync.Mutex
	var prepares, commits [4]int
	handle := func(i int, _ network.Class, _ network.PeerID, msg []byte) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case len(msg) == size:
			hosts[i].Broadcast(ids, network.ClassConsensus, small)
		case len(msg) == len(small):
			if prepares[i]++; prepares[i]%3 == 0 {
				hosts[i].Broadcast(ids, network.ClassConsensus, small[1:])
			}
		default:
			if commits[i]++; commits[i]%3 == 0 {
				decided <- i
			}
		}
	}
	hosts, ids = cluster(b, 4, network.Limits{}, handle)
	proposal := make([]byte, size)
	used := cpu()
	n := 0
	for b.Loop() {
		hosts[0].Broadcast(ids, network.ClassConsensus, proposal)
		hosts[0].Broadcast(ids, network.ClassConsensus, small)
		for range 4 {
			<-decided
		}
		n++
	}
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(n), "cpu-µs/op")
}

// BenchmarkRequest asks one node, one request at a time.
func BenchmarkRequest(b *testing.B) {
	o := newOpener(network.Limits{})
	client, server := o.open(b, 0), o.open(b, 1)
	server.Serve(network.ProtocolAnswer, func(_ context.Context, _ network.PeerID, req []byte) ([]byte, error) { return req, nil })
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	b.Cleanup(func() { cancel(); wg.Wait() })
	peers := []network.Peer{{ID: client.ID(), Addrs: client.Addrs(), Dial: true}, {ID: server.ID(), Addrs: server.Addrs(), Dial: true}}
	for _, h := range []*network.Host{client, server} {
		h.SetPeers(peers)
		wg.Go(func() { h.Run(ctx) })
	}
	req := make([]byte, 1024)
	if _, err := client.Request(ctx, server.ID(), network.ProtocolAnswer, req); err != nil {
		b.Fatal(err)
	}
	used := cpu()
	n := 0
	for b.Loop() {
		if _, err := client.Request(ctx, server.ID(), network.ProtocolAnswer, req); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(n), "cpu-µs/op")
}

// BenchmarkIdle holds four connected hosts for a second per operation.
func BenchmarkIdle(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	hosts, ids := cluster(b, 4, network.Limits{}, func(int, network.Class, network.PeerID, []byte) {})
	for _, h := range hosts {
		for _, c := range network.Classes() {
			h.Broadcast(ids, c, make([]byte, 100))
		}
	}
	time.Sleep(time.Second)
	used, n := cpu(), 0
	for b.Loop() {
		time.Sleep(time.Second)
		n++
	}
	used = cpu() - used
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(used.Seconds()/float64(n), "cores")
	b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/4/1024, "KiB/node")
	b.ReportMetric(float64(runtime.NumGoroutine())/4, "goroutines/node")
}
