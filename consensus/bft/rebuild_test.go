package bft

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

func TestSubmissionsWaitWhileThePoolIsChanged(t *testing.T) {
	var r rebuild
	r.end() // of none
	if !r.wait(time.Hour) || !r.wait(time.Hour) {
		t.Fatal("nothing is under way")
	}
	begun := make(chan struct{})
	go func() {
		r.begin() // waits for both
		close(begun)
	}()
	r.pass()
	r.pass()
	<-begun
	if r.wait(time.Millisecond) {
		t.Fatal("let through in the middle")
	}
	through := make(chan bool)
	go func() { through <- r.wait(time.Hour) }()
	r.end()
	r.end() // the library may say so twice
	if !<-through {
		t.Error("not let through afterwards")
	}
	r.pass()
}

// The library's own words around a change of its pool, of those who stay and of
// the one who goes.
func TestTheLibraryStillSaysWhenItChangesItsPool(t *testing.T) {
	var mu sync.Mutex
	said := make(map[consensus.ReplicaID][]string)
	c := consensustest.NewCluster(t, 5, func(s consensustest.Spec) (consensus.Engine, error) {
		engine, err := open(s)
		if err != nil {
			return nil, err
		}
		e := engine.(*Engine)
		heed := e.logger.heed
		e.logger.heed = func(format string) {
			heed(format)
			mu.Lock()
			defer mu.Unlock()
			said[s.Self] = append(said[s.Self], format)
		}
		return e, nil
	})
	c.Start()
	stay := []consensus.ReplicaID{1, 2, 3, 4}
	c.Submit(1, consensustest.ConfigRequest("four", consensus.Membership{ConfigSeq: 2, Replicas: stay}))
	c.WaitApplied(stay, "four")
	c.Submit(2, consensustest.Req("after", 50))
	c.WaitApplied(stay, "after")
	if err := c.Replica(5).Ended(); !errors.Is(err, consensus.ErrRemoved) {
		t.Fatalf("the replica that was removed: %v", err)
	}
	for _, id := range c.IDs() {
		want := []string{rebuildBegins, rebuildEnds, rebuildDone}
		if id == 5 {
			want = []string{rebuildBegins, rebuildEvicted}
		}
		mu.Lock()
		var got []string
		for _, text := range said[id] {
			switch text {
			case rebuildBegins, rebuildEnds, rebuildDone, rebuildEvicted, rebuildLeft:
				got = append(got, text)
			}
		}
		mu.Unlock()
		if !slices.Equal(got, want) {
			t.Errorf("replica %d said %q, expected %q", id, got, want)
		}
	}
}
