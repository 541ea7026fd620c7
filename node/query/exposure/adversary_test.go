package exposure

import (
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/pair"
)

// transcript is every share of a session.
func (w *world) transcript(t *testing.T) []*Share {
	t.Helper()
	var out []*Share
	for i := range w.banks {
		out = append(out, w.share(t, i))
	}
	return out
}

// The lender and all banks but two hold: every share, every pair secret but the one
// between the two, and every opening but theirs. For each split of the sum of the
// two there are an opening of each pledge and a mask between the two that give
// exactly these bytes, so that the bytes cannot tell the splits apart.
//
// The pledges hide perfectly, but nobody can compute their other openings: the test
// can, because it plays with generators of which it knows the logarithm.
func TestLenderWithAllBanksButTwoLearnsTheirSumAlone(t *testing.T) {
	const seed = 41
	r := fromSeed(seed)
	log := scalarOf(r.Uint64()) // H' = log·G
	commit := func(v, blinding Scalar) Scalar { return v.add(product(log, blinding)) }
	w := newWorld(t, 700, 20, 3, 150)
	shares := w.transcript(t)
	digest := w.session.Digest()
	known := func(i int) (value, blinding Scalar) { // what remains of a share without the known masks
		value, blinding = shares[i].Value, shares[i].Blinding
		for j := range w.banks {
			if j == i || (i < 2 && j < 2) {
				continue
			}
			m := maskOf(w.secrets(t, j)[i], digest, min(i, j), max(i, j)) // computed by the colluding bank j
			if i < j {
				m = mask{m.value.neg(), m.blinding.neg()}
			}
			value, blinding = value.add(m.value), blinding.add(m.blinding)
		}
		return value, blinding
	}
	v0, b0 := known(0)
	v1, b1 := known(1)
	if got := v0.add(v1); !got.Equal(scalarOf(720)) {
		t.Fatal("the colluders do not even learn the sum")
	}
	// What they hold of the two: v0, b0, v1, b1, the pledges and the mask's commitment.
	m := maskOf(w.secrets(t, 0)[1], digest, 0, 1)
	c0, c1 := commit(w.banks[0].opening.Value, w.banks[0].opening.Blinding), commit(w.banks[1].opening.Value, w.banks[1].opening.Blinding)
	cm := commit(m.value, m.blinding)
	inverse := Scalar{new(big.Int).ModInverse(log.big(), order())}
	for split := uint64(0); split <= 720; split++ {
		first, second := scalarOf(split), scalarOf(720-split)
		blinding0 := product(inverse, c0.add(first.neg())) // opens the first pledge to the split
		blinding1 := product(inverse, c1.add(second.neg()))
		value := v0.add(first.neg()) // the mask that explains the first share
		blinding := b0.add(blinding0.neg())
		switch {
		case !second.add(value.neg()).Equal(v1) || !blinding1.add(blinding.neg()).Equal(b1):
			t.Fatalf("seed %d: split %d does not explain the second share", seed, split)
		case !commit(value, blinding).Equal(cm):
			t.Fatalf("seed %d: split %d does not explain the mask's commitment", seed, split)
		}
	}
}

func product(a, b Scalar) Scalar { return reduced(new(big.Int).Mul(a.big(), b.big())) }

// With all banks but one nothing is left to hide: the function itself tells.
// Without any one share nobody learns anything: what is left is uniform.
func TestSharesWithoutOneAddUpToNothing(t *testing.T) {
	w := newWorld(t, 100, 200, 300)
	seen := map[string]bool{}
	for n := range 8 {
		w.session.RequestID = record.NewRequestID(record.Hash{byte(n)})
		shares := w.transcript(t)
		sum := shares[0].Value.add(shares[1].Value)
		if sum.big().BitLen() < 128 || seen[string(sum.Bytes())] {
			t.Errorf("two of three shares add up to something small, or to the same in two sessions")
		}
		seen[string(sum.Bytes())] = true
	}
}

// A bank that lies before it pledges is not caught: nobody proves that data are
// true. One that lies afterwards is, even with a valid pledge of another figure.
func TestABankMayLieBeforeItPledgesAndNotAfter(t *testing.T) {
	before := newWorld(t, 100, 200, 0)
	sum, err := Combine(inRangeKey(), &before.session, before.deliveries(t))
	if err != nil || sum.Total() != 300 {
		t.Fatal(err)
	}
	w := newWorld(t, 100, 200, 300)
	lie := *w
	lie.banks = append([]bank(nil), w.banks...)
	lie.banks[2].opening, lie.banks[2].pledge = pledgeFor(t, w.session.pledgeContext(2), 0)
	if _, err := MakeShare(&w.session, 2, lie.banks[2].opening, lie.banks[2].pledge, w.secrets(t, 2)); !errors.Is(err, ErrSession) {
		t.Errorf("our own code makes the false share: %v", err)
	}
	h := w.share(t, 2)
	h.Value = h.Value.add(scalarOf(300).neg())
	d := w.deliveries(t)
	d[2].Share = h.Bytes()
	if got := fmt.Sprint(blamed(t, &w.session, d)); got != "[bank-02: WRONG_SHARE]" {
		t.Error(got)
	}
}

