package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"go.uber.org/goleak"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/redact"
)

func TestMain(m *testing.M) {
	if os.Getenv(loadURL) != "" {
		runLoad() // this process is the client of a benchmark
		return
	}
	goleak.VerifyTestMain(m)
}

// signerOf returns the same key for the same name.
func signerOf(name string) ledger.KeySigner {
	h := ledger.Sum([]byte("gateway test key"), []byte(name))
	k, err := crypto.ToECDSA(h[:])
	if err != nil {
		panic(err)
	}
	return ledger.NewKeySigner(k)
}

// world is every backend, in memory.
type world struct {
	genesis *ledger.Config

	mu        sync.Mutex
	clients   map[string]*record.Client // by org/address
	blockTime record.Millis
	consents  map[string]ledger.Address // principalKey by consent
	requests  map[string]string         // consent by request
	rows      map[string][]byte
	proposals []*record.Proposal // what ListProposals returns, one a page
	proposed  map[string][]byte  // bytes of a proposed config by hash
	calls     []Call             // read calls that arrived
	submitted [][]byte
	bound     []string
	notReady  error
	log       []Event // events, ascending
	executed  ledger.Height
	moved     chan struct{} // closed when executed rises
	fail      error         // what the next calls of Transactions, Delivery and Provider return
	block     chan struct{} // if set, Submit waits for it or the end of ctx
	panics    bool
	building  chan struct{} // if set, BuildAnswers waits for it, or closes broken at the end of ctx
	broken    chan struct{}
}

func newWorld() *world {
	return &world{
		genesis: &ledger.Config{
			Network: "test", Protocol: 1, GenesisTime: 1_800_000_000_000,
			Members:    []ledger.Member{{ID: "bank-a", Name: "Bank A", Roles: []string{"DATA_PROVIDER"}, Admins: []ledger.Address{{1}}}},
			Validators: []ledger.Validator{{ID: 1, Member: "bank-a", VoteKey: common.Address{2}, HostKey: ledger.HostKey{0: 2, 32: 1}, Addrs: []string{"/ip4/127.0.0.1/tcp/7400"}}},
			Limits:     ledger.DefaultLimits(),
		},
		clients:  map[string]*record.Client{},
		consents: map[string]ledger.Address{},
		requests: map[string]string{},
		rows:     map[string][]byte{},
		moved:    make(chan struct{}),
	}
}

func (w *world) register(org, name string, roles ...record.ClientRole) *record.Client {
	c := &record.Client{Address: signerOf(name).Address(), OrgID: record.OrgID(org), Roles: roles}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients[org+"/"+c.Address.Hex()] = c
	return c
}

func (w *world) revoke(org, name string, at record.Millis) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := org + "/" + signerOf(name).Address().Hex()
	c := *w.clients[key]
	c.RevokedAt = at
	w.clients[key] = &c
}

func (w *world) Client(org record.OrgID, key ledger.Address) (*record.Client, record.Millis, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clients[string(org)+"/"+key.Hex()], w.blockTime, nil
}

func (w *world) Submit(ctx context.Context, tx []byte, wait time.Duration) (ledger.Hash, *Outcome, error) {
	w.mu.Lock()
	block, fail, panics := w.block, w.fail, w.panics
	w.submitted = append(w.submitted, tx)
	w.mu.Unlock()
	if panics {
		var m map[string]int
		m[string(tx)] = 1
	}
	if fail != nil {
		return ledger.Hash{}, nil, fail
	}
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ledger.Hash{}, nil, ctx.Err()
		}
	}
	id := ledger.Sum(tx)
	if wait == 0 {
		return id, nil, nil
	}
	return id, outcome(id), nil
}

// SubmitMany is Submit for each, told one by one.
func (w *world) SubmitMany(ctx context.Context, txs [][]byte, wait time.Duration, report func([]Submitted) error) error {
	for i, tx := range txs {
		id, o, err := w.Submit(ctx, tx, wait)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err := report([]Submitted{{Index: i, TxID: id, Outcome: o, Err: err}}); err != nil {
			return err
		}
	}
	return nil
}

