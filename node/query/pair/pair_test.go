package pair

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func key(t *testing.T, seed byte) (private, public []byte) {
	t.Helper()
	private = bytes.Repeat([]byte{seed}, 32)
	k, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, k.PublicKey().Bytes()
}

func TestBothBanksDeriveTheSame(t *testing.T) {
	a, pubA := key(t, 1)
	b, pubB := key(t, 2)
	_, pubC := key(t, 3)
	one, err1 := New(a, pubB)
	two, err2 := New(b, pubA)
	third, err3 := New(a, pubC)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	want := one.Derive([]byte("session"), "mask", 128)
	if got := two.Derive([]byte("session"), "mask", 128); len(want) != 128 || !bytes.Equal(want, got) {
		t.Errorf("the two banks derive different bytes: %x and %x", want, got)
	}
	for name, other := range map[string][]byte{
		"another session": one.Derive([]byte("sessioN"), "mask", 128),
		"another purpose": one.Derive([]byte("session"), "seed", 128),
		"another pair":    third.Derive([]byte("session"), "mask", 128),
	} {
		if bytes.Equal(want, other) {
			t.Errorf("%s derives the same bytes", name)
		}
	}
	// A shared point that was opened gives what its two banks derive.
	if got := Shared(one.z).Derive([]byte("session"), "mask", 128); !bytes.Equal(want, got) {
		t.Error("an opened secret derives other bytes")
	}
}

// The pair of RFC 7748, section 6.1, and HKDF over what it shares.
func TestSecretIsX25519(t *testing.T) {
	var in [3][]byte
	for i, text := range []string{
		"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
		"de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
		"4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
	} {
		var err error
		if in[i], err = hex.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(in[0], in[1])
	if err != nil || !bytes.Equal(s.z[:], in[2]) {
		t.Fatalf("another shared secret than the standard's: %v", err)
	}
	want, err := hkdf.Key(sha256.New, in[2], []byte{1}, "info", 40)
	if got := s.Derive([]byte{1}, "info", 40); err != nil || !bytes.Equal(got, want) {
		t.Errorf("derived %x, want %x (%v)", got, want, err)
	}
}

func TestKeysThatShareNothingAreRefused(t *testing.T) {
	private, public := key(t, 1)
	for name, keys := range map[string][2][]byte{
		"a key of small order": {private, make([]byte, 32)},
		"no own key":           {nil, public},
		"no peer's key":        {private, nil},
		"a longer key":         {private, append(bytes.Clone(public), 0)},
	} {
		if _, err := New(keys[0], keys[1]); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
}

func TestSecretsDoNotPrintThemselves(t *testing.T) {
	private, _ := key(t, 1)
	_, public := key(t, 2)
	s, err := New(private, public)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("", "s", s)
	if !strings.Contains(logged.String(), `"s":"[pair secret]"`) {
		t.Errorf("logged: %s", logged.String())
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%x", s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s)} {
		if text != "[pair secret]" {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestAmongLeavesTheOwnSeatEmpty(t *testing.T) {
	private, own := key(t, 1)
	b, pubB := key(t, 2)
	_, pubC := key(t, 3)
	key, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Among(key, 1, [][]byte{pubB, own, pubC})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := New(b, own)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != theirs || got[1] != (Secret{}) || got[2] == (Secret{}) || got[2] == got[0] {
		t.Error("want the secret with each other bank at its seat, and none at the own one")
	}
	_, err = Among(key, 1, [][]byte{pubB, own, make([]byte, 32)})
	if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "seat 2") {
		t.Errorf("a key of small order at seat 2: %v", err)
	}
}
