package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/metrics"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/vault"
)

// countCall is what the gateway calls for every call that ended.
func (n *Node) countCall(method string, code api.Code, took time.Duration) {
	n.metrics.Call(method, api.Name(code), took)
}

// countBlock counts what an executed block holds. The executor calls it.
func (n *Node) countBlock(r *executor.Result) {
	n.metrics.Block()
	for _, o := range r.Outcomes {
		n.metrics.Outcome(o.Code)
		for i := range o.Events {
			e := &o.Events[i]
			if e.Contract != "access" {
				continue
			}
			switch e.Name {
			case "request":
				n.metrics.Decision(e.Payload)
			case "batch", "exposure", "cohort": // each holds a code for each of their requests
				n.metrics.Decisions(e.Payload)
			case "receipt":
				n.metrics.Receipt(e.Payload)
			}
		}
	}
}

// whyRefused names why a transaction is not taken, in one of few words.
func whyRefused(err error) string {
	var known *api.Error
	if errors.As(refusal(err), &known) {
		return api.Name(known.Code)
	}
	return api.Name(pb.Code_CODE_INTERNAL)
}

// countAnswer counts what the answerer committed.
func (n *Node) countAnswer(outcome record.ReceiptOutcome, leak bool) {
	n.metrics.Answered(string(outcome), leak)
}

// countEnding counts answers that ended on their way: their outcome is another
// than the one they were counted with.
func (n *Node) countEnding(it outbox.Item, why outbox.Ending) {
	if it.Kind != outbox.Answer {
		return
	}
	switch why {
	case outbox.Withheld:
		n.metrics.Answered(string(record.Withheld), false)
	case outbox.Overdue:
		n.metrics.Answered(string(record.Overdue), false)
	}
}

// margin is how many of the reached validators may fail before they are fewer
// than a quorum of all.
func margin(reached, all int) int { return reached - ledger.Quorum(all) }

