package sync

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
)

// Peer is another node.
type Peer struct {
	ID        string // as Request takes it
	Validator uint64 // its id in the config; 0 for an observer
	Entry     bool   // named by this node's operator: its word that this node lacks too much counts alone
}

// Request sends one request of /assent/sync/1 to a peer and returns its
// response.
type Request func(ctx context.Context, peer string, req []byte) ([]byte, error)

// Append takes the next block with its certificate, both checked, and returns
// when it is on disk. An error is fatal: nothing is appended any more.
type Append func(*ledger.Block, *ledger.Certificate) error

// Progress tells how far a catch-up is.
type Progress struct {
	Height ledger.Height // appended
	Target ledger.Height // highest that a certificate has proven, at least Height
}

// ClientConfig is what a Client needs. Zero durations mean the default.
type ClientConfig struct {
	Store   *store.Store // to which the append functions write
	Request Request
	// Peers returns the other nodes to fetch from, without this one; asked
	// before every round, so that it may change.
	Peers func() []Peer

	StatusTimeout time.Duration // for a peer to say where it stands, default 2 s
	FetchTimeout  time.Duration // for one response with blocks, default 10 s; a quarter while other peers could send them
	MaxCatchUp    time.Duration // of one CatchUp, default 60 s
	// FarBehind is how many blocks this node may lack: with more, CatchUp and Follow
	// end with ErrBehind. 0: any number.
	FarBehind  ledger.Height
	PollWait   time.Duration // that Follow asks a peer to hold a request, default 4 s
	PollGap    time.Duration // least time between two requests of Follow, default 20 ms
	MaxBackoff time.Duration // between requests of Follow while no peer helps, default 1 s

	OnProgress func(Progress) // may be nil; called after each response, must not block
	Logger     *slog.Logger   // default slog.Default; gets peer ids, heights and reasons
}

func (c *ClientConfig) check() error {
	if c.Store == nil || c.Request == nil || c.Peers == nil {
		return errors.New("sync client: store, request and peers are needed")
	}
	setDefault(&c.StatusTimeout, 2*time.Second)
	setDefault(&c.FetchTimeout, 10*time.Second)
	setDefault(&c.MaxCatchUp, 60*time.Second)
	setDefault(&c.PollWait, 4*time.Second)
	setDefault(&c.PollGap, 20*time.Millisecond)
	setDefault(&c.MaxBackoff, time.Second)
	if c.OnProgress == nil {
		c.OnProgress = func(Progress) {}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// Client fetches blocks. Its methods may be called from any goroutine, but only
// one of CatchUp and Follow at a time makes sense.
type Client struct {
	cfg ClientConfig
	log *slog.Logger
}

// NewClient returns a client; it starts nothing.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, log: cfg.Logger}, nil
}

// fault is what a peer did wrong, silence that it did not answer. Any other error
// of a round is this node's own and fatal.
type (
	fault   struct{ error }
	silence struct{ error }
)

func (f fault) Unwrap() error   { return f.error }
func (s silence) Unwrap() error { return s.error }

func faultf(format string, args ...any) error { return fault{fmt.Errorf(format, args...)} }

func newNonce() ledger.Hash {
	var n ledger.Hash
	rand.Read(n[:]) // never fails
	return n
}

// status asks one peer where it stands. The height is proven by its certificate
// when this node knows the config it was voted under (proven), else said only.
func (c *Client) status(ctx context.Context, p Peer, nonce ledger.Hash) (st *ledger.Status, proven bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StatusTimeout)
	defer cancel()
	b, err := c.cfg.Request(ctx, p.ID, encode(&statusRequest{tagStatus, nonce}))
	if err != nil {
		return nil, false, silence{err}
	}
	return checkStatus(c.cfg.Store, b, nonce)
}

// checkStatus reads a status answer and compares it with what this node knows.
// The signature is not its business.
func checkStatus(s *store.Store, b []byte, nonce ledger.Hash) (st *ledger.Status, proven bool, err error) {
	a, err := decodeStatusAnswer(b)
	if err != nil {
		return nil, false, fault{err}
	}
	if st, err = ledger.DecodeStatus(a.Status); err != nil {
		return nil, false, fault{err}
	}
	if st.ChainID != s.ChainID() || st.Nonce != nonce {
		return nil, false, faultf("status is of chain %s for nonce %s", st.ChainID, st.Nonce)
	}
	tip := s.Tip()
	if st.Height <= tip.Height {
		_, hash, err := s.Header(st.Height)
		if err != nil {
			return nil, false, err
		}
		if hash != st.Header {
			return nil, false, faultf("it has block %s at height %d, here it is %s: one of the two nodes is on a fork", st.Header, st.Height, hash)
		}
		return st, true, nil
	}
	ch, err := ledger.DecodeCertifiedHeader(a.Tip)
	if err != nil {
		return nil, false, fault{err}
	}
	if ch.Header.Height != st.Height || ch.Header.Hash() != st.Header {
		return nil, false, faultf("status names block %s at height %d but shows another", st.Header, st.Height)
	}
	if ch.Header.ConfigSeq != tip.Config.Seq {
		return st, false, nil // of a config to come: the blocks between will tell
	}
	if err := tip.Config.VerifyCertificate(&ch.Header, &ch.Certificate); err != nil {
		return nil, false, fault{err}
	}
	return st, true, nil
}

