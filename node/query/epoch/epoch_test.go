package epoch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	chainID = record.Hash{0xc1}
	outputs = []string{"LOW", "HIGH", record.NoRecord}
	tagKey  = bytes.Repeat([]byte{7}, 32)
)

func question() record.Anchor {
	return record.Anchor{
		AnchorSpec: record.AnchorSpec{CodeHash: record.Hash{1}, Epoch: 4, Params: record.ParamValues{{Name: "min", Value: "1"}}, TemplateID: "band"},
		ProductID:  "income", Provider: "bank-a",
	}
}

func store(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "epochs"), chainID, tagKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type person struct {
	id  string
	row vault.Row
}

func person1(i int) person {
	return person{fmt.Sprintf("cn:%06d", i), vault.Row{vault.IntValue(int64(i % 3))}}
}

func people(n int) []person {
	out := make([]person, n)
	for i := range out {
		out[i] = person1(i)
	}
	return out
}

func band(row vault.Row) (string, error) {
	n, _ := row[0].Int()
	return outputs[n], nil
}

func job(list []person) Job {
	return Job{Anchor: question(), Outputs: outputs, Evaluate: band, Scan: func(ctx context.Context, visit func(vault.Subject, vault.Row) error) error {
		for _, p := range list {
			if err := visit(vault.Subject(p.id), p.row); err != nil {
				return err
			}
		}
		return ctx.Err()
	}}
}

func build(t testing.TB, s *Store, list []person) (*record.Anchor, *Result) {
	t.Helper()
	r, err := s.Build(t.Context(), job(list))
	if err != nil {
		t.Fatal(err)
	}
	a := question()
	a.Nonce, a.Root = r.Nonce, r.Root
	return &a, r
}

func holds(t testing.TB, a *record.Anchor, subject, value string, proof []byte) {
	t.Helper()
	full := answer.Answer{Outcome: record.Answered, Proof: proof, Body: record.AnswerBody{
		TemplateID: a.TemplateID, CodeHash: a.CodeHash, Epoch: a.Epoch, Value: value, ProofHash: answer.ProofHash(proof),
	}}
	if err := full.CheckAnchor(chainID, a, subject); err != nil {
		t.Errorf("the opening of %s: %v", value, err)
	}
}

// slowRoot is the root by the definition: node by node from the top.
func slowRoot(k *keys, level int, slots map[uint64]record.Hash, at int, prefix uint64) record.Hash {
	under := map[uint64]record.Hash{}
	for p, h := range slots {
		if p>>(depth-at) == prefix {
			under[p] = h
		}
	}
	if at == depth && len(under) == 1 {
		return under[prefix]
	}
	if len(under) == 0 && at >= level {
		return k.fill(at, prefix)
	}
	if len(under) == 0 { // the many empty places of a small tree: the same, quicker
		l, r := emptyAbove(k, level, at+1, prefix<<1), emptyAbove(k, level, at+1, prefix<<1|1)
		return answer.Node(&l, &r)
	}
	l, r := slowRoot(k, level, under, at+1, prefix<<1), slowRoot(k, level, under, at+1, prefix<<1|1)
	return answer.Node(&l, &r)
}

func emptyAbove(k *keys, level, at int, prefix uint64) record.Hash {
	if at == level {
		return k.fill(at, prefix)
	}
	l, r := emptyAbove(k, level, at+1, prefix<<1), emptyAbove(k, level, at+1, prefix<<1|1)
	return answer.Node(&l, &r)
}

// Trees of every size against the definition, and every subject's opening.
func TestTreesAgainstTheirDefinition(t *testing.T) {
	for _, n := range []int{0, 1, 2, 17, 700, 5000} {
		s := store(t)
		a, r := build(t, s, people(n))
		tree := answer.TreeID(chainID, a)
		k := deriveKeys(tagKey, tree)
		slots, answered := map[uint64]record.Hash{}, uint64(0)
		for i := range n {
			if i%3 == 2 {
				continue // NO_RECORD has no leaf
			}
			answered++
			tag := answer.Tag(tree, person1(i).id)
			slots[answer.Position(tag)] = answer.Leaf(newSalter(k).salt(tag), tag, outputs[i%3])
		}
		if n <= 700 {
			if want := slowRoot(k, levelOf(uint64(n)), slots, 0, 0); want != a.Root {
				t.Errorf("%d subjects: root %s, by its definition %s", n, a.Root, want)
			}
		}
		if r.Subjects != uint64(n) || r.Answered != answered || r.Twice != 0 || r.Collided != 0 {
			t.Errorf("%d subjects: %+v", n, r)
		}
		for i := 0; i < n; i += 1 + n/700 {
			value, proof, err := s.Find(a, outputs, person1(i).id)
			if err != nil || value != outputs[i%3] || (proof == nil) != (value == record.NoRecord) {
				t.Fatalf("%d subjects: found %s, %v, want %s", n, value, err, outputs[i%3])
			}
			holds(t, a, person1(i).id, value, proof)
		}
		for i := range 50 {
			if value, proof, err := s.Find(a, outputs, fmt.Sprintf("nobody %d", i)); err != nil || value != record.NoRecord || proof != nil {
				t.Fatalf("nobody: found %s, %v", value, err)
			}
		}
	}
}

