package audit

import "testing"

// 100,000 records in 100 blocks; the metric is per record.
func BenchmarkExport(b *testing.B) {
	w := newWorld("bench", 102, 1000)
	b.ReportAllocs()
	for b.Loop() {
		w.export(b, 1, 100, "")
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100_000, "µs/record")
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld("bench", 102, 1000)
	f := w.export(b, 1, 100, "")
	size := 0
	for _, c := range f {
		size += len(c)
	}
	b.ReportAllocs()
	for b.Loop() {
		if v, err := f.verify(w.genesis); err != nil || v.Records != 100_000 {
			b.Fatal(v, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100_000, "µs/record")
	b.ReportMetric(float64(size)/100_000, "B/record")
}
