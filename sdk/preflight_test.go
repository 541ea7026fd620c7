package sdk_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// answering says that a node with a host key listens, says status of itself, or
// nothing if that is nil.
func answering(want ledger.HostKey, status func(nonce ledger.Hash) *ledger.Status) func(string, []byte, ledger.Hash) *v1.ProbeResponse {
	return func(_ string, key []byte, nonce ledger.Hash) *v1.ProbeResponse {
		if ledger.HostKey(key) != want {
			return &v1.ProbeResponse{Result: v1.ProbeResponse_RESULT_OTHER_KEY}
		}
		resp := &v1.ProbeResponse{Result: v1.ProbeResponse_RESULT_REACHED, SilentBecause: "it does not know this node"}
		if status != nil {
			resp.Status = status(nonce).Encode()
		}
		return resp
	}
}

func TestPreflight(t *testing.T) {
	w := newWorld(t)
	bank := w.adminOf(fakenode.Bank)
	card := newCard(fakenode.Bank, "5")
	height := ledger.Height(w.net.Height())
	status := func(key string, chain ledger.Hash, h ledger.Height) func(ledger.Hash) *ledger.Status {
		return func(nonce ledger.Hash) *ledger.Status {
			s := &ledger.Status{ChainID: chain, Nonce: nonce, Height: h, Voted: h}
			if key != "" {
				w.must(s.Sign(fakenode.Signer(key)))
			}
			return s
		}
	}
	here := w.net.ChainID()
	add := func(e *sdk.ConfigEditor) { e.AddValidator(card) }
	for _, tc := range []struct {
		name   string
		change func(*sdk.ConfigEditor)
		down   []uint64
		answer func(string, []byte, ledger.Hash) *v1.ProbeResponse
		worst  sdk.RemarkLevel
		says   []string // parts of remarks other than ok
		reach  int
	}{
		{"a node that is up and near", add, nil, answering(card.HostKey, status("vote 5", here, height)), sdk.RemarkNote, []string{"has no card here"}, 5},
		{"a node whose status is unsigned", add, nil, answering(card.HostKey, status("", here, height)), sdk.RemarkNote, nil, 5},
		{"a node that must catch up", add, nil, answering(card.HostKey, nil), sdk.RemarkNote, []string{"it does not know this node yet", "exactly the quorum of 4"}, 4},
		{"nobody at the address", add, nil, nil, sdk.RemarkRefusal, []string{"cannot be reached at /ip4/10.0.0.9/tcp/7400: connection refused"}, 4},
		{"nobody at the address and one down", add, []uint64{3}, nil, sdk.RemarkRefusal, []string{"validator 3 of lender does not answer", "3 of the 5 validators of the new config answer and are not behind, its quorum is 4"}, 3},
		{"another key at the address", add, nil, answering(hostKey("x"), nil), sdk.RemarkRefusal, []string{"another host key"}, 4},
		{"another vote key", add, nil, answering(card.HostKey, status("vote 6", here, height)), sdk.RemarkRefusal, []string{"holds the vote key"}, 4},
		{"another network", add, nil, answering(card.HostKey, status("vote 5", hashOf("x"), height)), sdk.RemarkRefusal, []string{"for another network"}, 4},
		{"one leaves four", func(e *sdk.ConfigEditor) { e.RemoveValidator(4) }, nil, nil, sdk.RemarkWarning, []string{"0 validators may fail at once instead of 1"}, 3},
		{"one leaves four while another is down", func(e *sdk.ConfigEditor) { e.RemoveValidator(4) }, []uint64{2, 3}, nil, sdk.RemarkRefusal,
			[]string{"2 of the 4 validators in force answer", "1 of the 3 validators of the new config"}, 1},
		{"the one that is down leaves", func(e *sdk.ConfigEditor) { e.RemoveValidator(4) }, []uint64{4}, nil, sdk.RemarkWarning, []string{"instead of 1"}, 3},
		{"another vote key for a node", func(e *sdk.ConfigEditor) { e.RotateVoteKey(2, fakenode.Signer("x").Address()) }, nil, nil, sdk.RemarkNote, []string{"is the node of validator 2 with another vote key"}, 4},
		{"another host key for a node", func(e *sdk.ConfigEditor) { e.RotateHostKey(2, hostKey("h")) }, nil, nil, sdk.RemarkNote, []string{"counts as away until its node was restarted", "exactly the quorum"}, 3},
		{"another address that nobody listens at", func(e *sdk.ConfigEditor) { e.SetAddrs(2, []string{"/ip4/10.0.0.1/tcp/1"}) }, nil, nil, sdk.RemarkRefusal, []string{"cannot be reached at /ip4/10.0.0.1/tcp/1"}, 3},
		{"limits alone", func(e *sdk.ConfigEditor) { e.SetLimits(func(l *sdk.ConfigLimits) { l.ObserversPerMember = 9 }) }, nil, nil, sdk.RemarkOK, nil, 4},
		{"an address that is taken", func(e *sdk.ConfigEditor) { e.SetAddrs(2, w.net.Genesis.Validators[0].Addrs) }, nil, nil, sdk.RemarkRefusal, []string{"which validator 1 has too"}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.net.Down, w.net.Answers = map[uint64]bool{}, tc.answer
			for _, id := range tc.down {
				w.net.Down[id] = true
			}
			e := sdk.EditConfig(w.net.Genesis)
			tc.change(e)
			next, err := e.Config()
			w.must(err)
			p, err := bank.Members().Preflight(t.Context(), next)
			w.must(err)
			if got := p.Worst(); got != tc.worst || p.Reachable != tc.reach {
				t.Errorf("worst is %s, %d reachable; want %s, %d:\n%+v", got, p.Reachable, tc.worst, tc.reach, p.Remarks)
			}
			for _, part := range tc.says {
				if !slices.ContainsFunc(p.Remarks, func(r sdk.Remark) bool {
					return strings.Contains(r.Name+" "+r.What, part) && (r.Level == sdk.RemarkOK || r.Remedy != "")
				}) {
					t.Errorf("nothing says %q: %+v", part, p.Remarks)
				}
			}
		})
	}
}

