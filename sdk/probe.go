package sdk

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// view asks the client's own node whom it sees.
func (c *Client) view(ctx context.Context) (*view, error) {
	return round(ctx, c, "look at the peers", ownNode, func(ctx context.Context, e *endpoint) (*view, error) {
		status, err := c.status(ctx, e)
		if err != nil {
			return nil, err
		}
		resp, err := try(ctx, c, e, c.set.timeouts.Call, &assentv1.GetPeersRequest{}, e.network.GetPeers)
		if err != nil {
			return nil, err
		}
		v := &view{validator: status.Validator, height: status.Height, protocol: status.Protocol, connected: map[uint64]bool{}, why: map[uint64]string{}}
		if status.Validator != 0 {
			v.connected[status.Validator] = true
		}
		for _, p := range resp.Peers {
			if p.Validator == 0 {
				continue
			}
			v.connected[p.Validator] = p.Connected
			v.why[p.Validator] = clean(p.LastError)
		}
		return v, nil
	})
}

// clean makes a node's text fit for a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s[:min(len(s), 512)])
}

// probe has the client's own node dial a validator that is new at its address,
// and asks that node's API who it is. A validator that nobody reaches at any of its
// addresses is refused unless whoever asks has accepted this very node as down: it
// would count in every quorum and vote in none.
func (s *survey) probe(ctx context.Context, v *ConfigValidator) error {
	counts, answered := false, false
	var misses []string
	for _, addr := range v.Addrs {
		resp, err := round(ctx, s.c, "probe "+addr, ownNode, func(ctx context.Context, e *endpoint) (*assentv1.ProbeResponse, error) {
			return try(ctx, s.c, e, 2*s.c.set.timeouts.Call, &assentv1.ProbeRequest{Addr: addr, HostKey: v.HostKey[:]}, e.network.Probe)
		})
		switch {
		case err != nil && CodeOf(err) == "BAD_REQUEST":
			s.report.add(RemarkRefusal, name(v), "Correct the address.", "%v", err)
			answered = true // no acceptance helps
		case err != nil && CodeOf(err) == "NOT_FOUND": // a guest's, and not proposed yet
			misses = append(misses, fmt.Sprintf("could not be looked at: %v", err))
		case err != nil:
			return err
		case resp.Result == assentv1.ProbeResponse_RESULT_REACHED:
			answered = true
			counts = s.reached(v, addr, resp) || counts
		case resp.Result == assentv1.ProbeResponse_RESULT_OTHER_KEY:
			answered = true
			s.report.add(RemarkRefusal, name(v), "Take the node's card again from its operator (assentd card): address or host key are wrong, or somebody stands between.",
				"somebody with another host key answers at %s", addr)
		default:
			misses = append(misses, fmt.Sprintf("cannot be reached at %s%s", addr, because(clean(resp.Why))))
		}
	}
	switch {
	case len(misses) != 0 && answered:
		s.report.add(RemarkWarning, name(v), "Correct the address or have its operator open it.", "%s", strings.Join(misses, "; "))
	case len(misses) != 0:
		s.missing(v, strings.Join(misses, "; "))
	}
	if counts {
		s.report.Reachable++
	}
	return s.introduce(ctx, v)
}

// missing weighs a validator that is new at its addresses and answers at none.
func (s *survey) missing(v *ConfigValidator, what string) {
	id := NodeIDOf(v.HostKey)
	if slices.Contains(s.accepted, id) {
		s.report.Accepted = append(s.report.Accepted, id)
		s.report.add(RemarkNote, name(v), "Have its operator start it: it counts as failed.", "(node %s) %s; it is accepted as down", id, what)
		return
	}
	s.report.add(RemarkRefusal, name(v), "Have its operator start it and open its port; it waits there until it is admitted. If it is meant to be down: --unreachable "+string(id)+".",
		"(node %s) %s", id, what)
}

// reached says what a node that proved its host key says of itself, and whether
// it would order at once.
func (s *survey) reached(v *ConfigValidator, addr string, resp *assentv1.ProbeResponse) bool {
	if len(resp.Status) == 0 {
		s.report.add(RemarkNote, name(v), "It will fetch the blocks once it is admitted; register it as an observer first if the quorum needs it at once.",
			"answers at %s with its host key; it does not know this node yet, so that its height is unknown", addr)
		return false
	}
	st, err := ledger.DecodeStatus(resp.Status)
	if err != nil || st.ChainID != s.c.chainID || st.Nonce != Hash(resp.Nonce) {
		s.report.add(RemarkRefusal, name(v), "Have its operator compare the genesis file with yours.", "answers at %s for another network", addr)
		return false
	}
	if st.Key != (Address{}) && (st.Key != v.VoteKey || ledger.VerifySignature(st.Digest(), st.Sig, st.Key) != nil) {
		s.report.add(RemarkRefusal, name(v), "Take the node's card again from its operator.", "holds the vote key %s, the config names %s", strings.ToLower(st.Key.Hex()), strings.ToLower(v.VoteKey.Hex()))
		return false
	}
	if behind := int64(s.view.height) - int64(st.Height); behind > maxLag {
		s.report.add(RemarkNote, name(v), "Register it as an observer and let it catch up first if the quorum needs it at once.", "answers at %s and is %d blocks behind", addr, behind)
		return false
	}
	s.report.add(RemarkOK, name(v), "", "answers at %s with its host key, at height %d", addr, st.Height)
	return true
}

