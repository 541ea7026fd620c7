package answer

import (
	"bytes"
	"crypto/hpke"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

func key(t testing.TB) hpke.PrivateKey {
	t.Helper()
	k, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func hash(b byte) (h Hash) {
	for i := range h {
		h[i] = b
	}
	return h
}

var (
	requestID = record.NewRequestID(hash(0x11))
	consentID = record.NewConsentID([16]byte{1, 2, 3})
)

func sample(outcome record.ReceiptOutcome, value string) Answer {
	return Answer{Outcome: outcome, Body: record.AnswerBody{
		ChainID: hash(0xc1), CodeHash: hash(0xc0), ConsentID: consentID, Epoch: 3, EvaluatedHeight: 42,
		RequestID: requestID, Salt: hash(0x5a), TemplateID: "income-band", Value: value,
	}}
}

func context(pub hpke.PublicKey) Context {
	return Context{ChainID: hash(0xc1), RequestID: requestID, Recipient: "lender-a", KeyID: KeyID(pub.Bytes())}
}

func TestAnswerOpensForWhomItIsSealed(t *testing.T) {
	k := key(t)
	c := context(k.PublicKey())
	for _, a := range []Answer{sample(record.Answered, "HIGH"), sample(record.Answered, record.NoRecord), sample(record.Refused, "")} {
		s, err := Seal(k.PublicKey(), c, a)
		if err != nil {
			t.Fatal(err)
		}
		wire, err := DecodeSealed(s.Encode())
		if err != nil {
			t.Fatal(err)
		}
		got, err := Open(k, c, wire)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, a) {
			t.Errorf("opened %+v, sealed %+v", got, a)
		}
	}
}

func TestEveryBoundFieldOfAnAnswerIsBound(t *testing.T) {
	k, other := key(t), key(t)
	c := context(k.PublicKey())
	s, err := Seal(k.PublicKey(), c, sample(record.Answered, "HIGH"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Context, *Sealed){
		"chain id":                      func(c *Context, s *Sealed) { c.ChainID[0]++ },
		"request id, expected":          func(c *Context, s *Sealed) { c.RequestID = record.NewRequestID(hash(0x12)) },
		"request id, on both sides":     func(c *Context, s *Sealed) { c.RequestID = record.NewRequestID(hash(0x12)); s.RequestID = c.RequestID },
		"recipient, expected":           func(c *Context, s *Sealed) { c.Recipient = "lender-b" },
		"recipient, on both sides":      func(c *Context, s *Sealed) { c.Recipient, s.Recipient = "lender-b", "lender-b" },
		"key id, expected":              func(c *Context, s *Sealed) { c.KeyID = "k" },
		"key id, on both sides":         func(c *Context, s *Sealed) { c.KeyID, s.KeyID = "k", "k" },
		"encapsulated key":              func(c *Context, s *Sealed) { s.Box[0] ^= 1 },
		"ciphertext":                    func(c *Context, s *Sealed) { s.Box[40] ^= 1 },
		"tag":                           func(c *Context, s *Sealed) { s.Box[len(s.Box)-1] ^= 1 },
		"length":                        func(c *Context, s *Sealed) { s.Box = s.Box[:len(s.Box)-1] },
		"everything but an encapsulate": func(c *Context, s *Sealed) { s.Box = s.Box[:32] },
		"empty box":                     func(c *Context, s *Sealed) { s.Box = nil },
	} {
		c2, s2 := c, s
		s2.Box = bytes.Clone(s.Box)
		change(&c2, &s2)
		if a, err := Open(k, c2, s2); !errors.Is(err, ErrSealed) || !reflect.DeepEqual(a, Answer{}) {
			t.Errorf("%s changed: opened with error %v", name, err)
		}
	}
	if _, err := Open(other, c, s); !errors.Is(err, ErrSealed) {
		t.Errorf("another key opens it: %v", err)
	}
}

func TestAnswerInsideMustBelongToTheEnvelope(t *testing.T) {
	k := key(t)
	c := context(k.PublicKey())
	a := sample(record.Answered, "HIGH")
	a.Body.RequestID = record.NewRequestID(hash(0x99))
	if _, err := Seal(k.PublicKey(), c, a); !errors.Is(err, ErrMismatch) {
		t.Errorf("sealed an answer to another request: %v", err)
	}
	// A provider that does not use Seal: the same box made by hand.
	plain, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal(k.PublicKey(), c.info(), pad(plain, answerSize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(k, c, Sealed{c.RequestID, c.Recipient, c.KeyID, box}); !errors.Is(err, ErrSealed) {
		t.Errorf("opened an answer to another request: %v", err)
	}
}

func TestAnswersAreAllOfOneLength(t *testing.T) {
	k := key(t)
	c := context(k.PublicKey())
	longest := sample(record.Answered, strings.Repeat(`"`, 64)) // each is escaped
	longest.Body.TemplateID = record.TemplateID(strings.Repeat("t", 64))
	longest.Body.Epoch, longest.Body.EvaluatedHeight = record.MaxInt, record.MaxInt
	lengths := map[int]bool{}
	for _, a := range []Answer{sample(record.Answered, "A"), sample(record.Answered, record.NoRecord), sample(record.Refused, ""), longest} {
		s, err := Seal(k.PublicKey(), c, a)
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(s.Encode())] = true
		if len(s.Box) != answerSize+sealOverhead || len(s.Encode()) > MaxSealed {
			t.Errorf("box of %d bytes, envelope of %d", len(s.Box), len(s.Encode()))
		}
	}
	if len(lengths) != 1 {
		t.Errorf("lengths differ: %v", lengths)
	}
}

func TestBadAnswersAreNotSealed(t *testing.T) {
	k := key(t)
	for name, a := range map[string]Answer{
		"refusal with an output": sample(record.Refused, "HIGH"),
		"answer without output":  sample(record.Answered, ""),
		"withheld":               sample(record.Withheld, ""),
		"output too long":        sample(record.Answered, strings.Repeat("x", 65)),
		"no salt":                func() Answer { a := sample(record.Answered, "A"); a.Body.Salt = Hash{}; return a }(),
	} {
		if _, err := Seal(k.PublicKey(), context(k.PublicKey()), a); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func expect() Expect {
	b := sample(record.Answered, "HIGH").Body
	return Expect{b.ChainID, b.RequestID, b.ConsentID, b.TemplateID, b.CodeHash, b.Epoch, []string{"HIGH", "LOW", record.NoRecord}}
}

func receipt(t testing.TB, a Answer) record.Receipt {
	t.Helper()
	r := record.Receipt{RequestID: a.Body.RequestID, Outcome: a.Outcome, EvaluatedHeight: a.Body.EvaluatedHeight}
	if a.Outcome == record.Answered {
		commitment, err := a.Body.Commitment()
		if err != nil {
			t.Fatal(err)
		}
		r.CodeHash, r.ResultCommitment = a.Body.CodeHash, commitment
	}
	return r
}

func TestVerifyHoldsTheAnswerAgainstRequestAndReceipt(t *testing.T) {
	for _, a := range []Answer{sample(record.Answered, "HIGH"), sample(record.Refused, "")} {
		if err := Verify(a, expect(), receipt(t, a)); err != nil {
			t.Errorf("%s: %v", a.Outcome, err)
		}
	}
	answered := sample(record.Answered, "HIGH")
	for name, change := range map[string]func(*Answer, *Expect, *record.Receipt){
		"request id":               func(a *Answer, e *Expect, r *record.Receipt) { e.RequestID = record.NewRequestID(hash(9)) },
		"consent id":               func(a *Answer, e *Expect, r *record.Receipt) { e.ConsentID = record.NewConsentID([16]byte{9}) },
		"chain id":                 func(a *Answer, e *Expect, r *record.Receipt) { e.ChainID = hash(9) },
		"template id":              func(a *Answer, e *Expect, r *record.Receipt) { e.TemplateID = "other" },
		"template code hash":       func(a *Answer, e *Expect, r *record.Receipt) { e.CodeHash = hash(9) },
		"epoch":                    func(a *Answer, e *Expect, r *record.Receipt) { e.Epoch++ },
		"does not list":            func(a *Answer, e *Expect, r *record.Receipt) { e.Outputs = []string{"LOW"} },
		"receipt's request id":     func(a *Answer, e *Expect, r *record.Receipt) { r.RequestID = record.NewRequestID(hash(9)) },
		"receipt's outcome":        func(a *Answer, e *Expect, r *record.Receipt) { r.Outcome = record.Refused },
		"receipt's template":       func(a *Answer, e *Expect, r *record.Receipt) { r.CodeHash = hash(9) },
		"receipt's evaluated":      func(a *Answer, e *Expect, r *record.Receipt) { r.EvaluatedHeight++ },
		"receipt's commitment":     func(a *Answer, e *Expect, r *record.Receipt) { r.ResultCommitment[5]++ },
		"the receipt's commitment": func(a *Answer, e *Expect, r *record.Receipt) { a.Body.Value = "LOW" },
		"receipt's commitment ":    func(a *Answer, e *Expect, r *record.Receipt) { a.Body.Salt[0]++ },
	} {
		a, e, r := answered, expect(), receipt(t, answered)
		change(&a, &e, &r)
		err := Verify(a, e, r)
		if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestKeysOfTheWrongShapeAreRefused(t *testing.T) {
	for _, n := range []int{0, 31, 33} {
		if _, err := ParsePublicKey(make([]byte, n)); err == nil {
			t.Errorf("public key of %d bytes accepted", n)
		}
		if _, err := ParsePrivateKey(make([]byte, n)); err == nil {
			t.Errorf("private key of %d bytes accepted", n)
		}
	}
	low, err := ParsePublicKey(make([]byte, 32)) // a point of low order
	if err == nil {
		_, err = Seal(low, context(low), sample(record.Answered, "HIGH"))
	}
	if err == nil {
		t.Error("sealed to a point of low order")
	}
}

func TestPaddingIsUndoneExactly(t *testing.T) {
	for _, n := range []int{0, 1, 510, 511, 512, 513, 1023, 1024, 2000} {
		plain := bytes.Repeat([]byte{0x80}, n)
		for _, size := range []int{padUnit, answerSize} {
			p := pad(plain, size)
			if len(p)%padUnit != 0 || len(p) < size {
				t.Errorf("%d bytes padded to %d", n, len(p))
			}
			if got, err := unpad(p); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 512), bytes.Repeat([]byte{1}, 512), append(make([]byte, 511), 1), {0x80}} {
		if _, err := unpad(bad); err == nil {
			t.Errorf("%d bytes accepted", len(bad))
		}
	}
}

func TestLeakIsLogTwoOfTheOutputsRoundedUp(t *testing.T) {
	for n, want := range map[int]uint64{0: 0, 1: 0, 2: 1000, 3: 1585, 4: 2000, 5: 2322, 6: 2585, 7: 2808, 8: 3000, 10: 3322, 16: 4000, 33: 5045, 64: 6000} {
		if got := LeakMillibits(n); got != want {
			t.Errorf("%d outputs: %d, want %d", n, got, want)
		}
	}
	for n := 2; n < 200; n++ { // answers together tell no more than their product: Σ ceil ≥ ceil Σ
		if LeakMillibits(n)+LeakMillibits(n) < LeakMillibits(n*n) {
			t.Errorf("two answers out of %d cost less than one out of %d", n, n*n)
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write testdata anew")

// vector is one line of testdata/vectors.json.
type vector struct {
	Name, PrivateKey, Info, Plain, Wire string
}

func TestVectors(t *testing.T) {
	const path = "testdata/vectors.json"
	if *rewrite {
		writeVectors(t, path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		k, err := ParsePrivateKey(unhex(t, v.PrivateKey))
		if err != nil {
			t.Fatal(err)
		}
		wire := unhex(t, v.Wire)
		switch v.Name {
		case "answer", "refusal", "anchored":
			s, err := DecodeSealed(wire)
			if err != nil || !bytes.Equal(s.Encode(), wire) {
				t.Fatalf("%s: %v", v.Name, err)
			}
			c := context(k.PublicKey())
			want := sample(record.Answered, "HIGH")
			if v.Name == "refusal" {
				want = sample(record.Refused, "")
			}
			if v.Name == "anchored" {
				want, _ = anchored(t)
			}
			plain, _ := want.encode()
			if hex.EncodeToString(c.info()) != v.Info || hex.EncodeToString(plain) != v.Plain {
				t.Errorf("%s: info or plaintext changed", v.Name)
			}
			if got, err := Open(k, c, s); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v", v.Name, err)
			}
		case "part":
			s, err := DecodeSealedPart(wire)
			if err != nil || !bytes.Equal(s.Encode(), wire) {
				t.Fatalf("part: %v", err)
			}
			plain, _ := record.Encode(samplePart())
			if hex.EncodeToString(s.Context.info()) != v.Info || hex.EncodeToString(plain) != v.Plain {
				t.Error("part: info or plaintext changed")
			}
			if got, err := OpenPart(k, s.Context, s); err != nil || !reflect.DeepEqual(got, samplePart()) {
				t.Errorf("part: %v", err)
			}
		default:
			t.Errorf("vector %q", v.Name)
		}
	}
	if len(vectors) != 4 {
		t.Errorf("%d vectors", len(vectors))
	}
}

func writeVectors(t *testing.T, path string) {
	k := key(t)
	priv, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	c := context(k.PublicKey())
	var out []vector
	proven, _ := anchored(t)
	for i, name := range []string{"answer", "refusal", "anchored"} {
		a := []Answer{sample(record.Answered, "HIGH"), sample(record.Refused, ""), proven}[i]
		s, err := Seal(k.PublicKey(), c, a)
		if err != nil {
			t.Fatal(err)
		}
		plain, _ := a.encode()
		out = append(out, vector{name, hex.EncodeToString(priv), hex.EncodeToString(c.info()), hex.EncodeToString(plain), hex.EncodeToString(s.Encode())})
	}
	p, err := SealPart(k.PublicKey(), "bank-a", "data-1", samplePart())
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := record.Encode(samplePart())
	out = append(out, vector{"part", hex.EncodeToString(priv), hex.EncodeToString(p.Context.info()), hex.EncodeToString(plain), hex.EncodeToString(p.Encode())})
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzDecodeSealed(f *testing.F) {
	k := key(f)
	s, err := Seal(k.PublicKey(), context(k.PublicKey()), sample(record.Answered, "HIGH"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Encode())
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSealed(b)
		if err == nil && !bytes.Equal(s.Encode(), b) {
			t.Fatal("decoding and encoding again is not the identity")
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	for _, a := range []Answer{sample(record.Answered, "HIGH"), sample(record.Refused, "")} {
		b, err := a.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(encode(wireContent{domainContent1, string(record.Answered), []byte("{}")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAnswer(b)
		if err != nil || bytes.Contains(b, []byte(domainContent1)) { // read, no longer written
			return
		}
		if again, err := a.encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("decoding and encoding again is not the identity: %v", err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k := key(b)
	c, a := context(k.PublicKey()), sample(record.Answered, "HIGH")
	for b.Loop() {
		if _, err := Seal(k.PublicKey(), c, a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := key(b)
	c := context(k.PublicKey())
	s, err := Seal(k.PublicKey(), c, sample(record.Answered, "HIGH"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Open(k, c, s); err != nil {
			b.Fatal(err)
		}
	}
}
