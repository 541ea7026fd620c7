package chaincode_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// life is the slow, obvious account of one consent from beginning to tombstone.
type life struct {
	name      string
	terms     *record.ConsentTerms
	status    record.Status
	evidence  bool // a document was brought, and not countersigned yet
	inForce   bool // was, at some time
	successor bool
	permits   int
	disputes  int
	open      bool // a dispute is
	endedAt   record.Millis
	acked     map[record.OrgID]bool
	deleted   bool
	erasing   bool
	erasedBy  map[record.OrgID]bool
}

func (l *life) ended() bool {
	return l.status == record.Rejected || l.status == record.Revoked || l.status == record.Expired
}
func (l *life) erased() bool                   { return len(l.erasedBy) == 2 }
func (l *life) runsOut(now record.Millis) bool { return now >= l.terms.ExpirationDateTime }
func (l *life) stands(now record.Millis) bool {
	return l.status == record.Authorised && !l.runsOut(now)
}

// lives is a run: a ledger and the account of every consent on it.
type lives struct {
	*world
	rng   *rand.Rand
	all   []*life
	tried map[string][2]int // operation → refused, done
}

// TestRandomLivesAgreeWithTheirAccounts takes random steps in the lives of many
// consents, holds every outcome against the account, and at the end every row of
// every list against the records.
func TestRandomLivesAgreeWithTheirAccounts(t *testing.T) {
	tried := map[string][2]int{}
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			l := &lives{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 11)), tried: tried}
			l.found()
			for range 700 {
				l.Now += l.rng.Int64N(3 * hour)
				l.step()
			}
			l.checkRows()
		})
	}
	for name, n := range tried {
		if n[0] == 0 || n[1] == 0 {
			t.Errorf("%s: %d times refused, %d times done: the runs show one side only", name, n[0], n[1])
		}
	}
}

// expect makes a call that the account says must succeed or be refused.
func (l *lives) expect(what string, ok bool, org record.OrgID, key, function string, args ...string) bool {
	l.t.Helper()
	r := l.submit(org, string(org)+"-"+key, function, args...)
	if ok != (r.Code == record.OK) {
		l.t.Fatalf("%s at %d: %s, the account says %v", what, l.Now, r.Message, ok)
	}
	n := l.tried[what]
	if ok {
		n[1]++
	} else {
		n[0]++
	}
	l.tried[what] = n
	return ok
}

func (l *lives) step() {
	if len(l.all) < 4 || l.rng.IntN(12) == 0 {
		l.create()
		return
	}
	c := l.all[l.rng.IntN(len(l.all))]
	steps := []func(c *life){
		l.authorise, l.authorise, l.bringEvidence, l.countersign, l.reject, l.revokeBySubject, l.revokeByOther, l.expire,
		l.request, l.request, l.request, l.acknowledge, l.acknowledge, l.deletion, l.dispute, l.resolve, l.askErasure, l.confirmErasure, l.confirmErasure,
	}
	steps[l.rng.IntN(len(steps))](c)
}

// create makes a consent, often one that supersedes another.
func (l *lives) create() {
	c := &life{name: "l" + strconv.Itoa(len(l.all)), status: record.AwaitingAuthorisation, acked: map[record.OrgID]bool{}, erasedBy: map[record.OrgID]bool{}}
	c.terms = terms(c.name)
	c.terms.AccessLimits = record.AccessLimits{FrequencyPerDay: 9, MaxUses: 9}
	c.terms.ExpirationDateTime = l.Now + day + l.rng.Int64N(20*day)
	c.terms.ValidFrom = l.Now
	if l.rng.IntN(3) == 0 {
		c.terms.ConsentType = record.Written
	}
	ok := true
	if len(l.all) > 0 && l.rng.IntN(2) == 0 {
		old := l.all[l.rng.IntN(len(l.all))]
		c.terms.Supersedes, c.terms.Version = old.terms.ConsentID, old.terms.Version+1
		ok = old.inForce && !old.successor && !old.erasing
	}
	if l.expect("create", ok, "lender-a", "app", "consent:Create", encode(l.t, c.terms)) {
		l.all = append(l.all, c)
	}
}

