package gateway

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
)

func TestAPanicCostsOneCall(t *testing.T) {
	r, tok := clerk(t)
	r.w.mu.Lock()
	r.w.panics = true
	r.w.mu.Unlock()
	_, err := r.ledger().Submit(t.Context(), with(tok, &assentv1.SubmitRequest{Transaction: []byte("a secret argument")}))
	want(t, "panic", err, assentv1.Code_CODE_INTERNAL)
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "the next call", err, 0)
	log := r.log.String()
	if !strings.Contains(log, "assignment to entry in nil map") || !strings.Contains(log, "world).Submit") {
		t.Errorf("the log does not say where:\n%s", log)
	}
	if strings.Contains(log, "secret") {
		t.Errorf("the log holds an argument:\n%s", log)
	}
}

func TestLogsHoldNoArgument(t *testing.T) {
	r, tok := clerk(t)
	p := assentv1connect.NewProviderServiceClient(r.http, r.url)
	_, err := p.Bind(t.Context(), with(tok, &assentv1.BindRequest{Subject: "CN-110101199003070000", Wallet: "0x" + strings.Repeat("cd", 20)}))
	want(t, "bind", err, 0)
	_, err = r.evaluate(tok, "consent", "Get", "argument-of-a-call")
	want(t, "get", err, assentv1.Code_CODE_NOT_FOUND)
	subject := r.token("wallet", "")
	_, err = r.evaluate(subject, "consent", "Get", "argument-of-a-call")
	want(t, "get by a subject", err, assentv1.Code_CODE_NOT_FOUND)
	r.stop() // the log line of a call is written after its answer
	log := r.log.String()
	address := strings.ToLower(signerOf("wallet").Address().Hex())
	for _, bad := range []string{"110101", "cdcd", "argument-of", tok[:30], subject[:30], address} {
		if strings.Contains(strings.ToLower(log), strings.ToLower(bad)) {
			t.Errorf("the log holds %q:\n%s", bad, log)
		}
	}
	for _, good := range []string{"ProviderService/Bind", "org=bank-a", "code=NOT_FOUND", "org=(subject)", "duration="} {
		if !strings.Contains(log, good) {
			t.Errorf("the log lacks %q:\n%s", good, log)
		}
	}
}

func TestEveryCallIsCountedOnce(t *testing.T) {
	counted := make(chan string, 100)
	r, tok := clerk(t, func(c *Config) {
		c.Observe = func(method string, code api.Code, took time.Duration) {
			if took <= 0 {
				t.Errorf("%s took %s", method, took)
			}
			counted <- method[strings.LastIndexByte(method, '/')+1:] + " " + api.Name(code)
		}
	})
	_, _ = r.evaluate(tok, "catalog", "GetProduct", "p")
	_, _ = r.evaluate("", "catalog", "GetProduct", "p")
	_, _ = r.evaluate(tok, "consent", "Get", "x")
	r.post(r.http, evaluatePath, tok, "application/json", "{")
	r.post(r.http, "/healthz", "", "text/plain", "")
	r.stop()
	close(counted)
	var got []string
	for c := range counted {
		got = append(got, c)
	}
	want := "Evaluate OK,Evaluate TOKEN_MISSING,Evaluate NOT_FOUND,Evaluate BAD_REQUEST"
	if strings.Join(got, ",") != want {
		t.Errorf("counted %v, want %s", got, want)
	}
}

