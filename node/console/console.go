package console

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// Path is where the pages are served, with everything below it.
const Path = "/console/"

// Caller is who is signed in: a client key of the member.
type Caller struct {
	Org string
	Key ledger.Address
}

// Keys says who the registered keys are.
type Keys interface {
	// Client returns the record of a client key in the newest executed state, nil if
	// there is none, and the time of that state's block. It is asked for every page.
	Client(org record.OrgID, key ledger.Address) (*record.Client, record.Millis, error)
}

// Ledger reads the newest executed state and the chain. An *api.Error, of pruned
// records for one, is shown as it is.
type Ledger interface {
	// Row returns the bytes under a state key, nil if there are none.
	Row(ctx context.Context, key string) ([]byte, error)
	// Rows returns up to limit rows whose keys begin with prefix, in order, from the
	// first above after ("": from the first).
	Rows(prefix, after string, limit int) ([]Row, error)
	// Newest is Rows in falling order, from the last below before ("": from the last).
	Newest(prefix, before string, limit int) ([]Row, error)
	// Block returns a block with its certificate, nil for genesis.
	Block(ctx context.Context, h ledger.Height) (*ledger.Block, *ledger.Certificate, error)
	// Outcome returns what became of a transaction, nil if no executed block has it.
	Outcome(ctx context.Context, id ledger.Hash) (*Outcome, error)
	// Config is the config in force at the tip.
	Config() *ledger.Config
}

// Row is a row of the state.
type Row struct {
	Key   string
	Value []byte
}

// Outcome is what became of a transaction.
type Outcome struct {
	Height  ledger.Height
	Index   uint64
	Code    string
	Message string
	Time    uint64 // Unix ms
	Events  []string
}

// Node says how the node and its peers are. Its methods do not block, but Health.
type Node interface {
	Status() Status
	Peers() []Peer
	// Health says of each condition whether it holds. It may ask other nodes.
	Health(ctx context.Context) []Check
}

// Status is how far the node is.
type Status struct {
	Validator uint64 // 0: an observer
	Height    ledger.Height
	Executed  ledger.Height
	Certified ledger.Height // newest height whose state root a certificate covers
	BlockTime uint64        // Unix ms
	View      uint64
	Leader    uint64 // 0: not known
	ViewAge   time.Duration
	Pool      int
}

// Peer is another node of the network.
type Peer struct {
	NodeID    string
	Member    string
	Validator uint64 // 0: an observer
	Connected bool
	Since     time.Time // of the connection, or of its loss
	RTT       time.Duration
	LastError string
}

// Check is one condition of the node's health.
type Check struct {
	Name     string
	OK       bool
	Why      string
	Advisory bool // shown, and keeps the node from nothing
}

// Config is what the pages are made of.
type Config struct {
	Keys   Keys
	Ledger Ledger
	Node   Node

	ChainID  ledger.Hash
	NodeID   string
	Member   string
	Network  string // name of the network, for people
	Software string

	Clock  func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

func (c *Config) check() error {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Keys == nil || c.Ledger == nil || c.Node == nil || c.NodeID == "" || c.Member == "" {
		return errors.New("console: Keys, Ledger, Node, NodeID and Member are required")
	}
	return nil
}

//go:embed static
var embedded embed.FS

// Console serves the pages. It is an http.Handler for Path.
type Console struct {
	cfg      Config
	pages    *pages
	sessions *sessions
	handler  http.Handler
}

// New makes the pages ready; it starts nothing.
func New(cfg Config) (*Console, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p, err := parsePages()
	if err != nil {
		return nil, err
	}
	c := &Console{cfg: cfg, pages: p, sessions: newSessions(cfg.Clock)}
	static, err := fs.Sub(embedded, "static")
	if err != nil {
		return nil, err
	}
	c.handler = c.routes(static)
	return c, nil
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

func (c *Console) routes(static fs.FS) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+Path+"static/", http.StripPrefix(Path+"static/", kept(http.FileServerFS(static))))
	mux.HandleFunc("GET "+Path+"sign-in", c.signIn)
	mux.HandleFunc("POST "+Path+"session", c.begin)
	mux.HandleFunc("POST "+Path+"sign-out", c.end)
	for pattern, page := range map[string]page{
		"{$}":                c.network,
		"live":               c.live,
		"blocks":             c.blocks,
		"blocks/{height}":    c.block,
		"transactions/{id}":  c.transaction,
		"consents":           c.consents,
		"consents/{id}":      c.consent,
		"consents.csv":       c.exportConsents,
		"requests":           c.requests,
		"requests.csv":       c.exportRequests,
		"proposals":          c.proposals,
		"members/{id}":       c.member,
		"requests/{id}":      c.request,
		"products":           c.products,
		"products/{id}":      c.product,
		"health":             c.health,
		"health/report.json": c.report,
		"find":               c.find,
	} {
		mux.HandleFunc("GET "+Path+pattern, c.guarded(page))
	}
	mux.HandleFunc(Path, func(w http.ResponseWriter, r *http.Request) {
		c.problem(w, r, http.StatusNotFound, "There is no such page", "Follow a link of the menu.")
	})
	return secured(http.NewCrossOriginProtection().Handler(mux))
}

// secured sets what every answer carries. Pages load nothing from elsewhere, run no
// inline script, are framed by nobody and tell no other site where somebody was.
func secured(next http.Handler) http.Handler {
	policy := strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
		"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
	}, "; ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// kept lets a browser keep the embedded files for an hour.
func kept(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=3600")
		next.ServeHTTP(w, r)
	})
}
