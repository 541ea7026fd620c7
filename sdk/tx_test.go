package sdk_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// register is a transaction that is refused if it is ordered twice under two ids
// and counts how often it was executed by the number of receipts.
func register(w *world, c *sdk.Client, name string) *sdk.Transaction {
	w.t.Helper()
	b, err := sdk.JSON(&sdk.ClientSpec{Address: fakenode.Signer(name).Address(), Roles: []sdk.ClientRole{record.RoleAuditor}})
	w.must(err)
	tx, err := c.NewTransaction("membership", "RegisterClient", string(b))
	w.must(err)
	tx, err = tx.Sign(fakenode.Signer("admin lender"))
	w.must(err)
	return tx
}

func (w *world) admin(opts ...sdk.Option) *sdk.Client {
	w.t.Helper()
	return w.dial("admin lender", fakenode.Lender, []*fakenode.Node{w.node}, opts...)
}

func TestLostAnswersDoNotActTwice(t *testing.T) {
	w := newWorld(t)
	second := w.serve(fakenode.Lender)
	c := w.dial("admin lender", fakenode.Lender, []*fakenode.Node{w.node, second}, sdk.WithTimeouts(quick))
	before := w.net.Height()
	w.node.Lose("Submit", 1) // ordered, but the client does not hear of it
	tx := register(w, c, "x")
	o, err := c.Submit(t.Context(), tx)
	w.must(err)
	if o.TxID != tx.ID() || o.Code != record.OK || o.Height != before+1 {
		t.Errorf("outcome %+v", o)
	}
	if got := w.net.Height(); got != before+2 { // its block and the seal
		t.Errorf("%d blocks were made", got-before)
	}
	if again, err := c.Submit(t.Context(), tx); err != nil || again.Height != o.Height {
		t.Errorf("submitted again: %+v, %v", again, err)
	}
}

func TestUnknownOutcomeIsNeverAGuess(t *testing.T) {
	w := newWorld(t)
	c := w.admin(sdk.WithTimeouts(sdk.Timeouts{Commit: 150 * time.Millisecond, Call: time.Second}))
	w.node.Lose("Submit", 1000)
	w.node.Fail("GetOutcome", fakenode.Unavailable)
	tx := register(w, c, "x")
	o, err := c.Submit(t.Context(), tx)
	var u *sdk.CommitUnknown
	if !errors.As(err, &u) || o != nil || u.TxID != tx.ID() || !sdk.Retryable(err) || u.Transaction() != tx {
		t.Fatalf("outcome %+v, error %v", o, err)
	}
	if !strings.Contains(err.Error(), tx.ID().Hex()) {
		t.Errorf("the text %q does not name the transaction", err)
	}
	if _, err := c.Resolve(t.Context(), u); !errors.As(err, &u) {
		t.Errorf("still nobody says: %v", err)
	}
	w.node.Lose("Submit", 0)
	w.node.Fail("GetOutcome", nil)
	if o, err = c.Resolve(t.Context(), u); err != nil || o.Code != record.OK {
		t.Errorf("resolved to %+v, %v", o, err)
	}
	if o, err = c.ResolveID(t.Context(), tx.ID()); err != nil || o.Code != record.OK {
		t.Errorf("resolved by id to %+v, %v", o, err)
	}
}

// When blocks past its time exist and none holds it, the client may say that a
// transaction never happened.
func TestExpiredTransactionResolvesToNever(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	c := w.admin(sdk.WithTimeouts(quick))
	tx, err := sdk.BuildTransaction(w.net.ChainID(), fakenode.Lender, c.Key(), now.Add(-10*time.Minute), "membership", "RegisterClient", "{}")
	w.must(err)
	tx, err = tx.Sign(fakenode.Signer("admin lender"))
	w.must(err)
	w.net.Idle(1) // a block of now, later than its end
	_, err = c.Resolve(t.Context(), unknown(t, w, tx))
	var u *sdk.CommitUnknown
	if errors.As(err, &u) || sdk.CodeOf(err) != "NOT_VALID_NOW" || sdk.Retryable(err) {
		t.Errorf("error %v", err)
	}
	if _, err := c.ResolveID(t.Context(), hashOf("no transaction")); !errors.As(err, &u) {
		t.Errorf("an id alone has no end, yet: %v", err)
	}
}

