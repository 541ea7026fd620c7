package sdk

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// NodeStatus is what one node says of itself, and what of it was verified.
type NodeStatus struct {
	URL      string
	Err      error // why the node did not answer; nothing else is set then
	NodeID   string
	Member   OrgID
	Software string
	Protocol uint64
	Network  string

	Validator  uint64 // 0 for an observer
	Height     uint64
	Executed   uint64
	Certified  uint64
	ConfigSeq  uint64
	Leader     uint64
	View       uint64
	Pool       uint64
	Peers      uint64
	BlockTime  time.Time
	ViewAge    time.Duration // how stale the node may be, as it says
	Ready      bool
	WhyNot     string        // when not Ready
	RoundTrip  time.Duration // of the status call
	ClockAhead time.Duration // node's clock minus this one's, to a second; only if ClockKnown
	ClockKnown bool

	// Verified is the height of the newest header the node could show with a
	// valid certificate; Behind how many blocks that lies below the newest header
	// any of the nodes showed. Lie says what the node claimed and could not show.
	Verified uint64
	Behind   uint64
	Lie      error
}

// Status asks the node that serves this client.
func (c *Client) Status(ctx context.Context) (*NodeStatus, error) {
	return round(ctx, c, "status", anyNode, func(ctx context.Context, e *endpoint) (*NodeStatus, error) {
		return c.status(ctx, e)
	})
}

func (c *Client) status(ctx context.Context, e *endpoint) (*NodeStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, c.set.timeouts.Call)
	defer cancel()
	req, err := request(ctx, c, e, &assentv1.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	begin := c.set.now()
	resp, err := e.ledger.GetStatus(ctx, req)
	if err != nil {
		return nil, err
	}
	end := c.set.now()
	m := resp.Msg
	s := &NodeStatus{
		URL: e.url, NodeID: m.NodeId, Member: OrgID(m.Member), Software: m.Software, Protocol: m.Protocol, Network: m.Network,
		Validator: m.Validator, Height: m.Height, Executed: m.ExecutedHeight, Certified: m.CertifiedHeight, ConfigSeq: m.ConfigSeq,
		Leader: m.Leader, View: m.View, Pool: m.Pool, Peers: m.Peers, BlockTime: fromMillis(m.BlockTimeMs),
		ViewAge: time.Duration(m.ViewAgeMs) * time.Millisecond, Ready: m.Ready, WhyNot: m.NotReadyBecause, RoundTrip: end.Sub(begin),
	}
	if date, err := http.ParseTime(resp.Header().Get("Date")); err == nil {
		mid := begin.Add(end.Sub(begin) / 2)
		// The header has whole seconds, cut off: half a second is the fair guess.
		s.ClockAhead, s.ClockKnown = date.Add(500*time.Millisecond).Sub(mid).Round(time.Second), true
	}
	if m.ChainId != c.chainID.Hex() {
		return nil, &Error{
			Code: "WRONG_CHAIN", Where: "status of " + e.url,
			What:   fmt.Sprintf("the node is of network %.80s, this client of %s", m.ChainId, c.chainID),
			Remedy: "Use a node of your network, or the genesis file of the network you mean.",
		}
	}
	return s, nil
}

// Compare asks every node of the client at once and holds them against each
// other: who cannot be reached, who lags, who claims heights that no certificate
// shows. With several endpoints this tells whether one's own node hides the
// newest blocks.
func (c *Client) Compare(ctx context.Context) []NodeStatus {
	out := make([]NodeStatus, len(c.nodes))
	var wg sync.WaitGroup
	for i, e := range c.nodes {
		wg.Go(func() { out[i] = c.examine(ctx, e) })
	}
	wg.Wait()
	best := uint64(0)
	for i := range out {
		best = max(best, out[i].Verified)
	}
	for i := range out {
		if out[i].Err == nil {
			out[i].Behind = best - out[i].Verified
		}
	}
	return out
}

func (c *Client) examine(ctx context.Context, e *endpoint) NodeStatus {
	s, err := c.status(ctx, e)
	if err != nil {
		return NodeStatus{URL: e.url, Err: c.failure("status", e, err)}
	}
	ch, err := c.newest(ctx, e)
	if err != nil {
		s.Lie = c.failure("newest header", e, err)
		return *s
	}
	s.Verified = uint64(ch.Header.Height)
	if s.Verified < s.Height {
		s.Lie = fmt.Errorf("it says height %d and shows a certified header of height %d only", s.Height, s.Verified)
	}
	return *s
}
