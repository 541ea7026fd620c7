package scan

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

func TestScanFindsEveryDisguise(t *testing.T) {
	const value = "911234199001017890"
	n := New()
	if err := n.Add("identity number", value); err != nil {
		t.Fatal(err)
	}
	sha := sha256.Sum256([]byte(value))
	kec := crypto.Keccak256([]byte(value))
	for name, text := range map[string]string{
		"raw":            `{"id":"` + value + `"}`,
		"hex":            hex.EncodeToString([]byte(value)),
		"upper hex":      strings.ToUpper(hex.EncodeToString(sha[:])),
		"base64":         base64.StdEncoding.EncodeToString([]byte(value)),
		"base64 inside":  base64.StdEncoding.EncodeToString([]byte("x" + value + "tail")),
		"base64 inside2": base64.URLEncoding.EncodeToString([]byte("xy" + value + "tail")),
		"sha256":         "..." + string(sha[:]),
		"keccak hex":     "0x" + hex.EncodeToString(kec),
		"keccak base64":  base64.StdEncoding.EncodeToString(kec),
	} {
		if k, _ := n.Count([]byte(text)); k == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	if k, what := n.Count([]byte("911234199001017891 and other text, 0x1234")); k != 0 {
		t.Errorf("another value counts as %s", what)
	}
	if err := n.Add("name", "short"); err == nil {
		t.Error("a value of five bytes is accepted")
	}
}
