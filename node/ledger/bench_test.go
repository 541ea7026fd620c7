package ledger_test

import (
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// BenchmarkAdmitTransaction decodes, names and verifies a transaction of about
// 600 bytes.
func BenchmarkAdmitTransaction(b *testing.B) {
	c := ledgertest.NewChain(ledgertest.Config(4))
	req := c.Transaction(make([]byte, 350))
	chain := c.ChainID()
	b.ReportAllocs()
	for b.Loop() {
		t, err := ledger.DecodeTransaction(req)
		if err != nil {
			b.Fatal(err)
		}
		if err := t.Verify(chain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeTransaction(b *testing.B) {
	c := ledgertest.NewChain(ledgertest.Config(4))
	req := c.Transaction(make([]byte, 350))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.DecodeTransaction(req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignTransaction(b *testing.B) {
	c := ledgertest.NewChain(ledgertest.Config(4))
	b.ReportAllocs()
	for b.Loop() {
		c.Transaction(make([]byte, 350))
	}
}

func BenchmarkEncodeHeader(b *testing.B) {
	h := ledgertest.NewChain(ledgertest.Config(4)).Grow(1).Tip().Header
	b.ReportAllocs()
	for b.Loop() {
		h.Encode()
	}
}

func BenchmarkHashHeader(b *testing.B) {
	h := ledgertest.NewChain(ledgertest.Config(4)).Grow(1).Tip().Header
	b.ReportAllocs()
	for b.Loop() {
		h.Hash()
	}
}

func BenchmarkVerifyCertificate(b *testing.B) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Config.VerifyCertificate(&c.Tip().Header, c.Certs[1]); err != nil {
			b.Fatal(err)
		}
	}
}

// blockOf returns a block of n transactions of about 600 bytes.
func blockOf(n int) (*ledgertest.Chain, *ledger.Block) {
	c := ledgertest.NewChain(ledgertest.Config(4))
	reqs := make([][]byte, n)
	for i := range reqs {
		reqs[i] = c.Transaction(make([]byte, 350))
	}
	b, _ := c.Extend(reqs...)
	return c, b
}

func BenchmarkTxRoot1000(b *testing.B) {
	_, block := blockOf(1000)
	b.ReportAllocs()
	for b.Loop() {
		ledger.TxRoot(block.Requests)
	}
}

func BenchmarkDecodeBlock1000(b *testing.B) {
	_, block := blockOf(1000)
	enc := block.Encode()
	b.ReportAllocs()
	b.SetBytes(int64(len(enc)))
	for b.Loop() {
		if _, err := ledger.DecodeBlock(enc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckContent1000(b *testing.B) {
	c, block := blockOf(1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := block.CheckContent(c.Config); err != nil {
			b.Fatal(err)
		}
	}
}
