package testnet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestManifestsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		``:                                       "EOF",
		`{`:                                      "unexpected EOF",
		`{"members":[]}`:                         "no member has a validator",
		`{"membres":[]}`:                         `unknown field "membres"`,
		`{"members":[]} 1`:                       "something stands after the object",
		`{"members":[{"id":"a","validator":4}]}`: `unknown field "validator"`,
		`{"members":[{"id":"a","validators":33}]}`: "at most 32 nodes",
	} {
		path := filepath.Join(t.TempDir(), "manifest.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadManifest(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// What cannot be founded leaves nothing behind, so that the next try is not
// refused for it.
func TestANetworkThatCannotBeMadeLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	for range 2 {
		_, err := Create(context.Background(), dir, filepath.Join(t.TempDir(), "no-program"), DefaultManifest())
		if err == nil || !strings.Contains(err.Error(), "no-program") {
			t.Fatalf("%v", err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	if _, err := Load(dir); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
}

// A network is found again from any directory, and so is its program.
func TestANetworkKnowsItsProgramByItsWholePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	_, err := Create(context.Background(), "net", "net.bin/assentd", DefaultManifest())
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "net.bin", "assentd")) {
		t.Errorf("%v, want that it names the program by its whole path", err)
	}
}
