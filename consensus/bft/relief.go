package bft

import (
	"fmt"
	"reflect"
	"time"
	"unsafe"

	smartbft "github.com/hyperledger-labs/SmartBFT/pkg/consensus"
)

// handover is where the library's controller waits for a view, and where its
// view changer waits for the controller. Both waits can last for ever:
//
//   - A view puts its decision into a buffer. If the view is aborted before the
//     controller takes it, the controller delivers it and waits for that view to
//     take note: it hears of nothing any more, no abort, no new view, no catching
//     up. The view changer then waits for the controller, and Stop for the view
//     changer.
//   - A controller that closed itself for a change of membership leaves a view
//     changer waiting that had one more thing to tell, and the change waits for
//     the view changer.
//
// The library has no call that ends these waits and does not export the channels,
// so they are reached by name; TestHandoverIsWhereItWas fails if another version
// of the library has them elsewhere.
type handover struct {
	delivered reflect.Value // chan struct{}: controller to view
	aborts    reflect.Value // chan uint64: view changer to controller
	views     reflect.Value // chan of view and height: view changer to controller
	stopped   reflect.Value // chan struct{}: closed when the controller is
	since     time.Time     // when the controller began to wait, if it does
}

// handoverOf reads the controller in use. It must be called where the library
// does not replace it: in one of its callbacks.
func handoverOf(cons *smartbft.Consensus, now time.Time) (h handover, err error) {
	controller := reflect.ValueOf(cons).Elem().FieldByName("controller")
	if controller.Kind() != reflect.Pointer || controller.IsNil() {
		return h, fmt.Errorf("consensus library: no controller in %T: another version?", cons)
	}
	h.since = now
	for name, to := range map[string]*reflect.Value{
		"deliverChan": &h.delivered, "abortViewChan": &h.aborts, "viewChange": &h.views, "stopChan": &h.stopped,
	} {
		f := controller.Elem().FieldByName(name)
		if f.Kind() != reflect.Chan || f.IsNil() {
			return h, fmt.Errorf("consensus library: its controller has no channel %s: another version?", name)
		}
		// The same value without the mark of an unexported field.
		*to = reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
	}
	return h, nil
}

// take receives what somebody waits to send, if anybody does.
func take(c reflect.Value) bool {
	_, ok := c.TryRecv()
	return ok
}

// closed reports whether the controller was stopped or stopped itself.
func (h *handover) closed() bool {
	v, ok := h.stopped.TryRecv()
	return v.IsValid() && !ok
}

// relieve ends the waits that nobody else will end and reports whether there was
// one. A live view takes note of a delivery within microseconds: whoever still
// waits after the patience waits for a dead one.
func (h *handover) relieve(now time.Time, patience time.Duration) bool {
	if h.closed() {
		aborts, views := take(h.aborts), take(h.views) // the view changer may wait with either
		return aborts || views
	}
	return now.Sub(h.since) >= patience && take(h.delivered)
}

// handsOver notes that the controller is about to hand a delivery over.
func (e *Engine) handsOver() {
	h, err := handoverOf(e.starting.Load().cons, time.Now())
	if err != nil {
		e.fail(err)
		return
	}
	e.handing.Store(&h)
}

// relieve is called regularly while an instance runs, and while it stops.
func (e *Engine) relieve(now time.Time) {
	h := e.handing.Load()
	if h == nil || !h.relieve(now, e.cfg.Settings.RepeatTimeout) {
		return
	}
	e.counters.reliefs.Add(1)
	e.cfg.Logger.Info("consensus engine waited for what could not come any more, and was helped on", "height", e.height.Load())
}
