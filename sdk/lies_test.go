package sdk_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// wantLie fails unless err says that somebody's word does not verify, for the
// reason given.
func wantLie(t *testing.T, err error, why string) {
	t.Helper()
	var u *sdk.Untrusted
	if !errors.As(err, &u) {
		t.Errorf("error %v, want *Untrusted", err)
		return
	}
	if !strings.Contains(u.Cause.Error(), why) {
		t.Errorf("found out by %q, want %q", u.Cause, why)
	}
	if sdk.Retryable(err) {
		t.Error("a lie is called retryable")
	}
}

// header alters the certified header of an answer.
func header(t *testing.T, b *[]byte, f func(*ledger.CertifiedHeader)) {
	t.Helper()
	ch, err := ledger.DecodeCertifiedHeader(*b)
	if err != nil {
		t.Error(err)
		return
	}
	f(ch)
	*b = ch.Encode()
}

func TestForgedRecordProofsAreFoundOut(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	key := record.ConsentKey(consent.ConsentID)
	proof := func(f func(*ledger.StateProof)) func(*v1.ProveRecordResponse) {
		return func(r *v1.ProveRecordResponse) {
			p, err := ledger.DecodeStateProof(r.StateProof)
			if err != nil {
				t.Error(err)
				return
			}
			f(p)
			r.StateProof = p.Encode()
		}
	}
	head := func(f func(*ledger.CertifiedHeader)) func(*v1.ProveRecordResponse) {
		return func(r *v1.ProveRecordResponse) { header(t, &r.CertifiedHeader, f) }
	}
	recertify := func(f func(*ledger.Header), validators ...uint64) func(*v1.ProveRecordResponse) {
		return head(func(c *ledger.CertifiedHeader) {
			f(&c.Header)
			c.Certificate = *fakenode.Certify(&c.Header, validators...)
		})
	}
	other := record.DataKeyKey(fakenode.Bank, fakenode.DataKey)
	for _, tc := range []struct {
		name string
		lie  func(*v1.ProveRecordResponse)
		why  string
	}{
		{"two votes of four", recertify(func(*ledger.Header) {}, 1, 2), "3 are needed"},
		{"one vote thrice", head(func(c *ledger.CertifiedHeader) {
			v := c.Certificate.Votes[0]
			c.Certificate.Votes = []ledger.Vote{v, v, v}
		}), "without repeats"},
		{"a stranger's vote", head(func(c *ledger.CertifiedHeader) {
			sig, _ := fakenode.Signer("stranger").Sign(ledger.VoteDigest(c.Header.Hash(), c.Certificate.View))
			c.Certificate.Votes[2].Sig = sig
		}), "another key"},
		{"another state root under the old votes", head(func(c *ledger.CertifiedHeader) { c.Header.StateRoot = hashOf("x") }), "certificate of header"},
		{"another state root with too few votes", recertify(func(h *ledger.Header) { h.StateRoot = hashOf("x") }, 1, 2), "3 are needed"},
		{"another network", recertify(func(h *ledger.Header) { h.ChainID = hashOf("x") }, 1, 2, 3), "another network"},
		{"the header of an older height", func(r *v1.ProveRecordResponse) {
			ch, p := w.net.ProveRecordAt(2, key)
			r.CertifiedHeader, r.StateProof = ch.Encode(), p.Encode()
		}, "older than height"},
		{"another value", proof(func(p *ledger.StateProof) {
			p.Value = bytes.Replace(p.Value, []byte("Authorised"), []byte("Revoked"), 1)
		}), "another value"},
		{"absence of what is there", proof(func(p *ledger.StateProof) { p.Present, p.Value = false, nil }), "the root holds it"},
		{"a node of the trie missing", proof(func(p *ledger.StateProof) { p.Nodes = p.Nodes[:len(p.Nodes)-1] }), "state proof"},
		{"a node of the trie altered", proof(func(p *ledger.StateProof) { p.Nodes[1] = append(bytes.Clone(p.Nodes[1]), 0) }), "state proof"},
		{"another record", func(r *v1.ProveRecordResponse) {
			ch, p := w.net.ProveRecordAt(int(w.net.Height()), other)
			r.CertifiedHeader, r.StateProof = ch.Encode(), p.Encode()
		}, "it proves record"},
		{"bytes that are no proof", func(r *v1.ProveRecordResponse) { r.StateProof = []byte("proof") }, "state proof"},
		{"bytes that are no header", func(r *v1.ProveRecordResponse) { r.CertifiedHeader = []byte("header") }, "certified header"},
		{"nothing", func(r *v1.ProveRecordResponse) { proto.Reset(r) }, "certified header"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.node.Tamper("ProveRecord", func(m proto.Message) { tc.lie(m.(*v1.ProveRecordResponse)) })
			c := w.lender(sdk.WithTimeouts(quick)) // one that has checked no header yet
			_, err := c.Proofs().RecordSince(t.Context(), key, w.net.Height()-1)
			wantLie(t, err, tc.why)
			w.node.Tamper("ProveRecord", nil)
			p, err := c.Proofs().Record(t.Context(), key)
			if err != nil || !p.Present || len(p.Header.Certificate.Votes) != 3 || !bytes.Contains(p.Value, []byte("Authorised")) {
				t.Errorf("the honest proof: %+v, %v", p, err)
			}
		})
	}
}

