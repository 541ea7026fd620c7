package sync

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/assent-network/assent/node/ledger"
)

// TestPreparedBlocksAreTakenLikeOthers gives answers, right ones and spoilt ones,
// to a client that has checked them ahead and to one that has not: they go equally
// far and blame the same. The history changes its config in between.
func TestPreparedBlocksAreTakenLikeOthers(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	c := history(20)
	items := make([]blockItem, 20)
	for i := range items {
		items[i] = blockItem{c.Blocks[i+1].Encode(), c.Certs[i+1].Encode()}
	}
	outcome := func(items []blockItem, ahead bool) (ledger.Height, error) {
		s := newStore(t, c, 0)
		defer s.Close()
		client := newClient(t, s, newNet())
		a := &blocksAnswer{Tag: tagBlocksAnswer, Tip: 20, Blocks: items}
		var ready []checked
		if ahead {
			ready = prepare(items, 1, s.Tip().Config)
		}
		err := client.take(t.Context(), a, ready, 1, s.Append)
		return s.Tip().Height, err
	}
	spoilt := 0
	for range 60 {
		given := make([]blockItem, len(items))
		copy(given, items)
		if at := rng.IntN(2 * len(given)); at < len(given) {
			x := &given[at]
			switch rng.IntN(4) {
			case 0:
				x.Block = flipped(rng, x.Block)
			case 1:
				x.Certificate = flipped(rng, x.Certificate)
			case 2:
				x.Certificate = given[(at+1)%len(given)].Certificate
			default:
				*x = given[(at+1)%len(given)]
			}
			spoilt++
		}
		plain, plainErr := outcome(given, false)
		ahead, aheadErr := outcome(given, true)
		var a, b fault
		if plain != ahead || (plainErr == nil) != (aheadErr == nil) || errors.As(plainErr, &a) != errors.As(aheadErr, &b) {
			t.Fatalf("one by one: %d, %v; checked ahead: %d, %v", plain, plainErr, ahead, aheadErr)
		}
		if plainErr == nil && plain != 20 {
			t.Fatalf("without an error at %d", plain)
		}
	}
	if spoilt == 0 {
		t.Fatal("nothing was spoilt")
	}
}

func flipped(rng *rand.Rand, b []byte) []byte {
	out := append([]byte(nil), b...)
	out[rng.IntN(len(out))] ^= 1 << rng.IntN(8)
	return out
}

// TestWhatIsWrongAheadIsNotAppended: a block that was checked ahead and found wrong
// stays out, and so does everything after it.
func TestWhatIsWrongAheadIsNotAppended(t *testing.T) {
	c := history(8)
	s := newStore(t, c, 0)
	defer s.Close()
	items := make([]blockItem, 8)
	for i := range items {
		items[i] = blockItem{c.Blocks[i+1].Encode(), c.Certs[i+1].Encode()}
	}
	items[2].Certificate = items[3].Certificate
	ready := prepare(items, 1, s.Tip().Config)
	var lied fault
	if err := newClient(t, s, newNet()).take(t.Context(), &blocksAnswer{Tip: 8, Blocks: items}, ready, 1, s.Append); !errors.As(err, &lied) {
		t.Fatalf("the peer is not blamed: %v", err)
	}
	if got := s.Tip().Height; got != 2 {
		t.Fatalf("tip is %d", got)
	}
}
