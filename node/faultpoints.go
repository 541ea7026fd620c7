//go:build faultpoints

package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/fault"
	"github.com/assent-network/assent/node/store"
)

// withFaults puts around a node's clock, files and network what ASSENT_FAULTS says
// (node/fault). The points:
//
//	after-wal-preprepare   before a prepare leaves: its proposal is in the log
//	after-wal-commit       before a commit leaves: its vote is in the log
//	before-block-sync      a block is written, not synced
//	after-block-sync       … and synced
//	inside-block-write     half of it is written
//	inside-state-flush     half of a batch of the state is written
//	outbox-write           rows of private.db are written, not committed
//	before-shares          statistics are permitted, nothing is done about them
//	inside-shares          the bank's shares of them are written, not committed
//	after-shares           … and committed; nothing has left
//	after-count            another bank has this bank's count, which does not know yet
//	before-answer          an answer is committed and about to leave
//	after-answer           it was taken, and the provider does not know yet
func withFaults(o Options) Options {
	clock := o.Clock
	if clock == nil {
		clock = time.Now
	}
	if ahead, err := time.ParseDuration(fault.Value("clock")); err == nil {
		o.Clock = func() time.Time {
			if fault.Armed() {
				fault.Did()
				return clock().Add(ahead)
			}
			return clock()
		}
	}
	o.Files = func(dir string, s store.Files) store.Files { return faultyFiles{s, filepath.Base(dir)} }
	open := o.Network
	if open == nil {
		open = openHost
	}
	o.Network = func(ctx context.Context, cfg network.Config) (Host, error) {
		h, err := open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return newFaultyHost(h, o), nil
	}
	return o
}

// faultyFiles are the files of blocks or state.
type faultyFiles struct {
	store.Files
	name string
}

func (f faultyFiles) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := f.Files.Create(fd)
	if err != nil {
		return nil, err
	}
	return faultyWriter{w, f.name}, nil
}

type faultyWriter struct {
	storage.Writer
	name string
}

func (w faultyWriter) Write(b []byte) (int, error) {
	half := len(b) / 2
	n, err := w.Writer.Write(b[:half])
	if err != nil {
		return n, err
	}
	if w.name == blocksDir {
		fault.Point("inside-block-write")
	} else {
		fault.Point("inside-state-flush")
	}
	m, err := w.Writer.Write(b[half:])
	return n + m, err
}

var syncs atomic.Int64

func (w faultyWriter) Sync() error {
	if w.name == blocksDir {
		fault.Point("before-block-sync")
	}
	if how := fault.Value("fsync"); how != "" && fault.Armed() {
		if d, err := time.ParseDuration(how); err == nil {
			fault.Did()
			time.Sleep(d)
		}
		which, failing := strings.CutPrefix(how, "fail:")
		nth, dir, _ := strings.Cut(which, ":")
		if n, err := strconv.ParseInt(nth, 10, 64); failing && err == nil && w.name == dir && syncs.Add(1) >= n {
			fault.Did()
			return errors.New("fault point: the disk does not sync")
		}
	}
	if err := w.Writer.Sync(); err != nil {
		return err
	}
	if w.name == blocksDir {
		fault.Point("after-block-sync")
	}
	return nil
}

