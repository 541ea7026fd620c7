package link

import (
	"testing"
	"time"
)

// A rule counts as made, and as met once something met it.
func TestWhatARuleMetIsCounted(t *testing.T) {
	for name, r := range map[string]Rule{
		"stall": {Stall: true}, "cut": {Cut: true}, "delay": {Delay: time.Millisecond}, "rate": {Rate: 1 << 20}, "rough": {Rough: 1},
	} {
		t.Run(name, func(t *testing.T) {
			l, door := open(t)
			c := dial(t, door)
			if got, err := says(t, c, "hello", long); got != "hello" || err != nil {
				t.Fatal(got, err)
			}
			l.Set("b", "c", r) // a link that nobody uses
			if made, met := l.Effect(); made != 1 || met != 0 {
				t.Fatalf("%d made, %d met before anything went over it", made, met)
			}
			l.Set("a", "b", r)
			_, _ = c.Write([]byte("hello")) // a cut connection does not take it
			for deadline := time.Now().Add(long); ; {
				if made, met := l.Effect(); made == 2 && met > 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("nothing met the rule")
				}
				time.Sleep(time.Millisecond)
			}
			l.Heal()
			if made, _ := l.Effect(); made != 2 {
				t.Errorf("%d made: healing is no rule", made)
			}
		})
	}
}
