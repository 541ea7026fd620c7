package sdk

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/query/exposure"
)

// Option is a setting of Dial.
type Option func(*settings) error

// Signer signs digests: ledger.NewKeySigner, a key file (ReadKeyFile) or a
// remote signer.
type Signer = ledger.Signer

// Timeouts bound every wait of a client. Zero fields mean the default.
type Timeouts struct {
	Connect time.Duration // one connection; 5 s
	Call    time.Duration // one read call on one node; 10 s
	Commit  time.Duration // how long Submit waits for an outcome; 30 s
	Certify time.Duration // how long a proof waits for its certificate; 15 s
	Silence time.Duration // an event stream silent for longer is opened anew; 20 s
}

func (t Timeouts) filled() Timeouts {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Connect, 5*time.Second)
	def(&t.Call, 10*time.Second)
	def(&t.Commit, 30*time.Second)
	def(&t.Certify, 15*time.Second)
	def(&t.Silence, 20*time.Second)
	return t
}

func (t Timeouts) check() error {
	for _, d := range []time.Duration{t.Connect, t.Call, t.Commit, t.Certify, t.Silence} {
		if d < 0 {
			return &ConfigError{What: fmt.Sprintf("timeout of %s", d), Remedy: "Give positive durations, or 0 for the default."}
		}
	}
	return nil
}

type settings struct {
	org      record.OrgID
	signer   Signer
	subject  bool
	genesis  *ledger.Config
	chainID  Hash
	anyChain bool
	pins     []Hash
	roots    *x509.CertPool
	pinFile  string
	timeouts Timeouts
	log      *slog.Logger
	now      func() time.Time
	attempts int

	middleware func(http.RoundTripper) http.RoundTripper
	inRange    *exposure.VerifyingKey // checks range proofs; nil: totals cannot be checked
}

// WithIdentity acts in the name of a member with one of its registered keys.
func WithIdentity(org OrgID, s Signer) Option {
	return func(c *settings) error {
		if err := org.Check(); err != nil {
			return &ConfigError{What: "identity", Cause: err, Remedy: "Give the member's identifier as the ledger writes it."}
		}
		if s == nil {
			return &ConfigError{What: "identity without a signer", Remedy: "Give a signer, for instance from ReadKeyFile."}
		}
		c.org, c.signer, c.subject = org, s, false
		return nil
	}
}

// WithSubject acts as the subject of one consent, who belongs to no member: s
// holds the consent's principal key. Such a client reads that consent and its
// uses and submits nothing.
func WithSubject(s Signer) Option {
	return func(c *settings) error {
		if s == nil {
			return &ConfigError{What: "subject without a signer", Remedy: "Give the principal key that the wallet keeps for the consent."}
		}
		c.org, c.signer, c.subject = "", s, true
		return nil
	}
}

// WithGenesis pins the network by its genesis config, the one thing that a client
// has to get from a source it trusts: the genesis file, or the ledger's own bytes.
func WithGenesis(config []byte) Option {
	return func(c *settings) error {
		cfg, err := ParseGenesis(config)
		if err != nil {
			return err
		}
		c.genesis, c.chainID = cfg, cfg.Hash()
		return nil
	}
}

// WithChainID pins the network by the hash of its genesis config; the config
// itself is fetched and held against it.
func WithChainID(id Hash) Option {
	return func(c *settings) error {
		c.chainID = id
		return nil
	}
}

// WithAnyChain takes whatever network the first node names. For tools that look
// around: everything proven is proven under that node's word of who the network
// is.
func WithAnyChain() Option {
	return func(c *settings) error {
		c.anyChain = true
		return nil
	}
}

// WithTLSPin accepts a node only if the SHA-256 of its certificate's public key
// info is one of these. The ledger's node records hold it. An endpoint can carry
// its own pin as a fragment: https://host:port#sha256=<64 hex digits>.
func WithTLSPin(spki ...Hash) Option {
	return func(c *settings) error {
		c.pins = append(c.pins, spki...)
		return nil
	}
}

// WithRootCAs accepts nodes whose certificate these authorities signed. Without
// this and without a pin the system's authorities decide.
func WithRootCAs(pool *x509.CertPool) Option {
	return func(c *settings) error {
		c.roots = pool
		return nil
	}
}

// WithPinFile keeps the config blocks that the client has walked in a file, so
// that validators who left cannot lead a restarted client back.
func WithPinFile(path string) Option {
	return func(c *settings) error {
		c.pinFile = path
		return nil
	}
}

// WithTimeouts replaces the defaults of the fields that are not zero.
func WithTimeouts(t Timeouts) Option {
	return func(c *settings) error {
		if err := t.check(); err != nil {
			return err
		}
		c.timeouts = t
		return nil
	}
}

// WithAttempts sets how often a safe call goes round all nodes before it fails;
// the default is 3.
func WithAttempts(n int) Option {
	return func(c *settings) error {
		if n < 1 || n > 100 {
			return &ConfigError{What: fmt.Sprintf("%d attempts", n), Remedy: "Give 1 to 100."}
		}
		c.attempts = n
		return nil
	}
}

// WithLogger logs node changes and refused proofs; the default is silence. No
// personal data and no key is ever logged.
func WithLogger(l *slog.Logger) Option {
	return func(c *settings) error {
		if l != nil {
			c.log = l
		}
		return nil
	}
}

// WithMiddleware wraps the client's HTTP transport, for tracing or recording. It
// sees bearer tokens; pins and certificates are checked below it.
func WithMiddleware(wrap func(http.RoundTripper) http.RoundTripper) Option {
	return func(c *settings) error {
		c.middleware = wrap
		return nil
	}
}

// WithClock replaces time.Now, for tests.
func WithClock(now func() time.Time) Option {
	return func(c *settings) error {
		if now != nil {
			c.now = now
		}
		return nil
	}
}

func makeSettings(opts []Option) (*settings, error) {
	c := &settings{log: slog.New(slog.DiscardHandler), now: time.Now, attempts: 3}
	for _, o := range opts {
		if err := o(c); err != nil {
			return nil, err
		}
	}
	c.timeouts = c.timeouts.filled()
	if c.genesis != nil && c.genesis.Hash() != c.chainID {
		return nil, &ConfigError{
			What:   fmt.Sprintf("the genesis config founds network %s, the chain id given is %s", c.genesis.Hash(), c.chainID),
			Remedy: "Give one of the two, or the pair that belongs together.",
		}
	}
	if c.chainID == (Hash{}) && !c.anyChain {
		return nil, &ConfigError{
			What:   "no network is pinned",
			Remedy: "Give WithGenesis (or WithChainID): without it any node could show you a ledger of its own.",
		}
	}
	return c, nil
}
