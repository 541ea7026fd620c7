package query_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/vault"
)

// TestExactlyOneAnswerWhereverTheProcessDies kills the provider before, inside and
// after every transaction of three histories, restarts it, delivers everything again
// as the ledger and the lender's outbox would, and looks for one answer, one debit
// and one freeze.
func TestExactlyOneAnswerWhereverTheProcessDies(t *testing.T) {
	for name, history := range map[string]func(w *world, k consent) (steps []func() error){
		"part first": func(w *world, k consent) []func() error { return []func() error{w.storePart(k), w.handleAsked} },
		"permit first": func(w *world, k consent) []func() error {
			return []func() error{w.handleAsked, w.storePart(k), w.handleAsked}
		},
		"vault down first": func(w *world, k consent) []func() error {
			return []func() error{w.storePart(k), func() error {
				w.vault.set(func() { w.vault.err = vault.ErrUnavailable })
				err := w.handleAsked()
				w.vault.set(func() { w.vault.err = nil })
				return err
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for kill := 1; ; kill++ {
				reached := false
				for _, how := range []crash{before, inside, after} {
					reached = crashOnce(t, kill, how, history) || reached
				}
				if !reached {
					if kill < 3 {
						t.Errorf("only %d transactions were killed", kill-1)
					}
					return
				}
			}
		})
	}
}

func (w *world) storePart(k consent) func() error {
	return func() error { return w.a.StorePart(context.Background(), k.record.Consumer(), k.sealed) }
}

// handleAsked hands over the permit of the history.
func (w *world) handleAsked() error { return w.a.HandlePermit(context.Background(), *w.asked) }

// crashOnce plays a history, dies at the kill-th transaction, and recovers. It
// reports whether the history was long enough to die.
func crashOnce(t *testing.T, kill int, how crash, history func(*world, consent) []func() error) bool {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	k := w.consent(c, "lender")
	p := w.permit(k, w.incomeBand())
	w.asked = &p
	w.run()
	w.store.mu.Lock()
	w.store.at, w.store.how = kill, how
	w.store.mu.Unlock()
	for _, step := range history(w, k) {
		if err := step(); err != nil && !errors.Is(err, errDead) {
			t.Fatal(err)
		}
	}
	for alive := true; alive; {
		if _, ok := w.out.get(p.Request.RequestID); ok {
			return false // the history ended before
		}
		select {
		case <-w.store.died:
			alive = false
		case <-w.out.came:
		}
	}

	w.reopen()
	w.run()
	w.deliver(k)
	w.handle(p)
	if outcome, _, ok, err := w.a.Outcome(t.Context(), p.Request.RequestID); err != nil || !ok {
		w.wait(p.Request.RequestID)
	} else if outcome != record.Answered {
		t.Errorf("outcome %s", outcome)
	}
	w.stop()
	where := fmt.Sprintf("killed at transaction %d, %v", kill, how)
	for table, want := range map[string]int{"departures": 1, "query_requests": 1, "query_frozen": 1, "query_waiting": 0, "query_account": 2} {
		if n := w.count(`SELECT count(*) FROM ` + table); n != want {
			t.Errorf("%s: %d rows in %s, want %d", where, n, table, want)
		}
	}
	if got := w.leaked(c)["credit epoch 1 income"]; got != 2000 {
		t.Errorf("%s: %d millibits debited", where, got)
	}
	var sealed []byte
	var receiptJSON string
	must(t, w.store.db.QueryRow(`SELECT sealed, receipt FROM departures`).Scan(&sealed, &receiptJSON))
	var receipt record.ReceiptSpec
	must(t, record.Decode([]byte(receiptJSON), &receipt))
	if got := w.openSealed(p, sealed, receipt); got.Body.Value != "MID" {
		t.Errorf("%s: answer %s", where, got.Body.Value)
	}
	return true
}
