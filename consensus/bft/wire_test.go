package bft

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

func four() consensus.Membership {
	return consensus.Membership{ConfigSeq: 1, Replicas: []consensus.ReplicaID{1, 2, 3, 4}}
}

func newInbound() *inbound {
	return &inbound{self: 1, max: 1 << 20, members: four, verify: (&consensustest.App{}).Verify}
}

func signed(by uint64, d *pb.ViewData) *pb.SignedViewData {
	raw, err := proto.Marshal(d)
	if err != nil {
		panic(err)
	}
	return &pb.SignedViewData{RawViewData: raw, Signer: by, Signature: consensustest.SignAs(consensus.ReplicaID(by), raw)}
}

func plainViewData() *pb.ViewData {
	return &pb.ViewData{NextView: 1, LastDecision: &pb.Proposal{}}
}

func digest() string { return strings.Repeat("a", digestLen) }

// messages are one of every kind as correct replicas send them, from 2.
func messages() map[string]*pb.Message {
	withFlight := plainViewData()
	withFlight.InFlightProposal = &pb.Proposal{Metadata: metaBytes(0, 1, 0)}
	withFlight.InFlightPrepared = true
	return map[string]*pb.Message{
		"pre-prepare":    {Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{Seq: 1, Proposal: &pb.Proposal{Metadata: metaBytes(0, 1, 0)}}}},
		"prepare":        {Content: &pb.Message_Prepare{Prepare: &pb.Prepare{Seq: 1, Digest: digest()}}},
		"commit":         {Content: &pb.Message_Commit{Commit: &pb.Commit{Seq: 1, Digest: digest(), Signature: &pb.Signature{Signer: 2, Value: sealVote(0, []byte("x"))}}}},
		"view change":    {Content: &pb.Message_ViewChange{ViewChange: &pb.ViewChange{NextView: 1}}},
		"view data":      {Content: &pb.Message_ViewData{ViewData: signed(2, withFlight)}},
		"new view":       newView(signed(2, withFlight), signed(3, plainViewData()), signed(4, plainViewData())),
		"heartbeat":      {Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{Seq: 1}}},
		"heartbeat echo": {Content: &pb.Message_HeartBeatResponse{HeartBeatResponse: &pb.HeartBeatResponse{View: 1}}},
		"state question": {Content: &pb.Message_StateTransferRequest{StateTransferRequest: &pb.StateTransferRequest{}}},
		"state answer":   {Content: &pb.Message_StateTransferResponse{StateTransferResponse: &pb.StateTransferResponse{Sequence: 1}}},
	}
}

func newView(data ...*pb.SignedViewData) *pb.Message {
	return &pb.Message{Content: &pb.Message_NewView{NewView: &pb.NewView{SignedViewData: data}}}
}

