package bft

import (
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
)

func TestAReplicaLeftBehindByTwoViewsComplains(t *testing.T) {
	const patience = time.Second
	var o overtaken
	now := time.Unix(1000, 0)
	for _, step := range []struct {
		after time.Duration
		from  consensus.ReplicaID
		next  uint64
		own   uint64
		want  bool
	}{
		{0, 3, 1, 0, false},            // the next view: the library hears of it
		{patience, 4, 1, 0, false},     //
		{0, 3, 2, 0, false},            // one of four may lie
		{2 * patience, 3, 2, 0, false}, //
		{0, 4, 2, 0, false},            // two ask: from now on
		{patience / 2, 3, 2, 0, false},
		{patience / 2, 4, 2, 0, true},
		{patience / 2, 3, 2, 0, false}, // once, then wait again
		{patience / 2, 3, 3, 0, true},
		{patience, 3, 3, 2, false}, // it has followed
	} {
		now = now.Add(step.after)
		if got := o.hear(step.from, step.next, step.own, 1, now, patience); got != step.want {
			t.Fatalf("%+v: got %v", step, got)
		}
	}
}
