package node

import (
	"slices"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// Every node writes a snapshot once in so many blocks, the first no later than
// that, and validators never two within their share of these blocks.
func TestValidatorsWriteRegularSnapshotsInTurns(t *testing.T) {
	for _, validators := range []int{1, 2, 3, 4, 7, 13} {
		for _, every := range []ledger.Height{20, 1_000, 20_000} {
			c := ledgertest.Config(validators)
			if every < ledger.Height(validators) {
				continue
			}
			var all []ledger.Height
			for _, v := range c.Validators {
				turns := turnOf(c, v.Member, []ledger.HostKey{v.HostKey}, every)
				last, written := ledger.Height(0), []ledger.Height{}
				for h := ledger.Height(1); h <= 4*every; h++ {
					if turns.due(last, h) {
						last, written = h, append(written, h)
					}
				}
				if len(written) != 4 || written[0] > every || written[1]-written[0] != every || written[3]-written[2] != every {
					t.Errorf("validator %d of %d wrote at %v, every %d blocks", v.ID, validators, written, every)
				}
				all = append(all, written...)
			}
			slices.Sort(all)
			for i := range all[1:] {
				if gap := all[i+1] - all[i]; gap < every/ledger.Height(validators) {
					t.Errorf("of %d validators two write at %d and %d, every %d blocks", validators, all[i], all[i+1], every)
				}
			}
		}
	}
}

func TestTurnOfSnapshots(t *testing.T) {
	c := ledgertest.Config(4)
	third := []ledger.HostKey{{1}, c.Validators[2].HostKey} // a key to come, and the one in force
	if got := turnOf(c, c.Validators[2].Member, third, 20_000); got != (turn{20_000, 10_000}) {
		t.Errorf("the third of four validators has %+v", got)
	}
	observer := turnOf(c, c.Members[1].ID, []ledger.HostKey{{1}}, 20_000)
	for _, v := range c.Validators {
		if turnOf(c, v.Member, []ledger.HostKey{v.HostKey}, 20_000) == observer {
			t.Errorf("an observer writes together with validator %d", v.ID)
		}
	}
	if observer.after == 0 || observer.after >= 20_000 {
		t.Errorf("an observer has %+v", observer)
	}
	if got := turnOf(c, "nobody", nil, 20_000); got != (turn{20_000, 0}) {
		t.Errorf("a node of no member has %+v", got)
	}
	if none := turnOf(c, c.Validators[2].Member, third, 0); none.due(0, 1<<40) {
		t.Error("a node that shall write none has its turn")
	}
	if huge := turnOf(c, c.Validators[3].Member, []ledger.HostKey{c.Validators[3].HostKey}, 1<<40); huge.after != 3<<38 {
		t.Errorf("a turn in 2^40 blocks is %+v", huge)
	}
	for _, x := range []struct {
		last, h ledger.Height
		want    bool
	}{
		{0, 9_999, false}, {0, 10_000, true}, {0, 75_000, true}, // a node that was away writes one, not all that it missed
		{10_000, 29_999, false}, {10_007, 30_000, true}, {29_000, 30_000, true}, {30_000, 30_000, false}, {75_000, 80_000, false},
	} {
		if got := (turn{20_000, 10_000}).due(x.last, x.h); got != x.want {
			t.Errorf("newest of height %d, at height %d: due is %v", x.last, x.h, got)
		}
	}
}
