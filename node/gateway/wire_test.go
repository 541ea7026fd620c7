package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/ledger"
)

const evaluatePath = "/assent.v1.LedgerService/Evaluate"

func clerk(t testing.TB, change ...func(*Config)) (*rig, string) {
	r := newRig(t, change...)
	r.w.register("bank-a", "clerk", record.RoleOfficer, record.RoleIntegration)
	return r, r.token("clerk", "bank-a")
}

func TestJSONByAPlainClient(t *testing.T) {
	r, tok := clerk(t)
	for name, c := range map[string]*http.Client{"HTTP/1.1": r.client(false), "HTTP/2": r.http} {
		status, body, header := r.post(c, evaluatePath, tok, "application/json", `{"contract":"catalog","function":"GetProduct","args":["p"],"minHeight":"3"}`)
		var answer struct{ Payload, ExecutedHeight string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 {
			t.Fatalf("%s: %d %s", name, status, body)
		}
		payload, err := base64.StdEncoding.DecodeString(answer.Payload)
		if err != nil || !strings.Contains(string(payload), "catalog.GetProduct") || answer.ExecutedHeight != "9" {
			t.Errorf("%s: %s", name, body)
		}
		if header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the answer may be cached", name)
		}
		if header.Get("Content-Length") == "" {
			t.Errorf("%s: the answer was not sent in one piece", name)
		}
	}
	if got := r.w.calls[0]; got.MinHeight != 3 || got.Caller.Org != "bank-a" || got.Caller.Address != signerOf("clerk").Address() {
		t.Errorf("the backend saw %+v", got)
	}
}

