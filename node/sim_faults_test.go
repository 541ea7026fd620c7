//go:build simulation

package node

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/network/memnet"
)

// strike is one step of a schedule.
type strike struct {
	what   string
	node   int // whom it meets; -1: the leader of the moment
	other  int
	moment moment
	after  int // moments that pass before a trap springs
	power  bool
	skew   time.Duration
	sky    int           // which weather
	pause  time.Duration // before the next
}

func (f strike) String() string {
	s := f.what
	switch f.what {
	case "calm", "heal", "blackout", "start all", "split":
	case "weather":
		s += " " + weathers[f.sky].name
	case "cut":
		s += fmt.Sprintf(" %s-%s", nodeName(f.node), nodeName(f.other))
	default:
		s += " " + nodeName(f.node)
	}
	switch f.what {
	case "trap":
		s += fmt.Sprintf(" at %s number %d", f.moment, f.after+1)
	case "clock":
		s += fmt.Sprintf(" %+v", f.skew)
	}
	if f.power {
		s += " (power)"
	}
	return fmt.Sprintf("%s, then %s", s, f.pause)
}

func nodeName(i int) string {
	if i < 0 {
		return "leader"
	}
	return fmt.Sprintf("node%d", i+1)
}

// weathers are what links can be like. The first is what a simulation ends in.
var weathers = []struct {
	name string
	memnet.Conditions
}{
	{"fair", memnet.Conditions{Delay: memnet.Delay{Least: 200 * time.Microsecond, Typical: time.Millisecond, Most: 10 * time.Millisecond}}},
	{"far", memnet.Conditions{Delay: memnet.Delay{Least: 10 * time.Millisecond, Typical: 40 * time.Millisecond, Most: 400 * time.Millisecond}}},
	{"lossy", memnet.Conditions{Delay: memnet.Delay{Typical: 2 * time.Millisecond, Most: 50 * time.Millisecond}, Loss: 0.05, Repeat: 0.02}},
	{"repeating", memnet.Conditions{Delay: memnet.Delay{Typical: 5 * time.Millisecond, Most: 200 * time.Millisecond}, Repeat: 0.3}},
	{"storm", memnet.Conditions{Delay: memnet.Delay{Typical: 30 * time.Millisecond, Most: 2 * time.Second}, Loss: 0.2, Repeat: 0.05}},
	{"narrow", memnet.Conditions{Delay: memnet.Delay{Typical: 2 * time.Millisecond, Most: 20 * time.Millisecond}, Rate: 40_000}},
}

// maxSkew is how wrong a clock may be while faults last.
const maxSkew = 4 * time.Second

// draw makes a schedule of n faults for nodes of which the first four validate. It
// knows how many validators are in trouble, and mostly leaves the others able to
// go on.
func draw(r *rand.Rand, n, nodes int) []strike {
	var out []strike
	trouble := 0
	for range n {
		f := strike{node: r.IntN(nodes), other: r.IntN(nodes), pause: time.Duration(50+r.ExpFloat64()*1200) * time.Millisecond}
		f.pause = min(f.pause, 6*time.Second)
		switch p := r.IntN(100); {
		case p < 12:
			f.what = "calm"
		case p < 24:
			f.what, f.sky = "weather", r.IntN(len(weathers))
		case p < 32:
			f.what, f.skew = "clock", time.Duration(r.Int64N(int64(2*maxSkew)))-maxSkew
		case trouble > 0 && (p < 52 || r.IntN(10) > 0):
			f.what, trouble = "heal", 0
		case p < 56:
			f.what, f.power = "kill", r.IntN(2) == 0
			trouble++
		case p < 70:
			f.what, f.moment, f.after, f.power = "trap", moments[r.IntN(len(moments))], r.IntN(40), r.IntN(3) > 0
			trouble++
		case p < 74:
			f.what = "stop"
			trouble++
		case p < 78:
			f.what = "isolate"
			trouble++
		case p < 82:
			f.what = []string{"deafen", "mute"}[r.IntN(2)]
			trouble++
		case p < 86:
			f.what = "cut"
			f.other = (f.node + 1 + r.IntN(nodes-1)) % nodes
			trouble++
		case p < 92:
			f.what, f.node, f.pause = []string{"isolate", "kill", "mute"}[r.IntN(3)], -1, f.pause+4*time.Second // long enough for another leader
			trouble++
		case p < 95:
			f.what = "split"
			trouble++
		case p < 98:
			f.what, f.power = "blackout", r.IntN(2) == 0
			trouble++
		default:
			f.what = "slow"
		}
		out = append(out, f)
	}
	return out
}

// apply brings a fault about.
func (s *simulation) apply(f strike) {
	if f.node < 0 {
		f.node = s.leader()
	}
	p, id := s.nodes[f.node], s.ids()[f.node]
	switch f.what {
	case "calm":
	case "weather":
		s.weather.Clear()
		s.weather.Set(weathers[f.sky].Conditions)
	case "clock":
		p.machine.skew.Store(int64(f.skew))
	case "heal":
		s.heal()
	case "kill":
		s.kill(p, f.power)
	case "trap":
		if s.running(p) != nil {
			p.machine.life.set(trap{f.moment, f.after, f.power})
		}
	case "stop":
		s.stop(p)
	case "isolate":
		s.partition(func(a, b network.PeerID) bool { return a == id || b == id })
	case "split":
		side := s.ids()[:2]
		s.partition(func(a, b network.PeerID) bool { return slices.Contains(side, a) != slices.Contains(side, b) })
	case "cut":
		s.wires.Cut(id, s.ids()[f.other])
	case "mute", "deafen":
		for _, other := range s.ids() {
			if f.what == "mute" {
				s.wires.Mute(id, other)
			} else {
				s.wires.Mute(other, id)
			}
		}
	case "slow":
		for _, other := range s.ids() {
			c := weathers[0].Conditions
			c.Rate = 20_000
			s.weather.SetLink(id, other, c)
		}
	case "blackout":
		for _, p := range s.kind("validator") {
			s.kill(p, f.power)
		}
		s.heal()
	}
}

func (s *simulation) partition(between func(a, b network.PeerID) bool) {
	for i, a := range s.ids() {
		for _, b := range s.ids()[:i] {
			if between(a, b) {
				s.wires.Cut(a, b)
			}
		}
	}
}

// heal mends the network and starts what is down.
func (s *simulation) heal() {
	s.wires.HealAll()
	for _, p := range s.nodes {
		if s.running(p) == nil {
			s.boot(p)
		}
	}
}
