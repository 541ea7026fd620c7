package gateway

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-network/assent/chaincode/record"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/ledger"
)

// propose puts a proposal of a further validator on the ledger.
func (w *world) propose(addr string, key ledger.HostKey, status record.ProposalStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := *w.genesis
	next.Seq = 1
	next.Limits.ObserversPerMember = uint64(len(w.proposals) + 1)
	next.Validators = append(next.Validators[:1:1], ledger.Validator{ID: 2, Member: "bank-a", VoteKey: common.Address{3}, HostKey: key, Addrs: []string{addr}})
	if w.proposed == nil {
		w.proposed = map[string][]byte{}
	}
	w.proposed[next.Hash().Hex()] = next.Encode()
	w.proposals = append(w.proposals, &record.Proposal{
		ConfigHash: next.Hash(), ConfigSeq: 1, Needed: 1, Proposer: "bank-a", ProposedAt: 1, ProposedBy: ledger.Address{1}, Status: status,
		Summary: []string{"x"}, Approvals: []record.Approval{{Admin: ledger.Address{1}, At: 1, OrgID: "bank-a", Signature: make(record.Blob, 65)}},
	})
}

// listProposals returns one proposal a page, so that a reader must go on.
func (w *world) listProposals(bookmark string) ([]byte, ledger.Height, error) {
	at, _ := strconv.Atoi(bookmark)
	page := &record.ProposalPage{}
	if at < len(w.proposals) {
		page.Proposals = []record.Proposal{*w.proposals[at]}
	}
	if at+1 < len(w.proposals) {
		page.Bookmark = strconv.Itoa(at + 1)
	}
	b, err := record.Encode(page)
	return b, 9, err
}

// A guest has this node look at what an open proposal names, and at nothing else:
// a probe reaches into the network of the node's member.
func TestGuestsProbeWhatIsProposedAlone(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Guests = []string{"guest"} })
	r.w.register("guest", "boss", record.RoleAdmin)
	r.w.register("bank-a", "own", record.RoleAdmin)
	r.w.register("bank-b", "stranger", record.RoleAdmin)
	tok := r.token("boss", "guest")
	c := assentv1connect.NewNetworkServiceClient(r.http, r.url)
	here, other := ledger.HostKey{2, 5}, ledger.HostKey{2, 8}
	probe := func(tok, addr string, key ledger.HostKey) error {
		_, err := c.Probe(t.Context(), with(tok, &assentv1.ProbeRequest{Addr: addr, HostKey: key[:]}))
		return err
	}
	const addr = "/ip4/10.0.0.1/tcp/1"
	want(t, "nothing is proposed", probe(tok, addr, here), assentv1.Code_CODE_NOT_FOUND)
	r.w.propose("/ip4/10.0.0.9/tcp/1", other, record.ProposalOpen)
	r.w.propose(addr, here, record.ProposalOpen)
	r.w.propose("/ip4/10.0.0.8/tcp/1", other, record.ProposalWithdrawn)
	want(t, "proposed, on the second page", probe(tok, addr, here), 0)
	want(t, "with the key of another proposal", probe(tok, addr, other), assentv1.Code_CODE_NOT_FOUND)
	want(t, "another port", probe(tok, addr+"1", here), assentv1.Code_CODE_NOT_FOUND)
	want(t, "of a withdrawn proposal", probe(tok, "/ip4/10.0.0.8/tcp/1", other), assentv1.Code_CODE_NOT_FOUND)
	want(t, "of a validator in force", probe(tok, r.w.genesis.Validators[0].Addrs[0], r.w.genesis.Validators[0].HostKey), 0)
	want(t, "the node's own admin", probe(r.token("own", "bank-a"), "/ip4/10.0.0.3/tcp/1", other), 0)
	want(t, "a member that is no guest", probe(r.token("stranger", "bank-b"), addr, here), assentv1.Code_CODE_FORBIDDEN)

	// However many proposals there are, a probe reads a bounded number of them.
	for i := range 3 * maxProposalsRead {
		r.w.propose(fmt.Sprintf("/ip4/10.0.1.1/tcp/%d", i+1), other, record.ProposalOpen)
	}
	before := len(r.w.calls)
	want(t, "behind too many", probe(tok, "/ip4/10.0.0.77/tcp/1", here), assentv1.Code_CODE_NOT_FOUND)
	if n := len(r.w.calls) - before; n > 2*maxProposalsRead {
		t.Errorf("%d reads", n)
	}

	// Guests share a rate; the node's own admins do not wait for it.
	refused := 0
	for range guestProbesBurst {
		if err := probe(tok, addr, here); err != nil {
			want(t, "too many", err, assentv1.Code_CODE_RATE_LIMITED)
			refused++
		}
	}
	if refused == 0 {
		t.Error("a guest probes as often as it likes")
	}
	want(t, "the node's own admin", probe(r.token("own", "bank-a"), addr, here), 0)
}

// Guests have one place: what a guest keeps busy, the node's own people do not wait for.
func TestGuestProbesComeOneByOne(t *testing.T) {
	g := newGuestProbes()
	now := time.Now()
	leave, err := g.enter(now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.enter(now); err == nil {
		t.Fatal("two at once")
	}
	leave()
	for range guestProbesBurst - 1 {
		leave, err := g.enter(now)
		if err != nil {
			t.Fatal(err)
		}
		leave()
	}
	if _, err := g.enter(now); err == nil {
		t.Fatal("more than the burst")
	}
	leave, err = g.enter(now.Add(2 * time.Second)) // and the place was given back
	if err != nil {
		t.Fatal(err)
	}
	leave()
}
