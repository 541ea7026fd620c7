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
	b, err := os.ReadFile(x.LogPath())
	if err != nil {
		return err
	}
	alarm := ""
	for line := range strings.SplitSeq(string(b), "\n") {
		if strings.Contains(line, `"ERROR"`) && strings.Contains(line, "height") {
			alarm = line
		}
	}
	if alarm == "" {
		return fmt.Errorf("%s halted without an alarm that names a height: %s", x.Name, x.LastLine())
	}
	fmt.Fprintln(os.Stderr, " ", alarm)
	if err := p.flows(ctx, warm, p.others(x)...); err != nil {
		return err
	}
	return p.remedy(ctx, x, "state")
}
