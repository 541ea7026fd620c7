package chaincode_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/internal/memledger"
	"github.com/assent-network/assent/chaincode/record"
)

// twin is the slow, obvious account of one consent: every request there was,
// with the block time and the code, and nothing that is kept in step.
type twin struct {
	terms    *record.ConsentTerms
	status   record.Status
	requests []asked
}

type asked struct {
	id   record.RequestID
	at   record.Millis
	code record.Code
}

// expect counts over the whole past for each request.
func (m *twin) expect(now record.Millis, purpose record.Purpose, value string) record.Code {
	total, today := uint64(0), uint64(0)
	for _, r := range m.requests {
		if r.code != record.CodePermit {
			continue
		}
		total++
		if r.at/day == now/day {
			today++
		}
	}
	switch {
	case m.status == record.Rejected:
		return record.CodeConsentRejected
	case m.status == record.Revoked:
		return record.CodeConsentRevoked
	case m.status == record.Expired || now >= m.terms.ExpirationDateTime:
		return record.CodeConsentExpired
	case m.status == record.AwaitingAuthorisation:
		return record.CodeConsentNotAuthorised
	case now < m.terms.ValidFrom:
		return record.CodeNotYetValid
	case purpose != record.CreditChecking:
		return record.CodePurposeNotAllowed
	case value != "20000" && value != "40000":
		return record.CodeParameterNotAllowed
	case total >= m.terms.AccessLimits.MaxUses:
		return record.CodeUsesExhausted
	case today >= m.terms.AccessLimits.FrequencyPerDay:
		return record.CodeFrequencyExceeded
	}
	return record.CodePermit
}

// TestRandomUseAgreesWithTheTwin makes random calls on a few consents and holds
// every outcome, every usage record and every usage chain against the twin.
func TestRandomUseAgreesWithTheTwin(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { modelRun(t, seed) })
	}
}

func modelRun(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	w.found()
	var twins []*twin
	for i := range 4 {
		name := "m" + strconv.Itoa(i)
		c := terms(name)
		c.AccessLimits = record.AccessLimits{FrequencyPerDay: 1 + rng.Uint64N(4), MaxUses: 1 + rng.Uint64N(12)}
		c.ValidFrom = start + rng.Int64N(2*day)
		c.ExpirationDateTime = c.ValidFrom + 2*day + rng.Int64N(6*day)
		w.must("lender-a", "lender-a-app", "consent:Create", encode(t, c))
		twins = append(twins, &twin{terms: c, status: record.AwaitingAuthorisation})
	}
	for range 300 {
		w.Now += rng.Int64N(2 * hour)
		i := rng.IntN(len(twins))
		m, name := twins[i], "m"+strconv.Itoa(i)
		switch rng.IntN(20) {
		case 0, 1, 2:
			modelAuthorise(t, w, m, name)
		case 3:
			if rng.IntN(6) == 0 {
				modelRevoke(t, w, m, name)
			}
		case 4:
			modelExpire(t, w, m)
		case 5:
			stranger := w.submit("lender-b", "lender-b-app", "access:Request", encode(t, request(name)))
			if stranger.Code != record.CodeForbidden {
				t.Fatalf("a stranger's request: %s", stranger.Code)
			}
		default:
			modelRequest(t, w, m, name, rng)
		}
		checkUsage(t, w, m)
	}
	codes := map[record.Code]int{}
	for _, m := range twins {
		for _, r := range m.requests {
			codes[r.code]++
		}
	}
	for _, code := range []record.Code{record.CodePermit, record.CodeFrequencyExceeded, record.CodeUsesExhausted, record.CodeConsentExpired} {
		if codes[code] == 0 {
			t.Errorf("the run never met %s: %v", code, codes)
		}
	}
}

func modelRequest(t *testing.T, w *world, m *twin, name string, rng *rand.Rand) {
	spec := request(name)
	spec.Params[0].Value = []string{"20000", "40000", "40000", "30000"}[rng.IntN(4)]
	if rng.IntN(8) == 0 {
		spec.Purpose = record.FraudManagement
	}
	want := m.expect(w.Now, spec.Purpose, spec.Params[0].Value)
	r := w.must("lender-a", "lender-a-app", "access:Request", encode(t, spec))
	decision := load[record.Decision](t, []byte(r.Payload))
	if decision.Code != want {
		t.Fatalf("request %d of %s at %d: got %s, the twin says %s", len(m.requests)+1, name, w.Now, decision.Code, want)
	}
	m.requests = append(m.requests, asked{decision.RequestID, w.Now, decision.Code})
}

func modelAuthorise(t *testing.T, w *world, m *twin, name string) {
	digest, err := m.terms.Digest(chainID)
	evidence := encode(t, &record.Evidence{Signature: sign(t, name, digest, err)})
	r := w.submit("lender-b", "lender-b-app", "consent:Authorise", string(m.terms.ConsentID), string(record.Wallet), evidence)
	allowed := m.status == record.AwaitingAuthorisation && w.Now < m.terms.ExpirationDateTime
	if allowed != (r.Code == record.OK) {
		t.Fatalf("authorise from %s: %s", m.status, r.Code)
	}
	if allowed {
		m.status = record.Authorised
	}
}

