package cohort

import (
	"crypto/ecdh"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/pair"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seeded is randomness that can be drawn again.
func seeded(what ...any) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, what...)))
}

func privateKey(seat int) [32]byte { return sha256.Sum256(fmt.Append(nil, "data key ", seat)) }

// world is a session of some banks.
type world struct {
	t       testing.TB
	session Session
	secrets [][]pair.Secret
	tallies []*Tally
	noisers []*Noiser
}

func incomes() Plan {
	return Plan{Epsilon: 2_000_000, K: 20, Statistics: []Statistic{
		{Kind: Histogram, Column: "age", Cuts: []int64{30, 50}},
		{Kind: Mean, Column: "income", Low: 0, High: 10_000, Granule: 10},
		{Kind: Sum, Column: "debt", Low: -500, High: 2_000, Granule: 100},
	}}
}

func newWorld(t testing.TB, banks int, p Plan) *world {
	t.Helper()
	w := &world{t: t, session: Session{ChainID: record.Hash{7}, RequestID: record.NewRequestID(record.Hash{1}), Lender: "lender", Plan: p}}
	private := make([][]byte, banks)
	for i := range banks {
		key := privateKey(i)
		private[i] = key[:]
		k, err := ecdh.X25519().NewPrivateKey(private[i])
		must(t, err)
		w.session.Seats = append(w.session.Seats, Seat{
			Bank: record.OrgID(fmt.Sprintf("bank-%02d", i)), ProductID: "card", CodeHash: record.Hash{byte(i)}, Epoch: 3, KeyID: "data-1", Key: k.PublicKey().Bytes(),
		})
		w.tallies = append(w.tallies, NewTally(&w.session.Plan))
		w.noisers = append(w.noisers, newNoiser(seeded("noise of ", i)))
	}
	must(t, w.session.Check())
	w.secrets = make([][]pair.Secret, banks)
	for i := range banks {
		w.secrets[i] = make([]pair.Secret, banks)
		for j := range banks {
			if i != j {
				var err error
				w.secrets[i][j], err = pair.New(private[i], w.session.Seats[j].Key)
				must(t, err)
			}
		}
	}
	return w
}

// next is another session of the same banks.
func (w *world) next(n int) {
	w.session.RequestID = record.NewRequestID(record.Hash{2, byte(n >> 8), byte(n)})
}

// fill gives every bank customers whose figures are even.
func (w *world) fill(each int) {
	w.t.Helper()
	for b, tally := range w.tallies {
		for i := range each {
			values := make([]Value, len(w.session.Plan.Statistics))
			for k := range values {
				values[k] = Value{N: int64(100*b + i)}
			}
			must(w.t, tally.Add(fmt.Sprintf("customer %d", i), values))
		}
	}
}

func (w *world) counts() []Delivery {
	w.t.Helper()
	var out []Delivery
	for i := range w.session.Seats {
		h, err := MakeCount(&w.session, i, w.tallies[i], w.noisers[i], w.secrets[i])
		must(w.t, err)
		out = append(out, Delivery{Bank: w.session.Seats[i].Bank, Share: h.Bytes()})
	}
	return out
}

func (w *world) figures(d *Decision) []Delivery {
	w.t.Helper()
	var out []Delivery
	for i := range w.session.Seats {
		h, err := MakeFigures(&w.session, i, w.tallies[i], w.noisers[i], w.secrets[i], d)
		must(w.t, err)
		out = append(out, Delivery{Bank: w.session.Seats[i].Bank, Share: h.Bytes()})
	}
	return out
}

// run is a whole session in which everybody keeps to the protocol.
func (w *world) run() (counts, figures []Delivery) {
	w.t.Helper()
	counts = w.counts()
	d, err := Decide(&w.session, counts)
	must(w.t, err)
	return counts, w.figures(d)
}

// seeds are all banks' of the session.
func (w *world) seeds() [][]Seed {
	out := make([][]Seed, len(w.session.Seats))
	for i := range out {
		out[i] = make([]Seed, len(out))
		for j := range out {
			if i != j {
				out[i][j] = SeedOf(w.secrets[i][j], w.session.Digest(), i, j)
			}
		}
	}
	return out
}
