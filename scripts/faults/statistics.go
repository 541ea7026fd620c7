package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// statistics are deaths of a bank between the PERMIT of statistics and its part in them.
var statistics = []scenario{
	{name: "point-statistics", about: "death of a bank between the PERMIT of statistics and its part: one part of each bank, drawn once", tagged: true,
		prepare: dying(bank, sharePoints[0]), disturb: dieBetweenShares, examine: drawnOnce},
	{name: "capture", about: "what every node receives from others during statistics and queries names nobody and holds no figure", tagged: true,
		prepare: capturing, disturb: askWhileCapturing, examine: nothingCaptured},
}

// sharePoints are in the order in which a part comes to be.
var sharePoints = []string{"before-shares", "inside-shares", "after-shares", "after-count"}

// statBudget pays for one answer at each point and then some.
const statBudget = 10 * testnet.StatsEpsilon

// fillStatistics gives the banks of statistics vaults with people to count.
func (w *world) fillStatistics(ctx context.Context, m *testnet.Manifest) error {
	for i := range m.Members {
		x := &m.Members[i]
		at := slices.Index(counting, x.ID)
		if at < 0 {
			continue
		}
		v := testnet.StatsVault(x.ID, filepath.Join(w.dir, x.ID+"-people.db"))
		var csv strings.Builder
		csv.WriteString(testnet.StatsHeader)
		for k := range counted {
			testnet.StatsRow(&csv, statPerson(at, k), 25+10*(k%3), statLimit(at, k), 2)
		}
		if err := testnet.LoadVault(ctx, v, strings.NewReader(csv.String())); err != nil {
			return err
		}
		x.Vaults = append(x.Vaults, v)
	}
	return nil
}

// counted is how many people each bank counts.
const counted = 400

// statPerson identifies a person of a bank, and statLimit is their figure: no two are
// alike, so that whoever comes upon one knows whose it is.
func statPerson(bank, k int) string { return fmt.Sprintf("9%03d%06d", bank, k) }
func statLimit(bank, k int) int     { return 73_000_019 + 7919*(counted*bank+k) }

// dieBetweenShares has a lender ask for statistics once for each point, at which the
// bank dies and comes back in time: every time there are statistics, of three banks, and
// nobody is at fault. A bank that drew its noise twice would have told others two counts.
func dieBetweenShares(ctx context.Context, p *play) error {
	type result struct {
		r   *sdk.CohortResult
		err error
	}
	lend, err := p.net.Client(ctx, lenders[0], "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	for i, point := range sharePoints {
		ticket, err := lend.Cohorts().Prepare(ctx, testnet.LatePayers(2, counting...))
		if err != nil {
			return err
		}
		x, err := p.arm(ctx)
		if err != nil {
			return err
		}
		told := make(chan result, 1)
		go func() {
			r, err := lend.Cohorts().Run(ctx, ticket)
			told <- result{r, err}
		}()
		if err := p.dies(ctx, x, point); err != nil {
			return err
		}
		p.armed = false
		delete(p.starts, x.Name)
		if i+1 < len(sharePoints) {
			if err := p.faulty(ctx, x, "kill="+sharePoints[i+1]+":1"); err != nil {
				return err
			}
		}
		if err := p.again(ctx, x); err != nil {
			return err
		}
		select {
		case t := <-told:
			if t.err != nil {
				return fmt.Errorf("statistics after a death at %s: %w", point, t.err)
			}
			if !t.r.Decision.Permit || t.r.Statistics == nil || len(t.r.Verified.Receipts) != len(counting) {
				return fmt.Errorf("statistics after a death at %s: %s", point, t.r.Decision.Code)
			}
			if n := t.r.Statistics.Count; n < 1000 || n > 1400 { // 1,200 and noise of a few
				return fmt.Errorf("statistics after a death at %s: %d people of 1200", point, n)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// drawnOnce: each bank keeps one pair of shares for each request, and every other bank
// has the very count of it, in one version.
func drawnOnce(ctx context.Context, p *play) error {
	made, came := map[string][]byte{}, map[string][]byte{} // by request and bank; … and by whom
	for _, member := range counting {
		if err := p.readShares(ctx, p.net.First(member), made, came); err != nil {
			return err
		}
	}
	if len(made) != len(sharePoints)*len(counting) || len(came) != len(made)*(len(counting)-1) {
		return fmt.Errorf("%d pairs of shares and %d counts of others are kept, of %d requests", len(made), len(came), len(sharePoints))
	}
	for key, share := range came {
		from, _, _ := strings.Cut(key, " at ")
		if !bytes.Equal(share, made[from]) {
			return fmt.Errorf("the count of %s is another than the bank keeps", key)
		}
	}
	fmt.Fprintf(os.Stderr, "  %d parts were drawn once, and the other banks have their very counts\n", len(made))
	return nil
}

func (p *play) readShares(ctx context.Context, x *testnet.Node, made, came map[string][]byte) (err error) {
	db, err := private(x)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT hex(cohort), ?1, counted, '' FROM survey_shares UNION ALL SELECT hex(cohort), bank, share, ?1 FROM survey_counts`, x.Member)
	if err != nil {
		return fmt.Errorf("shares of %s: %w", x.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, of, at string
		var share []byte
		if err := rows.Scan(&id, &of, &share, &at); err != nil {
			return err
		}
		key, into := id+" of "+of, made
		if at != "" {
			key, into = key+" at "+at, came
		}
		if _, twice := into[key]; twice {
			return fmt.Errorf("%s keeps two versions of the count of %s", x.Name, key)
		}
		into[key] = share
	}
	return rows.Err()
}
