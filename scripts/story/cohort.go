package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/scripts/scan"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// sceneCohort is the scenario of statistics over several banks.
const sceneCohort = "cohort"

// statBanks are its banks; each has a third of the customers.
var statBanks = []string{"city-bank", "harbour-bank", "lake-bank"}

// lateFrom is how many months behind a customer of the cohort is at least.
const lateFrom = 2

// surveyed is what --scenario cohort --json prints.
type surveyed struct {
	Banks             []string          `json:"banks"`
	Customers         int               `json:"customers"` // loaded, over all banks
	Epsilon           float64           `json:"epsilon"`   // of one answer
	EpsilonOfYear     float64           `json:"epsilonOfYear"`
	K                 uint64            `json:"k"`
	Answer            statistics        `json:"answer"`
	TooFew            bool              `json:"tooFew"` // a cohort of nobody: nothing was released
	Dropped           dropped           `json:"dropped"`
	Exhausted         exhausted         `json:"exhausted"`
	Verified          []string          `json:"verified"` // what the lender's client checked
	Saw               map[string]string `json:"saw"`      // by party
	PiecesSearched    int               `json:"piecesSearched"`
	FiguresFound      int               `json:"figuresFound"` // a bank's figure without noise, anywhere
	PersonalDataFound int               `json:"personalDataFound"`
	PlantedValueFound bool              `json:"plantedValueFound"`

	truth []cohortTruth // by bank; told to nobody
}

// statistics is the answer beside what the vaults hold, which only the teller knows.
type statistics struct {
	CohortID   string   `json:"cohortId"`
	Count      noised   `json:"count"`
	MeanLimit  noised   `json:"meanLimit"`
	Ages       []noised `json:"ages"` // below 30, 30, 40, 50, from 60
	Receipts   int      `json:"receipts"`
	OpenedMs   float64  `json:"openedMs"`
	VerifiedMs float64  `json:"verifiedMs"`
}

type noised struct {
	Told     float64    `json:"told"`
	Interval [2]float64 `json:"interval95"`
	Real     float64    `json:"real"` // of the vaults: for the story, nobody is told
}

func noisedOf(told, deviation, truth float64) noised {
	low, high := sdk.Interval95(told, deviation)
	return noised{told, [2]float64{low, high}, truth}
}

type exhausted struct {
	Decision string  `json:"decision"`
	Code     string  `json:"code"`
	Left     float64 `json:"epsilonLeft"` // of every bank
}

// cohortTruth is what one bank's vault says of the cohort.
type cohortTruth struct {
	count, limits int
	ages          [5]int
}

// makeStatNetwork founds three banks and a lender, and loads a third of the customers
// into each bank's vault.
func (t *teller) makeStatNetwork(ctx context.Context) (err error) {
	if t.opts.data != "" {
		t.people, err = readPopulation(t.opts.data, t.opts.seed)
	} else {
		t.people = samplePopulation(t.opts.rows, t.opts.seed)
	}
	if err != nil {
		return err
	}
	v := &surveyed{
		Customers: len(t.people), Epsilon: float64(testnet.StatsEpsilon) / 1e6, EpsilonOfYear: float64(testnet.StatsBudget) / 1e6, K: testnet.StatsK,
		truth: make([]cohortTruth, len(statBanks)),
	}
	t.surveyed = v
	t.chapter("Four organisations found a network: three banks, and a lender that has no data at all.")
	m := testnet.Manifest{Network: "cohort", Members: []testnet.ManifestMember{{ID: lender, Name: "Quick Loan 快贷", Roles: []string{"DATA_CONSUMER"}, Validators: 1}}}
	for b, bank := range statBanks {
		vault := testnet.StatsVault(bank, filepath.Join(t.dir, "vault-"+bank+".db"))
		var csv strings.Builder
		csv.WriteString(testnet.StatsHeader)
		rows := 0
		for i := b; i < len(t.people); i += len(statBanks) {
			c := &t.people[i]
			age, limit, late := c.figure("AGE"), c.figure("LIMIT_BAL"), max(c.figure("PAY_0"), 0)
			testnet.StatsRow(&csv, c.identity, age, limit, late)
			rows++
			if late >= lateFrom {
				v.truth[b].count++
				v.truth[b].limits += limit
				v.truth[b].ages[min(max(age/10-2, 0), 4)]++
			}
		}
		if err := testnet.LoadVault(ctx, vault, strings.NewReader(csv.String())); err != nil {
			return fmt.Errorf("load customers of %s: %w", bank, err)
		}
		v.Banks = append(v.Banks, bank)
		t.say("%s: %d customers with age, limit and months behind, in its own vault", bank, rows)
		m.Members = append(m.Members, testnet.ManifestMember{ID: bank, Name: bank, Roles: []string{"DATA_PROVIDER"}, Vaults: []config.Vault{vault}, Validators: 1})
	}
	program := t.opts.program
	if program == "" {
		if program, err = testnet.Build(ctx, t.dir); err != nil {
			return err
		}
	}
	if t.net, err = testnet.Create(ctx, filepath.Join(t.dir, "net"), program, m); err != nil {
		return err
	}
	if err := t.net.Up(ctx); err != nil {
		return err
	}
	for _, bank := range statBanks {
		if err := t.net.PublishStats(ctx, bank, testnet.StatsBudget, sdk.WithMiddleware(t.replies.wrap)); err != nil {
			return err
		}
	}
	t.say("Two officers of each bank approve one question: of customers so many months behind, their number, mean limit and ages.")
	t.say("One answer takes epsilon %g of the %g that each bank's product has for the year, over all lenders; none is of fewer than %d people.", v.Epsilon, v.EpsilonOfYear, v.K)
	return nil
}

