package node

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/sdk"
)

// TestAConsentedQuery is one story on one network: what a lender gets and what it
// does not get. The parts build on each other's ledger, not on each other.
func TestAConsentedQuery(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats, slog.LevelDebug) // what is searched for persons later
	notice := c.publish(harbour)
	for _, part := range []struct {
		claim string
		holds func(t *testing.T, c *cluster, notice sdk.Hash)
	}{
		{"the answer is the bank's row, verified", answerIsTheBanksRow},
		{"asked again in the same epoch the answer is frozen", answersAreFrozen},
		{"unknown and unbound subjects look like any other", nobodyLooksLikeAnybody},
		{"an exhausted leak account shows a refusal like any other", leakAccountRefuses},
		{"a request ordered after a revocation is denied on every node", revocationDeniesOnEveryNode},
		{"every denial leaves a record and extends the usage chain", denialsAreRecorded},
		{"the lender's node cannot read the answer", lendersNodeReadsNothing},
		{"an answer that the ledger does not permit is not taken", strangersAnswersAreRefused},
	} {
		t.Run(part.claim, func(t *testing.T) {
			outer := c.t
			c.t = t // the part's own failures and context
			defer func() { c.t = outer }()
			part.holds(t, c, notice)
		})
	}
}

func answerIsTheBanksRow(t *testing.T, c *cluster, notice sdk.Hash) {
	who := &c.customers[0]
	a := c.agree(harbour, notice, who.identity, true)
	before := len(c.node(harbour).departed())
	r := a.ask(incomeBand)
	if got := value(r); got != who.band() {
		t.Errorf("the answer is %s, the bank's row says %s", got, who.band())
	}
	if v := r.Verified; v.Receipt.CodeHash != v.Request.CodeHash || v.Receipt.EvaluatedHeight < r.Decision.Height {
		t.Errorf("receipt %+v does not fit request %+v", v.Receipt, v.Request)
	}
	if n := len(c.node(harbour).departed()) - before; n != 1 {
		t.Errorf("the bank sent %d answers to one request", n)
	}
	t.Logf("opened after %s, verified after %s", r.Timing.Opened.Round(time.Millisecond/10), r.Timing.Verified.Round(time.Millisecond/10))
}

