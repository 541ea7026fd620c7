package network_test

import (
	"crypto/ecdsa"
	"testing"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"go.uber.org/goleak"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/network/networktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opener opens real hosts on loopback; node i keeps its key and its port.
type opener struct {
	limits network.Limits
	keys   map[int]*ecdsa.PrivateKey
	addrs  map[int][]string
}

func newOpener(l network.Limits) *opener {
	return &opener{limits: l, keys: make(map[int]*ecdsa.PrivateKey), addrs: make(map[int][]string)}
}

func (o *opener) Open(t testing.TB, i int) networktest.Host { return o.open(t, i) }

func (o *opener) open(t testing.TB, i int) *network.Host {
	t.Helper()
	if o.keys[i] == nil {
		key, err := ethcrypto.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		o.keys[i], o.addrs[i] = key, []string{"/ip4/127.0.0.1/tcp/0"}
	}
	h, err := network.Open(t.Context(), network.Config{HostKey: o.keys[i], Listen: o.addrs[i], Limits: o.limits})
	if err != nil {
		t.Fatal(err)
	}
	o.addrs[i] = h.Addrs()
	t.Cleanup(func() { h.Close() })
	return h
}

func TestConformance(t *testing.T) {
	networktest.Run(t, func(t testing.TB, l network.Limits) networktest.Opener { return newOpener(l) })
}
