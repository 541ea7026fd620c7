package consensustest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/assent-network/assent/consensus"
)

// ConfigRequest makes a request that changes the membership when delivered.
func ConfigRequest(id string, m consensus.Membership) []byte {
	body, err := json.Marshal(m)
	if err != nil {
		panic(err) // a struct of integers encodes
	}
	return []byte("config " + id + " " + string(body))
}

// Req makes an ordinary request.
func Req(id string, size int) []byte {
	req := []byte("put " + id + " ")
	if pad := size - len(req); pad > 0 {
		req = append(req, bytes.Repeat([]byte{'.'}, pad)...)
	}
	return req
}

// App is an application whose disk is its memory: it survives restarts of the
// engine. It chains headers by hash over height, metadata and payload, signs
// with keys that every replica can compute, and counts a repeated request once.
type App struct {
	self consensus.ReplicaID
	// fetch reads another replica's decision during catch-up; ok is false if
	// there is none or the replica cannot be reached.
	fetch func(height uint64) (d consensus.Decision, ok bool)
	// engine receives Forget calls.
	engine func() consensus.Engine

	mu       sync.Mutex // guards all below
	blocks   []consensus.Decision
	members  consensus.Membership
	known    map[string]bool
	applied  []string // ids of requests in order, each once
	repeated int      // requests found known when delivered
	changed  chan struct{}
	// failDeliver and rejectLive, if set, are asked first.
	failDeliver func(height uint64) error
	rejectLive  func(p consensus.Proposal) error
	inApp       int // calls of the four serialised methods under way
	overlaps    int // how often there were two
}

// NewApp makes the application of one replica at genesis, outside a Cluster: it
// finds nobody to catch up with.
func NewApp(self consensus.ReplicaID, m consensus.Membership) *App {
	return &App{
		self: self, members: m, known: make(map[string]bool), changed: make(chan struct{}),
		fetch:  func(uint64) (consensus.Decision, bool) { return consensus.Decision{}, false },
		engine: func() consensus.Engine { return nil },
	}
}

// FailDeliver makes Deliver fail when f returns an error.
func (a *App) FailDeliver(f func(height uint64) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failDeliver = f
}

// RejectLive makes CheckLive fail when f returns an error.
func (a *App) RejectLive(f func(p consensus.Proposal) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rejectLive = f
}

// Height is the number of decisions appended.
func (a *App) Height() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return uint64(len(a.blocks))
}

// Decision returns the one at height, if appended.
func (a *App) Decision(height uint64) (consensus.Decision, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.decisionLocked(height)
}

func (a *App) decisionLocked(height uint64) (consensus.Decision, bool) {
	if height == 0 || height > uint64(len(a.blocks)) {
		return consensus.Decision{}, false
	}
	return a.blocks[height-1], true
}

// Last returns the last decision, zero at genesis.
func (a *App) Last() consensus.Decision {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, _ := a.decisionLocked(uint64(len(a.blocks)))
	return d
}

// Membership returns the one in force.
func (a *App) Membership() consensus.Membership {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.members
}

// Applied returns the ids of delivered requests in order, each once.
func (a *App) Applied() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.applied)
}

// Has reports whether a request was delivered.
func (a *App) Has(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known[id]
}

// Truncate forgets the decisions above height, like a store restored from a
// copy. The engine must not be running.
func (a *App) Truncate(height uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blocks = slices.Clone(a.blocks[:height])
	a.known, a.applied, a.repeated = make(map[string]bool), nil, 0
	for _, d := range a.blocks {
		a.applyLocked(d.Proposal)
	}
}

// wake returns a channel that is closed when something is appended.
func (a *App) wake() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func parseRequest(req []byte) (kind, id string, body []byte, err error) {
	parts := bytes.SplitN(req, []byte{' '}, 3)
	if len(parts) != 3 || (string(parts[0]) != "put" && string(parts[0]) != "config") {
		return "", "", nil, errors.New("request is not of the form: kind id body")
	}
	return string(parts[0]), string(parts[1]), parts[2], nil
}

// Inspect implements consensus.App.
func (a *App) Inspect(req []byte) consensus.RequestInfo {
	_, id, _, err := parseRequest(req)
	if err != nil {
		sum := sha256.Sum256(req)
		return consensus.RequestInfo{ID: fmt.Sprintf("%x", sum)}
	}
	return consensus.RequestInfo{Client: "client", ID: id}
}

