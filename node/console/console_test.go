package console

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"go.uber.org/goleak"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a node with a ledger, in memory.
type world struct {
	t *testing.T

	mu      sync.Mutex
	now     time.Time
	clients map[ledger.Address]*record.Client
	rows    map[string][]byte
	reads   int
	status  Status
	peers   []Peer
	checks  []Check
	blocks  []*ledger.Block
	log     bytes.Buffer

	console *Console
	server  *httptest.Server
}

var chainID = ledger.Hash{9}

func signerOf(name string) ledger.KeySigner {
	h := ledger.Sum([]byte("console test key"), []byte(name))
	k, err := crypto.ToECDSA(h[:])
	if err != nil {
		panic(err)
	}
	return ledger.NewKeySigner(k)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, now: time.UnixMilli(1_800_000_000_000), clients: map[ledger.Address]*record.Client{}, rows: map[string][]byte{},
		status: Status{Validator: 1, Height: 2, Executed: 2, Certified: 1, Leader: 2, View: 3, BlockTime: 1_799_999_999_000},
		peers: []Peer{
			{NodeID: "n2", Member: "bank-b", Validator: 2, Connected: true, RTT: time.Millisecond},
			{NodeID: "n3", Member: "quick-loan", Validator: 3, Connected: true},
			{NodeID: "n4", Member: "authority", Validator: 4, Connected: true},
		},
		checks: []Check{{Name: "disk", OK: true}},
	}
	for h := range 3 {
		w.blocks = append(w.blocks, &ledger.Block{Header: ledger.Header{Height: ledger.Height(h), Time: 1_799_999_990_000 + uint64(h)}})
	}
	for name, roles := range map[string][]record.ClientRole{"officer": {record.RoleOfficer}, "program": {record.RoleIntegration}} {
		a := signerOf(name).Address()
		w.clients[a] = &record.Client{Address: a, OrgID: "bank-a", Roles: roles, RegisteredAt: 1}
	}
	var err error
	w.console, err = New(Config{
		Keys: w, Ledger: w, Node: w, ChainID: chainID, NodeID: "n1", Member: "bank-a", Network: "test", Software: "v0",
		Clock: w.clock, Logger: slog.New(slog.NewJSONHandler(&lockedWriter{w: w}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(t, err)
	w.server = httptest.NewUnstartedServer(w.console)
	w.server.EnableHTTP2 = true
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	return w
}

type lockedWriter struct{ w *world }

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.log.Write(b)
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) put(key string, r record.Record) {
	w.t.Helper()
	b, err := record.Encode(r)
	must(w.t, err)
	w.set(func() { w.rows[key] = b })
}

func (w *world) Client(org record.OrgID, key ledger.Address) (*record.Client, record.Millis, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.clients[key]
	if c == nil || c.OrgID != org {
		return nil, 0, nil
	}
	held := *c
	return &held, w.now.UnixMilli(), nil
}

func (w *world) Row(_ context.Context, key string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	return w.rows[key], nil
}

func (w *world) below(prefix string) []string {
	var keys []string
	for k := range maps.Keys(w.rows) {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (w *world) Rows(prefix, after string, limit int) ([]Row, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Row
	for _, k := range w.below(prefix) {
		if k > after && len(out) < limit {
			out = append(out, Row{k, w.rows[k]})
		}
	}
	w.reads += len(out)
	return out, nil
}

func (w *world) Newest(prefix, before string, limit int) ([]Row, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := w.below(prefix)
	slices.Reverse(keys)
	var out []Row
	for _, k := range keys {
		if (before == "" || k < before) && len(out) < limit {
			out = append(out, Row{k, w.rows[k]})
		}
	}
	w.reads += len(out)
	return out, nil
}

func (w *world) Block(_ context.Context, h ledger.Height) (*ledger.Block, *ledger.Certificate, error) {
	if int(h) >= len(w.blocks) {
		return nil, nil, fmt.Errorf("block %d is above the tip", h)
	}
	return w.blocks[h], &ledger.Certificate{Votes: []ledger.Vote{{Validator: 1}, {Validator: 2}, {Validator: 3}}}, nil
}

func (w *world) Outcome(context.Context, ledger.Hash) (*Outcome, error) { return nil, nil }

func (w *world) Config() *ledger.Config {
	c := &ledger.Config{Network: "test"}
	for i, m := range []string{"bank-a", "bank-b", "quick-loan", "authority"} {
		c.Members = append(c.Members, ledger.Member{ID: m, Name: m, Roles: []string{"DATA_PROVIDER"}})
		c.Validators = append(c.Validators, ledger.Validator{ID: uint64(i + 1), Member: m})
	}
	return c
}

func (w *world) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

func (w *world) Peers() []Peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.peers)
}

func (w *world) Health(context.Context) []Check {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.checks)
}

// browser is a client with cookies that follows no redirect.
func (w *world) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	must(w.t, err)
	base := w.server.Client()
	return &http.Client{Transport: base.Transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (w *world) get(b *http.Client, path string) (*http.Response, string) {
	w.t.Helper()
	r, err := b.Get(w.server.URL + path)
	must(w.t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(w.t, err)
	return r, string(body)
}

var challengeIn = regexp.MustCompile(`data-challenge="([^"]+)"`)

func (w *world) challenge(b *http.Client) string {
	w.t.Helper()
	_, page := w.get(b, Path+"sign-in")
	found := challengeIn.FindStringSubmatch(page)
	if found == nil {
		w.t.Fatalf("no challenge in\n%s", page)
	}
	return found[1]
}

func (w *world) sign(name string, c token.Claims) string {
	w.t.Helper()
	if c.Audience == "" {
		c.Audience = token.Audience(chainID, "n1")
	}
	if c.IssuedAt.IsZero() {
		c.IssuedAt = w.clock()
	}
	c.Expires = c.IssuedAt.Add(2 * time.Minute)
	raw, err := token.Sign(signerOf(name), c)
	must(w.t, err)
	return raw
}

func (w *world) post(b *http.Client, raw string) (int, string) {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"token": raw})
	must(w.t, err)
	r, err := b.Post(w.server.URL+Path+"session", "application/json", bytes.NewReader(body))
	must(w.t, err)
	defer r.Body.Close()
	var said struct{ Error string }
	_ = json.NewDecoder(r.Body).Decode(&said) // empty when it went well
	return r.StatusCode, said.Error
}

// signedIn is a browser with a session of the officer.
func (w *world) signedIn() *http.Client {
	w.t.Helper()
	b := w.browser()
	if status, why := w.post(b, w.sign("officer", token.Claims{Org: "bank-a", ID: w.challenge(b)})); status != http.StatusNoContent {
		w.t.Fatalf("sign-in: %d %s", status, why)
	}
	return b
}

var allPages = []string{"", "blocks", "blocks/1", "consents", "requests", "products", "proposals", "members/authority", "health"}

func TestNothingIsShownWithoutASession(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, p := range append([]string{"health/report.json", "find?what=1"}, allPages...) {
		r, body := w.get(b, Path+p)
		to, err := url.Parse(r.Header.Get("Location"))
		must(t, err)
		if r.StatusCode != http.StatusSeeOther || to.Path != Path+"sign-in" || to.Query().Get("next") != Path+p || strings.Contains(body, "bank-b") {
			t.Errorf("%s: %d to %s\n%s", p, r.StatusCode, to, body)
		}
	}
	if r, body := w.get(b, Path+"live"); r.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("live: %d %s", r.StatusCode, body)
	}
	signed := w.signedIn()
	for _, p := range allPages {
		if r, body := w.get(signed, Path+p); r.StatusCode != http.StatusOK || !strings.Contains(body, "Sign out") || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
			t.Errorf("%s: %d\n%s", p, r.StatusCode, body)
		}
	}
}

