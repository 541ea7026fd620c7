package sdk

import (
	"context"

	"connectrpc.com/connect"
)

// longWork is work that a node of one's own does and tells the progress of. It is
// not repeated by itself once a node has begun.
type longWork[Q, R, T any] struct {
	where string
	call  func(*endpoint) func(context.Context, *connect.Request[Q]) (*connect.ServerStreamForClient[R], error)
	// hear takes one message; its result, if any, is the end.
	hear    func(*R) (*T, error)
	endless *Error // when the node ends without a result
}

func (w longWork[Q, R, T]) do(ctx context.Context, c *Client, msg *Q) (*T, error) {
	var failed error
	for _, e := range c.order(ownNode) {
		out, begun, err := w.on(ctx, c, e, msg)
		if err == nil {
			return out, nil
		}
		if connect.CodeOf(err) == connect.CodeUnauthenticated && !begun {
			e.forget()
			out, begun, err = w.on(ctx, c, e, msg)
			if err == nil {
				return out, nil
			}
		}
		err = c.failure(w.where, e, err)
		failed = worse(failed, err)
		if begun || ctx.Err() != nil || !movesOn(err) {
			return nil, failed
		}
	}
	return nil, failed
}

// on does the work on one node. begun tells whether the node had begun.
func (w longWork[Q, R, T]) on(ctx context.Context, c *Client, e *endpoint, msg *Q) (out *T, begun bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := request(ctx, c, e, msg)
	if err != nil {
		return nil, false, err
	}
	st, err := w.call(e)(ctx, req)
	if err != nil {
		return nil, false, err
	}
	defer st.Close()
	for st.Receive() {
		begun = true
		out, err := w.hear(st.Msg())
		if err != nil {
			return nil, true, &Untrusted{Node: e.url, What: "the result of " + w.where, Cause: err}
		}
		if out != nil {
			return out, true, nil
		}
	}
	if err := st.Err(); err != nil {
		return nil, begun, err
	}
	return nil, begun, w.endless
}
