package node

import (
	"context"
	"sync"
	"time"

	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

const (
	maxEventBlocks = 64       // per Read
	maxEventBytes  = 64 << 10 // per Read; the event that crosses it is the last. Held while a reader takes its time
	maxEventsAhead = 10_000   // heights a checkpoint may lie above the executed one
	eventLogBytes  = 4 << 20  // of decoded blocks, shared by all streams
	maxPlaces      = 4_096
	eventOverhead  = 200 // of an event in memory, beside its payload
)

// eventLog keeps the events of the blocks read last, so that many streams at the
// tip cost one decoding, and where in the receipt log blocks begin, so that streams
// through the past need not search for it at every step.
type eventLog struct {
	mu     sync.Mutex // guards what follows; never held while reading
	blocks map[ledger.Height]*blockEvents
	bytes  int
	oldest *blockEvents // of a list, the newest being last
	newest *blockEvents
	places map[ledger.Height]uint64 // position of a height's first receipt
}

// blockEvents are the events of one block; they are not changed.
type blockEvents struct {
	height ledger.Height
	events []gateway.Event
	bytes  int
	end    uint64 // position of the next block's first receipt
	next   *blockEvents
}

func newEventLog() *eventLog {
	return &eventLog{blocks: make(map[ledger.Height]*blockEvents), places: make(map[ledger.Height]uint64)}
}

func (l *eventLog) block(h ledger.Height) *blockEvents {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocks[h]
}

// keep remembers a block, and forgets those remembered first if they take too much
// memory. The newest stays: whoever reads it comes again for the rest.
func (l *eventLog) keep(b *blockEvents) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.placeLocked(b.height+1, b.end)
	if l.blocks[b.height] != nil {
		return
	}
	l.blocks[b.height] = b
	l.bytes += b.bytes
	if l.newest == nil {
		l.oldest, l.newest = b, b
	} else {
		l.newest.next, l.newest = b, b
	}
	for l.bytes > eventLogBytes && l.oldest != b {
		old := l.oldest
		l.oldest = old.next
		l.bytes -= old.bytes
		delete(l.blocks, old.height)
	}
}

func (l *eventLog) placeLocked(h ledger.Height, position uint64) {
	if len(l.places) >= maxPlaces {
		clear(l.places)
	}
	l.places[h] = position
}

// begin returns where the receipts of height h begin.
func (l *eventLog) begin(view *state.View, h ledger.Height) (uint64, error) {
	l.mu.Lock()
	position, ok := l.places[h]
	l.mu.Unlock()
	if ok {
		return position, nil
	}
	position, err := firstPosition(view, h)
	if err == nil {
		l.mu.Lock()
		l.placeLocked(h, position)
		l.mu.Unlock()
	}
	return position, err
}

// read returns the events of a block that view has executed.
func (l *eventLog) read(view *state.View, h ledger.Height) (*blockEvents, error) {
	if b := l.block(h); b != nil {
		return b, nil
	}
	position, err := l.begin(view, h)
	if err != nil {
		return nil, err
	}
	b := &blockEvents{height: h, bytes: eventOverhead}
	for size := view.Roots().ReceiptsSize; position < size; position++ {
		o, err := view.OutcomeAt(position)
		if err != nil {
			return nil, err
		}
		if o.Height > h {
			break
		}
		for _, e := range apiOutcome(o).Events {
			e.Index = uint32(len(b.events))
			b.events = append(b.events, e)
			b.bytes += len(e.Payload) + eventOverhead
		}
	}
	b.end = position
	l.keep(b)
	return b, nil
}

// Read implements gateway.Events.
func (b *backend) Read(ctx context.Context, from gateway.Checkpoint, wait time.Duration) ([]gateway.Event, gateway.Checkpoint, error) {
	executed, _, _ := b.state.Executed()
	if from.Height > executed+maxEventsAhead {
		return nil, from, api.Refuse(pb.Code_CODE_CHECKPOINT_INVALID, "checkpoint at height %d, the newest executed is %d", from.Height, executed)
	}
	if err := b.waitFor(ctx, from.Height, wait); err != nil {
		if api.CodeOf(err) == pb.Code_CODE_NOT_EXECUTED {
			return nil, from, nil
		}
		return nil, from, err
	}
	events, next, err := b.events.from(b.state.View(), from)
	return events, next, b.sayPruned(ctx, err)
}

// from returns some events from a checkpoint on that view has executed, and the
// checkpoint after them.
func (l *eventLog) from(view *state.View, from gateway.Checkpoint) ([]gateway.Event, gateway.Checkpoint, error) {
	var out []gateway.Event
	bytes := 0
	end := min(view.Height(), from.Height+maxEventBlocks-1)
	for h, first := from.Height, from.Index; h <= end; h, first = h+1, 0 {
		block, err := l.read(view, h)
		if err != nil {
			return nil, from, err
		}
		for i := int(min(uint64(first), uint64(len(block.events)))); i < len(block.events); i++ {
			e := &block.events[i]
			out = append(out, *e)
			if bytes += len(e.Payload) + eventOverhead; bytes >= maxEventBytes {
				return out, gateway.Checkpoint{Height: h, Index: e.Index + 1}, nil
			}
		}
	}
	return out, gateway.Checkpoint{Height: end + 1}, nil
}
