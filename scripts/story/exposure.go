package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/scripts/scan"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

// sceneExposure is the scenario of a total over several banks.
const sceneExposure = "exposure"

// The banks of the scenario, and the lender, which has no data.
var loanBanks = []string{"city-bank", "harbour-bank", "lake-bank", "river-bank"}

// strangerAt is the bank at which the borrower is nobody's customer.
const strangerAt = 3

// exposed is what --scenario exposure --json prints.
type exposed struct {
	Banks             []string          `json:"banks"`
	Accounts          int               `json:"accounts"` // loaded, over all banks
	Answer            totalled          `json:"answer"`
	Again             totalled          `json:"again"` // the same set once more
	OneBankLess       decision          `json:"oneBankLess"`
	Dropped           dropped           `json:"dropped"`
	Verified          []string          `json:"verified"` // what the lender's client checked
	Saw               map[string]string `json:"saw"`      // by party
	PiecesSearched    int               `json:"piecesSearched"`
	FiguresFound      int               `json:"figuresFound"` // outside the bank whose figure it is
	PersonalDataFound int               `json:"personalDataFound"`
	PlantedValueFound bool              `json:"plantedValueFound"`

	owed map[string]uint64 // by bank; told to nobody
}

type totalled struct {
	Total      uint64  `json:"total"` // in hundredths
	True       bool    `json:"true"`  // it is what the vaults hold together
	Banks      int     `json:"banks"`
	Receipts   int     `json:"receipts"` // certified, each committing to a share
	ExposureID string  `json:"exposureId"`
	OpenedMs   float64 `json:"openedMs"`
	VerifiedMs float64 `json:"verifiedMs"`
}

// dropped is what a lender gets while one bank is away.
type dropped struct {
	Bank      string `json:"bank"`
	Kind      string `json:"kind"`
	Released  bool   `json:"released"` // anything added up
	Retryable bool   `json:"retryable"`
}

// exposureKeys is the folder of the range proofs' keys.
const exposureKeys = "node/query/exposure/testdata/keys"

