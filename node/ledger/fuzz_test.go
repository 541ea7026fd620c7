package ledger_test

import (
	"bytes"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// encoder is what every decoded object is.
type encoder interface{ Encode() []byte }

// fuzzDecoder checks that decode never panics and that what it accepts has one
// encoding; then use gets the object.
func fuzzDecoder[T encoder](f *testing.F, decode func([]byte) (T, error), use func(T), seeds ...[]byte) {
	f.Helper()
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if err != nil {
			return
		}
		if got := v.Encode(); !bytes.Equal(got, b) {
			t.Fatalf("%x was decoded and encoded as %x", b, got)
		}
		if use != nil {
			use(v)
		}
	})
}

func FuzzTransaction(f *testing.F) {
	seeds := [][]byte{signed(f, vectorPayload()).Encode(), signed(f, vectorPayload([]byte("a"), nil)).Encode()}
	for _, bad := range refusedTransactions(f) {
		seeds = append(seeds, bad.bytes)
	}
	fuzzDecoder(f, ledger.DecodeTransaction, func(t *ledger.Transaction) { _ = t.Verify(t.Payload.ChainID) }, seeds...)
}

func FuzzConfig(f *testing.F) {
	fuzzDecoder(f, ledger.DecodeConfig, func(c *ledger.Config) { ledger.Genesis(c) },
		ledgertest.Config(1).Encode(), ledgertest.Config(4).Encode())
}

func FuzzUpdate(f *testing.F) {
	c := ledgertest.Config(2)
	fuzzDecoder(f, ledger.DecodeUpdate, func(u *ledger.Update) { _ = u.Verify(c.Hash(), c) },
		ledgertest.Update(c.Hash(), c, change).Encode())
}

func FuzzSeal(f *testing.F) {
	c := vectorChain(f)
	fuzzDecoder(f, ledger.DecodeSeal, func(s *ledger.Seal) { _ = s.Verify(s.ChainID, c.Genesis) }, c.Blocks[1].Requests[2])
}

func FuzzStatus(f *testing.F) {
	s := &ledger.Status{ChainID: ledger.Sum(nil), Height: 5, Voted: 6}
	if err := s.Sign(ledgertest.VoteKey(1)); err != nil {
		f.Fatal(err)
	}
	c := ledgertest.Config(4)
	fuzzDecoder(f, ledger.DecodeStatus, func(s *ledger.Status) { _ = s.Verify(s.ChainID, s.Nonce, c, 1) }, s.Encode())
}

func FuzzHeader(f *testing.F) {
	c := vectorChain(f)
	fuzzDecoder(f, ledger.DecodeHeader, func(h *ledger.Header) { _ = h.Follows(&c.Blocks[1].Header, c.Genesis) }, c.Blocks[2].Header.Encode())
}

func FuzzBlock(f *testing.F) {
	c := vectorChain(f)
	fuzzDecoder(f, ledger.DecodeBlock, func(b *ledger.Block) { _, _ = b.CheckContent(c.Genesis) },
		c.Blocks[0].Encode(), c.Blocks[1].Encode(), c.Blocks[2].Encode())
}

// requests makes a list of requests an encoder.
type requests [][]byte

func (r requests) Encode() []byte { return ledger.EncodeRequests(r) }

func FuzzRequests(f *testing.F) {
	c := vectorChain(f)
	decode := func(b []byte) (requests, error) { return ledger.DecodeRequests(b) }
	use := func(r requests) {
		ledger.TxRoot(r)
		for _, b := range r {
			ledger.KindOf(b)
			_, _ = ledger.RequestID(b)
		}
	}
	fuzzDecoder(f, decode, use, ledger.EncodeRequests(nil), ledger.EncodeRequests(c.Blocks[1].Requests))
}

func FuzzCertificate(f *testing.F) {
	c := vectorChain(f)
	use := func(cert *ledger.Certificate) { _ = c.Genesis.VerifyCertificate(&c.Blocks[1].Header, cert) }
	fuzzDecoder(f, ledger.DecodeCertificate, use, c.Certs[1].Encode(), ledgertest.CertifyBy(&c.Blocks[1].Header).Encode())
}

func FuzzReceipt(f *testing.F) {
	r := &ledger.Receipt{Code: "OK", Height: 3, Index: 1, Events: ledger.HashEvents(nil), Writes: ledger.HashWrites(nil)}
	fuzzDecoder(f, ledger.DecodeReceipt, nil, r.Encode())
}

func FuzzCertifiedHeader(f *testing.F) {
	c := vectorChain(f)
	l, err := ledger.NewLightClient(c.Genesis)
	if err != nil {
		f.Fatal(err)
	}
	fuzzDecoder(f, ledger.DecodeCertifiedHeader, func(h *ledger.CertifiedHeader) { _ = l.Verify(h) }, certified(c, 1).Encode())
}

func FuzzConfigProof(f *testing.F) {
	c := vectorChain(f)
	use := func(p *ledger.ConfigProof) {
		l, err := ledger.NewLightClient(c.Genesis)
		if err != nil {
			f.Fatal(err)
		}
		_ = l.Advance(p)
	}
	fuzzDecoder(f, ledger.DecodeConfigProof, use, configProof(c, 2).Encode())
}

// FuzzStateProof also takes the first node's hash as root, so that the walk
// reaches whatever nodes the input holds.
func FuzzStateProof(f *testing.F) {
	s := newRecords(f, manyRecords(40))
	use := func(p *ledger.StateProof) {
		_ = p.Verify(s.root)
		if len(p.Nodes) > 0 {
			_ = p.Verify(ledger.Sum(p.Nodes[0]))
		}
	}
	fuzzDecoder(f, ledger.DecodeStateProof, use, s.prove(f, "consent/rec/c1").Encode(), s.prove(f, "consent/rec/x").Encode(),
		newRecords(f, nil).prove(f, "consent/rec/x").Encode(), newRecords(f, manyRecords(1)).prove(f, "consent/rec/c0").Encode())
}

func FuzzReceiptProof(f *testing.F) {
	proofs, h := receiptLog(6)
	fuzzDecoder(f, ledger.DecodeReceiptProof, func(p *ledger.ReceiptProof) { _ = p.Verify(h) }, proofs[0].Encode(), proofs[5].Encode())
}
