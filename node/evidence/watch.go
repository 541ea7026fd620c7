package evidence

import (
	"slices"
	"sync"

	"github.com/assent-network/assent/node/ledger"
)

// Bounds of the memory of one height. A liar fills its own share and no other's.
const (
	window      = 64 // heights that are remembered, those ahead of the newest included
	ahead       = 8
	perVoter    = 6 // votes
	perProposer = 3 // proposals
	maxVoters   = 512
)

// Kinds of sightings.
const (
	TwoProposals = "two-proposals" // a leader proposed two blocks for one height and view
	TwoVotes     = "two-votes"     // a validator's votes for one height and view differ
)

// Sighting is a contradiction that this node saw and cannot prove to others.
type Sighting struct {
	Validator uint64
	Kind      string // TwoProposals or TwoVotes
	Height    ledger.Height
	View      uint64
}

// Position reads from the ordering engine's metadata where a proposal stands.
type Position func(meta []byte) (view, height uint64, err error)

// Config tells a Watch where to look things up and whom to tell.
type Config struct {
	ChainID  ledger.Hash
	Position Position
	// Key returns the vote key of a validator by its number in the config in force.
	Key func(validator uint64) (ledger.Address, bool)
	// Found hears of each proof, Seen of each sighting, once for a validator,
	// height, view and kind. They are called without a lock, from the goroutine
	// whose message brought it about.
	Found func(validator uint64, p *Proof)
	Seen  func(Sighting)
}

// Watch remembers what was proposed and voted for at the last heights and finds
// who contradicts himself. Safe for concurrent use.
type Watch struct {
	cfg Config

	mu    sync.Mutex // guards all below
	tip   ledger.Height
	slots [window]slot // by height modulo window
}

// slot is what was said about one height.
type slot struct {
	height ledger.Height
	blocks []block
	votes  []ballot
	told   []telling
}

// block is a block proposed for, or decided at, a height.
type block struct {
	hash    ledger.Hash
	header  []byte
	view    uint64 // in which it was proposed
	by      uint64 // the leader that sent it; 0: not known from whom it is
	decided bool
}

// ballot is a vote as it came.
type ballot struct {
	by     uint64
	view   uint64 // in which it was cast
	digest string // the engine's name of what it votes for; "" in a certificate
	sig    ledger.Signature
	target ledger.Hash   // what it is for, once a signature has shown it
	tried  []ledger.Hash // what it is not for
}

// telling is what was told already.
type telling struct {
	validator, view uint64
	kind            string
}

// NewWatch returns a watch of a ledger whose newest block has height tip.
func NewWatch(cfg Config, tip ledger.Height) *Watch { return &Watch{cfg: cfg, tip: tip} }

// news is what a message brought to light, to be told without the lock.
type news struct {
	proofs    []*Proof
	provers   []uint64
	sightings []Sighting
}

func (w *Watch) tell(n *news) {
	for i, p := range n.proofs {
		w.cfg.Found(n.provers[i], p)
	}
	for _, s := range n.sightings {
		w.cfg.Seen(s)
	}
}

// Proposed hears of a proposal that came from the leader of its view, or of one that
// somebody else showed (by 0). Nothing of it need be true.
func (w *Watch) Proposed(by uint64, header, meta []byte) {
	view, height, err := w.cfg.Position(meta)
	if err != nil {
		return
	}
	hash := ledger.Sum(header)
	var n news
	defer w.tell(&n)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.slotLocked(ledger.Height(height))
	if s == nil {
		return
	}
	mine := 0
	for i := range s.blocks {
		b := &s.blocks[i]
		if b.hash == hash && b.view == view && (b.by == by || by == 0) {
			return
		}
		if b.by == by && !b.decided {
			mine++
		}
	}
	if mine >= perProposer {
		return
	}
	h, err := ledger.DecodeHeader(header)
	if err != nil || h.ChainID != w.cfg.ChainID || uint64(h.Height) != height || ledger.HashMeta(meta) != h.EngineMetaHash {
		return
	}
	s.blocks = append(s.blocks, block{hash: hash, header: slices.Clone(header), view: view, by: by})
	w.judgeLocked(s, &n)
}

// Voted hears of a vote, cast in view, that came from the validator named; digest is
// the engine's name of what it is for. Nothing of it need be true.
func (w *Watch) Voted(by, view, height uint64, digest string, signature []byte) {
	if len(signature) != len(ledger.Signature{}) {
		return
	}
	var n news
	defer w.tell(&n)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.slotLocked(ledger.Height(height))
	if s == nil {
		return
	}
	b := ballot{by: by, view: view, digest: digest, sig: ledger.Signature(signature)}
	mine, others := 0, 0
	for i := range s.votes {
		o := &s.votes[i]
		if o.by != by {
			others++
			continue
		}
		if o.view == view && o.digest == digest && o.sig == b.sig {
			return // said again
		}
		mine++
	}
	if mine >= perVoter || others >= maxVoters*perVoter {
		return
	}
	s.votes = append(s.votes, b)
	w.judgeLocked(s, &n)
}