// introduce asks a new node's API, found by its card or its record on the ledger.
func (s *survey) introduce(ctx context.Context, v *ConfigValidator) error {
	urls, pin := s.apiOf(v)
	if len(urls) == 0 {
		s.report.add(RemarkNote, name(v), "Give its card (assentd card) to have program and clock looked at.", "has no card here and no record on the ledger")
		return nil
	}
	who, err := s.ask(ctx, urls[0], pin)
	if err != nil {
		s.report.add(RemarkNote, name(v), "Its program and clock could not be looked at; its operator can (assentd doctor).", "its API at %s does not answer this machine: %v", urls[0], err)
		return nil
	}
	if who.chain != s.c.chainID.Hex() {
		s.report.add(RemarkRefusal, name(v), "Have its operator compare the genesis file with yours.", "is of another network, %.66s", clean(who.chain))
	}
	if who.known < s.next.Protocol {
		s.report.add(RemarkRefusal, name(v), "Have its operator upgrade the program first.", "its program %.40s knows protocol versions up to %d, the config names %d", clean(who.software), who.known, s.next.Protocol)
	}
	if skew := who.clock.Abs(); who.clockKnown && skew > time.Duration(s.next.Limits.ClockToleranceMs)*time.Millisecond {
		s.report.add(RemarkWarning, name(v), "Set the clocks by NTP, this machine's too.", "its clock differs from this machine's by %s; validators vote for blocks within %d ms only", who.clock, s.next.Limits.ClockToleranceMs)
	}
	return nil
}

// apiOf finds where a validator's clients reach it.
func (s *survey) apiOf(v *ConfigValidator) ([]string, Hash) {
	for _, c := range s.cards {
		if c.HostKey == v.HostKey {
			return c.APIURLs, c.SPKI
		}
	}
	for i := range s.records {
		if n := &s.records[i]; slices.Equal(n.HostKey, v.HostKey[:]) {
			return n.APIURLs, n.SPKI
		}
	}
	return nil, Hash{}
}

// introduction is what a node tells everybody.
type introduction struct {
	chain, software string
	known           uint64
	clock           time.Duration // its clock minus this one's, to a second
	clockKnown      bool
}

// ask asks a node without a token. A pin makes sure that it is the node of the
// card or record.
func (s *survey) ask(ctx context.Context, url string, pin Hash) (*introduction, error) {
	set := *s.c.set
	set.middleware, set.pins = nil, []Hash{pin}
	e, err := openEndpoint(url, &set)
	if err != nil {
		return nil, err
	}
	defer e.base.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, set.timeouts.Connect)
	defer cancel()
	begin := set.now()
	resp, err := e.ledger.GetStatus(ctx, connect.NewRequest(&assentv1.GetStatusRequest{}))
	if err != nil {
		return nil, fmt.Errorf("%s", clean(err.Error()))
	}
	out := &introduction{chain: resp.Msg.ChainId, software: resp.Msg.Software, known: max(resp.Msg.ProtocolKnown, resp.Msg.Protocol)}
	if date, err := http.ParseTime(resp.Header().Get("Date")); err == nil {
		mid := begin.Add(set.now().Sub(begin) / 2)
		out.clock, out.clockKnown = date.Add(500*time.Millisecond).Sub(mid).Round(time.Second), true
	}
	return out, nil
}

// protocol looks, when the protocol version rises, whether the programs of the
// validators that stay know the new one.
func (s *survey) protocol(ctx context.Context) error {
	if s.next.Protocol == s.current.Protocol {
		return nil
	}
	for i := range s.next.Validators {
		v := &s.next.Validators[i]
		if s.sameHost(v.HostKey) == nil {
			continue // a new node was asked already
		}
		urls, pin := s.apiOf(v)
		if len(urls) == 0 {
			s.report.add(RemarkWarning, name(v), "Have its member register it (assent member node set), or ask its operator.", "has no record on the ledger: nobody can tell whether its program knows protocol version %d", s.next.Protocol)
			continue
		}
		switch who, err := s.ask(ctx, urls[0], pin); {
		case err != nil:
			s.report.add(RemarkWarning, name(v), "Ask its operator which version of the program runs.", "its API does not answer this machine: nobody can tell whether its program knows protocol version %d: %v", s.next.Protocol, err)
		case who.known < s.next.Protocol:
			s.report.add(RemarkRefusal, name(v), "Have its operator upgrade the program first: it would stop.", "its program %.40s knows protocol versions up to %d, the config names %d", clean(who.software), who.known, s.next.Protocol)
		}
	}
	return nil
}
