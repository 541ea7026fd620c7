package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/google/go-cmp/cmp"
	"github.com/syndtr/goleveldb/leveldb"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// goleveldb ends the drain of its pool within a second of Close, without
	// waiting for it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// stored returns a store in a new directory that holds c.
func stored(t *testing.T, c *ledgertest.Chain) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blocks")
	s, err := Create(dir, c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := fill(s, c); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func reopen(t *testing.T, s *Store, dir string) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, s.ChainID())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestReadsReturnWhatWasAppended(t *testing.T) {
	c := crashChain(20).Grow(250) // more than are kept in memory
	s, dir := stored(t, c)
	for _, when := range []string{"written", "reopened"} {
		if when == "reopened" {
			s = reopen(t, s, dir)
		}
		checkStored(t, s, c)
		tip := s.Tip()
		if tip.Height != 270 || tip.Header != c.Tip().Header || tip.Hash != c.Tip().Header.Hash() || tip.Config.Seq != c.Config.Seq {
			t.Errorf("%s: tip is %d %s under config %d", when, tip.Height, tip.Hash, tip.Config.Seq)
		}
		config := c.Genesis
		for h, want := range c.Blocks {
			h := ledger.Height(h)
			header, hash, err := s.Header(h)
			if err != nil || *header != want.Header || hash != want.Header.Hash() {
				t.Fatalf("%s: header %d is %s, %v", when, h, hash, err)
			}
			at, err := s.ConfigAt(h)
			if err != nil || at.Seq != want.Header.ConfigSeq {
				t.Fatalf("%s: config at %d: %v, %v, want %d", when, h, at, err, want.Header.ConfigSeq)
			}
			block, cert, err := s.Encoded(h)
			if err != nil || !bytes.Equal(block, want.Encode()) {
				t.Fatalf("%s: encoded block %d differs: %v", when, h, err)
			}
			if h == 0 {
				continue
			}
			if !bytes.Equal(cert, c.Certs[h].Encode()) {
				t.Fatalf("%s: encoded certificate %d differs", when, h)
			}
			got, err := s.Certificate(h)
			if err != nil || !cmp.Equal(got, c.Certs[h]) {
				t.Fatalf("%s: certificate %d: %v", when, h, err)
			}
			if u, _ := want.Update(); u != nil {
				config = u.Config
			}
		}
		if at, err := s.ConfigAt(271); err != nil || at.Seq != config.Seq {
			t.Errorf("%s: config above the tip: %v, %v", when, at, err)
		}
	}
}

