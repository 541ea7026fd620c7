package chaincode_test

import (
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/internal/memledger"
	"github.com/assent-network/assent/chaincode/record"
)

// A node delivers a transaction once and a Fabric peer refuses a second one of its id.
// The contract does not rely on either: what was debited is debited once.
func TestTheSameRequestForACohortDebitsOnce(t *testing.T) {
	w := newWorld(t)
	banks := []string{"b1", "b2", "b3"}
	w.foundBanks(banks)
	w.foundStatistics(banks)
	for _, bank := range banks {
		w.must(record.OrgID(bank), bank+"-app", "catalog:OpenEpoch", bank+"-stats", "1")
	}
	call := memledger.Call{
		Creator: record.NewCreator("lender-a", addressOf("lender-a-app")), TxID: w.nextTx(), Function: "access:RequestCohort",
		Args: []string{encode(t, cohortSpec(banks))},
	}
	var first string
	for i := range 3 {
		r, err := w.Submit(call)
		if err != nil || r.Code != record.OK {
			t.Fatalf("call %d: %+v %v", i, r, err)
		}
		if i == 0 {
			first = r.Payload
		}
		if r.Payload != first {
			t.Errorf("call %d said something else:\n%s", i, r.Payload)
		}
		for _, bank := range banks {
			a := load[record.EpsilonAccount](t, w.State[record.EpsilonKey(record.ProductID(bank+"-stats"), 2026)])
			if a.SpentMicro != 800_000 || a.Answers != 1 {
				t.Errorf("after call %d %s has %+v", i, bank, a)
			}
		}
		w.Now += 1000
	}
}

// One bank's exhausted account debits nobody, and says what each has left.
func TestAnExhaustedAccountDeniesTheWholeCohort(t *testing.T) {
	w := newWorld(t)
	banks := []string{"b1", "b2", "b3", "b4"}
	w.foundBanks(banks)
	w.foundStatistics(banks)
	for _, bank := range banks {
		w.must(record.OrgID(bank), bank+"-app", "catalog:OpenEpoch", bank+"-stats", "1")
	}
	ask := func(banks ...string) *record.Cohort {
		r := w.must("lender-a", "lender-a-app", "access:RequestCohort", encode(t, cohortSpec(banks)))
		return load[record.Cohort](t, []byte(r.Payload))
	}
	for range 2 {
		if c := ask("b1", "b2", "b3"); c.Decision != record.Permit {
			t.Fatalf("%+v", c)
		}
	}
	c := ask("b1", "b2", "b4")
	for i, want := range []struct {
		code record.Code
		left uint64
	}{{record.CodeEpsilonExhausted, 400_000}, {record.CodeEpsilonExhausted, 400_000}, {record.CodeSetIncomplete, 2_000_000}} {
		if s := &c.Seats[i]; s.Code != want.code || s.Left() != want.left {
			t.Errorf("%s: %s, %d left; want %s, %d", s.Bank, s.Code, s.Left(), want.code, want.left)
		}
	}
	if _, found := w.State[record.EpsilonKey("b4-stats", 2026)]; found {
		t.Error("a denial was debited")
	}
}

// The account is of the UTC year of the block. So two years' budgets, and no more, can
// be spent in any twelve months, in the worst case within minutes of New Year.
func TestAroundNewYearTwoBudgetsCanBeSpentAndNoThird(t *testing.T) {
	w := newWorld(t)
	eve := time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC)
	banks := []string{"b1", "b2", "b3"}
	w.foundBanks(banks)
	w.foundStatistics(banks)
	for _, bank := range banks {
		w.must(record.OrgID(bank), bank+"-app", "catalog:OpenEpoch", bank+"-stats", "1")
		key := record.DataKeyKey(record.OrgID(bank), "data")
		k := load[record.DataKey](t, w.State[key])
		k.ValidUntil = eve.AddDate(0, 0, 2).UnixMilli() // as if it had been renewed
		w.State[key] = []byte(encode(t, k))
	}
	for i, at := range []time.Time{eve, eve.Add(time.Minute)} {
		w.Now = at.UnixMilli()
		permits := 0
		for range 4 {
			r := w.must("lender-a", "lender-a-app", "access:RequestCohort", encode(t, cohortSpec(banks)))
			c := load[record.Cohort](t, []byte(r.Payload))
			if c.Year != uint64(2026+i) {
				t.Fatalf("at %s the account of %d is used", at, c.Year)
			}
			if c.Decision == record.Permit {
				permits++
				continue
			}
			if code := c.Seats[0].Code; code != record.CodeEpsilonExhausted || c.Seats[0].Left() >= 800_000 {
				t.Errorf("%s, %d left", code, c.Seats[0].Left())
			}
		}
		if permits != 2 {
			t.Errorf("%d answers of 0.8 out of 2.0 in %d", permits, 2026+i)
		}
	}
}
