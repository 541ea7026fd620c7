package sdk

import (
	"testing"
	"time"
)

func TestPausesFollowAdviceWithChanceInThem(t *testing.T) {
	for attempt := range 20 {
		least := time.Duration(attempt) * 100 * time.Millisecond
		seen := map[time.Duration]bool{}
		for range 50 {
			d := pauseFor(attempt, least)
			seen[d] = true
			if d < least || d > max(maxPause, least+least/2) {
				t.Fatalf("attempt %d pauses %s when told %s", attempt, d, least)
			}
		}
		if len(seen) < 10 {
			t.Errorf("attempt %d: clients return in step: %d different pauses", attempt, len(seen))
		}
	}
	if d := pauseFor(0, time.Hour); d > maxAdvice+maxAdvice/2 {
		t.Errorf("a node's advice makes the client wait %s", d)
	}
}
