package sdk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
)

// scope says which nodes can serve a call.
type scope uint8

const (
	anyNode scope = iota // every member reads every ledger record
	ownNode              // only a node of the client's member: submitting, delivery, the bank's session
)

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// order returns the nodes in the order in which a call tries them: the one that
// served last first, those that gave a wrong proof last; for ownNode the
// member's own ahead of the others.
func (c *Client) order(s scope) []*endpoint {
	start := int(c.sticky[s].Load())
	var own, rest, suspects []*endpoint
	for i := range c.nodes {
		e := c.nodes[(start+i)%len(c.nodes)]
		_, member := e.identity()
		switch {
		case e.suspect.Load():
			suspects = append(suspects, e)
		case s == ownNode && member == c.set.org:
			own = append(own, e)
		default:
			rest = append(rest, e)
		}
	}
	return append(append(own, rest...), suspects...)
}

func (c *Client) stick(s scope, to *endpoint) {
	for i, e := range c.nodes {
		if e == to && int(c.sticky[s].Swap(int32(i))) != i {
			c.set.log.Info("another node serves now", "node", e.url)
		}
	}
}

// try makes one call on one node. A token that the node does not take any more
// (it restarted, or the clock jumped) is replaced once.
func try[Req, Resp any](ctx context.Context, c *Client, e *endpoint, limit time.Duration, msg *Req,
	f func(context.Context, *connect.Request[Req]) (*connect.Response[Resp], error)) (*Resp, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for again := false; ; again = true {
		req, err := request(ctx, c, e, msg)
		if err != nil {
			return nil, err
		}
		resp, err := f(ctx, req)
		if err == nil {
			return resp.Msg, nil
		}
		if again || connect.CodeOf(err) != connect.CodeUnauthenticated {
			return nil, err
		}
		e.forget()
	}
}

// round makes a safe call, node after node, until one answers. f is the whole
// attempt on one node, its checks included; an Untrusted from it marks the node.
func round[T any](ctx context.Context, c *Client, op string, s scope, f func(context.Context, *endpoint) (T, error)) (T, error) {
	var zero T
	var failed error
	for attempt := 0; ; attempt++ {
		var wait time.Duration
		var later bool
		for _, e := range c.order(s) {
			v, err := f(ctx, e)
			if err == nil {
				c.stick(s, e)
				return v, nil
			}
			err = c.failure(op, e, err)
			failed = worse(failed, err)
			if ctx.Err() != nil || !movesOn(err) {
				return zero, failed
			}
			var ours *Error
			if errors.As(err, &ours) && ours.retryable {
				later, wait = true, max(wait, ours.RetryAfter)
			}
		}
		if !later || attempt+1 >= c.set.attempts {
			return zero, failed
		}
		if err := pause(ctx, attempt, wait); err != nil {
			return zero, failed
		}
	}
}

// worse keeps the error that tells more: a node's lie over an answer, an answer
// over a silence.
func worse(a, b error) error {
	if a == nil {
		return b
	}
	var u *Untrusted
	if errors.As(a, &u) {
		return a
	}
	var x, y *Error
	if errors.As(a, &x) && errors.As(b, &y) && y.Code == "NOT_READY" && x.Code != "NOT_READY" {
		return a
	}
	return b
}

// failure turns what an attempt on e returned into an error that says where.
func (c *Client) failure(op string, e *endpoint, err error) error {
	var u *Untrusted
	if errors.As(err, &u) {
		if !e.suspect.Swap(true) {
			c.set.log.Warn("a node's word does not verify", "node", e.url, "asked", u.What, "why", u.Cause)
		}
		return err
	}
	var conf *ConfigError
	if errors.As(err, &conf) {
		return err
	}
	where := op
	if e != nil {
		where = op + " at " + e.url
	}
	out := wireError(where, err)
	if errors.Is(err, ErrPin) {
		out.Code, out.retryable = "NOT_READY", false
		out.What = ErrPin.Error()
		out.Remedy = "Compare the pin with the node's record on the ledger; if the node was given a new key, take over the new pin; if not, somebody stands between."
	}
	return out
}

// movesOn reports whether another node may do better.
func movesOn(err error) bool {
	var u *Untrusted
	if errors.As(err, &u) {
		return true
	}
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "NOT_READY", "OVERLOADED", "TIMEOUT", "NOT_SERVED", "INTERNAL", "RATE_LIMITED", "NOT_EXECUTED", "NOT_CERTIFIED",
		"PROOF_TOO_OLD", "PRUNED", "CHECKPOINT_INVALID", "WRONG_CHAIN", "UNKNOWN_METHOD",
		"TOKEN_AUDIENCE", "TOKEN_EXPIRED":
		return true
	}
	return false
}

// pause waits before the next round: longer each time, at least as long as the
// nodes advise, with chance in it so that clients do not return in step.
func pause(ctx context.Context, attempt int, least time.Duration) error {
	d := pauseFor(attempt, least)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// maxAdvice bounds how long a node's advice is followed.
const maxAdvice = 10 * time.Second

func pauseFor(attempt int, least time.Duration) time.Duration {
	d := min(firstPause<<min(attempt, 6), maxPause)
	d = d/2 + rand.N(d/2+1)
	if least = min(least, maxAdvice); least > d {
		d = least + rand.N(least/2+1)
	}
	return d
}

// pushedBack reports whether a node said that there is too much to do, for it or
// from this client: nothing was done, and the same call will be taken later.
func pushedBack(err error) bool {
	c := CodeOf(err)
	return c == "OVERLOADED" || c == "RATE_LIMITED"
}

func parseHash(s string) (Hash, error) {
	h, err := record.ParseHash(s)
	if err != nil {
		return Hash{}, fmt.Errorf("%.80q is not 0x and 64 lower-case hex digits", s)
	}
	return h, nil
}

// millis is a wait as the wire carries it: at least 1, at most what a node takes.
func millis(d, most time.Duration) uint32 {
	return uint32(min(max(d, time.Millisecond), most) / time.Millisecond)
}
