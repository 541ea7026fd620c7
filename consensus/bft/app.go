package bft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
)

// This file is the library's view of the application: its interfaces
// Application, Assembler, Signer, Verifier, RequestInspector and Synchronizer.
// The library knows no errors here, so every failure of the application marks
// the engine failed, which mutes it, and returns something harmless; Run then
// stops the library from outside, because Stop waits for these callbacks.

var errMuted = errors.New("engine has failed")

// RequestID implements RequestInspector.
func (e *Engine) RequestID(req []byte) smart.RequestInfo {
	return toLibraryInfo(e.cfg.App.Inspect(req))
}

// VerifyRequest implements Verifier: for pooled requests after the
// configuration changed.
func (e *Engine) VerifyRequest(req []byte) (smart.RequestInfo, error) {
	info, err := e.cfg.App.CheckRequest(req)
	return toLibraryInfo(info), err
}

// VerificationSequence implements Verifier.
func (e *Engine) VerificationSequence() uint64 { return e.cfg.App.ConfigSeq() }

// AuxiliaryData implements Verifier: there is none without leader rotation.
func (e *Engine) AuxiliaryData([]byte) []byte { return nil }

// RequestsFromProposal implements Verifier.
func (e *Engine) RequestsFromProposal(p smart.Proposal) []smart.RequestInfo {
	prop, err := fromLibrary(p)
	if err != nil {
		return nil
	}
	return toLibraryInfos(e.cfg.App.Requests(prop))
}

// AssembleProposal implements Assembler.
func (e *Engine) AssembleProposal(metadata []byte, first [][]byte) smart.Proposal {
	none := smart.Proposal{Metadata: metadata} // this replica itself refuses it
	m, err := parseMeta(metadata)
	if err != nil {
		e.fail(fmt.Errorf("own metadata: %w", err))
		return none
	}
	if e.promises.left(m.view) {
		// The library leads a view that it has left. It will try again at once,
		// until the view change is through: not too often.
		e.pause(e.cfg.Settings.CollectTimeout)
		return none
	}
	if p, ok := e.promises.repeat(metadata); ok {
		return p
	}
	batch := e.gather(e.starting.Load(), first)
	if e.muted() {
		return none
	}
	e.appMu.Lock()
	defer e.appMu.Unlock()
	e.batchSize = len(batch)
	p, err := e.cfg.App.Assemble(m.height, metadata, batch)
	if err != nil {
		e.fail(fmt.Errorf("assemble proposal at height %d: %w", m.height, err))
		return none
	}
	p.Height, p.Meta = m.height, metadata
	return toLibrary(p)
}

// VerifyProposal implements Verifier: live proposals only.
func (e *Engine) VerifyProposal(p smart.Proposal) ([]smart.RequestInfo, error) {
	c, err := claimOf(p)
	if err != nil {
		return nil, err
	}
	prop, err := fromLibrary(p)
	if err != nil {
		return nil, err
	}
	if e.muted() {
		return nil, errMuted
	}
	if err := e.promises.mayAccept(c); err != nil {
		return nil, err
	}
	e.appMu.Lock()
	defer e.appMu.Unlock()
	infos, err := e.cfg.App.CheckLive(prop)
	if err != nil {
		return nil, fmt.Errorf("proposal at height %d: %w", prop.Height, err)
	}
	e.promises.found(c)
	// The library would remove these requests from its pool after Deliver, but
	// only for proposals it verified; Deliver does it for all.
	e.checked, e.checkedInfos = prop, infos
	return nil, nil
}

// requestsOf lists the requests of a decided proposal; appMu is held.
func (e *Engine) requestsOf(p consensus.Proposal) []consensus.RequestInfo {
	c := e.checked
	if c.Height == p.Height && bytes.Equal(c.Meta, p.Meta) && bytes.Equal(c.Header, p.Header) && bytes.Equal(c.Payload, p.Payload) {
		return e.checkedInfos
	}
	return e.cfg.App.Requests(p)
}

