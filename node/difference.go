package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/divergence"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/sync"
)

// differenceTime bounds the search for what differs: a halted node shall end.
const differenceTime = 30 * time.Second

// receipts reads this node's receipt log to its peers.
type receipts struct{ state *state.DB }

func (r receipts) Size() uint64 { return r.state.View().Roots().ReceiptsSize }

func (r receipts) Leaf(position uint64) (*ledger.Receipt, []ledger.WriteHash, error) {
	return r.state.View().Leaf(position)
}

var (
	_ sync.Receipts    = receipts{}
	_ divergence.Peers = (*sync.Client)(nil)
	_ divergence.Own   = (*state.View)(nil)
)

// runDifference waits for the node's end. If the chain failed over a certified
// result, which runChain has noted, it asks peers which transaction and key it is: the
// clients are gone by then, the network is still there.
func (n *Node) runDifference(ctx context.Context) error {
	<-ctx.Done()
	failure := n.chain.Failure()
	found := haltOf(failure)
	if found == nil {
		return nil
	}
	var d *chain.Differs
	if !errors.As(failure, &d) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), differenceTime)
	defer cancel()
	f, err := n.findDifference(ctx, d)
	if err != nil {
		n.log.Error("ALARM: the transaction whose result differs was not found", "height", d.Height, "error", err)
		if errors.Is(err, divergence.ErrSame) {
			found.What += "; " + divergence.ErrSame.Error()
			n.noteHalt(*found)
		}
		return nil
	}
	n.describeDifference(found, f)
	n.log.Error("ALARM: this is the first transaction whose result differs from the certified one", "height", f.Certified.Height, "index", f.Certified.Index,
		"tx", f.Certified.TxID, "contract", found.Contract, "function", found.Function, "what", found.Difference, "key", found.Key)
	n.noteHalt(*found)
	return nil
}

// findDifference asks peers for the receipts since the certified header before.
func (n *Node) findDifference(ctx context.Context, d *chain.Differs) (*divergence.Finding, error) {
	h, _, err := n.store.Header(d.Height)
	if err != nil {
		return nil, err
	}
	before, _, err := n.store.Header(d.Height - 1)
	if err != nil {
		return nil, err
	}
	if d.Own.Receipts == h.ReceiptsRoot && d.Own.ReceiptsSize == h.ReceiptsSize {
		return nil, divergence.ErrSame
	}
	var ask []string
	for _, p := range n.syncPeers() {
		ask = append(ask, p.ID)
	}
	return divergence.Find(ctx, divergence.Config{
		Own: n.state.View(), Peers: n.client, Ask: ask,
		Claim: divergence.Claim{From: before.ReceiptsSize, FromRoot: before.ReceiptsRoot, Size: h.ReceiptsSize, Root: h.ReceiptsRoot, OwnSize: d.Own.ReceiptsSize},
	})
}

// describeDifference puts a finding into words. It shows no values: those are
// hashes here, and rows of the ledger in the state.
func (n *Node) describeDifference(to *doctor.Halt, f *divergence.Finding) {
	to.Block, to.Tx, to.Key = uint64(f.Certified.Height), f.Certified.TxID.Hex(), ledger.ShownKey(f.Key)
	if b, err := n.store.Block(f.Certified.Height); err == nil && f.Certified.Index < uint64(len(b.Requests)) {
		if tx, err := ledger.DecodeTransaction(b.Requests[f.Certified.Index]); err == nil && tx.ID() == f.Certified.TxID {
			if _, known := chaincode.Lookup(tx.Payload.Contract, tx.Payload.Function); known {
				to.Contract, to.Function = tx.Payload.Contract, tx.Payload.Function
			}
		}
	}
	switch f.Part {
	case divergence.PartIdentity:
		to.Difference = "this node has another transaction in its place, or none"
	case divergence.PartWrites:
		switch {
		case f.HasHere && f.HasThere:
			to.Difference = "it wrote another value here"
		case f.HasHere:
			to.Difference = "it wrote here what nobody else wrote"
		default:
			to.Difference = "it did not write here what the others wrote"
		}
		if f.Own.Code != f.Certified.Code {
			to.Difference += fmt.Sprintf(", and ended with %s instead of %s", shownCode(f.Own.Code), shownCode(f.Certified.Code))
		}
	case divergence.PartCode:
		to.Difference = fmt.Sprintf("it ended with %s here and with %s elsewhere", shownCode(f.Own.Code), shownCode(f.Certified.Code))
	case divergence.PartEvents:
		to.Difference = "it announced other events here"
	default:
		to.Difference = "its receipt has another place here"
	}
}

// shownCode is a code of a receipt as people may see it: one of the closed list
// unless a contract went wrong.
func shownCode(code string) string { return ledger.ShownKey(code) }
