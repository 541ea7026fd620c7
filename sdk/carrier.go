package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

const (
	// maxTogether and maxTogetherBytes bound what goes in one call: well below
	// what a node takes, so that the first outcomes do not wait for the last
	// signature check.
	maxTogether      = 64
	maxTogetherBytes = 256 << 10
	// patience is the part of the time that an outcome takes lately for which a
	// transaction may wait for others, at most maxPatience.
	patience    = 16
	maxPatience = 20 * time.Millisecond
	firstTook   = 32 * time.Millisecond // what an outcome takes, until it is known
)

// carrier takes transactions to one node. While none is on its way one goes at
// once and alone; those that come meanwhile wait for each other, for a moment
// that is small beside what an outcome takes, and go together in one call. It
// has goroutines only while transactions are on their way.
type carrier struct {
	c *Client
	e *endpoint

	mu    sync.Mutex // guards what follows; never held during a call
	queue []*passenger
	bytes int           // of the queue
	due   *time.Timer   // ends the wait of the queue; nil: nobody waits
	away  int           // transactions on their way
	took  time.Duration // lately, from leaving to the outcome
	alone bool          // the node knows no SubmitMany
}

// passenger is one transaction of a queue or a group.
type passenger struct {
	ctx  context.Context
	raw  []byte
	done chan carried // capacity 1, sent once

	// Guarded by the carrier's mu. told is written by the group's call alone.
	group      *group // nil in the queue
	told, gone bool   // the outcome was sent; its caller has gone
}

// carried is what a Submit of its own would have returned.
type carried struct {
	resp  *assentv1.SubmitResponse
	err   error
	alone bool // not sent: go alone
}

// group is one call of SubmitMany.
type group struct {
	ctx        context.Context // ends when the last caller's does
	cancel     context.CancelFunc
	passengers []*passenger

	waiting, untold int // callers that still wait; passengers not told; guarded by the carrier's mu
}

// leftLocked ends the call if it runs on for nobody.
func (g *group) leftLocked() {
	if g.waiting == 0 && g.untold > 0 {
		g.cancel()
	}
}

// submit is a Submit that waits for the outcome.
func (k *carrier) submit(ctx context.Context, raw []byte) (*assentv1.SubmitResponse, error) {
	k.mu.Lock()
	if k.alone || k.away == 0 || len(raw) > maxTogetherBytes {
		k.away++
		k.mu.Unlock()
		return k.single(ctx, raw)
	}
	p := &passenger{ctx: ctx, raw: raw, done: make(chan carried, 1)}
	if len(k.queue) == maxTogether || k.bytes+len(raw) > maxTogetherBytes {
		k.leaveLocked()
	}
	k.queue, k.bytes = append(k.queue, p), k.bytes+len(raw)
	if k.due == nil {
		k.due = time.AfterFunc(min(k.took/patience, maxPatience), k.leave)
	}
	k.mu.Unlock()
	select {
	case r := <-p.done:
		if r.alone {
			k.mu.Lock()
			k.away++
			k.mu.Unlock()
			return k.single(ctx, raw)
		}
		return r.resp, r.err
	case <-ctx.Done():
		k.abandon(p)
		return nil, endOf(ctx)
	}
}

// endOf is the end of a caller's context as a call reports it.
func endOf(ctx context.Context) error {
	code := connect.CodeCanceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = connect.CodeDeadlineExceeded
	}
	return connect.NewError(code, ctx.Err())
}

// single submits one transaction alone; it is counted as away.
func (k *carrier) single(ctx context.Context, raw []byte) (*assentv1.SubmitResponse, error) {
	left := time.Now()
	resp, err := try(ctx, k.c, k.e, remaining(ctx), &assentv1.SubmitRequest{
		Transaction: raw, Wait: assentv1.Wait_WAIT_COMMITTED, TimeoutMs: millis(remaining(ctx)-answerMargin, api.MaxWait),
	}, k.e.ledger.Submit)
	k.mu.Lock()
	k.away--
	k.mu.Unlock()
	if err == nil {
		k.learn(left)
	}
	return resp, err
}

// learn takes note of how long an outcome took.
func (k *carrier) learn(left time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.took += (time.Since(left) - k.took) / 8
}

