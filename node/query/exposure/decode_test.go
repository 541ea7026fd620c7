package exposure

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestPointsMetBeforeChangeNothing decodes damaged shares with and without the
// points of the session's other shares at hand: what is accepted, and as what, must
// not depend on them.
func TestPointsMetBeforeChangeNothing(t *testing.T) {
	w := newWorld(t, 1, 2, 3, 4)
	warm := make(points)
	for i := range w.banks {
		if _, err := decodeShare(w.share(t, i).Bytes(), warm); err != nil {
			t.Fatal(err)
		}
	}
	if want := 4 * 3 / 2; len(warm) != want {
		t.Fatalf("%d points were kept of %d pairs", len(warm), want)
	}
	const seed = 5
	rng := rand.New(rand.NewPCG(seed, 6))
	accepted := 0
	for range 60 {
		b := w.share(t, rng.IntN(4)).Bytes()
		switch masks := len(b) - 3*PointSize; rng.IntN(3) {
		case 0:
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		case 1: // a mask in another's place
			copy(b[masks:], b[masks+PointSize:masks+2*PointSize])
		case 2: // the identity, which is no mask
			copy(b[masks:], identity().Bytes())
		}
		cold, coldErr := DecodeShare(b)
		got, err := decodeShare(b, warm)
		if (err == nil) != (coldErr == nil) || err != nil && err.Error() != coldErr.Error() || !reflect.DeepEqual(got, cold) {
			t.Fatalf("seed %d: %v and %v", seed, err, coldErr)
		}
		if err == nil {
			accepted++
		}
	}
	if accepted == 0 || accepted == 60 {
		t.Errorf("%d of 60 accepted: the run shows one side only", accepted)
	}
}