// SignProposal implements Signer. aux is nil when the proposal was taken over
// from an earlier view.
func (e *Engine) SignProposal(p smart.Proposal, aux []byte) *smart.Signature {
	sig := &smart.Signature{ID: uint64(e.cfg.Self)}
	c, err := claimOf(p)
	if err != nil {
		e.fail(fmt.Errorf("vote: %w", err))
		return sig
	}
	live := aux != nil
	if live {
		e.mayVote(c)
	}
	prop, err := fromLibrary(p)
	if err != nil {
		e.fail(fmt.Errorf("vote: %w", err))
		return sig
	}
	if e.muted() {
		return sig
	}
	// Raised before the vote exists: whoever hears of a decision at this height
	// must find that this replica knew.
	raise(&e.voted, prop.Height)
	view := c.meta.view
	if !live {
		view = e.meter.current.Load() // the one that the view changer, which asks, begins
	}
	signature, err := e.cfg.App.SignVote(prop, view)
	if err != nil {
		e.fail(fmt.Errorf("sign vote at height %d: %w", prop.Height, err))
		return sig
	}
	sig.Value = sealVote(view, signature)
	if !live {
		if err := e.promises.takeOver(c, view, sig, e.log.write); err != nil {
			e.fail(err)
		}
	}
	return sig
}

// mayVote ends the view's goroutine instead of returning if it must not vote:
// the view was left meanwhile, or its height was obtained by catching up. The
// library is about to abort that view but has not got round to it, and would
// panic (the height is gone from its memory) or break a promise.
func (e *Engine) mayVote(c claim) {
	e.ballot.cast() // until the vote is logged (Append)
	err := e.promises.mayVote(c)
	if height := e.height.Load(); err == nil && c.meta.height <= height {
		err = fmt.Errorf("%w: vote at height %d when the last decision is %d", errPromise, c.meta.height, height)
	}
	if err != nil {
		e.ballot.counted()
		e.cfg.Logger.Debug("vote withheld", "reason", err)
		runtime.Goexit()
	}
}

// voteCounter is the library's function that counts votes; others check decisions.
const voteCounter = "voteVerifier"

// VerifyConsenterSig implements Verifier. Where the library counts votes, only those
// of the view in which this replica votes itself count: else votes of replicas that
// have left their view, and may vote for something else, would help to decide.
func (e *Engine) VerifyConsenterSig(s smart.Signature, p smart.Proposal) ([]byte, error) {
	prop, err := fromLibrary(p)
	if err != nil {
		return nil, err
	}
	view, signature, err := openVote(s.Value)
	if err != nil {
		return nil, err
	}
	if calledBy(voteCounter) && !e.promises.counts(p, view) {
		return nil, fmt.Errorf("vote at height %d in view %d, in which this replica does not vote for it", prop.Height, view)
	}
	return nil, e.cfg.App.VerifyVote(prop, view, consensus.Vote{Replica: consensus.ReplicaID(s.ID), Signature: signature})
}

// Sign implements Signer: view data.
func (e *Engine) Sign(msg []byte) []byte {
	if e.muted() {
		return nil
	}
	if err := e.promises.checkViewData(msg); err != nil {
		e.restart(err)
		return nil
	}
	sig, err := e.cfg.App.Sign(msg)
	if err != nil {
		e.fail(fmt.Errorf("sign view data: %w", err))
	}
	e.shown(&pb.SignedViewData{Signer: uint64(e.cfg.Self), RawViewData: msg, Signature: sig})
	return sig
}

// VerifySignature implements Verifier: view data.
func (e *Engine) VerifySignature(s smart.Signature) error {
	return e.cfg.App.Verify(consensus.ReplicaID(s.ID), s.Msg, s.Value)
}

// Deliver implements Application.
func (e *Engine) Deliver(p smart.Proposal, sigs []smart.Signature) smart.Reconfig {
	prop, err := fromLibrary(p)
	if err != nil {
		e.fail(fmt.Errorf("deliver: %w", err))
		return smart.Reconfig{}
	}
	e.appMu.Lock()
	defer e.appMu.Unlock()
	if e.muted() {
		return smart.Reconfig{}
	}
	if prop.Height != e.last.Proposal.Height+1 {
		e.fail(fmt.Errorf("deliver: engine decided height %d after %d", prop.Height, e.last.Proposal.Height))
		return smart.Reconfig{}
	}
	view, votes, mixed := votesOf(sigs)
	if quorum := e.membership().Quorum(); len(votes) < quorum {
		if mixed {
			// A view change took the proposal over while the view that it ends still
			// counted votes. What that view decided, this replica has not.
			e.restart(fmt.Errorf("height %d: votes of several views", prop.Height))
		} else {
			e.fail(fmt.Errorf("deliver: height %d has %d votes, a quorum is %d", prop.Height, len(votes), quorum))
		}
		return smart.Reconfig{}
	}
	d := consensus.Decision{Proposal: prop, View: view, Votes: votes}
	changed, err := e.cfg.App.Deliver(d)
	if err != nil {
		e.fail(fmt.Errorf("deliver height %d: %w", prop.Height, err))
		return smart.Reconfig{}
	}
	e.last = d
	e.height.Store(prop.Height)
	e.ahead.wakeUp()
	e.counters.decided.Add(1)
	e.starting.Load().forget(e.requestsOf(prop))
	e.handsOver()
	if changed == nil || !e.adopt(*changed) {
		return smart.Reconfig{}
	}
	return smart.Reconfig{InLatestDecision: true, CurrentNodes: e.Nodes(), CurrentConfig: e.cfg.library()}
}

