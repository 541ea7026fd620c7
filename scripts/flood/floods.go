package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// tally counts what a flood did.
type tally struct {
	offered, passed, refused atomic.Int64

	once  sync.Once
	begun chan struct{} // closed when it has offered something
}

func newTally() *tally { return &tally{begun: make(chan struct{})} }

func (t *tally) begin() { t.once.Do(func() { close(t.begun) }) }

// A flood runs until ctx ends.
type flood func(ctx context.Context, w *world, perSecond int, t *tally) error

// stock is what a flood signs before it begins, so that signing is not measured.
type stock struct {
	mu   sync.Mutex
	reqs [][]byte
	next int
}

func (s *stock) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reqs[s.next%len(s.reqs)]
	s.next++
	return r
}

type stockKey struct{}

// slow holds what it can of the lenders' nodes and reads nothing: event streams
// with a token of the greedy member, answers that fill the windows, requests
// that never end.
func slow(ctx context.Context, w *world, _ int, t *tally) error {
	o := &order{}
	for _, l := range lenders {
		x := w.net.First(l)
		bearer, err := w.bearer(x, greedy)
		if err != nil {
			return err
		}
		o.Held = append(o.Held, endpoint{x.API, bearer, sdk.Hash(x.Card.SPKI)})
	}
	return other(ctx, o, t)
}

// hold keeps a node's streams and connections until ctx ends.
func (e endpoint) hold(ctx context.Context, t *tally) {
	var wg sync.WaitGroup
	call := newRaw(e)
	for i := range 150 {
		from := `{}`
		if i%10 == 0 { // all there was: more than any window holds
			from = `{"from":{"height":"1"}}`
		}
		wg.Go(func() { call.events(ctx, from, t) })
	}
	for i := range 60 {
		wg.Go(func() { e.unread(ctx, i%2 == 0, t) })
	}
	wg.Wait()
}

// unread opens connections to a node's API one after the other: an asking one
// pipelines requests for blocks and reads no answer, the other never ends its
// headers.
func (e endpoint) unread(ctx context.Context, asks bool, t *tally) {
	for ctx.Err() == nil {
		t.offered.Add(1)
		d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: pinned(e.SPKI, "http/1.1")}
		c, err := d.DialContext(ctx, "tcp", e.API)
		if err != nil {
			t.refused.Add(1)
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
			continue
		}
		t.passed.Add(1)
		stop := context.AfterFunc(ctx, func() { c.Close() })
		var b bytes.Buffer
		for i := range 200 {
			if !asks {
				fmt.Fprintf(&b, "POST /assent.v1.LedgerService/Submit HTTP/1.1\r\nHost: node\r\nX-Filler: %d\r\n", i)
				break
			}
			body := `{"height":"5"}`
			fmt.Fprintf(&b, "POST /assent.v1.LedgerService/GetBlock HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", e.Bearer, len(body), body)
		}
		_, err = c.Write(b.Bytes())
		for err == nil && ctx.Err() == nil {
			select {
			case <-time.After(time.Second):
				if asks {
					continue // silent: what was asked for waits at the node
				}
				_, err = fmt.Fprintf(c, "X-More: slowly\r\n")
			case <-ctx.Done():
			}
		}
		stop()
		c.Close()
	}
}

// raw calls a node without the SDK's manners.
type raw struct {
	http   *http.Client
	url    string
	bearer string
}

// bearer signs a token of a member for a node's API.
func (w *world) bearer(x *testnet.Node, member string) (string, error) {
	now := time.Now()
	return token.Sign(w.keys[member], token.Claims{
		Org: member, Audience: token.Audience(w.net.Genesis().Hash(), x.Card.NodeID), IssuedAt: now, Expires: now.Add(4 * time.Minute),
	})
}

func newRaw(e endpoint) *raw {
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: pinned(e.SPKI, "h2"), ForceAttemptHTTP2: true}}
	return &raw{h, "https://" + e.API + "/assent.v1.LedgerService/", e.Bearer}
}

func (c *raw) post(ctx context.Context, method, kind string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	return c.http.Do(req)
}

// events opens a stream of events and reads one byte of it. A stream of the
// protocol begins with a flag and four bytes of length.
func (c *raw) events(ctx context.Context, msg string, t *tally) {
	t.offered.Add(1)
	resp, err := c.post(ctx, "Events", "application/connect+json", append([]byte{0, 0, 0, 0, byte(len(msg))}, msg...))
	if err != nil {
		t.refused.Add(1)
		return
	}
	defer resp.Body.Close()
	var one [1]byte
	if _, err := io.ReadFull(resp.Body, one[:]); err != nil || one[0] != 0 { // another flag: it ends with an error
		t.refused.Add(1)
		return
	}
	t.passed.Add(1)
	<-ctx.Done()
}

// pinned accepts the node's own TLS key and no other.
func pinned(key sdk.Hash, protocol string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // the key is compared below
		NextProtos:         []string{protocol},
		VerifyConnection: func(s tls.ConnectionState) error {
			spki, err := x509.MarshalPKIXPublicKey(s.PeerCertificates[0].PublicKey)
			if err != nil {
				return err
			}
			if sha256.Sum256(spki) != [32]byte(key) {
				return errors.New("another TLS key than the node's card names")
			}
			return nil
		},
	}
}
