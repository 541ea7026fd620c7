package ledger_test

import (
	"encoding"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// FuzzTexts reads signatures and host keys in their text form, as genesis files and
// proposals hold them: each has one text.
func FuzzTexts(f *testing.F) {
	f.Add([]byte("0x028bfd53c3759626112cb0da7c0f8f43540f4a2b644c5a69d849efbd216e0667e9"))
	f.Add([]byte("0x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, pair := range [][2]interface {
			encoding.TextMarshaler
			encoding.TextUnmarshaler
		}{{new(ledger.Signature), new(ledger.Signature)}, {new(ledger.HostKey), new(ledger.HostKey)}} {
			if pair[0].UnmarshalText(text) != nil {
				continue
			}
			again, err := pair[0].MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			if err := pair[1].UnmarshalText(again); err != nil {
				t.Fatalf("%q is written as %q, which is refused: %v", text, again, err)
			}
			if last, err := pair[1].MarshalText(); err != nil || string(last) != string(again) {
				t.Fatalf("%q is written as %q and %q (%v)", text, again, last, err)
			}
		}
	})
}
