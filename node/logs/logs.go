// Package logs makes the log of a node: slog lines of JSON or text.
//
// It promises that a value whose type does not say how it wants to be printed is
// not printed, that attributes with the name of something secret or personal are
// not printed whatever they hold, and that a warning which repeats itself is
// written a few times and then counted.
//
// It leaves to others what a message says: a text that somebody put together from
// a person's data cannot be recognised here. scripts/operations runs a network at
// level debug and searches everything it has logged.
package logs

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/node/redact"
)

// New returns a logger that writes lines at or above level to w. format is json
// or text.
func New(w io.Writer, format string, level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	var inner slog.Handler = slog.NewJSONHandler(w, opts)
	if format == "text" {
		inner = slog.NewTextHandler(w, opts)
	}
	return slog.New(&handler{inner: inner, repeats: &repeats{lines: make(map[line]*times), now: time.Now}})
}

// secretNames are attributes that are never printed.
var secretNames = []string{"subject", "subjectid", "account", "contact", "contacts", "password", "token", "authorization", "dsn", "salt", "args", "params", "payload", "secret"}

// replace is the last look at an attribute before it is written.
func replace(_ []string, a slog.Attr) slog.Attr {
	if slices.Contains(secretNames, strings.ToLower(a.Key)) {
		return slog.String(a.Key, redact.Mark)
	}
	if a.Value.Kind() != slog.KindAny {
		return a
	}
	switch v := a.Value.Any().(type) {
	case nil, error, slog.Level, *slog.Source:
	case []byte:
		return slog.String(a.Key, fmt.Sprintf("[%d bytes]", len(v)))
	case proto.Message: // has a String that shows every field
		return slog.String(a.Key, fmt.Sprintf("[%s of %d bytes]", v.ProtoReflect().Descriptor().Name(), proto.Size(v)))
	case encoding.TextMarshaler, fmt.Stringer:
	case []string:
		if a.Key != "at" { // places in the program
			return slog.String(a.Key, fmt.Sprintf("[%d texts]", len(v)))
		}
	default:
		switch reflect.ValueOf(v).Kind() { // named texts and numbers: ids, heights
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			return a
		}
		return slog.String(a.Key, fmt.Sprintf("[%T]", v))
	}
	return a
}

// handler leaves out warnings that repeat themselves.
type handler struct {
	inner   slog.Handler
	repeats *repeats
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		left, ok := h.repeats.allow(line{r.Level, r.Message})
		if !ok {
			return nil
		}
		if left > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("leftOut", left))
		}
	}
	return h.inner.Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.inner.WithAttrs(attrs), h.repeats}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.inner.WithGroup(name), h.repeats}
}

const (
	freely   = 10               // lines of one text that are written in a row
	pause    = 10 * time.Second // then one in this time
	maxLines = 512              // texts remembered
)

// line is what makes two lines the same: their attributes may differ.
type line struct {
	level   slog.Level
	message string
}

type times struct {
	free  int // lines that may still be written at once
	last  time.Time
	since int // left out since the last one written
}

// repeats counts lines that are warnings or worse.
type repeats struct {
	now func() time.Time

	mu    sync.Mutex
	lines map[line]*times
}

// allow reports whether a line may be written, and how many of its kind were
// left out before it.
func (r *repeats) allow(l line) (leftOut int, ok bool) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.lines[l]
	if t == nil {
		if len(r.lines) >= maxLines {
			clear(r.lines) // texts are few; whoever makes many gets each written
		}
		t = &times{free: freely, last: now}
		r.lines[l] = t
	}
	// For every pause without a line one more is free, up to the number at first.
	if rested := int(now.Sub(t.last) / pause); rested > 0 {
		t.free = min(freely, t.free+rested)
	}
	if t.free == 0 {
		t.since++
		return 0, false
	}
	t.free--
	t.last = now
	leftOut, t.since = t.since, 0
	return leftOut, true
}