// tellCohort: an answer, a cohort of nobody, a bank that is away, an exhausted account.
func (t *teller) tellCohort(ctx context.Context) error {
	lend, err := t.net.Client(ctx, lender, "integration", sdk.WithMiddleware(t.replies.wrap))
	if err != nil {
		return err
	}
	defer lend.Close()
	if err := t.askStatistics(ctx, lend); err != nil {
		return err
	}
	v := t.surveyed
	_, err = lend.Cohort(ctx, testnet.LatePayers(9, statBanks...))
	var none *sdk.NoStatistics
	if !errors.As(err, &none) || !none.TooFew {
		return fmt.Errorf("a cohort of nobody: %w", err)
	}
	v.TooFew = true
	t.chapter("%s asks for those nine months behind: fewer than %d people, say the banks among themselves, and release nothing.", lender, none.K)

	away := t.net.First(statBanks[1])
	if err := away.StopNode(); err != nil {
		return err
	}
	short := testnet.LatePayers(lateFrom, statBanks...)
	short.Deadline = 10 * time.Second
	_, err = lend.Cohort(ctx, short)
	if !errors.As(err, &none) || len(none.Faults) == 0 || string(none.Faults[0].Bank) != statBanks[1] || none.Faults[0].Kind != cohort.Missing {
		return fmt.Errorf("a bank that is away: %w", err)
	}
	v.Dropped = dropped{Bank: string(none.Faults[0].Bank), Kind: string(none.Faults[0].Kind), Retryable: none.Retryable()}
	t.chapter("%s stops its node; %s asks all the same.", statBanks[1], lender)
	t.say("No statistics: %s. The others kept their figures to themselves.", none.Faults[0])
	if err := t.net.Start(ctx, func(x *testnet.Node) bool { return x == away }); err != nil {
		return err
	}

	r, err := lend.Cohort(ctx, testnet.LatePayers(lateFrom, statBanks...))
	if err != nil {
		return err
	}
	seats := r.Decision.Record.Seats
	v.Exhausted = exhausted{"DENY", string(r.Decision.Code), float64(seats[0].Left()) / 1e6}
	if r.Decision.Permit || r.Decision.Code != record.CodeEpsilonExhausted {
		return fmt.Errorf("a fourth answer was decided %s", r.Decision.Code)
	}
	t.chapter("A fourth answer: denied by the ledger, %s. Each bank has %g left of %g, until 1 January.", r.Decision.Code, v.Exhausted.Left, v.EpsilonOfYear)
	v.Verified = []string{
		"the frozen set, its plan and the debit of every bank, certified by a quorum", "each bank's two shares: what its certified receipt commits to",
		"the shares: of this request, in one version to lender and banks, with masks that cancel", "the count: at least k by its noised value",
	}
	v.Saw = map[string]string{
		"lender":       "the noised count, mean and ages of all three banks together, and six shares that are noise without each other",
		"banks":        "each: the question, who asked, and the noised count of all",
		"otherMembers": "question, plan, debits and receipts; no figure",
		"leaks":        "of one customer of an honest bank: no more than a factor e^epsilon, to the lender and all banks but two; that the banks' data are true nobody proves",
	}
	return nil
}

