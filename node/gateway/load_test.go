package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// held reports what is still counted.
func (s *Server) held() int64 {
	sum := s.node.calls.Load() + s.node.bytes.Load() + s.node.streams.Load()
	s.rooms.mu.RLock()
	defer s.rooms.mu.RUnlock()
	for _, r := range s.rooms.all {
		sum += r.calls.Load() + r.bytes.Load() + r.streams.Load()
	}
	return sum
}

// settled waits until nothing is counted any more.
func settled(t *testing.T, s *Server) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); s.held() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls, streams and bytes are still counted", s.held())
		}
	}
}

// submits starts n calls that wait in the backend, and returns how they ended.
func submits(r *rig, toks []string, size int) []error {
	errs := make([]error, len(toks))
	var wg sync.WaitGroup
	for i, tok := range toks {
		wg.Go(func() {
			_, errs[i] = r.ledger().Submit(context.Background(), with(tok, &assentv1.SubmitRequest{Transaction: make([]byte, size), Wait: assentv1.Wait_WAIT_COMMITTED}))
		})
	}
	wg.Wait()
	return errs
}

func TestAMemberSharesItsLimitsAndLeavesTheOthersTheirs(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Guests = []string{"bank-b"}
		c.Limits.MemberCalls, c.Limits.ClientStreams = 3, 100
	})
	var greedy []string
	for _, name := range []string{"one", "two"} { // two keys, one member
		r.w.register("bank-a", name, record.RoleIntegration)
		tok := r.token(name, "bank-a")
		greedy = append(greedy, tok, tok, tok)
	}
	r.w.register("bank-b", "other", record.RoleIntegration)
	release := make(chan struct{})
	r.w.mu.Lock()
	r.w.block = release
	r.w.mu.Unlock()
	done := make(chan []error, 1)
	go func() { done <- submits(r, greedy, 10) }()
	for r.srv.Refusals().MemberCalls < 3 {
		time.Sleep(time.Millisecond)
	}
	other := make(chan []error, 1)
	go func() { other <- submits(r, []string{r.token("other", "bank-b")}, 10) }()
	for r.srv.node.calls.Load() < 4 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	passed := 0
	for _, err := range <-done {
		if err == nil {
			passed++
			continue
		}
		e := api.FromConnect(err)
		if e.Code != assentv1.Code_CODE_RATE_LIMITED || e.RetryAfter <= 0 || !strings.Contains(e.Remedy, "limits.memberCalls") {
			t.Errorf("refused with %v", e)
		}
	}
	if passed != 3 {
		t.Errorf("%d calls of one member passed, want 3", passed)
	}
	if err := (<-other)[0]; err != nil {
		t.Errorf("another member's client: %v", err)
	}
	settled(t, r.srv)
}

func TestAMembersRateCountsAllItsKeys(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.MemberRate = 2 }) // burst 5
	limited := 0
	for _, name := range []string{"one", "two", "three"} {
		r.w.register("bank-a", name, record.RoleIntegration)
		for range 3 {
			if _, err := r.evaluate(r.token(name, "bank-a"), "catalog", "GetProduct", "p"); err != nil {
				want(t, "over the member's rate", err, assentv1.Code_CODE_RATE_LIMITED)
				limited++
			}
		}
	}
	if limited != 4 || r.srv.Refusals().MemberRate != 4 {
		t.Errorf("%d of 9 calls were refused, want 4", limited)
	}
	settled(t, r.srv)
}

func TestMessagesAndAnswersOnTheirWayAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.MemberBytes = api.MaxResponseBytes })
	r.w.register("bank-a", "clerk", record.RoleIntegration)
	tok := r.token("clerk", "bank-a")
	release := make(chan struct{})
	r.w.mu.Lock()
	r.w.block = release
	r.w.mu.Unlock()
	const size = 250 << 10
	toks := make([]string, 40) // 10 MB, 6 may be held
	for i := range toks {
		toks[i] = tok
	}
	done := make(chan []error, 1)
	go func() { done <- submits(r, toks, size) }()
	for r.srv.Refusals().MemberBytes < uint64(len(toks)-api.MaxResponseBytes/size) {
		if got := r.srv.node.bytes.Load(); got > 2*api.MaxResponseBytes {
			t.Errorf("%d bytes are held", got)
		}
		time.Sleep(time.Millisecond)
	}
	close(release)
	passed := 0
	for _, err := range <-done {
		if err == nil {
			passed++
		} else {
			want(t, "too many bytes", err, assentv1.Code_CODE_RATE_LIMITED)
		}
	}
	if passed == 0 || passed > api.MaxResponseBytes/size {
		t.Errorf("%d messages of %d bytes were held at once", passed, size)
	}
	settled(t, r.srv)
}