func TestAbsenceIsProven(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	p, err := c.Proofs().Record(t.Context(), record.ConsentKey("0x00000000000000000000000000000000"))
	w.must(err)
	if p.Present || p.Value != nil {
		t.Errorf("proof %+v", p)
	}
	if _, _, err := c.Consents().Proven(t.Context(), "0x00000000000000000000000000000000"); sdk.CodeOf(err) != record.CodeConsentUnknown {
		t.Errorf("error %v", err)
	}
}

func TestForgedReceiptProofsAreFoundOut(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	r, err := c.Query(t.Context(), question(consent.ConsentID))
	w.must(err)
	id, key := r.Verified.RequestProof.TxID, record.RequestKey(r.Decision.RequestID)
	proof := func(f func(*ledger.ReceiptProof)) func(*v1.ProveReceiptResponse) {
		return func(r *v1.ProveReceiptResponse) {
			p, err := ledger.DecodeReceiptProof(r.ReceiptProof)
			if err != nil {
				t.Error(err)
				return
			}
			f(p)
			r.ReceiptProof = p.Encode()
		}
	}
	for _, tc := range []struct {
		name string
		lie  func(*v1.ProveReceiptResponse)
		why  string
	}{
		{"two votes", func(r *v1.ProveReceiptResponse) {
			header(t, &r.CertifiedHeader, func(c *ledger.CertifiedHeader) { c.Header.Time++; c.Certificate = *fakenode.Certify(&c.Header, 1, 4) })
		}, "3 are needed"},
		{"another code", proof(func(p *ledger.ReceiptProof) { p.Receipt.Code = "FORBIDDEN" }), "log proof"},
		{"another height", proof(func(p *ledger.ReceiptProof) { p.Receipt.Height += 1 }), "log proof"},
		{"a row left out", proof(func(p *ledger.ReceiptProof) { p.Writes = p.Writes[1:] }), "write set"},
		{"a row altered", proof(func(p *ledger.ReceiptProof) { p.Writes[0].Value = hashOf("x").Bytes() }), "write set"},
		{"another place in the log", proof(func(p *ledger.ReceiptProof) { p.Log.Index-- }), "log proof"},
		{"a log of another size", proof(func(p *ledger.ReceiptProof) { p.Log.Size++ }), "certifies"},
		{"another transaction's receipt", func(r *v1.ProveReceiptResponse) {
			ch, p := w.net.ProveReceiptAt(int(w.net.Height()), firstTx(t, w))
			r.CertifiedHeader, r.ReceiptProof = ch.Encode(), p.Encode()
		}, "the receipt of transaction"},
		{"another value for a row", func(r *v1.ProveReceiptResponse) { r.Records[0].Value = []byte("{}") }, "did not write"},
		{"another row", func(r *v1.ProveReceiptResponse) { r.Records[0].Key = "access/log/request/0x" }, "did not write"},
		{"no row", func(r *v1.ProveReceiptResponse) { r.Records = nil }, "0 rows came for 1 keys"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.node.Tamper("ProveReceipt", func(m proto.Message) { tc.lie(m.(*v1.ProveReceiptResponse)) })
			_, err := c.Proofs().Receipt(t.Context(), id, key)
			wantLie(t, err, tc.why)
		})
	}
	w.node.Tamper("ProveReceipt", nil)
	if p, err := c.Proofs().Receipt(t.Context(), id, key); err != nil || p.Code != record.OK || len(p.Records[key]) == 0 {
		t.Errorf("the honest proof: %+v, %v", p, err)
	}
}

// firstTx returns the id of the first transaction on the ledger.
func firstTx(t *testing.T, w *world) sdk.Hash {
	t.Helper()
	c := w.lender()
	for ev, err := range c.Events(t.Context(), &sdk.Checkpoint{}, sdk.EventFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		return ev.TxID
	}
	t.Fatal("no event")
	return sdk.Hash{}
}

