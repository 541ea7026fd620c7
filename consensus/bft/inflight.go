package bft

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"

	smartbft "github.com/hyperledger-labs/SmartBFT/pkg/consensus"
	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// inFlight is where the library keeps the proposal that this replica shows in its
// view data as perhaps decided. It keeps it when a new view begins in which a quorum
// has shown that it cannot have been, until the next proposal. If none comes before
// the view changes again, the replica argues for what is void, and the leader cannot
// set it aside: view data do not say in which view a proposal was prepared. With one
// replica down no view change succeeds any more.
//
// The library has no call that empties it and does not export it, so it is reached by
// name; TestInFlightIsWhereItWas fails if another version has it elsewhere.
type inFlight struct {
	lock *sync.RWMutex
	kept reflect.Value // pointer to a proposal, and whether it is prepared
}

func inFlightOf(cons *smartbft.Consensus) (f inFlight, err error) {
	data := reflect.ValueOf(cons).Elem().FieldByName("inFlight")
	if data.Kind() != reflect.Pointer || data.IsNil() {
		return f, fmt.Errorf("consensus library: nothing in flight in %T: another version?", cons)
	}
	data = reflect.NewAt(data.Type().Elem(), unsafe.Pointer(data.Pointer())) // without the mark of an unexported field
	lock, kept := data.Elem().FieldByName("lock"), data.Elem().FieldByName("v")
	if !lock.IsValid() || lock.Type() != reflect.TypeFor[sync.RWMutex]() || kept.Kind() != reflect.Pointer || !holdsProposal(kept.Type().Elem()) {
		return f, fmt.Errorf("consensus library: %v keeps what is in flight otherwise: another version?", data.Type())
	}
	f.lock = (*sync.RWMutex)(unsafe.Pointer(lock.UnsafeAddr()))
	f.kept = reflect.NewAt(kept.Type(), unsafe.Pointer(kept.UnsafeAddr())).Elem()
	return f, nil
}

func holdsProposal(kept reflect.Type) bool {
	if kept.Kind() != reflect.Struct {
		return false
	}
	p, ok := kept.FieldByName("proposal")
	return ok && p.Type == reflect.TypeFor[*smart.Proposal]()
}

// proposal returns what is in flight, or nil.
func (f *inFlight) proposal() *smart.Proposal {
	f.lock.RLock()
	defer f.lock.RUnlock()
	return f.proposalLocked()
}

func (f *inFlight) proposalLocked() *smart.Proposal {
	if f.kept.IsNil() {
		return nil
	}
	return (*smart.Proposal)(f.kept.Elem().FieldByName("proposal").UnsafePointer())
}

// clear forgets the proposal, if it is of a view before view and not what this
// replica stands by, as one taken over from an earlier view may be. The library takes
// the process down if a vote is logged for a proposal that is gone, so whoever calls
// holds the ballot and has seen to it that no such vote can follow.
func (f *inFlight) clear(view uint64, stands func(smart.Proposal) bool) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	p := f.proposalLocked()
	if p == nil || stands(*p) {
		return nil
	}
	m, err := parseMeta(p.Metadata)
	if err != nil || m.view >= view {
		return err
	}
	f.kept.SetZero()
	return nil
}

// ballot is held from the permission to vote until the vote is logged: the library
// does both in one goroutine, and others may not make the vote void in between.
type ballot struct {
	mu   sync.Mutex
	open atomic.Bool
}

// cast lets one vote begin.
func (b *ballot) cast() {
	b.mu.Lock()
	b.open.Store(true)
}

// counted ends it; it does nothing if none was begun.
func (b *ballot) counted() {
	if b.open.CompareAndSwap(true, false) {
		b.mu.Unlock()
	}
}

// wait returns when no vote is under way.
func (b *ballot) wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
}

// between runs f while no vote is under way.
func (b *ballot) between(f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return f()
}

// beginView logs the record of a new view and empties what was in flight before it.
func (e *Engine) beginView(record []byte, truncate bool) error {
	m := &pb.SavedMessage{}
	if err := proto.Unmarshal(record, m); err != nil {
		return fmt.Errorf("decode own log record: %w", err)
	}
	view := m.GetNewView().GetViewId()
	f, err := inFlightOf(e.starting.Load().cons)
	if err != nil {
		return err
	}
	e.standoff.forget(view)
	return e.ballot.between(func() error {
		if err := e.promises.append(record, truncate, e.log.write); err != nil {
			return err
		}
		return f.clear(view, e.promises.stands)
	})
}
