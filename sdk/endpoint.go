package sdk

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/api/token"
)

const (
	maxEndpoints  = 16
	tokenLifetime = 4 * time.Minute
	tokenMargin   = 30 * time.Second
)

// ErrPin means that the node's certificate is not the pinned one.
var ErrPin = errors.New("the node's TLS key is not the pinned one")

// endpoint is one node of the client: its connection, its identity, its token.
type endpoint struct {
	url      string          // without fragment
	base     *http.Transport // its connections; below any middleware
	http     *http.Client
	ledger   assentv1connect.LedgerServiceClient
	delivery assentv1connect.DeliveryServiceClient
	provider assentv1connect.ProviderServiceClient
	network  assentv1connect.NetworkServiceClient
	carrier  *carrier // of transactions

	suspect atomic.Bool // gave a proof that did not verify: asked last

	mu     sync.Mutex // guards the fields below; never held during a call
	nodeID string     // "" until the node said so
	member OrgID      // whose clients it serves
	token  string
	until  time.Time // when a new token is due
}

// openEndpoint connects nothing yet.
func openEndpoint(raw string, s *settings) (*endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, &ConfigError{What: fmt.Sprintf("endpoint %.80q is not a URL", raw), Remedy: "Write https://host:port."}
	}
	pins := s.pins
	if u.Fragment != "" {
		pin, err := ParsePin(u.Fragment)
		if err != nil {
			return nil, &ConfigError{What: fmt.Sprintf("endpoint %.80q", raw), Cause: err, Remedy: "Write https://host:port#sha256=<64 hex digits>."}
		}
		pins, u.Fragment = []Hash{pin}, ""
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	default:
		return nil, &ConfigError{
			What:   fmt.Sprintf("endpoint %.80q would send bearer tokens in the clear", raw),
			Remedy: "Use https; plain http is for this machine only (127.0.0.1, ::1, localhost).",
		}
	}
	e := &endpoint{url: strings.TrimSuffix(u.String(), "/")}
	e.base = transport(s, pins)
	e.http = &http.Client{Transport: e.base}
	if s.middleware != nil {
		e.http.Transport = s.middleware(e.base)
	}
	opts := []connect.ClientOption{
		connect.WithReadMaxBytes(api.MaxResponseBytes),
		connect.WithAcceptCompression("gzip", nil, nil), // sealed bytes do not shrink
	}
	e.ledger = assentv1connect.NewLedgerServiceClient(e.http, e.url, opts...)
	e.delivery = assentv1connect.NewDeliveryServiceClient(e.http, e.url, opts...)
	e.provider = assentv1connect.NewProviderServiceClient(e.http, e.url, opts...)
	e.network = assentv1connect.NewNetworkServiceClient(e.http, e.url, opts...)
	return e, nil
}

// ParsePin reads a TLS pin: 64 hex digits, with or without "sha256=" or "0x".
func ParsePin(s string) (Hash, error) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "sha256="), "0x")
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(Hash{}) {
		return Hash{}, errors.New("a TLS pin is the SHA-256 of the certificate's public key info, 64 hex digits")
	}
	return Hash(b), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func transport(s *settings, pins []Hash) *http.Transport {
	conf := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: s.roots}
	if len(pins) > 0 {
		conf.InsecureSkipVerify = true // the pin decides, not a name or an authority
		conf.VerifyConnection = func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) > 0 && slices.Contains(pins, SPKI(cs.PeerCertificates[0])) {
				return nil
			}
			return ErrPin
		}
	}
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: s.timeouts.Connect}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: s.timeouts.Connect,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: s.timeouts.Silence, PingTimeout: s.timeouts.Connect},
	}
}

// SPKI returns the SHA-256 of a certificate's public key info: what TLS pins
// and the ledger's node records hold.
func SPKI(cert *x509.Certificate) Hash { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// learn asks the node who it is and checks that it is of our network.
func (e *endpoint) learn(ctx context.Context, c *Client) error {
	resp, err := e.ledger.GetStatus(ctx, connect.NewRequest(&assentv1.GetStatusRequest{}))
	if err != nil {
		return err
	}
	chain, err := parseHash(resp.Msg.ChainId)
	if err != nil {
		return &Untrusted{Node: e.url, What: "its chain id", Cause: err}
	}
	if chain != c.chainID {
		return &Error{
			Code: "WRONG_CHAIN", Where: "status of " + e.url,
			What:   fmt.Sprintf("the node is of network %s, this client of %s", chain, c.chainID),
			Remedy: "Use a node of your network, or the genesis file of the network you mean.",
		}
	}
	if id := resp.Msg.NodeId; id == "" || len(id) > 256 {
		return &Untrusted{Node: e.url, What: "its node id", Cause: fmt.Errorf("%d bytes", len(id))}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodeID, e.member = resp.Msg.NodeId, OrgID(resp.Msg.Member)
	return nil
}

func (e *endpoint) identity() (nodeID string, member OrgID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodeID, e.member
}

// forget drops what is known of the node, so that the next call learns anew:
// after a restart it may be another.
func (e *endpoint) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodeID, e.token = "", ""
}

// bearer returns a token for this node, a new one if the old is nearly over. It
// returns "" for a client without identity.
func (e *endpoint) bearer(ctx context.Context, c *Client) (string, error) {
	if c.set.signer == nil {
		return "", nil
	}
	now := c.set.now()
	e.mu.Lock()
	t, until, id := e.token, e.until, e.nodeID
	e.mu.Unlock()
	if t != "" && now.Before(until) {
		return t, nil
	}
	if id == "" {
		if err := e.learn(ctx, c); err != nil {
			return "", err
		}
		id, _ = e.identity()
	}
	t, err := token.Sign(c.set.signer, token.Claims{
		Org: string(c.set.org), Subject: c.set.subject, Audience: token.Audience(c.chainID, id),
		IssuedAt: now, Expires: now.Add(tokenLifetime),
	})
	if err != nil {
		return "", &ConfigError{What: "make a token for " + e.url, Cause: err, Remedy: "Check the signer of the client's identity."}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.token, e.until = t, now.Add(tokenLifetime-tokenMargin)
	return t, nil
}

// request is a call's message with the client's token.
func request[T any](ctx context.Context, c *Client, e *endpoint, msg *T) (*connect.Request[T], error) {
	req := connect.NewRequest(msg)
	t, err := e.bearer(ctx, c)
	if err != nil {
		return nil, err
	}
	if t != "" {
		req.Header().Set("Authorization", "Bearer "+t)
	}
	return req, nil
}