// CheckRequest implements consensus.App.
func (a *App) CheckRequest(req []byte) (consensus.RequestInfo, error) {
	_, _, _, err := parseRequest(req)
	return a.Inspect(req), err
}

// enter and leave watch that the serialised methods do not overlap.
func (a *App) enter() func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inApp++; a.inApp > 1 {
		a.overlaps++
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.inApp--
	}
}

// Assemble implements consensus.App.
func (a *App) Assemble(height uint64, meta []byte, reqs [][]byte) (consensus.Proposal, error) {
	defer a.enter()()
	a.mu.Lock()
	defer a.mu.Unlock()
	if height != uint64(len(a.blocks))+1 {
		return consensus.Proposal{}, fmt.Errorf("assemble height %d on top of %d", height, len(a.blocks))
	}
	// A configuration stands alone in its block.
	batch := reqs
	for i, r := range reqs {
		if kind, _, _, err := parseRequest(r); err == nil && kind == "config" {
			batch = reqs[:i]
			if i == 0 {
				batch = reqs[:1]
			}
			break
		}
	}
	p := consensus.Proposal{Height: height, Meta: meta, ConfigSeq: a.members.ConfigSeq, Payload: encodePayload(batch)}
	p.Header = a.headerLocked(p)
	return p, nil
}

func (a *App) headerLocked(p consensus.Proposal) []byte {
	h := sha256.New()
	if prev, ok := a.decisionLocked(p.Height - 1); ok {
		h.Write(prev.Proposal.Header)
	}
	_ = binary.Write(h, binary.BigEndian, []uint64{p.Height, p.ConfigSeq, uint64(len(p.Meta))}) // a hash takes all
	h.Write(p.Meta)
	h.Write(p.Payload)
	return h.Sum(nil)
}

func encodePayload(reqs [][]byte) []byte {
	var out []byte
	for _, r := range reqs {
		out = binary.AppendUvarint(out, uint64(len(r)))
		out = append(out, r...)
	}
	return out
}

func decodePayload(p []byte) ([][]byte, error) {
	var reqs [][]byte
	for len(p) > 0 {
		n, k := binary.Uvarint(p)
		if k <= 0 || n > uint64(len(p)-k) {
			return nil, errors.New("payload is cut off")
		}
		reqs = append(reqs, p[k:k+int(n)])
		p = p[k+int(n):]
	}
	return reqs, nil
}

// CheckLive implements consensus.App.
func (a *App) CheckLive(p consensus.Proposal) ([]consensus.RequestInfo, error) {
	defer a.enter()()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rejectLive != nil {
		if err := a.rejectLive(p); err != nil {
			return nil, err
		}
	}
	if err := a.checkLocked(p); err != nil {
		return nil, err
	}
	return a.Requests(p), nil
}

func (a *App) checkLocked(p consensus.Proposal) error {
	if p.Height != uint64(len(a.blocks))+1 {
		return fmt.Errorf("height %d does not follow %d", p.Height, len(a.blocks))
	}
	if p.ConfigSeq != a.members.ConfigSeq {
		return fmt.Errorf("configuration %d is not %d", p.ConfigSeq, a.members.ConfigSeq)
	}
	if !bytes.Equal(p.Header, a.headerLocked(p)) {
		return errors.New("header does not bind the proposal")
	}
	reqs, err := decodePayload(p.Payload)
	if err != nil {
		return err
	}
	for _, r := range reqs {
		kind, _, _, err := parseRequest(r)
		if err != nil {
			return err
		}
		if kind == "config" && len(reqs) > 1 {
			return errors.New("configuration with company")
		}
	}
	return nil
}

// Requests implements consensus.App.
func (a *App) Requests(p consensus.Proposal) []consensus.RequestInfo {
	reqs, err := decodePayload(p.Payload)
	if err != nil {
		return nil
	}
	infos := make([]consensus.RequestInfo, len(reqs))
	for i, r := range reqs {
		infos[i] = a.Inspect(r)
	}
	return infos
}

func mac(by consensus.ReplicaID, domain string, msg []byte) []byte {
	h := hmac.New(sha256.New, fmt.Appendf(nil, "key of %d", by))
	h.Write([]byte(domain))
	h.Write(msg)
	return h.Sum(nil)
}

// SignVote implements consensus.App.
func (a *App) SignVote(p consensus.Proposal, view uint64) ([]byte, error) {
	return mac(a.self, voteIn(view), p.Header), nil
}

