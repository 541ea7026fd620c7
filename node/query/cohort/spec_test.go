package cohort

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the vectors anew")

const vectorFile = "testdata/vectors/session.json"

// vectors are what another implementation must get from the same inputs: the session
// of newWorld(3, incomes()) filled with 200 customers each, noise from the stated bytes.
type vectors struct {
	Plan      string     `json:"planBytes"`
	Threshold int64      `json:"threshold"`
	Digest    string     `json:"sessionDigest"`
	Keys      []string   `json:"dataKeys"` // private
	Seeds     []string   `json:"seeds"`    // of the pairs 0-1, 0-2, 1-2
	Masks     []uint64   `json:"masks"`    // of the pair 0-1: the count, then the cells
	Tallies   [][]int64  `json:"tallies"`  // by seat: the count, then the cells
	Noise     [][]int64  `json:"noise"`
	Counts    []string   `json:"countShares"`
	Figures   []string   `json:"figureShares"`
	Draws     []drawn    `json:"draws"`
	Result    resultLine `json:"result"`
}

type drawn struct {
	Bytes  string `json:"randomBytes"`
	Num    uint64 `json:"num"`
	Den    uint64 `json:"den"`
	Values []int64
}

type resultLine struct {
	Count   int64   `json:"count"`
	Buckets []int64 `json:"buckets"`
	Mean    float64 `json:"mean"`
	Sum     string  `json:"sum"`
}

func computed(t *testing.T) vectors {
	w := newWorld(t, 3, incomes())
	w.fill(200)
	digest := w.session.Digest()
	v := vectors{Plan: hex.EncodeToString(w.session.Plan.bytes()), Threshold: w.session.Plan.Threshold(3), Digest: hex.EncodeToString(digest[:])}
	for i, tally := range w.tallies {
		key := privateKey(i)
		v.Keys = append(v.Keys, hex.EncodeToString(key[:]))
		v.Tallies = append(v.Tallies, append([]int64{tally.count}, tally.cells...))
		n := newNoiser(seeded("noise of ", i))
		noise := []int64{n.share(w.session.Plan.rate(0))}
		for k := range w.session.Plan.Statistics {
			for range w.session.Plan.Statistics[k].cells() {
				noise = append(noise, n.share(w.session.Plan.rate(k+1)))
			}
		}
		v.Noise = append(v.Noise, noise)
	}
	for _, p := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
		seed := SeedOf(w.secrets[p[0]][p[1]], digest, p[0], p[1])
		v.Seeds = append(v.Seeds, hex.EncodeToString(seed[:]))
	}
	v.Masks = SeedOf(w.secrets[0][1], digest, 0, 1).masks(0, 1+w.session.Plan.cells())
	counts, figures := w.run()
	for i := range counts {
		v.Counts, v.Figures = append(v.Counts, hex.EncodeToString(counts[i].Share)), append(v.Figures, hex.EncodeToString(figures[i].Share))
	}
	r, err := Combine(&w.session, counts, figures)
	must(t, err)
	v.Result = resultLine{r.Count, r.Figures[0].Buckets, r.Figures[1].Mean, r.Figures[2].Sum.String()}
	for _, x := range []rate{{1, 1}, {1, 3}, {500_000, 1_000_000}} {
		var random [4096]byte
		_, _ = seeded("draws", x).Read(random[:]) // does not fail
		n := newNoiser(bytes.NewReader(random[:]))
		d := drawn{Bytes: hex.EncodeToString(random[:]), Num: x.num, Den: x.den}
		for range 3 {
			d.Values = append(d.Values, n.share(x))
		}
		v.Draws = append(v.Draws, d)
	}
	return v
}

// What SPEC.md says is what the code does: the vectors are unchanged.
func TestVectors(t *testing.T) {
	got := computed(t)
	if *rewrite {
		b, err := json.MarshalIndent(got, "", " ")
		must(t, err)
		must(t, os.MkdirAll("testdata/vectors", 0o755))
		must(t, os.WriteFile(vectorFile, append(b, '\n'), 0o644))
	}
	b, err := os.ReadFile(vectorFile)
	must(t, err)
	var want vectors
	must(t, json.Unmarshal(b, &want))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the vectors have changed: a new version of the format is needed\n%+v", got)
	}
}

// FuzzShare: decoding never panics, and encodes again as it was.
func FuzzShare(f *testing.F) {
	w := newWorld(f, 3, incomes())
	w.fill(200)
	counts, figures := w.run()
	for _, d := range append(counts[:1], figures[:2]...) {
		f.Add(d.Share)
		f.Add(d.Share[:len(d.Share)-1])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeShare(b)
		if err == nil && !bytes.Equal(h.Bytes(), b) {
			t.Errorf("%x encodes as %x", b, h.Bytes())
		}
		// Whatever comes from one bank, the others' shares stand, and it is named.
		list := append([]Delivery{{Bank: "bank-00", Share: b}}, figures[1:]...)
		if _, err := Combine(&w.session, counts, list); err == nil && !bytes.Equal(b, figures[0].Share) {
			g, _ := DecodeShare(b)
			if g.Session != w.session.Digest() || g.Seat != 0 {
				t.Error("a foreign share was added up")
			}
		}
	})
}