// TestPreflightAsksTheNewNode: program, clock and network of a node come from its
// API, which is found by its card.
func TestPreflightAsksTheNewNode(t *testing.T) {
	w := newWorld(t)
	bank := w.adminOf(fakenode.Bank)
	fresh := w.serve(fakenode.Outside)
	card := newCard(fakenode.Outside, "5")
	card.APIURLs, card.SPKI = []string{fresh.URL()}, fresh.Pin()
	next := w.edited(bank, func(e *sdk.ConfigEditor) { e.AddValidator(card) })
	says := func(level sdk.RemarkLevel, part string) {
		t.Helper()
		p, err := bank.Members().Preflight(t.Context(), next, sdk.WithCards(card))
		w.must(err)
		if !slices.ContainsFunc(p.Of(level), func(r sdk.Remark) bool { return strings.Contains(r.What, part) }) {
			t.Errorf("no %s says %q: %+v", level, part, p.Remarks)
		}
	}
	w.net.Answers = answering(card.HostKey, nil)
	says(sdk.RemarkNote, "its height is unknown")
	fresh.Tamper("GetStatus", func(m proto.Message) { m.(*v1.GetStatusResponse).ChainId = hashOf("x").Hex() })
	says(sdk.RemarkRefusal, "is of another network")
	fresh.Tamper("GetStatus", func(m proto.Message) {
		r := m.(*v1.GetStatusResponse)
		r.Protocol, r.ProtocolKnown = 0, 0
	})
	says(sdk.RemarkRefusal, "knows protocol versions up to 0")
	card.SPKI = hashOf("another certificate")
	says(sdk.RemarkNote, "does not answer this machine")
}

func TestPreflightOfAStaleConfig(t *testing.T) {
	w := newWorld(t)
	bank := w.adminOf(fakenode.Bank)
	next := w.edited(bank, func(e *sdk.ConfigEditor) { e.RemoveValidator(4) })
	w.net.Reconfigure(func(c *ledger.Config) { c.Limits.ObserversPerMember = 9 })
	p, err := bank.Members().Preflight(t.Context(), next)
	w.must(err)
	if p.Worst() != sdk.RemarkRefusal || len(p.Remarks) != 1 {
		t.Errorf("remarks are %+v", p.Remarks)
	}
}

// A host key is one member's: a validator under that of another member's node is
// refused before anybody approves it.
func TestPreflightRefusesAForeignHostKey(t *testing.T) {
	w := newWorld(t)
	bank, lender := w.adminOf(fakenode.Bank), w.adminOf(fakenode.Lender)
	card := newCard(fakenode.Bank, "5")
	if _, err := lender.Nodes().Set(t.Context(), sdk.NodeSpec{
		Addrs: []string{"/ip4/10.0.0.9/tcp/7400"}, HostKey: card.HostKey[:], Kind: "observer", NodeID: "theirs",
	}); err != nil {
		t.Fatal(err)
	}
	w.net.Answers = answering(card.HostKey, nil)
	next, err := sdk.EditConfig(w.net.Genesis).AddValidator(card).Config()
	w.must(err)
	p, err := bank.Members().Preflight(t.Context(), next)
	w.must(err)
	refused := p.Of(sdk.RemarkRefusal)
	if len(refused) != 1 || !strings.Contains(refused[0].What, "has the host key of node theirs of member "+fakenode.Lender) || refused[0].Remedy == "" {
		t.Errorf("%+v", p.Remarks)
	}
}

