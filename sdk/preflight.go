package sdk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/node/ledger"
)

// RemarkLevel says how much a remark weighs.
type RemarkLevel string

const (
	RemarkOK      RemarkLevel = "ok"
	RemarkNote    RemarkLevel = "note"    // worth knowing
	RemarkWarning RemarkLevel = "warning" // stops the change unless somebody gives a reason
	RemarkRefusal RemarkLevel = "refusal" // stops the change
)

// Remark is one thing that a preflight looked at.
type Remark struct {
	Level  RemarkLevel `json:"level"`
	Name   string      `json:"name"`
	What   string      `json:"what"`
	Remedy string      `json:"remedy,omitempty"`
}

// Preflight is what a look at the network says about a config that is to come
// into force.
type Preflight struct {
	ConfigHash Hash   `json:"configHash"`
	ConfigSeq  uint64 `json:"configSeq"`
	Validators int    `json:"validators"` // of the new config
	Quorum     int    `json:"quorum"`     // of the new config
	Reachable  int    `json:"reachable"`  // of its validators, now, counting none that must catch up first
	// Accepted are nodes that cannot be reached and that AcceptUnreachable names.
	Accepted []NodeID `json:"acceptedUnreachable,omitempty"`
	Remarks  []Remark `json:"remarks"`
}

// PreflightOption tells a preflight what it cannot find out by itself.
type PreflightOption func(*survey)

// WithCards gives the cards of new nodes, if at hand: where their APIs are, to ask
// for program and clock. Without its card a node is found by its record on the ledger.
func WithCards(cards ...*NodeCard) PreflightOption {
	return func(s *survey) { s.cards = append(s.cards, cards...) }
}

// AcceptUnreachable names new or moved nodes, by their node ids, that may be down
// when they are admitted: each counts as failed until somebody starts it. A node
// that is not named and cannot be reached is a refusal.
func AcceptUnreachable(nodes ...NodeID) PreflightOption {
	return func(s *survey) { s.accepted = append(s.accepted, nodes...) }
}

// Worst returns the level that weighs most.
func (p *Preflight) Worst() RemarkLevel {
	order := []RemarkLevel{RemarkOK, RemarkNote, RemarkWarning, RemarkRefusal}
	worst := 0
	for _, f := range p.Remarks {
		worst = max(worst, slices.Index(order, f.Level))
	}
	return order[worst]
}

// Of returns the remarks of one level.
func (p *Preflight) Of(l RemarkLevel) []Remark {
	var out []Remark
	for _, f := range p.Remarks {
		if f.Level == l {
			out = append(out, f)
		}
	}
	return out
}

func (p *Preflight) add(l RemarkLevel, name, remedy, format string, args ...any) {
	p.Remarks = append(p.Remarks, Remark{l, name, fmt.Sprintf(format, args...), remedy})
}

// maxLag is how many blocks a node may be behind and still count as one that
// orders at once.
const maxLag = 100

// Preflight looks whether the network would go on working with next: whether its
// validators make a quorum as far as the client's own node reaches them, whether
// a new validator answers at its address and is who the config says, whether it
// knows the network, the protocol and the time. Roles: admin, operator.
func (m Members) Preflight(ctx context.Context, next *Config, opts ...PreflightOption) (*Preflight, error) {
	current, err := m.c.Config(ctx)
	if err != nil {
		return nil, err
	}
	p := &Preflight{ConfigHash: next.Hash(), ConfigSeq: next.Seq, Validators: len(next.Validators), Quorum: ledger.Quorum(len(next.Validators))}
	if err := next.Follows(current); err != nil {
		p.add(RemarkRefusal, "config", "Make the change anew on the config in force (assent member propose).", "%v", err)
		return p, nil
	}
	s := &survey{c: m.c, report: p, current: current, next: next}
	for _, o := range opts {
		o(s)
	}
	if err := s.look(ctx); err != nil {
		return nil, err
	}
	s.sizes()
	return p, nil
}

// survey is one preflight.
type survey struct {
	c             *Client
	report        *Preflight
	current, next *Config
	cards         []*NodeCard
	accepted      []NodeID // by whoever asks, as unreachable
	view          *view
	records       []Node // on the ledger
}

// view is what the client's own node sees.
type view struct {
	validator uint64 // 0: an observer
	height    uint64
	protocol  uint64
	connected map[uint64]bool   // validators of the config in force, this one included
	why       map[uint64]string // of those that are not
}

// reaches reports whether the node of a validator in force answers.
func (v *view) reaches(id uint64) bool { return v.connected[id] }

func (s *survey) look(ctx context.Context) (err error) {
	if s.view, err = s.c.view(ctx); err != nil {
		return err
	}
	for n, err := range s.c.Nodes().List(ctx) {
		if err != nil {
			return err
		}
		s.records = append(s.records, *n)
	}
	for i := range s.next.Validators {
		v := &s.next.Validators[i]
		switch old := s.sameHost(v.HostKey); {
		case old != nil && slices.Equal(old.Addrs, v.Addrs):
			s.kept(old, v)
		case old == nil && s.current.Validator(v.ID) != nil:
			s.rekeyed(s.current.Validator(v.ID))
		default:
			if err := s.probe(ctx, v); err != nil {
				return err
			}
		}
	}
	s.foreignHosts()
	s.sameAddress()
	s.foreignAcceptances()
	return s.protocol(ctx)
}