// unknown makes the error of a transaction whose node went silent.
func unknown(t *testing.T, w *world, tx *sdk.Transaction) *sdk.CommitUnknown {
	t.Helper()
	c := w.admin(sdk.WithTimeouts(sdk.Timeouts{Commit: 50 * time.Millisecond}))
	w.node.Fail("Submit", fakenode.Unavailable)
	defer w.node.Fail("Submit", nil)
	_, err := c.Submit(t.Context(), tx)
	var u *sdk.CommitUnknown
	if !errors.As(err, &u) {
		t.Fatalf("error %v", err)
	}
	return u
}

func TestRefusalsSayWhatWhereAndWhatToDo(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	o, err := c.Invoke(t.Context(), "membership", "RegisterClient", "{}")
	var e *sdk.Error
	if !errors.As(err, &e) || e.Code != record.CodeForbidden || e.What == "" || e.Remedy == "" || e.Retryable() {
		t.Fatalf("error %+v", err)
	}
	if o == nil || o.Code != record.CodeForbidden || e.TxID != o.TxID || e.Height != o.Height || !strings.Contains(e.Where, "membership.RegisterClient") {
		t.Errorf("outcome %+v, error %+v", o, e)
	}
	if !errors.Is(err, &sdk.Error{Code: record.CodeForbidden}) || errors.Is(err, &sdk.Error{Code: record.CodeNotFound}) {
		t.Error("errors.Is does not compare codes")
	}
	p, err := c.Proofs().Receipt(t.Context(), o.TxID) // a refusal is on the ledger too
	if err != nil || p.Code != record.CodeForbidden || len(p.Proof.Writes) != 0 {
		t.Errorf("proof %+v, %v", p, err)
	}
}

func TestDefiniteRejectionsAreNotUnknown(t *testing.T) {
	w := newWorld(t)
	stranger := w.dial("integration outside", fakenode.Outside, []*fakenode.Node{w.node}, sdk.WithTimeouts(quick))
	if _, err := stranger.Invoke(t.Context(), "consent", "Expire", "x"); sdk.CodeOf(err) != "FORBIDDEN" {
		t.Errorf("another member's node: %v", err)
	}
	c := w.lender(sdk.WithTimeouts(quick))
	tx, err := c.NewTransaction("consent", "Expire", "x")
	w.must(err)
	var conf *sdk.ConfigError
	if _, err := c.Submit(t.Context(), tx); !errors.As(err, &conf) {
		t.Errorf("unsigned: %v", err)
	}
	old, err := sdk.BuildTransaction(w.net.ChainID(), fakenode.Lender, c.Key(), time.Now().Add(-time.Hour), "consent", "Expire", "x")
	w.must(err)
	old, err = old.Sign(fakenode.Signer("integration lender"))
	w.must(err)
	if _, err := c.Submit(t.Context(), old); sdk.CodeOf(err) != "NOT_VALID_NOW" {
		t.Errorf("an hour old: %v", err)
	}
}

// Nothing was ever sent to a node that nobody runs.
func TestUnreachableNodesLeaveNothingUnknown(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick), sdk.WithAttempts(1))
	tx, err := c.NewTransaction("consent", "Expire", "x")
	w.must(err)
	tx, err = tx.Sign(fakenode.Signer("integration lender"))
	w.must(err)
	c.Close() // no connection is left on which something may have gone out
	w.node.Close()
	_, err = c.Submit(t.Context(), tx)
	var e *sdk.Error
	var u *sdk.CommitUnknown
	if errors.As(err, &u) || !errors.As(err, &e) || e.Code != "NOT_READY" || !e.Retryable() || !strings.Contains(e.Remedy, "Start the node") {
		t.Errorf("error %v", err)
	}
}

