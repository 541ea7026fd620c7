package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// Event is what a contract announced, as a node says. The transaction's receipt
// commits to it.
type Event struct {
	Height    uint64
	Index     uint32 // among all events of the block
	TxID      Hash
	Contract  string
	Name      string // "consent", "request", "receipt", …
	Payload   []byte // canonical JSON of the record after the change
	BlockTime time.Time

	Next Checkpoint // resume from here once this event is dealt with
}

// Checkpoint is a place in the ledger's order of events: the index-th event of
// the block at height, before any filter. Its text form is "height.index".
type Checkpoint struct {
	Height uint64
	Index  uint32
}

// String returns "height.index".
func (p Checkpoint) String() string { return fmt.Sprintf("%d.%d", p.Height, p.Index) }

// ParseCheckpoint reads "height.index", or "height" for its first event.
func ParseCheckpoint(s string) (Checkpoint, error) {
	h, i, found := strings.Cut(s, ".")
	if !found {
		i = "0"
	}
	height, err := strconv.ParseUint(h, 10, 64)
	index, err2 := strconv.ParseUint(i, 10, 32)
	if err != nil || err2 != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint %.40q: want height.index, for instance 120.0", s)
	}
	return Checkpoint{height, uint32(index)}, nil
}

func (p Checkpoint) before(q Checkpoint) bool {
	return p.Height < q.Height || p.Height == q.Height && p.Index < q.Index
}

// EventFilter narrows a stream. An event must match every field that is set.
type EventFilter struct {
	Contracts []string // at most 16
	Names     []string // at most 16
	Consent   ConsentID
	Party     OrgID // a party of the record
}

// Events yields events in ledger order from a checkpoint on; nil means from the
// next executed block. It survives broken connections and changes of node, and
// yields each event once; whoever stores Event.Next after dealing with the event
// misses none across restarts, and may see the last one twice. The sequence ends
// with an error, or when ctx ends (with ctx's error).
func (c *Client) Events(ctx context.Context, from *Checkpoint, f EventFilter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := &stream{c: c, filter: f}
		if from != nil {
			s.next, s.known = *from, true
		}
		for attempt := 0; ; attempt++ {
			before := s.next
			err := s.run(ctx, yield)
			if err == nil { // the reader has enough
				return
			}
			if s.next != before {
				attempt = 0
			}
			if ctx.Err() != nil {
				yield(Event{}, ctx.Err())
				return
			}
			if !movesOn(err) && CodeOf(err) != "SLOW_CONSUMER" && CodeOf(err) != "CANCELLED" || !s.known && attempt >= c.set.attempts {
				yield(Event{}, err)
				return
			}
			if pause(ctx, attempt, 0) != nil {
				yield(Event{}, ctx.Err())
				return
			}
		}
	}
}

// stream is one reader's way through the events.
type stream struct {
	c      *Client
	filter EventFilter
	next   Checkpoint // everything before it was yielded or filtered
	known  bool       // next is set
	fresh  bool       // a node refused the token, which was renewed since the last event
}

// run reads from one node after the other until each has failed once. It returns
// nil when the reader wants no more.
func (s *stream) run(ctx context.Context, yield func(Event, error) bool) error {
	var last error
	for _, e := range s.c.order(anyNode) {
		err := s.read(ctx, e, yield)
		if err == nil {
			return nil
		}
		if connect.CodeOf(err) == connect.CodeUnauthenticated && !s.fresh {
			s.fresh = true
			e.forget()
			if err = s.read(ctx, e, yield); err == nil {
				return nil
			}
		}
		last = s.c.failure("events", e, err)
		if ctx.Err() != nil || !movesOn(last) {
			return last
		}
	}
	return last
}

var errSilent = errors.New("the event stream fell silent")

func (s *stream) read(ctx context.Context, e *endpoint, yield func(Event, error) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(s.c.set.timeouts.Silence, func() { cancel(errSilent) })
	defer silence.Stop()
	msg := &assentv1.EventsRequest{
		Contracts: s.filter.Contracts, Names: s.filter.Names, ConsentId: string(s.filter.Consent), Party: string(s.filter.Party),
	}
	if s.known {
		msg.From = &assentv1.Checkpoint{Height: s.next.Height, Index: s.next.Index}
	}
	req, err := request(ctx, s.c, e, msg)
	if err != nil {
		return err
	}
	st, err := e.ledger.Events(ctx, req)
	if err != nil {
		return silentOr(ctx, e, err)
	}
	defer st.Close()
	for st.Receive() {
		silence.Reset(s.c.set.timeouts.Silence)
		more, err := s.take(e, st.Msg(), yield)
		if err != nil || !more {
			return err
		}
		silence.Reset(s.c.set.timeouts.Silence) // the reader's own time does not count
	}
	if err := st.Err(); err != nil {
		return silentOr(ctx, e, err)
	}
	return streamEnded(e, "the node ended the event stream")
}

// silentOr tells a stream that this client gave up from one that failed.
func silentOr(ctx context.Context, e *endpoint, err error) error {
	if context.Cause(ctx) == errSilent {
		return streamEnded(e, errSilent.Error())
	}
	return err
}

func streamEnded(e *endpoint, what string) error {
	return &Error{Code: "NOT_READY", What: what, Where: "events at " + e.url, Remedy: "Nothing to do: the stream is opened again.", retryable: true}
}

// take yields one message. Events before the place reached are repetitions of a
// node that starts its stream too early, and dropped.
func (s *stream) take(e *endpoint, m *assentv1.EventsResponse, yield func(Event, error) bool) (more bool, err error) {
	var next Checkpoint
	if m.Next != nil {
		next = Checkpoint{m.Next.Height, m.Next.Index}
	}
	if m.Event == nil {
		if m.Next != nil && (!s.known || s.next.before(next)) {
			s.next, s.known = next, true
		}
		return true, nil
	}
	ev, err := eventOf(m.Event)
	if err != nil {
		return false, &Untrusted{Node: e.url, What: "an event", Cause: err}
	}
	at := Checkpoint{ev.Height, ev.Index}
	if s.known && at.before(s.next) {
		return true, nil
	}
	if m.Next == nil || !at.before(next) {
		next = Checkpoint{ev.Height, ev.Index + 1}
	}
	ev.Next = next
	s.next, s.known, s.fresh = next, true, false
	return yield(ev, nil), nil
}

func eventOf(e *assentv1.Event) (Event, error) {
	id, err := parseHash(e.TxId)
	if err != nil {
		return Event{}, err
	}
	return Event{
		Height: e.Height, Index: e.Index, TxID: id, Contract: e.Contract, Name: e.Name,
		Payload: e.Payload, BlockTime: fromMillis(e.BlockTimeMs),
	}, nil
}
