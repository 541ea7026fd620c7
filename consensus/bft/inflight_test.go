package bft

import (
	"runtime"
	"testing"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
)

func TestInFlightIsWhereItWas(t *testing.T) {
	e := alone(t)
	var f inFlight
	var p *smart.Proposal
	until(func() bool {
		var err error
		if f, err = inFlightOf(e.starting.Load().cons); err != nil {
			t.Fatal(err)
		}
		p = f.proposal()
		return p != nil
	})
	if m, err := parseMeta(p.Metadata); err != nil || m != (meta{0, 1, 0}) {
		t.Fatalf("in flight: %+v, %v", m, err)
	}
	voted := func(so bool) func(smart.Proposal) bool { return func(smart.Proposal) bool { return so } }
	if err := f.clear(0, voted(false)); err != nil || f.proposal() != p {
		t.Errorf("a proposal of the same view is gone, %v", err)
	}
	if err := f.clear(1, voted(true)); err != nil || f.proposal() != p {
		t.Errorf("a proposal that was taken over, and voted for, is gone, %v", err)
	}
	if err := f.clear(1, voted(false)); err != nil || f.proposal() != nil {
		t.Errorf("a proposal of an earlier view is still there, %v", err)
	}
	if err := f.clear(2, voted(false)); err != nil {
		t.Error(err)
	}
}

func TestAVoteIsNotMadeVoidBeforeItIsLogged(t *testing.T) {
	var b ballot
	b.counted() // a record that no vote began
	for range 100 {
		b.cast()
		logged := false
		void := make(chan struct{})
		go func() {
			defer close(void)
			if err := b.between(func() error {
				if !logged {
					t.Error("between the permission and the record")
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}()
		runtime.Gosched() // to whoever would not wait
		logged = true
		b.counted()
		<-void
	}
}