// askStatistics asks once and holds the answer against the vaults, which only the
// teller can.
func (t *teller) askStatistics(ctx context.Context, lend *sdk.Client) error {
	v := t.surveyed
	r, err := lend.Cohort(ctx, testnet.LatePayers(lateFrom, statBanks...))
	if err != nil {
		return fmt.Errorf("ask for statistics: %w", err)
	}
	if !r.Decision.Permit || r.Verified == nil {
		return fmt.Errorf("statistics were decided %s", r.Decision.Code)
	}
	var all cohortTruth
	for _, b := range v.truth {
		all.count, all.limits = all.count+b.count, all.limits+b.limits
		for i := range all.ages {
			all.ages[i] += b.ages[i]
		}
	}
	s := r.Statistics
	v.Answer = statistics{
		CohortID: r.Decision.ID.Hex(), Count: noisedOf(float64(s.Count), s.Deviation, float64(all.count)),
		MeanLimit: noisedOf(math.Round(s.Figures[0].Mean), s.Figures[0].Deviation, math.Round(float64(all.limits)/float64(max(all.count, 1)))),
		Receipts:  len(r.Verified.Receipts), OpenedMs: ms(r.Timing.Opened), VerifiedMs: ms(r.Timing.Verified),
	}
	for i, n := range s.Figures[1].Buckets {
		v.Answer.Ages = append(v.Answer.Ages, noisedOf(float64(n), s.Figures[1].Deviation, float64(all.ages[i])))
	}
	t.chapter("%s asks all three about customers at least %d months behind.", lender, lateFrom)
	t.say("people       %s", v.Answer.Count)
	t.say("mean limit   %s", v.Answer.MeanLimit)
	for i, name := range []string{"below 30", "30 to 39", "40 to 49", "50 to 59", "from 60"} {
		t.say("age %s %s", name, v.Answer.Ages[i])
	}
	t.say("Opened after %.1f ms, verified after %.1f ms. What one bank has of it, nobody is told; what all have is in brackets for you alone.", v.Answer.OpenedMs, v.Answer.VerifiedMs)
	for _, x := range append([]noised{v.Answer.Count}, v.Answer.Ages...) {
		if math.Abs(x.Told-x.Real) > 8*(x.Interval[1]-x.Interval[0]) {
			return fmt.Errorf("told %v where the vaults have %v", x.Told, x.Real)
		}
	}
	return nil
}

func (n noised) String() string {
	return fmt.Sprintf("%8.0f   between %.0f and %.0f (really %.0f)", n.Told, n.Interval[0], n.Interval[1], n.Real)
}

// searchSums stops the nodes and looks for identities, and for what one bank's
// customers of the cohort have together, in everything that nodes keep and say.
func (t *teller) searchSums(ctx context.Context) error {
	if err := t.net.Stop(); err != nil {
		return err
	}
	needles, sums := scan.New(), scan.New()
	for i := range t.people {
		if err := needles.Add("identity number", t.people[i].identity); err != nil {
			return err
		}
	}
	v := t.surveyed
	var planted []byte
	for _, b := range v.truth {
		n := uint64(b.limits)
		if n < 10_000_000 {
			return fmt.Errorf("a bank's sum is %d: too short to be told from chance in a search: give more --rows, or a larger file", n)
		}
		planted = binary.BigEndian.AppendUint64(nil, n)
		if err := errors.Join(sums.Add("sum of a bank", strconv.FormatUint(n, 10)), sums.Add("sum of a bank, big endian", string(planted)),
			sums.Add("sum of a bank, little endian", string(binary.LittleEndian.AppendUint64(nil, n)))); err != nil {
			return err
		}
	}
	places := []scan.Rows{t.replies.rows}
	for _, x := range t.net.Nodes {
		places = append(places, nodePlaces(ctx, x)...)
	}
	for _, look := range []struct {
		needles *scan.Needles
		into    *int
	}{{needles, &v.PersonalDataFound}, {sums, &v.FiguresFound}} {
		found, pieces, err := look.needles.Scan(places)
		if err != nil {
			return err
		}
		for _, f := range found {
			*look.into += f.Times
			t.say("FOUND %s in %s", f.What, f.Where)
		}
		v.PiecesSearched += pieces
	}
	path := filepath.Join(t.dir, "planted.log")
	if err := os.WriteFile(path, planted, 0o600); err != nil {
		return err
	}
	found, _, err := sums.Scan([]scan.Rows{scan.FileRows(t.dir, func(p string) bool { return p == path })})
	if err != nil {
		return err
	}
	v.PlantedValueFound = len(found) > 0
	t.chapter("Searched %d rows, log files and API replies of all nodes for %d identity numbers and each bank's sum without noise:", v.PiecesSearched, len(t.people))
	t.say("%d and %d found. (A planted sum is found: %t.)", v.PersonalDataFound, v.FiguresFound, v.PlantedValueFound)
	if v.PersonalDataFound > 0 || v.FiguresFound > 0 || !v.PlantedValueFound {
		return errors.New("the search for figures failed")
	}
	return os.Remove(path)
}
