package sync

import (
	"context"
	"errors"
	"fmt"
	stdsync "sync"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
	"golang.org/x/time/rate"
)

// ServerConfig is what a Server needs. Zero means the default.
type ServerConfig struct {
	Store *store.Store
	// Voter returns the key that signs statuses while this node orders, and the
	// highest height this validator has signed a vote for, restarts included;
	// (nil, 0) while it observes, as it always does with Voter nil. An observer's
	// statuses are unsigned: its height proves itself by certificate, and nobody
	// counts its vote. Height 0 with a key means that it is not known, as before
	// the ordering engine has read its log: then statuses are unsigned (but at
	// genesis), because one that names too low a height would make others believe
	// that their view is fresh.
	Voter func() (key ledger.Signer, voted ledger.Height)

	Snapshots Snapshots // nil: none are offered
	Receipts  Receipts  // nil: none are read to peers
	// Records returns the first height whose access records are all kept; nil: all are.
	Records func() ledger.Height
	// SnapshotRate bounds the bytes of snapshots sent in a second, to all peers
	// together, default 32 MiB: serving them must not be felt by clients.
	SnapshotRate int

	MaxBytes int           // of blocks in one response, default 2 MiB; one block may exceed it
	MaxWait  time.Duration // that a request for coming blocks is held, default 10 s
	MaxWaits int           // requests held at a time, one a peer, default 4
	Rate     float64       // requests per second and peer, default 100, twice that in a burst
}

func (c *ServerConfig) check() error {
	if c.Store == nil {
		return errors.New("sync server: the store is missing")
	}
	if c.Voter == nil {
		c.Voter = func() (ledger.Signer, ledger.Height) { return nil, 0 }
	}
	setDefault(&c.MaxBytes, 2<<20)
	setDefault(&c.MaxWait, 10*time.Second)
	setDefault(&c.MaxWaits, 4)
	setDefault(&c.Rate, 100)
	setDefault(&c.SnapshotRate, 32<<20)
	if c.MaxBytes > maxResponse/2 { // a block more must fit
		return fmt.Errorf("sync server: responses of %d bytes, at most %d are allowed", c.MaxBytes, maxResponse/2)
	}
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Snapshots are what a server offers to nodes that begin.
type Snapshots interface {
	// Offers lists them, newest first.
	Offers() ([]Offer, error)
	// Piece returns up to limit bytes of the manifest (part 0) or of chunk part−1
	// from an offset on. An error is for the peer to read.
	Piece(snapshot ledger.Hash, part, offset, limit uint64) ([]byte, error)
}

// Server answers peers from the block store.
type Server struct {
	cfg  ServerConfig
	pace *rate.Limiter // of snapshot bytes

	mu    stdsync.Mutex
	peers map[string]*peerUse
	waits int
}

// peerUse is what one peer has taken.
type peerUse struct {
	limit   *rate.Limiter
	waiting bool
	seen    time.Time
}

// NewServer returns a server over a store.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, pace: rate.NewLimiter(rate.Limit(cfg.SnapshotRate), max(cfg.SnapshotRate, maxPiece)), peers: map[string]*peerUse{}}, nil
}

// ErrTooMany means that a peer asked more often than it may.
var ErrTooMany = errors.New("too many requests: slow down")

// Handle answers one request of an authenticated peer. It returns within
// MaxWait, or when ctx ends. An error is for the peer to read.
func (s *Server) Handle(ctx context.Context, from string, req []byte) ([]byte, error) {
	if !s.allow(from) {
		return nil, ErrTooMany
	}
	switch tag := tagOf(req); tag {
	case tagStatus:
		return s.status(req)
	case tagBlocks:
		return s.blocks(ctx, from, req)
	case tagHeaders:
		return s.headers(req)
	case tagConfigs:
		return s.configs(req)
	case tagOffers:
		return s.offers(req)
	case tagPiece:
		return s.piece(ctx, req)
	case tagReceipts:
		return s.receipts(ctx, req)
	case tagWrites:
		return s.writes(req)
	default:
		return nil, fmt.Errorf("unknown request %.40q: is the peer of a newer release?", tag)
	}
}

// maxPeers bounds the memory for peers' rates; the network admits fewer.
const maxPeers = 1024

func (s *Server) allow(from string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	p := s.peers[from]
	if p == nil {
		if len(s.peers) >= maxPeers {
			s.forgetLocked(now)
		}
		if len(s.peers) >= maxPeers {
			return false
		}
		p = &peerUse{limit: rate.NewLimiter(rate.Limit(s.cfg.Rate), max(1, int(2*s.cfg.Rate)))}
		s.peers[from] = p
	}
	p.seen = now
	return p.limit.AllowN(now, 1)
}

// forgetLocked drops peers whose bucket is full again.
func (s *Server) forgetLocked(now time.Time) {
	for id, p := range s.peers {
		if !p.waiting && now.Sub(p.seen) > 10*time.Second {
			delete(s.peers, id)
		}
	}
}

func (s *Server) status(req []byte) ([]byte, error) {
	var r statusRequest
	if err := decode(req, maxRequest, tagStatus, &r); err != nil {
		return nil, err
	}
	st, err := s.Status(r.Nonce)
	if err != nil {
		return nil, err
	}
	a := &statusAnswer{Tag: tagStatusAnswer, Status: st.Encode()}
	if st.Height > 0 {
		ch, err := s.cfg.Store.Certified(st.Height)
		if err != nil {
			return nil, unreadable(st.Height)
		}
		a.Tip = ch.Encode()
	}
	return encode(a), nil
}

