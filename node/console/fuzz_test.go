package console

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzReadable shows any argument that a transaction may have.
func FuzzReadable(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, "\xff\x00", "", strings.Repeat("[", 20_000), `"` + strings.Repeat("x", maxArgument) + `"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if out := readable(b); len(b) > maxArgument && len(out) > maxArgument+8 {
			t.Errorf("%d bytes are shown as %d", len(b), len(out))
		}
	})
}

// FuzzOwnPath follows any link to the sign-in: it leads to these pages.
func FuzzOwnPath(f *testing.F) {
	for _, s := range []string{"", "/console/blocks?from=1", "//evil.example/console/", `/console/\\evil.example`, "https://evil.example/console/", "/console/%2f%2fevil", "\t//x"} {
		f.Add(s)
	}
	base, err := url.Parse("https://node.example:7443/console/sign-in")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		to, err := base.Parse(ownPath(next))
		if err != nil || to.Host != base.Host || to.Scheme != "https" {
			t.Errorf("next=%q leads to %v (%v)", next, to, err)
		}
	})
}

// FuzzPlace goes on in a list from anywhere: what passes is a time and an id.
func FuzzPlace(f *testing.F) {
	f.Add("0001800000000000/0xab")
	f.Add("../../membership/client")
	f.Fuzz(func(t *testing.T, place string) {
		if checkPlace(place) && place != "" && (len(place) < 17 || place[16] != '/' || strings.Count(place, "/") != 1) {
			t.Errorf("%q passes", place)
		}
	})
}
