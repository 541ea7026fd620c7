package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assent-network/assent/consensus/bft"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/evidence"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/metrics"
	"github.com/assent-network/assent/node/store"
)

// evidenceDir is where proofs against validators are kept, in the data directory.
const evidenceDir = "evidence"

// maxLiars bounds how many validators sightings are remembered of.
const maxLiars = 256

// accusations are what this node holds against other validators.
type accusations struct {
	book  *evidence.Book
	watch *evidence.Watch

	mu     sync.Mutex // guards all below
	seen   map[uint64]*sightings
	proven map[uint64]uint64 // contradictions proven since the start, by validator
}

// sightings are what was seen of one validator since the start.
type sightings struct {
	count map[string]uint64 // by kind
	last  evidence.Sighting
	at    time.Time
}

func (n *Node) openEvidence(context.Context) error {
	a := &n.accused
	a.seen, a.proven = make(map[uint64]*sightings), make(map[uint64]uint64)
	var err error
	if a.book, err = evidence.Open(filepath.Join(n.cfg.DataDir, evidenceDir), n.chainID); err != nil {
		return err
	}
	for _, p := range a.book.Proofs() {
		n.log.Warn("there is evidence against a validator: see assentd evidence", "validator", p.Validator, "height", p.Height, "view", p.View)
	}
	a.watch = evidence.NewWatch(evidence.Config{
		ChainID: n.chainID, Position: bft.Position,
		Key: func(validator uint64) (ledger.Address, bool) {
			v := n.store.Tip().Config.Validator(validator)
			if v == nil {
				return ledger.Address{}, false
			}
			return v.VoteKey, true
		},
		Found: n.proven, Seen: n.sighted,
	}, n.store.Tip().Height)
	return nil
}

// proven keeps a proof and raises the alarm.
func (n *Node) proven(validator uint64, p *evidence.Proof) {
	p.Validator, p.Found = validator, n.now().UTC()
	if v := n.store.Tip().Config.Validator(validator); v != nil {
		p.Member = v.Member
	}
	n.accused.mu.Lock()
	n.accused.proven[validator]++
	n.accused.mu.Unlock()
	added, err := n.accused.book.Add(p)
	switch {
	case err != nil:
		n.log.Error("ALARM: a validator voted for two blocks of one height and view, and the proof could not be kept: mend the data directory's disk", "validator", validator, "height", p.Height, "view", p.View, "error", err)
	case added:
		n.log.Error("ALARM: a validator voted for two blocks of one height and view: the proof is kept, see assentd evidence; ask the members to remove this validator", "validator", validator, "member", p.Member, "voteKey", p.VoteKey, "height", p.Height, "view", p.View)
	}
}

// sighted raises the alarm about what only this node saw: at the first time in full,
// then ever more rarely.
func (n *Node) sighted(s evidence.Sighting) {
	a := &n.accused
	a.mu.Lock()
	x := a.seen[s.Validator]
	if x == nil && len(a.seen) < maxLiars {
		x = &sightings{count: make(map[string]uint64)}
		a.seen[s.Validator] = x
	}
	var count uint64
	if x != nil {
		x.count[s.Kind]++
		x.last, x.at = s, n.now().UTC()
		count = x.count[s.Kind]
	}
	a.mu.Unlock()
	if count&(count-1) == 0 { // 1, 2, 4, 8 …
		n.log.Error("ALARM: a validator contradicts itself: this node saw it and cannot prove it to others", "kind", s.Kind, "validator", s.Validator, "height", s.Height, "view", s.View, "times", count)
	}
}

// accusationFacts is what the doctor and /status are told.
func (n *Node) accusationFacts() []doctor.Accusation {
	out := provenFacts(n.accused.book, n.store.Tip().Config)
	conf := n.store.Tip().Config
	a := &n.accused
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, s := range a.seen {
		f := doctor.Accusation{Validator: id, Height: uint64(s.last.Height), View: s.last.View, At: s.at}
		for _, c := range s.count {
			f.Times += int(c)
		}
		if v := conf.Validator(id); v != nil {
			f.Member, f.InForce = v.Member, true
		}
		f.Kind = s.last.Kind
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(x, y doctor.Accusation) int { return int(x.Validator) - int(y.Validator) })
	return out
}

