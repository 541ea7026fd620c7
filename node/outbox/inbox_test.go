package outbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func inbox(t testing.TB, store *Private, limits InboxLimits) *Inbox {
	t.Helper()
	in, err := OpenInbox(context.Background(), store, limits)
	must(t, err)
	return in
}

func TestInboxKeepsOneAnswerPerRequestAndSender(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	in := inbox(t, private(t, path), InboxLimits{})
	r := Received{RequestID: "r1", From: "bank", Payload: []byte("sealed")}
	for range 3 { // the provider sends again when an acknowledgement is lost
		must(t, in.Store(t.Context(), r))
	}
	r.Payload = []byte("another")
	if err := in.Store(t.Context(), r); !errors.Is(err, ErrConflict) {
		t.Errorf("a second answer: %v", err)
	}
	r.From = "somebody" // must not get in the way of the bank's
	must(t, in.Store(t.Context(), r))
	in = inbox(t, private(t, path), InboxLimits{})
	got, err := in.Wait(t.Context(), "r1", "bank")
	if err != nil || string(got) != "sealed" {
		t.Errorf("after reopening: %q, %v", got, err)
	}
	if in.held["bank"] != 1 || in.held["somebody"] != 1 {
		t.Errorf("held: %v", in.held)
	}
}

func TestWaitEndsWithTheArrival(t *testing.T) {
	in := inbox(t, private(t, filepath.Join(t.TempDir(), "p.db")), InboxLimits{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			got, err := in.Wait(context.Background(), "r1", "bank")
			if err != nil || string(got) != "sealed" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for waiting := 0; waiting < 3; {
		in.mu.Lock()
		waiting = len(in.waiters[inboxKey{"r1", "bank"}])
		in.mu.Unlock()
	}
	must(t, in.Store(t.Context(), Received{RequestID: "r1", From: "bank", Payload: []byte("sealed")}))
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := in.Wait(ctx, "r1", "other"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for another sender: %v", err)
	}
	if len(in.waiters) != 0 {
		t.Errorf("waiters left: %v", in.waiters)
	}
}

func TestInboxIsBoundedAndExpires(t *testing.T) {
	in := inbox(t, private(t, filepath.Join(t.TempDir(), "p.db")), InboxLimits{MaxPayload: 10, MaxPerSender: 3})
	now := time.Now()
	for i := range 3 {
		must(t, in.Store(t.Context(), Received{RequestID: fmt.Sprint(i), From: "bank", Payload: []byte("x"), Expires: now.Add(time.Duration(i) * time.Hour)}))
	}
	if err := in.Store(t.Context(), Received{RequestID: "4", From: "bank", Payload: []byte("x")}); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth: %v", err)
	}
	for _, bad := range []Received{{From: "b", Payload: []byte("x")}, {RequestID: "1", Payload: []byte("x")}, {RequestID: "1", From: "b"},
		{RequestID: "1", From: "b", Payload: make([]byte, 11)}} {
		if in.Store(t.Context(), bad) == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
	n, err := in.Sweep(t.Context(), now.Add(90*time.Minute))
	if err != nil || n != 2 {
		t.Errorf("swept %d: %v", n, err)
	}
	if got, err := in.Get(t.Context(), "0", "bank"); got != nil || err != nil {
		t.Errorf("expired answer still there: %v", err)
	}
	must(t, in.Store(t.Context(), Received{RequestID: "4", From: "bank", Payload: []byte("x")}))
}

func BenchmarkInboxStore(b *testing.B) {
	in := inbox(b, private(b, filepath.Join(b.TempDir(), "p.db")), InboxLimits{MaxPerSender: 1 << 30})
	payload := make([]byte, 1200)
	i := 0
	for b.Loop() {
		i++
		must(b, in.Store(b.Context(), Received{RequestID: fmt.Sprint(i), From: "bank", Payload: payload}))
	}
}

func TestDiscardedAnswersAreGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	store := private(t, path)
	in := inbox(t, store, InboxLimits{MaxPerSender: 3})
	for _, id := range []string{"r1", "r2", "r3"} {
		must(t, in.Store(t.Context(), Received{RequestID: id, From: "bank", Payload: []byte("sealed answer to " + id)}))
	}
	must(t, in.Store(t.Context(), Received{RequestID: "r1", From: "other", Payload: []byte("another bank's")}))
	for _, want := range []int{2, 0} { // the second time there is nothing left
		if n, err := in.Discard(t.Context(), "bank", []string{"r1", "r3", "unknown"}); err != nil || n != want {
			t.Errorf("discarded %d (%v), want %d", n, err, want)
		}
	}
	must(t, store.Checkpoint(t.Context()))
	if onDisk(t, path, "sealed answer to r1") || !onDisk(t, path, "sealed answer to r2") || !onDisk(t, path, "another bank's") {
		t.Error("what was discarded stays, or more went")
	}
	for _, id := range []string{"r4", "r5"} { // there is room again, and no more than before
		must(t, in.Store(t.Context(), Received{RequestID: id, From: "bank", Payload: []byte("x")}))
	}
	if err := in.Store(t.Context(), Received{RequestID: "r6", From: "bank", Payload: []byte("x")}); err == nil {
		t.Error("one more than the limit is taken in")
	}
}
