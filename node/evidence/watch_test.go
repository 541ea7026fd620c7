package evidence

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// listener is a Watch and what it told.
type listener struct {
	*Watch
	t      *testing.T
	proofs map[string]*Proof // by validator, height and view
	seen   map[Sighting]int
}

func listen(t *testing.T, tip ledger.Height) *listener {
	l := &listener{t: t, proofs: make(map[string]*Proof), seen: make(map[Sighting]int)}
	l.Watch = NewWatch(Config{
		ChainID: chain, Position: position,
		Key: func(id uint64) (ledger.Address, bool) {
			v := conf.Validator(id)
			if v == nil {
				return ledger.Address{}, false
			}
			return v.VoteKey, true
		},
		Found: func(id uint64, p *Proof) {
			key := fmt.Sprint(id, p.Height, p.View)
			if l.proofs[key] != nil {
				t.Errorf("proof %s was told twice", key)
			}
			if err := p.Check(chain); err != nil || p.VoteKey != ledgertest.VoteKey(id).Address() {
				t.Errorf("no proof against %d: %v", id, err)
			}
			l.proofs[key] = p
		},
		Seen: func(s Sighting) { l.seen[s]++ },
	}, tip)
	return l
}

func (l *listener) propose(by, view, height uint64, variant string) {
	header, meta := blockAt(view, height, variant)
	l.Proposed(by, header, meta)
}

// vote comes under the name of variant, which is the engine's digest here.
func (l *listener) vote(by, view, height uint64, variant string) {
	l.voteLater(by, view, view, height, variant)
}

// voteLater is a vote in a view for what was proposed in another.
func (l *listener) voteLater(by, cast, view, height uint64, variant string) {
	header, _ := blockAt(view, height, variant)
	sig := voteFor(l.t, by, cast, header)
	l.Voted(by, cast, height, variant, sig[:])
}

func (l *listener) decide(view, height uint64, variant string, voters ...uint64) {
	raw, meta := blockAt(view, height, variant)
	h, err := ledger.DecodeHeader(raw)
	if err != nil {
		l.t.Fatal(err)
	}
	cert := &ledger.Certificate{Header: ledger.Sum(raw), View: view}
	for _, id := range voters {
		cert.Votes = append(cert.Votes, ledger.Vote{Validator: id, Sig: voteFor(l.t, id, view, raw)})
	}
	l.Decided(h, cert.Header, meta, cert)
}

func (l *listener) expect(proofs, sightings int) {
	l.t.Helper()
	if len(l.proofs) != proofs || len(l.seen) != sightings {
		l.t.Errorf("%d proofs and sightings %v, want %d and %d", len(l.proofs), l.seen, proofs, sightings)
	}
}

func TestWhoVotesForTwoBlocksIsProven(t *testing.T) {
	for name, say := range map[string]func(l *listener){
		"both proposals, both votes": func(l *listener) {
			l.propose(1, 2, 5, "a")
			l.propose(1, 2, 5, "b")
			l.vote(3, 2, 5, "a")
			l.vote(3, 2, 5, "b")
		},
		"votes before the proposals": func(l *listener) {
			l.vote(3, 2, 5, "a")
			l.vote(3, 2, 5, "b")
			l.propose(1, 2, 5, "a")
			l.propose(1, 2, 5, "b")
		},
		"one vote here, one in a certificate":            func(l *listener) { l.propose(1, 2, 5, "b"); l.vote(3, 2, 5, "b"); l.decide(2, 5, "a", 1, 3, 4) },
		"the vote comes after the decision":              func(l *listener) { l.decide(2, 5, "a", 1, 3, 4); l.propose(1, 2, 5, "b"); l.vote(3, 2, 5, "b") },
		"the other block is shown in a view change only": func(l *listener) { l.vote(3, 2, 5, "b"); l.decide(2, 5, "a", 1, 3, 4); l.propose(0, 2, 5, "b") },
		"two certificates":                               func(l *listener) { l.decide(2, 5, "a", 1, 3, 4); l.decide(2, 5, "b", 2, 3) },
		"a block taken over and one proposed in that view": func(l *listener) {
			l.propose(1, 1, 5, "a")
			l.propose(2, 2, 5, "b")
			l.voteLater(3, 2, 1, 5, "a")
			l.vote(3, 2, 5, "b")
		},
		"what the vote is called is a lie": func(l *listener) {
			l.propose(1, 2, 5, "b")
			header, _ := blockAt(2, 5, "b")
			sig := voteFor(l.t, 3, 2, header)
			l.Voted(3, 2, 5, "a", sig[:])
			l.decide(2, 5, "a", 1, 3, 4)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, 4)
			say(l)
			if len(l.proofs) != 1 || l.proofs["3 5 2"] == nil {
				t.Errorf("proofs: %v", l.proofs)
			}
			say(l) // a second time says nothing new
			if len(l.proofs) != 1 {
				t.Errorf("proofs: %v", l.proofs)
			}
		})
	}
}

func TestALeaderThatProposesTwoBlocksIsSeen(t *testing.T) {
	want := Sighting{2, TwoProposals, 5, 1}
	for name, say := range map[string]func(l *listener){
		"both here":                       func(l *listener) { l.propose(2, 1, 5, "a"); l.propose(2, 1, 5, "b"); l.propose(2, 1, 5, "c") },
		"one here, the other was decided": func(l *listener) { l.propose(2, 1, 5, "a"); l.decide(1, 5, "b", 1, 3, 4) },
		"the other way round":             func(l *listener) { l.decide(1, 5, "b", 1, 3, 4); l.propose(2, 1, 5, "a") },
	} {
		l := listen(t, 4)
		say(l)
		if len(l.seen) != 1 || l.seen[want] != 1 || len(l.proofs) != 0 {
			t.Errorf("%s: seen %v, proofs %v", name, l.seen, l.proofs)
		}
	}
}

