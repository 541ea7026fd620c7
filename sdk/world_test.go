package sdk_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a furnished network, a node of the lender, and clients.
type world struct {
	t    *testing.T
	net  *fakenode.Network
	node *fakenode.Node // of the lender
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, net: fakenode.New(time.Now).Furnish()}
	w.node = w.serve(fakenode.Lender)
	return w
}

func (w *world) serve(member string) *fakenode.Node {
	w.t.Helper()
	n := fakenode.Serve(w.net, member)
	w.t.Cleanup(n.Close)
	return n
}

// quick are timeouts for tests in which something never comes.
var quick = sdk.Timeouts{Call: 2 * time.Second, Commit: 2 * time.Second, Certify: 300 * time.Millisecond}

// dial connects to nodes with the key of a name ("integration lender"); "" is a
// client without identity.
func (w *world) dial(key string, org sdk.OrgID, nodes []*fakenode.Node, opts ...sdk.Option) *sdk.Client {
	w.t.Helper()
	c, err := w.tryDial(key, org, nodes, opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) tryDial(key string, org sdk.OrgID, nodes []*fakenode.Node, opts ...sdk.Option) (*sdk.Client, error) {
	all := []sdk.Option{sdk.WithGenesis(w.net.Genesis.Encode())}
	if key != "" {
		all = append(all, sdk.WithIdentity(org, fakenode.Signer(key)))
	}
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.URL()+"#sha256="+n.Pin().Hex()[2:])
	}
	return sdk.Dial(w.t.Context(), urls, append(all, opts...)...)
}

// lender is a client of the lender at the lender's node.
func (w *world) lender(opts ...sdk.Option) *sdk.Client {
	w.t.Helper()
	return w.dial("integration lender", fakenode.Lender, []*fakenode.Node{w.node}, opts...)
}

// draft is what the lender asks for in most tests.
func (w *world) draft() sdk.ConsentDraft {
	w.t.Helper()
	notice, err := fakenode.Notice.Hash()
	if err != nil {
		w.t.Fatal(err)
	}
	return sdk.ConsentDraft{
		Provider: fakenode.Bank, Product: fakenode.Product, Templates: []sdk.TemplateID{fakenode.Template},
		Purposes: []sdk.Purpose{record.CreditChecking}, Declined: []sdk.Purpose{record.DebtManagement},
		Expires: time.Now().Add(24 * time.Hour), MaxUses: 3, NoticeHash: notice,
	}
}

// principal is the principal key of consents made by authorised.
var principal = fakenode.Signer("principal")

// authorised makes an authorised consent with keys at hand instead of a wallet
// file.
func (w *world) authorised(c *sdk.Client) *sdk.Consent {
	w.t.Helper()
	ctx := w.t.Context()
	terms, err := c.Consents().Draft(ctx, w.draft())
	w.must(err)
	terms.PrincipalKey = principal.Address()
	vouch := fakenode.Signer("wallet")
	e := &sdk.WalletEndorsement{Wallet: vouch.Address(), Signature: w.sign(vouch, record.EndorsementOf(terms).Digest)}
	p, err := c.Consents().Prepare(ctx, terms, sdk.SealedPart{SubjectID: "CN-1", Endorsement: e})
	w.must(err)
	_, err = c.Consents().Create(ctx, p)
	w.must(err)
	consent, err := c.Consents().Authorise(ctx, terms.ConsentID, sdk.MethodWallet, sdk.Evidence{Signature: w.sign(principal, p.Terms.Digest)})
	w.must(err)
	return consent
}

func (w *world) sign(key sdk.Signer, digest func(sdk.Hash) (sdk.Hash, error)) sdk.Bytes {
	w.t.Helper()
	d, err := digest(w.net.ChainID())
	w.must(err)
	sig, err := key.Sign(d)
	w.must(err)
	return sig[:]
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func question(id sdk.ConsentID) sdk.QueryRequest {
	return sdk.QueryRequest{Consent: id, Template: fakenode.Template, Purpose: record.CreditChecking, Params: map[string]string{"months": "12"}}
}

func hashOf(s string) ledger.Hash { return ledger.Sum([]byte(s)) }

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// later founds another network than now.
func later() time.Time { return time.Now().Add(time.Hour) }
