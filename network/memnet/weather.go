package memnet

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/assent-network/assent/network"
)

// Conditions are what one direction of a link does to what crosses it. The zero
// value is a perfect link.
type Conditions struct {
	Delay Delay
	// Loss is the share of messages that are lost, 0 to 1; of requests and of
	// responses it is the share that never arrives, so that the asker waits in
	// vain.
	Loss float64
	// Repeat is the share of messages that arrive a second time, after some of
	// the later ones.
	Repeat float64
	// Rate is how many bytes cross in a second, all classes and protocols
	// together; 0: any number.
	Rate int
}

// Delay is a distribution: at least Least, Typical on average as far as Most
// allows, the rest exponential. Zero is no delay.
type Delay struct{ Least, Typical, Most time.Duration }

func (d Delay) draw(r *rand.Rand) time.Duration {
	if d.Typical <= d.Least {
		return d.Least
	}
	return min(d.Least+time.Duration(r.ExpFloat64()*float64(d.Typical-d.Least)), max(d.Most, d.Typical))
}

// maxRepeatAfter bounds how many later messages pass before a repetition.
const maxRepeatAfter = 8

// Weather makes Faults from a seed. The nth decision of a kind about what goes
// from one host to another depends on the seed, the two, the kind and n, and on
// nothing else: not on what happens on other links meanwhile. Its methods may be
// called from any goroutine, also while the Net runs.
type Weather struct {
	seed uint64

	mu     sync.Mutex // guards what follows
	usual  Conditions
	links  map[direction]Conditions
	drawer map[decision]*rand.Rand
}

type direction struct{ from, to network.PeerID }

// decision is a sequence of decisions of one kind about one direction.
type decision struct {
	direction
	kind string
}

// NewWeather returns perfect weather.
func NewWeather(seed uint64) *Weather {
	return &Weather{seed: seed, links: make(map[direction]Conditions), drawer: make(map[decision]*rand.Rand)}
}

// Set changes the conditions of every direction that SetLink has not changed.
func (w *Weather) Set(c Conditions) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.usual = c
}

// SetLink changes the conditions of one direction.
func (w *Weather) SetLink(from, to network.PeerID, c Conditions) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links[direction{from, to}] = c
}

// Clear makes the weather perfect again.
func (w *Weather) Clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.usual = Conditions{}
	clear(w.links)
}

// Faults returns what New wants.
func (w *Weather) Faults() Faults {
	return Faults{
		Delay: func(from, to network.PeerID) time.Duration {
			w.mu.Lock()
			defer w.mu.Unlock()
			d, c := w.atLocked(from, to)
			return c.Delay.draw(w.drawLocked(d, "delay"))
		},
		Lose: func(from, to network.PeerID, c network.Class, _ []byte) bool {
			return w.happens(from, to, "lose "+c.String(), func(c Conditions) float64 { return c.Loss })
		},
		LoseTrip: func(from, to network.PeerID, p network.Protocol) bool {
			return w.happens(from, to, "lose "+string(p), func(c Conditions) float64 { return c.Loss })
		},
		Repeat: func(from, to network.PeerID, c network.Class, _ []byte) int {
			if !w.happens(from, to, "repeat "+c.String(), func(c Conditions) float64 { return c.Repeat }) {
				return 0
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			return 1 + w.drawLocked(direction{from, to}, "repeat after").IntN(maxRepeatAfter)
		},
		Rate: func(from, to network.PeerID) int {
			w.mu.Lock()
			defer w.mu.Unlock()
			_, c := w.atLocked(from, to)
			return c.Rate
		},
	}
}

func (w *Weather) happens(from, to network.PeerID, kind string, share func(Conditions) float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, c := w.atLocked(from, to)
	return w.drawLocked(d, kind).Float64() < share(c)
}

func (w *Weather) atLocked(from, to network.PeerID) (direction, Conditions) {
	d := direction{from, to}
	if c, ok := w.links[d]; ok {
		return d, c
	}
	return d, w.usual
}

func (w *Weather) drawLocked(d direction, kind string) *rand.Rand {
	key := decision{d, kind}
	r := w.drawer[key]
	if r == nil {
		h := fnv.New64a()
		for _, s := range []string{string(d.from), string(d.to), kind} {
			h.Write([]byte(s))
			h.Write([]byte{0})
		}
		r = rand.New(rand.NewPCG(w.seed, h.Sum64()))
		w.drawer[key] = r
	}
	return r
}