func answersAreFrozen(t *testing.T, c *cluster, notice sdk.Hash) {
	who := &c.customers[1]
	a := c.agree(harbour, notice, who.identity, true)
	first := value(a.ask(incomeBand))
	other := customer{income: 100_000}
	if first == other.band() {
		other.income = 1
	}
	c.changeVault(harbour, `UPDATE customers SET income = ? WHERE identity = ?`, other.income, who.identity)
	if again := value(a.ask(incomeBand)); again != first {
		t.Errorf("asked again the answer is %s, it was %s", again, first)
	}
	if b := value(c.agree(harbour, notice, who.identity, true).ask(incomeBand)); b != first {
		t.Errorf("under another consent the answer is %s, it was %s", b, first)
	}
	epoch, err := c.node(harbour).as("officer").Products().Epoch(t.Context(), productOf(harbour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.node(harbour).as("officer").Products().OpenEpoch(t.Context(), productOf(harbour), epoch.Epoch+1); err != nil {
		t.Fatal(err)
	}
	if next := value(a.ask(incomeBand)); next != other.band() {
		t.Errorf("in the next epoch the answer is %s, the bank's row says %s", next, other.band())
	}
}

// shape is what an outsider sees of an answer: everything but its content.
type shape struct {
	outcome  record.ReceiptOutcome
	envelope int
	receipt  int // bytes of its record
}

func (a *agreement) shapeOf(template string) (shape, string) {
	a.c.t.Helper()
	ticket, d := a.request(a.question(template))
	r := a.receive(ticket, d)
	b, err := record.Encode(&r.Verified.Receipt)
	if err != nil {
		a.c.t.Fatal(err)
	}
	got, err := a.c.node(lender).node.inbox.Get(a.c.t.Context(), string(d.RequestID), a.bank)
	if err != nil {
		a.c.t.Fatal(err)
	}
	return shape{r.Verified.Receipt.Outcome, len(got), len(b)}, value(r)
}

func nobodyLooksLikeAnybody(t *testing.T, c *cluster, notice sdk.Hash) {
	known, v := c.agree(harbour, notice, c.customers[2].identity, true).shapeOf(incomeBand)
	if v != c.customers[2].band() {
		t.Fatalf("a bound customer's answer is %s", v)
	}
	for what, a := range map[string]*agreement{
		"unknown but bound": c.agree(harbour, notice, "999999190001010000", true),
		"unknown, unbound":  c.agree(harbour, notice, "999999190001010001", false),
		"known, unbound":    c.agree(harbour, notice, c.customers[3].identity, false),
	} {
		got, v := a.shapeOf(incomeBand)
		if v != record.NoRecord {
			t.Errorf("%s: the answer is %s", what, v)
		}
		if got != known {
			t.Errorf("%s: looks like %+v, a customer's answer like %+v", what, got, known)
		}
	}
}

func leakAccountRefuses(t *testing.T, c *cluster, notice sdk.Hash) {
	who := &c.customers[4]
	a := c.agree(harbour, notice, who.identity, true)
	want := map[bool]string{true: "YES", false: "NO"}[who.late > 0]
	answered, got := a.shapeOf(everLate)
	if got != want {
		t.Fatalf("the answer is %s, the bank's row says %s", got, want)
	}
	refused, got := a.shapeOf(onTime)
	if got != string(record.Refused) {
		t.Fatalf("with the account exhausted the answer is %s", got)
	}
	if refused.envelope != answered.envelope {
		t.Errorf("a refusal has %d bytes, an answer %d", refused.envelope, answered.envelope)
	}
	if _, got := a.shapeOf(everLate); got != want {
		t.Errorf("the frozen answer is refused too: %s", got)
	}
	if _, got := c.agree(harbour, notice, who.identity, true).shapeOf(onTime); got != string(record.Refused) {
		t.Errorf("another consent about the same customer gets %s: the account is the customer's", got)
	}
}

func revocationDeniesOnEveryNode(t *testing.T, c *cluster, notice sdk.Hash) {
	a := c.agree(harbour, notice, c.customers[5].identity, true)
	// Requests race the revocation: the order on the ledger decides, and nothing
	// else.
	steps := c.node(lender).as("integration").Queries()
	var wg sync.WaitGroup
	decisions := make([]*sdk.Decision, 12)
	for i := range decisions {
		ticket, err := steps.Prepare(a.question(incomeBand))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			var err error
			if decisions[i], err = steps.Request(t.Context(), ticket); err != nil {
				t.Error(err)
			}
		})
	}
	a.revoke(c.node(lake))
	wg.Wait()
	if t.Failed() {
		return
	}
	_, d := a.request(a.question(incomeBand))
	if d.Permit {
		t.Fatalf("request %s, made after the revocation was acknowledged, is permitted", d.RequestID)
	}
	decisions = append(decisions, d)
	c.converge(c.nodes...)
	for _, p := range c.nodes {
		held := p.decisions(a)
		for _, d := range decisions {
			if got, ok := held[d.RequestID]; !ok || got != d.Permit {
				t.Errorf("%s: the lender was told %t for request %s, the ledger holds %t (%t)", p.name, d.Permit, d.RequestID, got, ok)
			}
		}
	}
}

