package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api/token"
)

// How long a session lasts, and how many there are.
const (
	idleTime      = 15 * time.Minute
	sessionTime   = 8 * time.Hour
	challengeTime = 2 * time.Minute
	maxSessions   = 1024
	maxChallenges = 4096
	maxPerKey     = 8 // a ninth sign-in ends the key's oldest session
)

// cookieName binds the cookie to this host and to TLS, as every browser enforces.
const cookieName = "__Host-assent-console"

// people are the roles for whom the pages are; keys of programs do not sign in.
var people = []record.ClientRole{record.RoleAdmin, record.RoleOperator, record.RoleOfficer, record.RoleAuditor}

type session struct {
	who   Caller
	begun time.Time
	seen  time.Time
}

// sessions are in memory: a restart signs everybody out. What identifies a session
// is kept as its hash, so that a memory dump signs nobody in.
type sessions struct {
	now func() time.Time

	mu         sync.Mutex
	open       map[[32]byte]*session
	challenges map[string]time.Time // until when each may be answered, once
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, open: map[[32]byte]*session{}, challenges: map[string]time.Time{}}
}

// challenge returns what the next token must have as its id.
func (s *sessions) challenge() string {
	c := rand.Text()
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.challenges) >= maxChallenges {
		for old, until := range s.challenges {
			if now.After(until) {
				delete(s.challenges, old)
			}
		}
	}
	for old := range s.challenges {
		if len(s.challenges) < maxChallenges {
			break
		}
		delete(s.challenges, old) // whoever has that page reloads it
	}
	s.challenges[c] = now.Add(challengeTime)
	return c
}

// answered reports whether a challenge was open, and closes it.
func (s *sessions) answered(c string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.challenges[c]
	delete(s.challenges, c)
	return ok && !s.now().After(until)
}

// begin returns the secret of a new session.
func (s *sessions) begin(who Caller) string {
	secret := rand.Text() + rand.Text()
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(now)
	var own int
	var oldest [32]byte
	for id, o := range s.open {
		if o.who == who {
			if own++; own == 1 || o.seen.Before(s.open[oldest].seen) {
				oldest = id
			}
		}
	}
	if own >= maxPerKey {
		delete(s.open, oldest)
	}
	if len(s.open) >= maxSessions {
		for id := range s.open {
			if s.open[oldest] == nil || s.open[id].seen.Before(s.open[oldest].seen) {
				oldest = id
			}
		}
		delete(s.open, oldest)
	}
	s.open[sha256.Sum256([]byte(secret))] = &session{who: who, begun: now, seen: now}
	return secret
}

func (s *sessions) forgetLocked(now time.Time) {
	for id, o := range s.open {
		if over(o, now) {
			delete(s.open, id)
		}
	}
}

func over(o *session, now time.Time) bool {
	return now.Sub(o.seen) > idleTime || now.Sub(o.begun) > sessionTime
}

// find returns whose session it is. clicked: it was asked for by a person, which
// keeps it alive; what a page asks for by itself does not.
func (s *sessions) find(secret string, clicked bool) (Caller, bool) {
	id := sha256.Sum256([]byte(secret))
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[id]
	if o == nil {
		return Caller{}, false
	}
	if over(o, now) {
		delete(s.open, id)
		return Caller{}, false
	}
	if clicked {
		o.seen = now
	}
	return o.who, true
}

func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(secret)))
}

// errSignedOut: there is no session, or it is over.
var errSignedOut = errors.New("console: signed out")

// visitor is who asks for a page, and as whom.
type visitor struct {
	Caller
	client *record.Client
}

// Roles of the visitor's key, for people.
func (v *visitor) Roles() string {
	names := make([]string, len(v.client.Roles))
	for i, r := range v.client.Roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// who returns the signed-in client of a request. The ledger is asked every time:
// this is where a revoked key's session ends.
func (c *Console) who(r *http.Request, clicked bool) (*visitor, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return nil, errSignedOut
	}
	who, ok := c.sessions.find(cookie.Value, clicked)
	if !ok {
		return nil, errSignedOut
	}
	client, err := c.client(who)
	if err != nil {
		c.sessions.end(cookie.Value)
		return nil, errSignedOut
	}
	return &visitor{who, client}, nil
}

