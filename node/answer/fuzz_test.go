package answer

import (
	"bytes"
	"testing"
)

// FuzzKeys reads keys that come from others: of 32 bytes, or an error.
func FuzzKeys(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := ParsePublicKey(b); err == nil && !bytes.Equal(k.Bytes(), b) {
			t.Fatalf("%x is taken for %x", b, k.Bytes())
		}
		if _, err := ParsePrivateKey(b); err == nil && len(b) != 32 {
			t.Fatalf("a private key of %d bytes", len(b))
		}
	})
}
