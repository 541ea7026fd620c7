package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/assent-network/assent/sdk"
)

// Alive reports whether the process noted for the node runs, whoever started it.
// The pid alone is not believed: another program may have got it since.
func (x *Node) Alive() bool {
	if x.PID == 0 {
		return false
	}
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(x.PID), "cmdline"))
	return err == nil && bytes.Contains(b, []byte("\x00--home\x00"+x.Home+"\x00"))
}

// KillByPID ends, as a crash would, a node that an earlier command started.
func (x *Node) KillByPID() error {
	if !x.Alive() {
		return fmt.Errorf("node %s is not running", x.Name)
	}
	return syscall.Kill(x.PID, syscall.SIGKILL)
}

// StopByPID asks a node that an earlier command started to end, and waits.
func (x *Node) StopByPID(grace time.Duration) error {
	if !x.Alive() {
		return nil
	}
	if err := syscall.Kill(x.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("node %s: end pid %d: %w", x.Name, x.PID, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(grace); x.Alive(); <-tick.C {
		if time.Now().After(deadline) {
			return fmt.Errorf("node %s (pid %d) does not end: see %s", x.Name, x.PID, x.LogPath())
		}
	}
	return nil
}

// StatusOf asks a node how it is, as its member's auditor.
func (n *Net) StatusOf(ctx context.Context, x *Node) (*sdk.NodeStatus, error) {
	c, err := n.DialAs(ctx, x, "auditor")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Status(ctx)
}