// foreignAcceptances refuses an id that names none of the nodes that this change
// admits or moves: whoever mistyped one believes to have accepted something else.
func (s *survey) foreignAcceptances() {
	for _, id := range s.accepted {
		if !slices.ContainsFunc(s.next.Validators, func(v ConfigValidator) bool {
			old := s.sameHost(v.HostKey)
			return NodeIDOf(v.HostKey) == id && (old == nil || !slices.Equal(old.Addrs, v.Addrs))
		}) {
			s.report.add(RemarkRefusal, "node "+string(id), "Name nodes of new or moved validators only; their cards and this preflight show the ids.",
				"is accepted as unreachable and is none that this change admits or moves")
		}
	}
}

// foreignHosts refuses a validator under a host key that another member's node has
// registered: two members cannot both speak under it.
func (s *survey) foreignHosts() {
	for i := range s.next.Validators {
		v := &s.next.Validators[i]
		for _, n := range s.records {
			if n.RemovedAt == 0 && string(n.OrgID) != v.Member && slices.Equal(n.HostKey, v.HostKey[:]) {
				s.report.add(RemarkRefusal, name(v), "Make a host key for this validator alone (assentd init), or have "+string(n.OrgID)+" remove its node first.",
					"has the host key of node %s of member %s", n.NodeID, n.OrgID)
			}
		}
	}
}

// sameHost finds the validator in force that runs under a host key.
func (s *survey) sameHost(key ledger.HostKey) *ConfigValidator {
	for i := range s.current.Validators {
		if s.current.Validators[i].HostKey == key {
			return &s.current.Validators[i]
		}
	}
	return nil
}

func name(v *ConfigValidator) string { return fmt.Sprintf("validator %d of %s", v.ID, v.Member) }

// kept is a validator whose node goes on, perhaps under another number.
func (s *survey) kept(old, v *ConfigValidator) {
	if !s.view.reaches(old.ID) {
		s.report.add(RemarkNote, name(v), "Have its operator start it: it counts as failed.", "does not answer now%s", because(s.view.why[old.ID]))
		return
	}
	s.report.Reachable++
	if old.ID != v.ID {
		s.report.add(RemarkNote, name(v), "Its operator names the new key as identity.nextVoteKey before the change comes into force.",
			"is the node of validator %d with another vote key", old.ID)
	}
}

// rekeyed is a validator whose node must restart under another host key.
func (s *survey) rekeyed(old *ConfigValidator) {
	s.report.add(RemarkNote, name(old), "Its operator names the new key as identity.nextHostKey, and restarts the node when the change is in force.",
		"gets another host key and counts as away until its node was restarted")
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// sizes says what the number of validators means.
func (s *survey) sizes() {
	p := s.report
	n, was := len(s.next.Validators), len(s.current.Validators)
	up := 0
	for i := range s.current.Validators {
		if s.view.reaches(s.current.Validators[i].ID) {
			up++
		}
	}
	if q := ledger.Quorum(was); up < q {
		p.add(RemarkRefusal, "quorum now", "Start validators until a quorum is up; nothing can be ordered before.", "%d of the %d validators in force answer, %d are needed to order anything, this change too", up, was, q)
	}
	switch {
	case p.Reachable < p.Quorum:
		p.add(RemarkRefusal, "quorum", "Start the validators that do not answer; let new nodes catch up as observers first; or add or remove fewer at a time.",
			"%d of the %d validators of the new config answer and are not behind, its quorum is %d: the network would stand still", p.Reachable, n, p.Quorum)
	case p.Reachable == p.Quorum && n > p.Quorum:
		p.add(RemarkNote, "quorum", "Start the others first if you can.", "%d of %d validators answer, exactly the quorum of %d: none of them may fail", p.Reachable, n, p.Quorum)
	default:
		p.add(RemarkOK, "quorum", "", "%d of %d validators answer, the quorum is %d", p.Reachable, n, p.Quorum)
	}
	f, g := ledger.Faults(was), ledger.Faults(n)
	switch {
	case g < f:
		p.add(RemarkWarning, "tolerance", "Add a validator first, or give a reason.", "%d validators may fail at once instead of %d", g, f)
	case g == 0:
		p.add(RemarkNote, "tolerance", "Four validators survive the failure of one.", "with %d validators the network stands still when one of them fails", n)
	}
	for _, m := range s.next.Members {
		if k := held(s.next, m.ID); n > 1 && k > g && k > held(s.current, m.ID) {
			p.add(RemarkNote, "member "+m.ID, "Spread validators over members.", "would run %d of %d validators: it alone could stop the network", k, n)
		}
	}
}

func held(c *Config, member string) int {
	k := 0
	for i := range c.Validators {
		if c.Validators[i].Member == member {
			k++
		}
	}
	return k
}

func (s *survey) sameAddress() {
	seen := map[string]uint64{}
	for i := range s.next.Validators {
		v := &s.next.Validators[i]
		for _, a := range v.Addrs {
			a, _, _ = strings.Cut(a, "/p2p/")
			if other, twice := seen[a]; twice && other != v.ID {
				s.report.add(RemarkWarning, name(v), "Correct the address: one node listens there.", "has the address %s, which validator %d has too", a, other)
			}
			seen[a] = v.ID
		}
	}
}