func outcome(id ledger.Hash) *Outcome {
	return &Outcome{TxID: id, Height: 7, Index: 2, Code: "OK", Payload: []byte(`{"a":1}`), BlockTime: 1_800_000_000_123,
		Events: []Event{{Height: 7, Index: 3, TxID: id, Contract: "consent", Name: "consent", Payload: []byte(`{}`)}}}
}

func (w *world) Outcome(_ context.Context, id ledger.Hash, _ time.Duration) (*Outcome, error) {
	if id == (ledger.Hash{}) {
		return nil, nil
	}
	return outcome(id), nil
}

func (w *world) Evaluate(_ context.Context, c Call) ([]byte, ledger.Height, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
	name := c.Contract + "." + c.Function
	var out any
	switch name {
	case "consent.Get":
		key, ok := w.consents[c.Args[0]]
		if !ok {
			return nil, 0, fmt.Errorf("evaluate: %w", record.Refuse(record.CodeNotFound, "no such consent"))
		}
		out = map[string]string{"consentId": c.Args[0], "principalKey": record.FormatAddress(key)}
	case "access.GetRequest", "access.GetReceipt":
		id, ok := w.requests[c.Args[0]]
		if !ok {
			return nil, 0, record.Refuse(record.CodeNotFound, "no such request")
		}
		out = map[string]string{"requestId": c.Args[0], "consentId": id}
	case "membership.ListProposals":
		return w.listProposals(c.Args[2])
	case "membership.GetProposedConfig":
		b, err := record.Encode(&record.ProposedConfig{Config: w.proposed[c.Args[0]]})
		return b, 9, err
	default:
		out = map[string]any{"function": name, "args": c.Args}
	}
	b, err := json.Marshal(out)
	return b, 9, err
}

func certified() *ledger.CertifiedHeader {
	return &ledger.CertifiedHeader{Header: ledger.Header{Height: 9}, Certificate: ledger.Certificate{Votes: []ledger.Vote{}}}
}

func (w *world) ProveRecord(_ context.Context, key string, _ ledger.Height, _ time.Duration) (*ledger.CertifiedHeader, *ledger.StateProof, error) {
	return certified(), &ledger.StateProof{Key: key}, nil
}

func (w *world) ProveReceipt(_ context.Context, id ledger.Hash, _ time.Duration) (*ledger.CertifiedHeader, *ledger.ReceiptProof, error) {
	v := ledger.Sum([]byte("value"))
	return certified(), &ledger.ReceiptProof{Receipt: ledger.Receipt{TxID: id, Code: "OK"}, Writes: []ledger.WriteHash{{Key: "access/log/request/a", Value: v[:]}}}, nil
}

func (w *world) Row(_ context.Context, key string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rows[key], nil
}

func (w *world) Genesis() *ledger.Config { return w.genesis }
func (w *world) Tip() ledger.Height      { return 9 }
func (w *world) Block(_ context.Context, h ledger.Height) ([]byte, []byte, error) {
	if h > 9 {
		return nil, nil, api.Refuse(assentv1.Code_CODE_NOT_FOUND, "height %d is above the tip", h)
	}
	return []byte("block"), []byte("certificate"), nil
}
func (w *world) Header(_ context.Context, h ledger.Height) (*ledger.CertifiedHeader, error) {
	c := certified()
	c.Header.Height = h
	return c, nil
}
func (w *world) ConfigProofs(_ context.Context, seq uint64, most int) ([]*ledger.ConfigProof, bool, error) {
	return []*ledger.ConfigProof{{Header: *certified(), Update: []byte{byte(seq)}}}, most < 1, nil
}

