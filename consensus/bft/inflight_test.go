package bft

import (
	"testing"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

func TestInFlightIsWhereItWas(t *testing.T) {
	cfg := base(t)
	cfg.Membership = consensus.Membership{ConfigSeq: 1, Replicas: []consensus.ReplicaID{1}}
	cfg.App = consensustest.NewApp(1, cfg.Membership)
	e := running(t, cfg)
	if err := e.Submit(t.Context(), consensustest.Req("a", 10)); err != nil {
		t.Fatal(err)
	}
	var f inFlight
	var p *smart.Proposal
	until(func() bool {
		var err error
		if f, err = inFlightOf(e.starting.Load().cons); err != nil {
			t.Fatal(err)
		}
		p = f.read()
		return p != nil
	})
	if m, err := parseMeta(p.Metadata); err != nil || m != (meta{0, 1, 0}) {
		t.Fatalf("in flight: %+v, %v", m, err)
	}
	if err := f.clear(0); err != nil || f.read() == nil {
		t.Errorf("a proposal of the same view is gone, %v", err)
	}
	if err := f.clear(1); err != nil || f.read() != nil {
		t.Errorf("a proposal of an earlier view is still there, %v", err)
	}
	if err := f.clear(2); err != nil {
		t.Error(err)
	}
}
