package bft

import (
	"fmt"
	"reflect"
	"sync"
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
	read func() *smart.Proposal
}

func inFlightOf(cons *smartbft.Consensus) (f inFlight, err error) {
	data := reflect.ValueOf(cons).Elem().FieldByName("inFlight")
	if data.Kind() != reflect.Pointer || data.IsNil() {
		return f, fmt.Errorf("consensus library: nothing in flight in %T: another version?", cons)
	}
	data = reflect.NewAt(data.Type().Elem(), unsafe.Pointer(data.Pointer())) // without the mark of an unexported field
	lock, kept := data.Elem().FieldByName("lock"), data.Elem().FieldByName("v")
	reader, ok := data.Interface().(interface{ InFlightProposal() *smart.Proposal })
	if !ok || !lock.IsValid() || lock.Type() != reflect.TypeFor[sync.RWMutex]() || kept.Kind() != reflect.Pointer {
		return f, fmt.Errorf("consensus library: %v keeps what is in flight otherwise: another version?", data.Type())
	}
	f.lock = (*sync.RWMutex)(unsafe.Pointer(lock.UnsafeAddr()))
	f.kept = reflect.NewAt(kept.Type(), unsafe.Pointer(kept.UnsafeAddr())).Elem()
	f.read = reader.InFlightProposal
	return f, nil
}

// clear forgets the proposal, if it is of a view before view.
func (f *inFlight) clear(view uint64) error {
	p := f.read()
	if p == nil {
		return nil
	}
	m, err := parseMeta(p.Metadata)
	if err != nil || m.view >= view {
		return err
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	f.kept.SetZero()
	return nil
}

// newViewBegan is called when the record of a new view is in the log.
func (e *Engine) newViewBegan(record []byte) error {
	m := &pb.SavedMessage{}
	if err := proto.Unmarshal(record, m); err != nil {
		return fmt.Errorf("decode own log record: %w", err)
	}
	f, err := inFlightOf(e.starting.Load().cons)
	if err != nil {
		return err
	}
	return f.clear(m.GetNewView().GetViewId())
}
