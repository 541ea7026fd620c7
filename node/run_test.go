package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// stage records when parts begin and end.
type stage struct {
	mu     sync.Mutex
	begun  []string
	ended  []string
	failed []string
}

func (s *stage) part(name string, until func(ctx context.Context) error) part {
	return part{name, func(ctx context.Context) error {
		s.mu.Lock()
		s.begun = append(s.begun, name)
		s.mu.Unlock()
		err := until(ctx)
		s.mu.Lock()
		s.ended = append(s.ended, name)
		s.mu.Unlock()
		return err
	}}
}

func untilStopped(ctx context.Context) error { <-ctx.Done(); return nil }

func TestPartsStopInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stage
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- runParts(ctx, []part{s.part("network", untilStopped), s.part("chain", untilStopped), s.part("api", untilStopped)}, func(string, error) {})
		}()
		synctest.Wait()
		if slices.Sort(s.begun); !slices.Equal(s.begun, []string{"api", "chain", "network"}) || len(s.ended) != 0 {
			t.Fatalf("running: begun %v, ended %v", s.begun, s.ended)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []string{"api", "chain", "network"}; !slices.Equal(s.ended, want) {
			t.Errorf("ended in the order %v, want %v", s.ended, want)
		}
	})
}

func TestAFailedPartStopsTheNodeInOrder(t *testing.T) {
	boom := errors.New("boom")
	for _, tc := range []struct {
		name string
		err  error
		text string
	}{{"with an error", boom, "chain: boom"}, {"by itself", nil, "chain ended by itself"}} {
		synctest.Test(t, func(t *testing.T) {
			var s stage
			var noted []string
			parts := []part{
				s.part("network", untilStopped), s.part("chain", func(context.Context) error { return tc.err }),
				// A part that fails while it is stopped is not forgotten.
				s.part("api", func(ctx context.Context) error { <-ctx.Done(); return errors.New("late") }),
			}
			err := runParts(t.Context(), parts, func(name string, _ error) { noted = append(noted, name) })
			if err == nil || tc.err != nil && !errors.Is(err, tc.err) {
				t.Fatalf("%s: %v", tc.name, err)
			}
			if got := err.Error(); got != tc.text+"\napi: late" {
				t.Errorf("%s: %q", tc.name, got)
			}
			if want := []string{"chain", "api", "network"}; !slices.Equal(s.ended, want) {
				t.Errorf("%s: ended in the order %v, want %v", tc.name, s.ended, want)
			}
			if wantNoted := map[bool][]string{true: {"chain", "api"}, false: {"api"}}[tc.err != nil]; !slices.Equal(noted, wantNoted) {
				t.Errorf("%s: reported %v, want %v", tc.name, noted, wantNoted)
			}
		})
	}
}