// A message that announces its length is refused before it is sent.
func TestTooLargeAMessageIsRefusedUnread(t *testing.T) {
	r, tok := clerk(t)
	c, err := tls.Dial("tcp", r.srv.Addr().String(), &tls.Config{RootCAs: r.roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	head := "POST /assent.v1.LedgerService/Submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\nAuthorization: Bearer " + tok + "\r\n\r\n{"
	if _, err := io.WriteString(c, head); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, _ := io.ReadAtLeast(c, buf, 200)
	if got := string(buf[:n]); !strings.Contains(got, "429") || !strings.Contains(got, "99999999 bytes, at most 524288") {
		t.Errorf("answer: %s", got)
	}
	if r.srv.Refusals().TooLarge != 1 {
		t.Error("it is not counted")
	}
}

func TestEventStreamsPerKeyAreFew(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.EventStreams = 2 })
	r.w.register("bank-a", "one", record.RoleIntegration)
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		s := r.events(ctx, r.token("one", "bank-a"), &assentv1.EventsRequest{})
		if !s.Receive() {
			t.Fatal(s.Err())
		}
	}
	s := r.events(ctx, r.token("one", "bank-a"), &assentv1.EventsRequest{})
	if s.Receive() {
		t.Error("a third stream was opened")
	}
	want(t, "a third stream", s.Err(), assentv1.Code_CODE_RATE_LIMITED)
	cancel()
	settled(t, r.srv)
}

func TestWrongSignaturesUseUpTheClientsRate(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.ClientRate, c.Limits.ClientBurst = 1, 200 })
	r.w.register("bank-a", "clerk", record.RoleIntegration)
	r.w.mu.Lock()
	r.w.fail = api.Refuse(assentv1.Code_CODE_BAD_SIGNATURE, "wrong")
	r.w.mu.Unlock()
	tok := r.token("clerk", "bank-a")
	bad := 0
	for range 20 {
		_, err := r.ledger().Submit(t.Context(), with(tok, &assentv1.SubmitRequest{Transaction: []byte("x")}))
		if api.FromConnect(err).Code == assentv1.Code_CODE_BAD_SIGNATURE {
			bad++
		} else {
			want(t, "after too many", err, assentv1.Code_CODE_RATE_LIMITED)
		}
	}
	if bad < 3 || bad > 4 {
		t.Errorf("%d wrong signatures were checked, want about 200/%d", bad, badSignatureCosts)
	}
}

func TestConnectionsFromOneAddressAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.PerAddress = 3 })
	var open []net.Conn
	dial := func() (answered bool) {
		c, err := net.Dial("tcp", r.srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		s := tls.Client(c, &tls.Config{RootCAs: r.roots, ServerName: "localhost"})
		return s.Handshake() == nil
	}
	for i := range 3 {
		if !dial() {
			t.Fatalf("connection %d was refused", i)
		}
	}
	if dial() {
		t.Error("a fourth connection was served")
	}
	if r.srv.Refusals().Connections != 1 {
		t.Errorf("%d refusals", r.srv.Refusals().Connections)
	}
	for _, c := range open {
		c.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); !dial(); {
		if time.Now().After(deadline) {
			t.Fatal("no connection is served after the others have ended")
		}
	}
	for _, c := range open {
		c.Close()
	}
}

// FuzzAnnouncedLength: whatever length a call announces, what is held is given
// back.
func FuzzAnnouncedLength(f *testing.F) {
	f.Add(int64(-1), 10)
	f.Add(int64(1<<40), 0)
	f.Add(int64(600<<10), 7)
	s := &Server{now: time.Now, members: newMeters[string](1e6, 1e6, 10)}
	s.cfg.Limits.defaults()
	f.Fuzz(func(t *testing.T, length int64, size int) {
		m := newMeters[int](1e6, 1e6, 10).of(1, time.Now())
		c := &call{server: s, length: length, caller: Caller{Org: "bank"}}
		if s.fits(c) == nil && s.occupy(c, m, time.Now()) == nil {
			c.read(&assentv1.SubmitRequest{Transaction: bytes.Repeat([]byte{1}, size&0xffff)})
			_ = c.answers(&assentv1.GetBlockResponse{Block: make([]byte, size&0xfffff)})
		}
		if c.member != nil && c.member.bytes.Load() > int64(s.cfg.Limits.MemberBytes) {
			t.Error("more is held than a member may")
		}
		c.vacate()
		if s.held() != 0 || m.open.Load() != 0 {
			t.Errorf("%d are still counted", s.held())
		}
	})
}