// provenFacts sums up the proofs of a book, one line for each vote key, and names
// what is damaged.
func provenFacts(book *evidence.Book, conf *ledger.Config) []doctor.Accusation {
	var out []doctor.Accusation
	for _, p := range book.Proofs() {
		key := strings.ToLower(p.VoteKey.Hex())
		i := slices.IndexFunc(out, func(f doctor.Accusation) bool { return f.VoteKey == key })
		if i < 0 {
			f := doctor.Accusation{Validator: p.Validator, Member: p.Member, VoteKey: key, Kind: evidence.DoubleVote, Proven: true, File: book.File(p)}
			if v := conf.ValidatorByVoteKey(p.VoteKey); v != nil {
				f.Validator, f.Member, f.InForce = v.ID, v.Member, true
			}
			out = append(out, f)
			i = len(out) - 1
		}
		f := &out[i]
		f.Times++
		if uint64(p.Height) >= f.Height {
			f.Height, f.View, f.At, f.File = uint64(p.Height), p.View, p.Found, book.File(p)
		}
	}
	for _, name := range book.Damaged() {
		out = append(out, doctor.Accusation{Damaged: true, File: name})
	}
	return out
}

// accusationFigures are what a scrape shows.
func (n *Node) accusationFigures() []metrics.Contradiction {
	a := &n.accused
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []metrics.Contradiction
	for id, count := range a.proven {
		out = append(out, metrics.Contradiction{Validator: id, Kind: "proven", Count: count})
	}
	for id, s := range a.seen {
		for kind, count := range s.count {
			out = append(out, metrics.Contradiction{Validator: id, Kind: kind, Count: count})
		}
	}
	return out
}

// Accused is a proof and where it is kept.
type Accused struct {
	*evidence.Proof
	File string `json:"file"`
}

// Evidence returns the proofs that a node keeps, running or stopped, each checked,
// and the names of files that hold none any more.
func Evidence(cfg config.Config) (proofs []Accused, damaged []string, err error) {
	genesis, err := config.ReadGenesis(cfg.Genesis)
	if err != nil {
		return nil, nil, err
	}
	book, err := evidence.Open(filepath.Join(cfg.DataDir, evidenceDir), genesis.Hash())
	if err != nil {
		return nil, nil, err
	}
	for _, p := range book.Proofs() {
		proofs = append(proofs, Accused{Proof: p, File: book.File(p)})
	}
	return proofs, book.Damaged(), nil
}

// ErrUnknownKey: a proof is sound, but no config at hand names its key.
var ErrUnknownKey = errors.New("no config that is known here names the proof's vote key as a validator's")

// CheckEvidence checks a proof with nothing but a network's configs: the genesis
// file, and the config blocks of a stopped node if blocks, a directory, is not "".
// It returns the validator whose key it is, as the newest config that names it does.
func CheckEvidence(file, genesisFile, blocks string) (*evidence.Proof, *ledger.Validator, error) {
	genesis, err := config.ReadGenesis(genesisFile)
	if err != nil {
		return nil, nil, err
	}
	p, err := evidence.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := p.Check(genesis.Hash()); err != nil {
		return nil, nil, fmt.Errorf("%s proves nothing: %w", file, err)
	}
	v, err := validatorOf(p, genesis, blocks)
	if err == nil && v == nil {
		err = fmt.Errorf("%s: %w", file, ErrUnknownKey)
	}
	return p, v, err
}

func validatorOf(p *evidence.Proof, genesis *ledger.Config, blocks string) (*ledger.Validator, error) {
	configs := []*ledger.Config{genesis}
	if _, err := os.Stat(blocks); blocks != "" && err == nil {
		s, err := store.Open(blocks, genesis.Hash())
		if err != nil {
			return nil, err
		}
		defer s.Close()
		for seq := genesis.Seq + 1; seq <= s.Tip().Config.Seq; seq++ {
			c, err := s.Config(seq)
			if err != nil {
				return nil, err
			}
			configs = append(configs, c)
		}
	}
	for _, c := range slices.Backward(configs) {
		if v := c.ValidatorByVoteKey(p.VoteKey); v != nil {
			return v, nil
		}
	}
	return nil, nil
}
