package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
)

// damages are what a bad disk does to a node's files while it is down. What must
// hold: the node repairs what a crash may leave, or says that the files are
// damaged, and after what it advises is as good as new; it never goes on from
// wrong bytes, and the others do not notice.
var damages = slices.Concat(
	damaged("wal", "the ordering log"), damaged("blocks", "the block store"), damaged("state", "the state"))

func damaged(part, words string) []scenario {
	var out []scenario
	for _, how := range []struct {
		name, words string
		do          func(p *play, b []byte) []byte
	}{
		{"torn", "has lost some bytes at the end", func(p *play, b []byte) []byte { return b[:max(0, len(b)-1-p.rng.IntN(40))] }},
		{"truncated", "has lost half of its newest file", func(_ *play, b []byte) []byte { return b[:len(b)/2] }},
		{"flipped", "has wrong bits in its newest file", func(p *play, b []byte) []byte {
			for range 3 {
				b[p.rng.IntN(len(b))] ^= byte(1 << p.rng.IntN(8))
			}
			return b
		}},
	} {
		out = append(out, scenario{
			name: how.name + "-" + part, about: "after a kill -9 " + words + " of a validator " + how.words,
			disturb: func(ctx context.Context, p *play) error { return damage(ctx, p, part, how.do) },
		})
	}
	return out
}

func damage(ctx context.Context, p *play, part string, do func(*play, []byte) []byte) error {
	x, err := p.follower(ctx)
	if err != nil {
		return err
	}
	p.spare(x)
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	p.kill(x)
	path, err := newest(filepath.Join(x.DataDir(), part))
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("%s is empty: nothing to damage", path)
	}
	if err := os.WriteFile(path, do(p, b), 0o600); err != nil {
		return err
	}
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	found := p.verify(ctx, x)
	if found == nil || part == "wal" { // without its log it starts, and observes
		found = p.tryStart(ctx, x)
	}
	if found == nil {
		return nil // what was damaged was not needed, or the node has repaired it
	}
	fmt.Fprintf(os.Stderr, "  %s: %v\n", filepath.Base(path), found)
	p.kill(x)
	if err := p.remedy(ctx, x, part); err != nil {
		return fmt.Errorf("remedy for %q: %w", found, err)
	}
	if err := p.again(ctx, x); err != nil {
		return fmt.Errorf("after the remedy for %q: %w", found, err)
	}
	return p.flows(ctx, 1, x)
}

// newest is the data file of a part that was written last.
func newest(dir string) (path string, err error) {
	var when time.Time
	err = filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch filepath.Ext(at) {
		case ".log", ".ldb", ".wal":
			if info.Size() > 0 && !info.ModTime().Before(when) {
				path, when = at, info.ModTime()
			}
		}
		return nil
	})
	if err == nil && path == "" {
		err = fmt.Errorf("%s holds no data", dir)
	}
	return path, err
}

// verify has the operator's program look at a stopped node's files; the error is
// what it says.
func (p *play) verify(ctx context.Context, x *testnet.Node) error {
	out, err := exec.CommandContext(ctx, p.net.Program, "verify", "--home", x.Home).CombinedOutput()
	if err != nil {
		return errors.New("verify: " + strings.TrimSpace(string(out)))
	}
	return nil
}

// tryStart starts a node; the error is why it ended, if it did.
func (p *play) tryStart(ctx context.Context, x *testnet.Node) error {
	if err := p.again(ctx, x); err != nil {
		return err
	}
	since := p.load.history.Now()
	return p.within(ctx, settleLimit, x.Name+" serves", func() error {
		if !x.Running() {
			return nil // said below
		}
		if p.load.history.Acked(x.Name, since) < warm {
			return errors.New("its clients are not served")
		}
		return nil
	})
}

// remedy does what the operator's guide says about a damaged part.
func (p *play) remedy(ctx context.Context, x *testnet.Node, part string) error {
	away := func(part string) error {
		at := filepath.Join(x.DataDir(), part)
		return os.Rename(at, at+".damaged")
	}
	switch part {
	case "state":
		return away("state") // executed anew
	case "blocks":
		if err := errors.Join(away("blocks"), away("state")); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, p.net.Program, "init", "--home", x.Home, "--genesis", p.net.GenesisPath(), "--join").CombinedOutput()
		if err != nil {
			return fmt.Errorf("init --join: %w: %s", err, out)
		}
		return nil
	}
	return errors.New("there is none: a validator with a damaged ordering log must observe by itself")
}
