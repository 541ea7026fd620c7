package gateway

import (
	"context"
	"testing"
	"time"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
)

// A build tells how far it is, and last what to anchor.
func TestBuildTellsItsProgressAndItsResult(t *testing.T) {
	r, tok := clerk(t)
	r.w.building = make(chan struct{})
	p := assentv1connect.NewProviderServiceClient(r.http, r.url)
	s, err := p.BuildAnswers(t.Context(), with(tok, &assentv1.BuildAnswersRequest{TemplateId: "band", Epoch: 2}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.Receive() || s.Msg().Result != nil || s.Msg().Read != 8192 {
		t.Fatalf("first message %v, %v", s.Msg(), s.Err())
	}
	close(r.w.building)
	var last *assentv1.BuildAnswersResponse
	for s.Receive() {
		last = s.Msg()
	}
	if s.Err() != nil || last == nil || last.Result == nil || last.Result.Customers != 20_000 || last.Result.Twice != 1 || last.Result.AnchorJson != `{"templateId":"band"}` {
		t.Errorf("last message %v, %v", last, s.Err())
	}
}

// A caller that goes away ends the build.
func TestBuildEndsWithItsCaller(t *testing.T) {
	r, tok := clerk(t)
	r.w.building, r.w.broken = make(chan struct{}), make(chan struct{})
	p := assentv1connect.NewProviderServiceClient(r.http, r.url)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := p.BuildAnswers(ctx, with(tok, &assentv1.BuildAnswersRequest{TemplateId: "band", Epoch: 2}))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Receive() {
		t.Fatal(s.Err())
	}
	cancel()
	_ = s.Close()
	select {
	case <-r.w.broken:
	case <-time.After(time.Minute):
		t.Fatal("the build goes on")
	}
}
