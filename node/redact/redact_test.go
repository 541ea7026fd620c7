package redact

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const planted = "900001197001010017"

// holder has the types in every place where a printer may find them.
type holder struct {
	Open   Personal
	Key    Secret
	inner  Personal
	List   []Personal
	ByName map[string]Secret
	Ptr    *Personal
	any    any
}

func newHolder() holder {
	p := NewPersonal(planted)
	return holder{p, NewSecret(planted), p, []Personal{p}, map[string]Secret{"k": NewSecret(planted)}, &p, NewSecret(planted)}
}

// disguises of the planted value that a printer could produce.
func shows(text string) bool {
	for _, d := range []string{planted, fmt.Sprintf("%x", planted), fmt.Sprintf("%X", planted), fmt.Sprintf("% x", planted), fmt.Sprintf("%d", []byte(planted)), fmt.Sprintf("%U", []rune(planted))} {
		if strings.Contains(text, d) {
			return true
		}
	}
	return false
}

func TestNothingPrintsIt(t *testing.T) {
	h := newHolder()
	for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "c", "U", "t", "e", "o", "b", " x", "10.3s", "p", "T"} {
		for _, v := range []any{h.Open, h.Key, &h.Open, &h.Key, h, &h, []holder{h}, h.List, h.ByName} {
			if text := fmt.Sprintf("%"+verb, v); shows(text) {
				t.Errorf("%%%s of %T shows it: %s", verb, v, text)
			}
		}
	}
	for _, text := range []string{
		fmt.Sprint(h, h.Open), fmt.Errorf("at %v", h.Open).Error(), errors.Join(fmt.Errorf("%w: %s", errors.New("x"), h.Key)).Error(),
		h.Open.String(), h.Key.GoString(), encode(t, json.Marshal), encode(t, yaml.Marshal), encode(t, func(any) ([]byte, error) { return xml.Marshal(h.Open) }),
	} {
		if shows(text) {
			t.Errorf("shown: %s", text)
		}
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(handler).Info("x", "a", h.Open, "b", h.Key, "c", h, "d", &h, "e", h.List, slog.Group("g", "f", h.Open))
	}
	if shows(log.String()) || !strings.Contains(log.String(), Mark) {
		t.Errorf("the log shows it: %s", &log)
	}
}

func encode(t *testing.T, marshal func(any) ([]byte, error)) string {
	t.Helper()
	b, err := marshal(newHolder())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestContentComesOutByRevealAlone(t *testing.T) {
	if p := NewPersonal(planted); p.Reveal() != planted || p.Len() != len(planted) {
		t.Error("what was hidden is not what comes out")
	}
	var zero Secret
	if zero.Reveal() != "" || zero.Len() != 0 || zero.String() != Mark {
		t.Errorf("the zero value: %q", zero.Reveal())
	}
	var h holder
	if err := json.Unmarshal([]byte(`{"Open":"a","Key":"b","List":["c"]}`), &h); err != nil {
		t.Fatal(err)
	}
	if h.Open.Reveal() != "a" || h.Key.Reveal() != "b" || h.List[0].Reveal() != "c" {
		t.Errorf("decoded %q %q", h.Open.Reveal(), h.Key.Reveal())
	}
}