// makeLoanNetwork founds four banks and a lender, and loads the banks' vaults.
func (t *teller) makeLoanNetwork(ctx context.Context) error {
	keys, err := filepath.Abs(exposureKeys)
	if err != nil {
		return err
	}
	if err := t.loanPeople(); err != nil {
		return err
	}
	t.chapter("Five organisations found a network: four banks, and a lender that has no data at all.")
	m := testnet.Manifest{Network: "exposure", ExposureKeys: keys, Members: []testnet.ManifestMember{
		{ID: lender, Name: "Quick Loan 快贷", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
	}}
	v := t.exposed
	for i, bank := range loanBanks {
		vault := testnet.LoansVault(bank, filepath.Join(t.dir, "vault-"+bank+".db"))
		rows := t.loansOf(i)
		if err := testnet.LoadLoans(ctx, vault, rows); err != nil {
			return fmt.Errorf("load loans of %s: %w", bank, err)
		}
		v.Banks, v.Accounts = append(v.Banks, bank), v.Accounts+len(rows)
		t.say("%s: %d customers and what each owes, in its own vault", bank, len(rows))
		m.Members = append(m.Members, testnet.ManifestMember{ID: bank, Name: bank, Roles: []string{"DATA_PROVIDER"}, Vaults: []config.Vault{vault}, Validators: 1})
	}
	program := t.opts.program
	if program == "" {
		if program, err = testnet.Build(ctx, t.dir); err != nil {
			return err
		}
	}
	t.net, err = testnet.Create(ctx, filepath.Join(t.dir, "net"), program, m)
	if err != nil {
		return err
	}
	if err := t.net.Up(ctx); err != nil {
		return err
	}
	for _, bank := range loanBanks {
		if err := t.net.PublishLoans(ctx, bank, sdk.WithMiddleware(t.replies.wrap)); err != nil {
			return err
		}
	}
	t.say("The keys of the range proofs are those of the tests: a real network makes its own, assent exposure ceremony.")
	return nil
}

// leastOwed is what the borrower owes at least to a bank, in hundredths: eight digits,
// which a search tells from chance.
const leastOwed = 10_000_000

// loanPeople reads or invents the customers and picks the borrower.
func (t *teller) loanPeople() error {
	var err error
	if t.opts.data != "" {
		t.people, err = readPopulation(t.opts.data, t.opts.seed)
	} else {
		t.people = samplePopulation(t.opts.rows, t.opts.seed)
	}
	if err != nil {
		return err
	}
	t.exposed = &exposed{owed: make(map[string]uint64)}
	for i := range t.people {
		rich := true
		for bank := range loanBanks {
			rich = rich && (bank == strangerAt || owedTo(&t.people[i], bank) >= leastOwed)
		}
		if rich {
			t.cast.borrower = &t.people[i]
			break
		}
	}
	if t.cast.borrower == nil {
		return errors.New("no row owes 100,000 in each of BILL_AMT1 to BILL_AMT3: give more rows")
	}
	for bank, name := range loanBanks {
		if bank != strangerAt {
			t.exposed.owed[name] = uint64(owedTo(t.cast.borrower, bank))
		}
	}
	return nil
}

// owedTo is what a customer owes to a bank, in hundredths: the bill of its row of one
// month for each bank, BILL_AMT1 to BILL_AMT4. Who is in credit owes nothing.
func owedTo(c *customer, bank int) int64 {
	for i, name := range figureColumns {
		if name == fmt.Sprintf("BILL_AMT%d", bank+1) {
			n, _ := strconv.ParseInt(c.figures[i], 10, 64) // a number when it was read
			return max(n, 0) * 100
		}
	}
	return 0
}

// loansOf are the accounts of a bank: the borrower's unless it is a stranger there, and
// those of three customers in five.
func (t *teller) loansOf(bank int) map[string]int64 {
	out := make(map[string]int64)
	for i := range t.people {
		c := &t.people[i]
		h := fnv.New32a()
		fmt.Fprintf(h, "%s %d", c.identity, bank)
		if c == t.cast.borrower && bank != strangerAt || c != t.cast.borrower && h.Sum32()%5 < 3 {
			out[c.identity] = owedTo(c, bank)
		}
	}
	return out
}

// tellExposure: the lender learns the total, asks again, tries a smaller set, and asks
// while a bank is away.
func (t *teller) tellExposure(ctx context.Context) error {
	key, err := testnet.ExposureKey(exposureKeys)
	if err != nil {
		return err
	}
	lend, err := t.net.Client(ctx, lender, "integration", key, sdk.WithMiddleware(t.replies.wrap))
	if err != nil {
		return err
	}
	defer lend.Close()
	items, err := t.agreeOnSet(ctx, lend)
	if err != nil {
		return err
	}
	v, q := t.exposed, sdk.ExposureRequest{Items: items, Purpose: record.CreditChecking}
	t.chapter("%s asks what the borrower owes to all four together.", lender)
	if v.Answer, err = t.total(ctx, lend, q); err != nil {
		return err
	}
	t.say("%s, of four banks. Which bank has what part of it, or none, nobody is told.", hundredths(v.Answer.Total))
	t.say("Opened after %.1f ms, verified after %.1f ms: every share against its pledge, %d receipts against a quorum's votes.", v.Answer.OpenedMs, v.Answer.VerifiedMs, v.Answer.Receipts)
	if v.Again, err = t.total(ctx, lend, q); err != nil {
		return err
	}
	t.say("Asked again it is the same: it tells nothing new.")

	less, err := lend.Exposure(ctx, sdk.ExposureRequest{Items: items[:3], Purpose: q.Purpose})
	if err != nil {
		return fmt.Errorf("ask one bank less: %w", err)
	}
	v.OneBankLess = decision{"DENY", string(less.Decision.Code)}
	if less.Decision.Permit || less.Decision.Code != record.CodeSetTooClose {
		return fmt.Errorf("a set with one bank less was decided %s", less.Decision.Code)
	}
	t.chapter("%s asks without %s: the difference would be that bank's figure. Denied, %s.", lender, loanBanks[strangerAt], less.Decision.Code)
	return t.dropBank(ctx, lend, q)
}

// agreeOnSet: the subject is known at three banks, and its wallet agrees to all four.
func (t *teller) agreeOnSet(ctx context.Context, lend *sdk.Client) ([]sdk.ExposureItem, error) {
	subject, err := wallet.Create(filepath.Join(t.dir, "wallet.json"), "a password")
	if err != nil {
		return nil, err
	}
	identity := t.cast.borrower.identity
	for bank, name := range loanBanks {
		if bank == strangerAt {
			continue
		}
		if err := t.net.BindWallet(ctx, name, identity, subject, sdk.WithMiddleware(t.replies.wrap)); err != nil {
			return nil, fmt.Errorf("bind wallet at %s: %w", name, err)
		}
	}
	items, err := t.net.AgreeOnSet(ctx, lend, subject, identity, loanBanks...)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := testnet.AwaitPledges(wait, lend, items, 1); err != nil {
		return nil, err
	}
	t.chapter("The borrower's wallet agrees to a total over all four, with one fresh key.")
	t.say("Each bank commits to its figure before anybody asks (all had after %.1f s); %s, where the borrower is unknown, to zero, in the same bytes.", time.Since(began).Seconds(), loanBanks[strangerAt])
	return items, nil
}

// total asks once and holds the answer against the vaults, which only the teller can.
func (t *teller) total(ctx context.Context, lend *sdk.Client, q sdk.ExposureRequest) (totalled, error) {
	r, err := lend.Exposure(ctx, q)
	if err != nil {
		return totalled{}, fmt.Errorf("ask for the total: %w", err)
	}
	var want uint64
	for _, amount := range t.exposed.owed {
		want += amount
	}
	if !r.Decision.Permit || r.Verified == nil || r.Total != want {
		return totalled{}, fmt.Errorf("the total was decided %s and is %d, want %d", r.Decision.Code, r.Total, want)
	}
	return totalled{
		Total: r.Total, True: true, Banks: len(r.Decision.Record.Seats), Receipts: len(r.Verified.Receipts), ExposureID: r.Decision.ID.Hex(),
		OpenedMs: ms(r.Timing.Opened), VerifiedMs: ms(r.Timing.Verified),
	}, nil
}

// dropBank: without one bank there is no total, and the lender knows why.
func (t *teller) dropBank(ctx context.Context, lend *sdk.Client, q sdk.ExposureRequest) error {
	away := t.net.First(loanBanks[1])
	if err := away.StopNode(); err != nil {
		return err
	}
	t.chapter("%s stops its node; %s asks all the same.", loanBanks[1], lender)
	short := q
	short.Deadline = 2 * time.Second
	_, err := lend.Exposure(ctx, short)
	var none *sdk.NoTotal
	if !errors.As(err, &none) || len(none.Faults) != 1 || string(none.Faults[0].Bank) != loanBanks[1] || none.Faults[0].Kind != exposure.Missing {
		return fmt.Errorf("a bank that is away: %w", err)
	}
	t.exposed.Dropped = dropped{Bank: string(none.Faults[0].Bank), Kind: string(none.Faults[0].Kind), Retryable: none.Retryable()}
	t.say("No total: %s. Three shares alone are noise, and nothing was added up.", none.Faults[0])
	if err := t.net.Start(ctx, func(x *testnet.Node) bool { return x == away }); err != nil {
		return err
	}
	if _, err := t.total(ctx, lend, q); err != nil {
		return err
	}
	t.say("It starts again, and the same set is answered again.")
	t.exposed.Verified = []string{
		"the frozen set and its pledges, certified by a quorum", "each pledge: committed before the question, in range by its proof",
		"each share: its pledge plus masks that cancel", "each share: what its bank's certified receipt commits to", "the sum opens the sum of the pledges",
	}
	t.exposed.Saw = map[string]string{
		"lender":       "the total, the names of the banks, and four shares that are noise without each other",
		"banks":        "each: its own figure, that this lender asked for a total, and who else was asked",
		"otherMembers": "that a total was asked of these banks under one key, pledges' hashes and receipts; no figure, no total, no identity",
		"leaks":        "the total itself; a lender together with all banks but two learns what those two have together",
	}
	return nil
}

// searchFigures stops the nodes and looks for identities and figures in what they keep:
// ledger, logs and API replies hold nobody's, a node's private store only its own bank's.
func (t *teller) searchFigures(ctx context.Context) error {
	if err := t.net.Stop(); err != nil {
		return err
	}
	people := scan.New()
	for i := range t.people {
		if err := people.Add("identity number", t.people[i].identity); err != nil {
			return err
		}
	}
	all, err := t.figuresBut("")
	if err != nil {
		return err
	}
	v := t.exposed
	count := func(n *scan.Needles, places []scan.Rows, into *int) error {
		found, pieces, err := n.Scan(places)
		for _, f := range found {
			*into += f.Times
			t.say("FOUND %s in %s", f.What, f.Where)
		}
		v.PiecesSearched += pieces
		return err
	}
	public := []scan.Rows{t.replies.rows}
	for _, x := range t.net.Nodes {
		places := nodePlaces(ctx, x)
		private := places[3:4]
		public = append(append(public, places[:3]...), places[4:]...)
		others, err := t.figuresBut(x.Member)
		if err != nil {
			return err
		}
		if err := errors.Join(count(people, private, &v.PersonalDataFound), count(others, private, &v.FiguresFound)); err != nil {
			return err
		}
	}
	if err := errors.Join(count(people, public, &v.PersonalDataFound), count(all, public, &v.FiguresFound)); err != nil {
		return err
	}
	if v.PlantedValueFound, err = t.plantFigure(all); err != nil {
		return err
	}
	t.chapter("Searched %d rows, log files and API replies of all nodes for %d identity numbers and the borrower's three figures,", v.PiecesSearched, len(t.people))
	t.say("as text and as 8 bytes: %d and %d found outside the bank that has them. (A planted figure is found: %t.)", v.PersonalDataFound, v.FiguresFound, v.PlantedValueFound)
	if v.PersonalDataFound > 0 || v.FiguresFound > 0 || !v.PlantedValueFound {
		return errors.New("the search for figures failed")
	}
	return nil
}

// figuresBut are the borrower's figures at all banks but one.
func (t *teller) figuresBut(bank string) (*scan.Needles, error) {
	n := scan.New()
	for name, amount := range t.exposed.owed {
		if name == bank {
			continue
		}
		if err := errors.Join(
			n.Add("figure", strconv.FormatUint(amount, 10)), n.Add("figure, big endian", string(binary.BigEndian.AppendUint64(nil, amount))),
			n.Add("figure, little endian", string(binary.LittleEndian.AppendUint64(nil, amount))),
		); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// plantFigure reports whether the search finds a figure in each of its forms.
func (t *teller) plantFigure(n *scan.Needles) (bool, error) {
	path := filepath.Join(t.dir, "planted.log")
	amount := t.exposed.owed[loanBanks[0]]
	for _, b := range [][]byte{fmt.Appendf(nil, `{"owed":%d}`, amount), binary.BigEndian.AppendUint64(nil, amount), binary.LittleEndian.AppendUint64(nil, amount)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return false, err
		}
		found, _, err := n.Scan([]scan.Rows{scan.FileRows(t.dir, func(p string) bool { return p == path })})
		if err != nil || len(found) == 0 {
			return false, err
		}
	}
	return true, os.Remove(path)
}

// hundredths writes an amount with its decimals.
func hundredths(n uint64) string {
	s := fmt.Sprintf("%d.%02d", n/100, n%100)
	for i := strings.IndexByte(s, '.') - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
