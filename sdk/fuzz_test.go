package sdk

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"
)

// FuzzKeyFile reads key files that somebody else may have written: an error, or
// the key that is in it. It never panics and never costs more than a key of ours.
func FuzzKeyFile(f *testing.F) {
	private, err := crypto.GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	good, err := keystore.EncryptKey(&keystore.Key{Address: crypto.PubkeyToAddress(private.PublicKey), PrivateKey: private}, "x", 2, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":3,"crypto":{"cipher":"aes-128-ctr","kdf":"scrypt","kdfparams":{}}}`))
	f.Add([]byte(`{"version":"1","crypto":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), `"n"`) && !strings.Contains(string(b), `"n":2,`) {
			return // trying it would take long, which envelope's own target leaves out too
		}
		if key, err := parseKeyFile(b, "x"); err == nil && key == nil {
			t.Fatal("no key and no error")
		}
	})
}

// FuzzEndpoint reads what a profile names as a node: what is taken is https, or
// this very machine, and a pin in it is used.
func FuzzEndpoint(f *testing.F) {
	f.Add("https://node.bank.example:7443#sha256=" + strings.Repeat("ab", 32))
	f.Add("http://localhost:1")
	f.Add("http://10.0.0.1:1#0x")
	f.Fuzz(func(t *testing.T, raw string) {
		e, err := openEndpoint(raw, &settings{})
		if err != nil {
			return
		}
		defer e.base.CloseIdleConnections()
		switch {
		case strings.HasPrefix(e.url, "https://"):
		case strings.HasPrefix(e.url, "http://localhost"), strings.HasPrefix(e.url, "http://127."), strings.HasPrefix(e.url, "http://["):
		default:
			t.Fatalf("%q is dialled as %s", raw, e.url)
		}
		if strings.Contains(e.url, "#") {
			t.Fatalf("%q keeps its pin in the URL: %s", raw, e.url)
		}
	})
}

// FuzzWords reads the small texts that applications keep and pass on: what is read
// is written the same.
func FuzzWords(f *testing.F) {
	f.Add("120.3")
	f.Add("7")
	f.Add("-1.0")
	f.Add("18446744073709551615.4294967295")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseCheckpoint(s); err == nil {
			if again, err := ParseCheckpoint(c.String()); err != nil || again != c {
				t.Fatalf("%q reads as %s, and that as %s (%v)", s, c, again, err)
			}
		}
		if tx, err := ParseTransaction([]byte(s)); err == nil && tx == nil {
			t.Fatal("no transaction and no error")
		}
	})
}

// FuzzConfig reads a configuration that somebody proposes: what is taken is
// written back with the same meaning.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"network":"n","members":[],"validators":[]}`))
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err != nil {
			return
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseConfig(text); err != nil || again.Hash() != c.Hash() {
			t.Fatalf("%s is another config when read again (%v)", text, err)
		}
	})
}

// FuzzCardKey reads the data key of a node's card.
func FuzzCardKey(f *testing.F) {
	f.Add("k1", "0x"+strings.Repeat("07", 32))
	f.Fuzz(func(t *testing.T, id, key string) {
		c := &NodeCard{DataKeyID: DataKeyID(id), DataKey: key}
		if spec, ok, err := c.DataKeySpec(time.UnixMilli(1_800_000_000_000)); err == nil && ok && len(spec.PublicKey) != 32 {
			t.Fatalf("a key of %d bytes", len(spec.PublicKey))
		}
	})
}
