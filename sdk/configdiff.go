package sdk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/node/ledger"
)

// maxDiffLine bounds a line of DiffConfigs, in bytes: what a proposal's summary
// takes.
const maxDiffLine = 256

// DiffConfigs says in words what next changes, a line each, members first; the
// last lines tell what it means for quorum and approvals. It repeats nothing that
// stays.
func DiffConfigs(current, next *Config) []string {
	d := &diff{}
	d.members(current, next)
	d.validators(current, next)
	d.limits(current.Limits, next.Limits)
	if current.Protocol != next.Protocol {
		d.line("protocol version: %d → %d", current.Protocol, next.Protocol)
	}
	if current.Network != next.Network || current.GenesisTime != next.GenesisTime {
		d.line("CHANGES THE NETWORK'S NAME OR GENESIS TIME: it can never come into force")
	}
	if a, b := len(current.Validators), len(next.Validators); a != b {
		d.line("validators: %d → %d; quorum %d → %d; may fail at once: %d → %d", a, b, ledger.Quorum(a), ledger.Quorum(b), ledger.Faults(a), ledger.Faults(b))
	}
	if a, b := len(current.Members), len(next.Members); a != b {
		d.line("members: %d → %d; approvals that a later change needs: %d → %d", a, b, approvals(a), approvals(b))
	}
	return d.lines
}

// Summarise makes a proposal's summary of what next changes, and of why.
func Summarise(current, next *Config, why string) []string {
	d := &diff{lines: DiffConfigs(current, next)}
	if most := maxSummary - 2; len(d.lines) > most {
		more := len(d.lines) - most
		d.lines = d.lines[:most]
		d.line("… and %d lines more: compare the configs", more)
	}
	if why != "" {
		d.line("reason: %s", why)
	}
	if len(d.lines) == 0 {
		d.line("changes nothing")
	}
	return d.lines
}

// maxSummary is how many lines a summary may have.
const maxSummary = 64

func approvals(members int) int { return 2*members/3 + 1 }

type diff struct{ lines []string }

func (d *diff) line(format string, args ...any) {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '�' {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
	if len(text) > maxDiffLine {
		cut := maxDiffLine - len("…")
		for cut > 0 && text[cut]&0xc0 == 0x80 {
			cut--
		}
		text = text[:cut] + "…"
	}
	d.lines = append(d.lines, text)
}

func (d *diff) members(current, next *Config) {
	for i := range current.Members {
		m := &current.Members[i]
		if next.Member(m.ID) == nil {
			d.line("removes member %s (%s)", m.ID, m.Name)
		}
	}
	for i := range next.Members {
		m := &next.Members[i]
		old := current.Member(m.ID)
		if old == nil {
			d.line("adds member %s (%s), %s, admin keys %s", m.ID, m.Name, strings.Join(m.Roles, " "), addressList(m.Admins))
			continue
		}
		if old.Name != m.Name {
			d.line("renames member %s: %s → %s", m.ID, old.Name, m.Name)
		}
		if !slices.Equal(old.Roles, m.Roles) {
			d.line("roles of member %s: %s → %s", m.ID, strings.Join(old.Roles, " "), strings.Join(m.Roles, " "))
		}
		for _, key := range old.Admins {
			if !slices.Contains(m.Admins, key) {
				d.line("removes admin key %s of member %s", strings.ToLower(key.Hex()), m.ID)
			}
		}
		for _, key := range m.Admins {
			if !slices.Contains(old.Admins, key) {
				d.line("adds admin key %s to member %s", strings.ToLower(key.Hex()), m.ID)
			}
		}
	}
}

func addressList(list []Address) string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = strings.ToLower(a.Hex())
	}
	return strings.Join(out, " ")
}

func (d *diff) validators(current, next *Config) {
	for i := range current.Validators {
		v := &current.Validators[i]
		if next.Validator(v.ID) == nil {
			d.line("removes validator %d of %s (vote key %s)", v.ID, v.Member, strings.ToLower(v.VoteKey.Hex()))
		}
	}
	for i := range next.Validators {
		v := &next.Validators[i]
		old := current.Validator(v.ID)
		if old == nil {
			d.line("adds validator %d of %s at %s, vote key %s", v.ID, v.Member, strings.Join(v.Addrs, " "), strings.ToLower(v.VoteKey.Hex()))
			d.line("  host key of validator %d: 0x%x", v.ID, v.HostKey[:])
			continue
		}
		if old.Member != v.Member {
			d.line("validator %d passes from %s to %s", v.ID, old.Member, v.Member)
		}
		if old.VoteKey != v.VoteKey {
			d.line("CHANGES THE VOTE KEY OF VALIDATOR %d: it can never come into force", v.ID)
		}
		if old.HostKey != v.HostKey {
			d.line("host key of validator %d: 0x%x → 0x%x", v.ID, old.HostKey[:], v.HostKey[:])
		}
		if !slices.Equal(old.Addrs, v.Addrs) {
			d.line("addresses of validator %d: %s → %s", v.ID, strings.Join(old.Addrs, " "), strings.Join(v.Addrs, " "))
		}
	}
}

func (d *diff) limits(a, b ConfigLimits) {
	for _, l := range []struct {
		name     string
		from, to uint64
	}{
		{"maxRequestBytes", a.MaxRequestBytes, b.MaxRequestBytes}, {"maxBlockBytes", a.MaxBlockBytes, b.MaxBlockBytes},
		{"maxBlockRequests", a.MaxBlockRequests, b.MaxBlockRequests}, {"clockToleranceMs", a.ClockToleranceMs, b.ClockToleranceMs},
		{"maxExecLag", a.MaxExecLag, b.MaxExecLag}, {"observersPerMember", a.ObserversPerMember, b.ObserversPerMember},
	} {
		if l.from != l.to {
			d.line("limit %s: %d → %d", l.name, l.from, l.to)
		}
	}
}
