package answer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

const subject = "A123456789"

func anchor() *record.Anchor {
	return &record.Anchor{
		AnchorSpec: record.AnchorSpec{
			CodeHash: hash(0xc0), Epoch: 3, Nonce: hash(0x0e), Params: record.ParamValues{{Name: "min", Value: "20000"}}, TemplateID: "income-band",
		},
		ProductID: "income", Provider: "bank-a",
	}
}

// anchored is an answer with its opening, and the anchor that it leads to.
func anchored(t testing.TB) (Answer, *record.Anchor) {
	t.Helper()
	a, to := sample(record.Answered, "HIGH"), anchor()
	p := Proof{Salt: hash(0x77)}
	for i := range p.Path {
		p.Path[i] = hash(byte(i + 1))
	}
	to.Root = p.Root(Tag(TreeID(hash(0xc1), to), subject), "HIGH")
	a.Proof = p.Encode()
	a.Body.ProofHash = ProofHash(a.Proof)
	return a, to
}

func TestAnAnchoredAnswerIsHeldAgainstItsRoot(t *testing.T) {
	good, to := anchored(t)
	if err := good.CheckAnchor(hash(0xc1), to, subject); err != nil {
		t.Fatal(err)
	}
	reproof := func(a *Answer, change func(p *Proof)) {
		p, err := DecodeProof(a.Proof)
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		a.Proof = p.Encode()
		a.Body.ProofHash = ProofHash(a.Proof)
	}
	for name, change := range map[string]func(a *Answer, to *record.Anchor, subject *string){
		"another value":     func(a *Answer, _ *record.Anchor, _ *string) { a.Body.Value = "LOW" },
		"another subject":   func(_ *Answer, _ *record.Anchor, s *string) { *s = "A123456780" },
		"another epoch":     func(_ *Answer, to *record.Anchor, _ *string) { to.Epoch++ },
		"an epoch of both":  func(a *Answer, to *record.Anchor, _ *string) { to.Epoch++; a.Body.Epoch++ },
		"another template":  func(_ *Answer, to *record.Anchor, _ *string) { to.TemplateID = "x" },
		"another text":      func(_ *Answer, to *record.Anchor, _ *string) { to.CodeHash[0]++ },
		"other parameters":  func(_ *Answer, to *record.Anchor, _ *string) { to.Params[0].Value = "40000" },
		"another product":   func(_ *Answer, to *record.Anchor, _ *string) { to.ProductID = "x" },
		"another nonce":     func(_ *Answer, to *record.Anchor, _ *string) { to.Nonce[0]++ },
		"another root":      func(_ *Answer, to *record.Anchor, _ *string) { to.Root[31]++ },
		"no opening":        func(a *Answer, _ *record.Anchor, _ *string) { a.Proof, a.Body.ProofHash = nil, Hash{} },
		"opening not named": func(a *Answer, _ *record.Anchor, _ *string) { a.Body.ProofHash = Hash{} },
		"another opening":   func(a *Answer, _ *record.Anchor, _ *string) { a.Proof = bytes.Clone(a.Proof); a.Proof[60]++ },
		"another salt":      func(a *Answer, _ *record.Anchor, _ *string) { reproof(a, func(p *Proof) { p.Salt[0]++ }) },
		"another hash":      func(a *Answer, _ *record.Anchor, _ *string) { reproof(a, func(p *Proof) { p.Path[20][0]++ }) },
		"opening of other form": func(a *Answer, _ *record.Anchor, _ *string) {
			a.Proof = []byte{0xc0}
			a.Body.ProofHash = ProofHash(a.Proof)
		},
	} {
		a, to := anchored(t)
		who := subject
		change(&a, to, &who)
		if err := a.CheckAnchor(hash(0xc1), to, who); !errors.Is(err, ErrNotAnchored) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := good.CheckAnchor(hash(0xc2), to, subject); !errors.Is(err, ErrNotAnchored) {
		t.Errorf("another network: %v", err)
	}
	for _, none := range []Answer{sample(record.Answered, record.NoRecord), sample(record.Refused, "")} {
		if err := none.CheckAnchor(hash(0xc1), to, subject); err != nil {
			t.Errorf("%s without an opening: %v", none.Outcome, err)
		}
	}
}

// What a lender is to dispute must open; what an honest node writes must fit.
func TestOnlyReadersTakeAnAnswerWithoutItsOpening(t *testing.T) {
	k := key(t)
	c := context(k.PublicKey())
	for name, change := range map[string]func(*Answer){
		"no opening":           func(a *Answer) { a.Proof = nil },
		"opening not named":    func(a *Answer) { a.Body.ProofHash = Hash{} },
		"another opening":      func(a *Answer) { a.Proof[60]++ },
		"opening of NO_RECORD": func(a *Answer) { a.Body.Value = record.NoRecord },
	} {
		a, _ := anchored(t)
		change(&a)
		if _, err := Seal(k.PublicKey(), c, a); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: sealed with error %v", name, err)
		}
		plain, err := a.encode()
		if err != nil {
			t.Fatal(err)
		}
		box, err := seal(k.PublicKey(), c.info(), pad(plain, answerSize))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(k, c, Sealed{c.RequestID, c.Recipient, c.KeyID, box}); err != nil {
			t.Errorf("%s: does not open: %v", name, err)
		}
	}
}

