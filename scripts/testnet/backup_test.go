package testnet

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/sdk"
)

// drill is the loss of a bank's node.
type drill struct {
	*world
	bankNode *Node
	file     string
	key      string // file with the age identity
}

// TestBackupAndRestoreDrill backs a bank's node up while it works, destroys its
// home, restores it elsewhere and lets it in again.
func TestBackupAndRestoreDrill(t *testing.T) {
	w := newWorld(t)
	d := &drill{world: w, bankNode: w.net.First(bank), file: filepath.Join(t.TempDir(), "bank.age"), key: filepath.Join(t.TempDir(), "key.txt")}
	others := slices.DeleteFunc(validators(w.net), func(x *Node) bool { return x == d.bankNode })
	kept, forgotten := w.given(nil), w.given(nil)
	for _, id := range []sdk.ConsentID{kept, forgotten} {
		d.answered(id)
	}
	l := startLoad(t, w.net, others...)
	l.flows(5, others...)

	d.backUp()
	// What happens after the backup: an answer whose account is lost, an erasure, and
	// a request that nobody answers any more.
	window := d.answered(kept)
	d.forget(forgotten)
	d.bankNode.Kill()
	unanswered, ticket := d.request(kept)
	d.destroy()
	restored := d.restore()
	l.flows(5, others...)

	d.follows(restored)
	d.withheld(unanswered, ticket)
	if r, err := w.lend.Queries().Receipt(t.Context(), window); err != nil || r.Receipt.Outcome != record.Answered {
		t.Errorf("what was answered after the backup has receipt %+v, %v", r, err)
	}
	// In the epoch whose answers are lost nothing more is answered; in the next it is.
	lost, ticket := d.request(kept)
	d.withheld(lost, ticket)
	_, err := w.bank.Products().OpenEpoch(t.Context(), product, 2)
	w.must(err)
	d.answered(kept)

	d.readmit(restored, others[0])
	// Without one of the others, nothing is ordered unless the restored one votes.
	last := others[len(others)-1]
	last.Kill()
	l.flows(10, others[0], others[1])
	d.answered(kept)
	if err := w.net.Start(t.Context(), func(x *Node) bool { return x == last }); err != nil {
		t.Fatal(err)
	}
	l.stop()
	resolveAll(t, w.net, l)
	sameEverywhere(t, w.net)
	stopCleanly(t, w.net)
	holdsAll(t, w.net, d.bankNode, l.acks)
	d.nothingOf(forgotten)
	if out, err := exec.CommandContext(t.Context(), w.net.Program, "verify", "--home", d.bankNode.Home).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	t.Logf("%d transactions acknowledged, none lost", len(l.acks))
}

// answered asks, wants the truth, and returns the request.
func (d *drill) answered(id sdk.ConsentID) sdk.RequestID {
	d.t.Helper()
	r, err := d.lend.Query(d.t.Context(), question(id))
	d.must(err)
	if !r.Decision.Permit || r.Answer.Value != truth(0) || r.Verified == nil {
		d.t.Fatalf("answer %+v, want %s", r, truth(0))
	}
	return r.Decision.RequestID
}

func (d *drill) request(id sdk.ConsentID) (*sdk.Decision, *sdk.Ticket) {
	d.t.Helper()
	ticket, err := d.lend.Queries().Prepare(question(id))
	d.must(err)
	decision, err := d.lend.Queries().Request(d.t.Context(), ticket)
	d.must(err)
	if !decision.Permit {
		d.t.Fatalf("decision %+v", decision)
	}
	return decision, ticket
}

// withheld waits until the ledger says that a request's answer never came.
func (d *drill) withheld(decision *sdk.Decision, ticket *sdk.Ticket) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 60*time.Second)
	defer cancel()
	got, err := d.lend.Queries().Await(ctx, ticket, decision)
	d.must(err)
	if got.Receipt == nil || got.Receipt.Outcome != record.Withheld {
		d.t.Fatalf("request %s: %+v, want a receipt that says WITHHELD", decision.RequestID, got)
	}
}

// run runs assentd and returns what it printed.
func (d *drill) run(args ...string) []byte {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), d.net.Program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		d.t.Fatalf("assentd %s: %v\n%s", args[0], err, &errs)
	}
	return out.Bytes()
}

// backUp backs the bank's node up while clients ask it.
func (d *drill) backUp() {
	d.t.Helper()
	id, err := age.GenerateX25519Identity()
	d.must(err)
	d.must(os.WriteFile(d.key, []byte(id.String()+"\n"), 0o600))
	ctx, cancel := context.WithCancel(d.t.Context())
	consent := d.given(nil)
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			if _, err := d.lend.Query(ctx, question(consent)); err != nil && ctx.Err() == nil {
				d.t.Errorf("a query during the backup: %v", err)
			}
		}
	})
	began := time.Now()
	out := d.run("backup", "--home", d.bankNode.Home, "--out", d.file, "--recipient", id.Recipient().String(), "--identity", d.key, "--json")
	cancel()
	asking.Wait()
	var r node.BackupReport
	d.must(json.Unmarshal(out, &r))
	if !r.Online || !r.Opened || r.Height == 0 {
		d.t.Fatalf("backup %+v", r)
	}
	d.t.Logf("backup of %d bytes up to block %d took %s", r.Bytes, r.Height, time.Since(began).Round(time.Millisecond))
}