// client returns the record of a key that may use the pages, or why it may not.
func (c *Console) client(who Caller) (*record.Client, error) {
	client, blockTime, err := c.cfg.Keys.Client(record.OrgID(who.Org), who.Key)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, fmt.Errorf("the ledger knows no client key %s of %s: an admin registers it with assent member client add", who.Key, who.Org)
	}
	if err := client.Usable(max(blockTime, record.Millis(c.cfg.Clock().UnixMilli()))); err != nil {
		return nil, err
	}
	if !client.HasRole(people...) {
		return nil, errors.New("the key is of a program: sign in with one of an admin, operator, officer or auditor")
	}
	return client, nil
}

// page shows something to somebody who is signed in.
type page func(w http.ResponseWriter, r *http.Request, v *visitor)

// guarded lets nobody see a page without a session.
func (c *Console) guarded(next page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := c.who(r, r.URL.Path != Path+"live")
		if err == nil {
			next(w, r, v)
			return
		}
		if r.URL.Path == Path+"live" {
			w.WriteHeader(http.StatusNoContent) // which ends a browser's attempts; the page then asks for itself
			return
		}
		to := Path + "sign-in?next=" + url.QueryEscape(r.URL.RequestURI())
		if _, had := r.Header["Cookie"]; had {
			to += "&ended=1"
		}
		if r.Header.Get("HX-Request") != "" { // a part of a page: the whole page goes to the sign-in
			w.Header().Set("HX-Redirect", to)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

// signIn shows the form. The script on it signs the challenge.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	c.show(w, r, http.StatusOK, "sign-in", nil, &struct {
		Challenge, Audience, Member, Next string
		Ended                             bool
	}{
		c.sessions.challenge(), token.Audience(c.cfg.ChainID, c.cfg.NodeID), c.cfg.Member, ownPath(r.URL.Query().Get("next")), r.URL.Query().Has("ended"),
	})
}

// ownPath is a path of these pages, or their first: a link to the sign-in cannot
// lead anywhere else.
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, Path) || strings.Contains(next, `\`) || strings.HasPrefix(u.Path, Path+"sign-in") {
		return Path
	}
	return u.RequestURI()
}

// maxSignIn bounds the body of a sign-in: a token in a JSON object.
const maxSignIn = 4096

// begin opens a session for the token of a challenge.
func (c *Console) begin(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, why string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": why}) // the browser may have gone
	}
	var body struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSignIn)).Decode(&body); err != nil {
		refuse(http.StatusBadRequest, "this is no sign-in: load the page again")
		return
	}
	claims, err := token.Verify([]byte(body.Token), token.Audience(c.cfg.ChainID, c.cfg.NodeID), c.cfg.Clock())
	switch {
	case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrNotYet):
		refuse(http.StatusUnauthorized, "the clocks of this device and of the node differ by more than half a minute: set this device's clock")
		return
	case err != nil:
		refuse(http.StatusUnauthorized, "the signature does not fit: load the page again")
		return
	case claims.Subject || claims.Org != c.cfg.Member:
		refuse(http.StatusForbidden, "this console is for keys of "+c.cfg.Member)
		return
	case !c.sessions.answered(claims.ID):
		refuse(http.StatusUnauthorized, "the page was open for too long: load it again")
		return
	}
	who := Caller{claims.Org, claims.Address}
	if _, err := c.client(who); err != nil {
		if _, refused := record.CodeOf(err); !refused {
			c.cfg.Logger.Warn("console: sign-in refused", "key", who.Key, "err", err)
		}
		refuse(http.StatusForbidden, err.Error())
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: c.sessions.begin(who), Path: "/", MaxAge: int(sessionTime.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	c.cfg.Logger.Info("console: signed in", "key", who.Key)
	w.WriteHeader(http.StatusNoContent)
}

// end signs out.
func (c *Console) end(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		c.sessions.end(cookie.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, Path+"sign-in", http.StatusSeeOther)
}