func TestAnchoredAnswersAreOfTheSameLength(t *testing.T) {
	k := key(t)
	c := context(k.PublicKey())
	longest, _ := anchored(t)
	longest.Body.Value = strings.Repeat(`"`, 64) // each is escaped
	longest.Body.TemplateID = record.TemplateID(strings.Repeat("t", 64))
	longest.Body.Epoch, longest.Body.EvaluatedHeight = record.MaxInt, record.MaxInt
	plainest := sample(record.Answered, record.NoRecord)
	var lengths []int
	for _, a := range []Answer{longest, plainest} {
		s, err := Seal(k.PublicKey(), c, a)
		if err != nil {
			t.Fatal(err)
		}
		lengths = append(lengths, len(s.Encode()))
	}
	if lengths[0] != lengths[1] || lengths[0] > MaxSealed {
		t.Errorf("lengths %v", lengths)
	}
}

// Answers sealed before there were openings are read for as long as they lie in inboxes.
func TestOlderAnswersOpen(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors-content1.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		if v.Name == "part" {
			continue
		}
		k, err := ParsePrivateKey(unhex(t, v.PrivateKey))
		if err != nil {
			t.Fatal(err)
		}
		s, err := DecodeSealed(unhex(t, v.Wire))
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		want := sample(record.Answered, "HIGH")
		if v.Name == "refusal" {
			want = sample(record.Refused, "")
		}
		if got, err := Open(k, context(k.PublicKey()), s); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// The figures of SPEC.md: another language gets the same.
func TestTreeVectors(t *testing.T) {
	a, to := anchored(t)
	p, err := DecodeProof(a.Proof)
	if err != nil {
		t.Fatal(err)
	}
	tree := TreeID(hash(0xc1), to)
	tag := Tag(tree, subject)
	got := map[string]string{
		"treeId": hex.EncodeToString(tree[:]), "tag": hex.EncodeToString(tag[:]),
		"leaf": hexOf(Leaf(p.Salt, tag, "HIGH")), "root": hexOf(to.Root), "proof": hex.EncodeToString(a.Proof), "proofHash": hexOf(a.Body.ProofHash),
	}
	const path = "testdata/tree.json"
	if *rewrite {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func hexOf(h Hash) string { return hex.EncodeToString(h[:]) }

func FuzzDecodeProof(f *testing.F) {
	a, _ := anchored(f)
	f.Add(a.Proof)
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodeProof(b)
		if err == nil && !bytes.Equal(p.Encode(), b) {
			t.Fatal("decoding and encoding again is not the identity")
		}
	})
}

func BenchmarkCheckAnchor(b *testing.B) {
	a, to := anchored(b)
	for b.Loop() {
		if err := a.CheckAnchor(hash(0xc1), to, subject); err != nil {
			b.Fatal(err)
		}
	}
}