func TestConfigHeightsLeadALightClient(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(3)
	c.Reconfigure(func(c *ledger.Config) { c.Validators = c.Validators[:3] })
	c.Grow(2)
	c.Reconfigure(func(c *ledger.Config) {
		c.Validators = append(c.Validators, ledgertest.Validator(9, ledgertest.MemberID(2)))
	})
	c.Grow(1)
	s, dir := stored(t, c)
	s = reopen(t, s, dir)
	if got, want := s.ConfigHeights(), []ledger.Height{0, 4, 7}; !cmp.Equal(got, want) {
		t.Fatalf("config heights are %v, want %v", got, want)
	}
	light, err := ledger.NewLightClient(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range s.ConfigHeights()[1:] {
		p, err := s.ConfigProof(uint64(seq) + 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := light.Advance(p); err != nil {
			t.Fatal(err)
		}
	}
	tip, err := s.Certified(8)
	if err != nil {
		t.Fatal(err)
	}
	if err := light.Verify(tip); err != nil {
		t.Error(err)
	}
	for seq := range uint64(3) {
		got, err := s.Config(seq)
		if err != nil || got.Seq != seq {
			t.Errorf("config %d: %v, %v", seq, got, err)
		}
	}
	for _, seq := range []uint64{0, 3} {
		if _, err := s.ConfigProof(seq); err == nil {
			t.Errorf("a proof of config %d was given", seq)
		}
	}
	if _, err := s.Config(3); err == nil {
		t.Error("config 3 was given")
	}
}

func TestAppendRefusesWhatDoesNotContinueTheLedger(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(3)
	s, _ := stored(t, c)
	good := c.Block(c.Transaction())
	change := func(f func(b *ledger.Block)) *ledger.Block {
		b := *good
		f(&b)
		return &b
	}
	other := *c.Blocks[2]
	other.Header.Time++
	update := func(members ...string) *ledger.Block {
		u := ledgertest.Update(c.ChainID(), c.Config, func(c *ledger.Config) { c.Limits.MaxExecLag-- }, members...)
		return c.Block(u.Encode())
	}
	tests := []struct {
		name  string
		block *ledger.Block
		want  string
		is    error
	}{
		{"another block at a stored height", &other, "given is " + other.Header.Hash().String(), ErrFork},
		{"another predecessor", change(func(b *ledger.Block) { b.Header.Prev[0]++ }), "", ErrFork},
		{"a gap", change(func(b *ledger.Block) { b.Header.Height++ }), "fetch the blocks between", nil},
		{"an earlier time", change(func(b *ledger.Block) { b.Header.Time -= 2000 }), "is not after", ledger.ErrBroken},
		{"another config", change(func(b *ledger.Block) { b.Header.ConfigSeq++ }), "config 0 is in force", ledger.ErrBroken},
		{"another chain", change(func(b *ledger.Block) { b.Header.ChainID[0]++ }), "", ledger.ErrWrongChain},
		{"roots of the future", change(func(b *ledger.Block) { b.Header.ExecHeight = 4 }), "cannot have been executed", ledger.ErrBroken},
		{"an update without approvals", update(ledgertest.MemberID(1)), "more than two thirds", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := s.Append(tt.block, ledgertest.Certify(c.Config, &tt.block.Header))
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("got %v, want %q and %v", err, tt.want, tt.is)
			}
			if tip := s.Tip().Height; tip != 3 {
				t.Fatalf("tip is %d", tip)
			}
		})
	}
	for _, cert := range []*ledger.Certificate{nil, c.Certs[3]} {
		if err := s.Append(good, cert); err == nil || !strings.Contains(err.Error(), "certificate is not for this block") {
			t.Errorf("another certificate: %v", err)
		}
	}
	for i, b := range c.Blocks[1:] {
		if err := s.Append(b, ledgertest.CertifyBy(&b.Header, 2, 3, 4)); err != nil {
			t.Errorf("block %d again: %v", i+1, err)
		}
	}
	if err := s.Append(c.Blocks[0], nil); err != nil {
		t.Errorf("genesis again: %v", err)
	}
	if err := s.Append(good, ledgertest.Certify(c.Config, &good.Header)); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

func TestCreateAndOpenAreDifferent(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(1)
	s, dir := stored(t, c)
	if _, err := Open(dir, c.ChainID()); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("open an open store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if _, err := Create(dir, c.Genesis); !errors.Is(err, ErrExists) {
		t.Errorf("create over a ledger: %v", err)
	}
	if _, err := Open(dir, ledger.Sum([]byte("another"))); !errors.Is(err, ErrOtherChain) {
		t.Errorf("open for another chain: %v", err)
	}
	empty := t.TempDir()
	for _, d := range []string{empty, filepath.Join(empty, "absent")} {
		if _, err := Open(d, c.ChainID()); !errors.Is(err, ErrMissing) {
			t.Errorf("open where nothing is: %v", err)
		}
	}
	if left, _ := os.ReadDir(empty); len(left) != 0 {
		t.Errorf("opening nothing left %v", left)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	half := t.TempDir()
	if err := os.MkdirAll(filepath.Join(half+".new", "MANIFEST-000000"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Create(half, c.Genesis); err != nil {
		t.Errorf("create after an interrupted one: %v", err)
	} else {
		s.Close()
	}
	later := ledgertest.Clone(c.Genesis)
	later.Seq = 1
	if _, err := Create(t.TempDir(), later); err == nil {
		t.Error("created from a later config")
	}
	if _, err := Create(t.TempDir(), &ledger.Config{}); err == nil {
		t.Error("created from an empty config")
	}
	if s, err := Open(dir, c.ChainID()); err != nil || s.Tip().Height != 1 {
		t.Errorf("after all that: %v", err)
	} else {
		s.Close()
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(1))
	s, dir := stored(t, c)
	row, err := rlp.EncodeToBytes(&format{formatVersion + 1, c.ChainID(), c.Genesis.Encode()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Put(keyFormat, row, synced); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(dir, c.ChainID()); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v", err)
	}
}

func TestWaitReturnsAtTheHeightOrTheEnd(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(1)).Grow(3)
	s, _ := stored(t, ledgertest.NewChain(ledgertest.Config(1)))
	reached, closed := make(chan error, 1), make(chan error, 1)
	go func() { reached <- s.Wait(t.Context(), 3) }()
	go func() { closed <- s.Wait(t.Context(), 4) }()
	if err := s.Wait(t.Context(), 0); err != nil {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait returned %v", err)
	}
	if _, err := fill(s, c); err != nil {
		t.Fatal(err)
	}
	if err := <-reached; err != nil {
		t.Error(err)
	}
	s.Close()
	if err := <-closed; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := s.Wait(t.Context(), 9); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Block(1); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if err := s.Append(c.Blocks[1], c.Certs[1]); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

func TestAboveTheTipThereIsNothing(t *testing.T) {
	s, _ := stored(t, ledgertest.NewChain(ledgertest.Config(1)).Grow(2))
	_, errBlock := s.Block(3)
	_, _, errHeader := s.Header(3)
	_, errCert := s.Certificate(3)
	_, errConfig := s.ConfigAt(4)
	for _, err := range []error{errBlock, errHeader, errCert, errConfig} {
		if !errors.Is(err, ErrAbove) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := s.Certificate(0); err == nil {
		t.Error("genesis has a certificate")
	}
	n := 0
	for b, err := range s.Blocks(1, 100) {
		if n++; err != nil || int(b.Header.Height) != n {
			t.Fatalf("block %d: %v", n, err)
		}
	}
	if n != 2 {
		t.Errorf("%d blocks", n)
	}
}

func TestVerifyNamesTheHeightOfAForgedRow(t *testing.T) {
	c := crashChain(9)
	forged := *c.Blocks[5]
	forged.Header.StateRoot[0]++
	for _, tt := range []struct {
		name string
		put  func(*leveldb.Batch)
		want string
	}{
		{"another header with votes of too few", func(b *leveldb.Batch) {
			putBlock(b, &forged, ledgertest.CertifyBy(&forged.Header, 1, 2))
		}, "block 5"},
		{"a header with the old certificate", func(b *leveldb.Batch) { putBlock(b, &forged, c.Certs[5]) }, "block 5"},
		{"another body", func(b *leveldb.Batch) {
			_, body := splitBlock(c.Blocks[6].Encode())
			b.Put(keyOf(5, rowBody), body)
		}, "block 5"},
		{"no body", func(b *leveldb.Batch) { b.Delete(keyOf(5, rowBody)) }, "block 5"},
		{"no certificate", func(b *leveldb.Batch) { b.Delete(keyOf(5, rowCertificate)) }, "block 5"},
		{"a certified header on another chain of hashes", func(b *leveldb.Batch) {
			putBlock(b, &forged, ledgertest.Certify(c.Genesis, &forged.Header))
		}, "block 6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := stored(t, c)
			var batch leveldb.Batch
			tt.put(&batch)
			if err := s.db.Write(&batch, synced); err != nil {
				t.Fatal(err)
			}
			err := s.Verify(t.Context(), nil)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHeaderThatIsNotItsHashIsNotServed(t *testing.T) {
	c := crashChain(3)
	s, dir := stored(t, c)
	row, err := s.get(2, rowHeader)
	if err != nil {
		t.Fatal(err)
	}
	row[len(row)-1] ^= 1 // the number of receipts: still a header
	if err := s.db.Put(keyOf(2, rowHeader), row, synced); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, dir)
	_, _, errHeader := s.Header(2)
	_, _, errEncoded := s.Encoded(2)
	_, errBlock := s.Block(2)
	_, errCert := s.Certificate(2)
	for _, err := range []error{errHeader, errEncoded, errBlock, errCert} {
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "block 2") || !strings.Contains(err.Error(), "was written") {
			t.Errorf("got %v", err)
		}
	}
}

func TestVerifyReportsProgressAndStops(t *testing.T) {
	s, _ := stored(t, crashChain(20))
	var last, total ledger.Height
	if err := s.Verify(t.Context(), func(d, of ledger.Height) { last, total = d, of }); err != nil {
		t.Fatal(err)
	}
	if last != 20 || total != 20 {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Verify(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestJoinBlockUndoesSplitBlock(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(1))
	for _, n := range []int{0, 1, 300, 70_000} {
		b := c.Block(c.Transaction(make([]byte, n)))
		got, err := ledger.DecodeBlock(joinBlock(splitBlock(b.Encode())))
		if err != nil || !bytes.Equal(got.Encode(), b.Encode()) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if got := joinBlock([]byte{1}, nil); !bytes.Equal(got, []byte{0xc1, 1}) {
		t.Errorf("short list: %x", got)
	}
}
