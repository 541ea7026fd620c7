package sdk_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

func TestDialRefusesWhatCannotWork(t *testing.T) {
	w := newWorld(t)
	genesis := sdk.WithGenesis(w.net.Genesis.Encode())
	url := w.node.URL()
	for _, tc := range []struct {
		name string
		urls []string
		opts []sdk.Option
	}{
		{"no endpoint", nil, []sdk.Option{genesis}},
		{"too many endpoints", make([]string, 17), []sdk.Option{genesis}},
		{"no scheme", []string{"node:7443"}, []sdk.Option{genesis}},
		{"tokens in the clear", []string{"http://node.example:80"}, []sdk.Option{genesis}},
		{"malformed pin", []string{url + "#sha256=12"}, []sdk.Option{genesis}},
		{"no network pinned", []string{url}, nil},
		{"genesis that is none", []string{url}, []sdk.Option{sdk.WithGenesis([]byte("x"))}},
		{"genesis and another chain id", []string{url}, []sdk.Option{genesis, sdk.WithChainID(hashOf("x"))}},
		{"identity without signer", []string{url}, []sdk.Option{genesis, sdk.WithIdentity("lender", nil)}},
		{"identity with a malformed member", []string{url}, []sdk.Option{genesis, sdk.WithIdentity("a member", fakenode.Signer("x"))}},
		{"negative timeout", []string{url}, []sdk.Option{genesis, sdk.WithTimeouts(sdk.Timeouts{Call: -1})}},
		{"no attempt", []string{url}, []sdk.Option{genesis, sdk.WithAttempts(0)}},
		{"subject without signer", []string{url}, []sdk.Option{genesis, sdk.WithSubject(nil)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := sdk.Dial(t.Context(), tc.urls, tc.opts...)
			var conf *sdk.ConfigError
			if !errors.As(err, &conf) || conf.Remedy == "" || sdk.Retryable(err) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestDialChecksWhoAnswers(t *testing.T) {
	w := newWorld(t)
	other := fakenode.New(func() time.Time { return time.Now().Add(-time.Minute) })
	node := fakenode.Serve(other, fakenode.Lender)
	t.Cleanup(node.Close)

	t.Run("a node of another network", func(t *testing.T) {
		_, err := w.tryDial("", "", []*fakenode.Node{node}, sdk.WithAttempts(1))
		if sdk.CodeOf(err) != "WRONG_CHAIN" {
			t.Errorf("error %v", err)
		}
		c, err := w.tryDial("", "", []*fakenode.Node{node, w.node})
		if err != nil {
			t.Fatalf("the second node was not tried: %v", err)
		}
		c.Close()
	})
	t.Run("another key than pinned", func(t *testing.T) {
		_, err := sdk.Dial(t.Context(), []string{w.node.URL()}, sdk.WithGenesis(w.net.Genesis.Encode()), sdk.WithTLSPin(hashOf("pin")))
		if !errors.Is(err, sdk.ErrPin) || sdk.Retryable(err) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("an authority that nobody knows", func(t *testing.T) {
		if _, err := sdk.Dial(t.Context(), []string{w.node.URL()}, sdk.WithGenesis(w.net.Genesis.Encode()), sdk.WithAttempts(1)); err == nil {
			t.Error("a self-signed certificate was taken without a pin")
		}
	})
	t.Run("genesis fetched and held against its hash", func(t *testing.T) {
		pin := sdk.WithTLSPin(w.node.Pin())
		c, err := sdk.Dial(t.Context(), []string{w.node.URL()}, sdk.WithChainID(w.net.ChainID()), pin)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.Genesis().Hash() != w.net.ChainID() {
			t.Error("another genesis config")
		}
		w.node.Tamper("GetGenesis", func(m proto.Message) { m.(*v1.GetGenesisResponse).Config = other.Genesis.Encode() })
		defer w.node.Tamper("GetGenesis", nil)
		_, err = sdk.Dial(t.Context(), []string{w.node.URL()}, sdk.WithChainID(w.net.ChainID()), pin)
		wantLie(t, err, "it founds network")
	})
	t.Run("any network, on request", func(t *testing.T) {
		c, err := sdk.Dial(t.Context(), []string{w.node.URL()}, sdk.WithAnyChain(), sdk.WithTLSPin(w.node.Pin()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := c.Genesis().Hash(); got != w.net.ChainID() || c.ChainID() != got {
			t.Errorf("genesis config of network %s, chain id %s", got, c.ChainID())
		}
	})
	t.Run("nobody", func(t *testing.T) {
		_, err := sdk.Dial(t.Context(), []string{"https://" + silent(t)}, sdk.WithGenesis(w.net.Genesis.Encode()),
			sdk.WithTimeouts(sdk.Timeouts{Connect: 50 * time.Millisecond, Call: 100 * time.Millisecond}), sdk.WithAttempts(1))
		if !sdk.Retryable(err) {
			t.Errorf("error %v", err)
		}
	})
}

func TestGenesisFileAndBytesFoundTheSameNetwork(t *testing.T) {
	genesis := fakenode.New(time.Now).Genesis
	file, err := sdk.FormatGenesis(genesis)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{file, genesis.Encode(), append([]byte("\n "), file...)} {
		got, err := sdk.ParseGenesis(data)
		if err != nil || got.Hash() != genesis.Hash() {
			t.Errorf("%.20q: %v", data, err)
		}
	}
	for name, bad := range map[string]string{
		"unknown field": strings.Replace(string(file), `"network"`, `"netwerk"`, 1),
		"later config":  strings.Replace(string(file), `"seq": 0`, `"seq": 1`, 1),
		"more":          string(file) + "{}",
		"a broken rule": strings.Replace(string(file), `"AUDITOR"`, `"OWNER"`, 1),
		"cut off":       string(file[:100]),
		"too long":      strings.Repeat(" ", sdk.MaxGenesisFile) + string(file),
	} {
		if _, err := sdk.ParseGenesis([]byte(bad)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestFailoverSticksToWhoServes(t *testing.T) {
	w := newWorld(t)
	second := w.serve(fakenode.Lender)
	c := w.dial("integration lender", fakenode.Lender, []*fakenode.Node{w.node, second}, sdk.WithTimeouts(quick))
	w.node.Fail("Evaluate", fakenode.Unavailable)
	for range 3 {
		if _, err := c.Members().Get(t.Context(), fakenode.Bank); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := w.node.Calls("Evaluate"), second.Calls("Evaluate"); a != 1 || b != 3 {
		t.Errorf("the first node was asked %d times, the second %d", a, b)
	}
	second.Fail("Evaluate", fakenode.Unavailable)
	if _, err := c.Members().Get(t.Context(), fakenode.Bank); sdk.CodeOf(err) != "NOT_READY" || !sdk.Retryable(err) {
		t.Errorf("both down: %v", err)
	}
	w.node.Fail("Evaluate", nil)
	if _, err := c.Members().Get(t.Context(), fakenode.Bank); err != nil {
		t.Error(err)
	}
	if _, err := c.Members().Get(t.Context(), "nobody"); sdk.CodeOf(err) != record.CodeNotFound {
		t.Errorf("an answer is not a reason to ask another: %v", err)
	}
}

// So does submitting: a node that is down is not tried before each transaction.
func TestSubmittingSticksToTheOwnNodeThatServes(t *testing.T) {
	w := newWorld(t)
	second := w.serve(fakenode.Lender)
	c := w.dial("admin lender", fakenode.Lender, []*fakenode.Node{w.node, second}, sdk.WithTimeouts(quick))
	w.node.Fail("Submit", fakenode.Unavailable)
	for _, name := range []string{"a", "b", "c"} {
		_, err := c.Submit(t.Context(), register(w, c, name))
		w.must(err)
	}
	if a, b := w.node.Calls("Submit"), second.Calls("Submit"); a != 1 || b != 3 {
		t.Errorf("the node that is down was asked %d times, the other %d", a, b)
	}
}

// Submitting goes to the member's own nodes, whichever read last.
func TestTransactionsGoToOwnNodes(t *testing.T) {
	w := newWorld(t)
	foreign := w.serve(fakenode.Bank)
	c := w.dial("integration lender", fakenode.Lender, []*fakenode.Node{foreign, w.node}, sdk.WithTimeouts(quick))
	w.authorised(c)
	if n := foreign.Calls("Submit"); n != 0 {
		t.Errorf("%d transactions went to another member's node", n)
	}
}

func TestTokensAreReusedAndRenewed(t *testing.T) {
	w := newWorld(t)
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w.net.Now = clock
	c := w.lender(sdk.WithClock(clock), sdk.WithTimeouts(quick))
	read := func() {
		t.Helper()
		if _, err := c.Members().Get(t.Context(), fakenode.Bank); err != nil {
			t.Error(err)
		}
	}
	read()
	read()
	if n := w.node.Tokens(); n != 1 {
		t.Errorf("%d tokens for two calls", n)
	}
	ahead.Store(int64(4 * time.Minute)) // nearly over: a new one before the node complains
	read()
	if n := w.node.Tokens(); n != 2 {
		t.Errorf("%d tokens after four minutes", n)
	}
	w.node.Rename("restarted") // the node does not take the old audience any more
	read()
	if n := w.node.Tokens(); n != 3 {
		t.Errorf("%d tokens after the node's restart", n)
	}
}

func TestMiddlewareSeesCallsAndPinsHold(t *testing.T) {
	w := newWorld(t)
	var seen atomic.Int32
	wrap := func(next http.RoundTripper) http.RoundTripper {
		return tripper(func(r *http.Request) (*http.Response, error) {
			seen.Add(1)
			return next.RoundTrip(r)
		})
	}
	c := w.lender(sdk.WithMiddleware(wrap))
	if _, err := c.Members().Get(t.Context(), fakenode.Bank); err != nil || seen.Load() < 2 {
		t.Errorf("%d calls seen, %v", seen.Load(), err)
	}
	_, err := sdk.Dial(t.Context(), []string{w.node.URL()}, sdk.WithGenesis(w.net.Genesis.Encode()), sdk.WithTLSPin(hashOf("pin")), sdk.WithMiddleware(wrap))
	if !errors.Is(err, sdk.ErrPin) {
		t.Errorf("error %v", err)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A client walks config changes and refuses forged ones.
func TestConfigWalk(t *testing.T) {
	w := newWorld(t)
	pins := filepath.Join(t.TempDir(), "pins.json")
	c := w.lender(sdk.WithTimeouts(quick), sdk.WithPinFile(pins))
	prove := func(c *sdk.Client) error {
		_, err := c.Proofs().Record(t.Context(), record.MemberKey(fakenode.Bank))
		return err
	}
	w.must(prove(c))
	for range 3 {
		w.net.Reconfigure(func(c *ledger.Config) { c.Limits.MaxBlockRequests-- })
	}
	forgeries := []struct {
		name string
		lie  func(p *ledger.ConfigProof)
		why  string
	}{
		{"an update with other limits", func(p *ledger.ConfigProof) {
			u, err := ledger.DecodeUpdate(p.Update)
			w.must(err)
			u.Config.Limits.MaxBlockRequests = 7
			p.Update = u.Encode()
		}, "does not hold this update alone"},
		{"a block of its own with forged approvals", func(p *ledger.ConfigProof) {
			u, err := ledger.DecodeUpdate(p.Update)
			w.must(err)
			u.Config.Limits.MaxBlockRequests = 7
			p.Update = u.Encode()
			p.Header.Header.TxRoot = ledger.TxRoot([][]byte{p.Update})
			p.Header.Certificate = *fakenode.Certify(&p.Header.Header, 1, 2, 3)
		}, "another key"},
		{"approvals of two members of four", func(p *ledger.ConfigProof) {
			u, err := ledger.DecodeUpdate(p.Update)
			w.must(err)
			u.Approvals = u.Approvals[:2]
			p.Update = u.Encode()
			p.Header.Header.TxRoot = ledger.TxRoot([][]byte{p.Update})
			p.Header.Certificate = *fakenode.Certify(&p.Header.Header, 1, 2, 3)
		}, "more than two thirds"},
		{"too few votes", func(p *ledger.ConfigProof) { p.Header.Certificate.Votes = p.Header.Certificate.Votes[:2] }, "3 are needed"},
	}
	for _, tc := range forgeries {
		t.Run(tc.name, func(t *testing.T) {
			w.node.Tamper("GetConfigProofs", func(m proto.Message) {
				r := m.(*v1.GetConfigProofsResponse)
				p, err := ledger.DecodeConfigProof(r.ConfigProofs[0])
				w.must(err)
				tc.lie(p)
				r.ConfigProofs[0] = p.Encode()
			})
			wantLie(t, prove(c), tc.why)
		})
	}
	t.Run("hiding the changes", func(t *testing.T) {
		w.node.Tamper("GetConfigProofs", func(m proto.Message) { m.(*v1.GetConfigProofsResponse).ConfigProofs = nil })
		wantLie(t, prove(c), "no config block after")
	})
	w.node.Tamper("GetConfigProofs", nil)
	w.must(prove(c))
	t.Run("pins outlive the client", func(t *testing.T) {
		w.node.Fail("GetConfigProofs", fakenode.Unavailable)
		defer w.node.Fail("GetConfigProofs", nil)
		again := w.lender(sdk.WithTimeouts(quick), sdk.WithPinFile(pins))
		w.must(prove(again))
		// What the validators of the first config sign says nothing of the present.
		stale, p := w.net.ProveRecordAt(3, record.MemberKey(fakenode.Bank))
		w.node.Tamper("ProveRecord", func(m proto.Message) {
			m.(*v1.ProveRecordResponse).CertifiedHeader, m.(*v1.ProveRecordResponse).StateProof = stale.Encode(), p.Encode()
		})
		defer w.node.Tamper("ProveRecord", nil)
		if err := prove(again); sdk.CodeOf(err) != "NOT_READY" || !strings.Contains(err.Error(), "was voted under config 0") {
			t.Errorf("a state that validators of the first config signed: %v", err)
		}
	})
	t.Run("a damaged pin file", func(t *testing.T) {
		b, err := os.ReadFile(pins)
		w.must(err)
		var file struct {
			ChainID sdk.Hash `json:"chainId"`
			Configs [][]byte `json:"configs"`
		}
		w.must(json.Unmarshal(b, &file))
		file.Configs[1][90] ^= 1
		b, err = json.Marshal(file)
		w.must(err)
		w.must(os.WriteFile(pins, b, 0o600))
		_, err = w.tryDial("", "", []*fakenode.Node{w.node}, sdk.WithPinFile(pins))
		var conf *sdk.ConfigError
		if !errors.As(err, &conf) || !strings.Contains(err.Error(), "config block 2") {
			t.Errorf("error %v", err)
		}
	})
}

// More than a third of the validators sign two blocks of one height: whoever
// sees both has the evidence.
func TestForkIsNoticed(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	ch, err := c.Proofs().Header(t.Context())
	w.must(err)
	w.node.Tamper("GetHeader", func(m proto.Message) {
		header(t, &m.(*v1.GetHeaderResponse).CertifiedHeader, func(c *ledger.CertifiedHeader) {
			c.Header.StateRoot = hashOf("fork")
			c.Certificate = *fakenode.Certify(&c.Header, 1, 2, 4)
		})
	})
	_, err = c.Proofs().Header(t.Context())
	if !errors.Is(err, sdk.ErrFork) || !strings.Contains(err.Error(), ch.Header.Hash().Hex()) {
		t.Errorf("error %v", err)
	}
}

func TestGenesisHeaderNeedsNoVotes(t *testing.T) {
	w := newWorld(t)
	c := w.lender(sdk.WithTimeouts(quick))
	w.node.Tamper("GetHeader", func(m proto.Message) {
		g := ledger.Genesis(w.net.Genesis)
		m.(*v1.GetHeaderResponse).CertifiedHeader = (&ledger.CertifiedHeader{Header: g.Header}).Encode()
	})
	if _, err := c.Proofs().Header(t.Context()); err != nil {
		t.Error(err)
	}
	w.node.Tamper("GetHeader", func(m proto.Message) {
		g := ledger.Genesis(w.net.Genesis)
		g.Header.Time++
		m.(*v1.GetHeaderResponse).CertifiedHeader = (&ledger.CertifiedHeader{Header: g.Header}).Encode()
	})
	_, err := c.Proofs().Header(t.Context())
	wantLie(t, err, "the genesis config founds")
}
