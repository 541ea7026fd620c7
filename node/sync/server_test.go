package sync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/store"
)

func newServer(t *testing.T, s *store.Store, change func(*ServerConfig)) *Server {
	t.Helper()
	cfg := ServerConfig{Store: s}
	if change != nil {
		change(&cfg)
	}
	server, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func askBlocks(t *testing.T, s *Server, from string, r blocksRequest) *blocksAnswer {
	t.Helper()
	r.Tag = tagBlocks
	b, err := s.Handle(t.Context(), from, encode(&r))
	if err != nil {
		t.Fatal(err)
	}
	a, err := decodeBlocksAnswer(b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBlocksAreBoundedByBytesButOneAlwaysComes(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(10)
	s := newServer(t, newStore(t, c, 10), func(c *ServerConfig) { c.MaxBytes = 5000 })
	one := len(c.Blocks[1].Encode()) + len(c.Certs[1].Encode()) + 16
	for _, tt := range []struct {
		from  ledger.Height
		bytes int
		want  int
	}{
		{1, 0, 1}, {1, one - 1, 1}, {1, 2 * one, 2}, {1, 1 << 30, 5000 / one}, {10, 1 << 30, 1}, {11, 1 << 30, 0}, {1 << 60, 1 << 30, 0},
	} {
		a := askBlocks(t, s, "p", blocksRequest{From: tt.from, MaxBytes: uint64(tt.bytes)})
		if len(a.Blocks) != tt.want || a.Tip != 10 {
			t.Errorf("from %d, %d bytes: %d blocks, want %d; tip %d", tt.from, tt.bytes, len(a.Blocks), tt.want, a.Tip)
		}
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	s := newServer(t, newStore(t, ledgertest.NewChain(ledgertest.Config(1)), 0), nil)
	for what, req := range map[string][]byte{
		"nothing":         nil,
		"garbage":         []byte("garbage"),
		"unknown tag":     encode(&statusRequest{Tag: "assent/sync/status/9"}),
		"an answer":       encode(&headersAnswer{Tag: tagHeadersAnswer}),
		"bytes behind":    append(encode(&statusRequest{Tag: tagStatus}), 0),
		"fields missing":  encode(&struct{ Tag string }{tagStatus}),
		"too long":        encode(&struct{ Tag, Rest string }{tagStatus, strings.Repeat("x", maxRequest)}),
		"genesis":         encode(&blocksRequest{Tag: tagBlocks}),
		"genesis header":  encode(&headersRequest{Tag: tagHeaders, Max: 1}),
		"genesis config":  encode(&configsRequest{Tag: tagConfigs, Max: 1}),
		"a leading zero":  {0xc2, 0x81, 0x00},
		"a very long tag": encode(&struct{ Tag string }{strings.Repeat("x", 200)}),
	} {
		if b, err := s.Handle(t.Context(), "p", req); err == nil {
			t.Errorf("%s: answered %x", what, b)
		}
	}
}

func TestARequestIsHeldUntilTheBlockComes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ledgertest.NewChain(ledgertest.Config(1)).Grow(3)
		blocks := newStore(t, c, 2)
		defer blocks.Close()
		s := newServer(t, blocks, func(c *ServerConfig) { c.MaxWaits = 3 })
		wait := blocksRequest{From: 3, MaxBytes: 1, WaitMillis: 60_000}

		start := time.Now()
		if a := askBlocks(t, s, "p", wait); len(a.Blocks) != 0 || time.Since(start) != 10*time.Second {
			t.Errorf("%d blocks after %s, want none after the longest wait", len(a.Blocks), time.Since(start))
		}
		start = time.Now()
		if askBlocks(t, s, "p", blocksRequest{From: 4, WaitMillis: 5000}); time.Since(start) != 0 {
			t.Errorf("a height further up was waited for")
		}

		results := make(chan *blocksAnswer, 3)
		hold := func(peer string) {
			go func() { results <- askBlocks(t, s, peer, wait) }()
			synctest.Wait()
		}
		refused := func(peer string) {
			t.Helper()
			if a := askBlocks(t, s, peer, wait); len(a.Blocks) != 0 || time.Since(start) != 0 {
				t.Errorf("%s was held although enough are", peer)
			}
		}
		hold("first")
		hold("second")
		refused("first") // one a peer
		hold("third")
		refused("fourth") // three in all
		grow(t, blocks, c, 3)
		for range 3 {
			if a := <-results; len(a.Blocks) != 1 || a.Tip != 3 {
				t.Errorf("%d blocks, tip %d", len(a.Blocks), a.Tip)
			}
		}
		if time.Since(start) != 0 {
			t.Errorf("woken after %s", time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wait.From, wait.Tag = 4, tagBlocks
		if _, err := s.Handle(ctx, "p", encode(&wait)); err != nil || time.Since(start) != 0 {
			t.Errorf("a cancelled wait: %v after %s", err, time.Since(start))
		}
	})
}

func TestAPeerThatAsksTooOftenIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := newStore(t, ledgertest.NewChain(ledgertest.Config(1)), 0)
		defer blocks.Close()
		s := newServer(t, blocks, func(c *ServerConfig) { c.Rate = 10 })
		req := encode(&statusRequest{Tag: tagStatus})
		refused := 0
		for range 30 {
			if _, err := s.Handle(t.Context(), "greedy", req); errors.Is(err, ErrTooMany) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused != 10 {
			t.Errorf("%d of 30 were refused, want 10", refused)
		}
		if _, err := s.Handle(t.Context(), "modest", req); err != nil {
			t.Errorf("another peer: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := s.Handle(t.Context(), "greedy", req); err != nil {
			t.Errorf("a second later: %v", err)
		}
		for i := range 3 * maxPeers {
			_, _ = s.Handle(t.Context(), fmt.Sprint(i), req)
		}
		if len(s.peers) > maxPeers {
			t.Errorf("%d peers are remembered", len(s.peers))
		}
		time.Sleep(time.Minute)
		if _, err := s.Handle(t.Context(), "late", req); err != nil {
			t.Errorf("after the others are forgotten: %v", err)
		}
	})
}

func TestStatusIsSignedByValidatorsAndProvesItsHeight(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(3)
	mine := newStore(t, c, 0)
	for _, tt := range []struct {
		name    string
		tip     int
		voted   ledger.Height
		want    ledger.Height
		signed  bool
		proving bool
	}{
		{"validator that voted for the next", 3, 4, 4, true, true},
		{"validator that voted for the tip", 3, 3, 3, true, true},
		{"validator that caught up since its last vote", 3, 1, 3, true, true},
		{"validator at genesis", 0, 0, 0, true, true},
		{"validator that does not know its votes yet", 3, 0, 3, false, true},
		{"observer", 3, 0, 3, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, newStore(t, c, tt.tip), func(cfg *ServerConfig) {
				if tt.name != "observer" {
					cfg.Voter = voter(ledgertest.VoteKey(2), func() ledger.Height { return tt.voted })
				}
			})
			nonce := newNonce()
			b, err := s.Handle(t.Context(), "p", encode(&statusRequest{tagStatus, nonce}))
			if err != nil {
				t.Fatal(err)
			}
			st, proven, err := checkStatus(mine, b, nonce)
			if err != nil || proven != tt.proving || st.Voted != tt.want || int(st.Height) != tt.tip {
				t.Fatalf("%+v, proven %t, %v", st, proven, err)
			}
			if err := st.Verify(c.ChainID(), nonce, c.Config, 2); (err == nil) != tt.signed {
				t.Errorf("signature: %v", err)
			}
			if _, _, err := checkStatus(mine, b, newNonce()); err == nil {
				t.Error("it answers another nonce")
			}
		})
	}
}

func voter(key ledger.Signer, voted func() ledger.Height) func() (ledger.Signer, ledger.Height) {
	return func() (ledger.Signer, ledger.Height) { return key, voted() }
}

func TestServerConfigIsChecked(t *testing.T) {
	s := newStore(t, ledgertest.NewChain(ledgertest.Config(1)), 0)
	for what, cfg := range map[string]ServerConfig{
		"no store":       {},
		"huge responses": {Store: s, MaxBytes: maxResponse},
	} {
		if _, err := NewServer(cfg); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, err := NewClient(ClientConfig{}); err == nil {
		t.Error("empty client config: accepted")
	}
	if _, err := NewView(ViewConfig{}); err == nil {
		t.Error("empty view config: accepted")
	}
}
