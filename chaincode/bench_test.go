package chaincode_test

import (
	"syscall"
	"testing"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/internal/memledger"
	"github.com/assent-network/assent/chaincode/record"
)

// BenchmarkRequest is the hot path: one permitted request, through contractapi and
// as a node calls it.
func BenchmarkRequest(b *testing.B) {
	b.Run("contractapi", benchmarkRequest)
	b.Run("direct", func(b *testing.B) {
		directly(b)
		benchmarkRequest(b)
	})
}

func benchmarkRequest(b *testing.B) {
	w := newWorld(b)
	w.found()
	t := terms("c1")
	t.AccessLimits = record.AccessLimits{FrequencyPerDay: record.MaxUses, MaxUses: record.MaxUses}
	w.consent(t, "c1")
	c := w.callAs("lender-a", "lender-a-app", "access:Request", encode(b, request("c1")))
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		if r, err := w.Try(c); err != nil || r.Code != record.OK {
			b.Fatal(r.Message, err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is the processor time of this process so far, in nanoseconds: what a
// budget counts, and steadier than wall time on a shared machine.
func cpuTime(b *testing.B) int64 {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return use.Utime.Nano() + use.Stime.Nano()
}

// BenchmarkGet is a read through contractapi.
func BenchmarkGet(b *testing.B) {
	w := newWorld(b)
	w.found()
	w.consent(terms("c1"), "c1")
	id := string(consentOf("c1"))
	b.ReportAllocs()
	for b.Loop() {
		if r := w.evaluate("consent:Get", id); r.Code != record.OK {
			b.Fatal(r.Message)
		}
	}
}

// BenchmarkRefusal is a call that ends before any record is read.
func BenchmarkRefusal(b *testing.B) {
	cc, err := chaincode.New()
	if err != nil {
		b.Fatal(err)
	}
	l := memledger.New(cc, start)
	c := memledger.Call{Creator: record.SystemCreator(), Function: "access:Request", Args: []string{"{}"}}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := l.Submit(c); err != nil || r.Code != record.CodeBadRequest {
			b.Fatal(r, err)
		}
	}
}