// A client with several nodes goes on with an honest one.
func TestAnHonestNodeServesWhenAnotherLies(t *testing.T) {
	w := newWorld(t)
	liar, honest := w.node, w.serve(fakenode.Bank)
	c := w.dial("integration lender", fakenode.Lender, []*fakenode.Node{liar, honest}, sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	liar.Tamper("ProveRecord", func(m proto.Message) {
		header(t, &m.(*v1.ProveRecordResponse).CertifiedHeader, func(c *ledger.CertifiedHeader) { c.Header.StateRoot = hashOf("x") })
	})
	for range 2 {
		p, err := c.Proofs().Record(t.Context(), record.ConsentKey(consent.ConsentID))
		if err != nil || !p.Present {
			t.Fatalf("proof %+v, %v", p, err)
		}
	}
	if n := liar.Calls("ProveRecord"); n > 2 { // the data key's proof, and the one that gave it away
		t.Errorf("the liar was asked %d times", n)
	}
}

func TestUseListIsCompleteOrRefused(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	consent := w.authorised(c)
	q := question(consent.ConsentID)
	for i := range 3 {
		if i == 1 {
			q.Purpose = record.FraudManagement // denied, and a use all the same
		}
		_, err := c.Query(t.Context(), q)
		w.must(err)
	}
	list := func(f func(*record.RequestPage)) func(proto.Message) {
		return func(m proto.Message) {
			r := m.(*v1.EvaluateResponse)
			p, err := record.Load[record.RequestPage](r.Payload)
			if err != nil {
				return // another read call
			}
			f(p)
			if r.Payload, err = record.Encode(p); err != nil {
				t.Error(err)
			}
		}
	}
	for _, tc := range []struct {
		name string
		lie  func(*record.RequestPage)
		why  string
	}{
		{"the last left out", func(p *record.RequestPage) { p.Requests = p.Requests[:2] }, "2 requests, the ledger certifies 3"},
		{"the first left out", func(p *record.RequestPage) { p.Requests = p.Requests[1:] }, "2 requests"},
		{"the denial left out and the last doubled", func(p *record.RequestPage) { p.Requests[1] = p.Requests[2] }, "out of place"},
		{"a purpose altered", func(p *record.RequestPage) { p.Requests[0].Purpose = record.FraudManagement }, "missing, added or altered"},
		{"two swapped", func(p *record.RequestPage) {
			p.Requests[0], p.Requests[1] = p.Requests[1], p.Requests[0]
			p.Requests[0].Sequence, p.Requests[1].Sequence = 1, 2
		}, "missing, added or altered"},
		{"nothing", func(p *record.RequestPage) { p.Requests = nil }, "0 requests"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.node.Tamper("Evaluate", list(tc.lie))
			_, err := c.Uses(t.Context(), consent.ConsentID)
			wantLie(t, err, tc.why)
		})
	}
	w.node.Tamper("Evaluate", nil)
	uses, err := c.Uses(t.Context(), consent.ConsentID)
	w.must(err)
	if len(uses.Uses) != 3 || uses.Usage.Uses != 1 {
		t.Errorf("%d uses, %d permits", len(uses.Uses), uses.Usage.Uses)
	}
	if empty, err := c.Uses(t.Context(), "0x00000000000000000000000000000000"); err != nil || len(empty.Uses) != 0 {
		t.Errorf("a consent that nobody used: %+v, %v", empty, err)
	}
}

// The list may be longer than the account that is certified: newer requests.
func TestUseListOfAGrowingConsent(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	consent := w.authorised(c)
	_, err := c.Query(t.Context(), question(consent.ConsentID))
	w.must(err)
	height := int(w.net.Height())
	key := record.UsageKey(consent.ConsentID)
	_, err = c.Query(t.Context(), question(consent.ConsentID))
	w.must(err)
	old := w.dial("integration lender", fakenode.Lender, []*fakenode.Node{w.node})
	w.node.Tamper("ProveRecord", func(m proto.Message) {
		ch, p := w.net.ProveRecordAt(height, key)
		m.(*v1.ProveRecordResponse).CertifiedHeader, m.(*v1.ProveRecordResponse).StateProof = ch.Encode(), p.Encode()
	})
	uses, err := old.Uses(t.Context(), consent.ConsentID)
	w.must(err)
	if len(uses.Uses) != 1 || uses.Height >= uint64(height) {
		t.Errorf("%d uses as of height %d", len(uses.Uses), uses.Height)
	}
}

func TestCompareFindsLaggingAndLyingNodes(t *testing.T) {
	w := newWorld(t)
	nodes := []*fakenode.Node{w.node, w.serve(fakenode.Bank), w.serve(fakenode.Auditor), w.serve(fakenode.Outside)}
	c := w.dial("integration lender", fakenode.Lender, nodes, sdk.WithTimeouts(quick))
	w.net.Idle(5)
	tip := w.net.Height()
	stale, _ := w.net.ProveRecordAt(int(tip)-4, "consent/rec/x")
	nodes[1].Tamper("GetHeader", func(m proto.Message) { m.(*v1.GetHeaderResponse).CertifiedHeader = stale.Encode() })
	nodes[1].Tamper("GetStatus", func(m proto.Message) { m.(*v1.GetStatusResponse).Height = uint64(stale.Header.Height) })
	nodes[2].Tamper("GetStatus", func(m proto.Message) { m.(*v1.GetStatusResponse).Height += 100 })
	nodes[3].Fail("GetStatus", fakenode.Unavailable)
	got := c.Compare(t.Context())
	if s := got[0]; s.Err != nil || s.Lie != nil || s.Behind != 0 || s.Verified != tip || !s.ClockKnown || s.ClockAhead > 2*time.Second {
		t.Errorf("the honest node: %+v", s)
	}
	if s := got[1]; s.Err != nil || s.Lie != nil || s.Behind != 4 {
		t.Errorf("the lagging node: %+v", s)
	}
	if s := got[2]; s.Err != nil || s.Lie == nil {
		t.Errorf("the boasting node: %+v", s)
	}
	if s := got[3]; s.Err == nil || !sdk.Retryable(s.Err) {
		t.Errorf("the node that is down: %+v", s)
	}
}
