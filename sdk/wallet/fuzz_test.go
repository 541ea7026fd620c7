package wallet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzFile reads wallet files, and their content once it is decrypted: an error,
// or a wallet with its key. A file that somebody else wrote never panics.
func FuzzFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "wallet.json")
	if _, err := CreateCheap(path, "x"); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := decrypt(good, "x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, plain)
	f.Add([]byte(`{"kind":"assent-wallet","version":1,"crypto":{"cipher":"aes-128-ctr"}}`), []byte(`{"walletKey":"00","consents":[{}]}`))
	f.Fuzz(func(t *testing.T, b, plain []byte) {
		var head file
		if json.Unmarshal(b, &head) == nil {
			if n, _ := head.Crypto.KDFParams["n"].(float64); n <= 2 {
				if content, err := decrypt(b, "x"); err == nil {
					_, _ = load(content)
				}
			}
		}
		if w, err := load(plain); err == nil && w.key == nil {
			t.Fatal("a wallet without a key")
		}
	})
}

// FuzzSignature reads the text of a signature: one text each.
func FuzzSignature(f *testing.F) {
	f.Add([]byte("0x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Signature
		if s.UnmarshalText(text) != nil {
			return
		}
		again, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var twice Signature
		if err := twice.UnmarshalText(again); err != nil || twice != s {
			t.Fatalf("%q is written back as %q", text, again)
		}
	})
}