func voteIn(view uint64) string { return fmt.Sprintf("vote in view %d ", view) }

// VerifyVote implements consensus.App.
func (a *App) VerifyVote(p consensus.Proposal, view uint64, v consensus.Vote) error {
	if !hmac.Equal(v.Signature, mac(v.Replica, voteIn(view), p.Header)) {
		return fmt.Errorf("vote of %d is wrong", v.Replica)
	}
	return nil
}

// Sign implements consensus.App.
func (a *App) Sign(msg []byte) ([]byte, error) { return mac(a.self, "engine", msg), nil }

// SignAs is Sign of another replica, for tests that forge messages of a
// replica they own.
func SignAs(by consensus.ReplicaID, msg []byte) []byte { return mac(by, "engine", msg) }

// Verify implements consensus.App.
func (a *App) Verify(by consensus.ReplicaID, msg, signature []byte) error {
	if !hmac.Equal(signature, mac(by, "engine", msg)) {
		return fmt.Errorf("message of %d is wrong", by)
	}
	return nil
}

// ConfigSeq implements consensus.App.
func (a *App) ConfigSeq() uint64 { return a.Membership().ConfigSeq }

// Deliver implements consensus.App.
func (a *App) Deliver(d consensus.Decision) (*consensus.Membership, error) {
	defer a.enter()()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failDeliver != nil {
		if err := a.failDeliver(d.Proposal.Height); err != nil {
			return nil, err
		}
	}
	return a.appendLocked(d)
}

func (a *App) appendLocked(d consensus.Decision) (*consensus.Membership, error) {
	if err := a.checkLocked(d.Proposal); err != nil {
		return nil, fmt.Errorf("decision at height %d: %w", d.Proposal.Height, err)
	}
	voters := make(map[consensus.ReplicaID]bool)
	for _, v := range d.Votes {
		if err := a.VerifyVote(d.Proposal, d.View, v); err != nil {
			return nil, err
		}
		if !a.members.Contains(v.Replica) {
			return nil, fmt.Errorf("vote of %d, not a member", v.Replica)
		}
		voters[v.Replica] = true
	}
	if len(voters) < a.members.Quorum() || len(voters) != len(d.Votes) {
		return nil, fmt.Errorf("decision at height %d has %d votes of %d replicas, want %d", d.Proposal.Height, len(d.Votes), len(voters), a.members.Quorum())
	}
	a.blocks = append(a.blocks, d)
	changed := a.applyLocked(d.Proposal)
	close(a.changed)
	a.changed = make(chan struct{})
	return changed, nil
}

func (a *App) applyLocked(p consensus.Proposal) *consensus.Membership {
	reqs, err := decodePayload(p.Payload)
	if err != nil {
		return nil // checked before
	}
	var changed *consensus.Membership
	for _, r := range reqs {
		kind, id, body, err := parseRequest(r)
		if err != nil {
			continue // checked before
		}
		if a.known[id] {
			a.repeated++
			continue
		}
		a.known[id] = true
		a.applied = append(a.applied, id)
		if kind == "config" {
			var m consensus.Membership
			if json.Unmarshal(body, &m) == nil {
				a.members = m
				changed = &m
			}
		}
	}
	return changed
}

// CatchUp implements consensus.App.
func (a *App) CatchUp(ctx context.Context) (consensus.Tip, error) {
	defer a.enter()()
	var tip consensus.Tip
	for ctx.Err() == nil {
		d, ok := a.fetch(a.Height() + 1)
		if !ok {
			break
		}
		a.mu.Lock()
		changed, err := a.appendLocked(d)
		a.mu.Unlock()
		if err != nil {
			return consensus.Tip{}, err
		}
		if changed != nil {
			tip.Changed = changed
		}
		if e := a.engine(); e != nil {
			e.Forget(a.Requests(d.Proposal))
		}
	}
	tip.Decision = a.Last()
	return tip, nil
}

// check reports what an application may never see, at the end of a test.
func (a *App) check() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.overlaps > 0 {
		return fmt.Errorf("replica %d: %d calls of Assemble, CheckLive, Deliver or CatchUp overlapped", a.self, a.overlaps)
	}
	if len(a.applied) != len(slices.Collect(maps.Keys(a.known))) {
		return fmt.Errorf("replica %d: a request was applied twice", a.self)
	}
	return nil
}
