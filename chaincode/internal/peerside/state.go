package peerside

import (
	"maps"
	"slices"
	"strings"
)

// version is the place of the transaction that wrote a row last.
type version struct{ block, tx int }

type row struct {
	value []byte
	at    version
}

// state is the world state of one chaincode on one channel.
type state struct {
	rows     map[string]row
	metadata map[string]map[string][]byte
	history  map[string][]Modification
	txs      map[string]bool // ids of transactions in blocks
	height   int
}

// Modification is one write of a key.
type Modification struct {
	TxID   string
	Value  []byte
	Delete bool
}

func newState() *state {
	return &state{
		rows: map[string]row{}, metadata: map[string]map[string][]byte{},
		history: map[string][]Modification{}, txs: map[string]bool{},
	}
}

// keys returns those with start ≤ key < end, in order; an empty bound is open,
// as in Fabric, where an open start still leaves out composite keys.
func (s *state) keys(start, end string) []string {
	if start == "" {
		start = "\x01"
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(s.rows)) {
		if key >= start && (end == "" || key < end) {
			out = append(out, key)
		}
	}
	return out
}

// read is what a simulation saw of a key; nil: that there is none.
type read struct {
	key string
	at  *version
}

func (s *state) versionOf(key string) *version {
	r, found := s.rows[key]
	if !found {
		return nil
	}
	return &r.at
}

func sameVersion(a, b *version) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// scan is a range a simulation walked, and the rows it saw there.
type scan struct {
	start, end string
	seen       []read
}

// Verdict is what validation says about a transaction in a block.
type Verdict string

// Fabric's validation codes that this world knows.
const (
	Valid       Verdict = "VALID"
	Conflict    Verdict = "MVCC_READ_CONFLICT"
	Phantom     Verdict = "PHANTOM_READ_CONFLICT"
	DuplicateTx Verdict = "DUPLICATE_TXID"
)

func (s *state) validate(sim *Simulation) Verdict {
	if s.txs[sim.TxID] {
		return DuplicateTx
	}
	for _, r := range sim.reads {
		if !sameVersion(r.at, s.versionOf(r.key)) {
			return Conflict
		}
	}
	for _, sc := range sim.scans {
		now := s.keys(sc.start, sc.end)
		if len(now) != len(sc.seen) {
			return Phantom
		}
		for i, key := range now {
			if key != sc.seen[i].key || !sameVersion(sc.seen[i].at, s.versionOf(key)) {
				return Phantom
			}
		}
	}
	return Valid
}

// commit makes a block of the simulations, in order. Each is validated against
// the state that those before it left.
func (s *state) commit(sims []*Simulation) []Verdict {
	s.height++
	out := make([]Verdict, len(sims))
	for i, sim := range sims {
		out[i] = s.validate(sim)
		s.txs[sim.TxID] = true
		if out[i] != Valid {
			continue
		}
		at := version{s.height, i}
		for _, key := range slices.Sorted(maps.Keys(sim.Writes)) {
			value := sim.Writes[key]
			if value == nil {
				delete(s.rows, key)
			} else {
				s.rows[key] = row{value: value, at: at}
			}
			s.history[key] = append(s.history[key], Modification{sim.TxID, value, value == nil})
		}
		for _, key := range slices.Sorted(maps.Keys(sim.metadata)) {
			s.metadata[key] = sim.metadata[key]
		}
	}
	return out
}

func checkKey(key string) string {
	if key == "" {
		return "the key is empty"
	}
	if strings.ToValidUTF8(key, "") != key {
		return "the key is no valid UTF-8"
	}
	return ""
}
