package sdk

import (
	"context"
	"testing"
	"time"
)

// A call goes on while somebody waits for it and ends with the last one who does,
// whoever was told before: it runs on for nobody, and nobody ends another's.
func TestACallEndsWithTheLastWhoWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		happens string // t: told, g: gone, by passenger 0, 1, 2 in turn
		ends    bool
	}{
		"all gone":                 {"g0 g1 g2", true},
		"one waits":                {"g0 g1", false},
		"told, then gone":          {"t0 g1 g2", true},
		"gone and told, one":       {"g0 t0 g1", false},
		"gone and told, then":      {"g0 t0 g1 g2", true},
		"gone as it was told":      {"t0 g0 g1", false},
		"told all":                 {"t0 t1 t2", false},
		"told all but the leavers": {"g1 t0 t2", true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			k := &carrier{}
			for range 3 {
				k.queue = append(k.queue, &passenger{ctx: ctx, raw: []byte("x"), done: make(chan carried, 1)})
			}
			g := k.boardLocked()
			defer g.cancel()
			for at := 0; at < len(tt.happens); at += 3 {
				p := g.passengers[tt.happens[at+1]-'0']
				if tt.happens[at] == 't' {
					k.tell(g, p, carried{})
				} else {
					k.abandon(p)
				}
			}
			if got := g.ctx.Err() != nil; got != tt.ends {
				t.Errorf("the call has ended: %t, want %t", got, tt.ends)
			}
			told := 0
			for _, p := range g.passengers {
				if p.told {
					told++
				}
			}
			if k.away != 3-told {
				t.Errorf("%d are away, %d were told", k.away, told)
			}
		})
	}
}
