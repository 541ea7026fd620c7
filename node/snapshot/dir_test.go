package snapshot

import (
	"os"
	"path/filepath"
	"testing"
)

// A crash in the midst of Remove leaves a snapshot whole or none, never a manifest
// whose chunks are gone; the next Keep clears what is left.
func TestASnapshotIsRemovedInOneStep(t *testing.T) {
	d := Open(filepath.Join(t.TempDir(), "snapshots"))
	if err := d.Remove(7); err != nil {
		t.Fatalf("none is there: %v", err)
	}
	folder := d.path(7)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{manifestFile, dataFile} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time over what the first has left
		gone, err := d.retire(7)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Heights(); err != nil || len(got) != 0 {
			t.Errorf("after the step: %v, %v", got, err)
		}
		if err := os.MkdirAll(gone, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Keep(0); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(d.root); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