// announce adds a block with events.
func (w *world) announce(payloads ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.executed++
	for i, p := range payloads {
		w.log = append(w.log, Event{Height: w.executed, Index: uint32(i), Contract: "consent", Name: "consent", Payload: []byte(p)})
	}
	close(w.moved)
	w.moved = make(chan struct{})
}

func (w *world) Next() Checkpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Checkpoint{w.executed + 1, 0}
}

func (w *world) Read(ctx context.Context, from Checkpoint, wait time.Duration) ([]Event, Checkpoint, error) {
	w.mu.Lock()
	executed, moved := w.executed, w.moved
	w.mu.Unlock()
	if from.Height > executed+1 {
		return nil, from, api.Refuse(assentv1.Code_CODE_CHECKPOINT_INVALID, "height %d, executed is %d", from.Height, executed)
	}
	if from.Height > executed {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-moved:
		case <-t.C:
			return nil, from, nil
		case <-ctx.Done():
			return nil, from, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Event
	for _, e := range w.log {
		if e.Height == from.Height && e.Index >= from.Index {
			out = append(out, e)
		}
	}
	return out, Checkpoint{from.Height + 1, 0}, nil
}

func (w *world) PutSealedPart(_ context.Context, by Caller, p SealedPart) error { return w.fail }
func (w *world) AwaitAnswer(_ context.Context, by Caller, id string, _ time.Duration) ([]byte, error) {
	if w.fail != nil {
		return nil, w.fail
	}
	return []byte(by.Org), nil
}
func (w *world) BindConsent(ctx context.Context, _ string, subject redact.Personal) error {
	return w.Bind(ctx, subject, ledger.Address{})
}

func (w *world) Bind(_ context.Context, subject redact.Personal, _ ledger.Address) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bound = append(w.bound, subject.Reveal())
	return w.fail
}
func (w *world) Unbind(context.Context, redact.Personal) error { return w.fail }
func (w *world) CheckTemplate(_ context.Context, t []byte) (TemplateReport, error) {
	return TemplateReport{Columns: []string{"income"}, Findings: []Finding{{Field: "source", Line: 1, What: "x", Remedy: "y"}, {Warning: true}}}, w.fail
}
func (w *world) BuildAnswers(ctx context.Context, q AnswersOf, progress func(read, built uint64)) (*BuiltAnswers, error) {
	if w.fail != nil {
		return nil, w.fail
	}
	progress(8192, 0)
	if w.building != nil {
		select {
		case <-w.building:
		case <-ctx.Done():
			close(w.broken)
			return nil, ctx.Err()
		}
	}
	return &BuiltAnswers{Anchor: []byte(`{"templateId":"` + q.TemplateID + `"}`), Customers: 20_000, Answered: 19_999, Twice: 1, Bytes: 7}, nil
}
func (w *world) TryTemplate(_ context.Context, q TrialOf, progress func(uint64)) (*Trial, error) {
	if w.fail != nil {
		return nil, w.fail
	}
	progress(8192)
	if w.building != nil {
		<-w.building
	}
	return &Trial{
		Customers: 20_000, K: max(q.K, 20), LeakMillibits: 1000, CostMax: 5, CostLimit: 100,
		Columns:   []TrialColumn{{Name: "income", DataClass: "C2", Read: true, BitsPerEpoch: 8, BitsPerYear: 64}},
		Questions: []TrialQuestion{{Params: q.Params, Names: []string{"months"}, Outputs: []TrialOutput{{"HIGH", 3, true}, {"NO_RECORD", 19_997, false}}}},
	}, nil
}
func (w *world) Status() Status {
	return Status{Protocol: 1, Validator: 1, Height: 9, Executed: 9, Certified: 8, ViewAge: 1500 * time.Millisecond}
}
func (w *world) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.notReady
}

