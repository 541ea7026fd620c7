package network

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
)

func TestPeerIDFromPublicKey(t *testing.T) {
	key, err := ethcrypto.HexToECDSA(strings.Repeat("42", 32))
	if err != nil {
		t.Fatal(err)
	}
	id, err := PeerIDFromPublicKey(ethcrypto.CompressPubkey(&key.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(t.Context(), Config{HostKey: key})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if id != h.ID() || !strings.HasPrefix(string(id), "16Uiu2HA") {
		t.Fatalf("id of the public key %s, of the host %s", id, h.ID())
	}
	for name, bad := range map[string][]byte{"short": make([]byte, 32), "uncompressed": ethcrypto.FromECDSAPub(&key.PublicKey), "no point": make([]byte, 33)} {
		if id, err := PeerIDFromPublicKey(bad); err == nil {
			t.Errorf("%s: %s", name, id)
		}
	}
}

func TestParsePeer(t *testing.T) {
	key, err := ethcrypto.HexToECDSA(strings.Repeat("42", 32))
	if err != nil {
		t.Fatal(err)
	}
	id, err := PeerIDFromPublicKey(ethcrypto.CompressPubkey(&key.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePeer("/dns4/node.bank.example/tcp/7400/p2p/" + string(id))
	if err != nil || p.ID != id || !p.Dial || len(p.Addrs) != 1 || p.Addrs[0] != "/dns4/node.bank.example/tcp/7400" {
		t.Errorf("%+v %v", p, err)
	}
	for _, bad := range []string{
		"", "/p2p/" + string(id), "/ip4/1.2.3.4/tcp/7400", "/ip4/1.2.3.4/tcp/7400/p2p/", "/ip4/1.2.3.4/tcp/7400/p2p/x", "/ip4/1.2.3.4/udp/7400/p2p/" + string(id),
		"/ip4/1.2.3.4/tcp/7400/p2p/" + string(id) + "/p2p-circuit", "/ip4/1.2.3.4/tcp/7400/p2p/" + string(id)[1:],
	} {
		if p, err := ParsePeer(bad); err == nil {
			t.Errorf("%q was taken as %+v", bad, p)
		}
	}
}

func TestOpenRefusesBadConfig(t *testing.T) {
	key, err := ethcrypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no key":          {Config{}, "no host key"},
		"not an address":  {Config{HostKey: key, Listen: []string{"localhost:7051"}}, "is no multiaddr"},
		"not tcp":         {Config{HostKey: key, Listen: []string{"/ip4/127.0.0.1/udp/7051"}}, "does not end in /tcp/<port>"},
		"foreign address": {Config{HostKey: key, Listen: []string{"/ip4/192.0.2.1/tcp/7051"}}, "configure one of its own"},
		"small queue":     {Config{HostKey: key, Limits: Limits{Tx: ClassLimits{Message: 100, QueueBytes: 99}}}, "cannot hold a message of 100"},
		"huge frame":      {Config{HostKey: key, Limits: Limits{Sync: ProtocolLimits{Response: maxFrame}}}, "/assent/sync/1 response"},
		"back-off":        {Config{HostKey: key, Limits: Limits{BackoffMin: time.Minute}}, "back-off from 1m0s to 5s"},
		"negative":        {Config{HostKey: key, Limits: Limits{FrameTimeout: -1, TxRate: -1}}, "frame timeout of -1ns"},
	} {
		h, err := Open(t.Context(), c.cfg)
		if err == nil {
			h.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q does not say %q", name, err, c.want)
		}
	}
}

func TestPortInUseIsSaidClearly(t *testing.T) {
	var keys [2]Config
	for i := range keys {
		key, err := ethcrypto.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = Config{HostKey: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}}
	}
	first, err := Open(t.Context(), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	keys[1].Listen = first.Addrs()
	_, err = Open(t.Context(), keys[1])
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), first.Addrs()[0]) || !strings.Contains(err.Error(), "configure another listen address") {
		t.Fatalf("second host on the same port: %v", err)
	}
	first.Close()
	again, err := Open(t.Context(), keys[1]) // nothing of the failed attempt is left
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// logLines counts what is logged.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func TestPeerThatCannotBeDialledIsReportedOnceAndRetried(t *testing.T) {
	p := newRawPeer(t) // never listens
	key, err := ethcrypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	var log logLines
	h, err := Open(t.Context(), Config{
		HostKey: key,
		Limits:  Limits{BackoffMin: time.Millisecond, BackoffMax: 2 * time.Millisecond},
		Logger:  slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.SetPeers([]Peer{
		{ID: p.id(), Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/" + string(p.id()), "nonsense"}, Dial: true},
		{ID: "nobody", Dial: true},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { h.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	until(t, "the reason", func() bool { return h.Status()[0].LastError != "" })
	if err := p.swarm.AddListenAddr(mustAddr(t, "/ip4/127.0.0.1/tcp/0")); err != nil {
		t.Fatal(err)
	}
	named := strings.Replace(p.swarm.ListenAddresses()[0].String(), "/ip4/127.0.0.1", "/dns4/localhost", 1)
	h.SetPeers([]Peer{{ID: p.id(), Addrs: []string{named}, Dial: true}})
	until(t, "a connection to the new address", func() bool { return h.Status()[0].Connected })
	if s := h.Status()[0]; s.LastError != "" {
		t.Errorf("a connected peer has the error %q", s.LastError)
	}
	if got := log.count("cannot connect to peer"); got != 1 {
		t.Errorf("the same failure was logged %d times", got)
	}
	if log.count("peer address left out") != 1 || log.count("peer left out") != 1 {
		t.Errorf("bad entries were not logged: %s", log.buf.String())
	}
}

func TestCleanErrorText(t *testing.T) {
	for _, text := range []string{"", "plain", "a\nb\x1b[31m\x7f", strings.Repeat("é", 400), strings.Repeat("x", 511) + "é", "\xff\xfe", strings.Repeat("\xff", 3000)} {
		got := CleanErrorText(text)
		if len(got) > maxErrorText || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\x1b\x7f\x00") {
			t.Errorf("%.20q became %d bytes: %.20q", text, len(got), got)
		}
	}
	if got := CleanErrorText("plain"); got != "plain" {
		t.Errorf("%q", got)
	}
}

func TestOccasional(t *testing.T) {
	o := newOccasional()
	if !o.now() || o.now() {
		t.Fatal("the first line passes, the second does not")
	}
	o.next = time.Now()
	if !o.now() || o.wait != 20*time.Second {
		t.Fatalf("later a line passes, and the pause is %v", o.wait)
	}
}
