package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syndtr/goleveldb/leveldb"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// forget removes a row from a stopped node's state, below everything that checks:
// the next transaction that reads it ends otherwise than elsewhere.
func (p *peer) forget(key string) {
	t := p.c.t
	t.Helper()
	db, err := leveldb.OpenFile(filepath.Join(p.cfg.DataDir, stateDir), nil)
	if err != nil {
		t.Fatal(err)
	}
	row := append([]byte{'r'}, key...)
	if ok, err := db.Has(row, nil); err != nil || !ok {
		t.Fatalf("no row %s (%v)", key, err)
	}
	if err := errors.Join(db.Delete(row, nil), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// halts waits until a node has ended by itself and returns why.
func (p *peer) halts() error {
	t := p.c.t
	t.Helper()
	select {
	case err := <-p.done:
		p.node = nil
		p.cancel()
		return err
	case <-time.After(patience):
		t.Fatalf("%s did not halt", p.name)
		return nil
	}
}

// noted is what a stopped node's files say of its halt.
func (p *peer) noted() *doctor.Halt {
	p.c.t.Helper()
	h, err := readHalt(p.cfg.DataDir)
	if err != nil {
		p.c.t.Fatal(err)
	}
	if h == nil {
		return nil
	}
	return &h.Halt
}

// A node whose state has lost a row halts at once; then it names the transaction
// and the key, though the first peer that it asks sends it somebody else's receipts.
// Begun anew, it forgets the halt.
func TestAHaltedNodeNamesTransactionAndKey(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	odd := c.node(lake)
	c.converge(c.nodes...)
	odd.stop()
	odd.forget(record.MemberKey(lender))
	var lies int
	// While it asks its peers, whoever asks it is told.
	during := func(p *peer) {
		b := &backend{Node: p.node}
		const says = "halted at height"
		if h := p.noted(); h == nil || h.Height == 0 || b.figures().Halted != h.Height {
			t.Errorf("noted is %+v, the metric says %d", h, b.figures().Halted)
		}
		if err := b.Ready(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("readiness says %v", err)
		}
		_, _, err := b.Submit(t.Context(), c.transaction(p), 0)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("a submission is told %v", err)
		}
		if f, err := p.node.describe(t.Context()); err != nil || f.Halt == nil {
			t.Errorf("the doctor of the process is told %+v (%v)", f, err)
		}
	}
	odd.rules(&rules{request: func(_ context.Context, _ network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
		b, err := next()
		if p == network.ProtocolSync && strings.Contains(string(b), "assent/sync/receipts-answer/1") && lies == 0 {
			lies++
			during(odd)
			b[len(b)-1] ^= 1 // in the last leaf's hash of writes
		}
		return b, err
	}})
	odd.open()

	key := ledgerKey(t)
	o, err := c.node(lender).as("admin").Clients().Register(t.Context(), sdk.ClientSpec{Address: key, Roles: []sdk.ClientRole{"auditor"}, Label: "new"})
	if err != nil {
		t.Fatal(err)
	}
	why := odd.halts()
	var d *chain.Differs
	if !errors.As(why, &d) {
		t.Fatalf("it ended with %v", why)
	}
	log := string(odd.log.bytes())
	if at := strings.Index(log, "execution stopped"); at < 0 || at > strings.Index(log, "first transaction whose result differs") {
		t.Error("the alarm did not come before the search")
	}
	if lies != 1 {
		t.Errorf("%d answers were bent", lies)
	}
	wantKey := record.ClientKey(lender, record.Address(key))
	h := odd.noted()
	if h == nil || h.Height != uint64(d.Height) || h.Tx != o.TxID.String() || h.Key != wantKey || h.Block != o.Height || h.Contract != "membership" || h.Function != "RegisterClient" || !strings.Contains(h.Difference, "did not write here") {
		t.Fatalf("noted is %+v, want transaction %s and key %s", h, o.TxID, wantKey)
	}
	for _, what := range []string{h.Tx, wantKey} {
		if !strings.Contains(log, what) {
			t.Errorf("the log does not name %s", what)
		}
	}
	report := doctor.Judge(&doctor.Facts{Node: &doctor.Node{Halt: h}})
	if f := report.Findings[2]; f.Check != "halt" || f.Level != doctor.Fail || !strings.Contains(f.What, wantKey) {
		t.Errorf("the doctor says %+v", f)
	}

	odd.rules(nil)
	if err := os.RemoveAll(filepath.Join(odd.cfg.DataDir, stateDir)); err != nil {
		t.Fatal(err)
	}
	c.start(odd)
	eventually(t, patience, func() error {
		if h := odd.noted(); h != nil {
			return fmt.Errorf("noted is still %+v", h)
		}
		return nil
	})
}

func FuzzHaltFile(f *testing.F) {
	f.Add([]byte(`{"format":1,"height":3,"what":"x","key":"access/usage/1"}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHalt(b)
		if err == nil && h.Format != 1 {
			t.Errorf("format %d is taken", h.Format)
		}
		if err == nil {
			doctor.Judge(&doctor.Facts{Node: &doctor.Node{Halt: &h.Halt}})
		}
	})
}

func TestADamagedNoteOfAHaltStopsNobody(t *testing.T) {
	dir := t.TempDir()
	if h, err := readHalt(dir); h != nil || err != nil {
		t.Fatalf("%v, %v of nothing", h, err)
	}
	for what, content := range map[string]string{"garbage": "garbage", "another format": `{"format":7}`, "too long": strings.Repeat(" ", maxHaltFile+1)} {
		if err := os.WriteFile(filepath.Join(dir, haltFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := readHalt(dir); h != nil || err == nil {
			t.Errorf("%s: %v, %v", what, h, err)
		}
	}
}

func TestWhatAFailureSaysByItself(t *testing.T) {
	h := haltOf(&chain.Differs{Height: 7})
	if h == nil || h.Height != 7 || h.Tx != "" {
		t.Errorf("%+v", h)
	}
	if h := haltOf(&chain.Hangs{Height: 8, Key: "access/usage/1"}); h == nil || h.Key != "access/usage/1" || h.Tx != "" {
		t.Errorf("%+v", h)
	}
	if h := haltOf(fmt.Errorf("disk: %w", ledger.ErrWrongChain)); h != nil {
		t.Errorf("a disk that fails is noted as %+v", h)
	}
}
