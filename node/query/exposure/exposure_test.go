package exposure

import (
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	groth16 "github.com/consensys/gnark/backend/groth16/bn254"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/pair"
)

// testKeys are made without a ceremony: whoever made them could prove what is
// false, which here is nobody.
var testKeys = sync.OnceValue(func() *KeySet {
	out := new(KeySet)
	for i, s := range Statements() {
		pk, vk := new(groth16.ProvingKey), new(groth16.VerifyingKey)
		if err := groth16.Setup(systems[s](), pk, vk); err != nil {
			panic(err)
		}
		out.Proving[i], out.Verifying[i] = &ProvingKey{s, pk}, &VerifyingKey{s, vk}
	}
	return out
})

func inRangeKey() *VerifyingKey   { return testKeys().Verifying[0] }
func thresholdKey() *VerifyingKey { return testKeys().Verifying[1] }

// bank is one bank of a world, with what only it knows.
type bank struct {
	private []byte
	figure  uint64
	opening Opening
	pledge  Pledge
}

// world is a session with its banks, played without a network.
type world struct {
	session Session
	banks   []bank
}

// fromSeed is a reproducible source for what needs no secrecy in a test.
func fromSeed(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func bytesOf(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func newWorld(t testing.TB, figures ...uint64) *world {
	t.Helper()
	w := &world{session: Session{
		ChainID: record.Hash{1}, RequestID: record.NewRequestID(record.Hash{2}), Lender: "lender", Recipient: "lender",
	}}
	for i, figure := range figures {
		w.add(t, fmt.Sprintf("bank-%02d", i), figure)
	}
	return w
}

func (w *world) add(t testing.TB, name string, figure uint64) {
	t.Helper()
	r := fromSeed(uint64(len(w.banks)) + 100)
	b := bank{private: bytesOf(r, 32), figure: figure}
	key, err := ecdh.X25519().NewPrivateKey(b.private)
	if err != nil {
		t.Fatal(err)
	}
	w.session.Seats = append(w.session.Seats, Seat{
		Bank: record.OrgID(name), ConsentID: record.ConsentID(fmt.Sprintf("0x%032x", len(w.banks)+1)), Epoch: 3, CodeHash: record.Hash{9}, KeyID: "k1",
		Key: key.PublicKey().Bytes(),
	})
	i := len(w.banks)
	b.opening, b.pledge = pledgeFor(t, w.session.pledgeContext(i), figure)
	w.session.Seats[i].Pledge = b.pledge.Hash(w.session.pledgeContext(i))
	w.banks = append(w.banks, b)
}

// pledgeFor remembers pledges: making one takes a while, and the worlds of most
// tests are alike.
func pledgeFor(t testing.TB, c *PledgeContext, figure uint64) (Opening, Pledge) {
	t.Helper()
	type made struct {
		o Opening
		p Pledge
	}
	key := fmt.Sprint(c, figure)
	if m, known := pledges.Load(key); known {
		return m.(made).o, m.(made).p
	}
	o, p, err := MakePledge(testKeys().Proving[0], c, figure)
	if err != nil {
		t.Fatal(err)
	}
	pledges.Store(key, made{o, p})
	return o, p
}

var pledges sync.Map

func (w *world) secrets(t testing.TB, seat int) []pair.Secret {
	t.Helper()
	out := make([]pair.Secret, len(w.banks))
	for j := range w.banks {
		if j == seat {
			continue
		}
		var err error
		if out[j], err = pair.New(w.banks[seat].private, w.session.Seats[j].Key); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (w *world) share(t testing.TB, seat int) *Share {
	t.Helper()
	h, err := MakeShare(&w.session, seat, w.banks[seat].opening, w.banks[seat].pledge, w.secrets(t, seat))
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

func (w *world) deliveries(t testing.TB) []Delivery {
	t.Helper()
	var out []Delivery
	for i := range w.banks {
		out = append(out, Delivery{Bank: w.session.Seats[i].Bank, Share: w.share(t, i).Bytes()})
	}
	return out
}

// blamed runs Combine and returns the faults as text.
func blamed(t *testing.T, s *Session, d []Delivery) []string {
	t.Helper()
	sum, err := Combine(inRangeKey(), s, d)
	var blame *Blame
	if !errors.As(err, &blame) {
		t.Fatalf("sum %v, error %v; want a blame", sum != nil, err)
	}
	var out []string
	for _, f := range blame.Faults {
		f.Detail = ""
		out = append(out, f.String())
	}
	return out
}

func TestSharesAddUpToTheTotalOfTheFigures(t *testing.T) {
	const most = 1<<ValueBits - 1
	for _, figures := range [][]uint64{{0, 0, 0}, {1, 2, 3}, {most, most, most}, {0, 12_345_00, 0, 7, 0}} {
		w := newWorld(t, figures...)
		want := uint64(0)
		for _, f := range figures {
			want += f
		}
		sum, err := Combine(inRangeKey(), &w.session, w.deliveries(t))
		if err != nil {
			t.Fatalf("%v: %v", figures, err)
		}
		if sum.Total() != want {
			t.Errorf("%v: total %d", figures, sum.Total())
		}
	}
}

// A pledge of zero, as a bank makes it for somebody who is no customer, has the
// same length as any other, and the same figure twice has nothing in common.
func TestAPledgeOfZeroCannotBeToldApart(t *testing.T) {
	w := newWorld(t, 0, 0, 1<<ValueBits-1)
	a, b, c := w.banks[0].pledge.Bytes(), w.banks[1].pledge.Bytes(), w.banks[2].pledge.Bytes()
	if len(a) != len(c) || len(a) != PledgeSize {
		t.Errorf("pledges of %d and %d bytes", len(a), len(c))
	}
	_, again, err := MakePledge(testKeys().Proving[0], w.session.pledgeContext(0), 0)
	if err != nil {
		t.Fatal(err)
	}
	if string(a[:PointSize]) == string(b[:PointSize]) || again.Point.Equal(w.banks[0].pledge.Point) {
		t.Error("two pledges of zero are the same")
	}
	if len(w.share(t, 0).Bytes()) != len(w.share(t, 2).Bytes()) {
		t.Error("shares of different lengths")
	}
}

func TestAFigureOutOfRangeCannotBePledged(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	c := w.session.pledgeContext(0)
	if _, _, err := MakePledge(testKeys().Proving[0], c, 1<<ValueBits); !errors.Is(err, ErrRange) {
		t.Errorf("2^40: %v", err)
	}
	// A bank that leaves out our check finds no proof.
	minusOne := reduced(big.NewInt(-1))
	for name, v := range map[string]Scalar{"2^40": scalarOf(1 << ValueBits), "-1": minusOne} {
		if _, err := pledgeOf(testKeys().Proving[0], c, Opening{v, RandomScalar()}); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A bank that pledges -10 with the proof of another pledge would lower the total.
func TestAPledgeOutOfRangeIsItsBanksFault(t *testing.T) {
	w := newWorld(t, 100, 200, 300)
	o := Opening{reduced(big.NewInt(-10)), RandomScalar()}
	w.banks[1].opening, w.banks[1].pledge = o, Pledge{o.commitment(), w.banks[1].pledge.Proof}
	w.session.Seats[1].Pledge = w.banks[1].pledge.Hash(w.session.pledgeContext(1))
	if got := fmt.Sprint(blamed(t, &w.session, w.deliveries(t))); got != "[bank-01: OUT_OF_RANGE]" {
		t.Error(got)
	}
}

func TestEveryFaultNamesItsBank(t *testing.T) {
	w := newWorld(t, 100, 200, 300, 400)
	good := w.deliveries(t)
	later := *w
	later.session.RequestID = record.NewRequestID(record.Hash{3})
	nextEpoch := newWorld(t, 100, 200, 300, 400)
	nextEpoch.session.Seats[2].Epoch = 4
	nextEpoch.session.Seats[2].Pledge = nextEpoch.banks[2].pledge.Hash(nextEpoch.session.pledgeContext(2))
	changed := w.share(t, 2)
	changed.Value = changed.Value.add(scalarOf(1))
	blinded := w.share(t, 2)
	blinded.Blinding = blinded.Blinding.add(scalarOf(1))
	o, other, err := MakePledge(testKeys().Proving[0], w.session.pledgeContext(2), 0)
	if err != nil {
		t.Fatal(err)
	}
	switched := w.share(t, 2)
	switched.Pledge, switched.Value = other, o.Value
	masked := w.share(t, 2) // lies about the mask with bank 3, and fits its share to it
	masked.Masks[2] = masked.Masks[2].add(pedersen(scalarOf(5), scalarOf(0)))
	masked.Value = masked.Value.add(scalarOf(5))
	for name, c := range map[string]struct {
		deliver Delivery
		want    string
	}{
		"nothing came":          {Delivery{Bank: "stranger", Share: good[2].Share}, "[bank-02: MISSING]"},
		"after the deadline":    {Delivery{Bank: "bank-02", Late: true, Share: good[2].Share}, "[bank-02: LATE]"},
		"noise":                 {Delivery{Bank: "bank-02", Share: []byte("noise")}, "[bank-02: MALFORMED]"},
		"cut short":             {Delivery{Bank: "bank-02", Share: good[2].Share[:len(good[2].Share)-1]}, "[bank-02: MALFORMED]"},
		"of another request":    {Delivery{Bank: "bank-02", Share: later.share(t, 2).Bytes()}, "[bank-02: REPLAYED]"},
		"of another epoch":      {Delivery{Bank: "bank-02", Share: nextEpoch.share(t, 2).Bytes()}, "[bank-02: REPLAYED]"},
		"another bank's":        {Delivery{Bank: "bank-02", Share: good[1].Share}, "[bank-02: REPLAYED]"},
		"value changed":         {Delivery{Bank: "bank-02", Share: changed.Bytes()}, "[bank-02: WRONG_SHARE]"},
		"blinding changed":      {Delivery{Bank: "bank-02", Share: blinded.Bytes()}, "[bank-02: WRONG_SHARE]"},
		"figure changed later":  {Delivery{Bank: "bank-02", Share: switched.Bytes()}, "[bank-02: UNPLEDGED]"},
		"a mask that is no one": {Delivery{Bank: "bank-02", Share: masked.Bytes()}, "[bank-02: MASK_DISPUTED with bank-03 bank-03: MASK_DISPUTED with bank-02]"},
	} {
		d := append([]Delivery(nil), good...)
		d[2] = c.deliver
		if got := fmt.Sprint(blamed(t, &w.session, d)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	twice := append(append([]Delivery(nil), good...), Delivery{Bank: "bank-02", Share: changed.Bytes()})
	if got := fmt.Sprint(blamed(t, &w.session, twice)); got != "[bank-02: CONFLICTING]" {
		t.Errorf("two different shares: %s", got)
	}
	again := append(append([]Delivery(nil), good...), good[2])
	if _, err := Combine(inRangeKey(), &w.session, again); err != nil {
		t.Errorf("the same share twice: %v", err)
	}
}

// Two liars are both named, and the honest are not.
func TestFaultsOfSeveralBanksAreAllNamed(t *testing.T) {
	w := newWorld(t, 1, 2, 3, 4, 5)
	d := w.deliveries(t)
	bad := w.share(t, 4)
	bad.Value = bad.Value.add(scalarOf(1))
	d[4].Share = bad.Bytes()
	if got := fmt.Sprint(blamed(t, &w.session, d[1:])); got != "[bank-00: MISSING bank-04: WRONG_SHARE]" {
		t.Error(got)
	}
}

func TestAPledgeServesNoOtherContext(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	p, c := w.banks[0].pledge, *w.session.pledgeContext(0)
	if err := p.Verify(inRangeKey(), &c); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*PledgeContext){
		"chain": func(c *PledgeContext) { c.ChainID[0]++ }, "bank": func(c *PledgeContext) { c.Bank = "bank-01" },
		"consent": func(c *PledgeContext) { c.ConsentID = "0x00000000000000000000000000000077" }, "epoch": func(c *PledgeContext) { c.Epoch++ },
		"template": func(c *PledgeContext) { c.CodeHash[0]++ },
	} {
		other := c
		change(&other)
		if err := p.Verify(inRangeKey(), &other); !errors.Is(err, ErrProof) {
			t.Errorf("another %s: %v", name, err)
		}
		if p.Hash(&other) == p.Hash(&c) {
			t.Errorf("another %s: the same hash", name)
		}
	}
}

func TestSessionsThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Session)
		word   string
	}{
		"two banks":               {func(s *Session) { s.Seats = s.Seats[:2] }, "3 to 30"},
		"31 banks":                {func(s *Session) { s.Seats = append(make([]Seat, 28), s.Seats...) }, "31 banks"},
		"a bank twice":            {func(s *Session) { s.Seats[1].Bank = s.Seats[0].Bank }, "bank-00"},
		"out of order":            {func(s *Session) { s.Seats[0], s.Seats[1] = s.Seats[1], s.Seats[0] }, "ascending"},
		"the lender sits in it":   {func(s *Session) { s.Lender, s.Recipient = "bank-01", "bank-01" }, "bank-01"},
		"aggregator sits in it":   {func(s *Session) { s.Threshold, s.Recipient = 5, "bank-01" }, "bank-01"},
		"total to an aggregator":  {func(s *Session) { s.Recipient = "other" }, "lender"},
		"threshold to the lender": {func(s *Session) { s.Threshold = 5 }, "aggregator"},
		"threshold too high":      {func(s *Session) { s.Threshold, s.Recipient = MaxThreshold+1, "other" }, "threshold"},
		"data key missing":        {func(s *Session) { s.Seats[2].Key = nil }, "bank-02"},
		"data key zero":           {func(s *Session) { s.Seats[2].Key = make([]byte, 32) }, "bank-02"},
		"data key of the twist":   {func(s *Session) { s.Seats[2].Key = append([]byte{2}, make([]byte, 31)...) }, "bank-02"},
	} {
		w := newWorld(t, 1, 2, 3)
		c.change(&w.session)
		_, err := Combine(inRangeKey(), &w.session, nil)
		if !errors.Is(err, ErrSession) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEverySessionFieldChangesItsDigest(t *testing.T) {
	base := newWorld(t, 1, 2, 3).session
	seen := map[Hash]string{base.Digest(): "unchanged"}
	for name, change := range map[string]func(*Session){
		"chain": func(s *Session) { s.ChainID[0]++ }, "request": func(s *Session) { s.RequestID += "0" },
		"lender": func(s *Session) { s.Lender += "x" }, "recipient": func(s *Session) { s.Recipient += "x" },
		"threshold": func(s *Session) { s.Threshold++ }, "bank": func(s *Session) { s.Seats[1].Bank += "x" },
		"consent": func(s *Session) { s.Seats[1].ConsentID += "x" }, "epoch": func(s *Session) { s.Seats[1].Epoch++ },
		"code": func(s *Session) { s.Seats[1].CodeHash[0]++ }, "key id": func(s *Session) { s.Seats[1].KeyID += "x" },
		"key": func(s *Session) { s.Seats[1].Key = s.Seats[0].Key }, "pledge": func(s *Session) { s.Seats[1].Pledge = sha256.Sum256(nil) },
		"set": func(s *Session) { s.Seats = s.Seats[:2] },
	} {
		s := base
		s.Seats = append([]Seat(nil), base.Seats...)
		change(&s)
		if before, known := seen[s.Digest()]; known {
			t.Errorf("%s: the digest of %s", name, before)
		}
		seen[s.Digest()] = name
	}
}
