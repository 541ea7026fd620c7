package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
)

// syncs are disks that take what is written and fail to keep it.
var syncs = []scenario{
	{name: "state-fsync-fails", about: "a sync of one validator's state fails: it stops, and is started again", tagged: true, prepare: prepared(aFollower, "fsync=fail:2:state"), disturb: stops},
	{name: "wal-fsync-fails", about: "the kernel fails a sync of one validator's ordering log: it stops, goes on with a good disk, and again after the memory of the disk is lost", root: true, tool: "mkfs.ext4",
		prepare: onFailingDisk, disturb: failLog},
}

// failing is a file system of its own whose blocks have room for nothing new from a
// moment on: ext4 in a sparse file on a tmpfs of limited size. A sync of it then
// fails in the kernel, after the write went well, and what was written can still be
// read as long as it is mounted. It has no journal, for one that cannot be written
// makes the file system read-only, and the node would meet nothing worse.
type failing struct {
	memory, image, at string
}

const (
	failingRoom  = 40 << 20 // of the tmpfs
	failingImage = 96 << 20 // what the file system believes to have
)

// onFailingDisk moves the ordering log of a node to a disk that can fail.
func onFailingDisk(ctx context.Context, p *play) error {
	x := p.net.Nodes[p.rng.IntN(len(p.net.Nodes))]
	logs := filepath.Join(x.DataDir(), "wal")
	d := &failing{memory: filepath.Join(p.dir, "failing"), at: logs}
	d.image = filepath.Join(d.memory, "image")
	if err := os.MkdirAll(d.memory, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", d.memory, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", failingRoom)); err != nil {
		return fmt.Errorf("mount memory: %w", err)
	}
	p.stopped = append(p.stopped, func() error { return syscall.Unmount(d.memory, 0) })
	f, err := os.Create(d.image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(failingImage), f.Close()); err != nil {
		return err
	}
	aside := logs + ".aside"
	if err := os.Rename(logs, aside); err != nil {
		return err
	}
	if err := os.Mkdir(logs, 0o700); err != nil {
		return err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=0", d.image); err != nil {
		return err
	}
	if err := d.mount(ctx); err != nil {
		return err
	}
	p.stopped = append(p.stopped, func() error { return d.unmount(context.Background()) })
	p.spare(x)
	p.small, p.failing = x, d
	return copyInto(ctx, aside, logs)
}

func (d *failing) mount(ctx context.Context) error {
	return command(ctx, "mount", "-o", "loop", d.image, d.at)
}

func (d *failing) unmount(ctx context.Context) error { return command(ctx, "umount", d.at) }

func command(ctx context.Context, name string, args ...string) error {
	if b, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, b)
	}
	return nil
}

// fail lets every sync of something new fail; the file returned ends it when it is
// removed.
func (d *failing) fail() (ballast string, err error) {
	ballast = filepath.Join(d.memory, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, zeros{})
	if err = errors.Join(err, f.Close()); !errors.Is(err, syscall.ENOSPC) {
		return "", fmt.Errorf("fill the memory of the disk: %w", err)
	}
	return ballast, nil
}

// failLog lets a sync of the log fail, and the node must stop by itself and say what
// to do. Started on a good disk it takes part, from a log of which the kernel may
// show what it never wrote; what it did then must stand after a loss of that memory.
func failLog(ctx context.Context, p *play) error {
	x, d := p.small, p.failing
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	ballast, err := d.fail()
	if err != nil {
		return err
	}
	if err := p.ends(ctx, x, "start the node again"); err != nil {
		return err
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	for _, lose := range []bool{false, true} {
		if lose {
			p.kill(x)
			if err := errors.Join(d.unmount(ctx), d.mount(ctx)); err != nil {
				return err
			}
		}
		if err := p.again(ctx, x); err != nil {
			return err
		}
		if err := p.flows(ctx, 2, x); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(x.LogPath())
	if err == nil && strings.Contains(string(b), "does not vote") {
		err = fmt.Errorf("%s lost its ordering log: %s", x.Name, x.LogPath())
	}
	return err
}

// ends waits until a node has stopped by itself, with a word in what it said.
func (p *play) ends(ctx context.Context, x *testnet.Node, word string) error {
	limit := time.NewTimer(settleLimit)
	defer limit.Stop()
	select {
	case <-x.Ended():
	case <-limit.C:
		return errNotStopped(x)
	case <-ctx.Done():
		return ctx.Err()
	}
	b, err := os.ReadFile(x.LogPath())
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, last := range slices.Backward(lines[max(0, len(lines)-lastWords):]) {
		if strings.Contains(last, word) {
			fmt.Fprintf(os.Stderr, "  it stopped: %s\n", last)
			return nil
		}
	}
	return fmt.Errorf("%s stopped and does not say what to do: %s", x.Name, lines[len(lines)-1])
}

// lastWords are how many lines a node may need to say why it stopped.
const lastWords = 12