// tell sends a passenger what came of its transaction, which is back with that.
func (k *carrier) tell(g *group, p *passenger, r carried) {
	k.mu.Lock()
	k.away--
	p.told = true
	g.untold--
	if !p.gone {
		g.waiting--
	}
	g.leftLocked()
	k.mu.Unlock()
	p.done <- r
}

// abandon takes a passenger whose caller has gone out of the queue, or lets the
// group go on without it: the last one to go ends the call.
func (k *carrier) abandon(p *passenger) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g := p.group; g != nil {
		if !p.told {
			p.gone = true
			g.waiting--
			g.leftLocked()
		}
		return
	}
	for i, q := range k.queue {
		if q == p {
			k.queue = append(k.queue[:i:i], k.queue[i+1:]...)
			k.bytes -= len(p.raw)
			return
		}
	}
}

// leave ends the wait of the queue. It is the goroutine of the call then made.
func (k *carrier) leave() {
	k.mu.Lock()
	g := k.boardLocked()
	k.mu.Unlock()
	k.carry(g)
}

// leaveLocked lets the queue go because it is full. Should the timer have fired
// in this moment, it finds another queue, and nothing is lost but its wait.
func (k *carrier) leaveLocked() {
	if k.due != nil {
		k.due.Stop()
	}
	go k.carry(k.boardLocked())
}

// boardLocked makes the queue a group, nil if it is empty.
func (k *carrier) boardLocked() *group {
	k.due = nil
	n := len(k.queue)
	if n == 0 {
		return nil
	}
	g := &group{passengers: k.queue, waiting: n, untold: n}
	k.queue, k.bytes = nil, 0
	k.away += n
	var until time.Time
	for _, p := range g.passengers {
		p.group = g
		if d, ok := p.ctx.Deadline(); ok && d.After(until) {
			until = d
		}
	}
	g.ctx, g.cancel = context.WithDeadline(context.WithoutCancel(g.passengers[0].ctx), until)
	return g
}

// carry makes the call of a group and tells every passenger what came of it.
func (k *carrier) carry(g *group) {
	if g == nil {
		return
	}
	defer g.cancel()
	left := time.Now()
	var err error
	if len(g.passengers) > 1 {
		err = k.call(g, left)
		if connect.CodeOf(err) == connect.CodeUnauthenticated && !slices.ContainsFunc(g.passengers, func(p *passenger) bool { return p.told }) {
			k.e.forget()
			err = k.call(g, left)
		}
	}
	alone := len(g.passengers) == 1
	if err != nil && api.FromConnect(err).Code == assentv1.Code_CODE_UNKNOWN_METHOD {
		alone = true
	}
	if alone && len(g.passengers) > 1 {
		k.mu.Lock()
		k.alone = true
		k.mu.Unlock()
	}
	for _, p := range g.passengers {
		if !p.told {
			k.tell(g, p, carried{resp: &assentv1.SubmitResponse{}, err: err, alone: alone})
		}
	}
}

// call makes the call and tells the passengers of the results that come.
func (k *carrier) call(g *group, left time.Time) error {
	msg := &assentv1.SubmitManyRequest{
		Transactions: make([][]byte, len(g.passengers)), TimeoutMs: millis(remaining(g.ctx)-answerMargin, api.MaxWait),
	}
	for i, p := range g.passengers {
		msg.Transactions[i] = p.raw
	}
	req, err := request(g.ctx, k.c, k.e, msg)
	if err != nil {
		return err
	}
	stream, err := k.e.ledger.SubmitMany(g.ctx, req)
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		for _, r := range stream.Msg().Results {
			if int(r.Index) >= len(g.passengers) || g.passengers[r.Index].told {
				return &Untrusted{Node: k.e.url, What: "results of transactions", Cause: fmt.Errorf("number %d of %d, twice or too high", r.Index, len(g.passengers))}
			}
			out := carried{resp: &assentv1.SubmitResponse{TxId: r.TxId, Outcome: r.Outcome}}
			if r.Error != nil {
				out = carried{err: api.FromDetail(r.Error, nil).ToConnect()}
			}
			k.tell(g, g.passengers[r.Index], out)
		}
		k.learn(left)
	}
	return stream.Err()
}