func TestWhoMaySignIn(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	old := w.challenge(b)
	for name, c := range map[string]struct {
		key    string
		claims token.Claims
		change func()
		says   string
	}{
		"a challenge of its own making": {key: "officer", claims: token.Claims{Org: "bank-a", ID: "made-up"}, says: "load it again"},
		"another member":                {key: "officer", claims: token.Claims{Org: "bank-b"}, says: "keys of bank-a"},
		"a subject":                     {key: "officer", claims: token.Claims{Subject: true}, says: "keys of bank-a"},
		"a program's key":               {key: "program", claims: token.Claims{Org: "bank-a"}, says: "of a program"},
		"a stranger":                    {key: "mallory", claims: token.Claims{Org: "bank-a"}, says: "knows no client key"},
		"another node's token":          {key: "officer", claims: token.Claims{Org: "bank-a", Audience: token.Audience(chainID, "n2")}, says: "does not fit"},
		"a clock that is behind":        {key: "officer", claims: token.Claims{Org: "bank-a", IssuedAt: w.clock().Add(-10 * time.Minute)}, says: "clock"},
		"a challenge that is too old":   {key: "officer", claims: token.Claims{Org: "bank-a", ID: old}, change: func() { w.now = w.now.Add(challengeTime + time.Second) }, says: "open for too long"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change != nil {
				w.set(c.change)
			}
			if c.claims.ID == "" {
				c.claims.ID = w.challenge(b)
			}
			status, why := w.post(b, w.sign(c.key, c.claims))
			if status < 400 || status >= 500 || !strings.Contains(why, c.says) {
				t.Errorf("%d %q, want %q", status, why, c.says)
			}
			if r, _ := w.get(b, Path); r.StatusCode != http.StatusSeeOther {
				t.Error("it opened a session")
			}
		})
	}
}

