package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever lacks blocks that all others have pruned, and finds no snapshot, says what
// to do, looks again more and more seldom, and begins by itself as soon as somebody
// has written one.
func TestALaggardWhomNobodyCanHelpSaysSoAndWaits(t *testing.T) {
	t.Parallel()
	c, _, _ := withPruners(t)
	late := c.find(regulator, "observer")
	c.remember(late)
	late.stop()
	for _, p := range c.kind("validator") {
		p.pruneNow()
		if err := os.RemoveAll(filepath.Join(p.cfg.DataDir, snapshotsDir)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(late.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	if err := JoinLedger(t.Context(), late.cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var opened atomic.Int64
	var newest atomic.Pointer[Node]
	done := make(chan error, 1)
	begun := time.Now()
	go func() {
		done <- Serve(ctx, late.options(), func(n *Node) { opened.Add(1); newest.Store(n) })
	}()
	said := func(words string) int { return strings.Count(string(late.log.bytes()), words) }
	const advice = "have a member's node write one (assentd snapshot write)"
	eventually(t, patience, func() error {
		if n := said(advice); n < 2 {
			return fmt.Errorf("it gave its advice %d times", n)
		}
		return nil
	})
	// Each look in vain is followed by a pause: 2 s, then 4 s, …
	looks, most := opened.Load(), 1+int64(time.Since(begun)/joinPause)
	if looks > most {
		t.Errorf("it was opened %d times in %s, %d are enough", looks, time.Since(begun), most)
	}
	if !strings.Contains(string(late.log.bytes()), "keep block 1 no more") {
		t.Error("it does not say what it lacks")
	}
	if !strings.Contains(string(late.log.bytes()), `"again":4000000000`) {
		t.Error("it does not wait longer the second time")
	}
	if _, err := c.node(lender).node.writeSnapshot(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	tip := c.node(lender).node.Height()
	eventually(t, 2*patience, func() error {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("it ended: %v", err)
		default:
		}
		if n := newest.Load(); n == nil || n.Height() < tip {
			return fmt.Errorf("it has not come to height %d", tip)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	c.start(late)
	if late.node.state.BeganAt() == 0 {
		t.Error("it did not begin with a snapshot")
	}
}