func TestHealth(t *testing.T) {
	r := newRig(t)
	get := func(path string) (int, string) {
		resp, err := r.http.Get(r.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if code, body := get(api.HealthPath); code != 200 || body != "ok\n" {
		t.Errorf("alive: %d %q", code, body)
	}
	if code, body := get(api.ReadyPath); code != 200 || body != `{"ready":true,"checks":[{"name":"running","ok":true},{"name":"disk","ok":true},{"name":"lag","ok":true},{"name":"vault p","ok":false,"why":"down","advisory":true}]}`+"\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	r.w.mu.Lock()
	r.w.notReady = errors.New("catching up: 40 blocks behind")
	r.w.mu.Unlock()
	if code, body := get(api.ReadyPath); code != 503 || !strings.Contains(body, `{"ready":false`) || !strings.Contains(body, `{"name":"lag","ok":false,"why":"catching up: 40 blocks behind"}`) {
		t.Errorf("not ready: %d %q", code, body)
	}
	if code, _ := get(api.HealthPath); code != 200 {
		t.Errorf("a node that is alive but not ready: %d", code)
	}
}

func TestThePortInUseHasARemedy(t *testing.T) {
	r := newRig(t)
	cfg := r.srv.cfg
	cfg.Listen = r.srv.Addr().String()
	_, err := Open(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "api.listen") {
		t.Errorf("got %v", err)
	}
	cfg.Listen = "256.0.0.1:1"
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "api.listen") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(t.Context(), Config{Limits: Limits{ClientRate: -1}}); err == nil || !strings.Contains(err.Error(), "Clients") || !strings.Contains(err.Error(), "rates") {
		t.Errorf("an empty config: %v", err)
	}
	cfg.Listen = "127.0.0.1:0"
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close without run: %v", err)
	}
}

func TestMissingBackendsAreSaidSo(t *testing.T) {
	r, tok := clerk(t, func(c *Config) {
		c.Transactions, c.Proofs, c.Events, c.Delivery, c.Provider = nil, nil, nil, nil, nil
	})
	c, d, p, ctx := r.ledger(), assentv1connect.NewDeliveryServiceClient(r.http, r.url), assentv1connect.NewProviderServiceClient(r.http, r.url), t.Context()
	errs := make([]error, 9)
	_, errs[0] = c.Submit(ctx, with(tok, &assentv1.SubmitRequest{}))
	_, errs[1] = c.GetOutcome(ctx, with(tok, &assentv1.GetOutcomeRequest{}))
	_, errs[2] = c.ProveRecord(ctx, with(tok, &assentv1.ProveRecordRequest{}))
	_, errs[3] = c.ProveReceipt(ctx, with(tok, &assentv1.ProveReceiptRequest{}))
	_, errs[4] = d.PutSealedPart(ctx, with(tok, &assentv1.PutSealedPartRequest{}))
	_, errs[5] = d.AwaitAnswer(ctx, with(tok, &assentv1.AwaitAnswerRequest{}))
	_, errs[6] = p.Bind(ctx, with(tok, &assentv1.BindRequest{}))
	_, errs[7] = p.Unbind(ctx, with(tok, &assentv1.UnbindRequest{}))
	_, errs[8] = p.CheckTemplate(ctx, with(tok, &assentv1.CheckTemplateRequest{}))
	for i, err := range errs {
		want(t, fmt.Sprint(i), err, assentv1.Code_CODE_NOT_SERVED)
	}
	s, err := c.Events(ctx, with(tok, &assentv1.EventsRequest{}))
	if err != nil || s.Receive() {
		t.Fatal("events without backend")
	}
	want(t, "events", s.Err(), assentv1.Code_CODE_NOT_SERVED)
	_ = s.Close()
}

func TestStoppingAnswersThoseWhoWait(t *testing.T) {
	r, tok := clerk(t)
	r.w.mu.Lock()
	r.w.block = make(chan struct{})
	r.w.mu.Unlock()
	waiting := make(chan error, 1)
	go func() {
		_, err := r.ledger().Submit(context.Background(), with(tok, &assentv1.SubmitRequest{Transaction: []byte{1}, Wait: assentv1.Wait_WAIT_COMMITTED, TimeoutMs: 60_000}))
		waiting <- err
	}()
	stream, err := r.ledger().Events(t.Context(), with(tok, &assentv1.EventsRequest{}))
	if err != nil || !stream.Receive() {
		t.Fatal(err)
	}
	for { // until the call is in its backend
		r.w.mu.Lock()
		n := len(r.w.submitted)
		r.w.mu.Unlock()
		if n == 1 {
			break
		}
		runtime.Gosched()
	}
	begun := time.Now()
	r.stop()
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("stopping took %s", took)
	}
	want(t, "waiting call", <-waiting, assentv1.Code_CODE_NOT_READY)
	for stream.Receive() {
	}
	want(t, "stream", stream.Err(), assentv1.Code_CODE_NOT_READY)
	_ = stream.Close()
}

