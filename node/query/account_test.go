package query_test

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/assent-network/assent/chaincode/record"
)

// question is a template of the model: what it reads and how many outputs it has.
type question struct {
	id      string
	columns []string
	outputs int
}

var questions = []question{
	{"one-bit", []string{"income"}, 2}, {"other-bit", []string{"income"}, 2}, {"three", []string{"income", "late"}, 3},
	{"wide", []string{"income", "late", "region"}, 2}, {"nine", []string{"late"}, 9}, {"region", []string{"region"}, 4},
}

// twin is the leak account written for reading: it keeps every answer ever given
// and adds up again from the beginning each time, with rational numbers.
type twin struct {
	given []given
}

type given struct {
	subject, question, param string
	epoch                    uint64
	year                     int
	lender                   string
}

// outcome says what the account must answer and books it.
func (t *twin) outcome(g given, product *record.ProductSpec) record.ReceiptOutcome {
	for _, old := range t.given {
		if old.subject == g.subject && old.question == g.question && old.param == g.param && old.epoch == g.epoch {
			return record.Answered // frozen
		}
	}
	for _, column := range byID(g.question).columns {
		col, _ := product.Column(column)
		if over(t.used(g, column, func(o given) bool { return o.epoch == g.epoch }), col.Class.BitsPerEpoch) ||
			over(t.used(g, column, func(o given) bool { return o.year == g.year }), col.Class.BitsPerYear) {
			return record.Refused
		}
	}
	t.given = append(t.given, g)
	return record.Answered
}

// used adds up the new answer and the earlier ones of the same period.
func (t *twin) used(g given, column string, same func(given) bool) *big.Int {
	sum := cost(byID(g.question).outputs)
	for _, o := range t.given {
		if o.subject == g.subject && same(o) && slices.Contains(byID(o.question).columns, column) {
			sum.Add(sum, cost(byID(o.question).outputs))
		}
	}
	return sum
}

// cost counts thousandths of a bit up from zero until 2^k ≥ n^1000.
func cost(n int) *big.Int {
	power := new(big.Int).Exp(big.NewInt(int64(n)), big.NewInt(1000), nil)
	k := int64(0)
	for v := big.NewInt(1); v.Cmp(power) < 0; k++ {
		v.Lsh(v, 1)
	}
	return big.NewInt(k)
}

func over(used *big.Int, bits uint64) bool {
	return used.Cmp(new(big.Int).Mul(big.NewInt(1000), new(big.Int).SetUint64(bits))) > 0
}

func byID(id string) question {
	return questions[slices.IndexFunc(questions, func(q question) bool { return q.id == id })]
}

func TestLeakAccountAgreesWithItsTwin(t *testing.T) {
	w := newWorld(t)
	templates := map[string]record.Template{}
	for _, q := range questions {
		outputs := []string{record.NoRecord}
		for i := 1; i < q.outputs; i++ {
			outputs = append(outputs, fmt.Sprint("O", i))
		}
		spec := record.TemplateSpec{AnswerTTL: 60_000, Columns: q.columns, CostLimit: 500, Kind: record.Bucket, Outputs: outputs, ProductID: "credit",
			Source: `params.p > 0 ? "O1" : "NO_RECORD"`, TemplateID: record.TemplateID(q.id), Version: 1,
			Params: []record.Param{{Name: "p", Type: record.TypeInt, Values: []string{"1", "2"}}}}
		hash, err := spec.CodeHash()
		must(t, err)
		templates[q.id] = record.Template{TemplateSpec: spec, CodeHash: hash, ApprovedAt: 1, Provider: "bank"}
	}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++ // each round has customers of its own
		model := &twin{}
		type asker struct {
			c  customer
			by map[string]consent
		}
		people := make([]asker, 2)
		for i := range people {
			people[i] = asker{w.customer(fmt.Sprintf("cn:%d-%d", round, i), income(1)), map[string]consent{}}
			for _, lender := range []string{"a", "b"} {
				k := w.consent(people[i].c, record.OrgID(lender))
				w.deliver(k)
				people[i].by[lender] = k
			}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "requests") {
			who := rapid.IntRange(0, len(people)-1).Draw(rt, "who")
			q := rapid.SampledFrom(questions).Draw(rt, "question")
			lender := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "lender")
			g := given{fmt.Sprint(who), q.id, rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "param"), rapid.Uint64Range(1, 3).Draw(rt, "epoch"), rapid.IntRange(2026, 2027).Draw(rt, "year"), lender}
			p := w.permit(people[who].by[lender], templates[q.id])
			p.Request.Params = record.ParamValues{{Name: "p", Value: g.param}}
			p.Request.Epoch = g.epoch
			p.Request.RequestedAt = time.Date(g.year, 12, 31, 23, 59, 59, 0, time.UTC).UnixMilli()
			if got, want := w.ask(p).Outcome, model.outcome(g, &w.product.ProductSpec); got != want {
				rt.Fatalf("%+v: %s, want %s; given before: %+v", g, got, want, model.given)
			}
		}
		for i, a := range people {
			want := map[string]uint64{}
			for _, g := range model.given {
				if g.subject != fmt.Sprint(i) {
					continue
				}
				for _, column := range byID(g.question).columns {
					n := cost(byID(g.question).outputs).Uint64()
					want[fmt.Sprintf("credit epoch %d %s", g.epoch, column)] += n
					want[fmt.Sprintf("credit year %d %s", g.year, column)] += n
				}
			}
			if got := w.leaked(a.c); !maps.Equal(got, want) {
				rt.Fatalf("customer %d: account %v, twin %v", i, got, want)
			}
		}
	})
}

func BenchmarkHandlePermit(b *testing.B) {
	w := newWorld(b)
	w.product.Columns[0].Class.BitsPerEpoch, w.product.Columns[0].Class.BitsPerYear = 1<<40, 1<<40
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	w.deliver(k)
	tpl := w.incomeBand()
	base := w.permit(k, tpl)
	n := uint64(1)
	for b.Loop() {
		n++
		p := base
		p.Request.RequestID = record.NewRequestID(record.Hash{byte(n), byte(n >> 8), byte(n >> 16), 2})
		p.Request.Epoch = n // nothing frozen
		w.handle(p)
	}
}