func (l *lives) predecessor(c *life) *life {
	for _, old := range l.all {
		if old.terms.ConsentID == c.terms.Supersedes {
			return old
		}
	}
	return nil
}

// enterForce is what authorisation does to a consent and the one before it.
func (l *lives) enterForce(c *life) {
	c.status, c.inForce, c.evidence = record.Authorised, true, false
	if old := l.predecessor(c); old != nil {
		old.successor = true
		if old.stands(l.Now) {
			old.status, old.endedAt = record.Revoked, l.Now
		}
	}
}

// mayEnter reports whether a consent could come into force now.
func (l *lives) mayEnter(c *life) bool {
	old := l.predecessor(c)
	return c.status == record.AwaitingAuthorisation && !l.runsOut(c) && (old == nil || !old.successor && !old.erasing)
}

func (l *lives) runsOut(c *life) bool { return c.runsOut(l.Now) }

func (l *lives) authorise(c *life) {
	digest, err := c.terms.Digest(chainID)
	evidence := encode(l.t, &record.Evidence{Signature: sign(l.t, c.name, digest, err)})
	ok := c.terms.ConsentType == record.Separate && l.mayEnter(c)
	if l.expect("authorise", ok, "lender-b", "app", "consent:Authorise", string(c.terms.ConsentID), "WALLET", evidence) {
		l.enterForce(c)
	}
}

func (l *lives) bringEvidence(c *life) {
	ok := c.terms.ConsentType == record.Written && c.status == record.AwaitingAuthorisation && !l.runsOut(c) && !c.evidence
	evidence := encode(l.t, &record.Evidence{EvidenceHash: hashOf("scan " + c.name)})
	if l.expect("bring evidence", ok, "lender-a", "app", "consent:Authorise", string(c.terms.ConsentID), "WRITTEN", evidence) {
		c.evidence = true
	}
}

func (l *lives) countersign(c *life) {
	ok := c.evidence && l.mayEnter(c)
	if l.expect("countersign", ok, "bank-a", "second", "consent:Countersign", string(c.terms.ConsentID), hashOf("scan "+c.name).Hex()) {
		l.enterForce(c)
	}
}

func (l *lives) end(c *life, to record.Status, at record.Millis) {
	c.status, c.endedAt, c.evidence = to, at, false
}

func (l *lives) reject(c *life) {
	digest, err := record.RevocationOf(c.terms, record.ReasonRefused).Digest(chainID)
	evidence := encode(l.t, &record.Evidence{Signature: sign(l.t, c.name, digest, err)})
	ok := c.status == record.AwaitingAuthorisation && !l.runsOut(c)
	if l.expect("reject", ok, "lender-b", "app", "consent:Reject", string(c.terms.ConsentID), evidence) {
		l.end(c, record.Rejected, l.Now)
	}
}

func (l *lives) revokeBySubject(c *life) {
	digest, err := record.RevocationOf(c.terms, record.ReasonMisuse).Digest(chainID)
	evidence := encode(l.t, &record.Evidence{Signature: sign(l.t, c.name, digest, err)})
	if l.expect("revoke", c.stands(l.Now), "lender-b", "app", "consent:Revoke", string(c.terms.ConsentID), "SUBJECT", "MISUSE", evidence) {
		l.end(c, record.Revoked, l.Now)
	}
}

func (l *lives) revokeByOther(c *life) {
	evidence := encode(l.t, &record.Evidence{EvidenceHash: hashOf("file")})
	org, initiator := record.OrgID("bank-a"), "PARTY"
	if l.rng.IntN(2) == 0 {
		org, initiator = "regulator", "AUTHORITY"
	}
	if l.expect("revoke by "+initiator, c.stands(l.Now), org, "officer", "consent:Revoke", string(c.terms.ConsentID), initiator, "MISUSE", evidence) {
		l.end(c, record.Revoked, l.Now)
	}
}

