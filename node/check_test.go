package node

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// CheckLedger verifies every invariant of a stopped node's ledger: what `assentd
// verify` does (hash chain, certificates, roots, receipts, indexes), and what the
// contracts promise about the records: usage chains complete, receipts only of
// permits, and no answer that left this node without a permit.
func CheckLedger(t *testing.T, p *peer) {
	t.Helper()
	ctx := context.Background()
	v, err := Verify(ctx, p.cfg, nil)
	if err != nil {
		t.Errorf("%s: %v", p.name, err)
		return
	}
	if v.Executed != v.Blocks {
		t.Errorf("%s stopped with %d of %d blocks executed", p.name, v.Executed, v.Blocks)
	}
	db, err := state.Open(ctx, state.Config{Dir: filepath.Join(p.cfg.DataDir, stateDir), ChainID: p.c.genesis.Hash()})
	if err != nil {
		t.Errorf("%s: %v", p.name, err)
		return
	}
	defer db.Close()
	view := db.View()
	requests := p.c.old
	if db.Pruned().Height == 0 || requests == nil {
		if requests, err = checkUse(view); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
	for _, d := range p.departed() {
		s, err := answer.DecodeSealed(d.payload)
		if err != nil {
			t.Errorf("%s handed on an answer that does not decode: %v", p.name, err)
			continue
		}
		if r := requests[s.RequestID]; r == nil || r.Decision != record.Permit {
			t.Errorf("%s handed on an answer to request %s, which the ledger does not permit", p.name, s.RequestID)
		}
	}
}

func requestOf(t *testing.T, d departed) record.RequestID {
	t.Helper()
	s, err := answer.DecodeSealed(d.payload)
	if err != nil {
		t.Fatal(err)
	}
	return s.RequestID
}

// checkUse holds every consent's account of its uses against its requests, and
// every receipt against its request. It returns the requests.
func checkUse(view *state.View) (map[record.RequestID]*record.Request, error) {
	requests := make(map[record.RequestID]*record.Request)
	byConsent := make(map[record.ConsentID][]*record.Request)
	raw := make(map[record.RequestID][]byte)
	receipts := make(map[record.RequestID]int)
	size := view.Roots().ReceiptsSize
	for i := range size { // the log of everything that ever happened, in order
		o, err := view.OutcomeAt(i)
		if err != nil {
			return nil, err
		}
		for j := range o.Events {
			e := &o.Events[j]
			switch e.Contract + "/" + e.Name {
			case "access/request":
				r, err := record.Load[record.Request](e.Payload)
				if err != nil {
					return nil, err
				}
				requests[r.RequestID], raw[r.RequestID] = r, e.Payload
				byConsent[r.ConsentID] = append(byConsent[r.ConsentID], r)
			case "access/batch":
				b, err := record.Load[record.Batch](e.Payload)
				if err != nil {
					return nil, err
				}
				for _, x := range b.Results {
					if x.RequestID == "" {
						continue // refused: it leaves nothing
					}
					row, _, err := view.Get(record.RequestKey(x.RequestID))
					if err != nil {
						return nil, err
					}
					r, err := record.Load[record.Request](row)
					if err != nil {
						return nil, err
					}
					requests[r.RequestID], raw[r.RequestID] = r, row
					byConsent[r.ConsentID] = append(byConsent[r.ConsentID], r)
				}
			case "access/receipt":
				r, err := record.Load[record.Receipt](e.Payload)
				if err != nil {
					return nil, err
				}
				if receipts[r.RequestID]++; receipts[r.RequestID] > 1 {
					return nil, fmt.Errorf("request %s has two receipts", r.RequestID)
				}
				if q := requests[r.RequestID]; q == nil || q.Decision != record.Permit {
					return nil, fmt.Errorf("receipt of request %s, which was not permitted before it", r.RequestID)
				}
			}
		}
	}
	for id, list := range byConsent {
		usage, err := loadRecord[record.Usage](view, record.UsageKey(id))
		if err != nil {
			return nil, err
		}
		var head record.Hash
		var permits uint64
		for i, r := range list {
			if r.Sequence != uint64(i)+1 {
				return nil, fmt.Errorf("consent %s: use %d says it is number %d", id, i+1, r.Sequence)
			}
			if r.Decision == record.Permit {
				permits++
			}
			head = record.NextHead(head, raw[r.RequestID])
		}
		if head != usage.Head || usage.Requests != uint64(len(list)) || usage.Uses != permits {
			return nil, fmt.Errorf("consent %s: %d requests with %d permits do not give its account %+v", id, len(list), permits, usage)
		}
	}
	return requests, nil
}

// sameLedger fails unless two stopped nodes hold the same blocks, as far as both
// go.
func sameLedger(t *testing.T, a, b *peer) {
	t.Helper()
	var stores [2]*store.Store
	for i, p := range []*peer{a, b} {
		s, err := store.Open(filepath.Join(p.cfg.DataDir, blocksDir), p.c.genesis.Hash())
		if err != nil {
			t.Errorf("%s: %v", p.name, err)
			return
		}
		stores[i] = s
		if a == b {
			s.Close()
			return
		}
		defer s.Close()
	}
	top := min(stores[0].Tip().Height, stores[1].Tip().Height)
	for h := ledger.Height(0); h <= top; h++ {
		_, x, err := stores[0].Header(h)
		if err != nil {
			t.Error(err)
			return
		}
		_, y, err := stores[1].Header(h)
		if err != nil {
			t.Error(err)
			return
		}
		if x != y {
			t.Errorf("fork: at height %d %s has %s, %s has %s", h, a.name, x, b.name, y)
			return
		}
	}
}

// searchForPersons fails if a customer's identity number stands in anything that
// a node keeps or logs.
func (c *cluster) searchForPersons() {
	c.t.Helper()
	var n needles
	for i := range c.customers {
		n.add(c.customers[i].identity)
	}
	for _, p := range c.nodes {
		err := p.everyRow(func(where string, content []byte) {
			if n.in(content) {
				c.t.Errorf("%s holds a customer's identity number in %s", p.name, where)
			}
		})
		if err != nil {
			c.t.Errorf("%s: search: %v", p.name, err)
		}
	}
}

// everyRow visits what a stopped node keeps, row by row as its databases hold
// them, and its log.
func (p *peer) everyRow(visit func(where string, content []byte)) error {
	visit("its log", p.log.bytes())
	for _, dir := range []string{blocksDir, stateDir} {
		if err := levelRows(filepath.Join(p.cfg.DataDir, dir), visit); err != nil {
			return err
		}
	}
	if err := fileRows(filepath.Join(p.cfg.DataDir, walDir), visit); err != nil {
		return err
	}
	return sqliteRows(filepath.Join(p.cfg.DataDir, privateFile), func(table, column string, value []byte) {
		visit(strings.Join([]string{privateFile, table, column}, " "), value)
	})
}
