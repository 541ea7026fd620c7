package keys

import (
	"strings"
	"testing"
)

// FuzzSource reads where a password is: what is refused is not quoted, for it may
// be the password.
func FuzzSource(f *testing.F) {
	for _, s := range []string{"file:pw", "env:X", "prompt", "my-password", "file:", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseSource(s, nil)
		if (err == nil) != (p != nil) {
			t.Fatalf("%v and %v", p != nil, err)
		}
		if err != nil && len(s) > 8 && strings.Contains(err.Error(), s) && !strings.Contains("password source: want \"file:<path>\", \"env:<variable>\" or \"prompt\"", s) {
			t.Fatalf("the error quotes %q", s)
		}
	})
}