func TestTwoRowsAndUnusableRowsSayNothing(t *testing.T) {
	s := store(t)
	list := append(people(100), person{"cn:000000", vault.Row{vault.IntValue(1)}}, person{"cn:000001", vault.Row{vault.IntValue(2)}}, person{"cn:x", nil})
	a, r := build(t, s, list)
	if r.Twice != 2 || r.Subjects != 103 {
		t.Errorf("%+v", r)
	}
	for _, id := range []string{"cn:000000", "cn:000001", "cn:x"} {
		if value, _, err := s.Find(a, outputs, id); err != nil || value != record.NoRecord {
			t.Errorf("found %s, %v", value, err)
		}
	}
}

// Two subjects whose tags begin alike cannot both stand in a tree.
func TestCollidingPlacesStayEmpty(t *testing.T) {
	at := func(last byte, output byte) leaf {
		return leaf{tag: record.Hash{1, 2, 3, 4, 5, 6, last}, hash: record.Hash{last}, output: output}
	}
	slots, twice, collided := arrange([]leaf{at(2, 0), {tag: record.Hash{9}, output: 1}, at(1, 0)}, 2)
	if len(slots) != 1 || slots[0].position != 9<<40 || twice != 0 || collided != 2 {
		t.Errorf("%v, %d, %d", slots, twice, collided)
	}
}

// An opening shows neither how many subjects there are nor anything that stands in
// another tree too.
func TestOpeningsTellNothingOfOthers(t *testing.T) {
	s := store(t)
	seen := map[record.Hash]int{}
	var size int
	for tree, n := range []int{1, 5000, 5000} {
		a, _ := build(t, s, people(n))
		_, proof, err := s.Find(a, outputs, "cn:000000")
		if err != nil {
			t.Fatal(err)
		}
		if size != 0 && size != len(proof) {
			t.Errorf("an opening of %d bytes, another of %d", size, len(proof))
		}
		size = len(proof)
		p, err := answer.DecodeProof(proof)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range append(p.Path[:], p.Salt) {
			if other, ok := seen[h]; ok {
				t.Fatalf("a hash of tree %d stands in tree %d too, or twice in it", other, tree)
			}
			seen[h] = tree
		}
	}
}

// Whoever is asked about, the same work is done.
func TestFindingNobodyCostsAsMuch(t *testing.T) {
	s := store(t)
	a, _ := build(t, s, people(3000))
	allocs := func(id string) (most float64) {
		for i := range 8 { // a place with no neighbours at all saves two
			name, least := fmt.Sprintf("%s%05d", id, 3*i), math.Inf(1)
			for range 30 { // buffers come from a pool, which may have forgotten them
				least = min(least, testing.AllocsPerRun(1, func() {
					if _, _, err := s.Find(a, outputs, name); err != nil {
						t.Fatal(err)
					}
				}))
			}
			most = max(most, least)
		}
		return most
	}
	known, nobody := allocs("cn:0"), allocs("nobody")
	if known != nobody {
		t.Errorf("%v allocations for a known subject, %v for nobody", known, nobody)
	}
}

