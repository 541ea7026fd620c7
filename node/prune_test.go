package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/sdk"
)

// oldEnough is how old access records get on the network of these tests.
const oldEnough = time.Hour

// refusedAs returns why a call failed unless it has the code.
func refusedAs(err error, code, text string) error {
	var refused *sdk.Error
	if !errors.As(err, &refused) || string(refused.Code) != code || !strings.Contains(err.Error(), text) {
		return fmt.Errorf("%w, want %s with %q", err, code, text)
	}
	return nil
}

// withPruners returns a network whose validators keep as little as they may, with
// an observer that keeps everything, and a lender that asked and was answered hours
// ago.
func withPruners(t *testing.T) (*cluster, *agreement, *sdk.QueryResult) {
	t.Helper()
	c := emptyCluster(t, t.TempDir())
	c.records = oldEnough
	c.outfit = func(_ int, p *peer) {
		p.cfg.Retention.Blocks, p.cfg.Retention.Records = 0, 0
		if p.cfg.Identity.Node == "validator" {
			p.cfg.Retention.Blocks, p.cfg.Retention.Records = oldEnough, oldEnough
		}
	}
	c.found(withObserver(fourSeats))
	notice := c.publish(harbour)
	who := &c.customers[0]
	a := c.agree(harbour, notice, who.identity, true)
	first := a.ask(incomeBand)
	if got := value(first); got != who.band() {
		t.Fatalf("the answer is %s, the bank's row says %s", got, who.band())
	}
	c.converge(c.nodes...)
	c.later.Store(int64(3 * oldEnough))
	c.agree(harbour, notice, who.identity, true).ask(incomeBand)
	c.converge(c.nodes...)
	return c, a, first
}

// remember checks what a node that keeps everything knows of every request, for
// those that keep less.
func (c *cluster) remember(keeper *peer) {
	c.t.Helper()
	var err error
	if c.old, err = checkUse(keeper.node.state.View()); err != nil {
		c.t.Fatal(err)
	}
}

