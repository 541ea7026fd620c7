package gateway

import (
	"context"
	"time"

	"connectrpc.com/connect"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/ledger"
)

// Network tells what the node sees of the others.
type Network interface {
	Peers() []Peer
	// Probe dials an address and has whoever listens prove the host key. The
	// error is a malformed argument (BAD_REQUEST) or a fault of this node; what
	// was found stands in the result.
	Probe(ctx context.Context, addr string, key ledger.HostKey) (*Probe, error)
}

// Peer is a node that this one admits.
type Peer struct {
	NodeID    string
	Member    string
	Validator uint64 // 0: an observer
	Connected bool
	Since     time.Time // of the present state
	RTT       time.Duration
	LastError string
}

// Probe is what was found at an address.
type Probe struct {
	Result assentv1.ProbeResponse_Result
	Why    string         // when not reached
	Status *ledger.Status // nil: it did not answer
	Silent string         // why not
}

type networkService struct{ *Server }

var _ assentv1connect.NetworkServiceHandler = networkService{}

func (s networkService) GetPeers(context.Context, *connect.Request[assentv1.GetPeersRequest]) (*connect.Response[assentv1.GetPeersResponse], error) {
	if s.cfg.Network == nil {
		return nil, notServed()
	}
	resp := &assentv1.GetPeersResponse{}
	for _, p := range s.cfg.Network.Peers() {
		resp.Peers = append(resp.Peers, &assentv1.Peer{
			NodeId: p.NodeID, Member: p.Member, Validator: p.Validator, Connected: p.Connected,
			SinceMs: uint64(max(p.Since.UnixMilli(), 0)), RttUs: uint32(min(max(p.RTT.Microseconds(), 0), 1<<31)), LastError: p.LastError,
		})
	}
	return connect.NewResponse(resp), nil
}

const maxAddr = 256 // bytes of a multiaddress

func (s networkService) Probe(ctx context.Context, req *connect.Request[assentv1.ProbeRequest]) (*connect.Response[assentv1.ProbeResponse], error) {
	if s.cfg.Network == nil {
		return nil, notServed()
	}
	var f form
	f.size("addr", len(req.Msg.Addr), 1, maxAddr)
	f.size("host_key", len(req.Msg.HostKey), len(ledger.HostKey{}), len(ledger.HostKey{}))
	if f.err != nil {
		return nil, f.err
	}
	if by := callOf(ctx).caller; by.Org != s.cfg.Member {
		leave, err := s.guests.enter(s.now())
		if err != nil {
			return nil, err
		}
		defer leave()
		if err := s.mayProbe(ctx, by, req.Msg.Addr, ledger.HostKey(req.Msg.HostKey)); err != nil {
			return nil, err
		}
	}
	p, err := s.cfg.Network.Probe(ctx, req.Msg.Addr, ledger.HostKey(req.Msg.HostKey))
	if err != nil {
		return nil, err
	}
	resp := &assentv1.ProbeResponse{Result: p.Result, Why: p.Why, SilentBecause: p.Silent}
	if p.Status != nil {
		resp.Status, resp.Nonce = p.Status.Encode(), p.Status.Nonce[:]
	}
	return connect.NewResponse(resp), nil
}
