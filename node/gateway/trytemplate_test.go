package gateway

import (
	"testing"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
)

// A trial tells how far it is, and last what it found.
func TestTrialTellsItsProgressAndItsResult(t *testing.T) {
	r, tok := clerk(t)
	r.w.building = make(chan struct{})
	p := assentv1connect.NewProviderServiceClient(r.http, r.url)
	s, err := p.TryTemplate(t.Context(), with(tok, &assentv1.TryTemplateRequest{TemplateJson: "{}", K: 30, Params: []*assentv1.ParamValue{{Name: "months", Value: "12"}}}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.Receive() || s.Msg().Result != nil || s.Msg().Read != 8192 {
		t.Fatalf("first message %v, %v", s.Msg(), s.Err())
	}
	close(r.w.building)
	var last *assentv1.TryTemplateResponse
	for s.Receive() {
		last = s.Msg()
	}
	if s.Err() != nil || last == nil || last.Result == nil {
		t.Fatalf("last message %v, %v", last, s.Err())
	}
	x := last.Result
	if last.Read != 20_000 || x.Customers != 20_000 || x.K != 30 || x.LeakMillibits != 1000 || x.CostMax != 5 || x.CostLimit != 100 {
		t.Errorf("figures: %v", x)
	}
	if c := x.Columns; len(c) != 1 || c[0].Name != "income" || c[0].DataClass != "C2" || !c[0].Read || c[0].BitsPerEpoch != 8 || c[0].BitsPerYear != 64 {
		t.Errorf("columns: %v", c)
	}
	if len(x.Questions) != 1 || len(x.Questions[0].Outputs) != 2 || len(x.Questions[0].Params) != 1 {
		t.Fatalf("questions: %v", x.Questions)
	}
	q := x.Questions[0]
	if o := q.Outputs[0]; o.Output != "HIGH" || o.Customers != 3 || !o.Few || q.Outputs[1].Few || q.Params[0].Name != "months" || q.Params[0].Value != "12" {
		t.Errorf("question: %v", q)
	}
}
