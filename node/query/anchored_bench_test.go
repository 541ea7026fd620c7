package query_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query/celquery"
	"github.com/assent-network/assent/node/query/epoch"
	"github.com/assent-network/assent/node/vault"
)

const million = 1_000_000

// builtMillion builds a tree over a million customers with the real engine, rows
// coming from memory: what a build costs beside the SQL.
func builtMillion(b *testing.B, s *epoch.Store, tpl *record.Template, product *record.Product, progress func(epoch.Progress)) *record.Anchor {
	b.Helper()
	engine := celquery.New()
	job := epoch.Job{
		Anchor:  record.Anchor{AnchorSpec: record.AnchorSpec{CodeHash: tpl.CodeHash, Epoch: 2, TemplateID: tpl.TemplateID}, ProductID: tpl.ProductID, Provider: tpl.Provider},
		Outputs: tpl.Outputs, Progress: progress,
		Scan: func(_ context.Context, visit func(vault.Subject, vault.Row) error) error {
			for i := range million {
				if err := visit(customerOf(i), vault.Row{vault.IntValue(int64(i % 3000))}); err != nil {
					return err
				}
			}
			return nil
		},
		Evaluate: func(row vault.Row) (string, error) { return engine.Evaluate(&product.ProductSpec, tpl, nil, row) },
	}
	r, err := s.Build(b.Context(), job)
	must(b, err)
	if r.Answered != million {
		b.Fatalf("%+v", r)
	}
	job.Anchor.Nonce, job.Anchor.Root = r.Nonce, r.Root
	return &job.Anchor
}

func customerOf(i int) vault.Subject { return vault.Subject(fmt.Sprintf("cn:%07d", i)) }

func benchStore(b *testing.B) *epoch.Store {
	b.Helper()
	s, err := epoch.Open(filepath.Join(b.TempDir(), "epochs"), chainID, make([]byte, 32))
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	return s
}

// One tree of a million customers: seconds, and the most memory that was in use.
func BenchmarkBuildAMillionAnswers(b *testing.B) {
	w := newWorld(b)
	tpl := w.incomeBand()
	s := benchStore(b)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, peak, calls := m.HeapInuse, uint64(0), 0
	for b.Loop() {
		builtMillion(b, s, &tpl, &w.product, func(epoch.Progress) {
			if calls++; calls%8 == 0 {
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		})
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/tree")
	b.ReportMetric(float64(peak-min(peak, before))/(1<<20), "MiB-heap")
	b.ReportMetric(float64(calls)/float64(b.N), "reports/tree")
}

// Opening one of a million anchored answers, and checking it as a lender does.
func BenchmarkOpenOneOfAMillion(b *testing.B) {
	w := newWorld(b)
	tpl := w.incomeBand()
	s := benchStore(b)
	a := builtMillion(b, s, &tpl, &w.product, nil)
	var value string
	var proof []byte
	b.Run("open", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			var err error
			if value, proof, err = s.Find(a, tpl.Outputs, string(customerOf(i*7919%million))); err != nil || proof == nil {
				b.Fatal(err)
			}
		}
	})
	value, proof, err := s.Find(a, tpl.Outputs, string(customerOf(1)))
	must(b, err)
	body := record.AnswerBody{TemplateID: a.TemplateID, CodeHash: a.CodeHash, Epoch: a.Epoch, Value: value, ProofHash: answer.ProofHash(proof)}
	opened := answer.Answer{Outcome: record.Answered, Body: body, Proof: proof}
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			must(b, opened.CheckAnchor(chainID, a, string(customerOf(1))))
		}
	})
}

// A permit from its arrival to the departure of its sealed answer, with anchored
// answers and without: the difference is what they add to a query at the bank.
func BenchmarkHandlePermitAnchored(b *testing.B) {
	w := newWorld(b)
	tpl := w.incomeBand()
	c := w.customer("cn:1", income(1500))
	for i := range 1000 {
		w.vault.rows[customerOf(i)] = income(int64(i))
	}
	a := w.anchor(tpl, 2)
	k := w.consent(c, "lender-a")
	w.deliver(k)
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("anchored=%t", with), func(b *testing.B) {
			for b.Loop() {
				p := w.permit(k, tpl)
				if with {
					p = w.anchoredPermit(k, tpl, a)
				}
				w.handle(p)
			}
		})
	}
}