// Whoever admits a node that is down says which one it is: the refusal names it and
// the way, and nothing but its own id lifts it.
func TestPreflightRefusesANodeThatIsDownUnlessItIsNamed(t *testing.T) {
	w := newWorld(t)
	bank := w.adminOf(fakenode.Bank)
	card, second := newCard(fakenode.Bank, "5"), newCard(fakenode.Lender, "6")
	second.Addrs = []string{"/ip4/10.0.0.8/tcp/7400", "/ip4/10.0.0.7/tcp/7400"}
	one := w.edited(bank, func(e *sdk.ConfigEditor) { e.AddValidator(card) })
	two := w.edited(bank, func(e *sdk.ConfigEditor) { e.AddValidator(card).AddValidator(second) })
	id, other := sdk.NodeIDOf(card.HostKey), sdk.NodeIDOf(second.HostKey)
	look := func(next *sdk.Config, opts ...sdk.PreflightOption) *sdk.Preflight {
		t.Helper()
		p, err := bank.Members().Preflight(t.Context(), next, opts...)
		w.must(err)
		return p
	}
	about := func(p *sdk.Preflight, l sdk.RemarkLevel, id sdk.NodeID) *sdk.Remark {
		for _, r := range p.Of(l) {
			if strings.Contains(r.What, string(id)) {
				return &r
			}
		}
		return nil
	}
	if r := about(look(one), sdk.RemarkRefusal, id); r == nil || r.Name != "validator 5 of bank" || !strings.HasSuffix(r.Remedy, "--unreachable "+string(id)+".") {
		t.Errorf("refused with %+v", r)
	}
	p := look(one, sdk.AcceptUnreachable(id))
	if p.Worst() != sdk.RemarkNote || about(p, sdk.RemarkNote, id) == nil || !slices.Equal(p.Accepted, []sdk.NodeID{id}) || p.Reachable != 4 {
		t.Errorf("accepted by name: %+v", p)
	}
	p = look(two, sdk.AcceptUnreachable(id))
	if about(p, sdk.RemarkRefusal, other) == nil || about(p, sdk.RemarkRefusal, id) != nil {
		t.Errorf("one of two accepted: %+v", p.Remarks)
	}
	// Neither the id of a node that is not new nor a mistyped one passes unnoticed.
	for _, wrong := range []sdk.NodeID{sdk.NodeIDOf(w.net.Genesis.Validators[1].HostKey), "16Uiu2", other} {
		p = look(one, sdk.AcceptUnreachable(id, wrong))
		if r := p.Of(sdk.RemarkRefusal); len(r) != 1 || !strings.Contains(r[0].Name, string(wrong)) || r[0].Remedy == "" {
			t.Errorf("%s is accepted too: %+v", wrong, p.Remarks)
		}
	}
	// Where somebody else answers, no acceptance helps.
	w.net.Answers = answering(hostKey("x"), nil)
	if p = look(one, sdk.AcceptUnreachable(id)); p.Worst() != sdk.RemarkRefusal || len(p.Accepted) != 0 {
		t.Errorf("another key at the address: %+v", p)
	}
	// One address of two is enough; the other is worth a reason.
	w.net.Answers = func(addr string, key []byte, nonce ledger.Hash) *v1.ProbeResponse {
		if addr == second.Addrs[0] {
			return &v1.ProbeResponse{Result: v1.ProbeResponse_RESULT_UNREACHABLE, Why: "connection refused"}
		}
		return answering(ledger.HostKey(key), nil)(addr, key, nonce)
	}
	p = look(two)
	if r := p.Of(sdk.RemarkWarning); p.Worst() == sdk.RemarkRefusal && len(p.Of(sdk.RemarkRefusal)) != 1 || len(r) != 1 || !strings.Contains(r[0].What, second.Addrs[0]) {
		t.Errorf("one address of two: %+v", p.Remarks)
	}
}

// The id of the curve's generator as a host key, as libp2p writes it.
func TestNodeIDIsThatOfLibp2p(t *testing.T) {
	var key ledger.HostKey
	if err := key.UnmarshalText([]byte("0x0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")); err != nil {
		t.Fatal(err)
	}
	if got := sdk.NodeIDOf(key); got != "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq" {
		t.Errorf("it is %s", got)
	}
}
