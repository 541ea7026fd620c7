package vault

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzSubject reads canonical identifiers as sealed parts bring them.
func FuzzSubject(f *testing.F) {
	f.Add("cn:110101199001011234")
	f.Add(" x")
	f.Add("a\x00b")
	f.Add("int")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseSubject(s); err == nil {
			if string(id) != s || s == "" || len(s) > MaxSubjectBytes || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n\r\t") {
				t.Fatalf("%q is taken", s)
			}
		} else if len(s) > 3 && strings.Contains(err.Error(), s) && !strings.Contains("vault: empty subject identifier of bytes, at most is not UTF-8 begins or ends with a space holds control character", strings.TrimSpace(s)) {
			t.Fatalf("the error quotes the identifier: %v", err)
		}
		if typ, err := ParseType(s); err == nil && !strings.EqualFold(typ.String(), s) {
			t.Fatalf("%q is type %s", s, typ)
		}
	})
}
