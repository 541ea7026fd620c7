package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/query/exposure"
)

// ceremonySteps is what the commands need of exposure.Ceremony.
type ceremonySteps interface {
	ContributeOne(before [][]byte) ([]byte, error)
	ContributeTwo(one [][]byte, beacon []byte, before [][]byte) ([]byte, error)
	CheckOne(one [][]byte) error
	CheckTwo(one [][]byte, beacon []byte, two [][]byte) error
	Keys(one [][]byte, beaconOne []byte, two [][]byte, beaconTwo []byte) (*exposure.KeySet, error)
}

// maxContribution bounds what is read of a contribution's file, maxContributions
// their number in a phase.
const (
	maxContribution  = 16 << 20
	maxContributions = 200
)

// transcript is a ceremony's folder, which members hand from one to the next:
// 1-001.bin … of phase one, beacon-1 in hex when it is closed, 2-001.bin … of phase
// two. Files are added, never replaced.
type transcript struct {
	dir    string
	one    [][]byte
	beacon []byte // closes phase one; nil: it is open
	two    [][]byte
}

func openTranscript(dir string) (*transcript, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, usageError{fmt.Errorf("%s is no folder: make an empty one for a new ceremony, or copy the one so far", dir)}
	}
	t := &transcript{dir: dir}
	var err error
	if t.one, err = readPhase(dir, 1); err != nil {
		return nil, err
	}
	if t.two, err = readPhase(dir, 2); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "beacon-1"))
	if errors.Is(err, fs.ErrNotExist) {
		if len(t.two) > 0 {
			return nil, usageError{fmt.Errorf("%s has contributions to phase 2 and no beacon-1: copy the whole folder", dir)}
		}
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read beacon-1: %w", err)
	}
	t.beacon, err = parseBeacon(strings.TrimSpace(string(b)))
	return t, err
}

func contributionName(phase, n int) string { return fmt.Sprintf("%d-%03d.bin", phase, n) }

func readPhase(dir string, phase int) ([][]byte, error) {
	var out [][]byte
	for n := 1; n <= maxContributions; n++ {
		path := filepath.Join(dir, contributionName(phase, n))
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look at contribution: %w", err)
		}
		if info.Size() > maxContribution {
			return nil, usageError{fmt.Errorf("%s has %d bytes, at most %d: this is no contribution", path, info.Size(), maxContribution)}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read contribution: %w", err)
		}
		out = append(out, b)
	}
	return nil, usageError{fmt.Errorf("%s has more than %d contributions to phase %d", dir, maxContributions-1, phase)}
}

// parseBeacon reads a beacon, in hex.
func parseBeacon(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) < exposure.MinBeacon || len(b) > 1024 {
		return nil, usageError{fmt.Errorf("%.80q is no beacon: at least %d bytes in hex that nobody could know before the last contribution, such as the hash of a block whose height was agreed on beforehand", s, exposure.MinBeacon)}
	}
	return b, nil
}

// contribute adds this machine's randomness to the phase that is open, and returns
// the new file's name and hash.
func (t *transcript) contribute(c ceremonySteps) (string, []byte, error) {
	phase, chain := 1, t.one
	step := func() ([]byte, error) { return c.ContributeOne(t.one) }
	if t.beacon != nil {
		phase, chain = 2, t.two
		step = func() ([]byte, error) { return c.ContributeTwo(t.one, t.beacon, t.two) }
	}
	b, err := step()
	if err != nil {
		return "", nil, err
	}
	name := contributionName(phase, len(chain)+1)
	return name, b, writeNew(filepath.Join(t.dir, name), b)
}

// close checks phase one and ends it with a beacon.
func (t *transcript) close(c ceremonySteps, beacon []byte) error {
	switch {
	case t.beacon != nil:
		return usageError{errors.New("phase 1 is closed already: contribute to phase 2, or make the keys")}
	case len(t.one) == 0:
		return usageError{errors.New("nobody contributed to phase 1: begin with assent exposure ceremony contribute")}
	}
	if err := c.CheckOne(t.one); err != nil {
		return err
	}
	return writeNew(filepath.Join(t.dir, "beacon-1"), []byte(hex.EncodeToString(beacon)+"\n"))
}

// check checks every contribution.
func (t *transcript) check(c ceremonySteps) error {
	if t.beacon == nil {
		return c.CheckOne(t.one)
	}
	return c.CheckTwo(t.one, t.beacon, t.two)
}

