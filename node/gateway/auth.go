package gateway

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/ledger"
)

// gate decides about a call when its headers are there and nothing of its
// message has been read.
func (s *Server) gate(ctx context.Context, spec connect.Spec, peer connect.Peer, header http.Header) (context.Context, error) {
	c := callOf(ctx)
	c.method = spec.Procedure
	err := s.authorise(c, peer.Addr, header)
	if err != nil {
		return nil, c.fail(err)
	}
	return ctx, nil
}

func (s *Server) authorise(c *call, remote string, header http.Header) error {
	now := s.now()
	r, ok := rules[c.method]
	if !ok { // a service was mounted without its rules: refuse rather than guess
		return api.Refuse(assentv1.Code_CODE_UNKNOWN_METHOD, "%s has no rule", c.method)
	}
	if err := s.fits(c); err != nil {
		return err
	}
	bearer, err := bearerOf(header)
	if err != nil {
		return err
	}
	stranger := func() error {
		err := s.strangers.of(network(remote), now).take(now)
		if err != nil {
			s.refused.addressRate.Add(1)
		}
		return err
	}
	if bearer == "" {
		if err := stranger(); err != nil {
			return err
		}
		if !r.anonymous {
			return api.Refuse(assentv1.Code_CODE_TOKEN_MISSING, "%s needs a token", c.method)
		}
		return nil
	}
	claims, err := s.tokens.verify(bearer, now, stranger) // a token not seen before costs a signature check
	if err != nil {
		return err
	}
	c.caller = Caller{Org: claims.Org, Address: claims.Address, Subject: claims.Subject}
	c.known = true
	if claims.Subject {
		if err := stranger(); err != nil { // anybody can make a subject's key
			return err
		}
		return s.admit(c.method, r, c.caller, nil)
	}
	client, err := s.client(c.caller)
	if err != nil {
		return err
	}
	if err := s.admit(c.method, r, c.caller, client); err != nil {
		return err
	}
	return s.occupy(c, s.clients.of(c.caller.Address, now), now)
}

// client returns the active client record of a caller. It asks the ledger's
// state every time: this is where a revoked key ends, cached token or not.
func (s *Server) client(c Caller) (*record.Client, error) {
	client, blockTime, err := s.cfg.Clients.Client(record.OrgID(c.Org), c.Address)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, api.Refuse(assentv1.Code_CODE_UNKNOWN_KEY, "the key is not registered for the member that the token names")
	}
	// A key ends when the ledger's time says so, and on an idle network, where
	// that time stands still, when the clock does.
	if err := client.Usable(max(blockTime, record.Millis(s.now().UnixMilli()))); err != nil {
		return nil, err
	}
	return client, nil
}

// bearerOf returns the token of a call, "" if there is none.
func bearerOf(header http.Header) (string, error) {
	values := header["Authorization"]
	if len(values) == 0 {
		return "", nil
	}
	scheme, t, ok := strings.Cut(values[0], " ")
	if len(values) != 1 || !ok || !strings.EqualFold(scheme, "Bearer") || t == "" {
		return "", api.Refuse(assentv1.Code_CODE_TOKEN_INVALID, "the Authorization header is not \"Bearer <token>\"")
	}
	if len(t) > token.MaxBytes {
		return "", api.Refuse(assentv1.Code_CODE_TOKEN_INVALID, "the token has %d bytes, at most %d are allowed", len(t), token.MaxBytes)
	}
	return t, nil
}

// tokens verifies tokens and remembers those that hold until they expire. The
// key of the memory is the whole token: nothing that differs in one byte passes
// for one that was checked.
type tokens struct {
	audience string
	max      int
	seed     maphash.Seed

	mu   sync.RWMutex
	good map[string]known

	checking [64]sync.Mutex // by hash of the token: many calls with one new token check it once
}

type known struct {
	address ledger.Address
	org     string
	subject bool
	expires time.Time
}

func newTokens(audience string, max int) *tokens {
	return &tokens{audience: audience, max: max, seed: maphash.MakeSeed(), good: make(map[string]known)}
}

// verify returns what a token says. allow is asked before an unknown token is
// checked.
func (t *tokens) verify(raw string, now time.Time, allow func() error) (token.Claims, error) {
	if k, ok := t.lookup(raw); ok {
		return k.claims(now)
	}
	lock := &t.checking[maphash.String(t.seed, raw)%uint64(len(t.checking))]
	lock.Lock()
	defer lock.Unlock()
	if k, ok := t.lookup(raw); ok {
		return k.claims(now)
	}
	if err := allow(); err != nil {
		return token.Claims{}, err
	}
	c, err := token.Verify([]byte(raw), t.audience, now)
	if err != nil {
		return token.Claims{}, refuseToken(err)
	}
	t.keep(raw, known{c.Address, c.Org, c.Subject, c.Expires}, now)
	return c, nil
}

func (t *tokens) lookup(raw string) (known, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	k, ok := t.good[raw]
	return k, ok
}

func (k known) claims(now time.Time) (token.Claims, error) {
	if !now.Before(k.expires) {
		return token.Claims{}, refuseToken(token.ErrExpired)
	}
	return token.Claims{Address: k.address, Org: k.org, Subject: k.subject, Expires: k.expires}, nil
}

// keep remembers a token. When full, the expired go, and if there is none any
// one: forgetting costs only another check.
func (t *tokens) keep(raw string, k known, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.good) >= t.max {
		for r, old := range t.good {
			if !now.Before(old.expires) {
				delete(t.good, r)
			}
		}
	}
	for r := range t.good {
		if len(t.good) < t.max {
			break
		}
		delete(t.good, r)
	}
	t.good[strings.Clone(raw)] = k
}

func refuseToken(err error) error {
	c := assentv1.Code_CODE_TOKEN_INVALID
	switch {
	case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrNotYet):
		c = assentv1.Code_CODE_TOKEN_EXPIRED
	case errors.Is(err, token.ErrLifetime):
		c = assentv1.Code_CODE_TOKEN_LIFETIME
	case errors.Is(err, token.ErrAudience):
		c = assentv1.Code_CODE_TOKEN_AUDIENCE
	}
	return &api.Error{Code: c, What: err.Error(), Cause: err}
}
