package sdk_test

import (
	"errors"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// With a wallet file the same runs as the example of the package.
func TestConsentedQueryEndToEnd(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	consent := w.authorised(c)
	if consent.Status != record.Authorised {
		t.Fatalf("consent is %s", consent.Status)
	}
	r, err := c.Query(t.Context(), question(consent.ConsentID))
	w.must(err)
	if !r.Decision.Permit || r.Answer.Outcome != record.Answered || r.Answer.Value != "HIGH" {
		t.Fatalf("decision %+v, answer %+v", r.Decision, r.Answer)
	}
	if r.Verified.Receipt.Outcome != record.Answered || r.Verified.ReceiptProof.Height <= r.Decision.Height {
		t.Errorf("receipt %+v at height %d, permit at %d", r.Verified.Receipt, r.Verified.ReceiptProof.Height, r.Decision.Height)
	}
	if !(0 < r.Timing.Decided && r.Timing.Decided <= r.Timing.Opened && r.Timing.Opened <= r.Timing.Verified) {
		t.Errorf("timing %+v", r.Timing)
	}

	no := w.sign(principal, record.RevocationOf(&consent.ConsentTerms, record.ReasonWithdrawn).Digest)
	consent, err = c.Consents().Revoke(t.Context(), consent.ConsentID, record.ReasonWithdrawn, sdk.Evidence{Signature: no})
	w.must(err)
	if consent.Status != record.Revoked {
		t.Errorf("consent is %s after its revocation", consent.Status)
	}
	r, err = c.Query(t.Context(), question(consent.ConsentID))
	if err != nil {
		t.Fatalf("a denial came as an error: %v", err)
	}
	if r.Decision.Permit || r.Decision.Code != record.CodeConsentRevoked || r.Decision.Remedy == "" || r.Answer != nil {
		t.Errorf("after the revocation: %+v", r.Decision)
	}

	uses, err := c.Uses(t.Context(), consent.ConsentID)
	w.must(err)
	if len(uses.Uses) != 2 || uses.Usage.Uses != 1 || uses.Uses[1].Code != record.CodeConsentRevoked {
		t.Errorf("uses %+v", uses)
	}
}

// What the provider gets is what the ledger commits to, and only its key opens it.
func TestSealedPartReachesTheProvider(t *testing.T) {
	w := newWorld(t)
	consent := w.authorised(w.lender())
	vouch := fakenode.Signer("wallet").Address()
	key, err := answer.ParsePrivateKey(w.net.DataKey())
	w.must(err)
	s, err := answer.DecodeSealedPart(w.net.Part(consent.ConsentID))
	w.must(err)
	part, err := answer.OpenPart(key, answer.PartContext{
		ChainID: w.net.ChainID(), ConsentID: consent.ConsentID, Version: 1, Recipient: fakenode.Bank, KeyID: fakenode.DataKey,
	}, s)
	w.must(err)
	if got, err := part.Commitment(); err != nil || got != consent.RecordCommitment {
		t.Errorf("commitment %s (%v), the ledger has %s", got, err, consent.RecordCommitment)
	}
	if part.SubjectID != "CN-1" || part.Endorsement.Wallet != vouch {
		t.Errorf("part %+v", part)
	}
	digest, err := record.EndorsementOf(&consent.ConsentTerms).Digest(w.net.ChainID())
	w.must(err)
	w.must(record.Verify(digest, part.Endorsement.Signature, vouch))
}

func TestCreateIsSafeToRepeat(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	terms, err := c.Consents().Draft(t.Context(), w.draft())
	w.must(err)
	p, err := c.Consents().Prepare(t.Context(), terms, sdk.SealedPart{SubjectID: "CN-2"})
	w.must(err)
	for range 2 {
		consent, err := c.Consents().Create(t.Context(), p)
		w.must(err)
		if consent.Status != record.AwaitingAuthorisation {
			t.Errorf("consent is %s", consent.Status)
		}
	}
	other := *p
	other.Terms.AccessLimits.MaxUses = 9
	if _, err := c.Consents().Create(t.Context(), &other); sdk.CodeOf(err) != record.CodeAlreadyExists {
		t.Errorf("other terms under the same id: %v", err)
	}
}

func TestPrepareWantsTheEndorsementOfTheKey(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	terms, err := c.Consents().Draft(t.Context(), w.draft())
	w.must(err)
	forged := &sdk.WalletEndorsement{Wallet: fakenode.Signer("wallet").Address(), Signature: make(sdk.Bytes, 65)}
	for name, set := range map[string]func(*sdk.ConsentTerms, *sdk.SealedPart){
		"key without endorsement": func(t *sdk.ConsentTerms, _ *sdk.SealedPart) { t.PrincipalKey = forged.Wallet },
		"endorsement without key": func(_ *sdk.ConsentTerms, p *sdk.SealedPart) { p.Endorsement = forged },
		"forged endorsement": func(t *sdk.ConsentTerms, p *sdk.SealedPart) {
			t.PrincipalKey, p.Endorsement = forged.Wallet, forged
		},
		"no subject": func(_ *sdk.ConsentTerms, p *sdk.SealedPart) { p.SubjectID = "" },
	} {
		tt, part := *terms, sdk.SealedPart{SubjectID: "CN-3"}
		set(&tt, &part)
		var conf *sdk.ConfigError
		if _, err := c.Consents().Prepare(t.Context(), &tt, part); !errors.As(err, &conf) || conf.Remedy == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDraftTakesClassesAndKindsFromTheTemplates(t *testing.T) {
	w := newWorld(t)
	terms, err := w.lender().Consents().Draft(t.Context(), w.draft())
	w.must(err)
	if len(terms.DataClasses) != 1 || terms.DataClasses[0] != record.C2 || len(terms.ProcessingMethods) != 1 || terms.ProcessingMethods[0] != record.Bucket {
		t.Errorf("classes %v, kinds %v", terms.DataClasses, terms.ProcessingMethods)
	}
	if terms.AccessLimits.FrequencyPerDay != 3 {
		t.Errorf("limits %+v", terms.AccessLimits)
	}
	bad := w.draft()
	bad.Expires = bad.ValidFrom
	if _, err := w.lender().Consents().Draft(t.Context(), bad); err == nil {
		t.Error("terms without an end were drafted")
	}
}

func TestListsReachEveryPage(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	d := w.draft()
	d.DataClasses, d.Kinds = []sdk.DataClass{record.C2}, []sdk.TemplateKind{record.Bucket}
	const n = record.MaxPage + 3
	for range n {
		terms, err := c.Consents().Draft(t.Context(), d)
		w.must(err)
		terms.RecordCommitment = hashOf("commitment")
		b, err := sdk.JSON(terms)
		w.must(err)
		if _, err := w.net.Act("integration lender", fakenode.Lender, "consent", "Create", string(b)); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[sdk.ConsentID]bool{}
	for v, err := range c.Consents().List(t.Context(), sdk.ConsentFilter{Status: record.AwaitingAuthorisation}) {
		w.must(err)
		seen[v.ConsentID] = true
	}
	if len(seen) != n {
		t.Errorf("%d consents listed, want %d", len(seen), n)
	}
	for range c.Consents().List(t.Context(), sdk.ConsentFilter{Party: "nobody"}) {
		t.Error("a stranger has consents")
	}
}

func TestSubjectReadsItsOwnConsentAndUses(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	consent := w.authorised(c)
	_, err := c.Query(t.Context(), question(consent.ConsentID))
	w.must(err)
	s := w.dial("", "", []*fakenode.Node{w.node}, sdk.WithSubject(principal))
	found := 0
	for v, err := range s.Consents().OfSubject(t.Context(), sdk.Address{}) {
		w.must(err)
		if v.ConsentID != consent.ConsentID {
			t.Errorf("another consent, %s", v.ConsentID)
		}
		found++
	}
	if found != 1 {
		t.Errorf("%d consents", found)
	}
	uses, err := s.Uses(t.Context(), consent.ConsentID)
	w.must(err)
	if len(uses.Uses) != 1 || uses.Uses[0].Decision != record.Permit {
		t.Errorf("uses %+v", uses)
	}
	if _, err := s.Invoke(t.Context(), "consent", "Expire", string(consent.ConsentID)); err == nil {
		t.Error("a subject built a member's transaction")
	}
}

func TestMembersCatalogueAndKeys(t *testing.T) {
	w := newWorld(t)
	bank := w.serve(fakenode.Bank)
	admin := w.dial("admin bank", fakenode.Bank, []*fakenode.Node{bank})
	officer := w.dial("officer bank", fakenode.Bank, []*fakenode.Node{bank})
	ctx := t.Context()

	fresh := fakenode.Signer("fresh").Address()
	_, err := admin.Clients().Register(ctx, sdk.ClientSpec{Address: fresh, Roles: []sdk.ClientRole{record.RoleOfficer}, Label: "batch"})
	w.must(err)
	k, err := admin.Clients().Get(ctx, fakenode.Bank, fresh)
	w.must(err)
	if !k.HasRole(record.RoleOfficer) {
		t.Errorf("key %+v", k)
	}
	if _, err = officer.Clients().Register(ctx, sdk.ClientSpec{Address: fresh, Roles: []sdk.ClientRole{record.RoleOfficer}}); sdk.CodeOf(err) != record.CodeForbidden {
		t.Errorf("an officer registered a key: %v", err)
	}
	next := fakenode.TemplateSpec()
	next.TemplateID = "income-band-2"
	hash, _, err := officer.Templates().Propose(ctx, next)
	w.must(err)
	if _, err = officer.Templates().Approve(ctx, next.TemplateID, hash); sdk.CodeOf(err) != record.CodeForbidden {
		t.Errorf("one officer approved its own proposal: %v", err)
	}
	proposal, err := officer.Templates().Proposal(ctx, fakenode.Bank, next.TemplateID)
	w.must(err)
	second := w.dial("second bank", fakenode.Bank, []*fakenode.Node{bank})
	_, err = second.Templates().Approve(ctx, next.TemplateID, proposal.CodeHash)
	w.must(err)
	for p, err := range second.Templates().Proposals(ctx, fakenode.Bank) {
		w.must(err)
		if p.Status != record.TemplateApproved {
			t.Errorf("proposal %s is %s", p.TemplateID, p.Status)
		}
	}
	if _, err = second.Templates().Withdraw(ctx, next.TemplateID); sdk.CodeOf(err) != record.CodeWrongState {
		t.Errorf("an approved template was withdrawn: %v", err)
	}
	got, err := officer.Templates().Get(ctx, next.TemplateID)
	w.must(err)
	if got.CodeHash != hash {
		t.Errorf("code hash %s, want %s", got.CodeHash, hash)
	}
	next.Source = "a syntax error"
	found, err := officer.Templates().Check(ctx, next)
	w.must(err)
	if len(found) != 1 || !found[0].Error || found[0].Remedy == "" {
		t.Errorf("findings %+v", found)
	}
	w.must(officer.Bind(ctx, "CN-1", fresh))
	if w.net.Bound("CN-1") != fresh {
		t.Error("the wallet is not bound")
	}
	w.must(officer.Unbind(ctx, "CN-1"))
	w.must(officer.BindConsent(ctx, "0x00", "CN-1"))
	w.must(officer.BindConsent(ctx, "0x00", "CN-1"))
	if err := officer.BindConsent(ctx, "0x00", "CN-2"); sdk.CodeOf(err) != record.CodeAlreadyExists {
		t.Errorf("a consent was bound twice: %v", err)
	}
	members := 0
	for m, err := range officer.Members().List(ctx) {
		w.must(err)
		if members++; m.Title == "" {
			t.Errorf("member %+v", m)
		}
	}
	if members != 4 {
		t.Errorf("%d members", members)
	}
	_, err = admin.Clients().Revoke(ctx, fresh, time.Time{}, record.KeyRotated)
	w.must(err)
	if k, err = admin.Clients().Get(ctx, fakenode.Bank, fresh); err != nil || k.RevokedAt == 0 {
		t.Errorf("after the revocation %+v, %v", k, err)
	}
}

// What Prepare signed needs no second check; anything else in its place does.
func TestATicketWithOtherBytesIsChecked(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	consent := w.authorised(c)
	ticket, err := c.Queries().Prepare(question(consent.ConsentID))
	w.must(err)
	ticket.Transaction[len(ticket.Transaction)-10] ^= 1 // in the signature
	if d, err := c.Queries().Request(t.Context(), ticket); err == nil {
		t.Errorf("a broken signature was submitted: %+v", d)
	}
	other, err := c.Queries().Prepare(question(consent.ConsentID))
	w.must(err)
	ticket.Transaction = other.Transaction
	got, err := ticket.RequestID()
	w.must(err)
	if want, err := other.RequestID(); err != nil || got != want {
		t.Errorf("the ticket names %s (%v), its transaction is %s", got, err, want)
	}
}
