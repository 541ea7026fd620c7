package chaincode_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// totals are one subject's account: the different sets that were permitted, each a
// figure ("bank/epoch") per bank.
type totals struct {
	name string
	sets [][]string
}

// exposures is a run: a ledger, and the account of every bank and subject on it.
type exposures struct {
	*world
	rng      *rand.Rand
	banks    []string
	epoch    map[string]int
	pledged  map[string]bool // "consent epoch"
	revoked  map[string]bool
	uses     map[string]uint64
	requests map[string]uint64
}

// TestRandomSetsAgreeWithBruteForce asks random sets of banks about a few subjects
// while epochs open, pledges come late and consents end. What is permitted is held
// against a search through every sum of small multiples of the totals.
func TestRandomSetsAgreeWithBruteForce(t *testing.T) {
	met := map[record.Code]int{}
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			m := &exposures{
				world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 23)), banks: []string{"b1", "b2", "b3", "b4", "b5", "b6"},
				epoch: map[string]int{}, pledged: map[string]bool{}, revoked: map[string]bool{},
				uses: map[string]uint64{}, requests: map[string]uint64{},
			}
			m.foundBanks(m.banks)
			made := 5
			var subjects []*totals
			for i := range made {
				subjects = append(subjects, m.subject(i))
			}
			for range 260 {
				m.Now += m.rng.Int64N(10 * minute)
				i := m.rng.IntN(len(subjects))
				if len(subjects[i].sets) == 4 { // the search has its limits
					made++
					subjects[i] = m.subject(made)
				}
				m.step(subjects[i], met)
			}
			m.checkUses()
		})
	}
	for _, code := range []record.Code{record.CodePermit, record.CodeNoPledge, record.CodeSetIncomplete, record.CodeSetTooClose, record.CodeConsentRevoked} {
		if met[code] < 5 {
			t.Errorf("%s was met %d times", code, met[code])
		}
	}
}

func (m *exposures) subject(i int) *totals {
	s := &totals{name: fmt.Sprint("s", i)}
	for _, bank := range m.banks {
		m.epoch[bank] = max(m.epoch[bank], 1)
		name := s.name + "/" + bank
		c := terms(name)
		owedTerms(c, bank)
		c.PrincipalKey, c.AccessLimits = addressOf(s.name), record.AccessLimits{FrequencyPerDay: 1_000, MaxUses: 1_000}
		m.must("lender-a", "lender-a-app", "consent:Create", encode(m.t, c))
		digest, err := c.Digest(chainID)
		m.must("lender-a", "lender-a-app", "consent:Authorise", string(c.ConsentID), string(record.Wallet),
			encode(m.t, &record.Evidence{Signature: sign(m.t, s.name, digest, err)}))
		m.pledge(name, bank)
	}
	return s
}

func (m *exposures) pledge(name, bank string) {
	p := pledge(name, bank, "-owed", uint64(m.epoch[bank]))
	code := m.submit(record.OrgID(bank), bank+"-app", "access:RegisterPledge", encode(m.t, p)).Code
	at := fmt.Sprint(name, m.epoch[bank])
	want := record.OK
	switch {
	case m.revoked[name]:
		want = record.CodeWrongState
	case m.pledged[at]:
		want = record.CodeAlreadyExists
	}
	if code != want {
		m.t.Fatalf("pledge of %s: %s, want %s", name, code, want)
	}
	if code == record.OK {
		m.pledged[at] = true
	}
}

func (m *exposures) step(s *totals, met map[record.Code]int) {
	bank := m.banks[m.rng.IntN(len(m.banks))]
	switch k := m.rng.IntN(40); {
	case k == 0:
		m.epoch[bank]++
		m.must(record.OrgID(bank), bank+"-app", "catalog:OpenEpoch", bank+"-loans", fmt.Sprint(m.epoch[bank]))
	case k == 1 && m.rng.IntN(3) == 0 && !m.revoked[s.name+"/"+bank]:
		m.revoked[s.name+"/"+bank] = true
		m.must(record.OrgID(bank), bank+"-app", "consent:Revoke", string(consentOf(s.name+"/"+bank)), string(record.ByParty),
			string(record.ReasonServiceEnded), encode(m.t, &record.Evidence{EvidenceHash: hashOf("x")}))
	case k < 20:
		m.pledge(s.name+"/"+bank, bank)
	default:
		m.ask(s, met)
	}
}