// forget ends a consent and erases it, and waits until the bank's node has signed.
func (d *drill) forget(id sdk.ConsentID) {
	d.t.Helper()
	ctx := d.t.Context()
	_, err := d.bank.Consents().Revoke(ctx, id, record.ReasonWithdrawn, sdk.Evidence{EvidenceHash: hash()})
	d.must(err)
	_, err = d.lend.Consents().ConfirmDeletion(ctx, id)
	d.must(err)
	_, err = d.bank.Consents().RequestErasure(ctx, id, sdk.Evidence{EvidenceHash: hash()})
	d.must(err)
	eventually(d.t, 60*time.Second, func() error {
		c, err := d.lend.Consents().Get(ctx, id)
		if err == nil && c.ErasureStatus != record.Erased {
			err = errors.New("the erasure is " + string(c.ErasureStatus))
		}
		return err
	})
}

// destroy removes the bank's node's home. What is not the node's, its log and
// password, lies elsewhere or is lost.
func (d *drill) destroy() {
	d.t.Helper()
	d.must(os.RemoveAll(d.bankNode.Home))
}

// restore makes another home out of the backup and starts the node there.
func (d *drill) restore() *node.Restored {
	d.t.Helper()
	home := filepath.Join(d.net.memberDir(bank), "restored")
	began := time.Now()
	out := d.run("restore", d.file, "--home", home, "--identity", d.key, "--password", "file:"+d.net.PasswordPath(bank), "--json")
	var r node.Restored
	d.must(json.Unmarshal(out, &r))
	if r.VoteKey == "" || r.Validator == 0 || strings.EqualFold(r.VoteKey, d.bankNode.Card.VoteKey.Hex()) {
		d.t.Fatalf("restored %+v", r)
	}
	d.bankNode.Home = home
	if err := d.net.Start(d.t.Context(), func(x *Node) bool { return x == d.bankNode }); err != nil {
		d.t.Fatal(err)
	}
	d.t.Logf("restored as of block %d and ready after %s", r.Height, time.Since(began).Round(time.Millisecond))
	return &r
}

// follows checks that the restored node serves and does not vote.
func (d *drill) follows(r *node.Restored) {
	d.t.Helper()
	b, err := os.ReadFile(d.bankNode.LogPath())
	d.must(err)
	if !bytes.Contains(b, []byte("was restored from a backup and observes")) || bytes.Contains(b, []byte("this node orders")) {
		d.t.Errorf("the log of the restored node does not say that it observes: %s", b)
	}
	logs, err := filepath.Glob(filepath.Join(d.bankNode.DataDir(), "wal", "*"))
	d.must(err)
	if len(logs) != 1 || !strings.EqualFold(filepath.Base(logs[0]), r.VoteKey) {
		d.t.Errorf("ordering logs %v, want the new key's alone", logs)
	}
}

// readmit has the members replace the lost vote key.
func (d *drill) readmit(r *node.Restored, via *Node) {
	d.t.Helper()
	var key sdk.Address
	d.must(key.UnmarshalText([]byte(r.VoteKey)))
	c, err := d.net.Change(d.t.Context(), via, func(e *sdk.ConfigEditor) { e.RotateVoteKey(r.Validator, key) })
	d.must(err)
	watch, err := d.net.DialAs(d.t.Context(), via, "auditor")
	d.must(err)
	defer watch.Close()
	for _, v := range c.Config.Validators {
		if v.VoteKey == key {
			votesIn(d.t, watch, v.ID)
			return
		}
	}
	d.t.Fatalf("no validator has vote key %s", key)
}

// nothingOf checks that the stopped node keeps nothing of an erased consent.
func (d *drill) nothingOf(id sdk.ConsentID) {
	d.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(d.bankNode.DataDir(), "private.db"))
	d.must(err)
	defer db.Close()
	for _, table := range []string{"query_parts WHERE", "query_sessions WHERE", "query_requests WHERE body IS NOT NULL AND", "outbox_items WHERE"} {
		var n int
		d.must(db.QueryRow(`SELECT count(*) FROM `+table+` consent_id = ?`, string(id)).Scan(&n))
		if n != 0 {
			d.t.Errorf("%d rows of the erased consent are back: %s", n, table)
		}
	}
	var n int
	d.must(db.QueryRow(`SELECT count(*) FROM query_requests`).Scan(&n))
	if n == 0 {
		d.t.Error("no request is there at all: the search proves nothing")
	}
}
