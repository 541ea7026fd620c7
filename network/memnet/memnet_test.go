package memnet

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/network/networktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type opener struct {
	net    *Net
	limits network.Limits
}

func (o *opener) Open(t testing.TB, i int) networktest.Host {
	t.Helper()
	h, err := o.net.Open(Config{ID: network.PeerID(fmt.Sprintf("node%d", i)), Limits: o.limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestConformance(t *testing.T) {
	networktest.Run(t, func(t testing.TB, l network.Limits) networktest.Opener {
		return &opener{net: New(Faults{}), limits: l}
	})
}
