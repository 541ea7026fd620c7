package console

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/node/ledger"
)

// picture is the network as this node sees it.
type picture struct {
	Status
	Lag       uint64 // blocks that wait for execution
	Quorum    int
	Reached   int // validators that this node talks to, itself included
	Total     int // validators
	Margin    int // further validators that may fail before nothing is ordered
	State     string
	Why       string
	LeaderOf  string // member of the leader
	BlockAge  time.Duration
	Nodes     []node
	Members   []ledger.Member
	Observers int // connected
}

// node is one node in the picture: this one in the middle, the others around it.
type node struct {
	Peer
	Self, Leader bool
	State        string // good, bad
	For          time.Duration
	X, Y         int // from the middle, in the drawing's own units
	Label        int // where its name stands, from there: away from the line
}

// Half axes of the ring on which the others stand.
const (
	ringWidth  = 150
	ringHeight = 115
)

func (c *Console) picture() *picture {
	config := c.cfg.Ledger.Config()
	now := c.cfg.Clock()
	p := &picture{Status: c.cfg.Node.Status(), Total: len(config.Validators), Members: config.Members}
	p.Quorum = ledger.Quorum(p.Total)
	p.Lag = uint64(p.Height - min(p.Executed, p.Height))
	if p.BlockTime != 0 {
		p.BlockAge = now.Sub(time.UnixMilli(int64(p.BlockTime)))
	}
	self := node{Peer: Peer{NodeID: c.cfg.NodeID, Member: c.cfg.Member, Validator: p.Validator, Connected: true}, Self: true, State: "good"}
	p.Nodes = append(p.Nodes, self)
	for _, peer := range c.cfg.Node.Peers() {
		n := node{Peer: peer, State: "bad"}
		if peer.Connected {
			n.State = "good"
		}
		if !peer.Since.IsZero() {
			n.For = now.Sub(peer.Since)
		}
		p.Nodes = append(p.Nodes, n)
	}
	slices.SortStableFunc(p.Nodes, func(a, b node) int {
		if (a.Validator == 0) != (b.Validator == 0) {
			return cmp.Compare(b.Validator, a.Validator) // validators first
		}
		return cmp.Or(cmp.Compare(a.Validator, b.Validator), cmp.Compare(a.Member, b.Member), cmp.Compare(a.NodeID, b.NodeID))
	})
	around := 0
	for i := range p.Nodes {
		n := &p.Nodes[i]
		n.Leader = n.Validator != 0 && n.Validator == p.Leader
		if n.Leader {
			p.LeaderOf = n.Member
		}
		switch {
		case n.Validator != 0 && n.Connected:
			p.Reached++
		case n.Validator == 0 && n.Connected && !n.Self:
			p.Observers++
		}
		n.Label = 46
		if n.Self {
			continue
		}
		angle := 2*math.Pi*(float64(around)+0.5)/float64(len(p.Nodes)-1) - math.Pi/2 // nobody right below the middle's name
		around++
		n.X, n.Y = int(math.Round(ringWidth*math.Cos(angle))), int(math.Round(ringHeight*math.Sin(angle)))
		if n.Y < 0 {
			n.Label = -34
		}
	}
	p.Margin = p.Reached - p.Quorum
	p.judge()
	return p
}

// judge says in one word and one sentence how the network is.
func (p *picture) judge() {
	var down []string
	for i := range p.Nodes {
		if n := &p.Nodes[i]; n.Validator != 0 && !n.Connected {
			down = append(down, fmt.Sprintf("validator %d of %s", n.Validator, n.Member))
		}
	}
	switch {
	case p.Margin < 0:
		p.State = "bad"
		p.Why = fmt.Sprintf("Too few validators for a quorum: %d of %d are connected, %d are needed. Nothing is ordered. Start %s, or mend the way to them.",
			p.Reached, p.Total, p.Quorum, strings.Join(down, ", "))
	case len(down) > 0:
		p.State = "warn"
		p.Why = fmt.Sprintf("Not connected: %s. Ordering goes on; %d more may fail. Ask the operator of that member whether its node runs.", strings.Join(down, ", "), p.Margin)
	case p.Lag > 32:
		p.State = "warn"
		p.Why = fmt.Sprintf("This node has %d blocks to execute: wait, and look for a machine that is too slow if the number grows.", p.Lag)
	default:
		p.State, p.Why = "good", "All validators are connected."
	}
}

func (c *Console) network(w http.ResponseWriter, r *http.Request, v *visitor) {
	c.show(w, r, http.StatusOK, "network", v, c.picture())
}

// How often the picture is looked at, and sent again though nothing changed: then
// ages have.
const (
	liveLook = 500 * time.Millisecond
	liveSend = 5 * time.Second
)

// live sends the picture anew when it changes, until the session ends.
func (c *Console) live(w http.ResponseWriter, r *http.Request, _ *visitor) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	look := time.NewTicker(liveLook)
	defer look.Stop()
	var last []byte
	var sent time.Time
	for {
		if _, err := c.who(r, false); err != nil {
			c.event(w, out, "ended", []byte("over")) // the page goes to the sign-in
			return
		}
		p := c.picture()
		seen := p.essence()
		if now := c.cfg.Clock(); !bytes.Equal(seen, last) || now.Sub(sent) >= liveSend {
			body, err := c.part("network", "picture", p)
			if err == nil {
				err = c.event(w, out, "picture", body)
			}
			if err != nil {
				return
			}
			last, sent = seen, now
		}
		select {
		case <-r.Context().Done():
			return
		case <-look.C:
		}
	}
}

// essence is what a look must show at once.
func (p *picture) essence() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, p.Height, p.View, p.Leader, p.Total, p.Quorum, p.State, p.Lag > 32)
	for i := range p.Nodes {
		fmt.Fprint(&b, " ", p.Nodes[i].NodeID, p.Nodes[i].Connected)
	}
	return b.Bytes()
}

// event writes one event of a stream. Its reader has some seconds to take it.
func (c *Console) event(w http.ResponseWriter, out *http.ResponseController, name string, body []byte) error {
	if err := errors.Join(out.SetReadDeadline(time.Time{}), out.SetWriteDeadline(time.Now().Add(10*time.Second))); err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", name)
	for line := range bytes.Lines(body) {
		b.WriteString("data: ")
		b.Write(bytes.TrimRight(line, "\r\n"))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	return out.Flush()
}