// decisions returns which requests under a consent the ledger of a node permits,
// and fails unless those are exactly the ones ordered before its revocation.
func (p *peer) decisions(a *agreement) map[record.RequestID]bool {
	t := p.c.t
	t.Helper()
	permitted := make(map[record.RequestID]bool)
	revoked := false
	view := p.node.state.View()
	for i := range view.Roots().ReceiptsSize {
		o, err := view.OutcomeAt(i)
		if err != nil {
			t.Fatal(err)
		}
		for j := range o.Events {
			switch e := &o.Events[j]; e.Contract + "/" + e.Name {
			case "consent/consent":
				x, err := record.Load[record.Consent](e.Payload)
				if err != nil {
					t.Fatal(err)
				}
				revoked = revoked || x.ConsentID == a.id && x.Status == record.Revoked
			case "access/request":
				x, err := record.Load[record.Request](e.Payload)
				if err != nil {
					t.Fatal(err)
				}
				if x.ConsentID != a.id {
					continue
				}
				permitted[x.RequestID] = x.Decision == record.Permit
				if permitted[x.RequestID] == revoked {
					t.Errorf("%s: request %s is %s, revoked before it: %t", p.name, x.RequestID, x.Decision, revoked)
				}
			}
		}
	}
	return permitted
}

func denialsAreRecorded(t *testing.T, c *cluster, notice sdk.Hash) {
	a := c.agree(harbour, notice, c.customers[6].identity, true)
	r := a.ask(incomeBand)
	wrongTemplate := a.question(incomeBand)
	wrongTemplate.Template = templateOf(harbour, "never-approved")
	wrongPurpose := a.question(incomeBand)
	wrongPurpose.Purpose = record.FraudManagement
	wantCodes := []sdk.Code{record.CodePermit}
	last := r.Decision.Height
	for code, q := range map[sdk.Code]sdk.QueryRequest{record.CodeTemplateNotAllowed: wrongTemplate, record.CodePurposeNotAllowed: wrongPurpose} {
		_, d := a.request(q)
		if d.Permit || d.Code != code {
			t.Errorf("want DENY %s, got permit %t, %s", code, d.Permit, d.Code)
		}
		wantCodes, last = append(wantCodes, code), d.Height
	}
	for _, p := range c.nodes {
		// The subject reads with the consent's own key, on any node; the SDK proves
		// that none is missing.
		ctx := t.Context()
		self, err := p.dial(ctx, sdk.WithSubject(a.signer()))
		if err != nil {
			t.Fatal(err)
		}
		list, err := self.UsesSince(ctx, a.id, last)
		self.Close()
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		var codes []sdk.Code
		for _, u := range list.Uses {
			codes = append(codes, u.Code)
		}
		if !slices.Equal(codes, wantCodes) {
			t.Errorf("%s: uses %v, want %v", p.name, codes, wantCodes)
		}
	}
}

