package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/query/exposure"
)

// chainSteps stands for the real ceremony, which takes a minute: a contribution
// names its phase and place, and a chain must count from one.
type chainSteps struct{}

func counts(phase string, chain [][]byte) error {
	for i, b := range chain {
		if string(b) != fmt.Sprint(phase, i+1) {
			return fmt.Errorf("%w: contribution %d of phase %s", exposure.ErrCeremony, i+1, phase)
		}
	}
	return nil
}

func (chainSteps) ContributeOne(one [][]byte) ([]byte, error) {
	return fmt.Append(nil, "one", len(one)+1), counts("one", one)
}

func (s chainSteps) ContributeTwo(one [][]byte, beacon []byte, two [][]byte) ([]byte, error) {
	return fmt.Append(nil, "two", len(two)+1), s.CheckTwo(one, beacon, two)
}

func (chainSteps) CheckOne(one [][]byte) error { return counts("one", one) }

func (chainSteps) CheckTwo(one [][]byte, beacon []byte, two [][]byte) error {
	if len(beacon) < exposure.MinBeacon {
		return exposure.ErrCeremony
	}
	return errors.Join(counts("one", one), counts("two", two))
}

func (s chainSteps) Keys(one [][]byte, beaconOne []byte, two [][]byte, _ []byte) (*exposure.KeySet, error) {
	return nil, errors.Join(s.CheckTwo(one, beaconOne, two), errors.New("all was in place"))
}

// A folder goes through the steps of a ceremony in their order and no other.
func TestACeremonysFolderKeepsTheOrderOfSteps(t *testing.T) {
	dir := t.TempDir()
	beacon := bytes.Repeat([]byte{7}, 32)
	reopen := func() *transcript {
		t.Helper()
		tr, err := openTranscript(dir)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	contribute := func(want string) {
		t.Helper()
		name, _, err := reopen().contribute(chainSteps{})
		if err != nil || name != want {
			t.Fatalf("%q, %v; want %s", name, err, want)
		}
	}
	refused := func(err error, word string) {
		t.Helper()
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), word) {
			t.Errorf("%v; want a refusal with %q", err, word)
		}
	}
	refused(reopen().close(chainSteps{}, beacon), "nobody contributed")
	contribute("1-001.bin")
	contribute("1-002.bin")
	_, err := reopen().keys(chainSteps{}, beacon, t.TempDir())
	refused(err, "not at its end")
	if err := reopen().close(chainSteps{}, beacon); err != nil {
		t.Fatal(err)
	}
	refused(reopen().close(chainSteps{}, beacon), "closed already")
	_, err = reopen().keys(chainSteps{}, beacon, t.TempDir())
	refused(err, "not at its end")
	contribute("2-001.bin")
	contribute("2-002.bin")
	if err := reopen().check(chainSteps{}); err != nil {
		t.Error(err)
	}
	if _, err := reopen().keys(chainSteps{}, beacon, t.TempDir()); err == nil || err.Error() != "all was in place" {
		t.Errorf("keys: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "1-002.bin"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := reopen().check(chainSteps{}); !errors.Is(err, exposure.ErrCeremony) {
		t.Errorf("a changed contribution: %v", err)
	}
	if _, _, err := reopen().contribute(chainSteps{}); !errors.Is(err, exposure.ErrCeremony) {
		t.Errorf("built on a changed contribution: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "beacon-1")); err != nil {
		t.Fatal(err)
	}
	_, err = openTranscript(dir)
	refused(err, "copy the whole folder")
	refused(writeNew(filepath.Join(dir, "2-001.bin"), nil), "never replaced")
	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
