package solo

import (
	"errors"
	"strings"
	"testing"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

func TestConformance(t *testing.T) {
	consensustest.Run(t, consensustest.Options{
		Replicas:      1,
		BatchMaxCount: 20,
		Open: func(s consensustest.Spec) (consensus.Engine, error) {
			return New(Config{
				Self: s.Self, Membership: s.Membership, Last: s.Last, App: s.App,
				BatchMaxCount: 20, PoolSize: 200, Logger: s.Logger,
			})
		},
	})
}

func TestBadConfigurationIsRefused(t *testing.T) {
	_, err := New(Config{Self: 2, Membership: consensus.Membership{Replicas: []consensus.ReplicaID{1, 3}}, BatchMaxCount: -1})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"App is missing", "not replica 2 alone", "sizes must be positive"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestAChangeOfMembershipEndsOrKeepsTheEngine(t *testing.T) {
	for name, test := range map[string]struct {
		replicas []consensus.ReplicaID
		ends     bool
		removed  bool
	}{
		"the same":      {[]consensus.ReplicaID{1}, false, false},
		"without it":    {[]consensus.ReplicaID{2}, true, true},
		"with one more": {[]consensus.ReplicaID{1, 2}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := consensustest.NewCluster(t, 1, func(s consensustest.Spec) (consensus.Engine, error) {
				return New(Config{Self: s.Self, Membership: s.Membership, Last: s.Last, App: s.App})
			})
			c.Start()
			c.Submit(1, consensustest.ConfigRequest("change", consensus.Membership{ConfigSeq: 2, Replicas: test.replicas}))
			c.WaitApplied(c.IDs(), "change")
			if !test.ends {
				c.Submit(1, consensustest.Req("on", 10))
				c.WaitApplied(c.IDs(), "on")
				return
			}
			if err := c.Replica(1).Ended(); err == nil || errors.Is(err, consensus.ErrRemoved) != test.removed {
				t.Errorf("run returned %v", err)
			}
		})
	}
}
