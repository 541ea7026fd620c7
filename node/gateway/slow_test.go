package gateway

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// A reader that takes too long is told so, that nothing is lost, and where to go on:
// at the event it did not take.
func TestASlowReaderIsToldWhereToGoOn(t *testing.T) {
	s := &Server{}
	o := &sender{call: &call{server: s}, stall: time.Minute, until: time.Now().Add(-time.Millisecond)}
	err := o.send(&Event{Height: 7, Index: 3}, Checkpoint{7, 4})
	if api.CodeOf(err) != assentv1.Code_CODE_SLOW_CONSUMER || !strings.Contains(err.Error(), "go on from checkpoint 7.3") {
		t.Errorf("%v", err)
	}
	if !api.Lookup(api.CodeOf(err)).Retryable {
		t.Error("the error is final")
	}
	if n := s.Refusals().SlowReaders; n != 1 {
		t.Errorf("%d slow readers are counted", n)
	}
}

// However many streams a member opens, together they are sent no more than one
// would be, each its part; another member's are not held up.
func TestAMembersStreamsShareItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{}
		s.cfg.Limits.EventBytes = eventBurst
		greedy, other := &call{server: s, member: &room{}}, &call{server: s, member: &room{}}
		begun := time.Now()
		var wg sync.WaitGroup
		const streams, reads, bytes = 100, 8, 64 << 10
		for range streams {
			wg.Go(func() {
				for range reads {
					if err := greedy.pays(t.Context(), bytes); err != nil {
						t.Error(err)
					}
				}
			})
		}
		synctest.Wait()
		if err := other.pays(t.Context(), eventBurst); err != nil || time.Since(begun) != 0 {
			t.Errorf("another member waits %s, %v", time.Since(begun), err)
		}
		wg.Wait()
		want := time.Duration(streams*reads*bytes-eventBurst) * time.Second / eventBurst
		if took := time.Since(begun); took < want-time.Millisecond || took > want+time.Second {
			t.Errorf("%d streams took %s, want %s", streams, took, want)
		}
	})
}