func TestATokenSignsInOnce(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	raw := w.sign("officer", token.Claims{Org: "bank-a", ID: w.challenge(b)})
	if status, why := w.post(b, raw); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, why)
	}
	if status, _ := w.post(w.browser(), raw); status != http.StatusUnauthorized {
		t.Errorf("the same token again: %d", status)
	}
}

func TestHowSessionsEnd(t *testing.T) {
	for name, end := range map[string]func(w *world, b *http.Client){
		"idle": func(w *world, _ *http.Client) { w.set(func() { w.now = w.now.Add(idleTime + time.Second) }) },
		"old": func(w *world, b *http.Client) {
			for range int(sessionTime/(10*time.Minute)) + 1 {
				w.set(func() { w.now = w.now.Add(10 * time.Minute) })
				w.get(b, Path)
			}
		},
		"revoked": func(w *world, _ *http.Client) {
			w.set(func() { w.clients[signerOf("officer").Address()].RevokedAt = w.now.UnixMilli() })
		},
		"expired": func(w *world, _ *http.Client) {
			w.set(func() { w.clients[signerOf("officer").Address()].ValidUntil = w.now.UnixMilli() })
		},
		"signed out": func(w *world, b *http.Client) {
			r, err := b.Post(w.server.URL+Path+"sign-out", "", nil)
			must(w.t, err)
			r.Body.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.signedIn()
			before, _ := url.Parse(w.server.URL)
			kept := b.Jar.Cookies(before) // whoever copied the cookie has no more than its owner
			if r, _ := w.get(b, Path); r.StatusCode != http.StatusOK {
				t.Fatalf("before: %d", r.StatusCode)
			}
			end(w, b)
			b.Jar.SetCookies(before, kept)
			if r, _ := w.get(b, Path); r.StatusCode != http.StatusSeeOther {
				t.Errorf("after: %d", r.StatusCode)
			}
		})
	}
}