func TestOfflineSigning(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	key := fakenode.Signer("admin lender")
	tx, err := sdk.BuildTransaction(c.ChainID(), fakenode.Lender, key.Address(), time.Now(), "membership", "RegisterClient",
		`{"address":"0x00000000000000000000000000000000000000aa","roles":["auditor"]}`)
	w.must(err)
	sig, err := key.Sign(tx.Digest())
	w.must(err)
	signed, err := tx.WithSignature(sig[:])
	w.must(err)
	carried, err := sdk.ParseTransaction(signed.Bytes())
	w.must(err)
	if carried.ID() != tx.ID() || !carried.Signed() || tx.Signed() {
		t.Error("the signature changed the transaction's id, or the unsigned one")
	}
	o, err := c.Submit(t.Context(), carried)
	if err != nil || o.Code != record.OK {
		t.Errorf("outcome %+v, %v", o, err)
	}
	bad := sig
	bad[40] ^= 1
	for name, s := range map[string][]byte{"altered": bad[:], "short": sig[:64], "none": nil} {
		if _, err := tx.WithSignature(s); err == nil {
			t.Errorf("%s signature was taken", name)
		}
	}
	if _, err := tx.Sign(fakenode.Signer("integration lender")); err == nil {
		t.Error("another key signed")
	}
	if n, m := tx.Payload().Nonce, signed.Payload().Nonce; n != m || n == ([16]byte{}) {
		t.Errorf("nonces %x and %x", n, m)
	}
	if tx.Payload().ValidUntil-tx.Payload().NotBefore != 600_000 {
		t.Errorf("valid for %d ms", tx.Payload().ValidUntil-tx.Payload().NotBefore)
	}
}

// Concurrent submissions through two nodes, one of which loses half of its
// answers, each take effect exactly once.
func TestManySubmissionsThroughALossyNode(t *testing.T) {
	w := newWorld(t)
	second := w.serve(fakenode.Lender)
	c := w.dial("admin lender", fakenode.Lender, []*fakenode.Node{w.node, second}, sdk.WithTimeouts(sdk.Timeouts{Commit: 20 * time.Second}))
	w.node.Lose("Submit", 8)
	before := w.net.Height()
	var wg sync.WaitGroup
	for i := range 16 {
		tx := register(w, c, string(rune('a'+i)))
		wg.Go(func() {
			if o, err := c.Submit(context.WithoutCancel(t.Context()), tx); err != nil || o.TxID != tx.ID() {
				t.Errorf("submission %d: %+v, %v", i, o, err)
			}
		})
	}
	wg.Wait()
	if got := w.net.Height() - before; got != 2*16 {
		t.Errorf("%d blocks, want %d", got, 2*16)
	}
}

func TestOutcomeOfAnotherTransactionIsALie(t *testing.T) {
	w := newWorld(t)
	c := w.admin(sdk.WithTimeouts(quick))
	w.node.Tamper("GetOutcome", func(m proto.Message) { m.(*v1.GetOutcomeResponse).Outcome.TxId = hashOf("x").Hex() })
	tx := register(w, c, "x")
	_, err := c.Submit(t.Context(), tx)
	w.must(err)
	_, err = c.Outcome(t.Context(), tx.ID(), 0)
	wantLie(t, err, "asked was")
}

// A read after an own transaction sees it, or the node is found out.
func TestReadsSeeOwnTransactions(t *testing.T) {
	w := newWorld(t)
	c := w.admin(sdk.WithTimeouts(quick))
	o, err := c.Submit(t.Context(), register(w, c, "x"))
	w.must(err)
	w.node.Tamper("Evaluate", func(m proto.Message) { m.(*v1.EvaluateResponse).ExecutedHeight = o.Height - 1 })
	_, err = c.Clients().Get(t.Context(), fakenode.Lender, fakenode.Signer("x").Address())
	wantLie(t, err, "or later")
	w.node.Tamper("Evaluate", nil)
	_, err = c.Clients().Get(t.Context(), fakenode.Lender, fakenode.Signer("x").Address())
	w.must(err)
}

// A height that a lying node made up does not keep the client from reading for
// good.
func TestMadeUpHeightIsForgotten(t *testing.T) {
	w := newWorld(t)
	c := w.admin(sdk.WithTimeouts(quick), sdk.WithAttempts(1))
	w.node.Tamper("Submit", func(m proto.Message) { m.(*v1.SubmitResponse).Outcome.Height = 1 << 40 })
	_, err := c.Submit(t.Context(), register(w, c, "x"))
	w.must(err)
	if _, err := c.Members().Get(t.Context(), fakenode.Bank); sdk.CodeOf(err) != "NOT_EXECUTED" || !sdk.Retryable(err) {
		t.Errorf("read as of a height that does not exist: %v", err)
	}
	if _, err := c.Members().Get(t.Context(), fakenode.Bank); err != nil {
		t.Errorf("read again: %v", err)
	}
}

// silent listens and never answers.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
