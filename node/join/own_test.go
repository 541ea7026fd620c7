package join

import (
	"errors"
	"os"
	"testing"

	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
)

// A node whose state is gone begins with its own snapshot and then with a newer one
// of a peer. The state that was open is given up once: a second time there is none.
func TestOwnSnapshotAndThenANewerOne(t *testing.T) {
	h := newHistory(t, 50, nil, 20, 40)
	n := h.newcomer()
	first, w := snapshot.Open(t.TempDir()), newWire()
	if _, err := first.Adopt(copyOf(t, snapshotPath(h, 20))); err != nil {
		t.Fatal(err)
	}
	w.add("a", h.serve(first))
	if err := n.join(t.Context(), w); err != nil {
		t.Fatalf("%v\n%s", err, &n.log)
	}
	if err := os.RemoveAll(n.stateConfig().Dir); err != nil {
		t.Fatal(err)
	}
	db, err := state.Create(t.Context(), n.stateConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	w = newWire()
	w.add("a", h.serve(h.snapshots))
	given := 0
	err = n.join(t.Context(), w, func(c *Config) {
		c.Adopting = func() error {
			if given++; given > 1 {
				return errors.New("there is no open state any more")
			}
			return nil
		}
	})
	if err != nil || given != 1 {
		t.Fatalf("the open state was given up %d times: %v\n%s", given, err, &n.log)
	}
	n.check(40)
}
