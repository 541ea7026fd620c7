package outbox

import (
	"container/heap"
	"slices"
	"time"
)

// entry is a waiting item in memory. While inFlight its item and backoff belong
// to the attempt's goroutine, except the fields that mu guards below.
type entry struct {
	item    Item
	backoff time.Duration

	// Guarded by Outbox.mu.
	taken     time.Time // when it came into memory
	next      time.Time // when the next attempt is due
	index     int       // in its lane's heap, -1 when not there
	followers []*entry  // held back until this one left
	inMemory  int       // payload bytes counted in Outbox.payloads
	hurried   bool      // Recheck came while in flight: no pause before the next
}

// lane is what waits for one recipient: a heap by due time and the number of
// sends in flight. A slow recipient fills its own lane only.
type lane struct {
	due      dueHeap
	inFlight int
	waiting  int // every item of this recipient, in flight and held back included
}

// addLocked takes an item into memory; ids that are there already are ignored.
func (o *Outbox) addLocked(it Item) {
	if _, ok := o.entries[it.ID]; ok {
		return
	}
	e := &entry{item: it, index: -1, taken: time.Now()}
	if o.payloads+len(it.Payload) <= memoryForPayloads {
		e.inMemory = len(it.Payload)
		o.payloads += e.inMemory
	} else {
		e.item.Payload = nil
	}
	o.entries[it.ID] = e
	if it.Kind == Answer && it.ConsentID != "" {
		o.answers[it.ConsentID] = append(o.answers[it.ConsentID], e)
	}
	l := o.lanes[it.Recipient]
	if l == nil {
		l = &lane{}
		o.lanes[it.Recipient] = l
	}
	l.waiting++
	if leader := o.entries[it.After]; it.After != "" && leader != nil && !leader.item.MayHaveLeft {
		leader.followers = append(leader.followers, e)
		return
	}
	o.scheduleLocked(e, o.cfg.Clock())
}

// scheduleLocked puts e into its lane for the first moment not before at that its
// release time and grid allow.
func (o *Outbox) scheduleLocked(e *entry, at time.Time) {
	o.timeLocked(e, at)
	heap.Push(&o.lanes[e.item.Recipient].due, e)
}

func (o *Outbox) timeLocked(e *entry, at time.Time) {
	e.next = release(e.item, at)
	// Due then, to be found overdue. A sealed part may not be overdue then, and is
	// found so by one of its attempts.
	if e.item.Kind != SealedPart && !e.item.Deadline.IsZero() && !e.next.Before(e.item.Deadline) {
		e.next = e.item.Deadline
	}
}

// farAhead is further than any item is held back. What lies further was written
// down by a clock that has been set back since: an hour of answers must not wait
// for the hour to come again.
const farAhead = time.Minute

// release is the first moment at or after at that NotBefore and Grid allow.
func release(it Item, at time.Time) time.Time {
	ahead := it.NotBefore.Sub(at)
	switch {
	case it.NotBefore.IsZero():
		return at
	case ahead >= 0 && ahead <= farAhead:
		return it.NotBefore
	case it.Grid <= 0:
		return at
	}
	// The same grid, from NotBefore on or back.
	steps := -(ahead / it.Grid)
	if it.NotBefore.Add(steps * it.Grid).Before(at) {
		steps++
	}
	return it.NotBefore.Add(steps * it.Grid)
}

// lookAgainLocked gives the entries of a lane their time anew if it lies further
// ahead than any wait: the clock was set back under them.
func (o *Outbox) lookAgainLocked(l *lane, now time.Time) {
	if len(l.due) == 0 || l.due[0].next.Sub(now) <= max(farAhead, o.cfg.RetryMax, o.cfg.GuardRetry) {
		return
	}
	for _, e := range l.due {
		o.timeLocked(e, now)
	}
	heap.Init(&l.due)
}

// removeLocked forgets an entry that is not in its heap.
func (o *Outbox) removeLocked(e *entry) {
	delete(o.entries, e.item.ID)
	o.forgetPayloadLocked(e)
	if same := o.answers[e.item.ConsentID]; len(same) > 0 {
		if same = slices.DeleteFunc(same, func(other *entry) bool { return other == e }); len(same) == 0 {
			delete(o.answers, e.item.ConsentID)
		} else {
			o.answers[e.item.ConsentID] = same
		}
	}
	l := o.lanes[e.item.Recipient]
	l.waiting--
	if l.waiting == 0 {
		delete(o.lanes, e.item.Recipient)
	}
}

// releaseFollowersLocked lets go what was held back behind e.
func (o *Outbox) releaseFollowersLocked(e *entry) {
	for _, f := range e.followers {
		o.scheduleLocked(f, o.cfg.Clock())
	}
	e.followers = nil
}

// forgetPayloadLocked leaves the payload to the disk, from where the next attempt
// reads it: what waits long must not fill the memory.
func (o *Outbox) forgetPayloadLocked(e *entry) {
	o.payloads -= e.inMemory
	e.inMemory, e.item.Payload = 0, nil
}

// rescheduleLocked puts an entry back after an attempt.
func (o *Outbox) rescheduleLocked(e *entry, pause time.Duration) {
	if e.hurried {
		e.hurried, e.backoff, pause = false, 0, 0
	}
	o.scheduleLocked(e, o.cfg.Clock().Add(pause))
}

// hurryLocked makes a scheduled entry due now; one in flight is tried again at
// once should this attempt fail.
func (o *Outbox) hurryLocked(e *entry) {
	if e.index < 0 {
		e.hurried = true // or held back behind another: then it changes nothing
		return
	}
	e.next, e.backoff = release(e.item, o.cfg.Clock()), 0
	heap.Fix(&o.lanes[e.item.Recipient].due, e.index)
}

// dueHeap orders entries by due time.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap.Interface's.
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop is heap.Interface's.
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}