func (m *exposures) ask(s *totals, met map[record.Code]int) {
	banks := slices.Clone(m.banks)
	m.rng.Shuffle(len(banks), func(i, j int) { banks[i], banks[j] = banks[j], banks[i] })
	banks = banks[:3+m.rng.IntN(3)]
	slices.Sort(banks)
	var names, figures []string
	for _, bank := range banks {
		names = append(names, s.name+"/"+bank)
		figures = append(figures, fmt.Sprint(bank, "/", m.epoch[bank]))
	}
	r := m.must("lender-a", "lender-a-app", "access:RequestExposure", encode(m.t, exposure("-owed", names)))
	e := load[record.Exposure](m.t, []byte(r.Payload))
	want := m.expected(s, banks, names, figures)
	for i := range e.Seats {
		seat := &e.Seats[i]
		if string(seat.Bank) != banks[i] || seat.Code != want[i] {
			m.t.Fatalf("%s after %v, asked %v: bank %s is %s, want %s", s.name, s.sets, figures, seat.Bank, seat.Code, want[i])
		}
		met[seat.Code]++
		m.requests[names[i]]++
		if seat.Code == record.CodePermit {
			m.uses[names[i]]++
		}
	}
	permit := want[0] == record.CodePermit
	if permit != (e.Decision == record.Permit) {
		m.t.Fatalf("%s: %s", figures, e.Decision)
	}
	if permit && !slices.ContainsFunc(s.sets, func(known []string) bool { return slices.Equal(known, figures) }) {
		s.sets = append(s.sets, figures)
	}
}

func (m *exposures) expected(s *totals, banks, names, figures []string) []record.Code {
	out, denied := make([]record.Code, len(banks)), false
	for i, name := range names {
		switch {
		case m.revoked[name]:
			out[i], denied = record.CodeConsentRevoked, true
		case !m.pledged[fmt.Sprint(name, m.epoch[banks[i]])]:
			out[i], denied = record.CodeNoPledge, true
		}
	}
	otherwise := record.CodePermit
	known := slices.ContainsFunc(s.sets, func(k []string) bool { return slices.Equal(k, figures) })
	if denied {
		otherwise = record.CodeSetIncomplete
	} else if !known && singlesOut(append(slices.Clone(s.sets), figures)) {
		otherwise = record.CodeSetTooClose
	}
	for i := range out {
		if out[i] == "" {
			out[i] = otherwise
		}
	}
	return out
}

// singlesOut tries every sum of the totals with multiples from −3 to 3 and looks
// whether it is about one bank alone, or would be if figures did not change from
// epoch to epoch. Of five sets no relation needs larger multiples: they are
// determinants of at most four rows of zeros and ones.
func singlesOut(sets [][]string) bool {
	byBank := func(figure string) string { return figure[:2] }
	byFigure := func(figure string) string { return figure }
	return aboutOne(sets, byBank) || aboutOne(sets, byFigure)
}

func aboutOne(sets [][]string, name func(string) string) bool {
	place := map[string]int{}
	var owner []byte // of each place: the bank's digit
	rows := make([][]int, len(sets))
	for i, set := range sets {
		for _, figure := range set {
			if _, known := place[name(figure)]; !known {
				place[name(figure)] = len(owner)
				owner = append(owner, figure[1])
			}
			rows[i] = append(rows[i], place[name(figure)])
		}
	}
	sum := make([]int, len(owner))
	add := func(row []int, times int) {
		for _, p := range row {
			sum[p] += times
		}
	}
	var try func(i int) bool
	try = func(i int) bool {
		if i == len(rows) {
			return ofOne(sum, owner)
		}
		defer add(rows[i], -3)
		add(rows[i], -4)
		for range 7 {
			add(rows[i], 1)
			if try(i + 1) {
				return true
			}
		}
		return false
	}
	return try(0)
}

// ofOne reports whether what is not zero belongs to one bank, and there is some.
func ofOne(sum []int, owner []byte) bool {
	bank := byte(0)
	for p, n := range sum {
		if n == 0 {
			continue
		}
		if bank != 0 && owner[p] != bank {
			return false
		}
		bank = owner[p]
	}
	return bank != 0
}

// checkUses holds every consent's account of its use against what was asked.
func (m *exposures) checkUses() {
	for name, n := range m.requests {
		u := load[record.Usage](m.t, m.State[record.UsageKey(consentOf(name))])
		if u.Requests != n || u.Uses != m.uses[name] {
			m.t.Errorf("%s: %d requests and %d uses, want %d and %d", name, u.Requests, u.Uses, n, m.uses[name])
		}
	}
}