// faultyHost is what a node says and hears. Kinds of lies:
//
//	silent      nothing of the ordering leaves
//	equivocate  proposals differ by a millisecond between two halves of the others
//	wrong-root  proposals carry another state root
//	bad-batch   a byte of every proposal's requests is another
//	double-vote every vote is followed by one for something else
//	two-faced   one validator, the victim, is proposed another block, and what it is
//	            told is voted for too, with this validator's key
//	cached-sig  proposals hold a transaction that everybody has checked, with
//	            another signature
//	forge-views silent, and accounts and new views go out that are not true
//	two-views   a view that it leads is shown to one validator with another account
//	expiring    transactions about to end go to everybody but the leader
//	garbage     random bytes go to everybody on every protocol, 200 times a second
//	wrong-sig   a copy of every request with another signature goes ahead of it
//	complain    complaints about the leader of every view go to everybody, 200 a second
//	censor      what the node named by victim forwards is not taken
//	forge       a byte of what others fetch of the chain is another
//	withhold    what others fetch of the chain never comes
//	withhold-snapshot
//	            the first half of a kilobyte of a snapshot's first chunk goes out, and no more
//	late        answers leave four seconds after they were allowed to; no honest
//	            node can do this, and a checker must notice it
type faultyHost struct {
	Host
	kind   string
	faces  *twoFaced
	forger *forger
	views  *twoViews
	expire *expiring
	heard  *capture
}

func newFaultyHost(h Host, o Options) *faultyHost {
	f := &faultyHost{Host: h, kind: fault.Value("byzantine"), heard: newCapture()}
	switch f.kind {
	case "two-faced":
		f.faces = &twoFaced{sign: voteSigner(o), other: make(map[uint64]otherBlock)}
	case "forge-views":
		f.forger = newForger(o)
	case "two-views":
		if forger := newForger(o); forger != nil {
			f.views = &twoViews{forger: forger}
		}
	case "expiring":
		f.expire = newExpiring(o)
	}
	return f
}

// lies reports whether it is time for a kind of lie, which is told then.
func (h *faultyHost) lies(kind string) bool {
	if h.kind != kind || !fault.Armed() {
		return false
	}
	fault.Did()
	return true
}

func (h *faultyHost) Send(to network.PeerID, c network.Class, msg []byte) error {
	if c == network.ClassTx && h.lies("wrong-sig") {
		if err := h.Host.Send(to, c, otherSignature(msg)); err != nil {
			return err
		}
	}
	if c == network.ClassConsensus && len(msg) > 0 {
		switch msg[0] {
		case tagPrepare:
			fault.Point("after-wal-preprepare")
		case tagCommit:
			fault.Point("after-wal-commit")
		}
		if h.lies("silent") || h.lies("forge-views") {
			return nil
		}
		if h.lies("two-faced") && string(to) == fault.Value("victim") {
			for _, m := range h.faces.say(msg) {
				if err := h.Host.Send(to, c, m); err != nil {
					return err
				}
			}
			return nil
		}
		if h.views != nil && fault.Armed() {
			other, lie := h.views.say(to, msg)
			if lie {
				fault.Did()
			}
			return h.Host.Send(to, c, other)
		}
		if fault.Armed() {
			if twisted := h.twist(to, msg); !bytes.Equal(twisted, msg) {
				fault.Did()
				msg = twisted
			}
		}
		if msg[0] == tagCommit && h.lies("double-vote") {
			if err := h.Host.Send(to, c, otherVote(msg)); err != nil {
				return err
			}
		}
	}
	return h.Host.Send(to, c, msg)
}

// Broadcast goes one by one, so that everybody can be told something else.
func (h *faultyHost) Broadcast(to []network.PeerID, c network.Class, msg []byte) {
	for _, id := range to {
		_ = h.Send(id, c, msg) // as Broadcast: what cannot be sent is dropped
	}
}

func (h *faultyHost) Handle(c network.Class, handle func(from network.PeerID, msg []byte)) {
	h.Host.Handle(c, func(from network.PeerID, msg []byte) {
		h.heard.keep(msg)
		if c == network.ClassTx && string(from) == fault.Value("victim") && h.lies("censor") {
			return
		}
		if c == network.ClassConsensus && h.views != nil {
			h.views.hear(from, msg)
		}
		handle(from, msg)
	})
}

func (h *faultyHost) twist(to network.PeerID, msg []byte) []byte {
	if msg[0] != tagPrePrepare {
		return msg
	}
	switch {
	case h.kind == "equivocate" && to[len(to)-1]%2 == 0:
		return otherTime(msg)
	case h.kind == "wrong-root":
		return otherRoot(msg)
	case h.kind == "bad-batch":
		return otherBatch(msg)
	case h.kind == "cached-sig":
		return otherSignatures(msg)
	}
	return msg
}