// Decided hears of a block and the votes that certify it, which were checked.
func (w *Watch) Decided(header *ledger.Header, hash ledger.Hash, meta []byte, cert *ledger.Certificate) {
	var n news
	defer w.tell(&n)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tip = max(w.tip, header.Height)
	s := w.slotLocked(header.Height)
	if s == nil {
		return
	}
	view, _, err := w.cfg.Position(meta)
	if err != nil {
		return
	}
	s.blocks = append(s.blocks, block{hash: hash, header: header.Encode(), view: view, decided: true})
	for _, v := range cert.Votes {
		s.votes = append(s.votes, ballot{by: v.Validator, view: cert.View, sig: v.Sig, target: hash})
	}
	w.judgeLocked(s, &n)
}

// slotLocked returns what is known of a height, nil if it is too far away.
func (w *Watch) slotLocked(h ledger.Height) *slot {
	if h == 0 || h > w.tip+ahead || h+window-ahead <= w.tip {
		return nil
	}
	s := &w.slots[h%window]
	if s.height != h {
		*s = slot{height: h, blocks: s.blocks[:0], votes: s.votes[:0], told: s.told[:0]}
	}
	return s
}

// judgeLocked looks for contradictions at one height.
func (w *Watch) judgeLocked(s *slot, n *news) {
	w.proposalsLocked(s, n)
	if !s.contested() {
		return
	}
	for i := range s.votes {
		w.resolveLocked(s, &s.votes[i])
	}
	for i := range s.votes {
		for j := range i {
			a, b := &s.votes[j], &s.votes[i]
			if a.by == b.by {
				w.compareLocked(s, a, b, n)
			}
		}
	}
}

// contested reports that not everybody says the same about a height: only then are
// signatures looked at.
func (s *slot) contested() bool {
	for i := range s.blocks {
		if s.blocks[i].hash != s.blocks[0].hash {
			return true
		}
	}
	digest := ""
	for i := range s.votes {
		d := s.votes[i].digest
		if d != "" && digest != "" && d != digest {
			return true
		}
		if d != "" {
			digest = d
		}
	}
	return false
}

// proposalsLocked finds leaders that proposed two blocks.
func (w *Watch) proposalsLocked(s *slot, n *news) {
	for i := range s.blocks {
		for j := range i {
			a, b := &s.blocks[j], &s.blocks[i]
			if a.hash == b.hash || a.view != b.view {
				continue
			}
			// What a quorum decided in a view is what that view's leader proposed.
			switch {
			case a.by != 0 && (a.by == b.by || b.decided):
				s.tell(n, Sighting{a.by, TwoProposals, s.height, a.view})
			case b.by != 0 && a.decided:
				s.tell(n, Sighting{b.by, TwoProposals, s.height, b.view})
			}
		}
	}
}

// resolveLocked finds out what a vote is for, as far as its signature and the
// blocks known tell.
func (w *Watch) resolveLocked(s *slot, v *ballot) {
	if v.target != (ledger.Hash{}) {
		return
	}
	key, ok := w.cfg.Key(v.by)
	if !ok {
		return
	}
	for i := range s.blocks {
		hash := s.blocks[i].hash
		if slices.Contains(v.tried, hash) {
			continue
		}
		if ledger.VerifySignature(ledger.VoteDigest(hash, v.view), v.sig, key) == nil {
			v.target, v.tried = hash, nil
			return
		}
		v.tried = append(v.tried, hash)
	}
}

// compareLocked holds two votes of one validator against each other.
func (w *Watch) compareLocked(s *slot, a, b *ballot, n *news) {
	none := ledger.Hash{}
	// One signature under two names of what it is for is a contradiction too, though the
	// signature alone proves none.
	if a.target != none && b.target != none && a.target != b.target {
		x, y := s.block(a.target), s.block(b.target)
		if x == nil || y == nil || a.view != b.view {
			return
		}
		if p, err := prove(w.cfg.ChainID, a.view, x.vote(a), y.vote(b)); err == nil && s.first(a.by, a.view, DoubleVote) {
			n.proofs, n.provers = append(n.proofs, p), append(n.provers, a.by)
		}
		return
	}
	if a.digest != "" && b.digest != "" && a.view == b.view && a.digest != b.digest {
		s.tell(n, Sighting{a.by, TwoVotes, s.height, a.view})
	}
}

func (s *slot) block(hash ledger.Hash) *block {
	if i := slices.IndexFunc(s.blocks, func(b block) bool { return b.hash == hash }); i >= 0 {
		return &s.blocks[i]
	}
	return nil
}

func (b *block) vote(v *ballot) Vote { return Vote{Header: b.header, Signature: v.sig} }

// first notes that something is told, and reports whether it was not before.
func (s *slot) first(validator, view uint64, kind string) bool {
	t := telling{validator, view, kind}
	if slices.Contains(s.told, t) {
		return false
	}
	s.told = append(s.told, t)
	return true
}

func (s *slot) tell(n *news, x Sighting) {
	if s.first(x.Validator, x.View, x.Kind) {
		n.sightings = append(n.sightings, x)
	}
}
