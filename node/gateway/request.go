package gateway

import (
	"encoding/hex"
	"time"
	"unicode/utf8"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// form collects what is wrong with the fields of a request.
type form struct{ err error }

func (f *form) refuse(format string, args ...any) {
	if f.err == nil {
		f.err = api.Refuse(assentv1.Code_CODE_BAD_REQUEST, format, args...)
	}
}

// size wants between least and most bytes. Complaints name the field, never its
// contents.
func (f *form) size(field string, n, least, most int) {
	switch {
	case n < least && n == 0:
		f.refuse("%s is missing", field)
	case n < least || n > most:
		f.refuse("%s has %d bytes, want %d to %d", field, n, least, most)
	}
}

func (f *form) name(field, v string) { f.size(field, len(v), 1, api.MaxNameBytes) }

func (f *form) count(field string, n, most int) {
	if n > most {
		f.refuse("%s has %d entries, at most %d are allowed", field, n, most)
	}
}

// hash reads 0x and 64 lower-case hex digits: one text per value, so that ids can
// be compared as text.
func (f *form) hash(field, v string) (h ledger.Hash) {
	if !f.hex(v, h[:]) {
		f.refuse("%s must be 0x and %d lower-case hex digits", field, 2*len(h))
	}
	return h
}

func (f *form) address(field, v string) (a ledger.Address) {
	if !f.hex(v, a[:]) {
		f.refuse("%s must be 0x and %d lower-case hex digits", field, 2*len(a))
	}
	return a
}

func (*form) hex(v string, out []byte) bool {
	if len(v) != 2+2*len(out) || v[:2] != "0x" {
		return false
	}
	for i := 2; i < len(v); i++ {
		if v[i] >= 'A' && v[i] <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(out, []byte(v[2:]))
	return err == nil
}

func (f *form) wait(field string, ms uint32) time.Duration {
	d := time.Duration(ms) * time.Millisecond
	if d > api.MaxWait {
		f.refuse("%s is %d, at most %d are allowed", field, ms, api.MaxWait/time.Millisecond)
	}
	return d
}

func (f *form) key(field, v string) {
	f.size(field, len(v), 1, api.MaxKeyBytes)
	if _, _, err := ledger.SplitKey(v); err != nil || !utf8.ValidString(v) {
		f.refuse("%s must be \"<contract>/<rest>\"", field)
	}
}

func (f *form) args(args []string) {
	f.count("args", len(args), api.MaxArgs)
	total := 0
	for _, a := range args {
		total += len(a)
	}
	f.size("args", total, 0, api.MaxArgsBytes)
}

// waitOf is how long a request asks to wait, cut to what is allowed: a longer
// one is refused by its handler.
func waitOf(msg any) time.Duration {
	var ms uint32
	switch m := msg.(type) {
	case *assentv1.SubmitRequest:
		return min(commitWait(m), api.MaxWait)
	case *assentv1.GetOutcomeRequest:
		ms = m.WaitMs
	case *assentv1.EvaluateRequest:
		ms = m.WaitMs
	case *assentv1.ProveRecordRequest:
		ms = m.WaitMs
	case *assentv1.ProveReceiptRequest:
		ms = m.WaitMs
	case *assentv1.AwaitAnswerRequest:
		ms = m.TimeoutMs
	}
	return min(time.Duration(ms)*time.Millisecond, api.MaxWait)
}

func commitWait(m *assentv1.SubmitRequest) time.Duration {
	switch {
	case m.Wait != assentv1.Wait_WAIT_COMMITTED:
		return 0
	case m.TimeoutMs == 0:
		return api.DefaultCommitWait
	}
	return time.Duration(m.TimeoutMs) * time.Millisecond
}

func hex0x(b []byte) string { return "0x" + hex.EncodeToString(b) }
