package ledger

import (
	"strings"
	"testing"
)

func TestShownKeysNameNoSubjectAndNothingThatMovesATerminal(t *testing.T) {
	for key, want := range map[string]string{
		"consent/rec/0a1b":                        "consent/rec/0a1b",
		"access/log/request/77":                   "access/log/request/77",
		"consent/ix/principal/0xabcdef/consent-1": "consent/ix/principal/…",
		"consent/ix/party/bank/Authorised/1/2":    "consent/ix/party/…",
		"access/ix/x":                             "access/ix/x",
		"":                                        "",
		"access/\x1b[2J":                          `"access/\x1b[2J"`,
		"access/a b":                              `"access/a b"`,
		"access/\u202eabc":                        `"access/\u202eabc"`,
		"access/\xff":                             `"access/\xff"`,
		"membership/ck/\x00a\x00":                 `"membership/ck/\x00a\x00"`,
	} {
		if got := ShownKey(key); got != want {
			t.Errorf("%q is shown as %s, want %s", key, got, want)
		}
	}
	if got := ShownKey("access/" + strings.Repeat("k", 5000)); len(got) > 2*maxShownKey {
		t.Errorf("%d bytes are shown", len(got))
	}
}