func TestTwoBanksCannotShiftFiguresBetweenThemUnseen(t *testing.T) {
	// Together they may, for the total stays what it is; alone neither can blame the
	// other: the pair's opening tells.
	w := newWorld(t, 10, 20, 30)
	liar := w.share(t, 2)
	liar.Masks[0] = liar.Masks[0].add(pedersen(scalarOf(1), scalarOf(0)))
	liar.Value = liar.Value.add(scalarOf(1).neg())
	if !liar.adds() {
		t.Fatal("the lie does not fit its own share")
	}
	open := func(a, b int) *PairOpening {
		o, err := OpenPair(w.banks[a].private, w.session.Seats[b].Key)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodePairOpening(o.Bytes())
		if err != nil || back != o {
			t.Fatalf("opening does not survive its encoding: %v", err)
		}
		return &back
	}
	honest, other := w.share(t, 0), open(1, 2)
	o0, o2 := open(0, 2), open(2, 0)
	forged := *o2
	forged.Secret = other.Secret
	for name, c := range map[string]struct {
		second   *Share
		openings [2]*PairOpening
		want     string
	}{
		"the liar is found":           {liar, [2]*PairOpening{o0, o2}, "[bank-02: WRONG_SHARE with bank-00 (stated another mask than the pair's)]"},
		"also if it refuses to open":  {liar, [2]*PairOpening{o0, nil}, "[bank-02: WRONG_SHARE with bank-00 (did not open the pair's secret) bank-02: WRONG_SHARE with bank-00 (stated another mask than the pair's)]"},
		"or opens another secret":     {liar, [2]*PairOpening{o0, other}, "[bank-02: WRONG_SHARE with bank-00 (its opening of the pair's secret does not hold) bank-02: WRONG_SHARE with bank-00 (stated another mask than the pair's)]"},
		"or forges one":               {liar, [2]*PairOpening{o0, &forged}, "[bank-02: WRONG_SHARE with bank-00 (its opening of the pair's secret does not hold) bank-02: WRONG_SHARE with bank-00 (stated another mask than the pair's)]"},
		"nobody is blamed for naught": {w.share(t, 2), [2]*PairOpening{o0, o2}, "[]"},
	} {
		faults, err := Settle(&w.session, 0, 2, [2]*Share{honest, c.second}, c.openings)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := fmt.Sprint(faults); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// The opening proves what X25519 computes, for many keys.
func TestAPairOpeningShowsWhatTheBanksDerive(t *testing.T) {
	const seed = 5
	r := fromSeed(seed)
	for range 20 {
		a, b := bytesOf(r, 32), bytesOf(r, 32)
		pubA, pubB := publicKey(t, a), publicKey(t, b)
		want, err := pair.New(a, pubB)
		if err != nil {
			t.Fatal(err)
		}
		other, err := pair.New(b, pubA)
		if err != nil || other != want {
			t.Fatalf("seed %d: the two do not agree: %v", seed, err)
		}
		o, err := OpenPair(a, pubB)
		if err != nil {
			t.Fatal(err)
		}
		got, err := o.verify(pubA, pubB)
		if err != nil || got != want {
			t.Fatalf("seed %d: %v", seed, err)
		}
		o.Response[0] ^= 1
		if _, err := o.verify(pubA, pubB); !errors.Is(err, ErrProof) {
			t.Errorf("seed %d: a changed opening: %v", seed, err)
		}
	}
}

func thresholdWorld(t *testing.T, threshold uint64, figures ...uint64) *world {
	t.Helper()
	w := newWorld(t, figures...)
	w.session.Recipient, w.session.Threshold = "aggregator", threshold
	return w
}

func TestAVerdictTellsOneBitAndItIsTrue(t *testing.T) {
	for _, c := range []struct {
		threshold uint64
		want      bool
	}{{600, true}, {601, false}} {
		w := thresholdWorld(t, c.threshold, 100, 200, 300)
		sum, err := Combine(inRangeKey(), &w.session, w.deliveries(t))
		if err != nil {
			t.Fatal(err)
		}
		v, err := MakeVerdict(testKeys().Proving[1], &w.session, sum)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeVerdict(v.Bytes())
		if err != nil || back.Reached != c.want {
			t.Fatalf("threshold %d: reached %v, %v", c.threshold, back.Reached, err)
		}
		if err := CheckVerdict(inRangeKey(), thresholdKey(), &w.session, &back); err != nil {
			t.Errorf("threshold %d: %v", c.threshold, err)
		}
		if c.want {
			lyingAggregator(t, w, sum, v)
		}
	}
}

func lyingAggregator(t *testing.T, w *world, sum *Sum, v Verdict) {
	t.Helper()
	if _, err := verdictOf(testKeys().Proving[1], &w.session, sum, !v.Reached); !errors.Is(err, ErrProof) {
		t.Errorf("the false bit was proved: %v", err)
	}
	bogus := *sum
	bogus.Opening.Value = scalarOf(5)
	if _, err := verdictOf(testKeys().Proving[1], &w.session, &bogus, false); !errors.Is(err, ErrProof) {
		t.Errorf("another total was proved: %v", err)
	}
	refused := func(name string, s *Session, v Verdict) {
		t.Helper()
		if err := CheckVerdict(inRangeKey(), thresholdKey(), s, &v); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	flipped := v
	flipped.Reached = !v.Reached
	refused("the bit flipped", &w.session, flipped)
	other := v
	_, zero := pledgeFor(t, w.session.pledgeContext(1), 0)
	other.Pledges = append([]Pledge(nil), v.Pledges...)
	other.Pledges[1] = zero
	refused("another pledge", &w.session, other)
	short := v
	short.Pledges = v.Pledges[:2]
	refused("a pledge left out", &w.session, short)
	later := w.session
	later.RequestID = record.NewRequestID(record.Hash{77})
	refused("another request", &later, v)
	moved := v
	moved.Session = later.Digest()
	refused("another request, relabelled", &later, moved)
	lower := w.session
	lower.Threshold--
	moved.Session = lower.Digest()
	refused("another threshold, relabelled", &lower, moved)
}
