package bft

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// What happens every day is no warning, and a warning that repeats itself does not
// hide another one.
func TestLibraryWarnings(t *testing.T) {
	var b bytes.Buffer
	l := &libLogger{log: slog.New(slog.NewTextHandler(&b, nil)), fail: func(error) {}}
	for range 100 {
		l.Warnf("Seen %d votes for digest %s in view %d, sequence %d but I am in view %d and seq %d", 3, "d", 1, 2, 3, 4)
		l.Infof("a line a block")
	}
	if b.Len() > 0 {
		t.Errorf("above debug: %s", &b)
	}
	for range 100 {
		l.Warnf("Heartbeat timeout (%v) from %d expired", 3, 1)
	}
	l.Errorf("another text")
	if n := strings.Count(b.String(), "Heartbeat"); n != 5 {
		t.Errorf("%d lines of 100 alike, want 5", n)
	}
	if !strings.Contains(b.String(), "another text") {
		t.Error("one text hides another")
	}
}