func modelRevoke(t *testing.T, w *world, m *twin, name string) {
	digest, err := record.RevocationOf(m.terms, record.ReasonWithdrawn).Digest(chainID)
	evidence := encode(t, &record.Evidence{Signature: sign(t, name, digest, err)})
	r := w.submit("lender-b", "lender-b-app", "consent:Revoke", string(m.terms.ConsentID), "SUBJECT", string(record.ReasonWithdrawn), evidence)
	allowed := m.status == record.Authorised && w.Now < m.terms.ExpirationDateTime
	if allowed != (r.Code == record.OK) {
		t.Fatalf("revoke from %s: %s", m.status, r.Code)
	}
	if allowed {
		m.status = record.Revoked
	}
}

func modelExpire(t *testing.T, w *world, m *twin) {
	r := w.submit("bank-b", "bank-b-app", "consent:Expire", string(m.terms.ConsentID))
	live := m.status == record.AwaitingAuthorisation || m.status == record.Authorised
	allowed := live && w.Now >= m.terms.ExpirationDateTime
	if allowed != (r.Code == record.OK) {
		t.Fatalf("expire from %s: %s", m.status, r.Code)
	}
	if allowed {
		m.status = record.Expired
	}
}

// checkUsage recomputes the usage record and the chain from the request records
// alone, as a subject would, through the pages of ListByConsent.
func checkUsage(t *testing.T, w *world, m *twin) {
	t.Helper()
	if len(m.requests) == 0 {
		if _, exists := w.State[record.UsageKey(m.terms.ConsentID)]; exists {
			t.Fatal("a consent nobody used has a usage record")
		}
		return
	}
	want := record.Usage{ConsentID: m.terms.ConsentID, Requests: uint64(len(m.requests))}
	for i, a := range m.requests {
		data := w.State[record.RequestKey(a.id)]
		r := load[record.Request](t, data)
		if r.Sequence != uint64(i+1) || r.Code != a.code || r.RequestedAt != a.at {
			t.Fatalf("request %d is recorded as %s", i+1, data)
		}
		inner := crypto.Keccak256(data)
		want.Head = crypto.Keccak256Hash([]byte("assent/usage/1"), want.Head[:], inner)
		if a.code != record.CodePermit {
			continue
		}
		want.Uses++
		if d := uint64(a.at / day); d != want.Day {
			want.Day, want.DayUses = d, 0
		}
		want.DayUses++
	}
	if got := load[record.Usage](t, w.State[record.UsageKey(m.terms.ConsentID)]); *got != want {
		t.Fatalf("usage is %+v, want %+v", *got, want)
	}
}

func load[T any, P interface {
	*T
	record.Record
}](t testing.TB, data []byte) *T {
	t.Helper()
	v, err := record.Load[T, P](data)
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

// TestPagesGiveEveryRequestOnceInOrder walks pages of every size.
func TestPagesGiveEveryRequestOnceInOrder(t *testing.T) {
	w := newWorld(t)
	w.found()
	w.consent(terms("c1"), "c1")
	const n = 13
	for range n {
		w.Now += minute
		w.must("lender-a", "lender-a-app", "access:Request", encode(t, request("c1")))
	}
	for size := 1; size <= n+1; size++ {
		for _, list := range [][]string{
			{"access:ListByConsent", string(consentOf("c1"))},
			{"access:ListByParty", "lender-a"}, {"access:ListByParty", "bank-a"},
		} {
			seen, bookmark := uint64(0), ""
			for {
				r := w.evaluate(list[0], list[1], strconv.Itoa(size), bookmark)
				page := load[record.RequestPage](t, []byte(r.Payload))
				for _, request := range page.Requests {
					if seen++; request.Sequence != seen {
						t.Fatalf("%v in pages of %d: request %d comes as %d", list, size, request.Sequence, seen)
					}
				}
				if bookmark = page.Bookmark; bookmark == "" {
					break
				}
			}
			if seen != n {
				t.Errorf("%v in pages of %d: %d requests of %d", list, size, seen, n)
			}
		}
	}
	for _, bad := range []string{"0", "101", "", "01", "-1", "ten"} {
		if r := w.evaluate("access:ListByParty", "lender-a", bad, ""); r.Code != record.CodeBadRequest {
			t.Errorf("a page of %q: %s", bad, r.Code)
		}
	}
}

// TestEqualCallsGiveEqualLedgers runs the same calls twice.
func TestEqualCallsGiveEqualLedgers(t *testing.T) {
	run := func() *memledger.Ledger {
		w := newWorld(t)
		w.found()
		w.consent(terms("c1"), "c1")
		for range 5 {
			w.Now += hour
			w.must("lender-a", "lender-a-app", "access:Request", encode(t, request("c1")))
		}
		return w.Ledger
	}
	a, b := run(), run()
	if len(a.State) != len(b.State) {
		t.Fatalf("%d rows and %d rows", len(a.State), len(b.State))
	}
	for key, value := range a.State {
		if !bytes.Equal(value, b.State[key]) {
			t.Errorf("%s differs", key)
		}
	}
}
