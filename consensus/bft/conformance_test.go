package bft

import (
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// quick are settings that make faults show within a second.
func quick() Settings {
	return Settings{
		BatchMaxCount:     50,
		PoolSize:          1000,
		RequestMaxBytes:   64 << 10,
		ForwardTimeout:    100 * time.Millisecond,
		ComplainTimeout:   400 * time.Millisecond,
		RemoveTimeout:     10 * time.Second,
		HeartbeatTimeout:  500 * time.Millisecond,
		HeartbeatCount:    10,
		TicksBehind:       10,
		ViewChangeResend:  200 * time.Millisecond,
		ViewChangeTimeout: time.Second,
		CollectTimeout:    100 * time.Millisecond,
		CatchUpTimeout:    time.Second,
		RepeatTimeout:     50 * time.Millisecond,
		Tick:              20 * time.Millisecond,
		StopTimeout:       10 * time.Second,
	}
}

func open(s consensustest.Spec) (consensus.Engine, error) {
	return Open(config(s))
}

func config(s consensustest.Spec) Config {
	return Config{
		Self:       s.Self,
		Membership: s.Membership,
		WALDir:     s.Dir,
		Last:       s.Last,
		NewReplica: s.Last.Proposal.ConfigSeq > 0 && s.Self > 4,
		App:        s.App,
		Transport:  s.Transport,
		Settings:   quick(),
		Logger:     s.Logger,
	}
}

func TestConformance(t *testing.T) {
	consensustest.Run(t, consensustest.Options{Open: open, Replicas: 4, BatchMaxCount: quick().BatchMaxCount})
}
