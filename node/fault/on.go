//go:build faultpoints

package fault

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// settings is what ASSENT_FAULTS says; it is read once, when the program starts.
var settings = parse(os.Getenv("ASSENT_FAULTS"))

type plan struct {
	values map[string]string
	point  string // of kill
	left   atomic.Int64
	armed  atomic.Bool
}

func parse(text string) *plan {
	p := &plan{values: make(map[string]string)}
	if text == "" {
		return p
	}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		p.values[key] = value
	}
	if kill, ok := p.values["kill"]; ok {
		name, nth, _ := strings.Cut(kill, ":")
		n, err := strconv.ParseInt(nth, 10, 64)
		if err != nil {
			fmt.Fprintf(os.Stderr, "ASSENT_FAULTS: kill=%s: want kill=NAME:N\n", kill)
			os.Exit(2)
		}
		p.point = name
		p.left.Store(n)
	}
	if _, now := p.values["now"]; now {
		p.armed.Store(true)
		return p
	}
	go func() {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		<-c
		p.armed.Store(true)
	}()
	return p
}

// Point dies if it is time.
func Point(name string) {
	if settings.point != name || !settings.armed.Load() || settings.left.Add(-1) != 0 {
		return
	}
	fmt.Fprintln(os.Stderr, "fault point", name)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // not one step further
}

var did atomic.Bool

// Did notes that a fault has changed what the program does, and says so the first
// time: a test in which no fault took effect has shown nothing.
func Did() {
	if Armed() && did.CompareAndSwap(false, true) {
		fmt.Fprintln(os.Stderr, "fault took effect")
	}
}

// Armed reports whether faults have begun.
func Armed() bool { return settings.armed.Load() }

// Value returns what ASSENT_FAULTS says about a key.
func Value(key string) string { return settings.values[key] }
