package bft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
)

// maxLogText bounds one line of the library, which may hold a peer's bytes.
const maxLogText = 400

// libLogger is the library's logger. Its "info" is several lines a block and
// becomes debug, and so do warnings about what happens every day; the others can
// be provoked by peers and are rate-limited, each text by itself.
type libLogger struct {
	log   *slog.Logger
	warns limiters
	// fail stops the engine with the text of a panic; restart, which may be nil,
	// starts it again from its log.
	fail, restart func(error)
	// heed gets every text, unrendered: some say what no call of ours says; may be
	// nil.
	heed func(format string)
	// lines counts what was logged. The request timers of the library read what a
	// change of membership writes, with no lock between: they log right after it,
	// the change right before, so that this counter puts the two in order.
	lines atomic.Uint64
}

func (l *libLogger) Debugf(format string, args ...any) { l.debug(format, args) }
func (l *libLogger) Infof(format string, args ...any)  { l.debug(format, args) }
func (l *libLogger) debug(format string, args []any) {
	l.lines.Add(1)
	if l.heed != nil {
		l.heed(format)
	}
	l.write(slog.LevelDebug, format, args)
}

func (l *libLogger) Errorf(format string, args ...any) { l.limited(slog.LevelError, format, args) }
func (l *libLogger) Warnf(format string, args ...any)  { l.limited(slog.LevelWarn, format, args) }

// Panicf is called where the library does not know how to go on. It must not
// return; ending the goroutine leaves the process and the other engines alone,
// and Run stops this one and returns the error.
func (l *libLogger) Panicf(format string, args ...any) {
	text := render(format, args)
	if slices.Contains(apart, format) && l.restart != nil {
		l.restart(errors.New(text))
		runtime.Goexit()
	}
	l.log.Error("consensus engine cannot go on", "reason", text)
	l.fail(fmt.Errorf("consensus engine: %s", text))
	runtime.Goexit()
}

// apart are the texts of panics whose reason is that this replica caught up while
// a view change went on with what it knew before: after a time of deafness it hears
// of a view change and of newer blocks in any order. Its log is in order, and it
// starts again from there.
var apart = []string{
	"Node %d got an in flight proposal with sequence %d while its last decision was on sequence %d",
}

// everyday are beginnings of warnings about what needs nobody's attention: votes
// that arrive after the decision they were for, requests that another path has
// already taken out of the pool, and messages of a view that was just left.
var everyday = []string{
	"Seen %d votes for digest",
	"Error during remove of request",
	"Got a pre-prepare for %s sequence without processing previous one",
	"%d got message %v from %d of view",
	"Got request from %d but the leader is",
	"Received message from unexpected node", // removed by a config change; the gate cuts it off
}

func (l *libLogger) limited(level slog.Level, format string, args []any) {
	l.lines.Add(1)
	if slices.ContainsFunc(everyday, func(begin string) bool { return strings.HasPrefix(format, begin) }) {
		l.write(slog.LevelDebug, format, args)
		return
	}
	if dropped, ok := l.warns.of(format).allow(); ok {
		if dropped > 0 {
			l.log.Warn("consensus engine: warnings left out", "count", dropped)
		}
		l.write(level, format, args)
	}
}

func (l *libLogger) write(level slog.Level, format string, args []any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	l.log.Log(context.Background(), level, "consensus engine: "+render(format, args))
}

// render formats a line of the library. Whole messages, which it sometimes
// prints, are named by type and size only.
func render(format string, args []any) string {
	for i, a := range args {
		if m, ok := a.(proto.Message); ok {
			args[i] = fmt.Sprintf("<%s of %d bytes>", m.ProtoReflect().Descriptor().Name(), proto.Size(m))
		}
	}
	text := fmt.Sprintf(format, args...)
	if len(text) > maxLogText {
		text = text[:maxLogText] + "…"
	}
	return text
}

// limiters keeps a limiter for each text of the library. These are constants of
// its source, so there is a fixed number of them.
type limiters struct {
	mu    sync.Mutex
	texts map[string]*limiter
}

func (l *limiters) of(text string) *limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.texts == nil {
		l.texts = make(map[string]*limiter)
	}
	x := l.texts[text]
	if x == nil {
		x = &limiter{}
		l.texts[text] = x
	}
	return x
}

// limiter lets a few lines through and counts the rest.
type limiter struct {
	mu      sync.Mutex
	rate    *rate.Limiter
	dropped int
}

func (l *limiter) allow() (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate == nil {
		l.rate = rate.NewLimiter(rate.Every(5*time.Second), 5)
	}
	if !l.rate.Allow() {
		l.dropped++
		return 0, false
	}
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}