func TestVotesForWhatNobodyKnowsAreSeen(t *testing.T) {
	l := listen(t, 4)
	l.propose(1, 1, 5, "a")
	l.vote(3, 1, 5, "a")
	l.vote(3, 1, 5, "nobody has it")
	l.vote(3, 1, 5, "nor this")
	if l.seen[Sighting{3, TwoVotes, 5, 1}] != 1 {
		t.Errorf("seen: %v", l.seen)
	}
	l.expect(0, 1)
}

// A leader's votes come after its proposal, so the signature of each is known to be for
// that block: one that it hands out under two names is seen all the same.
func TestOneSignatureUnderTwoNamesIsSeen(t *testing.T) {
	for _, first := range []string{"a", "another name"} {
		l := listen(t, 4)
		l.propose(1, 1, 5, "a")
		header, _ := blockAt(1, 5, "a")
		sig := voteFor(t, 1, 1, header)
		second := map[string]string{"a": "another name", "another name": "a"}[first]
		l.Voted(1, 1, 5, first, sig[:])
		l.Voted(1, 1, 5, second, sig[:])
		l.Voted(1, 1, 5, second, sig[:])
		if l.seen[Sighting{1, TwoVotes, 5, 1}] != 1 {
			t.Errorf("%s first: seen %v", first, l.seen)
		}
		l.decide(1, 5, "a", 1, 2, 3)
		l.expect(0, 1)
	}
}

func TestWhoKeepsTheRulesIsNotNamed(t *testing.T) {
	for name, say := range map[string]func(l *listener){
		"another block in a later view": func(l *listener) {
			l.propose(1, 1, 5, "a")
			l.vote(3, 1, 5, "a")
			l.propose(2, 2, 5, "b")
			l.vote(3, 2, 5, "b")
			l.decide(2, 5, "b", 1, 2, 3)
		},
		"a block taken over in a later view": func(l *listener) {
			l.propose(1, 1, 5, "a")
			l.vote(3, 1, 5, "a")
			l.voteLater(3, 2, 1, 5, "a")
			l.decide(1, 5, "a", 1, 2, 3)
		},
		"a block taken over, and another in a later view": func(l *listener) {
			l.propose(1, 1, 5, "a")
			l.propose(2, 3, 5, "b")
			l.voteLater(3, 2, 1, 5, "a")
			l.vote(3, 3, 5, "b")
			l.decide(3, 5, "b", 1, 2, 3)
		},
		"said again": func(l *listener) {
			for range 3 {
				l.propose(1, 1, 5, "a")
				l.vote(3, 1, 5, "a")
				l.decide(1, 5, "a", 1, 2, 3)
			}
		},
		"a liar shows a block that nobody proposed": func(l *listener) {
			l.propose(1, 1, 5, "a")
			l.vote(3, 1, 5, "a")
			l.propose(0, 1, 5, "x")
			l.decide(1, 5, "a", 1, 2, 3)
		},
		"somebody signs with another's name": func(l *listener) {
			l.propose(1, 1, 5, "a")
			l.propose(2, 2, 5, "b")
			header, _ := blockAt(2, 5, "b")
			sig := voteFor(l.t, 4, 2, header) // its own key
			l.Voted(3, 2, 5, "b", sig[:])
			l.vote(3, 1, 5, "a")
		},
		"junk": func(l *listener) {
			l.Proposed(1, []byte("x"), []byte{1, 5})
			l.Proposed(1, nil, nil)
			l.Voted(3, 1, 5, "a", []byte("short"))
			l.Voted(9, 1, 5, "a", make([]byte, 65))
			l.propose(1, 1, 0, "a")
			l.propose(1, 1, 200, "a")
			l.vote(3, 1, 200, "a")
		},
	} {
		l := listen(t, 4)
		say(l)
		if len(l.proofs) != 0 || len(l.seen) != 0 {
			t.Errorf("%s: proofs %v, seen %v", name, l.proofs, l.seen)
		}
	}
}

// A liar that floods finds no room but its own, and what was old is forgotten.
func TestTheMemoryIsBounded(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	l := listen(t, 0)
	for h := uint64(1); h <= 200; h++ {
		for range 10 {
			l.propose(2, 1, h, fmt.Sprint("p", rng.IntN(100)))
			var sig [65]byte
			sig[0], sig[64] = byte(rng.IntN(256)), byte(rng.IntN(2))
			l.Voted(2, 1, h, fmt.Sprint("v", rng.IntN(100)), sig[:])
		}
		l.propose(1, 0, h, "b")
		l.vote(3, 0, h, "b")
		l.decide(0, h, "a", 1, 3, 4)
		if l.proofs[fmt.Sprint(3, h, 0)] == nil {
			t.Fatalf("the flood hid the proof at height %d", h)
		}
	}
	for i := range l.slots {
		s := &l.slots[i]
		if len(s.blocks) > 3*perProposer || len(s.votes) > 4*perVoter {
			t.Errorf("height %d remembers %d blocks and %d votes", s.height, len(s.blocks), len(s.votes))
		}
	}
}