func encode(m *pb.Message) []byte {
	raw, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestMessagesOfCorrectReplicasPass(t *testing.T) {
	for name, m := range messages() {
		if _, err := newInbound().decode(2, encode(m)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHarmfulMessagesAreRefused(t *testing.T) {
	good := messages()
	ok := func(by uint64) *pb.SignedViewData { return signed(by, plainViewData()) }
	with := func(change func(*pb.ViewData)) *pb.SignedViewData {
		d := plainViewData()
		change(d)
		return signed(2, d)
	}
	inView := func(s *pb.SignedViewData) *pb.Message {
		return &pb.Message{Content: &pb.Message_ViewData{ViewData: s}}
	}
	unsigned := ok(2)
	unsigned.Signature = []byte("no")
	garbage := &pb.SignedViewData{RawViewData: []byte{0xff}, Signer: 2, Signature: consensustest.SignAs(2, []byte{0xff})}
	for _, test := range []struct {
		name string
		from consensus.ReplicaID
		raw  []byte
	}{
		{"own name", 1, encode(good["prepare"])},
		{"stranger", 9, encode(good["prepare"])},
		{"nobody", 0, encode(good["prepare"])},
		{"too long", 2, make([]byte, 1<<20+1)},
		{"empty", 2, nil},
		{"garbage", 2, []byte("garbage")},
		{"pre-prepare without proposal", 2, encode(&pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{}}})},
		{"pre-prepare with old votes", 2, encode(&pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{Proposal: &pb.Proposal{}, PrevCommitSignatures: []*pb.Signature{{}}}}})},
		{"prepare without digest", 2, encode(&pb.Message{Content: &pb.Message_Prepare{Prepare: &pb.Prepare{}}})},
		{"commit without digest", 2, encode(&pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{Signature: &pb.Signature{Signer: 2}}}})},
		{"commit without signature", 2, encode(&pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{Digest: digest()}}})},
		{"commit without a view", 2, encode(&pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{Digest: digest(), Signature: &pb.Signature{Signer: 2, Value: make([]byte, voteViewLen)}}}})},
		{"commit of another", 3, encode(good["commit"])},
		{"commit with a long signature", 2, encode(&pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{Digest: digest(), Signature: &pb.Signature{Signer: 2, Value: make([]byte, maxSignature+1)}}}})},
		{"complaint with a novel", 2, encode(&pb.Message{Content: &pb.Message_ViewChange{ViewChange: &pb.ViewChange{Reason: strings.Repeat("x", maxReason+1)}}})},
		{"view data of another", 3, encode(good["view data"])},
		{"view data unsigned", 2, encode(inView(unsigned))},
		{"view data not decodable", 2, encode(inView(garbage))},
		{"view data without a decision", 2, encode(inView(with(func(d *pb.ViewData) { d.LastDecision = nil })))},
		{"view data with a bad decision", 2, encode(inView(with(func(d *pb.ViewData) { d.LastDecision.Metadata = []byte("bad") })))},
		{"view data in flight without metadata", 2, encode(inView(with(func(d *pb.ViewData) { d.InFlightProposal = &pb.Proposal{} })))},
		{"view data with many votes", 2, encode(inView(with(func(d *pb.ViewData) {
			d.LastDecisionSignatures = make([]*pb.Signature, maxVotes+1)
			fill(d.LastDecisionSignatures)
		})))},
		{"view data with votes of two views", 2, encode(inView(with(func(d *pb.ViewData) {
			d.LastDecisionSignatures = make([]*pb.Signature, 2)
			fill(d.LastDecisionSignatures)
			d.LastDecisionSignatures[1].Value = sealVote(1, []byte("s"))
		})))},
		{"new view without a quorum", 2, encode(newView(ok(2), ok(3)))},
		{"new view with a crowd", 2, encode(newView(ok(2), ok(3), ok(4), ok(1), ok(1)))},
		{"new view repeating a replica", 2, encode(newView(ok(2), ok(3), ok(4), signed(4, &pb.ViewData{NextView: 1})))},
		{"new view repeating a replica, signed", 2, encode(newView(ok(2), ok(3), ok(4), ok(4)))},
		{"new view repeating a replica, forged", 2, encode(newView(ok(2), ok(3), ok(4), garbage))},
		{"new view with a stranger", 2, encode(newView(ok(2), ok(3), ok(9)))},
		{"new view unsigned", 2, encode(newView(ok(3), ok(4), unsigned))},
		{"new view for two views", 2, encode(newView(ok(3), ok(4), with(func(d *pb.ViewData) { d.NextView = 2 })))},
	} {
		if _, err := newInbound().decode(test.from, test.raw); err == nil {
			t.Errorf("%s passed", test.name)
		}
	}
}

func fill(s []*pb.Signature) {
	for i := range s {
		s[i] = &pb.Signature{Signer: uint64(i), Value: sealVote(0, []byte("s"))}
	}
}