// What a page asks for by itself does not keep its session.
func TestThePictureKeepsNoSessionAlive(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn()
	for range 4 {
		w.set(func() { w.now = w.now.Add(idleTime / 3) })
		r, err := b.Get(w.server.URL + Path + "live")
		must(t, err)
		r.Body.Close()
	}
	if r, _ := w.get(b, Path); r.StatusCode != http.StatusSeeOther {
		t.Errorf("%d", r.StatusCode)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := newSessions(func() time.Time { return now })
	own := Caller{Org: "bank-a"}
	first := s.begin(own)
	for range maxPerKey {
		now = now.Add(time.Second)
		s.begin(own)
	}
	if _, ok := s.find(first, true); ok || len(s.open) != maxPerKey {
		t.Errorf("the oldest of a key's sessions is kept: %t, %d", ok, len(s.open))
	}
	for i := range maxSessions + 10 {
		s.begin(Caller{Org: "bank-a", Key: ledger.Address{1, byte(i), byte(i >> 8)}})
	}
	if len(s.open) != maxSessions {
		t.Errorf("%d sessions", len(s.open))
	}
	for range maxChallenges + 10 {
		s.challenge()
	}
	if len(s.challenges) != maxChallenges {
		t.Errorf("%d challenges", len(s.challenges))
	}
}

func TestPagesTrustNoOtherSite(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn()
	r, body := w.get(b, Path)
	policy := r.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("policy %q", policy)
	}
	for _, bad := range []string{"<script>", " style=", " onclick=", "javascript:", "hx-on", "http://", "https://"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	req, err := http.NewRequest(http.MethodPost, w.server.URL+Path+"sign-out", nil)
	must(t, err)
	req.Header.Set("Origin", "https://evil.example")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	r, err = b.Do(req)
	must(t, err)
	r.Body.Close()
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("another site's form: %d", r.StatusCode)
	}
	if r, _ := w.get(b, Path); r.StatusCode != http.StatusOK {
		t.Error("another site signed the officer out")
	}
	for next, want := range map[string]string{
		"https://evil.example/": Path, "//evil.example": Path, "/console/../x": "/console/../x", `/console/\evil`: Path, "/console/blocks?from=1": "/console/blocks?from=1",
		"javascript:alert(1)": Path, "/other": Path, "": Path, "/console/sign-in?next=x": Path,
	} {
		if got := ownPath(next); got != want {
			t.Errorf("next=%q leads to %q, want %q", next, got, want)
		}
	}
}