// keys computes the keys and writes them to out.
func (t *transcript) keys(c ceremonySteps, beacon []byte, out string) (*exposure.KeySet, error) {
	if t.beacon == nil || len(t.two) == 0 {
		return nil, usageError{errors.New("the ceremony is not at its end: keys come after contributions to phase 2")}
	}
	set, err := c.Keys(t.one, t.beacon, t.two, beacon)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("make folder of keys: %w", err)
	}
	for i, s := range exposure.Statements() {
		for name, key := range map[string]io.WriterTo{string(s) + ".prove": set.Proving[i], string(s) + ".verify": set.Verifying[i]} {
			var b bytes.Buffer
			if _, err := key.WriteTo(&b); err != nil {
				return nil, err
			}
			if err := writeNew(filepath.Join(out, name), b.Bytes()); err != nil {
				return nil, err
			}
		}
	}
	return set, nil
}

// writeNew writes a file that must not exist yet, whole or not at all.
func writeNew(path string, b []byte) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return usageError{fmt.Errorf("%s exists and is never replaced", path)}
	}
	if err := durable.WriteFile(path, b); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Chmod(path, 0o644) // it is public, and others contribute after it
}

func (a *app) exposureCmd() *cobra.Command {
	steps := func() ceremonySteps { return exposure.NewCeremony() }
	ceremony := group("ceremony", "Make the keys of range and threshold proofs so that nobody can forge one, if one contributor is honest",
		a.ceremonyContributeCmd(steps), a.ceremonyCloseCmd(steps), a.ceremonyStatusCmd(steps), a.ceremonyKeysCmd(steps))
	return group("exposure", "One subject's total over several banks", a.exposureAskCmd(), a.exposureShowCmd(), a.exposureHistoryCmd(), ceremony)
}

func (a *app) ceremonyContributeCmd(steps func() ceremonySteps) *cobra.Command {
	return leaf("contribute DIR", "Add this machine's randomness, which is forgotten, to the phase that is open", func(_ *cobra.Command, args []string) error {
		t, err := openTranscript(args[0])
		if err != nil {
			return err
		}
		name, b, err := t.contribute(steps())
		if err != nil {
			return err
		}
		return a.showContributions([]contribution{describeContribution(name, b)})
	})
}

func (a *app) ceremonyCloseCmd(steps func() ceremonySteps) *cobra.Command {
	var beacon string
	c := leaf("close DIR", "Close phase 1 with a public beacon", func(_ *cobra.Command, args []string) error {
		b, err := parseBeacon(beacon)
		if err != nil {
			return err
		}
		t, err := openTranscript(args[0])
		if err != nil {
			return err
		}
		if err := t.close(steps(), b); err != nil {
			return err
		}
		return a.show(map[string]string{"beacon": hex.EncodeToString(b)}, func(w io.Writer) { fmt.Fprintln(w, "phase 1 is closed") })
	})
	c.Flags().StringVar(&beacon, "beacon", "", "32 bytes or more, in hex, that nobody knew before the last contribution")
	return c
}

func (a *app) ceremonyStatusCmd(steps func() ceremonySteps) *cobra.Command {
	return leaf("status DIR", "Check every contribution and list them: each member looks for the hash of its own", func(_ *cobra.Command, args []string) error {
		t, err := openTranscript(args[0])
		if err != nil {
			return err
		}
		if err := t.check(steps()); err != nil {
			return err
		}
		list := []contribution{}
		for phase, chain := range [][][]byte{t.one, t.two} {
			for i, b := range chain {
				list = append(list, describeContribution(contributionName(phase+1, i+1), b))
			}
		}
		return a.showContributions(list)
	})
}

func (a *app) ceremonyKeysCmd(steps func() ceremonySteps) *cobra.Command {
	var beacon, out string
	c := leaf("keys DIR", "Check the whole ceremony and compute its keys: everybody gets the same", func(_ *cobra.Command, args []string) error {
		b, err := parseBeacon(beacon)
		if err != nil {
			return err
		}
		if out == "" {
			return usageError{errors.New("--out: name the folder for the keys")}
		}
		t, err := openTranscript(args[0])
		if err != nil {
			return err
		}
		set, err := t.keys(steps(), b, out)
		if err != nil {
			return err
		}
		name := set.Fingerprint()
		return a.show(map[string]string{"fingerprint": hex.EncodeToString(name[:]), "folder": out}, func(w io.Writer) {
			fmt.Fprintf(w, "keys\t%s\nfingerprint\t%x\n", out, name)
			fmt.Fprintln(w, "Compare the fingerprint with every other member before using them.")
		})
	})
	c.Flags().StringVar(&beacon, "beacon", "", "the beacon that closes phase 2, another than phase 1's")
	c.Flags().StringVar(&out, "out", "", "folder for the four key files")
	return c
}

// contribution is one file of a transcript, as it is shown.
type contribution struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

func describeContribution(name string, b []byte) contribution {
	return contribution{name, fmt.Sprintf("%x", sha256.Sum256(b))}
}

func (a *app) showContributions(list []contribution) error {
	return a.show(list, func(w io.Writer) {
		for _, c := range list {
			fmt.Fprintf(w, "%s\t%s\n", c.File, c.SHA256)
		}
	})
}
