package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/ledger"
)

func (w *world) Peers() []Peer {
	return []Peer{
		{NodeID: "n1", Member: "bank-b", Validator: 2, Connected: true, Since: time.UnixMilli(5), RTT: 7 * time.Microsecond},
		{NodeID: "n2", Member: "bank-c", LastError: "refused"},
	}
}

func (w *world) Probe(_ context.Context, addr string, key ledger.HostKey) (*Probe, error) {
	switch {
	case w.fail != nil:
		return nil, w.fail
	case key[0] == 3:
		return &Probe{Result: assentv1.ProbeResponse_RESULT_OTHER_KEY, Why: "another key"}, nil
	case strings.HasSuffix(addr, "/9"):
		return &Probe{Result: assentv1.ProbeResponse_RESULT_REACHED, Status: &ledger.Status{Nonce: ledger.Hash{1}, Height: 4}}, nil
	}
	return &Probe{Result: assentv1.ProbeResponse_RESULT_REACHED, Silent: "it does not know this node"}, nil
}

func TestPeersAndProbes(t *testing.T) {
	r := newRig(t)
	r.w.register("bank-a", "boss", record.RoleAdmin)
	tok := r.token("boss", "bank-a")
	c := assentv1connect.NewNetworkServiceClient(r.http, r.url)
	ctx := t.Context()
	peers, err := c.GetPeers(ctx, with(tok, &assentv1.GetPeersRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if p := peers.Msg.Peers; len(p) != 2 || p[0].Validator != 2 || !p[0].Connected || p[0].SinceMs != 5 || p[0].RttUs != 7 || p[1].LastError != "refused" || p[1].SinceMs != 0 {
		t.Errorf("peers are %v", p)
	}
	probe := func(addr string, key []byte) (*assentv1.ProbeResponse, error) {
		resp, err := c.Probe(ctx, with(tok, &assentv1.ProbeRequest{Addr: addr, HostKey: key}))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}
	key := make([]byte, 33)
	got, err := probe("/ip4/10.0.0.1/tcp/9", key)
	if err != nil || got.Result != assentv1.ProbeResponse_RESULT_REACHED || len(got.Nonce) != 32 {
		t.Fatalf("%v, %v", got, err)
	}
	if st, err := ledger.DecodeStatus(got.Status); err != nil || st.Height != 4 {
		t.Errorf("status is %+v, %v", st, err)
	}
	if got, err = probe("/ip4/10.0.0.1/tcp/1", key); err != nil || got.SilentBecause == "" || len(got.Status) != 0 {
		t.Errorf("a silent node: %v, %v", got, err)
	}
	key[0] = 3
	if got, err = probe("/ip4/10.0.0.1/tcp/1", key); err != nil || got.Result != assentv1.ProbeResponse_RESULT_OTHER_KEY || got.Why == "" {
		t.Errorf("another key: %v, %v", got, err)
	}
	for name, req := range map[string]*assentv1.ProbeRequest{
		"no address":   {HostKey: key},
		"long address": {Addr: strings.Repeat("/", 257), HostKey: key},
		"no key":       {Addr: "/ip4/10.0.0.1/tcp/1"},
		"long key":     {Addr: "/ip4/10.0.0.1/tcp/1", HostKey: make([]byte, 34)},
	} {
		_, err := c.Probe(ctx, with(tok, req))
		want(t, name, err, assentv1.Code_CODE_BAD_REQUEST)
	}
	r.w.fail = errors.New("disk")
	_, err = probe("/ip4/10.0.0.1/tcp/1", key)
	want(t, "a fault", err, assentv1.Code_CODE_INTERNAL)

	bare := newRig(t, func(c *Config) { c.Network = nil })
	bare.w.register("bank-a", "boss", record.RoleAdmin)
	n := assentv1connect.NewNetworkServiceClient(bare.http, bare.url)
	_, err = n.GetPeers(ctx, with(bare.token("boss", "bank-a"), &assentv1.GetPeersRequest{}))
	want(t, "peers of a node without", err, assentv1.Code_CODE_NOT_SERVED)
	_, err = n.Probe(ctx, with(bare.token("boss", "bank-a"), &assentv1.ProbeRequest{Addr: "/x", HostKey: key}))
	want(t, "a probe by a node without", err, assentv1.Code_CODE_NOT_SERVED)
}