// figures gathers what a scrape shows.
func (n *Node) figures() metrics.Figures {
	tip, engine := n.store.Tip(), n.chain.EngineStatus()
	executed, _, _ := n.state.Executed()
	reached, validators := n.reach()
	f := metrics.Figures{
		Height: uint64(tip.Height), Executed: uint64(executed), Certified: uint64(tip.Header.ExecHeight), ConfigSeq: tip.Config.Seq,
		BlockAge: n.now().Sub(time.UnixMilli(int64(tip.Header.Time))), Validators: validators, QuorumMargin: margin(reached, validators),
		View: engine.View, Leader: uint64(engine.Leader), Pool: engine.Pool, ViewAge: -1, DiskFree: -1,
		Ready: make(map[string]bool), StoreBytes: make(map[string]int64),
	}
	if h := n.halt(); h != nil {
		f.Halted = h.Height
	}
	if age, ok := n.view.Age(); ok {
		f.ViewAge = age
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, c := range n.health(ctx) {
		f.Ready[c.Name] = c.OK
	}
	n.peerFigures(&f)
	for part, path := range map[string]string{"blocks": blocksDir, "state": stateDir, "wal": walDir, "private": privateFile} {
		f.StoreBytes[part] = diskUse(filepath.Join(n.cfg.DataDir, path))
	}
	if s, err := n.state.Stats(); err == nil {
		f.StateMemory = map[string]int64{"unflushed": int64(s.UnflushedBytes), "past": int64(s.PastBytes)}
	}
	if free, err := diskFree(n.cfg.DataDir); err == nil {
		f.DiskFree = free
	}
	f.OutboxItems, f.OutboxOldest = n.outboxLoad()
	n.admissionFigures(&f)
	f.Contradictions = n.accusationFigures()
	n.engineFigures(&f)
	n.dutyFigures(&f, n.now())
	for product, s := range n.VaultStates() {
		f.Vaults = append(f.Vaults, metrics.Vault{Product: product, OK: s == VaultOK})
	}
	return f
}

// admissionFigures are what is let in and what is turned away, at the API, by the
// pool and from other nodes.
func (n *Node) admissionFigures(f *metrics.Figures) {
	a, from, api := n.Admission(), n.Forwarded(), n.gateway.Refusals()
	f.Admission = map[string]uint64{
		"admitted": a.Admitted, "busy": a.Busy, "invalid": a.Invalid, "not_now": a.NotNow, "stranger": a.Stranger, "overdue": a.Overdue,
	}
	f.PoolUnits, f.PoolLimit, f.OrderedPerSecond = a.Members, a.Limit, a.PerSecond
	f.Garbage, f.Shuns, f.Costly = from.Invalid, from.Shuns, from.Costly
	f.Refusals = map[string]uint64{
		"client_rate": api.ClientRate, "member_rate": api.MemberRate, "address_rate": api.AddressRate,
		"client_calls": api.ClientCalls, "member_calls": api.MemberCalls, "node_calls": api.NodeCalls,
		"event_streams": api.EventStreams, "member_bytes": api.MemberBytes, "node_bytes": api.NodeBytes,
		"connections": api.Connections, "too_large": api.TooLarge, "bad_transactions": api.BadTransactions, "slow_readers": api.SlowReaders,
	}
}

// engineFigures are what the ordering engine counted.
func (n *Node) engineFigures(f *metrics.Figures) {
	e := n.engines.totals()
	f.EngineDecided, f.EngineCatchUps, f.EngineViewChanges = e.Decided, e.CatchUps, e.ViewChanges
	f.EngineRestarts, f.EngineReliefs, f.EngineRepeats = e.Restarts, e.Reliefs, e.Repeats
	f.EngineMessages = map[string]uint64{"sent": e.MessagesSent, "received": e.MessagesReceived, "refused": e.MessagesRefused, "held": e.MessagesHeld}
	f.EngineLogRecords, f.EngineLogBytes = e.LogRecords, e.LogBytes
}

func (n *Node) peerFigures(f *metrics.Figures) {
	for _, p := range n.host.Status() {
		member, _ := n.dir.member(p.ID)
		x := metrics.Peer{ID: string(p.ID), Member: member, Connected: p.Connected, RTT: p.RTT, Classes: make(map[string]metrics.Class)}
		for _, c := range network.Classes() {
			s := p.Class(c)
			x.Classes[c.String()] = metrics.Class{Queued: s.QueuedMessages, Dropped: s.Dropped, Throttled: s.Throttled}
		}
		f.Peers = append(f.Peers, x)
	}
}

// outboxLoad returns how many items wait and how long the oldest has.
func (n *Node) outboxLoad() (items int, oldest time.Duration) {
	for _, l := range n.outbox.Status() {
		items += l.Waiting
		if !l.Oldest.IsZero() {
			oldest = max(oldest, time.Since(l.Oldest))
		}
	}
	return items, oldest
}

// diskUse sums the files at or below path, which may be gone meanwhile.
func diskUse(path string) int64 {
	var n int64
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// countedVault times the look-ups of a product.
type countedVault struct {
	vault.Connector
	product string
	metrics *metrics.Metrics
}

// Lookup implements vault.Connector.
func (c countedVault) Lookup(ctx context.Context, subject vault.Subject, columns []string) (vault.Row, error) {
	begun := time.Now()
	row, err := c.Connector.Lookup(ctx, subject, columns)
	kind := ""
	switch {
	case err == nil, errors.Is(err, vault.ErrUnknownSubject), ctx.Err() != nil:
	case errors.Is(err, vault.ErrSchema):
		kind = "schema"
	case errors.Is(err, vault.ErrAmbiguous):
		kind = "ambiguous"
	case errors.Is(err, vault.ErrAccount):
		kind = "account"
	default:
		kind = "unavailable"
	}
	c.metrics.Lookup(c.product, kind, time.Since(begun))
	return row, err
}

// Scan implements vault.Scanner.
func (c countedVault) Scan(ctx context.Context, columns []string, visit func(vault.Subject, vault.Row) error) error {
	s, ok := c.Connector.(vault.Scanner)
	if !ok {
		return fmt.Errorf("scan the vault of product %s: %w: its connector reads one subject at a time", c.product, vault.ErrSchema)
	}
	return s.Scan(ctx, columns, visit)
}

// countedVaults finds the connector of a product and counts what it is asked.
func (n *Node) countedVaults(id record.ProductID) (vault.Connector, bool) {
	c, ok := n.vaults.connector(id)
	if !ok {
		return nil, false
	}
	return countedVault{c, string(id), n.metrics}, true
}
