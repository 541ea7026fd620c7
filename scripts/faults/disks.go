package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// disks are those of which somebody must be root to make one.
var disks = []scenario{
	{name: "full-disk", about: "one validator's disk fills up; later there is room again", root: true, prepare: onSmallDisk(false), disturb: fillUp},
	{name: "full-disk-leader", about: "the leader's disk fills up; later there is room again", root: true, prepare: onSmallDisk(true), disturb: fillUp},
}

// smallDisk is what a node must find free to call itself ready, and as much again.
const smallDisk = 512 << 20

// onSmallDisk moves a node's data to a file system of its own.
func onSmallDisk(first bool) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		// Who led when the network was stopped leads again.
		x, err := p.net.Node(p.first)
		if err != nil {
			return err
		}
		if !first {
			rest := p.others(x)
			x = rest[p.rng.IntN(len(rest))]
		}
		p.spare(x)
		aside := x.DataDir() + ".aside"
		if err := os.Rename(x.DataDir(), aside); err != nil {
			return err
		}
		if err := os.Mkdir(x.DataDir(), 0o700); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", x.DataDir(), "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", smallDisk)); err != nil {
			return fmt.Errorf("mount a small disk: %w", err)
		}
		p.stopped = append(p.stopped, func() error {
			if err := syscall.Unmount(x.DataDir(), 0); err != nil {
				return fmt.Errorf("unmount the small disk: %w", err)
			}
			return nil
		})
		p.small = x
		return copyInto(ctx, aside, x.DataDir())
	}
}

func copyInto(ctx context.Context, from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := copyTree(ctx, filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// fillUp leaves no byte free. The node may stop or stay; with room again, started
// anew, it must be as the others.
func fillUp(ctx context.Context, p *play) error {
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	path := filepath.Join(p.small.DataDir(), "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, zeros{})
	if err = errors.Join(err, f.Close()); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("filled the disk: %w", err)
	}
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	if !p.small.Running() {
		fmt.Fprintf(os.Stderr, "  it stopped: %s\n", p.small.LastLine())
		return nil
	}
	fmt.Fprintln(os.Stderr, "  it went on running")
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
