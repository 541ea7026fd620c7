package node

import (
	"context"
	"net/http"

	"github.com/assent-network/assent/node/console"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// newConsole makes the pages that the gateway serves beside the API.
func (n *Node) newConsole(b *backend) (http.Handler, error) {
	return console.New(console.Config{
		Keys: b, Ledger: consoleLedger{b}, Node: consoleNode{b}, ChainID: n.chainID, NodeID: n.ID(), Member: n.member, Network: n.genesis.Network,
		Software: n.version, Clock: n.opts.Clock, Logger: n.log,
	})
}

// consoleLedger reads what pages show.
type consoleLedger struct{ b *backend }

// Row implements console.Ledger.
func (l consoleLedger) Row(ctx context.Context, key string) ([]byte, error) { return l.b.Row(ctx, key) }

// Rows implements console.Ledger.
func (l consoleLedger) Rows(prefix, after string, limit int) ([]console.Row, error) {
	start := prefix
	if after != "" {
		start = after + "\x00"
	}
	rows, err := l.b.state.View().Range(start, prefixEnd(prefix), limit)
	return consoleRows(rows), err
}

// Newest implements console.Ledger.
func (l consoleLedger) Newest(prefix, before string, limit int) ([]console.Row, error) {
	end := prefixEnd(prefix)
	if before != "" {
		end = before
	}
	rows, err := l.b.state.View().Last(prefix, end, limit)
	return consoleRows(rows), err
}

func consoleRows(rows []state.Row) []console.Row {
	out := make([]console.Row, len(rows))
	for i, r := range rows {
		out[i] = console.Row(r)
	}
	return out
}

// Block implements console.Ledger.
func (l consoleLedger) Block(ctx context.Context, h ledger.Height) (*ledger.Block, *ledger.Certificate, error) {
	raw, cert, err := l.b.Block(ctx, h)
	if err != nil {
		return nil, nil, err
	}
	block, err := ledger.DecodeBlock(raw)
	if err != nil || len(cert) == 0 {
		return block, nil, err
	}
	c, err := ledger.DecodeCertificate(cert)
	return block, c, err
}

// Outcome implements console.Ledger.
func (l consoleLedger) Outcome(ctx context.Context, id ledger.Hash) (*console.Outcome, error) {
	o, err := l.b.Outcome(ctx, id, 0)
	if o == nil || err != nil {
		return nil, err
	}
	out := &console.Outcome{Height: o.Height, Index: o.Index, Code: o.Code, Message: o.Message, Time: o.BlockTime}
	for _, e := range o.Events {
		out.Events = append(out.Events, e.Contract+"."+e.Name)
	}
	return out, nil
}

// Config implements console.Ledger.
func (l consoleLedger) Config() *ledger.Config { return l.b.store.Tip().Config }

// consoleNode says how the node is.
type consoleNode struct{ b *backend }

// Status implements console.Node.
func (n consoleNode) Status() console.Status {
	s := n.b.Status()
	return console.Status{
		Validator: s.Validator, Height: s.Height, Executed: s.Executed, Certified: s.Certified, BlockTime: s.BlockTime, View: s.View, Leader: s.Leader,
		ViewAge: s.ViewAge, Pool: s.Pool,
	}
}

// Peers implements console.Node.
func (n consoleNode) Peers() []console.Peer {
	var out []console.Peer
	for _, p := range n.b.Peers() {
		out = append(out, console.Peer{
			NodeID: p.NodeID, Member: p.Member, Validator: p.Validator, Connected: p.Connected, Since: p.Since, RTT: p.RTT, LastError: p.LastError,
		})
	}
	return out
}

// Health implements console.Node.
func (n consoleNode) Health(ctx context.Context) []console.Check {
	var out []console.Check
	for _, c := range n.b.Health(ctx) {
		out = append(out, console.Check{Name: c.Name, OK: c.OK, Why: c.Why, Advisory: c.Advisory})
	}
	return out
}

var (
	_ console.Ledger = consoleLedger{}
	_ console.Node   = consoleNode{}
	_ console.Keys   = (*backend)(nil)
)
