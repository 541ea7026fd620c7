package node

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/fault"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/query/survey"
	"github.com/assent-network/assent/node/state"
)

// openSurvey opens this bank's part in statistics of cohorts.
func (n *Node) openSurvey(ctx context.Context) (*survey.Book, error) {
	return survey.Open(ctx, survey.Config{
		Store: n.private, Departures: departures{n.outbox}, Engine: n.engine, ChainID: n.chainID, Member: record.OrgID(n.member),
		Vault: n.countedVaults, DataKey: n.secrets.data.find, Clock: n.now, Logger: n.log,
		Finished: func(ctx context.Context, id record.RequestID) (bool, error) {
			_, _, done, err := n.answerer.Outcome(ctx, id) // opened after the survey, before it is asked
			return done, err
		},
	})
}

// surveyEvery is how often shares that are over are looked for, a bounded number each
// time.
const surveyEvery = 10 * time.Minute

// sweepSurvey forgets shares and counts of requests that are long over.
func (n *Node) sweepSurvey(ctx context.Context) error {
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	for {
		if _, err := n.survey.Sweep(ctx, n.over()); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// requestedCohort starts this bank's part of permitted statistics, if it has a seat.
func (n *Node) requestedCohort(ctx context.Context, o *state.Outcome, payload []byte, at time.Time) error {
	if n.permits == nil {
		return nil
	}
	c, err := record.Load[record.Cohort](payload)
	if err != nil {
		return fmt.Errorf("cohort event at height %d: %w", o.Height, err)
	}
	if c.Decision != record.Permit {
		return nil
	}
	for i := range c.Seats {
		if string(c.Seats[i].Bank) != n.member {
			continue
		}
		r, err := loadRecord[record.Request](n.state.View(), record.RequestKey(c.Seats[i].RequestID))
		if err != nil {
			return fmt.Errorf("seat %d of cohort %s: %w", i, c.CohortID, err)
		}
		p, err := n.permitOf(r, o, at)
		if err != nil {
			return fmt.Errorf("seat %d of cohort %s: %w", i, c.CohortID, err)
		}
		p.Anchor, p.Cohort = nil, c
		fault.Point("before-shares")
		return n.permits.start(ctx, p)
	}
	return nil
}

// countDomain begins a count of a cohort on its way: then the cohort's id and the
// share. A sealed part, which travels by the same protocol, is an RLP list.
const countDomain = "assent/cohort-count/1"

func joinCount(id record.Hash, share []byte) []byte {
	return append(append([]byte(countDomain), id[:]...), share...)
}

func splitCount(b []byte) (id record.Hash, share []byte, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte(countDomain))
	if !ok || len(rest) < len(id) {
		return id, nil, false
	}
	return record.Hash(rest[:len(id)]), rest[len(id):], true
}

func countItems(counts []survey.Count) []outbox.Item {
	items := make([]outbox.Item, len(counts))
	for i, c := range counts {
		items[i] = outbox.Item{
			ID: countItem + c.CohortID.Hex() + "/" + string(c.To), Kind: outbox.Count, Recipient: string(c.To),
			Payload: joinCount(c.CohortID, c.Share), Deadline: c.Deadline,
		}
	}
	return items
}

// PutCounts implements survey.Departures.
func (d departures) PutCounts(tx *sql.Tx, counts []survey.Count) error {
	err := d.box.Put(tx, countItems(counts)...)
	fault.Point("inside-shares")
	return err
}

// CountsCommitted implements survey.Departures.
func (d departures) CountsCommitted(counts []survey.Count) {
	fault.Point("after-shares")
	d.box.Committed(countItems(counts)...)
}

// takeCount keeps another bank's count of a permitted request.
func (n *Node) takeCount(ctx context.Context, from string, id record.Hash, share []byte) error {
	c, err := loadRecord[record.Cohort](n.state.View(), record.CohortKey(id))
	if errors.Is(err, errNoRecord) {
		return fmt.Errorf("cohort %s is not executed here yet", id) // this node may be behind
	}
	if err != nil {
		return err
	}
	err = n.survey.Take(ctx, c, record.OrgID(from), share)
	if errors.Is(err, survey.ErrRefused) {
		return fmt.Errorf("%w: %w", outbox.ErrRejected, err)
	}
	if err != nil {
		return err
	}
	for i := range c.Seats {
		if string(c.Seats[i].Bank) == n.member {
			n.answerer.Hurry(c.Seats[i].RequestID)
		}
	}
	return nil
}
