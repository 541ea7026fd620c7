package store

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// based is a chain with configs at 7, 14 and 21, of which the tests keep parts.
func based(t *testing.T) (*Store, *ledgertest.Chain, string) {
	t.Helper()
	c := crashChain(25)
	dir := filepath.Join(t.TempDir(), "blocks")
	s, err := Create(dir, c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, c, dir
}

func certifiedOf(c *ledgertest.Chain, from, to ledger.Height) []*ledger.CertifiedHeader {
	var out []*ledger.CertifiedHeader
	for h := from; h <= to; h++ {
		out = append(out, &ledger.CertifiedHeader{Header: c.Blocks[h].Header, Certificate: *c.Certs[h]})
	}
	return out
}

// wantBodies checks what is kept: every header and certificate, config blocks, and
// bodies from base on.
func wantBodies(t *testing.T, s *Store, c *ledgertest.Chain, base ledger.Height) {
	t.Helper()
	if s.Base() != base {
		t.Errorf("base is %d, want %d", s.Base(), base)
	}
	for h := ledger.Height(1); h <= s.Tip().Height; h++ {
		if ch, err := s.Certified(h); err != nil || ch.Header != c.Blocks[h].Header {
			t.Fatalf("header %d: %v, %v", h, ch, err)
		}
		b, err := s.Block(h)
		if kept := h >= base || h%7 == 0; kept && (err != nil || b.Header != c.Blocks[h].Header) || !kept && !errors.Is(err, ErrPruned) {
			t.Errorf("block %d with base %d: %v", h, base, err)
		}
	}
	for seq := range uint64(len(s.ConfigHeights())) {
		if seq > 0 {
			if _, err := s.ConfigProof(seq); err != nil {
				t.Error(err)
			}
		}
	}
	if err := s.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestPruneKeepsHeadersAndConfigBlocks(t *testing.T) {
	s, c, dir := based(t)
	if _, err := fill(s, c); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, s, c, 0)
	if n, err := s.Prune(10, nil); err != nil || n != 8 { // 1 to 9 without 7
		t.Fatalf("pruned %d, %v", n, err)
	}
	wantBodies(t, s, c, 10)
	s = reopen(t, s, dir)
	wantBodies(t, s, c, 10)
	if n, err := s.Prune(5, nil); err != nil || n != 0 { // nothing comes back
		t.Fatalf("pruned %d, %v", n, err)
	}
	// Interrupted at once: what is asked for is gone all the same, and the next
	// call goes on.
	if n, err := s.Prune(20, func() bool { return false }); err != nil || n != 0 {
		t.Fatalf("pruned %d, %v", n, err)
	}
	s = reopen(t, s, dir)
	if s.Base() != 20 {
		t.Fatalf("base is %d", s.Base())
	}
	if n, err := s.Prune(20, nil); err != nil || n != 9 { // 10 to 19 without 14
		t.Fatalf("pruned %d, %v", n, err)
	}
	wantBodies(t, s, c, 20)
	if _, err := s.Prune(s.Tip().Height+1, nil); err == nil {
		t.Error("pruned the tip")
	}
	if _, err := s.Prune(s.Tip().Height, nil); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, dir)
	wantBodies(t, s, c, 25)
}

func TestHeadersThenBodies(t *testing.T) {
	s, c, dir := based(t)
	if err := s.AppendHeaders(certifiedOf(c, 1, 6)); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(c.Blocks[7], c.Certs[7]); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendHeaders(certifiedOf(c, 8, 13)); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, dir)
	wantBodies(t, s, c, 14)
	for h := 14; h <= 25; h++ {
		if err := s.Append(c.Blocks[h], c.Certs[h]); err != nil {
			t.Fatal(err)
		}
	}
	wantBodies(t, s, c, 14)

	if err := s.Fill(c.Blocks[9:11]); err != nil {
		t.Fatal(err)
	}
	if next, ok := s.Filled(9); !ok || next != 11 || s.Base() != 14 {
		t.Fatalf("goes on with %d, %v; base %d", next, ok, s.Base())
	}
	s = reopen(t, s, dir)
	if next, ok := s.Filled(9); !ok || next != 11 {
		t.Fatalf("after opening it goes on with %d, %v", next, ok)
	}
	if _, ok := s.Filled(5); ok {
		t.Fatal("a fill from elsewhere was begun")
	}
	if err := s.Fill(c.Blocks[11:14]); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, s, c, 9)
	s = reopen(t, s, dir)
	if err := s.Fill(c.Blocks[1:9]); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, s, c, 1)
}

func TestWrongHeadersAndBodiesAreRefused(t *testing.T) {
	s, c, _ := based(t)
	other := ledgertest.NewChain(c.Genesis)
	other.Extend(other.Transaction([]byte("another")))
	for name, chs := range map[string][]*ledger.CertifiedHeader{
		"a gap":                 certifiedOf(c, 2, 3),
		"a gap within":          {certifiedOf(c, 1, 1)[0], certifiedOf(c, 3, 3)[0]},
		"another's certificate": {{Header: c.Blocks[1].Header, Certificate: *c.Certs[2]}},
		"another chain above":   {certifiedOf(other, 1, 1)[0], certifiedOf(c, 2, 2)[0]},
	} {
		if err := s.AppendHeaders(chs); err == nil || s.Tip().Height != 0 {
			t.Errorf("%s: %v, tip %d", name, err, s.Tip().Height)
		}
	}
	if err := s.AppendHeaders(certifiedOf(c, 1, 6)); err != nil {
		t.Fatal(err)
	}
	swapped := *c.Blocks[2]
	swapped.Requests = c.Blocks[3].Requests
	for name, blocks := range map[string][]*ledger.Block{
		"genesis":        {c.Blocks[0]},
		"above the base": {c.Blocks[7]},
		"another chain":  {other.Blocks[1]},
		"another body":   {&swapped},
		"the second is":  {c.Blocks[1], other.Blocks[1]},
	} {
		if err := s.Fill(blocks); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, ok := s.Filled(1); ok || s.Base() != 7 {
		t.Errorf("something was filled, base %d", s.Base())
	}
	wantBodies(t, s, c, 7)
}
