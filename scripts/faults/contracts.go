package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// contracts that do on one validator what they do nowhere else. Such a node must
// halt with an alarm: it may not sign what it has not executed, and may not go on
// from a state that nobody shares.
var contracts = []scenario{
	{name: "contract-differs", about: "on one validator a contract writes what it writes nowhere else: it halts", tagged: true,
		prepare: prepared(aFollower, "contract=differs"), disturb: halts},
	{name: "contract-differs-leader", about: "on the leader a contract writes what it writes nowhere else: it halts", tagged: true,
		prepare: prepared(theLeader, "contract=differs"), disturb: halts},
	{name: "contract-panics", about: "on one validator a contract panics where it does not elsewhere: it halts", tagged: true,
		prepare: prepared(aFollower, "contract=panics"), disturb: halts},
	{name: "contract-hangs", about: "on one validator a contract does not return: it halts after half a minute", tagged: true,
		prepare: prepared(aFollower, "contract=hangs"), disturb: halts},
}

// halts waits until the node has halted by itself, the others being served, and
// puts its state away, as its operator does before starting it from a good program.
func halts(ctx context.Context, p *play) error {
	if err := wrongFor(ctx, p); err != nil {
		return err
	}
	x := p.doomed
	select {
	case <-x.Ended():
	case <-time.After(settleLimit):
		return fmt.Errorf("%s did not halt: %s", x.Name, x.LastLine())
	case <-ctx.Done():
		return ctx.Err()
	}
	// Its clients are told by nobody else, and a block's outcome before it is certified.
	p.load.history.Doubt(x.Name, "PANIC", p.began)
	b, err := os.ReadFile(x.LogPath())
	if err != nil {
		return err
	}
	if err := namesKey(x.Name, string(b)); err != nil {
		return err
	}
	if err := p.flows(ctx, warm, p.others(x)...); err != nil {
		return err
	}
	return p.remedy(ctx, x, "state")
}

// namesKey checks that a halted node's log names the height at once, and then the
// key: the first one that differs, or the one that the hanging contract used last.
func namesKey(node, log string) error {
	height, key := "", ""
	for line := range strings.SplitSeq(log, "\n") {
		if !strings.Contains(line, `"ERROR"`) || !strings.Contains(line, "ALARM") {
			continue
		}
		if height == "" && strings.Contains(line, `"height"`) {
			height = line
		}
		if strings.Contains(line, `"key":"membership/`) || strings.Contains(line, "the last key it used is membership/") {
			key = line
		}
	}
	for what, line := range map[string]string{"a height": height, "a key": key} {
		if line == "" {
			return fmt.Errorf("%s halted without an alarm that names %s", node, what)
		}
	}
	fmt.Fprintln(os.Stderr, " ", height)
	if key != height {
		fmt.Fprintln(os.Stderr, " ", key)
	}
	return nil
}