func (h *faultyHost) Request(ctx context.Context, to network.PeerID, p network.Protocol, req []byte) ([]byte, error) {
	if p != network.ProtocolAnswer {
		got, err := h.Host.Request(ctx, to, p, req)
		h.heard.keep(got)
		if err == nil && p == network.ProtocolSealed && bytes.HasPrefix(req, []byte(countDomain)) {
			fault.Point("after-count")
		}
		return got, err
	}
	fault.Point("before-answer")
	if h.lies("late") {
		time.Sleep(4 * time.Second)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
	}
	got, err := h.Host.Request(ctx, to, p, req)
	if err == nil {
		fault.Point("after-answer")
	}
	return got, err
}

func (h *faultyHost) Serve(p network.Protocol, serve func(ctx context.Context, from network.PeerID, req []byte) ([]byte, error)) {
	h.Host.Serve(p, func(ctx context.Context, from network.PeerID, req []byte) ([]byte, error) {
		h.heard.keep(req)
		if p == network.ProtocolSync && h.lies("withhold") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if p == network.ProtocolSync && strings.Contains(string(req), "assent/sync/snapshot-piece/1") && h.lies("withhold-snapshot") {
			half, more := firstHalf(req)
			if !more {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			req = half
		}
		got, err := serve(ctx, from, req)
		if p == network.ProtocolSync && len(got) > 0 && h.lies("forge") {
			got = append([]byte(nil), got...)
			got[below(len(got))] ^= byte(1 + below(255))
		}
		return got, err
	})
}

func (h *faultyHost) Run(ctx context.Context) error {
	if slices.Contains([]string{"garbage", "complain", "forge-views", "expiring"}, h.kind) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); h.litter(ctx) }()
		defer func() { cancel(); <-done }()
	}
	return h.Host.Run(ctx)
}

func (h *faultyHost) litter(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !fault.Armed() {
			continue
		}
		for _, s := range h.Host.Status() {
			fault.Did()
			switch h.kind {
			case "complain":
				_ = h.Host.Send(s.ID, network.ClassConsensus, complaint(uint64(1+i%40)))
				continue
			case "forge-views":
				if i%4 == 0 { // 50 a second: each is a signature or more
					_ = h.Host.Send(s.ID, network.ClassConsensus, complaint(uint64(1+i%12)))
					_ = h.Host.Send(s.ID, network.ClassConsensus, h.forger.message(i/4, uint64(1+i/4/5%12)))
				}
				continue
			case "expiring":
				if i%8 == 0 && string(s.ID) != fault.Value("victim") {
					h.sendExpiring(s.ID, i/8)
				}
				continue
			}
			junk := make([]byte, 1+below(2000))
			rand.Read(junk)
			junk[0] = byte(below(12)<<3 | 2) // often enough the beginning of a message
			_ = h.Host.Send(s.ID, []network.Class{network.ClassConsensus, network.ClassTx}[i%2], junk)
			if i%40 == 0 {
				go func() {
					ctx, cancel := context.WithTimeout(ctx, time.Second)
					defer cancel()
					p := []network.Protocol{network.ProtocolSync, network.ProtocolSealed, network.ProtocolAnswer}[i/40%3]
					_, _ = h.Host.Request(ctx, s.ID, p, junk)
				}()
			}
		}
	}
}

// sendExpiring sends transactions with little time left, and some that are just
// allowed to wait.
func (h *faultyHost) sendExpiring(to network.PeerID, i int) {
	left := []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 59 * time.Second, 61 * time.Second}[i%6]
	if tx, err := h.expire.transaction(left); err == nil {
		_ = h.Host.Send(to, network.ClassTx, tx)
	}
}

func below(n int) int {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		return 0
	}
	return int(v.Int64())
}