// votesOf returns the votes of the view in which most were cast. It drops repeated
// signers: a last decision that arrives in a view change is checked to have a quorum
// of distinct ones but may hold more. mixed: there are votes of other views.
func votesOf(sigs []smart.Signature) (view uint64, votes []consensus.Vote, mixed bool) {
	cast := make(map[uint64][]consensus.Vote, 1)
	for _, s := range sigs {
		in, signature, err := openVote(s.Value)
		by := consensus.ReplicaID(s.ID)
		if err != nil || slices.ContainsFunc(cast[in], func(v consensus.Vote) bool { return v.Replica == by }) {
			continue
		}
		cast[in] = append(cast[in], consensus.Vote{Replica: by, Signature: signature})
		if n := len(cast[in]); n > len(votes) || n == len(votes) && in > view {
			view = in
		}
		votes = cast[view]
	}
	return view, votes, len(cast) > 1
}

// Sync implements Synchronizer.
func (e *Engine) Sync() smart.SyncResponse {
	e.appMu.Lock()
	defer e.appMu.Unlock()
	changed := e.catchUp()
	// The library now drops what is in flight up to the height reached: a vote that
	// was permitted before is logged first.
	e.ballot.wait()
	e.handsOver()
	if calledBy("MutuallyExclusiveDeliver") {
		// A decision reached by ordering was caught up with meanwhile. The library
		// then waits for a view that may have ended, and hears nothing more.
		e.restart(errors.New("a decision arrived twice"))
	}
	var r smart.SyncResponse
	r.Latest.Proposal, r.Latest.Signatures = toLibraryDecision(e.last)
	if changed != nil && e.adopt(*changed) {
		r.Reconfig = smart.ReconfigSync{InReplicatedDecisions: true, CurrentNodes: e.Nodes(), CurrentConfig: e.cfg.library()}
	}
	return r
}

// catchUp updates last; appMu is held.
func (e *Engine) catchUp() *consensus.Membership {
	if e.muted() {
		return nil
	}
	e.counters.catchUps.Add(1)
	ctx, cancel := context.WithTimeout(e.runCtx, e.cfg.Settings.CatchUpTimeout)
	defer cancel()
	tip, err := e.cfg.App.CatchUp(ctx)
	if err != nil {
		e.fail(fmt.Errorf("catch up: %w", err))
		return nil
	}
	if _, err := metaOf(tip.Decision); err != nil {
		e.fail(fmt.Errorf("catch up: %w", err))
		return nil
	}
	if tip.Decision.Proposal.Height < e.last.Proposal.Height {
		e.fail(fmt.Errorf("catch up: application is at height %d after height %d was delivered", tip.Decision.Proposal.Height, e.last.Proposal.Height))
		return nil
	}
	if tip.Decision.Proposal.Height > e.last.Proposal.Height {
		e.last = tip.Decision
		e.height.Store(tip.Decision.Proposal.Height)
	}
	return tip.Changed
}

// adopt makes m the membership in force and neutralises the log records that
// the library would read again. It reports whether the library may rebuild
// itself with m.
func (e *Engine) adopt(m consensus.Membership) bool {
	if err := m.Check(); err != nil {
		e.fail(fmt.Errorf("new membership: %w", err))
		return false
	}
	if err := forgetRecord(e.starting.Load().cons.WALInitialContent); err != nil {
		e.fail(err)
		return false
	}
	e.members.Store(&m)
	select {
	case e.adopted <- struct{}{}:
	default:
	}
	if !m.Contains(e.cfg.Self) {
		e.removeOnce.Do(func() { close(e.removed) })
	}
	return true
}

// raise sets v to the maximum of itself and x.
func raise(v *atomic.Uint64, x uint64) {
	for old := v.Load(); old < x; old = v.Load() {
		if v.CompareAndSwap(old, x) {
			return
		}
	}
}

// calledBy reports that a function whose name contains part is on the stack.
func calledBy(part string) bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, part) {
			return true
		}
		if !more {
			return false
		}
	}
}
