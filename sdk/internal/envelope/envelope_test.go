package envelope

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/keystore"
)

const password = "a password"

// sealed is an envelope as a file holds it, with light parameters.
func sealed(t testing.TB, content string) string {
	c, err := keystore.EncryptDataV3([]byte(content), []byte(password), 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func open(text, password string) ([]byte, error) {
	var c keystore.CryptoJSON
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return nil, err
	}
	return Open(c, password)
}

// Each of these made the library panic or take all memory there is.
func TestWhatTheLibraryWouldBelieveIsRefused(t *testing.T) {
	good := sealed(t, "secret")
	if got, err := open(good, password); err != nil || string(got) != "secret" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := open(good, "another"); !errors.Is(err, ErrPassword) {
		t.Errorf("another password: %v", err)
	}
	for name, change := range map[string][2]string{
		"no salt":                 {`"salt":"`, `"pepper":"`},
		"a salt that is a number": {`"salt":"`, `"salt":7,"x":"`},
		"no dklen":                {`"dklen":32`, `"x":32`},
		"a short key":             {`"dklen":32`, `"dklen":8`},
		"a huge key":              {`"dklen":32`, `"dklen":1099511627776`},
		"n is a text":             {`"n":2`, `"n":"2"`},
		"all memory":              {`"n":2`, `"n":1073741824`},
		"n is odd":                {`"n":2`, `"n":3`},
		"r":                       {`"r":8`, `"r":1000000`},
		"p":                       {`"p":1`, `"p":1000000`},
		"a fraction":              {`"p":1`, `"p":1.5`},
		"a short iv":              {`"iv":"`, `"iv":"00","x":"`},
		"another cipher":          {`aes-128-ctr`, `aes-128-cbc`},
		"another derivation":      {`"kdf":"scrypt"`, `"kdf":"md5"`},
		"too many rounds":         {`"kdf":"scrypt"`, `"kdf":"pbkdf2"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%s changes nothing in %s", name, good)
		}
		if got, err := open(bad, password); err == nil || errors.Is(err, ErrPassword) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// FuzzOpen: whatever stands in a file, it is refused or opened.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(sealed(f, "secret")))
	f.Add([]byte(`{"cipher":"aes-128-ctr","kdf":"pbkdf2","kdfparams":{"prf":"hmac-sha256","c":1,"dklen":32,"salt":"00"},"mac":"00"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c keystore.CryptoJSON
		if json.Unmarshal(b, &c) != nil {
			return
		}
		if n, _ := c.KDFParams["n"].(float64); n > 1<<10 {
			_ = check(&c) // opening it would take long, which is not what is looked for
			return
		}
		if rounds, _ := c.KDFParams["c"].(float64); rounds > 1<<10 {
			_ = check(&c)
			return
		}
		_, _ = Open(c, password)
	})
}