func lendersNodeReadsNothing(t *testing.T, c *cluster, notice sdk.Hash) {
	a := c.agree(harbour, notice, c.customers[7].identity, true)
	ticket, d := a.request(a.question(incomeBand))
	a.receive(ticket, d)
	p := c.node(lender)
	var sealed []byte
	err := sqliteRows(filepath.Join(p.cfg.DataDir, privateFile), func(table, column string, b []byte) {
		if table == "inbox_answers" && column == "payload" && sealed == nil {
			if s, err := answer.DecodeSealed(b); err == nil && s.RequestID == d.RequestID {
				sealed = bytes.Clone(b)
			}
		}
		for _, output := range []string{"LOW", "MIDDLE", "HIGH"} {
			if bytes.Contains(b, []byte(output)) {
				t.Errorf("private.db of the lender's node holds %q in %s.%s", output, table, column)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if sealed == nil {
		t.Fatal("the answer is not in the inbox of the lender's node")
	}
	got, err := p.as("integration").Queries().Await(t.Context(), ticket, d)
	if err != nil || !bytes.Equal(got.Sealed, sealed) {
		t.Errorf("the API serves other bytes than the sealed ones (%v)", err)
	}
	s, err := answer.DecodeSealed(sealed)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := answer.ParsePrivateKey(ticket.AnswerKey)
	if err != nil {
		t.Fatal(err)
	}
	x := answer.Context{ChainID: c.genesis.Hash(), RequestID: d.RequestID, Recipient: lender, KeyID: answer.KeyID(ours.PublicKey().Bytes())}
	if !opens(x, s, ticket.AnswerKey) {
		t.Error("the client's own key does not open it: the trial proves nothing")
	}
	for name, scalar := range p.secretScalars() {
		if opens(x, s, scalar) {
			t.Errorf("the node's %s key opens the answer", name)
		}
	}
}

// secretScalars returns the secret numbers of all keys of a node.
func (p *peer) secretScalars() map[string][]byte {
	t := p.c.t
	t.Helper()
	ring, err := keys.Open(p.cfg.Identity.KeysDir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ring.List()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for _, k := range list {
		kind, secret, err := ring.Export(k.Name, password)
		if err != nil {
			t.Fatal(err)
		}
		if kind == keys.TLS { // PKCS #8
			private, err := x509.ParsePKCS8PrivateKey(secret)
			if err != nil {
				t.Fatal(err)
			}
			if secret, err = private.(*ecdsa.PrivateKey).Bytes(); err != nil {
				t.Fatal(err)
			}
		}
		out[k.Name] = secret
	}
	if len(out) != len(nodeKeys(&p.cfg.Identity)) {
		t.Fatalf("the node has %d keys, want %d", len(out), len(nodeKeys(&p.cfg.Identity)))
	}
	return out
}

func opens(x answer.Context, s answer.Sealed, scalar []byte) bool {
	key, err := answer.ParsePrivateKey(scalar)
	if err != nil {
		return false
	}
	_, err = answer.Open(key, x, s)
	return err == nil
}

func strangersAnswersAreRefused(t *testing.T, c *cluster, notice sdk.Hash) {
	a := c.agree(harbour, notice, c.customers[8].identity, true)
	ticket, d := a.request(a.question(incomeBand))
	a.receive(ticket, d)
	denied := a.question(incomeBand)
	denied.Purpose = record.FraudManagement
	_, no := a.request(denied)
	c.converge(c.nodes...)
	forge := func(id record.RequestID) []byte {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		to, err := answer.ParsePublicKey(k.PublicKey().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		x := answer.Context{ChainID: c.genesis.Hash(), RequestID: id, Recipient: lender, KeyID: answer.KeyID(k.PublicKey().Bytes())}
		s, err := answer.Seal(to, x, answer.Answer{Outcome: record.Refused, Body: record.AnswerBody{
			ChainID: x.ChainID, CodeHash: record.Hash{1}, ConsentID: a.id, Epoch: 1, EvaluatedHeight: 1, RequestID: id, Salt: answer.NewSalt(), TemplateID: templateOf(harbour, incomeBand),
		}})
		if err != nil {
			t.Fatal(err)
		}
		return s.Encode()
	}
	inbox := c.node(lender).node.inbox
	for what, x := range map[string]struct {
		from *peer
		id   record.RequestID
	}{
		"to a denied request":                       {c.node(harbour), no.RequestID},
		"to a request nobody made":                  {c.node(harbour), record.NewRequestID(record.Hash{9})},
		"by another bank":                           {c.node(lake), d.RequestID},
		"a second, other answer of the bank itself": {c.node(harbour), d.RequestID},
	} {
		payload := forge(x.id)
		before, err := inbox.Get(t.Context(), string(x.id), x.from.cfg.Identity.Member)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := x.from.node.host.(*tap).Host.Request(t.Context(), c.node(lender).id(), network.ProtocolAnswer, payload)
		if err == nil && len(reply) == 1 && reply[0] == replyTaken {
			t.Errorf("an answer %s is taken", what)
		}
		after, err := inbox.Get(t.Context(), string(x.id), x.from.cfg.Identity.Member)
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("an answer %s changed what the inbox holds (%v)", what, err)
		}
	}
}
