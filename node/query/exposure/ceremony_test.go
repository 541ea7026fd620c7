package exposure

import (
	"bytes"
	"errors"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/frontend"
)

// tinyCircuit stands for one of the two in tests of a ceremony: those of the
// protocol take a minute.
type tinyCircuit struct {
	A, B frontend.Variable `gnark:",public"`
	C    frontend.Variable
}

func (c *tinyCircuit) Define(api frontend.API) error {
	api.AssertIsEqual(api.Mul(c.A, c.C), c.B)
	api.AssertIsEqual(api.Mul(c.C, c.C, c.C), 27)
	return nil
}

func tinyCeremony() *Ceremony {
	c := new(Ceremony)
	c.systems[0], c.systems[1] = compile(new(tinyCircuit)), compile(new(tinyCircuit))
	return c.sized()
}

// The ceremony with two members: contributions chain, every change is noticed, and
// its keys prove and verify.
func TestACeremonyMakesKeys(t *testing.T) {
	ceremony := tinyCeremony()
	beacon1, beacon2 := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	a := must(ceremony.ContributeOne(nil))
	b := must(ceremony.ContributeOne([][]byte{a}))
	one := [][]byte{a, b}
	c := must(ceremony.ContributeTwo(one, beacon1, nil))
	two := [][]byte{c}
	keys, err := ceremony.Keys(one, beacon1, two, beacon2)
	if err != nil {
		t.Fatal(err)
	}
	provesTiny(t, ceremony, keys)
	damaged := bytes.Clone(b)
	damaged[len(damaged)/2] ^= 1
	for name, err := range map[string]error{
		"order":      ceremony.CheckOne([][]byte{b, a}),
		"one twice":  ceremony.CheckOne([][]byte{a, a}),
		"left out":   ceremony.CheckOne([][]byte{b}),
		"damaged":    ceremony.CheckOne([][]byte{a, damaged}),
		"cut":        ceremony.CheckOne([][]byte{a[:100]}),
		"longer":     ceremony.CheckOne([][]byte{append(bytes.Clone(a), 0)}),
		"phase":      ceremony.CheckOne([][]byte{c}),
		"beacon":     ceremony.CheckTwo(one, beacon2, two),
		"no beacon":  ceremony.CheckTwo(one, nil, two),
		"other one":  ceremony.CheckTwo(one[:1], beacon1, two),
		"nobody one": ceremony.CheckTwo(nil, beacon1, two),
	} {
		if !errors.Is(err, ErrCeremony) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ceremony.Keys(one, beacon1, two, beacon1); !errors.Is(err, ErrCeremony) {
		t.Errorf("the same beacon twice: %v", err)
	}
	if _, err := ceremony.Keys(one, beacon1, nil, beacon2); !errors.Is(err, ErrCeremony) {
		t.Errorf("nobody in phase 2: %v", err)
	}
	again, err := ceremony.Keys(one, beacon1, two, beacon2)
	if err != nil || again.Fingerprint() != keys.Fingerprint() {
		t.Errorf("computed again, other keys: %v", err)
	}
}

func provesTiny(t *testing.T, ceremony *Ceremony, keys *KeySet) {
	t.Helper()
	witness, err := frontend.NewWitness(&tinyCircuit{A: 2, B: 6, C: 3}, ecc.BN254.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	public, err := witness.Public()
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys.Proving {
		proof, err := groth16.Prove(ceremony.systems[i], keys.Proving[i].pk, witness)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := proof.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		inputs := append(fr.Vector(nil), public.Vector().(fr.Vector)...)
		if err := keys.Verifying[i].verify(b.Bytes(), inputs); err != nil {
			t.Errorf("statement %d: %v", i, err)
		}
		if err := keys.Verifying[1-i].verify(b.Bytes(), inputs); err == nil {
			t.Errorf("statement %d: its proof holds under the other's key", i)
		}
		inputs[1].SetUint64(7)
		if err := keys.Verifying[i].verify(b.Bytes(), inputs); !errors.Is(err, ErrProof) {
			t.Errorf("statement %d: another input: %v", i, err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	keys := testKeys()
	for i, s := range Statements() {
		var v, p bytes.Buffer
		if _, err := keys.Verifying[i].WriteTo(&v); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Proving[i].WriteTo(&p); err != nil {
			t.Fatal(err)
		}
		vk, err := ReadVerifyingKey(s, v.Bytes())
		if err != nil || vk.Fingerprint() != keys.Verifying[i].Fingerprint() {
			t.Errorf("%s: %v", s, err)
		}
		if _, err := ReadProvingKey(s, p.Bytes()); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		for name, b := range map[string][]byte{"cut": v.Bytes()[:v.Len()-1], "longer": append(v.Bytes(), 0), "proving": p.Bytes(), "empty": nil} {
			if _, err := ReadVerifyingKey(s, b); !errors.Is(err, ErrKey) {
				t.Errorf("%s: %s: %v", s, name, err)
			}
		}
		if _, err := ReadVerifyingKey(Statements()[1-i], v.Bytes()); !errors.Is(err, ErrKey) {
			t.Errorf("%s read as the other: %v", s, err)
		}
	}
}
