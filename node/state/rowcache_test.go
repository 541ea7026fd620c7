package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// likeConsent is a row of the kind that is packed: mostly the same words, some hashes.
func likeConsent(r *rand.Rand, kind string) []byte {
	b := []byte(`{"kind":"` + kind + `"`)
	for i := range 20 {
		b = fmt.Appendf(b, `,"the name of field %d of %s":"%016x"`, i, kind, r.Uint64())
	}
	return append(b, '}')
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	c := newRowCache(1 << 20)
	put := map[string][]byte{}
	for i := range 5000 {
		key := fmt.Sprint(r.IntN(300))
		var row []byte
		switch r.IntN(5) {
		case 0: // there is none
		case 1:
			row = make([]byte, r.IntN(packLeast))
		case 2:
			row = make([]byte, r.IntN(3*sampleMost))
			for i := range row {
				row[i] = byte(r.Uint32())
			}
		default:
			row = likeConsent(r, []string{"first", "second"}[i/2500])
		}
		c.put(key, row)
		if put[key] = row; len(row) > c.rows.budget/2 {
			delete(put, key)
		}
		key = fmt.Sprint(r.IntN(300))
		got, ok := c.get(key)
		want, known := put[key]
		if ok && !known || ok && (!bytes.Equal(got, want) || (got == nil) != (want == nil)) {
			t.Fatalf("step %d: row %s has %d bytes, put were %d", i, key, len(got), len(want))
		}
		if c.rows.used > c.rows.budget {
			t.Fatalf("step %d: %d bytes of %d", i, c.rows.used, c.rows.budget)
		}
	}
}

func TestRowsThatAreAlikeTakeLittle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := newRowCache(1 << 30)
	fill := func(kind string, n int) (raw, used int) {
		before := c.rows.used
		for i := range n {
			row := likeConsent(r, kind)
			raw += len(row)
			c.put(fmt.Sprint(kind, i), row)
		}
		return raw, c.rows.used - before - n*(entryOverhead+10)
	}
	for _, kind := range []string{"consents of a bank", "something that nobody has seen before"} {
		fill(kind, sampleTrust+2*sampleRows) // until the sample is one of this kind
		if raw, used := fill(kind+" ", 1000); used > raw/2 {
			t.Errorf("1,000 %s of %d bytes take %d", kind, raw, used)
		}
	}
}