func (l *lives) expire(c *life) {
	ok := !c.ended() && l.runsOut(c)
	if l.expect("expire", ok, "bank-b", "app", "consent:Expire", string(c.terms.ConsentID)) {
		l.end(c, record.Expired, c.terms.ExpirationDateTime)
	}
}

func (l *lives) request(c *life) {
	r := l.must("lender-a", "lender-a-app", "access:Request", encode(l.t, request(c.name)))
	d := load[record.Decision](l.t, []byte(r.Payload))
	if c.stands(l.Now) != (d.Decision == record.Permit || d.Code == record.CodeUsesExhausted || d.Code == record.CodeFrequencyExceeded) || d.Disputed != (c.open && !c.erased()) {
		l.t.Fatalf("request at %d on a consent that is %s: %+v", l.Now, c.status, *d)
	}
	if d.Decision == record.Permit {
		c.permits++
	}
}

// party is one of the consent's, or now and then a stranger.
func (l *lives) party() record.OrgID {
	return []record.OrgID{"lender-a", "bank-a", "lender-a", "bank-a", "lender-b"}[l.rng.IntN(5)]
}

func (l *lives) acknowledge(c *life) {
	org := l.party()
	ok := c.ended() && org != "lender-b" && !c.acked[org]
	if l.expect("acknowledge", ok, org, "app", "consent:AcknowledgeTermination", string(c.terms.ConsentID)) {
		c.acked[org] = true
	}
}

func (l *lives) deletion(c *life) {
	spec := &record.DeletionSpec{ConsentID: c.terms.ConsentID, Head: hashOf("nothing")}
	if data, used := l.State[record.UsageKey(c.terms.ConsentID)]; used {
		usage := load[record.Usage](l.t, data)
		spec.Head, spec.Requests = usage.Head, usage.Requests
	}
	ok := c.ended() && c.permits > 0 && !c.deleted
	if l.expect("confirm deletion", ok, "lender-a", "app", "consent:ConfirmDeletion", encode(l.t, spec)) {
		c.deleted = true
	}
}

func (l *lives) disputeID(c *life, n int) record.DisputeID {
	return disputeOf(c.name + " " + strconv.Itoa(n))
}

func (l *lives) dispute(c *life) {
	n := c.disputes
	if n > 0 && l.rng.IntN(4) == 0 {
		n-- // an id that was used
	}
	spec := &record.DisputeSpec{ClaimCommitment: hashOf("claim"), ConsentID: c.terms.ConsentID, DisputeID: l.disputeID(c, n), Kind: record.DisputeNotMine}
	digest, err := record.DisputeOf(c.terms, spec).Digest(chainID)
	evidence := encode(l.t, &record.Evidence{Signature: sign(l.t, c.name, digest, err)})
	ok := c.inForce && !c.erased() && !c.open && n == c.disputes
	if l.expect("dispute", ok, "lender-b", "app", "consent:RaiseDispute", encode(l.t, spec), evidence) {
		c.disputes, c.open = c.disputes+1, true
	}
}

func (l *lives) resolve(c *life) {
	spec := &record.ResolutionSpec{ConsentID: c.terms.ConsentID, DisputeID: l.disputeID(c, c.disputes-1), Outcome: record.Corrected, StatementHash: hashOf("statement")}
	if l.expect("resolve", c.open, "bank-a", "officer", "consent:ResolveDispute", encode(l.t, spec)) {
		c.open = false
	}
}

func (l *lives) askErasure(c *life) {
	digest, err := record.ErasureOf(c.terms).Digest(chainID)
	evidence := encode(l.t, &record.Evidence{Signature: sign(l.t, c.name, digest, err)})
	if l.expect("ask for erasure", c.ended() && !c.erasing, "lender-b", "app", "consent:RequestErasure", string(c.terms.ConsentID), evidence) {
		c.erasing = true
	}
}