func TestFailuresInJSONCarryCodeAndRemedy(t *testing.T) {
	r, tok := clerk(t)
	cases := []struct {
		name, path, tok, body string
		status                int
		code                  string // of the detail; empty: refused below the handlers, with a status alone
	}{
		{"no token", evaluatePath, "", `{"contract":"a","function":"b"}`, 401, "CODE_TOKEN_MISSING"},
		{"field missing", evaluatePath, tok, `{"function":"b"}`, 400, "CODE_BAD_REQUEST"},
		{"refused by a contract", evaluatePath, tok, `{"contract":"consent","function":"Get","args":["nobody"]}`, 404, "CODE_NOT_FOUND"},
		{"unknown path", "/assent.v1.LedgerService/Nothing", tok, `{}`, 501, "CODE_UNKNOWN_METHOD"},
		{"unknown service", "/assent.v2.LedgerService/Evaluate", tok, `{}`, 501, "CODE_UNKNOWN_METHOD"},
		{"unknown field", evaluatePath, tok, `{"kontract":"a"}`, 400, ""},
		{"not JSON", evaluatePath, tok, `{`, 400, ""},
		{"too large", evaluatePath, tok, `{"contract":"` + strings.Repeat("a", api.MaxMessageBytes) + `"}`, 429, ""},
	}
	for _, c := range cases {
		status, body, _ := r.post(r.http, c.path, c.tok, "application/json", c.body)
		if status != c.status {
			t.Errorf("%s: status %d, want %d: %.200s", c.name, status, c.status, body)
		}
		var answer struct {
			Code, Message string
			Details       []struct {
				Type, Value string
				Debug       struct{ Code, Remedy string }
			}
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Code == "" {
			t.Errorf("%s: %.200s", c.name, body)
			continue
		}
		if c.code == "" {
			continue
		}
		if len(answer.Details) != 1 {
			t.Errorf("%s: no detail: %s", c.name, body)
			continue
		}
		raw, err := base64.RawStdEncoding.DecodeString(answer.Details[0].Value)
		d := new(assentv1.ErrorDetail)
		if err != nil || proto.Unmarshal(raw, d) != nil || d.Code.String() != c.code || d.Remedy == "" || d.What == "" {
			t.Errorf("%s: detail %v, want %s", c.name, d, c.code)
		}
		if api.HTTPStatus(d.Code) != c.status {
			t.Errorf("%s: the table says HTTP %d", c.name, api.HTTPStatus(d.Code))
		}
	}
}

func TestEveryCodeTravelsOverEveryProtocol(t *testing.T) {
	r, tok := clerk(t)
	for name, opt := range map[string]connect.ClientOption{"Connect": connect.WithClientOptions(), "gRPC": connect.WithGRPC(), "gRPC-Web": connect.WithGRPCWeb(), "JSON": connect.WithProtoJSON()} {
		c := r.ledger(opt)
		for _, e := range api.Entries() {
			if e.Connect == 0 {
				continue
			}
			sent := &api.Error{Code: e.Code, What: "what " + api.Name(e.Code), RetryAfter: 5 * time.Millisecond}
			r.w.mu.Lock()
			r.w.fail = sent
			r.w.mu.Unlock()
			_, err := c.Submit(t.Context(), with(tok, &assentv1.SubmitRequest{Transaction: []byte{1}}))
			want(t, name, err, e.Code)
			got := api.FromConnect(err)
			// A backend's own INTERNAL is not shown: its text is for the log.
			if e.Code == assentv1.Code_CODE_INTERNAL && strings.Contains(got.What, "what") || e.Code != assentv1.Code_CODE_INTERNAL && (got.What != sent.What || got.RetryAfter != sent.RetryAfter) {
				t.Errorf("%s: sent %+v, received %+v", name, sent, got)
			}
		}
	}
}

func TestErrorsOfBackends(t *testing.T) {
	r, tok := clerk(t)
	for name, c := range map[string]struct {
		err  error
		want api.Code
	}{
		"refusal":  {fmt.Errorf("execute: %w", record.Refuse(record.CodeWrongState, "consent is Revoked")), assentv1.Code_CODE_WRONG_STATE},
		"deadline": {fmt.Errorf("wait: %w", context.DeadlineExceeded), assentv1.Code_CODE_TIMEOUT},
		"canceled": {fmt.Errorf("wait: %w", context.Canceled), assentv1.Code_CODE_CANCELLED},
		"fault":    {errors.New("disk /secret: input/output error"), assentv1.Code_CODE_INTERNAL},
	} {
		r.w.mu.Lock()
		r.w.fail = c.err
		r.w.mu.Unlock()
		_, err := r.ledger().Submit(t.Context(), with(tok, &assentv1.SubmitRequest{Transaction: []byte{1}}))
		want(t, name, err, c.want)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: a fault's text crosses the wire: %v", name, err)
		}
		if got := api.FromConnect(err); name == "refusal" && got.Contract != "WRONG_STATE" {
			t.Errorf("contract code %q", got.Contract)
		}
	}
	if !strings.Contains(r.log.String(), "disk /secret") {
		t.Error("the fault is not in the log")
	}
}

