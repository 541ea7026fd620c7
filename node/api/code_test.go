package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

func TestTableIsTheClosedList(t *testing.T) {
	seen := make(map[Code]bool)
	last := Code(-1)
	for _, e := range Entries() {
		if e.Code <= last {
			t.Errorf("%s stands out of numerical order", e.Code)
		}
		last = e.Code
		seen[e.Code] = true
		if !strings.HasPrefix(e.Code.String(), "CODE_") {
			t.Errorf("code %d is not in errors.proto", e.Code)
		}
		if len(e.Means) < 8 || strings.HasSuffix(e.Means, ".") {
			t.Errorf("%s: means %q, want a clause without full stop", e.Code, e.Means)
		}
		if len(e.Remedy) < 10 || !strings.HasSuffix(e.Remedy, ".") {
			t.Errorf("%s: remedy %q, want a sentence", e.Code, e.Remedy)
		}
		success := e.Code == assentv1.Code_CODE_OK || e.Code == assentv1.Code_CODE_PERMIT
		if (e.Connect == 0) != success {
			t.Errorf("%s: connect status %v", e.Code, e.Connect)
		}
		if e.Ledger && FromLedger(Name(e.Code)) != e.Code {
			t.Errorf("%s does not survive the way through its ledger name %q", e.Code, Name(e.Code))
		}
		if !e.Ledger && FromLedger(Name(e.Code)) != assentv1.Code_CODE_REFUSED {
			t.Errorf("%s is read from ledger outcomes, but no contract gives it", e.Code)
		}
		if !success && HTTPStatus(e.Code) < 400 {
			t.Errorf("%s: HTTP status %d", e.Code, HTTPStatus(e.Code))
		}
	}
	for n := range assentv1.Code_name {
		if c := Code(n); c != assentv1.Code_CODE_UNSPECIFIED && !seen[c] {
			t.Errorf("%s has no entry", c)
		}
	}
}

// The numbers are on disks and in other programs: this list only ever grows.
func TestNumbersAreNeverReused(t *testing.T) {
	fixed := map[string]Code{
		"BAD_REQUEST": 1, "TOKEN_EXPIRED": 5, "UNKNOWN_KEY": 8, "KEY_REVOKED": 9, "FORBIDDEN": 10, "NOT_FOUND": 11,
		"RATE_LIMITED": 13, "INTERNAL": 18, "NOT_COMMITTED": 19, "PROOF_TOO_OLD": 22, "BAD_SIGNATURE": 26,
		"ANSWER_PENDING": 27, "SLOW_CONSUMER": 30, "OK": 100, "DUPLICATE": 101, "ALREADY_EXISTS": 102, "WRONG_STATE": 103,
		"LIMIT_EXCEEDED": 104, "UNKNOWN_FUNCTION": 105, "READ_ONLY_FUNCTION": 106, "PANIC": 107, "REFUSED": 108,
		"PERMIT": 200, "CONSENT_REVOKED": 203, "USES_EXHAUSTED": 212, "NO_EPOCH": 214,
	}
	for name, c := range fixed {
		if got := Name(c); got != name {
			t.Errorf("code %d is now %s, was %s", c, got, name)
		}
	}
}

func TestEveryLedgerCodeIsKnown(t *testing.T) {
	for _, c := range record.Codes() {
		if got := FromLedger(string(c)); Name(got) != string(c) {
			t.Errorf("%s, which contracts give, reads as %s", c, got)
		}
	}
}

func TestUnknownCodesAreNotRetried(t *testing.T) {
	if e := Lookup(9999); e.Retryable || e.Remedy == "" || e.Connect == 0 {
		t.Errorf("unknown code reads as %+v", e)
	}
	if c := FromLedger("SOMETHING_NEWER"); c != assentv1.Code_CODE_REFUSED {
		t.Errorf("unknown ledger code reads as %s", c)
	}
}

func TestErrorCrossesTheWire(t *testing.T) {
	in := []*Error{
		Refuse(assentv1.Code_CODE_RATE_LIMITED, "client %s made %d calls", "0xab", 12),
		{Code: assentv1.Code_CODE_RATE_LIMITED, What: "too fast", RetryAfter: 1500 * time.Microsecond},
		{Code: assentv1.Code_CODE_FORBIDDEN, What: "auditor may not submit", Remedy: "Use an officer's key."},
		RefuseContract("WRONG_STATE", "consent c1 is Revoked"),
		RefuseContract("NEWER_CODE", "x"),
	}
	for _, e := range in {
		out := FromConnect(fmt.Errorf("call: %w", e.ToConnect()))
		if out.Code != e.Code || out.What != e.What || out.Contract != e.Contract || out.Advice() != e.Advice() {
			t.Errorf("sent %+v, received %+v", e, out)
		}
		if want := (e.RetryAfter + time.Millisecond - 1).Truncate(time.Millisecond); out.RetryAfter != want {
			t.Errorf("%s: retry after %s, want %s", e.Code, out.RetryAfter, want)
		}
		if !errors.Is(out, &Error{Code: e.Code}) || CodeOf(fmt.Errorf("x: %w", out)) != e.Code {
			t.Errorf("%s: errors.Is or CodeOf does not see the code", e.Code)
		}
		if !strings.Contains(out.Error(), Name(e.Code)) || !strings.Contains(out.Error(), e.Advice()) {
			t.Errorf("text %q lacks code or advice", out.Error())
		}
	}
}

func TestCauseStaysOnItsSide(t *testing.T) {
	secret := errors.New("disk /secret is full")
	e := &Error{Code: assentv1.Code_CODE_INTERNAL, Cause: secret}
	if !errors.Is(e, secret) {
		t.Error("the cause is lost on its own side")
	}
	if c := e.ToConnect(); strings.Contains(c.Error(), "secret") {
		t.Errorf("the cause crosses the wire: %v", c)
	}
}

func TestAnswersWithoutDetail(t *testing.T) {
	cases := []struct {
		err  error
		want Code
	}{
		{connect.NewError(connect.CodeUnavailable, errors.New("refused")), assentv1.Code_CODE_NOT_READY},
		{connect.NewError(connect.CodeUnauthenticated, errors.New("?")), assentv1.Code_CODE_TOKEN_INVALID},
		{connect.NewError(connect.CodeDataLoss, errors.New("?")), assentv1.Code_CODE_INTERNAL},
		{errors.New("plain"), assentv1.Code_CODE_INTERNAL},
		{Refuse(assentv1.Code_CODE_PRUNED, "block 3"), assentv1.Code_CODE_PRUNED},
	}
	for _, c := range cases {
		if got := FromConnect(c.err); got.Code != c.want {
			t.Errorf("%v reads as %s, want %s", c.err, got.Code, c.want)
		}
	}
	if FromConnect(nil) != nil {
		t.Error("no error reads as one")
	}
}
