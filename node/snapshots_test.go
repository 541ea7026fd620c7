package node

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// growing is a ledger whose headers name the true roots.
type growing struct {
	t     *testing.T
	chain *ledgertest.Chain
	store *store.Store
	db    *state.DB
}

func newGrowing(t *testing.T) *growing {
	t.Helper()
	g := &growing{t: t, chain: ledgertest.NewChain(ledgertest.Config(4))}
	var err error
	if g.store, err = store.Create(filepath.Join(t.TempDir(), "blocks"), g.chain.Genesis); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.store.Close() })
	if g.db, err = state.Create(t.Context(), state.Config{Dir: filepath.Join(t.TempDir(), "state"), ChainID: g.chain.ChainID()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.db.Close() })
	g.execute(g.chain.Blocks[0])
	return g
}

// extend adds a block that certifies what was executed before it.
func (g *growing) extend() {
	c := g.chain
	b := c.Block(c.Transaction([]byte{byte(len(c.Blocks))}))
	_, roots, _ := g.db.Executed()
	b.Header.StateRoot, b.Header.ReceiptsRoot, b.Header.ReceiptsSize = roots.State, roots.Receipts, roots.ReceiptsSize
	cert := ledgertest.Certify(c.Config, &b.Header)
	c.Blocks, c.Certs = append(c.Blocks, b), append(c.Certs, cert)
	if err := g.store.Append(b, cert); err != nil {
		g.t.Error(err)
	}
	g.execute(b)
}

func (g *growing) execute(b *ledger.Block) {
	block, err := g.db.Begin(b.Header.Height, b.Header.Time)
	for i, req := range b.Requests {
		if err == nil {
			_, err = block.Apply(&state.Tx{TxID: ledger.Sum(req), Index: uint64(i), Code: "OK", Writes: []ledger.Write{{Key: "a/record/" + ledger.Sum(req).Hex(), Value: req}}})
		}
	}
	if err == nil {
		_, err = block.Seal()
	}
	if err == nil {
		err = block.Commit()
	}
	if err != nil {
		g.t.Error(err)
	}
}

// Two who ask for a snapshot at one time both get theirs: what the first removes is
// not what the second is writing.
func TestSnapshotsThatAreAskedForAtOnce(t *testing.T) {
	g := newGrowing(t)
	for range 12 {
		g.extend()
	}
	root := filepath.Join(t.TempDir(), snapshotsDir)
	for h := range 9 { // old ones, which take a while to remove
		for i := range 100 {
			if err := os.MkdirAll(filepath.Join(root, strconv.Itoa(h), strconv.Itoa(i)), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := newSnapshots(root)
	defer s.Close()
	first, second := make(chan struct{}), make(chan error, 1)
	begun := false
	m, old, err := s.replace(t.Context(), g.store, g.db, 0, 1, func(snapshot.Progress) {
		if begun {
			return
		}
		begun = true
		g.extend()
		go func() {
			_, _, err := s.replace(t.Context(), g.store, g.db, 0, 1, func(snapshot.Progress) { <-first }) // it lasts until the first is done
			second <- err
		}()
	})
	close(first)
	if err != nil || old != nil {
		t.Fatal(m, old, err)
	}
	if err := <-second; err != nil {
		t.Errorf("the second snapshot: %v", err)
	}
	list, err := s.dir.List()
	if err != nil || len(list) != 1 || list[0].Height() != m.Height()+1 {
		t.Errorf("%d snapshots are kept, %v", len(list), err)
	}
}