func (l *lives) confirmErasure(c *life) {
	org := l.party()
	ok := c.erasing && org != "lender-b" && !c.erasedBy[org] && (org != "lender-a" || c.permits == 0 || c.deleted)
	if l.expect("confirm erasure", ok, org, "app", "consent:ConfirmErasure", string(c.terms.ConsentID)) {
		c.erasedBy[org] = true
	}
}

// checkRows recomputes from the accounts which consents each list holds.
func (l *lives) checkRows() {
	want := map[string][]string{}
	add := func(prefix string, c *life) { want[prefix] = append(want[prefix], string(c.terms.ConsentID)) }
	for _, c := range l.all {
		held := load[record.Consent](l.t, l.State[record.ConsentKey(c.terms.ConsentID)])
		if held.Status != c.status || held.Disputed != (c.open && !c.erased()) || (held.ErasureStatus == record.Erased) != c.erased() || (held.SupersededBy != "") != c.successor {
			l.t.Errorf("%s is %+v, the account says %+v", c.name, held, c)
		}
		if c.erased() && strings.Contains(string(l.State[record.ConsentKey(c.terms.ConsentID)]), "signature") {
			l.t.Errorf("%s: a signature stands on its tombstone", c.name)
		}
		if !c.erased() {
			add(record.PrincipalIndexPrefix(c.terms.PrincipalKey), c)
		}
		for _, org := range []record.OrgID{"lender-a", "bank-a"} {
			add(record.ConsentIndexPrefix(org, c.status), c)
			if c.ended() && !c.acked[org] {
				add(record.TerminationIndexPrefix(org), c)
			}
			if c.erasing && !c.erasedBy[org] {
				add(record.ErasureIndexPrefix(org), c)
			}
		}
		if c.ended() && c.permits > 0 && !c.deleted {
			add(record.DeletionIndexPrefix("lender-a"), c)
		}
		if c.open {
			add(record.DisputeDueIndexPrefix("bank-a"), c)
		}
		l.checkEnding(c)
	}
	for _, family := range []string{"party", "principal", "termination", "deletion", "erasure", "disputedue"} {
		rows := map[string][]string{}
		for _, key := range l.Keys("consent/ix/" + family + "/") {
			id, _, _ := strings.Cut(record.LastSegment(key), ".")
			prefix := strings.Join(strings.Split(key, "/")[:4], "/") + "/"
			if family == "party" {
				prefix = strings.Join(strings.Split(key, "/")[:5], "/") + "/"
			}
			rows[prefix] = append(rows[prefix], id)
		}
		for prefix, ids := range rows {
			slices.Sort(ids)
			slices.Sort(want[prefix])
			if !slices.Equal(ids, want[prefix]) {
				l.t.Errorf("%s lists %d consents, the accounts %d", prefix, len(ids), len(want[prefix]))
			}
		}
		for prefix, ids := range want {
			if strings.HasPrefix(prefix, "consent/ix/"+family+"/") && len(rows[prefix]) != len(ids) {
				l.t.Errorf("%s lists %d consents, the accounts %d", prefix, len(rows[prefix]), len(ids))
			}
		}
	}
}

// checkEnding wants a termination exactly where there is an ending.
func (l *lives) checkEnding(c *life) {
	data, found := l.State[record.TerminationKey(c.terms.ConsentID)]
	if found != c.ended() {
		l.t.Errorf("%s is %s; it has a termination: %v", c.name, c.status, found)
	}
	if !found {
		return
	}
	ended := load[record.Termination](l.t, data)
	due := record.Millis(0)
	if c.permits > 0 {
		due = c.endedAt + record.DeletionPeriod
	}
	if ended.EndedAt != c.endedAt || ended.DeletionDue != due || len(ended.Acknowledged) != len(c.acked) || len(ended.Pending) != 2-len(c.acked) {
		l.t.Errorf("%s: termination %+v, the account says %+v", c.name, ended, c)
	}
}