// pruneNow writes a snapshot and prunes behind it.
func (p *peer) pruneNow() PruneInfo {
	t := p.c.t
	t.Helper()
	if _, err := p.node.writeSnapshot(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var info PruneInfo
	eventually(t, 30*time.Second, func() (err error) { // the node prunes too
		if info, err = p.node.prune(t.Context(), func(VerifyProgress) {}); err == nil && (info.Records == 0 || info.Blocks == 0) {
			err = fmt.Errorf("after pruning %+v", info)
		}
		return err
	})
	return info
}

// A validator that has pruned an access record says so, and who keeps it; it still
// proves the receipt; a transaction that needs the record is refused by all alike;
// its ledger verifies, and another node begins from it.
func TestPrunedRecords(t *testing.T) {
	t.Parallel()
	c, a, first := withPruners(t)
	for _, p := range c.kind("validator") {
		p.pruneNow()
	}
	a.ask(everLate) // views show the pruning after the next flush
	c.converge(c.nodes...)

	watch, bank := c.find(regulator, "observer"), c.node(lender)
	id, tx := string(first.Decision.RequestID), first.Verified.RequestProof.TxID
	keeper := "a node of " + regulator
	reader := bank.as("integration")
	eventually(t, 30*time.Second, func() error {
		_, err := reader.Outcome(t.Context(), tx, 0)
		return refusedAs(err, "PRUNED", keeper)
	})
	if _, err := reader.Evaluate(t.Context(), record.ContractAccess, "GetRequest", id); refusedAs(err, "PRUNED", keeper) != nil {
		t.Errorf("reading the request: %v", err)
	}
	if _, err := reader.Proofs().Receipt(t.Context(), tx, record.RequestKey(first.Decision.RequestID)); refusedAs(err, "PRUNED", keeper) != nil {
		t.Errorf("proving the request: %v", err)
	}
	if p, err := reader.Proofs().Receipt(t.Context(), tx); err != nil || p.TxID != tx {
		t.Errorf("proving the receipt alone: %v, %v", p, err)
	}
	if _, err := watch.as("auditor").Proofs().Receipt(t.Context(), tx, record.RequestKey(first.Decision.RequestID)); err != nil {
		t.Errorf("the observer that keeps everything does not prove the request: %v", err)
	}
	if _, _, err := (&backend{Node: bank.node}).Block(t.Context(), 1); api.CodeOf(err) != pb.Code_CODE_PRUNED || !strings.Contains(err.Error(), keeper) {
		t.Errorf("block 1: %v", err)
	}
	// A dispute needs the receipt, which validators no longer have and the observer has.
	_, err := reader.Queries().DisputeAnswer(t.Context(), first.Answer, record.ClaimImplausible, regulator)
	if refusedAs(err, "PRUNED", "") != nil {
		t.Errorf("disputing the old answer: %v", err)
	}
	c.converge(c.nodes...)
	c.remember(watch)
	c.verifyAndJoinAgain(bank, watch, a)
}

// verifyAndJoinAgain verifies a pruned node, and has another begin from those that
// have pruned.
func (c *cluster) verifyAndJoinAgain(pruned, joins *peer, a *agreement) {
	t := c.t
	t.Helper()
	for _, p := range c.kind("validator") { // the last ones were written before what they allowed to prune was gone
		if _, err := p.node.writeSnapshot(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	pruned.stop()
	v, err := Verify(t.Context(), pruned.cfg, nil)
	if err != nil || v.Begin == 0 || !v.Repeated {
		t.Errorf("verify of a pruned node: %+v, %v", v, err)
	}
	c.start(pruned)
	joins.stop()
	if err := os.RemoveAll(joins.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	if err := JoinLedger(t.Context(), joins.cfg); err != nil {
		t.Fatal(err)
	}
	if err := Join(t.Context(), joins.options()); err != nil {
		t.Fatal(err)
	}
	c.start(joins)
	c.converge(c.nodes...)
	if joins.node.recordsFrom() == 0 || joins.node.state.BeganAt() == 0 {
		t.Errorf("it began at %d and keeps records from %d on", joins.node.state.BeganAt(), joins.node.recordsFrom())
	}
	if got, proof, err := joins.as("auditor").Consents().Proven(t.Context(), a.id); err != nil || got.Status != record.Authorised || proof == nil {
		t.Errorf("the old consent at the node that joined: %v, %v", got, err)
	}
}

// Nothing is pruned behind a snapshot whose header no quorum has signed, or whose
// bytes are not what it says.
func TestNothingIsPrunedBehindABadSnapshot(t *testing.T) {
	t.Parallel()
	c, _, _ := withPruners(t)
	c.remember(c.find(regulator, "observer"))
	p := c.node(lender)
	m, err := p.node.snapshots.write(t.Context(), p.node.store, p.node.state, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(p.cfg.DataDir, snapshotsDir, fmt.Sprint(m.Height()))
	good, err := os.ReadFile(filepath.Join(dir, "manifest"))
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := os.ReadFile(filepath.Join(dir, "chunks"))
	if err != nil {
		t.Fatal(err)
	}
	forged := func(change func(*snapshot.Manifest)) []byte {
		x, err := snapshot.Decode(good)
		if err != nil {
			t.Fatal(err)
		}
		change(x)
		return x.Encode()
	}
	flipped := append([]byte{}, chunks...)
	flipped[len(flipped)/2] ^= 1
	for name, bad := range map[string]struct{ manifest, chunks []byte }{
		"two votes of four": {forged(func(m *snapshot.Manifest) { m.Header.Certificate.Votes = m.Header.Certificate.Votes[:2] }), chunks},
		"a header of its own": {forged(func(m *snapshot.Manifest) {
			m.Header.Header.Time++
			m.Header.Certificate.Header = m.Header.Header.Hash()
		}), chunks},
		"a flipped chunk": {good, flipped},
		"a cut chunk":     {good, chunks[:len(chunks)-1]},
	} {
		for file, b := range map[string][]byte{"manifest": bad.manifest, "chunks": bad.chunks} {
			if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		info, err := p.node.prune(t.Context(), func(VerifyProgress) {})
		if !errors.Is(err, ErrBadSnapshot) || info.Blocks != 0 || info.Records != 0 {
			t.Errorf("behind %s: %+v, %v", name, info, err)
		}
	}
	for file, b := range map[string][]byte{"manifest": good, "chunks": chunks} {
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 30*time.Second, func() error { // as soon as the state is flushed
		info, err := p.node.prune(t.Context(), func(VerifyProgress) {})
		if err == nil && (info.Blocks == 0 || info.Records == 0) {
			err = fmt.Errorf("behind the good one: %+v", info)
		}
		return err
	})
}

// A node does not start with a retention that its network does not allow.
func TestRetentionBelowTheNetworksIsRefused(t *testing.T) {
	genesis := &ledger.Config{}
	for _, tt := range []struct {
		network, keep time.Duration
		good          bool
	}{
		{0, 0, true}, {0, 1096 * 24 * time.Hour, true}, {0, 1095 * 24 * time.Hour, false},
		{time.Hour, time.Hour, true}, {time.Hour, time.Minute, false}, {5 * 8760 * time.Hour, 1096 * 24 * time.Hour, false},
	} {
		genesis.Limits.RecordMillis = uint64(tt.network.Milliseconds())
		p := peer{}
		p.cfg.Retention.Records = tt.keep
		if err := checkRetention(&p.cfg, genesis); (err == nil) != tt.good {
			t.Errorf("%s on a network of %s: %v", tt.keep, tt.network, err)
		}
	}
}