// Status says where this node stands, in answer to nonce; it is signed if the
// node is a validator that knows its votes.
func (s *Server) Status(nonce ledger.Hash) (*ledger.Status, error) {
	// Voted first: with a tip read before, the vote could be two blocks above it,
	// which no honest validator says.
	key, voted := s.cfg.Voter()
	tip := s.cfg.Store.Tip()
	st := &ledger.Status{
		ChainID: s.cfg.Store.ChainID(), Nonce: nonce,
		Height: tip.Height, Header: tip.Hash, Voted: max(voted, tip.Height),
	}
	if key != nil && votedKnown(voted, tip.Height) {
		if err := st.Sign(key); err != nil {
			return nil, errors.New("the vote key is not available") // the cause is no peer's business
		}
	}
	return st, nil
}

// votedKnown reports whether a validator at height tip knows what it voted for.
func votedKnown(voted, tip ledger.Height) bool { return voted > 0 || tip == 0 }

// unreadable tells a peer what failed, without this node's details: those are in
// its own log, where reads of its own fail too.
func unreadable(h ledger.Height) error {
	return fmt.Errorf("block %d cannot be read here", h)
}

func (s *Server) blocks(ctx context.Context, from string, req []byte) ([]byte, error) {
	var r blocksRequest
	if err := decode(req, maxRequest, tagBlocks, &r); err != nil {
		return nil, err
	}
	if r.From == 0 {
		return nil, errors.New("genesis is not served: it follows from the genesis config")
	}
	tip := s.cfg.Store.Tip().Height
	// Only the next block is waited for: a peer that is further ahead has
	// nothing to get here.
	if r.From == tip+1 && r.WaitMillis > 0 {
		s.wait(ctx, from, r.From, time.Duration(min(r.WaitMillis, uint64(s.cfg.MaxWait.Milliseconds())))*time.Millisecond)
		tip = s.cfg.Store.Tip().Height
	}
	a := &blocksAnswer{Tag: tagBlocksAnswer, Tip: tip, Blocks: []blockItem{}}
	limit, sum := min(r.MaxBytes, uint64(s.cfg.MaxBytes)), uint64(0)
	for h := r.From; h <= tip && len(a.Blocks) < maxBlocks && ctx.Err() == nil; h++ {
		block, cert, err := s.cfg.Store.Encoded(h)
		if errors.Is(err, store.ErrPruned) {
			a.Base = s.cfg.Store.Base()
			break
		}
		if err != nil {
			return nil, unreadable(h)
		}
		sum += uint64(len(block) + len(cert) + 16)
		if len(a.Blocks) > 0 && sum > limit {
			break
		}
		a.Blocks = append(a.Blocks, blockItem{block, cert})
	}
	return encode(a), nil
}

// wait holds a request until the block is there, for d at most, or not at all
// when enough requests are held already.
func (s *Server) wait(ctx context.Context, from string, h ledger.Height, d time.Duration) {
	if !s.takeWait(from) {
		return
	}
	defer s.leaveWait(from)
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	_ = s.cfg.Store.Wait(ctx, h) // whatever ended it, the answer is what there is now
}

func (s *Server) takeWait(from string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[from]
	if p == nil || p.waiting || s.waits >= s.cfg.MaxWaits {
		return false
	}
	p.waiting = true
	s.waits++
	return true
}

func (s *Server) leaveWait(from string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers[from].waiting = false
	s.waits--
}

func (s *Server) headers(req []byte) ([]byte, error) {
	var r headersRequest
	if err := decode(req, maxRequest, tagHeaders, &r); err != nil {
		return nil, err
	}
	if r.From == 0 {
		return nil, errors.New("genesis is not served: it follows from the genesis config")
	}
	a := &headersAnswer{Tag: tagHeadersAnswer, Tip: s.cfg.Store.Tip().Height, Headers: [][]byte{}}
	for h, sum := r.From, 0; h <= a.Tip && uint64(len(a.Headers)) < min(r.Max, maxHeaders) && sum < s.cfg.MaxBytes; h++ {
		ch, err := s.cfg.Store.Certified(h)
		if err != nil {
			return nil, unreadable(h)
		}
		b := ch.Encode()
		sum += len(b)
		a.Headers = append(a.Headers, b)
	}
	return encode(a), nil
}

func (s *Server) configs(req []byte) ([]byte, error) {
	var r configsRequest
	if err := decode(req, maxRequest, tagConfigs, &r); err != nil {
		return nil, err
	}
	if r.From == 0 {
		return nil, errors.New("the genesis config is not served: everybody has it")
	}
	heights := s.cfg.Store.ConfigHeights()
	a := &configsAnswer{Tag: tagConfigsAnswer, Newest: uint64(len(heights) - 1), Proofs: [][]byte{}}
	for seq, sum := r.From, 0; seq <= a.Newest && uint64(len(a.Proofs)) < min(r.Max, maxConfigs) && sum < s.cfg.MaxBytes; seq++ {
		p, err := s.cfg.Store.ConfigProof(seq)
		if err != nil {
			return nil, unreadable(heights[seq])
		}
		b := p.Encode()
		sum += len(b)
		a.Proofs = append(a.Proofs, b)
	}
	return encode(a), nil
}
