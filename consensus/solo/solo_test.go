package solo

import (
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