// A damaged file gives what was anchored, or nothing: never anything else.
func TestDamagedFilesGiveNothingElse(t *testing.T) {
	const seed, customers = 3, 90
	random := rand.New(rand.NewPCG(seed, seed))
	s := store(t)
	a, _ := build(t, s, people(customers))
	path := s.path(answer.TreeID(chainID, a))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for round := range 40 {
		b := bytes.Clone(whole)
		where := random.IntN(len(b))
		if round%2 == 0 {
			where = headBytes + random.IntN(customers*slotBytes+8<<shareBits)
		}
		b[where] ^= 1 << random.IntN(8)
		if round%20 == 0 {
			b = b[:random.IntN(len(b))]
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		fresh, err := Open(s.dir, chainID, tagKey)
		if err != nil {
			t.Fatal(err)
		}
		for i := range customers {
			value, proof, err := fresh.Find(a, outputs, person1(i).id)
			switch {
			case errors.Is(err, ErrDamaged):
				refused++
			case err != nil:
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			case proof != nil:
				holds(t, a, person1(i).id, value, proof)
			case value != record.NoRecord:
				t.Fatalf("seed %d, round %d: %s without an opening", seed, round, value)
			case i%3 != 2 && where < headBytes+customers*slotBytes && where >= headBytes && (where-headBytes)%slotBytes != 6:
				t.Fatalf("seed %d, round %d: a leaf was changed and its subject is nobody", seed, round)
			}
		}
		if err := fresh.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("no damage was ever found")
	}
}

func TestAnotherKeyOrNetworkOpensNothing(t *testing.T) {
	s := store(t)
	a, _ := build(t, s, people(10))
	for name, other := range map[string]struct {
		chain record.Hash
		key   []byte
		want  error
	}{"another key": {chainID, bytes.Repeat([]byte{8}, 32), ErrDamaged}, "another network": {record.Hash{9}, tagKey, ErrMissing}} {
		o, err := Open(s.dir, other.chain, other.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.Find(a, outputs, "cn:000000"); !errors.Is(err, other.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone := *a
	gone.Epoch++
	if _, _, err := s.Find(&gone, outputs, "cn:000000"); !errors.Is(err, ErrMissing) {
		t.Errorf("an epoch nobody built: %v", err)
	}
	forged := *a
	forged.Root[0]++
	if _, _, err := s.Find(&forged, outputs, "cn:000000"); !errors.Is(err, ErrDamaged) {
		t.Errorf("another root: %v", err)
	}
}

// A thief of the directory who knows everybody's identifier and the ledger learns of
// nobody that they are a customer.
func TestAStolenFileNamesNobody(t *testing.T) {
	s := store(t)
	a, _ := build(t, s, people(500))
	tree := answer.TreeID(chainID, a)
	b, err := os.ReadFile(s.path(tree))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		tag := answer.Tag(tree, person1(i).id)
		if bytes.Contains(b, tag[:6]) || bytes.Contains(b, []byte(person1(i).id)) {
			t.Fatal("a subject's place stands in the file")
		}
	}
	var last [8]byte
	binary.BigEndian.PutUint64(last[:], 500)
	if !bytes.Contains(b[:headBytes], last[:]) {
		t.Error("the head does not say how many subjects there are: this test looks at the wrong bytes")
	}
}

func TestAnUnfinishedBuildLeavesNothing(t *testing.T) {
	s := store(t)
	stop := errors.New("vault down")
	for name, change := range map[string]func(*Job){
		"scan fails": func(j *Job) {
			j.Scan = func(context.Context, func(vault.Subject, vault.Row) error) error { return stop }
		},
		"template fails":  func(j *Job) { j.Evaluate = func(vault.Row) (string, error) { return "", stop } },
		"unlisted output": func(j *Job) { j.Evaluate = func(vault.Row) (string, error) { return "MIDDLE", nil } },
		"no NO_RECORD":    func(j *Job) { j.Outputs = []string{"LOW", "HIGH"} },
	} {
		j := job(people(1000))
		change(&j)
		if r, err := s.Build(t.Context(), j); err == nil || r != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	j := job(people(20_000))
	j.Progress = func(Progress) { cancel() }
	if _, err := s.Build(ctx, j); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// What a process that died had begun goes when the directory is opened.
	if err := os.WriteFile(filepath.Join(s.dir, "tree-1"+building), []byte{1}, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir, chainID, tagKey); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(s.dir)
	if err != nil || len(names) != 0 {
		t.Errorf("%d files left, %v", len(names), err)
	}
}

func TestFilesAreListedAndRemoved(t *testing.T) {
	s := store(t)
	a, _ := build(t, s, people(30))
	b, _ := build(t, s, people(30))
	if _, _, err := s.Find(a, outputs, "cn:000000"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(record.Hash{1}), []byte("no epoch file"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("%d files, %v", len(list), err)
	}
	bad := 0
	for _, i := range list {
		if i.Err != nil {
			bad++
		} else if i.Anchor.TemplateID != "band" || i.Leaves != 20 || i.Bytes == 0 || i.Anchor.Root != a.Root && i.Anchor.Root != b.Root {
			t.Errorf("%+v", i)
		}
	}
	if bad != 1 {
		t.Errorf("%d bad files", bad)
	}
	n, err := s.Remove(func(x *record.Anchor) bool { return x.Root == a.Root })
	if err != nil || n != 1 {
		t.Errorf("%d removed, %v", n, err)
	}
	if _, _, err := s.Find(a, outputs, "cn:000000"); !errors.Is(err, ErrMissing) {
		t.Errorf("removed: %v", err)
	}
	if _, _, err := s.Find(b, outputs, "cn:000000"); err != nil {
		t.Errorf("kept: %v", err)
	}
}

func FuzzDecodeHead(f *testing.F) {
	h := &head{anchor: question(), slots: 10, leaves: 9, level: shareBits}
	h.anchor.Nonce, h.anchor.Root = record.Hash{1}, record.Hash{2}
	k := deriveKeys(tagKey, record.Hash{})
	b, err := h.encode(k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHead(b)
		if err != nil {
			return
		}
		again, err := h.encode(k)
		if err != nil {
			t.Fatal(err)
		}
		n := len(magic) + 19 + int(binary.BigEndian.Uint16(b[len(magic)+17:]))
		if !bytes.Equal(again[:n], b[:n]) {
			t.Fatal("decoding and encoding again is not the identity")
		}
	})
}

func FuzzDecodeSlot(f *testing.F) {
	f.Add(encodeSlot(nil, &slot{position: 1<<48 - 1, output: 3, leaf: record.Hash{1, 2}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != slotBytes {
			return
		}
		s := decodeSlot(b)
		if s.position>>depth != 0 || !bytes.Equal(encodeSlot(nil, &s), b) {
			t.Fatal("decoding and encoding again is not the identity")
		}
	})
}
