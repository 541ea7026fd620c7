package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/assent-network/assent/scripts/testnet"
)

// build makes the node program as the image's recipe does, with the compiler's
// profile. That takes minutes when nothing of it is in Go's cache.
func (b *bench) build(ctx context.Context, dir string) (string, error) {
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
	out := filepath.Join(dir, "assentd")
	cmd := exec.CommandContext(ctx, "go", "build", "-pgo="+profile, "-o", out, "github.com/assent-network/assent/node/cmd/assentd")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build assentd with profile %s: %w\n%s", profile, err, text)
	}
	b.report.Profiled = true
	return out, nil
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