func TestACellIsNoFormula(t *testing.T) {
	for in, want := range map[string]string{"=1+1": "'=1+1", "@x": "'@x", "-2": "'-2", "+2": "'+2", "\t=1": "'\t=1", "bank-a": "bank-a", "": ""} {
		if got := cell(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

// What waits for an approval is shown with what to do.
func TestProposalsSayWhatToDo(t *testing.T) {
	w := newWorld(t)
	hash := record.Hash{7}
	w.put(record.ProposalKey(hash), &record.Proposal{
		Approvals: []record.Approval{{OrgID: "bank-b", Signature: make(record.Blob, 65)}}, ConfigHash: hash, ConfigSeq: 1, Needed: 3, Proposer: "bank-b", Status: record.ProposalOpen, Summary: []string{"adds validator 5 of bank-c"},
	})
	w.set(func() { w.rows[record.ProposalIndex(1, hash)] = []byte("{}") })
	_, body := w.get(w.signedIn(), Path+"proposals")
	for _, want := range []string{"adds validator 5 of bank-c", "1 of 3", "assent member preflight " + hash.Hex(), "OPEN"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
}

// What others put on the ledger is text on a page, and nothing else.
func TestRecordsAreShownAsText(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn()
	w.put(record.ProductKey("loans"), &record.Product{Provider: "bank-b", PublishedAt: 1, ProductSpec: record.ProductSpec{
		ProductID: "loans", Version: 1, Title: `<script>alert("x")</script><img src=x onerror=y>`, Purposes: []record.Purpose{record.CreditChecking}, Methods: record.Methods(),
		Columns: []record.Column{{Name: "a", Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 1, BitsPerYear: 1}}},
	}})
	for _, p := range []string{"products", "products/loans"} {
		if _, body := w.get(b, Path+p); strings.Contains(body, "<img src=x") || !strings.Contains(body, "&lt;script&gt;alert") {
			t.Errorf("%s:\n%s", p, body)
		}
	}
}

func TestAListIsShownNewestFirstAPageAtATime(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn()
	const n = 60
	for i := range n {
		id := record.NewConsentID([16]byte{byte(i)})
		status := record.Statuses()[i%2]
		at := record.Millis(1_799_000_000_000 + i)
		w.put(record.ConsentKey(id), &record.Consent{ConsentTerms: record.ConsentTerms{
			ConsentID: id, ConsentType: record.Separate, DataClasses: []record.DataClass{record.C2}, ExpirationDateTime: 1_900_000_000_000, ProductID: "loans",
			Purposes: []record.Purpose{record.CreditChecking}, ProcessingMethods: []record.TemplateKind{record.Bucket}, TemplateIDs: []record.TemplateID{"t"},
			Parties:      []record.Party{{PartyID: "quick-loan", Role: record.DataConsumer}, {PartyID: "bank-a", Role: record.DataProvider}},
			PrincipalRef: record.PrincipalRef(record.NewConsentID([16]byte{1, byte(i)})), SchemaVersion: 1, Version: 1,
		}, CreatedAt: at, Status: status})
		w.set(func() { w.rows[record.ConsentIndex("bank-a", status, at, id)] = []byte("{}") })
	}
	link := regexp.MustCompile(`href="/console/consents/([0-9a-fA-Fx-]+)"`)
	next := regexp.MustCompile(`before=([^"&]+)">Older`)
	var seen []string
	at := ""
	for page := 0; ; page++ {
		w.set(func() { w.reads = 0 })
		_, body := w.get(b, Path+"consents"+at)
		if w.reads > 6*rowsShown+20 {
			t.Errorf("page %d cost %d reads", page, w.reads)
		}
		for _, m := range link.FindAllStringSubmatch(body, -1) {
			seen = append(seen, m[1])
		}
		m := next.FindStringSubmatch(body)
		if m == nil {
			break
		}
		if page > n {
			t.Fatal("the list has no end")
		}
		at = "?before=" + m[1]
	}
	if len(seen) != n {
		t.Fatalf("%d of %d consents were listed", len(seen), n)
	}
	for i, id := range seen {
		if want := string(record.NewConsentID([16]byte{byte(n - 1 - i)})); id != want {
			t.Fatalf("number %d is %s, want %s", i, id, want)
		}
	}
	// Days are whole days, and an export holds what its list holds.
	first, second := time.UnixMilli(1_799_000_000_000).UTC().Format(dayForm), time.UnixMilli(1_799_000_000_000).UTC().AddDate(0, 0, 1).Format(dayForm)
	for asked, want := range map[string]int{
		"": n, "?from=" + first: n, "?from=" + first + "&to=" + first: n, "?from=" + second: 0, "?to=2020-01-01": 0, "?status=" + string(record.Statuses()[0]): n / 2,
	} {
		r, body := w.get(b, Path+"consents.csv"+asked)
		lines, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if err != nil || len(lines) != want+1 || !strings.HasPrefix(r.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%q exports %d lines, want %d: %v %v", asked, len(lines)-1, want, err, r.Header)
		}
		if want == n && lines[1][0] != seen[0] {
			t.Errorf("%q begins with %s", asked, lines[1][0])
		}
	}
	for _, bad := range []string{"?from=yesterday", "?from=2026-02-02&to=2026-02-01", "?party=nobody", "?status=Nonsense"} {
		if r, _ := w.get(b, Path+"consents.csv"+bad); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, r.StatusCode)
		}
	}
	if r, _ := w.get(b, Path+"consents?before=nonsense"); r.StatusCode != http.StatusBadRequest {
		t.Errorf("a place that no page ended with: %d", r.StatusCode)
	}
}

func TestThePictureSaysWhoIsDownAndWhatToDo(t *testing.T) {
	w := newWorld(t)
	if p := w.console.picture(); p.State != "good" || p.Reached != 4 || p.Margin != 1 || p.LeaderOf != "bank-b" {
		t.Errorf("%+v", p)
	}
	w.set(func() { w.peers[2].Connected = false })
	if p := w.console.picture(); p.State != "warn" || p.Margin != 0 || !strings.Contains(p.Why, "validator 4 of authority") {
		t.Errorf("one down: %+v", p)
	}
	w.set(func() { w.peers[1].Connected = false })
	if p := w.console.picture(); p.State != "bad" || p.Margin != -1 || !strings.Contains(p.Why, "Nothing is ordered") || !strings.Contains(p.Why, "validator 3 of quick-loan") {
		t.Errorf("two down: %+v", p)
	}
}

// The stream tells of a change at once, and ends with its session.
func TestTheStreamTellsOfAChange(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+Path+"live", nil)
	must(t, err)
	r, err := b.Do(req)
	must(t, err)
	defer r.Body.Close()
	if got := r.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("content type %q", got)
	}
	until := func(what string) {
		t.Helper()
		var all []byte
		buf := make([]byte, 4096)
		for !bytes.Contains(all, []byte(what)) {
			n, err := r.Body.Read(buf)
			all = append(all, buf[:n]...)
			if err != nil && !bytes.Contains(all, []byte(what)) {
				t.Fatalf("waiting for %q: %v after\n%s", what, err, all)
			}
		}
	}
	until("All validators are connected.")
	w.set(func() { w.peers[0].Connected = false })
	until("Not connected: validator 2 of bank-b")
	w.set(func() { w.clients[signerOf("officer").Address()].RevokedAt = w.now.UnixMilli() })
	until("event: ended")
}

