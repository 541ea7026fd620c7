package evidence

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

var (
	conf  = ledgertest.Config(4)
	chain = conf.Hash()
)

// position of the metadata of these tests: view and height, a byte each.
func position(meta []byte) (view, height uint64, err error) {
	if len(meta) != 2 {
		return 0, 0, errors.New("metadata are two bytes here")
	}
	return uint64(meta[0]), uint64(meta[1]), nil
}

// blockAt is one of the blocks that could be proposed for a height in a view.
func blockAt(view, height uint64, variant string) (header, meta []byte) {
	meta = []byte{byte(view), byte(height)}
	h := ledger.Genesis(conf).Header
	h.ChainID, h.Height, h.EngineMetaHash, h.StateRoot = chain, ledger.Height(height), ledger.HashMeta(meta), ledger.Sum([]byte(variant))
	return h.Encode(), meta
}

func voteFor(t testing.TB, id, view uint64, header []byte) ledger.Signature {
	t.Helper()
	sig, err := ledgertest.VoteKey(id).Sign(ledger.VoteDigest(ledger.Sum(header), view))
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func signed(t testing.TB, id, view, height uint64, variant string) Vote {
	t.Helper()
	header, _ := blockAt(view, height, variant)
	return Vote{header, voteFor(t, id, view, header)}
}

func proofOf(t testing.TB, id, view, height uint64) *Proof {
	t.Helper()
	p, err := prove(chain, view, signed(t, id, view, height, "a"), signed(t, id, view, height, "b"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAProofIsCheckedWithNothingButTheChain(t *testing.T) {
	p := proofOf(t, 2, 3, 9)
	if p.VoteKey != ledgertest.VoteKey(2).Address() || p.Height != 9 || p.View != 3 {
		t.Errorf("the proof names %s, height %d, view %d", p.VoteKey, p.Height, p.View)
	}
	again, err := prove(chain, 3, p.Second, p.First)
	if err != nil || cmp.Diff(p, again) != "" {
		t.Errorf("the order of the votes makes another proof: %v %s", err, cmp.Diff(p, again))
	}
	for name, spoil := range map[string]func(p *Proof){
		"another network":   func(p *Proof) { p.ChainID[0] ^= 1 },
		"another format":    func(p *Proof) { p.Format++ },
		"another kind":      func(p *Proof) { p.Kind = "RUDENESS" },
		"another height":    func(p *Proof) { p.Height++ },
		"another view":      func(p *Proof) { p.View++ },
		"another key":       func(p *Proof) { p.VoteKey = ledgertest.VoteKey(1).Address() },
		"one vote twice":    func(p *Proof) { p.Second = p.First },
		"votes not ordered": func(p *Proof) { p.First, p.Second = p.Second, p.First },
		"a wrong signature": func(p *Proof) { p.Second.Signature[9] ^= 1 },
		"two voters":        func(p *Proof) { p.Second.Signature = voteFor(t, 3, 3, p.Second.Header) },
		"junk for a header": func(p *Proof) { p.First.Header = []byte{0xff} },
		"views that differ": func(p *Proof) {
			v := signed(t, 2, 4, 9, "c")
			q := *p
			q.First, q.Second = p.First, v
			if a, b := q.First.Hash(), q.Second.Hash(); bytes.Compare(a[:], b[:]) > 0 {
				q.First, q.Second = q.Second, q.First
			}
			*p = q
		},
	} {
		q := *p
		spoil(&q)
		if err := q.Check(chain); err == nil {
			t.Errorf("%s: taken for a proof", name)
		}
	}
}

func TestABookSurvivesARestartAndIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evidence")
	b, err := Open(dir, chain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("a directory without evidence was made")
	}
	kept := 0
	for h := uint64(1); h <= MaxPerKey+4; h++ {
		p := proofOf(t, 1, 2, h)
		added, err := b.Add(p)
		if err != nil {
			t.Fatal(err)
		}
		if added {
			kept++
		}
		if again, err := b.Add(p); again || err != nil {
			t.Fatalf("the same proof again: %t %v", again, err)
		}
	}
	if kept != MaxPerKey {
		t.Errorf("%d proofs against one key are kept, want %d", kept, MaxPerKey)
	}
	if added, err := b.Add(proofOf(t, 2, 2, 1)); !added || err != nil {
		t.Errorf("another liar finds no room: %t %v", added, err)
	}
	bad := *proofOf(t, 3, 1, 1)
	bad.View++
	if _, err := b.Add(&bad); err == nil {
		t.Error("something that proves nothing is kept")
	}
	again, err := Open(dir, chain)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Proofs()) != MaxPerKey+1 || len(again.Damaged()) != 0 {
		t.Errorf("after a restart %d proofs are there, %v are damaged", len(again.Proofs()), again.Damaged())
	}
	for _, p := range again.Proofs() {
		if err := p.Check(chain); err != nil {
			t.Error(err)
		}
	}
}

func TestADamagedFileIsNamedAndLeft(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(dir, chain)
	if err != nil {
		t.Fatal(err)
	}
	p := proofOf(t, 1, 2, 3)
	if _, err := b.Add(p); err != nil {
		t.Fatal(err)
	}
	path := b.File(p)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[bytes.Index(raw, []byte(`"signature": "0x`))+30] ^= 1
	if err := errors.Join(os.WriteFile(path, raw, 0o600), os.WriteFile(path+".tmp", raw, 0o600)); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, chain)
	if err != nil || len(again.Proofs()) != 0 || len(again.Damaged()) != 1 || again.Damaged()[0] != filepath.Base(path) {
		t.Errorf("proofs %v, damaged %v, %v", again.Proofs(), again.Damaged(), err)
	}
	if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, raw) {
		t.Error("the damaged file was touched")
	}
}

func TestTheFileIsAsOthersReadIt(t *testing.T) {
	p := proofOf(t, 1, 2, 3)
	raw, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"kind": "DOUBLE_VOTE"`, `"height": 3`, `"view": 2`, `"voteKey": "` + strings.ToLower(p.VoteKey.Hex())} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %s in %s", want, raw)
		}
	}
	for name, b := range map[string]string{"more after it": string(raw) + "{}", "an unknown field": `{"more":1}`, "too much": strings.Repeat(" ", maxFile) + string(raw), "nothing": ""} {
		if _, err := Decode([]byte(b)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// FuzzDecode: whatever a file holds, it is read or refused, and what is read is
// written and read the same.
func FuzzDecode(f *testing.F) {
	raw, err := proofOf(f, 1, 2, 3).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"format":2,"first":{"header":"0x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		_ = p.Check(chain)
		raw, err := p.Encode()
		if err != nil {
			return // a year that JSON does not know
		}
		again, err := Decode(raw)
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, raw)
		}
		second, err := again.Encode()
		if err != nil || !bytes.Equal(raw, second) {
			t.Fatalf("written differently: %v\n%s\n%s", err, raw, second)
		}
	})
}
