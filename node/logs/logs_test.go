package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/assent-network/assent/node/redact"
)

const planted = "900001197001010017"

// Whatever form a value has, it is printed only if its type or name allows.
func TestValuesThatAreNotPrinted(t *testing.T) {
	type row struct{ ID string }
	for name, value := range map[string]any{
		"bytes":    []byte(planted),
		"row":      row{planted},
		"pointer":  &row{planted},
		"rows":     []row{{planted}},
		"map":      map[string]string{"id": planted},
		"texts":    []string{planted},
		"message":  wrapperspb.String(planted),
		"subject":  planted,
		"Password": planted,
		"dsn":      "postgres://u:" + planted + "@h/db",
		"args":     planted,
		"hidden":   redact.NewPersonal(planted),
	} {
		for _, format := range []string{"json", "text"} {
			var b bytes.Buffer
			log := New(&b, format, slog.LevelDebug)
			log.Info("x", name, value)
			log.With(name, value).WithGroup("g").Debug("y", name, value)
			if b.Len() == 0 || strings.Contains(b.String(), planted) || strings.Contains(b.String(), "OTAwMDAx") {
				t.Errorf("%s as %s: %s", name, format, &b)
			}
		}
	}
}

type named string

func TestValuesThatArePrinted(t *testing.T) {
	var b bytes.Buffer
	New(&b, "json", slog.LevelInfo).Info("x", "n", 7, "text", "plain", "error", errors.New("why"), "took", time.Second, "level", slog.LevelWarn,
		"at", []string{"main.go:7"}, "none", nil, "ok", true, "id", named("c1"))
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	if s := fmt.Sprint(got); s != "map[at:[main.go:7] error:why id:c1 level:WARN msg:x n:7 none:<nil> ok:true text:plain took:1e+09]" {
		t.Error(s)
	}
}

// A warning is written ten times in a row, then once in ten seconds, with the
// number of those that were left out; after a rest it starts afresh.
func TestRepeatedWarnings(t *testing.T) {
	var b bytes.Buffer
	log := New(&b, "json", slog.LevelInfo)
	h := log.Handler().(*handler)
	now := time.Unix(1000, 0)
	h.repeats.now = func() time.Time { return now }
	lines := func(n int, each func()) (written int, last string) {
		b.Reset()
		for range n {
			each()
		}
		all := strings.Split(strings.TrimSpace(b.String()), "\n")
		if all[0] == "" {
			return 0, ""
		}
		return len(all), all[len(all)-1]
	}
	warn := func() { log.Warn("down", "peer", now.String()) }
	if n, _ := lines(100, warn); n != freely {
		t.Errorf("%d lines of 100 at once", n)
	}
	now = now.Add(pause)
	if n, last := lines(5, warn); n != 1 || !strings.Contains(last, `"leftOut":90`) {
		t.Errorf("%d lines after a pause: %s", n, last)
	}
	if n, _ := lines(3, func() { log.Warn("another") }); n != 3 {
		t.Errorf("another text: %d lines of 3", n)
	}
	if n, _ := lines(100, func() { log.Info("down") }); n != 100 {
		t.Errorf("%d of 100 lines that are no warnings", n)
	}
	if n, _ := lines(3, func() { log.With("part", "x").Warn("down") }); n != 0 {
		t.Errorf("with attributes of its own it counts anew: %d lines", n)
	}
	now = now.Add(time.Hour)
	if n, _ := lines(100, warn); n != freely {
		t.Errorf("%d lines of 100 after a rest", n)
	}
	for i := range 10 * maxLines {
		log.Error(fmt.Sprint("text ", i))
	}
	if n := len(h.repeats.lines); n > maxLines {
		t.Errorf("%d texts are remembered", n)
	}
}