func TestMetadataHaveOneEncoding(t *testing.T) {
	good := metaBytes(3, 7, 2)
	m, err := parseMeta(good)
	if err != nil || m != (meta{view: 3, height: 7, decisions: 2}) {
		t.Fatalf("%+v, %v", m, err)
	}
	for name, raw := range map[string][]byte{
		"empty":            nil,
		"no height":        metaBytes(3, 0, 2),
		"unknown field":    append(append([]byte(nil), good...), 0x78, 1),
		"repeated field":   append(append([]byte(nil), good...), good...),
		"long integer":     {0x08, 0x83, 0x00, 0x10, 7},
		"rotation":         {0x10, 7, 0x22, 1, 1},
		"digest of votes":  {0x10, 7, 0x2a, 1, 1},
		"longer than ever": make([]byte, maxMeta+1),
	} {
		if _, err := parseMeta(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzMeta(f *testing.F) {
	f.Add(metaBytes(1, 2, 3))
	f.Add([]byte{0x10, 7})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseMeta(raw)
		if err != nil {
			return
		}
		if again := metaBytes(m.view, m.height, m.decisions); string(again) != string(raw) {
			t.Errorf("%x parses as %+v, which is %x", raw, m, again)
		}
	})
}

// lonely runs one engine of four, whose peers are silent.
func lonely(t testing.TB) consensus.Engine {
	t.Helper()
	c := consensustest.NewCluster(t, 4, open)
	c.Start(1)
	return c.Replica(1).Engine()
}

func FuzzStep(f *testing.F) {
	for _, m := range messages() {
		f.Add(uint64(2), encode(m))
		f.Add(uint64(1), encode(m))
	}
	f.Add(uint64(3), []byte("garbage"))
	e := lonely(f)
	f.Fuzz(func(t *testing.T, from uint64, raw []byte) {
		e.Step(consensus.ReplicaID(from%5), raw)
		if !e.Status().Running {
			t.Fatal("the engine has stopped")
		}
	})
}

// liar sends messages with random content under the name of a replica whose
// keys it holds.
type liar struct {
	rng  *rand.Rand
	self uint64
}

func (l *liar) small() uint64 { return l.rng.Uint64N(4) }

func (l *liar) proposal() *pb.Proposal {
	if l.rng.IntN(8) == 0 {
		return nil
	}
	return &pb.Proposal{
		Header: []byte("h"), Payload: []byte(fmt.Sprint(l.small())), VerificationSequence: l.small(),
		Metadata: metaBytes(l.small(), l.small()+1, l.small()),
	}
}

func (l *liar) vote() []byte {
	if l.rng.IntN(8) == 0 {
		return []byte("v")
	}
	return sealVote(l.small(), []byte("v"))
}

func (l *liar) viewData() *pb.SignedViewData {
	d := &pb.ViewData{NextView: l.small(), LastDecision: l.proposal(), InFlightPrepared: l.rng.IntN(2) == 0}
	if l.rng.IntN(2) == 0 {
		d.LastDecision = &pb.Proposal{}
	}
	if l.rng.IntN(2) == 0 {
		d.InFlightProposal = l.proposal()
	}
	for range l.rng.IntN(5) {
		d.LastDecisionSignatures = append(d.LastDecisionSignatures, &pb.Signature{Signer: l.small() + 1, Value: l.vote()})
	}
	s := signed(l.self, d)
	if l.rng.IntN(4) == 0 {
		s.Signer = l.small()
	}
	return s
}

func (l *liar) message() *pb.Message {
	d := digest()
	switch l.rng.IntN(10) {
	case 0:
		return &pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{View: l.small(), Seq: l.small(), Proposal: l.proposal()}}}
	case 1:
		return &pb.Message{Content: &pb.Message_Prepare{Prepare: &pb.Prepare{View: l.small(), Seq: l.small(), Digest: d, Assist: l.rng.IntN(2) == 0}}}
	case 2:
		return &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{View: l.small(), Seq: l.small(), Digest: d, Signature: &pb.Signature{Signer: l.self, Value: l.vote()}}}}
	case 3:
		return &pb.Message{Content: &pb.Message_ViewChange{ViewChange: &pb.ViewChange{NextView: l.small()}}}
	case 4:
		return &pb.Message{Content: &pb.Message_ViewData{ViewData: l.viewData()}}
	case 5:
		var all []*pb.SignedViewData
		for range 2 + l.rng.IntN(3) {
			all = append(all, l.viewData())
		}
		return newView(all...)
	case 6:
		return &pb.Message{Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{View: l.small(), Seq: l.small()}}}
	case 7:
		return &pb.Message{Content: &pb.Message_HeartBeatResponse{HeartBeatResponse: &pb.HeartBeatResponse{View: l.small()}}}
	case 8:
		return &pb.Message{Content: &pb.Message_StateTransferRequest{StateTransferRequest: &pb.StateTransferRequest{}}}
	default:
		return &pb.Message{Content: &pb.Message_StateTransferResponse{StateTransferResponse: &pb.StateTransferResponse{ViewNum: l.small(), Sequence: l.small()}}}
	}
}

func TestOneLiarDoesNotStopTheOthers(t *testing.T) {
	for name, liarID := range map[string]consensus.ReplicaID{"follower": 4, "leader": 1, "next leader": 2} {
		t.Run(name, func(t *testing.T) {
			c := consensustest.NewCluster(t, 4, open)
			honest := make([]consensus.ReplicaID, 0, 3)
			for _, id := range c.IDs() {
				if id != liarID {
					honest = append(honest, id)
				}
			}
			c.Start(honest...)
			l := &liar{rng: rand.New(rand.NewPCG(7, uint64(liarID))), self: uint64(liarID)}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ctx.Err() == nil {
					raw := encode(l.message())
					for _, id := range honest {
						if e := c.Replica(id).Engine(); e != nil {
							e.Step(liarID, raw)
						}
					}
				}
			}()
			var ids []string
			for i := range 5 {
				id := fmt.Sprint("request-", i)
				ids = append(ids, id)
				c.Submit(honest[i%3], consensustest.Req(id, 100))
				c.WaitApplied(honest, id)
			}
			cancel()
			<-done
			c.WaitApplied(honest, ids...)
		})
	}
}

func TestRenderNamesMessagesAndCutsLines(t *testing.T) {
	m := &pb.Message{Content: &pb.Message_Prepare{Prepare: &pb.Prepare{Digest: "secret"}}}
	text := render("got %v from %d", []any{m, 3})
	if strings.Contains(text, "secret") || !strings.Contains(text, "Message of") || !strings.HasSuffix(text, "from 3") {
		t.Errorf("rendered %q", text)
	}
	if text := render("%s", []any{strings.Repeat("x", 10_000)}); len(text) > maxLogText+10 {
		t.Errorf("line of %d bytes", len(text))
	}
	l := &libLogger{log: slog.New(slog.DiscardHandler)}
	for range 1000 {
		l.Warnf("x")
	}
	if left := l.warns.of("x").dropped; left < 900 {
		t.Errorf("%d of 1000 warnings left out", left)
	}
}