func (w *world) Health(context.Context) []Check {
	if err := w.Ready(); err != nil {
		return []Check{{Name: "disk", OK: true}, {Name: "lag", Why: err.Error()}}
	}
	return []Check{{Name: "disk", OK: true}, {Name: "lag", OK: true}, {Name: "vault p", Why: "down", Advisory: true}}
}

// clock is time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// logbook collects log lines.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type rig struct {
	t     testing.TB
	w     *world
	clock *clock
	log   *logbook
	srv   *Server
	url   string
	roots *x509.CertPool
	stop  func()

	http *http.Client // HTTP/2
}

const nodeID = "16Uiu2HAmNode"

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := SelfSigned(key, []string{"localhost", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, w: newWorld(), clock: &clock{t: time.Unix(1_800_000_000, 0)}, log: &logbook{}, roots: x509.NewCertPool()}
	r.roots.AppendCertsFromPEM(PEM(cert))
	w := r.w
	cfg := Config{
		Listen: "127.0.0.1:0", Certificate: cert, NodeID: nodeID, Member: "bank-a", Software: "test",
		Clients: w, Transactions: w, Reads: w, Proofs: w, Blocks: w, Events: w, Delivery: w, Provider: w, Node: w, Network: w,
		Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Clock: r.clock.now,
	}
	for _, f := range change {
		f(&cfg)
	}
	r.srv, err = Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.srv.Run(ctx) }()
	r.url = "https://" + r.srv.Addr().String()
	r.http = r.client(true)
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			r.http.CloseIdleConnections() // or the protocol's good-bye takes a second
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) client(http2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots}, ForceAttemptHTTP2: http2}
	if !http2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	c := &http.Client{Transport: tr}
	r.t.Cleanup(tr.CloseIdleConnections)
	return c
}

func (r *rig) ledger(opts ...connect.ClientOption) assentv1connect.LedgerServiceClient {
	return assentv1connect.NewLedgerServiceClient(r.http, r.url, opts...)
}

func (r *rig) audience() string { return token.Audience(r.w.genesis.Hash(), nodeID) }

func (r *rig) token(name, org string, change ...func(*token.Claims)) string {
	r.t.Helper()
	now := r.clock.now()
	c := token.Claims{Org: org, Subject: org == "", Audience: r.audience(), IssuedAt: now, Expires: now.Add(token.MaxLifetime)}
	for _, f := range change {
		f(&c)
	}
	s, err := token.Sign(signerOf(name), c)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func with[T any](tok string, msg *T) *connect.Request[T] {
	req := connect.NewRequest(msg)
	if tok != "" {
		req.Header().Set("Authorization", "Bearer "+tok)
	}
	return req
}

func (r *rig) evaluate(tok string, contract, function string, args ...string) (*assentv1.EvaluateResponse, error) {
	resp, err := r.ledger().Evaluate(context.Background(), with(tok, &assentv1.EvaluateRequest{Contract: contract, Function: function, Args: args}))
	if err != nil {
		return nil, err
	}
	return resp.Msg, nil
}

// want checks the code of an error, and that it carries advice; 0 wants success.
func want(t testing.TB, what string, err error, code api.Code) {
	t.Helper()
	if code == 0 {
		if err != nil {
			t.Errorf("%s: %v", what, api.FromConnect(err))
		}
		return
	}
	if err == nil {
		t.Errorf("%s: succeeded, want %s", what, code)
		return
	}
	e := api.FromConnect(err)
	if e.Code != code || e.Advice() == "" || e.What == "" {
		t.Errorf("%s: %v, want %s", what, e, code)
	}
	var c *connect.Error
	if !errors.As(err, &c) || c.Code() != api.Lookup(code).Connect {
		t.Errorf("%s: status %v, want %v", what, c, api.Lookup(code).Connect)
	}
}

// post sends JSON as curl would.
func (r *rig) post(c *http.Client, path, tok, contentType, body string) (int, string, http.Header) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if tok != "" {
		req.Header.Set("Authorization", "Bearer "+tok)
	}
	resp, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}
