package gateway

import (
	"context"
	"runtime"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// events reads until n events came, and returns their payloads and the last
// checkpoint.
func events(t *testing.T, s *connect.ServerStreamForClient[assentv1.EventsResponse], n int) (payloads []string, next *assentv1.Checkpoint) {
	t.Helper()
	for len(payloads) < n && s.Receive() {
		if e := s.Msg().Event; e != nil {
			payloads = append(payloads, string(e.Payload))
		}
		next = s.Msg().Next
	}
	if len(payloads) < n {
		t.Fatalf("%d of %d events: %v", len(payloads), n, s.Err())
	}
	return payloads, next
}

func (r *rig) events(ctx context.Context, tok string, req *assentv1.EventsRequest, opts ...connect.ClientOption) *connect.ServerStreamForClient[assentv1.EventsResponse] {
	r.t.Helper()
	s, err := r.ledger(opts...).Events(ctx, with(tok, req))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestEventsResumeWithoutLossOrRepeat(t *testing.T) {
	for name, opt := range map[string]connect.ClientOption{"Connect": connect.WithClientOptions(), "gRPC": connect.WithGRPC(), "gRPC-Web": connect.WithGRPCWeb()} {
		r, tok := clerk(t)
		r.w.announce("a", "b")
		r.w.announce()
		r.w.announce("c", "d", "e")
		var got []string
		next := &assentv1.Checkpoint{Height: 1}
		for len(got) < 5 { // a new stream for every event
			ctx, cancel := context.WithCancel(t.Context())
			p, at := events(t, r.events(ctx, tok, &assentv1.EventsRequest{From: next}, opt), 1)
			got, next = append(got, p...), at
			cancel()
		}
		if s := len(got); s != 5 || got[0]+got[1]+got[2]+got[3]+got[4] != "abcde" {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestEventsFromNowOn(t *testing.T) {
	r, tok := clerk(t)
	r.w.announce("old")
	s := r.events(t.Context(), tok, &assentv1.EventsRequest{})
	if !s.Receive() || s.Msg().Event != nil || s.Msg().Next.Height != 2 {
		t.Fatalf("the stream begins with %v, %v", s.Msg(), s.Err())
	}
	r.w.announce("new")
	if got, next := events(t, s, 1); got[0] != "new" || next.Height != 2 || next.Index != 1 {
		t.Errorf("%v, %v", got, next)
	}
}

func TestEventsOverHTTP1(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Limits.RequestTimeout = 100 * time.Millisecond })
	r.http = r.client(false)
	s := r.events(t.Context(), tok, &assentv1.EventsRequest{})
	if !s.Receive() {
		t.Fatal(s.Err())
	}
	timer := time.AfterFunc(300*time.Millisecond, func() { r.w.announce("late") }) // after the deadline of the request's arrival
	defer timer.Stop()
	if got, _ := events(t, s, 1); got[0] != "late" {
		t.Errorf("%v", got)
	}
}

func TestEventFilters(t *testing.T) {
	e := func(contract, name, payload string) *Event {
		return &Event{Contract: contract, Name: name, Payload: []byte(payload)}
	}
	request := e("access", "request", `{"consentId":"c1","consumer":"lender","provider":"bank"}`)
	consent := e("consent", "consent", `{"consentId":"c2","parties":[{"partyId":"bank","role":"DATA_PROVIDER"},{"partyId":"lender"}]}`)
	client := e("membership", "client", `{"orgId":"bank"}`)
	set := e("access", "exposure", `{"consumer":"asker","recipient":"bureau","seats":[{"bank":"b1","consentId":"s1"},{"bank":"b2","consentId":"s2"}]}`)
	broken := e("other", "x", `{`)
	cases := []struct {
		name string
		f    filter
		want []*Event
	}{
		{"none", filter{}, []*Event{request, consent, client, set, broken}},
		{"contract", filter{contracts: []string{"access", "other"}}, []*Event{request, set, broken}},
		{"name", filter{names: []string{"consent"}}, []*Event{consent}},
		{"contract and name", filter{contracts: []string{"access"}, names: []string{"consent"}}, nil},
		{"consent", filter{consent: "c1"}, []*Event{request}},
		{"party", filter{party: "lender"}, []*Event{request, consent}},
		{"party of a member's record", filter{party: "bank"}, []*Event{request, consent, client}},
		{"consent and party", filter{consent: "c2", party: "bank"}, []*Event{consent}},
		{"a bank of a set", filter{party: "b2"}, []*Event{set}},
		{"who asked for a set", filter{party: "asker"}, []*Event{set}},
		{"who opens its shares", filter{party: "bureau"}, []*Event{set}},
		{"a consent of a set", filter{consent: "s1"}, []*Event{set}},
		{"another's consent of a set", filter{consent: "s1", party: "bank"}, nil},
		{"nobody", filter{party: "nobody"}, nil},
	}
	for _, c := range cases {
		var got []*Event
		for _, x := range []*Event{request, consent, client, set, broken} {
			if c.f.match(x) {
				got = append(got, x)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %d events, want %d", c.name, len(got), len(c.want))
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: event %d is %s", c.name, i, got[i].Name)
			}
		}
	}
}

func TestEventRequestsAreChecked(t *testing.T) {
	r, tok := clerk(t)
	for name, c := range map[string]struct {
		req  *assentv1.EventsRequest
		want api.Code
	}{
		"many contracts": {&assentv1.EventsRequest{Contracts: make([]string, 17)}, assentv1.Code_CODE_BAD_REQUEST},
		"long name":      {&assentv1.EventsRequest{Names: []string{string(make([]byte, 65))}}, assentv1.Code_CODE_BAD_REQUEST},
		"far checkpoint": {&assentv1.EventsRequest{From: &assentv1.Checkpoint{Height: 99}}, assentv1.Code_CODE_CHECKPOINT_INVALID},
	} {
		s := r.events(t.Context(), tok, c.req)
		for s.Receive() {
		}
		want(t, name, s.Err(), c.want)
	}
}

func TestARevokedKeyHearsNothingMore(t *testing.T) {
	r, tok := clerk(t)
	s := r.events(t.Context(), tok, &assentv1.EventsRequest{})
	if !s.Receive() {
		t.Fatal(s.Err())
	}
	r.w.revoke("bank-a", "clerk", record.Millis(r.clock.now().UnixMilli()))
	r.w.announce("secret")
	for s.Receive() {
		if s.Msg().Event != nil {
			t.Error("an event is sent to a revoked key")
		}
	}
	want(t, "stream", s.Err(), assentv1.Code_CODE_KEY_REVOKED)
}

func TestAQuietStreamBeats(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Limits.Heartbeat, c.Limits.StreamStall = 200*time.Millisecond, time.Second })
	s := r.events(t.Context(), tok, &assentv1.EventsRequest{})
	for i := range 7 { // for longer than a stalled write would be allowed
		if !s.Receive() || s.Msg().Event != nil || s.Msg().Next.Height != 1 {
			t.Fatalf("beat %d: %v, %v", i, s.Msg(), s.Err())
		}
	}
	// Beats also tell how far a stream has come in which nothing matches.
	s = r.events(t.Context(), tok, &assentv1.EventsRequest{Names: []string{"nothing"}})
	r.w.announce("x")
	for s.Receive() && s.Msg().Next.Height < 2 {
	}
	if err := s.Err(); err != nil || s.Msg().Event != nil {
		t.Errorf("%v, %v", s.Msg(), err)
	}
}

// A client that does not read loses its stream, and the node gets its slot back.
func TestAStalledReaderIsCut(t *testing.T) {
	r, tok := clerk(t, func(c *Config) {
		c.Limits.Heartbeat, c.Limits.StreamStall = 50*time.Millisecond, 200*time.Millisecond
	})
	big := string(make([]byte, 256<<10))
	for range 64 { // more than every buffer on the way holds
		r.w.announce(big)
	}
	s := r.events(t.Context(), tok, &assentv1.EventsRequest{From: &assentv1.Checkpoint{Height: 1}})
	m := r.srv.clients.of(signerOf("clerk").Address(), r.clock.now())
	for m.open.Load() != 0 {
		if t.Context().Err() != nil {
			t.Fatal("the stream is still open")
		}
		runtime.Gosched()
	}
	n := 0
	for s.Receive() {
		n++
	}
	if s.Err() == nil || n >= 64 {
		t.Errorf("%d messages, then %v", n, s.Err())
	}
}