// fetch asks a peer for blocks from a height on, for which it may wait. It has
// limit on top of that to answer.
func (c *Client) fetch(ctx context.Context, peer string, from ledger.Height, wait, limit time.Duration) (*blocksAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit+wait)
	defer cancel()
	req := &blocksRequest{Tag: tagBlocks, From: from, MaxBytes: maxResponse, WaitMillis: uint64(wait.Milliseconds())}
	b, err := c.cfg.Request(ctx, peer, encode(req))
	if err != nil {
		return nil, silence{err}
	}
	a, err := decodeBlocksAnswer(b)
	if err != nil {
		return nil, fault{err}
	}
	if len(a.Blocks) == 0 && a.Base > from {
		return nil, fmt.Errorf("%w: it has blocks from %d on", ErrPruned, a.Base)
	}
	if len(a.Blocks) == 0 && a.Tip >= from {
		return nil, faultf("it says to have height %d but sends nothing from %d on", a.Tip, from)
	}
	return a, nil
}

// ErrPruned means that a peer no longer keeps a block.
var ErrPruned = errors.New("the peer no longer keeps the block")

// ErrBehind means that this node cannot, or had better not, catch up block by
// block: it lacks more than ClientConfig.FarBehind, or more validators than can be
// dishonest say that they keep the next block no more.
var ErrBehind = errors.New("too far behind to catch up block by block: begin with a snapshot of a peer")

// ErrForked means that a certified block does not continue this node's ledger:
// this node or more than a third of the validators went wrong.
var ErrForked = errors.New("a certified block does not continue the ledger of this node: keep the data directory and call the other members")

// take checks the blocks of an answer, which begin at height from, and appends
// them; ready holds what prepare made of them, or nothing. Errors: fault for what
// the peer did, anything else is fatal.
func (c *Client) take(ctx context.Context, a *blocksAnswer, ready []checked, from ledger.Height, add Append) error {
	for i, item := range a.Blocks {
		if ctx.Err() != nil {
			return nil
		}
		h := from + ledger.Height(i)
		tip := c.cfg.Store.Tip()
		if h <= tip.Height {
			continue // came another way
		}
		var b checked
		if ready != nil {
			b, ready[i] = ready[i], checked{} // not kept longer than needed
		}
		if b.conf != tip.Config {
			b = checkUnder(item, h, tip.Config)
		}
		if err := b.place(tip); err != nil {
			return err
		}
		if err := add(b.block, b.cert); err != nil {
			return fmt.Errorf("append block %d: %w", h, err)
		}
		if got := c.cfg.Store.Tip().Height; got < h {
			return fmt.Errorf("append block %d: the store is at %d still", h, got)
		}
	}
	return nil
}

// Headers asks a peer for certified headers from a height on; how many it
// returns is its choice, max at most. They are consecutive; their certificates
// are not checked.
func (c *Client) Headers(ctx context.Context, peer string, from ledger.Height, limit int) ([]*ledger.CertifiedHeader, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FetchTimeout)
	defer cancel()
	b, err := c.cfg.Request(ctx, peer, encode(&headersRequest{tagHeaders, from, uint64(max(limit, 0))}))
	if err != nil {
		return nil, fmt.Errorf("headers from %d of %s: %w", from, peer, err)
	}
	a, err := decodeHeadersAnswer(b)
	if err != nil {
		return nil, fmt.Errorf("headers from %d of %s: %w", from, peer, err)
	}
	if len(a.Headers) > limit {
		return nil, fmt.Errorf("headers from %d of %s: %d came, asked were %d", from, peer, len(a.Headers), limit)
	}
	out := make([]*ledger.CertifiedHeader, len(a.Headers))
	for i, e := range a.Headers {
		if out[i], err = ledger.DecodeCertifiedHeader(e); err != nil {
			return nil, fmt.Errorf("headers from %d of %s: %w", from, peer, err)
		}
		if want := from + ledger.Height(i); out[i].Header.Height != want {
			return nil, fmt.Errorf("headers from %d of %s: height %d came for %d", from, peer, out[i].Header.Height, want)
		}
	}
	return out, nil
}

// ConfigProofs asks a peer for the config blocks that bring config from and the
// following, for a ledger.LightClient, which checks them.
func (c *Client) ConfigProofs(ctx context.Context, peer string, from uint64) ([]*ledger.ConfigProof, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FetchTimeout)
	defer cancel()
	b, err := c.cfg.Request(ctx, peer, encode(&configsRequest{tagConfigs, from, maxConfigs}))
	if err != nil {
		return nil, fmt.Errorf("config proofs from %d of %s: %w", from, peer, err)
	}
	a, err := decodeConfigsAnswer(b)
	if err != nil {
		return nil, fmt.Errorf("config proofs from %d of %s: %w", from, peer, err)
	}
	out := make([]*ledger.ConfigProof, len(a.Proofs))
	for i, e := range a.Proofs {
		if out[i], err = ledger.DecodeConfigProof(e); err != nil {
			return nil, fmt.Errorf("config proofs from %d of %s: %w", from, peer, err)
		}
	}
	return out, nil
}