func TestFieldsAreChecked(t *testing.T) {
	r, tok := clerk(t)
	c, d, p := r.ledger(), assentv1connect.NewDeliveryServiceClient(r.http, r.url), assentv1connect.NewProviderServiceClient(r.http, r.url)
	ctx, id := t.Context(), "0x"+strings.Repeat("ab", 32)
	submit := func(m *assentv1.SubmitRequest) error { _, err := c.Submit(ctx, with(tok, m)); return err }
	outcome := func(m *assentv1.GetOutcomeRequest) error { _, err := c.GetOutcome(ctx, with(tok, m)); return err }
	eval := func(m *assentv1.EvaluateRequest) error { _, err := c.Evaluate(ctx, with(tok, m)); return err }
	rec := func(m *assentv1.ProveRecordRequest) error { _, err := c.ProveRecord(ctx, with(tok, m)); return err }
	receipt := func(m *assentv1.ProveReceiptRequest) error { _, err := c.ProveReceipt(ctx, with(tok, m)); return err }
	part := func(m *assentv1.PutSealedPartRequest) error { _, err := d.PutSealedPart(ctx, with(tok, m)); return err }
	await := func(m *assentv1.AwaitAnswerRequest) error { _, err := d.AwaitAnswer(ctx, with(tok, m)); return err }
	bind := func(m *assentv1.BindRequest) error { _, err := p.Bind(ctx, with(tok, m)); return err }
	template := func(m *assentv1.CheckTemplateRequest) error { _, err := p.CheckTemplate(ctx, with(tok, m)); return err }
	build := func(m *assentv1.BuildAnswersRequest) error {
		s, err := p.BuildAnswers(ctx, with(tok, m))
		if err != nil {
			return err
		}
		defer s.Close()
		for s.Receive() {
		}
		return s.Err()
	}
	try := func(m *assentv1.TryTemplateRequest) error {
		s, err := p.TryTemplate(ctx, with(tok, m))
		if err != nil {
			return err
		}
		defer s.Close()
		for s.Receive() {
		}
		return s.Err()
	}
	params := func(names ...string) (out []*assentv1.ParamValue) {
		for _, n := range names {
			out = append(out, &assentv1.ParamValue{Name: n, Value: "1"})
		}
		return out
	}
	long := strings.Repeat("x", 65)
	for name, err := range map[string]error{
		"empty transaction":   submit(&assentv1.SubmitRequest{}),
		"large transaction":   submit(&assentv1.SubmitRequest{Transaction: make([]byte, api.MaxTransactionBytes+1)}),
		"long commit wait":    submit(&assentv1.SubmitRequest{Transaction: []byte{1}, Wait: assentv1.Wait_WAIT_COMMITTED, TimeoutMs: 60_001}),
		"id without 0x":       outcome(&assentv1.GetOutcomeRequest{TxId: id[2:] + "ab"}),
		"id in capitals":      outcome(&assentv1.GetOutcomeRequest{TxId: strings.ToUpper(id[2:])}),
		"id not hex":          outcome(&assentv1.GetOutcomeRequest{TxId: "0x" + strings.Repeat("zz", 32)}),
		"long wait":           outcome(&assentv1.GetOutcomeRequest{TxId: id, WaitMs: 60_001}),
		"no contract":         eval(&assentv1.EvaluateRequest{Function: "f"}),
		"no function":         eval(&assentv1.EvaluateRequest{Contract: "c"}),
		"long contract":       eval(&assentv1.EvaluateRequest{Contract: long, Function: "f"}),
		"17 arguments":        eval(&assentv1.EvaluateRequest{Contract: "c", Function: "f", Args: make([]string, 17)}),
		"large arguments":     eval(&assentv1.EvaluateRequest{Contract: "c", Function: "f", Args: []string{strings.Repeat("x", api.MaxArgsBytes+1)}}),
		"long read wait":      eval(&assentv1.EvaluateRequest{Contract: "c", Function: "f", WaitMs: 60_001}),
		"no key":              rec(&assentv1.ProveRecordRequest{}),
		"key without slash":   rec(&assentv1.ProveRecordRequest{Key: "consent"}),
		"key of a log row":    rec(&assentv1.ProveRecordRequest{Key: "access/log/request/a"}),
		"key of an index row": rec(&assentv1.ProveRecordRequest{Key: "access/ix/a"}),
		"long key":            rec(&assentv1.ProveRecordRequest{Key: "a/" + strings.Repeat("x", api.MaxKeyBytes)}),
		"17 keys":             receipt(&assentv1.ProveReceiptRequest{TxId: id, Keys: make([]string, 17)}),
		"bad key":             receipt(&assentv1.ProveReceiptRequest{TxId: id, Keys: []string{"x"}}),
		"no consent":          part(&assentv1.PutSealedPartRequest{Version: 1, Recipient: "b", Sealed: []byte{1}}),
		"no version":          part(&assentv1.PutSealedPartRequest{ConsentId: "c", Recipient: "b", Sealed: []byte{1}}),
		"no recipient":        part(&assentv1.PutSealedPartRequest{ConsentId: "c", Version: 1, Sealed: []byte{1}}),
		"nothing sealed":      part(&assentv1.PutSealedPartRequest{ConsentId: "c", Version: 1, Recipient: "b"}),
		"much sealed":         part(&assentv1.PutSealedPartRequest{ConsentId: "c", Version: 1, Recipient: "b", Sealed: make([]byte, api.MaxSealedBytes+1)}),
		"request id":          await(&assentv1.AwaitAnswerRequest{RequestId: "r1"}),
		"answer wait":         await(&assentv1.AwaitAnswerRequest{RequestId: id, TimeoutMs: 60_001}),
		"no subject":          bind(&assentv1.BindRequest{Wallet: "0x" + strings.Repeat("ab", 20)}),
		"long subject":        bind(&assentv1.BindRequest{Subject: strings.Repeat("s", 257), Wallet: "0x" + strings.Repeat("ab", 20)}),
		"bad wallet":          bind(&assentv1.BindRequest{Subject: "s", Wallet: "0x12"}),
		"build of nothing":    build(&assentv1.BuildAnswersRequest{Epoch: 2}),
		"build for no epoch":  build(&assentv1.BuildAnswersRequest{TemplateId: "t"}),
		"build: many params":  build(&assentv1.BuildAnswersRequest{TemplateId: "t", Epoch: 2, Params: params(make([]string, api.MaxFilters+1)...)}),
		"build: param twice":  build(&assentv1.BuildAnswersRequest{TemplateId: "t", Epoch: 2, Params: params("p", "p")}),
		"build: long param":   build(&assentv1.BuildAnswersRequest{TemplateId: "t", Epoch: 2, Params: params(strings.Repeat("x", 2*api.MaxNameBytes))}),
		"trial of nothing":    try(&assentv1.TryTemplateRequest{}),
		"trial: much text":    try(&assentv1.TryTemplateRequest{TemplateJson: strings.Repeat("x", api.MaxTemplateBytes+1)}),
		"trial: k of one":     try(&assentv1.TryTemplateRequest{TemplateJson: "{}", K: 1}),
		"trial: vast k":       try(&assentv1.TryTemplateRequest{TemplateJson: "{}", K: 1_000_001}),
		"trial: param twice":  try(&assentv1.TryTemplateRequest{TemplateJson: "{}", Params: params("p", "p")}),
		"trial: many params":  try(&assentv1.TryTemplateRequest{TemplateJson: "{}", Params: params(make([]string, api.MaxFilters+1)...)}),
		"no template":         template(&assentv1.CheckTemplateRequest{}),
		"large template":      template(&assentv1.CheckTemplateRequest{TemplateJson: strings.Repeat("x", api.MaxTemplateBytes+1)}),
	} {
		want(t, name, err, assentv1.Code_CODE_BAD_REQUEST)
	}
	if len(r.w.submitted) != 0 || len(r.w.bound) != 0 {
		t.Error("a refused request reached its backend")
	}
}