func TestACallMayWaitLongerThanARequestMayTakeToArrive(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Limits.RequestTimeout = 150 * time.Millisecond })
	block := make(chan struct{})
	r.w.mu.Lock()
	r.w.block = block
	r.w.mu.Unlock()
	for name, c := range map[string]*http.Client{"HTTP/1.1": r.client(false), "HTTP/2": r.http} {
		release := time.AfterFunc(400*time.Millisecond, func() { block <- struct{}{} })
		status, body, _ := r.post(c, "/assent.v1.LedgerService/Submit", tok, "application/json", `{"transaction":"AQ==","wait":"WAIT_COMMITTED","timeoutMs":5000}`)
		release.Stop()
		if status != 200 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestCallsAreBoundedInTime(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Limits.RequestTimeout = 50 * time.Millisecond })
	r.w.mu.Lock()
	r.w.block = make(chan struct{})
	r.w.mu.Unlock()
	_, err := r.ledger().Submit(t.Context(), with(tok, &assentv1.SubmitRequest{Transaction: []byte{1}, Wait: assentv1.Wait_WAIT_COMMITTED, TimeoutMs: 20}))
	want(t, "a backend that does not return", err, assentv1.Code_CODE_TIMEOUT)
}

// A client that sends its request drop by drop loses its connection.
func TestSlowRequestsAreCut(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Limits.RequestTimeout = 200 * time.Millisecond })
	for name, sent := range map[string]string{
		"headers": "POST " + evaluatePath + " HTTP/1.1\r\nHost: x\r\n",
		"body":    "POST " + evaluatePath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + tok + "\r\nContent-Length: 100\r\n\r\n{",
	} {
		conn, err := tls.Dial("tcp", r.srv.Addr().String(), &tls.Config{RootCAs: r.roots, ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, bufio.NewReader(conn))
		if errors.Is(err, context.DeadlineExceeded) || err != nil && err.(interface{ Timeout() bool }).Timeout() {
			t.Errorf("%s: the connection is still open", name)
		}
		_ = conn.Close()
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.Connections = 1 })
	held, err := tls.Dial("tcp", r.srv.Addr().String(), &tls.Config{RootCAs: r.roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", r.srv.Addr().String()) // the system accepts it, the server does not yet
	if err != nil {
		t.Fatal(err)
	}
	client := tls.Client(second, &tls.Config{RootCAs: r.roots, ServerName: "localhost"})
	_ = second.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if err := client.Handshake(); err == nil {
		t.Error("a second connection is served")
	}
	_, _ = held.Close(), second.Close()
}

func TestOnlyTLS13IsSpoken(t *testing.T) {
	r := newRig(t)
	if c, err := tls.Dial("tcp", r.srv.Addr().String(), &tls.Config{RootCAs: r.roots, ServerName: "localhost", MaxVersion: tls.VersionTLS12}); err == nil {
		_ = c.Close()
		t.Error("TLS 1.2 is spoken")
	}
}

func TestThePinIsTheKeysNotTheCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := SPKI(key)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c, err := SelfSigned(key, []string{"node.example", "10.0.0.1", "::1"})
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo) != pin {
			t.Error("the pin differs")
		}
		for _, name := range []string{"node.example", "10.0.0.1", "::1"} {
			if err := c.Leaf.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
	}
}
