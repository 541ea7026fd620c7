package store

import (
	"testing"

	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// BenchmarkAppend writes blocks of 100 transactions of about 600 bytes, synced.
func BenchmarkAppend(b *testing.B) {
	c := ledgertest.NewChain(ledgertest.Config(4))
	reqs := make([][]byte, 100)
	for i := range reqs {
		reqs[i] = c.Transaction(make([]byte, 350))
	}
	s, err := Create(b.TempDir(), c.Genesis)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.SetBytes(int64(100 * len(reqs[0])))
	for b.Loop() {
		b.StopTimer()
		c.Extend(reqs...)
		h := s.Tip().Height + 1
		b.StartTimer()
		if err := s.Append(c.Blocks[h], c.Certs[h]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncoded(b *testing.B) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(500)
	s, err := Create(b.TempDir(), c.Genesis)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := fill(s, c); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if _, _, err := s.Encoded(c.Blocks[i%len(c.Blocks)].Header.Height); err != nil {
			b.Fatal(err)
		}
	}
}