func TestAnswersOfTheLedgerService(t *testing.T) {
	r, tok := clerk(t)
	c, ctx := r.ledger(), t.Context()
	tx := []byte("signed bytes")
	id := ledger.Sum(tx)

	plain, err := c.Submit(ctx, with(tok, &assentv1.SubmitRequest{Transaction: tx}))
	want(t, "submit", err, 0)
	if plain.Msg.TxId != hex0x(id[:]) || plain.Msg.Outcome != nil {
		t.Errorf("submit: %v", plain.Msg)
	}
	waited, err := c.Submit(ctx, with(tok, &assentv1.SubmitRequest{Transaction: tx, Wait: assentv1.Wait_WAIT_COMMITTED}))
	want(t, "submit and wait", err, 0)
	if o := waited.Msg.Outcome; o.Height != 7 || o.Index != 2 || o.Code != "OK" || string(o.Payload) != `{"a":1}` || len(o.Events) != 1 || o.Events[0].Index != 3 || o.BlockTimeMs == 0 {
		t.Errorf("outcome: %v", o)
	}
	_, err = c.GetOutcome(ctx, with(tok, &assentv1.GetOutcomeRequest{TxId: hex0x(make([]byte, 32))}))
	want(t, "unknown transaction", err, assentv1.Code_CODE_NOT_COMMITTED)

	g, err := c.GetGenesis(ctx, with("", &assentv1.GetGenesisRequest{}))
	want(t, "genesis", err, 0)
	if conf, err := ledger.DecodeConfig(g.Msg.Config); err != nil || conf.Hash() != r.w.genesis.Hash() {
		t.Errorf("genesis: %v", err)
	}
	b, err := c.GetBlock(ctx, with(tok, &assentv1.GetBlockRequest{Height: 9}))
	want(t, "block", err, 0)
	if string(b.Msg.Block) != "block" || string(b.Msg.Certificate) != "certificate" {
		t.Errorf("block: %v", b.Msg)
	}
	_, err = c.GetBlock(ctx, with(tok, &assentv1.GetBlockRequest{Height: 10}))
	want(t, "block above the tip", err, assentv1.Code_CODE_NOT_FOUND)
	for asked, height := range map[*uint64]ledger.Height{nil: 9, proto.Uint64(0): 0, proto.Uint64(4): 4} {
		h, err := c.GetHeader(ctx, with(tok, &assentv1.GetHeaderRequest{Height: asked}))
		want(t, "header", err, 0)
		if got, err := ledger.DecodeCertifiedHeader(h.Msg.CertifiedHeader); err != nil || got.Header.Height != height {
			t.Errorf("header of %v: %v, %v", asked, got, err)
		}
	}
	rec, err := c.ProveRecord(ctx, with(tok, &assentv1.ProveRecordRequest{Key: "consent/rec/c1"}))
	want(t, "prove record", err, 0)
	if p, err := ledger.DecodeStateProof(rec.Msg.StateProof); err != nil || p.Key != "consent/rec/c1" {
		t.Errorf("proof: %v, %v", p, err)
	}
	cp, err := c.GetConfigProofs(ctx, with(tok, &assentv1.GetConfigProofsRequest{}))
	want(t, "config proofs", err, 0)
	if p, err := ledger.DecodeConfigProof(cp.Msg.ConfigProofs[0]); err != nil || !bytes.Equal(p.Update, []byte{1}) {
		t.Errorf("config proof: %v, %v", p, err)
	}
}

