package gateway

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// Events sends what matches, and a heartbeat with the checkpoint reached when
// nothing has for a while. The stream pulls from the backend: a slow reader
// costs its connection and what one Read gave, and that only for
// Limits.StreamStall: then it is cut, and goes on from its checkpoint when it can.
func (s ledgerService) Events(ctx context.Context, req *connect.Request[assentv1.EventsRequest], stream *connect.ServerStream[assentv1.EventsResponse]) error {
	if s.cfg.Events == nil {
		return notServed()
	}
	c := callOf(ctx)
	c.stopReading()
	if err := c.stream(); err != nil {
		return err
	}
	filter, err := filterOf(req.Msg)
	if err != nil {
		return err
	}
	if c.caller.Subject {
		if filter.consent == "" {
			return refuseRole("a subject must name its consent in consent_id")
		}
		if err := s.ownsConsent(ctx, c.caller, filter.consent, Call{}); err != nil {
			return err
		}
	}
	next := s.cfg.Events.Next()
	if from := req.Msg.From; from != nil {
		next = Checkpoint{ledger.Height(from.Height), from.Index}
	}
	out := &sender{call: c, stream: stream, stall: s.cfg.Limits.StreamStall}
	out.begin()
	if err := out.send(nil, next); err != nil { // tells the client that the stream stands, and where
		return err
	}
	for {
		events, after, err := s.cfg.Events.Read(ctx, next, s.cfg.Limits.Heartbeat)
		if err != nil {
			return err
		}
		if !c.caller.Subject { // who was revoked since hears nothing more
			if _, err := s.client(c.caller); err != nil {
				return err
			}
		}
		var matching []Event
		looked, sent := 0, 0
		for i := range events {
			looked += len(events[i].Payload)
			if filter.match(&events[i]) {
				sent += len(events[i].Payload) + eventOverhead
				matching = append(matching, events[i])
			}
		}
		if err := c.pays(ctx, sent+looked/lookedAt); err != nil {
			return err
		}
		out.begin()
		for i := range matching {
			e := &matching[i]
			if err := out.send(e, Checkpoint{e.Height, e.Index + 1}); err != nil {
				return err
			}
		}
		next = after
		if time.Since(out.last) >= s.cfg.Limits.Heartbeat {
			out.begin()
			if err := out.send(nil, next); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

const (
	// eventOverhead is about what a message has beside the payload.
	eventOverhead = 256
	// lookedAt is how many bytes that are only looked at cost as much as one sent.
	lookedAt = 4
)

// sender writes one stream.
type sender struct {
	call   *call
	stream *connect.ServerStream[assentv1.EventsResponse]
	stall  time.Duration
	last   time.Time // of the last message
	until  time.Time // deadline of writes
}

// begin gives what is sent next, all of it together, its time to leave. The
// deadline also ends a stream that is idle under HTTP/2, so it must lie well behind
// the next heartbeat; it is moved seldom because that costs a message to the
// connection's loop.
func (o *sender) begin() {
	if limit := time.Now().Add(o.stall); limit.Sub(o.until) > o.stall/8 {
		o.until = limit
		_ = o.call.http.SetWriteDeadline(limit) // unsupported only under a test's own ResponseWriter
	}
}

// slow is what a reader is told that takes events more slowly than it may.
func (o *sender) slow(e *Event, next Checkpoint) error {
	if e != nil {
		next = Checkpoint{e.Height, e.Index} // it was not taken
	}
	o.call.server.refused.slowReaders.Add(1)
	return api.Refuse(assentv1.Code_CODE_SLOW_CONSUMER, "this reader took too long over what was sent; the node has kept nothing for it: go on from checkpoint %d.%d", next.Height, next.Index)
}

// send writes one message; next is the checkpoint after it. A reader that has not
// taken in time what begin was called for is cut: of a reader that takes nothing at
// all, the connection's own deadline ends the stream.
func (o *sender) send(e *Event, next Checkpoint) error {
	now := time.Now()
	if now.After(o.until) {
		return o.slow(e, next)
	}
	o.last = now
	msg := &assentv1.EventsResponse{Next: &assentv1.Checkpoint{Height: uint64(next.Height), Index: next.Index}}
	if e != nil {
		msg.Event = eventOf(e)
	}
	err := o.stream.Send(msg)
	if err != nil && !time.Now().Before(o.until) {
		return o.slow(e, next)
	}
	return err
}

func eventOf(e *Event) *assentv1.Event {
	return &assentv1.Event{
		Height: uint64(e.Height), Index: e.Index, TxId: hex0x(e.TxID[:]), Contract: e.Contract, Name: e.Name,
		Payload: e.Payload, BlockTimeMs: e.BlockTime,
	}
}

// filter is what a reader wants to see.
type filter struct {
	contracts, names []string
	consent, party   string
}

func filterOf(m *assentv1.EventsRequest) (filter, error) {
	var f form
	f.count("contracts", len(m.Contracts), api.MaxFilters)
	f.count("names", len(m.Names), api.MaxFilters)
	for _, v := range slices.Concat(m.Contracts, m.Names, []string{m.ConsentId, m.Party}) {
		f.size("a filter", len(v), 0, api.MaxNameBytes)
	}
	return filter{m.Contracts, m.Names, m.ConsentId, m.Party}, f.err
}

func (f *filter) match(e *Event) bool {
	if len(f.contracts) > 0 && !slices.Contains(f.contracts, e.Contract) || len(f.names) > 0 && !slices.Contains(f.names, e.Name) {
		return false
	}
	if f.consent == "" && f.party == "" {
		return true
	}
	// The fields by which records of all contracts name consents and members.
	var r struct {
		ConsentID string `json:"consentId"`
		OrgID     string `json:"orgId"`
		Consumer  string `json:"consumer"`
		Provider  string `json:"provider"`
		Parties   []struct {
			PartyID string `json:"partyId"`
		} `json:"parties"`
		Recipient string `json:"recipient"`
		Seats     []struct {
			Bank      string `json:"bank"`
			ConsentID string `json:"consentId"`
		} `json:"seats"` // of a set of banks: each has a consent of its own
	}
	if json.Unmarshal(e.Payload, &r) != nil {
		return false
	}
	known := r.ConsentID == f.consent
	for _, s := range r.Seats {
		known = known || s.ConsentID == f.consent
	}
	if f.consent != "" && !known {
		return false
	}
	if f.party == "" || slices.Contains([]string{r.OrgID, r.Consumer, r.Provider, r.Recipient}, f.party) {
		return true
	}
	for _, s := range r.Seats {
		if s.Bank == f.party {
			return true
		}
	}
	for _, p := range r.Parties {
		if p.PartyID == f.party {
			return true
		}
	}
	return false
}
