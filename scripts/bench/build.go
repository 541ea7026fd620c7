package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/assent-network/assent/scripts/testnet"
)

// build makes the node program as the image's recipe does, with the compiler's
// profile and for the same processors, unless it is given one. That takes minutes when
// nothing of it is in Go's cache.
func (b *bench) build(ctx context.Context, dir string) (string, error) {
	if b.opts.program != "" {
		return b.opts.program, nil
	}
	profile := b.opts.pgo
	if profile == "off" {
		return testnet.Build(ctx, dir)
	}
	if profile == "" {
		at, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "github.com/assent-network/assent/scripts/deploy").Output()
		if err != nil {
			return "", fmt.Errorf("find the compiler's profile: %w: run in the repository, or use --pgo off", err)
		}
		profile = filepath.Join(strings.TrimSpace(string(at)), "assentd.pgo")
	}
	profile, err := filepath.Abs(profile)
	if err != nil {
		return "", err
	}
	b.progress("building assentd with %s, as it is released: minutes for the first time (--pgo off builds without) …", filepath.Base(profile))
	linked, out := filepath.Join(dir, "linked"), filepath.Join(dir, "assentd")
	cmd := exec.CommandContext(ctx, "go", "build", "-pgo="+profile, "-o", linked, "github.com/assent-network/assent/node/cmd/assentd")
	cmd.Env = append(os.Environ(), "GOAMD64=v3")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build assentd with profile %s: %w\n%s", profile, err, text)
	}
	if err := install(linked, out); err != nil {
		return "", fmt.Errorf("install assentd: %w", err)
	}
	b.report.Profiled = true
	return out, nil
}

// install copies a program, as whoever installs a released one does: what the linker
// has just written lies in the page cache in pieces of 2 MiB, which count as resident
// in each process that touches one byte of them.
func install(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Remove(from))
}

// how says what program was measured.
func (b *bench) how() string {
	switch {
	case b.opts.program != "":
		return "given by --assentd"
	case b.report.Profiled:
		return "built with the compiler's profile, as it is released"
	}
	return "an ordinary build"
}
