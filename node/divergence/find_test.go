package divergence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/compact"

	"github.com/assent-network/assent/node/ledger"
)

// leaves is a receipt log in memory.
type leaves struct {
	receipts []ledger.Receipt
	writes   [][]ledger.WriteHash
}

func (l *leaves) LogUpTo(size uint64) (*compact.Range, error) {
	r := ledger.NewLog()
	for i := range size {
		if i >= uint64(len(l.receipts)) {
			return nil, errors.New("there is less")
		}
		h := l.receipts[i].LeafHash()
		if err := r.Append(h[:], nil); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (l *leaves) root(t *testing.T, size uint64) ledger.Hash {
	t.Helper()
	r, err := l.LogUpTo(size)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ledger.LogRoot(r)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func (l *leaves) Leaf(p uint64) (*ledger.Receipt, []ledger.WriteHash, error) {
	if p >= uint64(len(l.receipts)) {
		return nil, nil, errors.New("there is less")
	}
	return &l.receipts[p], l.writes[p], nil
}

func write(key string, value byte) ledger.WriteHash {
	return ledger.WriteHash{Key: key, Value: []byte{value}}
}

// add appends a transaction's leaf.
func (l *leaves) add(code string, writes ...ledger.WriteHash) {
	n := len(l.receipts)
	l.receipts = append(l.receipts, ledger.Receipt{
		TxID: ledger.Sum(fmt.Append(nil, n)), Height: ledger.Height(n / 3), Index: uint64(n % 3), Code: code,
		Events: ledger.HashEvents(nil), Writes: ledger.HashWrites(writes),
	})
	l.writes = append(l.writes, writes)
}

func (l *leaves) clone() *leaves { return &leaves{slices.Clone(l.receipts), slices.Clone(l.writes)} }

// set replaces what the transaction at p did.
func (l *leaves) set(p int, code string, writes ...ledger.WriteHash) {
	l.receipts[p].Code, l.receipts[p].Writes, l.writes[p] = code, ledger.HashWrites(writes), writes
}

// peers are logs by name; what a peer sends may be bent.
type peers struct {
	logs  map[string]*leaves
	bend  map[string]func(page []*ledger.Receipt) []*ledger.Receipt
	lie   map[string]func([]ledger.WriteHash) []ledger.WriteHash
	mute  map[string]bool
	page  int
	asked []string
}

func (p *peers) Receipts(ctx context.Context, peer string, from, limit uint64) ([]*ledger.Receipt, error) {
	if !slices.Contains(p.asked, peer) {
		p.asked = append(p.asked, peer)
	}
	if p.mute[peer] {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	l := p.logs[peer]
	var out []*ledger.Receipt
	for i := from; i < uint64(len(l.receipts)) && uint64(len(out)) < min(limit, uint64(p.page)); i++ {
		r := l.receipts[i]
		out = append(out, &r)
	}
	if f := p.bend[peer]; f != nil {
		out = f(out)
	}
	return out, nil
}

func (p *peers) Writes(_ context.Context, peer string, position uint64) ([]ledger.WriteHash, error) {
	w := p.logs[peer].writes[position]
	if f := p.lie[peer]; f != nil {
		w = f(slices.Clone(w))
	}
	return w, nil
}

// world is an own log, what is certified, and honest peers.
func world(t *testing.T) (own, certified *leaves, cfg func() Config, p *peers) {
	own = &leaves{}
	for i := range 40 {
		own.add("OK", write(fmt.Sprintf("access/usage/%02d", i), 1), write(fmt.Sprintf("access/zlast/%02d", i), byte(i)))
	}
	certified = own.clone()
	p = &peers{logs: map[string]*leaves{"a": certified, "b": certified}, page: 3}
	return own, certified, func() Config {
		const from = 17
		return Config{Own: own, Peers: p, Ask: []string{"a", "b"}, PerAsk: 50 * time.Millisecond, Claim: Claim{
			From: from, FromRoot: certified.root(t, from), Size: uint64(len(certified.receipts)), Root: certified.root(t, uint64(len(certified.receipts))), OwnSize: uint64(len(own.receipts)),
		}}
	}, p
}

func TestTheFirstTransactionAndKeyThatDifferAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(own *leaves)
		want   Finding
	}{
		"another value": {func(l *leaves) { l.set(20, "OK", write("access/usage/20", 9), l.writes[20][1]); l.set(30, "OK") },
			Finding{Position: 20, Part: PartWrites, Key: "access/usage/20", HasHere: true, HasThere: true}},
		"a row too many": {func(l *leaves) { l.set(39, "OK", l.writes[39][0], write("access/usage/more", 1), l.writes[39][1]) },
			Finding{Position: 39, Part: PartWrites, Key: "access/usage/more", HasHere: true}},
		"a row too few": {func(l *leaves) { l.set(17, "OK", l.writes[17][0]) },
			Finding{Position: 17, Part: PartWrites, Key: "access/zlast/17", HasThere: true}},
		"a removal": {func(l *leaves) { l.set(25, "OK", l.writes[25][0], ledger.WriteHash{Key: "access/zlast/25"}) },
			Finding{Position: 25, Part: PartWrites, Key: "access/zlast/25", HasHere: true, HasThere: true}},
		"refused here": {func(l *leaves) { l.set(21, "PANIC") },
			Finding{Position: 21, Part: PartWrites, Key: "access/usage/21", HasThere: true}},
		"an index row is named last": {func(l *leaves) {
			l.set(22, "OK", write("access/ix/a", 1), l.writes[22][0], write("access/zlast/22", 77))
		},
			Finding{Position: 22, Part: PartWrites, Key: "access/zlast/22", HasHere: true, HasThere: true}},
		"an index row alone": {func(l *leaves) { l.set(22, "OK", write("access/ix/a", 1), l.writes[22][0], l.writes[22][1]) },
			Finding{Position: 22, Part: PartWrites, Key: "access/ix/a", HasHere: true}},
		"the code":            {func(l *leaves) { l.receipts[23].Code = "ODD" }, Finding{Position: 23, Part: PartCode}},
		"the events":          {func(l *leaves) { l.receipts[24].Events[3] ^= 1 }, Finding{Position: 24, Part: PartEvents}},
		"the place":           {func(l *leaves) { l.receipts[24].Index += 9 }, Finding{Position: 24, Part: PartPlace}},
		"another transaction": {func(l *leaves) { l.receipts[26].TxID[0] ^= 1 }, Finding{Position: 26, Part: PartIdentity}},
	} {
		t.Run(name, func(t *testing.T) {
			own, certified, cfg, _ := world(t)
			c.change(own)
			f, err := Find(t.Context(), cfg())
			if err != nil {
				t.Fatal(err)
			}
			if f.Certified != certified.receipts[c.want.Position] || f.Own == nil || *f.Own != own.receipts[c.want.Position] {
				t.Errorf("receipts %+v and %+v", f.Certified, f.Own)
			}
			c.want.Certified, c.want.Own = f.Certified, f.Own
			if *f != c.want {
				t.Errorf("found %+v, want %+v", *f, c.want)
			}
		})
	}
}

func TestWhatIsMissingHereIsNamed(t *testing.T) {
	own, certified, cfg, _ := world(t)
	own.receipts, own.writes = own.receipts[:35], own.writes[:35]
	f, err := Find(t.Context(), cfg())
	if err != nil || f.Own != nil || f.Part != PartIdentity || f.Certified != certified.receipts[35] {
		t.Errorf("found %+v, %v", f, err)
	}
}

// Whatever a peer sends, nothing is named that the certified root does not prove;
// an honest peer behind it is heard all the same.
func TestALyingPeerCannotNameAnything(t *testing.T) {
	other := func(r *ledger.Receipt, f func(*ledger.Receipt)) *ledger.Receipt {
		c := *r
		f(&c)
		return &c
	}
	for name, lie := range map[string]func(p *peers){
		"another code": func(p *peers) {
			p.bend["a"] = func(page []*ledger.Receipt) []*ledger.Receipt {
				page[0] = other(page[0], func(r *ledger.Receipt) { r.Code = "LIE" })
				return page
			}
		},
		"another transaction": func(p *peers) {
			p.bend["a"] = func(page []*ledger.Receipt) []*ledger.Receipt {
				page[len(page)-1] = other(page[0], func(r *ledger.Receipt) { r.TxID[5] ^= 1 })
				return page
			}
		},
		"nothing": func(p *peers) { p.bend["a"] = func([]*ledger.Receipt) []*ledger.Receipt { return nil } },
		"too many": func(p *peers) {
			p.bend["a"] = func(page []*ledger.Receipt) []*ledger.Receipt {
				for len(page) < 5000 {
					page = append(page, page[0])
				}
				return page
			}
		},
		"silence": func(p *peers) { p.mute["a"] = true },
		"its own wrong log": func(p *peers) {
			l := p.logs["a"].clone()
			l.set(19, "OK", write("membership/innocent", 1))
			p.logs["a"] = l
		},
		"other writes": func(p *peers) {
			p.lie["a"] = func(w []ledger.WriteHash) []ledger.WriteHash { return append(w, write("membership/innocent", 1)) }
		},
		"no writes": func(p *peers) { p.lie["a"] = func([]ledger.WriteHash) []ledger.WriteHash { return nil } },
	} {
		t.Run(name, func(t *testing.T) {
			own, certified, cfg, p := world(t)
			own.set(33, "OK", write("access/usage/33", 9), own.writes[33][1])
			p.bend, p.lie, p.mute = map[string]func([]*ledger.Receipt) []*ledger.Receipt{}, map[string]func([]ledger.WriteHash) []ledger.WriteHash{}, map[string]bool{}
			lie(p)
			f, err := Find(t.Context(), cfg())
			if err != nil || f.Key != "access/usage/33" || f.Certified != certified.receipts[33] {
				t.Errorf("found %+v, %v", f, err)
			}
			alone := cfg()
			alone.Ask = []string{"a"}
			if f, err := Find(t.Context(), alone); err == nil {
				t.Errorf("the liar alone made it name %+v", f)
			}
		})
	}
}

func TestWhatCannotBeComparedIsSaid(t *testing.T) {
	_, _, cfg, p := world(t)
	if _, err := Find(t.Context(), cfg()); !errors.Is(err, ErrSame) {
		t.Errorf("all receipts are the certified ones: %v", err)
	}
	if len(p.asked) != 1 {
		t.Errorf("asked %v: the first was proven right", p.asked)
	}
	damaged := cfg()
	damaged.Claim.FromRoot[0] ^= 1
	nobody := cfg()
	nobody.Ask = nil
	huge := cfg()
	huge.Claim.Size = maxLeaves + huge.Claim.From + 1
	before := cfg()
	before.Claim.Size = before.Claim.From
	for name, c := range map[string]Config{"damaged log": damaged, "no peer": nobody, "too much": huge, "nothing": before} {
		if f, err := Find(t.Context(), c); err == nil || errors.Is(err, ErrSame) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// Random logs with random differences, against the obvious way of finding them.
func TestTheFirstDifferenceOfRandomLogs(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range 60 {
		own, certified, cfg, p := world(t)
		p.page = 1 + rng.IntN(20)
		for range 1 + rng.IntN(4) {
			at := rng.IntN(len(own.receipts))
			w := slices.Clone(own.writes[at])
			w[rng.IntN(len(w))].Value = []byte{byte(rng.IntN(4)), 5}
			own.set(at, []string{"OK", "DENIED"}[rng.IntN(2)], w...)
		}
		want := slices.IndexFunc(own.receipts, func(r ledger.Receipt) bool { return r != certified.receipts[slices.Index(own.receipts, r)] })
		f, err := Find(t.Context(), cfg())
		if want < 17 { // below what was certified before: this node's log is no base
			if err == nil {
				t.Fatalf("seed %d round %d: found %+v over a damaged base", seed, round, f)
			}
			continue
		}
		if err != nil || int(f.Position) != want || f.Part != PartWrites {
			t.Fatalf("seed %d round %d: found %+v, %v, want position %d", seed, round, f, err, want)
		}
		for i, w := range certified.writes[want] {
			if own.writes[want][i].Value[0] != w.Value[0] || len(own.writes[want][i].Value) != len(w.Value) {
				if f.Key != w.Key {
					t.Fatalf("seed %d round %d: key %s, want %s", seed, round, f.Key, w.Key)
				}
				break
			}
		}
	}
}
