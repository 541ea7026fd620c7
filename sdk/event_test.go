package sdk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// add registers keys so that there are events, and returns their transactions.
func (w *world) add(names ...string) []sdk.Hash {
	w.t.Helper()
	var out []sdk.Hash
	for _, n := range names {
		b, err := sdk.JSON(&sdk.ClientSpec{Address: fakenode.Signer(n).Address(), Roles: []sdk.ClientRole{record.RoleAuditor}})
		w.must(err)
		id, err := w.net.Act("admin lender", fakenode.Lender, "membership", "RegisterClient", string(b))
		w.must(err)
		out = append(out, id)
	}
	return out
}

func TestEventsComeOnceInOrderOverBreaks(t *testing.T) {
	w := newWorld(t)
	second := w.serve(fakenode.Bank)
	c := w.dial("integration lender", fakenode.Lender, []*fakenode.Node{w.node, second}, sdk.WithTimeouts(quick))
	from := sdk.Checkpoint{Height: w.net.Height() + 1}
	want := w.add("a", "b", "c", "d", "e", "f")
	breaks := func(sent int) error { // after every fourth event
		if sent == 4 {
			return fakenode.Unavailable()
		}
		return nil
	}
	w.node.Streams(breaks, 3) // and each new stream begins too early
	second.Streams(breaks, 3)
	var got []sdk.Hash
	var last sdk.Checkpoint
	for ev, err := range c.Events(t.Context(), &from, sdk.EventFilter{Contracts: []string{"membership"}}) {
		w.must(err)
		got = append(got, ev.TxID)
		last = ev.Next
		if len(got) == len(want) {
			break
		}
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("event %d is of %s, want %s", i, got[i], want[i])
		}
	}
	w.node.Streams(nil, 0)
	second.Streams(nil, 0)

	more := w.add("g")
	for ev, err := range c.Events(t.Context(), &last, sdk.EventFilter{}) { // another program goes on from the checkpoint
		w.must(err)
		if ev.TxID != more[0] {
			t.Errorf("resumed with %s, want %s", ev.TxID, more[0])
		}
		break
	}
}

func TestEventsFromNowOnWaitForNews(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan sdk.Event)
	go func() {
		defer close(got)
		for ev, err := range c.Events(ctx, nil, sdk.EventFilter{}) {
			if err != nil {
				return
			}
			got <- ev
		}
	}()
	var want sdk.Hash
	for i := 0; ; i++ { // until the stream is open
		want = w.add("fresh")[0]
		select {
		case ev := <-got:
			if ev.Name != "client" || ev.Contract != "membership" || len(ev.Payload) == 0 {
				t.Errorf("event %+v", ev)
			}
			for ev.TxID != want { // those that were made while it opened
				ev = <-got
			}
			cancel()
			for range got {
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestEventsEndWithTheContextOrForGood(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	ctx, cancel := contextFor(t, 50*time.Millisecond)
	defer cancel()
	var last error
	for _, err := range c.Events(ctx, nil, sdk.EventFilter{}) {
		last = err
	}
	if !errors.Is(last, context.DeadlineExceeded) {
		t.Errorf("ended with %v", last)
	}
	stranger := w.dial("nobody", fakenode.Lender, []*fakenode.Node{w.node}, sdk.WithTimeouts(quick))
	for _, err := range stranger.Events(t.Context(), nil, sdk.EventFilter{}) {
		last = err
	}
	if sdk.CodeOf(last) != record.CodeUnknownKey {
		t.Errorf("ended with %v", last)
	}
}

// A node that falls silent is left for another.
func TestSilentStreamIsOpenedAnew(t *testing.T) {
	w := newWorld(t)
	second := w.serve(fakenode.Bank)
	c := w.dial("integration lender", fakenode.Lender, []*fakenode.Node{w.node, second}, sdk.WithTimeouts(sdk.Timeouts{Silence: 50 * time.Millisecond}))
	from := sdk.Checkpoint{Height: w.net.Height() + 1}
	block := make(chan struct{})
	defer close(block)
	w.node.Streams(func(int) error { <-block; return nil }, 0)
	want := w.add("a")
	for ev, err := range c.Events(t.Context(), &from, sdk.EventFilter{}) {
		w.must(err)
		if ev.TxID != want[0] {
			t.Errorf("event of %s", ev.TxID)
		}
		break
	}
}

func TestCheckpointText(t *testing.T) {
	for _, tc := range []struct {
		text string
		want sdk.Checkpoint
		ok   bool
	}{
		{"120.3", sdk.Checkpoint{Height: 120, Index: 3}, true},
		{"120", sdk.Checkpoint{Height: 120}, true},
		{"", sdk.Checkpoint{}, false},
		{"-1", sdk.Checkpoint{}, false},
		{"1.x", sdk.Checkpoint{}, false},
		{"1.4294967296", sdk.Checkpoint{}, false},
	} {
		got, err := sdk.ParseCheckpoint(tc.text)
		if (err == nil) != tc.ok || got != tc.want {
			t.Errorf("%q reads as %v, %v", tc.text, got, err)
		}
		if tc.ok && tc.text == "120.3" && got.String() != tc.text {
			t.Errorf("%v writes as %q", got, got.String())
		}
	}
}
