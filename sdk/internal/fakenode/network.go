package fakenode

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// GetPeers lists the validators of the config in force but the first, which every
// node here is.
func (h handler) GetPeers(context.Context, *connect.Request[v1.GetPeersRequest]) (*connect.Response[v1.GetPeersResponse], error) {
	net := h.n.Net
	net.mu.Lock()
	defer net.mu.Unlock()
	resp := &v1.GetPeersResponse{}
	for _, v := range net.config.Validators[1:] {
		p := &v1.Peer{NodeId: fmt.Sprintf("node %d", v.ID), Member: v.Member, Validator: v.ID, Connected: !net.Down[v.ID]}
		if !p.Connected {
			p.LastError = "connection refused"
		}
		resp.Peers = append(resp.Peers, p)
	}
	return connect.NewResponse(resp), nil
}

// Probe answers as Network.Answers says.
func (h handler) Probe(_ context.Context, req *connect.Request[v1.ProbeRequest]) (*connect.Response[v1.ProbeResponse], error) {
	net := h.n.Net
	net.mu.Lock()
	defer net.mu.Unlock()
	nonce := ledger.Sum([]byte(req.Msg.Addr))
	resp := &v1.ProbeResponse{Result: v1.ProbeResponse_RESULT_UNREACHABLE, Why: "connection refused"}
	if net.Answers != nil {
		resp = net.Answers(req.Msg.Addr, req.Msg.HostKey, nonce)
	}
	resp.Nonce = nonce[:]
	return connect.NewResponse(resp), nil
}
