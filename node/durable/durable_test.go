package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/assent-network/assent/node/durable"
)

func TestAFileIsReplacedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, text := range []string{"the first text", "new"} {
		if err := durable.WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%q %v, expected %q", b, err, text)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v: others may read it", fi.Mode(), err)
	}
	only(t, dir, "a")
}

func TestAWriteThatFailsLeavesTheOldFileAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "a"), nil); err == nil {
		t.Error("a directory was replaced by a file")
	}
	only(t, dir, "a")
	if err := durable.WriteFile(filepath.Join(dir, "gone", "a"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
	if err := durable.SyncDir(filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there was synced: %v", err)
	}
}

func TestWhatAPersonAskedForIsWrittenWhereTheyAsked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, perm := range []os.FileMode{0o640, 0o600} { // those of the first time stay
		if err := durable.Output(path, []byte("text"), perm); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
	}
	only(t, dir, "a")

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := durable.Output(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "new" {
		t.Errorf("behind the link: %q, %v", b, err)
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if err := durable.Output(os.DevNull, []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(os.DevNull); err != nil || fi.Mode().IsRegular() {
		t.Errorf("a device became %v, %v", fi.Mode(), err)
	}
	for _, to := range []string{dir, filepath.Join(dir, "gone", "a")} {
		if durable.Output(to, nil, 0o600) == nil {
			t.Errorf("written to %s", to)
		}
	}
}

func only(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("%v %v, expected %s alone", entries, err, name)
	}
}