func TestReceiptsComeWithTheRecordsTheyProve(t *testing.T) {
	r, tok := clerk(t)
	c, ctx := r.ledger(), t.Context()
	ask := func(keys ...string) (*assentv1.ProveReceiptResponse, error) {
		resp, err := c.ProveReceipt(ctx, with(tok, &assentv1.ProveReceiptRequest{TxId: "0x" + strings.Repeat("ab", 32), Keys: keys}))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}
	r.w.rows["access/log/request/a"] = []byte("value")
	got, err := ask("access/log/request/a")
	want(t, "record", err, 0)
	if p, err := ledger.DecodeReceiptProof(got.ReceiptProof); err != nil || !p.Wrote(got.Records[0].Key, got.Records[0].Value) {
		t.Errorf("%v, %v", got, err)
	}
	_, err = ask("access/log/request/b")
	want(t, "not written by it", err, assentv1.Code_CODE_NOT_FOUND)
	r.w.rows["access/log/request/a"] = []byte("later value")
	_, err = ask("access/log/request/a")
	want(t, "replaced since", err, assentv1.Code_CODE_NOT_FOUND)
	_, err = ask()
	want(t, "without keys", err, 0)
}

func TestGRPCWebIsSpoken(t *testing.T) {
	r, tok := clerk(t)
	msg, err := proto.Marshal(&assentv1.EvaluateRequest{Contract: "catalog", Function: "GetProduct", Args: []string{"p"}})
	if err != nil {
		t.Fatal(err)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg)))
	status, body, header := r.post(r.client(false), evaluatePath, tok, "application/grpc-web+proto", string(append(frame, msg...)))
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "application/grpc-web") || !strings.Contains(body, "grpc-status: 0") || !strings.Contains(body, "catalog.GetProduct") {
		t.Errorf("%d %v %q", status, header, body)
	}
	status, _, _ = r.post(r.http, evaluatePath, tok, "text/plain", "{}")
	if status != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain is answered %d", status)
	}
	if status, _, _ := r.post(r.http, "/index.html", "", "text/html", ""); status != 404 {
		t.Errorf("an unknown path in no protocol of ours is answered %d", status)
	}
}