func TestTheReportHoldsStatesOnly(t *testing.T) {
	w := newWorld(t)
	w.set(func() {
		w.checks = append(w.checks, Check{Name: "vault loans", Why: "down", Advisory: true}, Check{Name: "quorum", Why: "too few"})
	})
	_, body := w.get(w.signedIn(), Path+"health/report.json")
	var got struct {
		State    string
		Findings []map[string]string
		Peers    []struct{ Member string }
	}
	must(t, json.Unmarshal([]byte(body), &got))
	if got.State != "bad" || len(got.Findings) != 3 || got.Findings[1]["state"] != "warn" || len(got.Peers) != 4 {
		t.Errorf("%s", body)
	}
}

func TestFindingLeadsSomewhereOrSaysWhatToPaste(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn()
	for what, want := range map[string]string{"2": Path + "blocks/2", "0x" + strings.Repeat("ab", 32): Path + "transactions/0x" + strings.Repeat("ab", 32)} {
		if r, _ := w.get(b, Path+"find?what="+what); r.Header.Get("Location") != want {
			t.Errorf("%s leads to %s", what, r.Header.Get("Location"))
		}
	}
	if r, body := w.get(b, Path+"find?what=nonsense"); r.StatusCode != http.StatusNotFound || !strings.Contains(body, "Paste") {
		t.Errorf("%d", r.StatusCode)
	}
}

// Nobody's cookie, token or challenge is logged.
func TestSecretsAreNotLogged(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	challenge := w.challenge(b)
	raw := w.sign("officer", token.Claims{Org: "bank-a", ID: challenge})
	w.post(b, raw)
	w.post(b, raw)
	w.get(b, Path+"find?what=nonsense")
	u, _ := url.Parse(w.server.URL)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range []string{challenge, raw, b.Jar.Cookies(u)[0].Value, "nonsense"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, w.log.String())
		}
	}
	if !strings.Contains(w.log.String(), "signed in") {
		t.Error("a sign-in is not logged")
	}
}
