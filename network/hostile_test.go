package network

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func classNames() []string {
	var out []string
	for _, c := range Classes() {
		out = append(out, classProtocol(c))
	}
	return out
}

func protocolNames() []string {
	var out []string
	for _, p := range Protocols() {
		out = append(out, string(p))
	}
	return out
}

// small are limits that a test can exceed quickly.
func small() Limits {
	c := ClassLimits{Message: 1000, QueueMessages: 100, QueueBytes: 10_000}
	p := ProtocolLimits{Request: 1000, Response: 1000, PerPeer: 2, Total: 4}
	return Limits{Consensus: c, Tx: c, Sync: p, Sealed: p, Answer: p, FrameTimeout: 100 * time.Millisecond}
}

func TestBadFramesResetTheStreamAndNothingElse(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, small(), p)
	conn := p.mustDial(t, v.Host)
	rng := rand.New(rand.NewPCG(7, 7))
	garbage := make([]byte, 4096)
	for i := range garbage {
		garbage[i] = byte(rng.Uint32()) | 0x80 // never the end of a length
	}
	bad := map[string][]byte{
		"zero length":      {0},
		"long length form": {0x80, 0x00},
		"length too long":  {0xff, 0xff, 0xff, 0xff, 0x01},
		"oversize":         append(appendFrameHeader(nil, kindMessage, 1001), make([]byte, 1001)...),
		"lying":            binary.AppendUvarint(nil, maxFrame),
		"unknown kind":     {1, 99},
		"response kind":    {1, kindResponse},
		"garbage":          garbage,
		"half a length":    {0x80},
		"half a body":      {10, kindMessage, 'x'},
	}
	for i, proto := range append(classNames(), protocolNames()...) {
		bad["the other kind"] = []byte{2, kindRequest, 'x'}
		if i >= numClasses {
			bad["the other kind"][1] = kindMessage
		}
		for name, data := range bad {
			s := stream(t, conn, proto)
			if _, err := s.Write(data); err != nil {
				t.Fatalf("%s, %s: %v", proto, name, err)
			}
			ends(t, s)
		}
	}
	v.heardNothing(t)
	s := stream(t, conn, "/assent/tx/1") // the connection still serves
	if _, err := s.Write(message([]byte("good"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "tx good")
	if got := v.Status()[0].Class(ClassConsensus).Resets; got == 0 {
		t.Fatal("broken framing was not counted")
	}
}

func TestUnknownProtocolIsRefused(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, Limits{}, p)
	conn := p.mustDial(t, v.Host)
	s, err := conn.NewStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := proposeProtocol(s, "/ipfs/id/1.0.0"); err == nil {
		t.Fatal("the host speaks a protocol that is not ours")
	}
}

func TestIdleStreamLivesLongerThanAFrameMay(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, small(), p)
	s := stream(t, p.mustDial(t, v.Host), "/assent/consensus/1")
	frame := message(bytes.Repeat([]byte("x"), 500))
	for range 2 {
		for _, piece := range [][]byte{frame[:1], frame[1:100], frame[100:]} { // in pieces, so that a deadline is set
			if _, err := s.Write(piece); err != nil {
				t.Fatal(err)
			}
			runtime.Gosched()
		}
		v.hears(t, "consensus "+string(frame[3:]))
		time.Sleep(250 * time.Millisecond) // idle for more than FrameTimeout
	}
}

func TestNewStreamOfAClassReplacesTheOld(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, Limits{}, p)
	conn := p.mustDial(t, v.Host)
	old := stream(t, conn, "/assent/tx/1")
	if _, err := old.Write(message([]byte("old"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "tx old")
	other := stream(t, conn, "/assent/consensus/1")
	fresh := stream(t, conn, "/assent/tx/1")
	ends(t, old)
	if _, err := fresh.Write(message([]byte("new"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "tx new")
	if _, err := other.Write(message([]byte("other"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "consensus other")
}

func TestFloodOfStreamsIsBounded(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, Limits{}, p)
	conn := p.mustDial(t, v.Host)
	before := runtime.NumGoroutine()
	for i := range 2000 {
		s, err := conn.NewStream(t.Context())
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		s.SetProtocol("/flood") // for its own accounts
		// Some agree on a class, some on a request and say nothing, some say
		// nothing at all.
		if proto := []string{"/assent/tx/1", string(ProtocolSync), ""}[i%3]; proto != "" {
			s.Write(appendProposal(nil, proto))
		}
	}
	if got := runtime.NumGoroutine() - before; got > 2000 {
		t.Fatalf("%d goroutines", got)
	}
	inbound := 0
	for _, c := range v.parts.swarm.ConnsToPeer(p.self) {
		inbound += c.Stat().NumStreams
	}
	if limit := streamsPerPeer(&v.limits); inbound > limit {
		t.Fatalf("the host holds %d streams of one peer, limit %d", inbound, limit)
	}
	v.heardNothing(t)
}

func TestSilentRequestsHoldUpTheirPeerAlone(t *testing.T) {
	p, q := newRawPeer(t), newRawPeer(t)
	l := small()
	l.Sync.PerPeer, l.Sync.Total = 2, 2
	l.FrameTimeout = 5 * time.Second
	v := newVictim(t, l, p, q)
	conn := p.mustDial(t, v.Host)
	for range 8 { // says nothing, or stops in the middle of a frame
		s := stream(t, conn, string(ProtocolSync))
		s.Write([]byte{10, kindRequest})
	}
	s := stream(t, q.mustDial(t, v.Host), string(ProtocolSync))
	began := time.Now()
	s.Write(append(appendFrameHeader(nil, kindRequest, 1), 'q'))
	v.hears(t, string(ProtocolSync)+" q")
	if took := time.Since(began); took > 2*time.Second {
		t.Fatalf("another peer's request took %v", took)
	}
}

func TestPeerThatReadsNothingIsReset(t *testing.T) {
	p := newRawPeer(t)
	l := Limits{WriteTimeout: 200 * time.Millisecond}
	v := newVictim(t, l, p)
	p.readNothing()
	p.mustDial(t, v.Host)
	until(t, "the link", func() bool { return v.Status()[0].Connected })
	for range 20 {
		if err := v.Send(p.id(), ClassConsensus, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the write deadline", func() bool {
		s := v.Status()[0].Class(ClassConsensus)
		return s.Resets > 0 && s.QueuedMessages == 0 && s.Dropped > 0
	})
}

func TestResponseLargerThanAllowedIsRefused(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, small(), p)
	p.mustDial(t, v.Host)
	until(t, "the link", func() bool { return v.Status()[0].Connected })
	for name, answer := range map[string][]byte{
		"oversize": append(appendFrameHeader(nil, kindResponse, 1001), make([]byte, 1001)...),
		"lying":    binary.AppendUvarint(nil, maxFrame),
		"request":  {1, kindRequest},
		"nothing":  nil,
		"half":     {10, kindResponse, 'x'},
		"error":    append(appendFrameHeader(nil, kindError, 600), make([]byte, 600)...),
	} {
		p.answerWith(answer)
		if resp, err := v.Request(t.Context(), p.id(), ProtocolSync, []byte("q")); err == nil {
			t.Errorf("%s: accepted %d bytes", name, len(resp))
		}
	}
	p.answerWith(append(appendFrameHeader(nil, kindResponse, 2), "ok"...))
	if resp, err := v.Request(t.Context(), p.id(), ProtocolSync, []byte("q")); err != nil || string(resp) != "ok" {
		t.Errorf("good answer: %q, %v", resp, err)
	}
}
