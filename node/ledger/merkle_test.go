package ledger_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

func logLeaves(n int) [][]byte {
	leaves := make([][]byte, n)
	for i := range leaves {
		leaves[i] = binary.BigEndian.AppendUint32([]byte("leaf"), uint32(i))
	}
	return leaves
}

// logPath is twinLogPath as hashes.
func logPath(m int, leaves [][]byte) []ledger.Hash {
	var out []ledger.Hash
	for _, h := range twinLogPath(m, leaves) {
		out = append(out, ledger.Hash(h))
	}
	return out
}

func TestLogRootAgreesWithTheDefinition(t *testing.T) {
	for n := range 130 {
		leaves := logLeaves(n)
		want := ledger.Hash(twinLogRoot(leaves))
		if got := ledger.TxRoot(leaves); got != want {
			t.Fatalf("root of %d leaves is %s, want %s", n, got, want)
		}
		r := ledger.NewLog()
		for _, l := range leaves {
			if err := r.Append(ledger.LogHasher{}.HashLeaf(l), nil); err != nil {
				t.Fatal(err)
			}
		}
		resumed, err := ledger.ResumeLog(uint64(n), r.Hashes())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ledger.LogRoot(resumed); err != nil || got != want {
			t.Fatalf("resumed root of %d leaves is %s, %v", n, got, err)
		}
	}
	if _, err := ledger.ResumeLog(3, nil); err == nil {
		t.Error("a log of 3 leaves was resumed from no hashes")
	}
}

func TestLogProofHoldsForItsLeafAndPlaceOnly(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for n := 1; n < 40; n++ {
		leaves := logLeaves(n)
		root := ledger.Hash(twinLogRoot(leaves))
		for i, leaf := range leaves {
			p := ledger.LogProof{Index: uint64(i), Size: uint64(n), Hashes: logPath(i, leaves)}
			if err := p.Verify(root, leaf); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
			wrong := func(what string, p ledger.LogProof, root ledger.Hash, leaf []byte) {
				t.Helper()
				if err := p.Verify(root, leaf); err == nil {
					t.Errorf("leaf %d of %d: accepted with %s", i, n, what)
				}
			}
			wrong("another leaf", p, root, append(bytes.Clone(leaf), 0))
			wrong("another root", p, ledger.Sum(root[:]), leaf)
			q := p
			q.Index = uint64(n)
			wrong("an index outside", q, root, leaf)
			if n > 1 {
				q.Index = (p.Index + 1 + rnd.Uint64N(uint64(n-1))) % uint64(n)
				wrong("another index", q, root, leaf)
				q = p
				q.Hashes = p.Hashes[1:]
				wrong("a hash less", q, root, leaf)
				q.Hashes = append([]ledger.Hash(nil), p.Hashes...)
				q.Hashes[rnd.IntN(len(q.Hashes))][3] ^= 1
				wrong("a hash changed", q, root, leaf)
			}
			q = p
			q.Hashes = append(p.Hashes[:len(p.Hashes):len(p.Hashes)], root)
			wrong("a hash more", q, root, leaf)
			q = p
			q.Size += uint64(n) + 1
			wrong("another size", q, root, leaf)
		}
	}
}

// TestInnerNodeIsNoLeaf shows why leaves and nodes are hashed apart.
func TestInnerNodeIsNoLeaf(t *testing.T) {
	leaves := logLeaves(2)
	root := ledger.TxRoot(leaves)
	node := append(twinHash([]byte{0}, leaves[0]), twinHash([]byte{0}, leaves[1])...)
	p := ledger.LogProof{Index: 0, Size: 1}
	if err := p.Verify(root, node); err == nil {
		t.Error("two leaves passed for one")
	}
}
