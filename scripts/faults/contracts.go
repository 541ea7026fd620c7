package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/scripts/testnet"
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

// haltLimit is how long a node may take to halt: half a minute that a contract may
// run, half a minute in which peers are asked what they have instead, and what a machine
// with much else to do adds to that.
const haltLimit = 4 * time.Minute

// halts waits until the node has halted by itself, the others being served, and
// puts its state away, as its operator does before starting it from a good program.
func halts(ctx context.Context, p *play) error {
	if err := wrongFor(ctx, p); err != nil {
		return err
	}
	x := p.doomed
	select {
	case <-x.Ended():
	case <-time.After(haltLimit):
		_ = x.Signal(syscall.SIGQUIT) // what keeps it is then in its log
		return fmt.Errorf("%s did not halt within %s: %s", x.Name, haltLimit, x.LastLine())
	case <-ctx.Done():
		return ctx.Err()
	}
	// Its clients are told by nobody else, and a block's outcome before it is certified.
	p.load.history.Doubt(x.Name, "PANIC", p.began)
	if err := p.saysHalt(ctx, x); err != nil {
		return err
	}
	if err := p.flows(ctx, warm, p.others(x)...); err != nil {
		return err
	}
	return p.remedy(ctx, x, "state")
}

// saysHalt checks that everybody who asks about a halted node is told of the same
// block, transaction and key: by its log, by the note beside its data, by its doctor.
func (p *play) saysHalt(ctx context.Context, x *testnet.Node) error {
	b, err := os.ReadFile(filepath.Join(x.Home, "data", "halt.json"))
	if err != nil {
		return fmt.Errorf("%s halted and keeps no note of it: %w", x.Name, err)
	}
	var h doctor.Halt
	if err := json.Unmarshal(b, &h); err != nil {
		return fmt.Errorf("the note of %s of its halt: %w", x.Name, err)
	}
	log, err := os.ReadFile(x.LogPath())
	if err != nil {
		return err
	}
	if err := alarmed(string(log), &h); err != nil {
		return fmt.Errorf("%s halted: %w", x.Name, err)
	}
	out, code := p.assentd(ctx, "doctor", "--home", x.Home, "--no-password", "--json")
	if code != 2 {
		return fmt.Errorf("the doctor of %s, which has halted, ends with exit code %d: %s", x.Name, code, out)
	}
	var r doctor.Report
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&r); err != nil {
		return fmt.Errorf("the doctor of %s: %w: %s", x.Name, err, out)
	}
	for _, f := range r.Findings {
		if f.Check == "halt" && f.Level == doctor.Fail && strings.Contains(f.What, fmt.Sprintf("height %d ", h.Height)) && strings.Contains(f.What, h.Tx) && strings.Contains(f.What, h.Key) {
			fmt.Fprintln(os.Stderr, " ", f.What)
			return nil
		}
	}
	return fmt.Errorf("the doctor of %s does not name height %d, transaction %s and key %s: %s", x.Name, h.Height, h.Tx, h.Key, out)
}

// alarmed checks that a halted node noted height, transaction and key, and that
// alarms in its log name the height, then the transaction and the key: the first
// that differ, or those of the hanging contract.
func alarmed(log string, h *doctor.Halt) error {
	if h.Height == 0 || !strings.HasPrefix(h.Tx, "0x") || !strings.HasPrefix(h.Key, "membership/") {
		return fmt.Errorf("noted is no height, transaction and key of the contract that went wrong: %+v", *h)
	}
	var height, key bool
	for line := range strings.SplitSeq(log, "\n") {
		var l struct {
			Level, Msg, Error, Tx, Key string
			Height                     uint64
		}
		if json.Unmarshal([]byte(line), &l) != nil || l.Level != "ERROR" || !strings.Contains(l.Msg+l.Error, "ALARM") {
			continue
		}
		height = height || l.Height == h.Height
		key = key || l.Tx == h.Tx && l.Key == h.Key ||
			strings.Contains(l.Error, "of transaction "+h.Tx+" ") && strings.HasSuffix(l.Error, "the last key it used is "+h.Key)
	}
	switch {
	case !height:
		return fmt.Errorf("no alarm in its log names height %d", h.Height)
	case !key:
		return fmt.Errorf("no alarm in its log names transaction %s and key %s", h.Tx, h.Key)
	}
	return nil
}
