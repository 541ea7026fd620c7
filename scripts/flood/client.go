package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/assent-network/assent/sdk"
)

// A flooding client has a machine of its own. Here it is a process of its own, and
// of lower priority than the others: else it would show how an operating system
// shares cores, and in one process with the lenders how Go does.

const (
	clientEnv      = "ASSENT_FLOOD_CLIENT"
	clientNiceness = 10
	clientCalls    = 64 // open at a time
)

// order is what the client's process is told.
type order struct {
	API, Bearer string
	SPKI        sdk.Hash
	PerSecond   int
	Requests    [][]byte
}

// client is a client of the greedy member's own, honest node that calls without
// heed of what the node answers.
func client(ctx context.Context, w *world, perSecond int, t *tally) error {
	x := w.net.First(greedy)
	call, err := w.rawClient(x, greedy)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	told, err := json.Marshal(&order{API: x.API, Bearer: call.bearer, SPKI: sdk.Hash(x.Card.SPKI), PerSecond: perSecond, Requests: ctx.Value(stockKey{}).(*stock).reqs})
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), clientEnv+"=1"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { in.Close() }) // then it ends
	defer stop()
	_, told1 := in.Write(append(told, '\n'))
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var offered, passed, refused int64
		if _, err := fmt.Sscan(lines.Text(), &offered, &passed, &refused); err != nil {
			break
		}
		t.offered.Store(offered)
		t.passed.Store(passed)
		t.refused.Store(refused)
	}
	in.Close()
	err = errors.Join(lines.Err(), cmd.Wait())
	if ctx.Err() == nil { // it ended by itself
		err = errors.Join(errors.New("the flooding client ended"), err, told1)
	}
	return err
}

// beClient is the client's process, which ends when its standard input does.
func beClient() error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, clientNiceness); err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	var o order
	if err := json.Unmarshal(line, &o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	var t tally
	var wg sync.WaitGroup
	s := &stock{reqs: o.Requests}
	call := newRaw(o.API, o.Bearer, o.SPKI)
	pace := rate.NewLimiter(rate.Limit(o.PerSecond), o.PerSecond/100+1)
	for range clientCalls {
		wg.Go(func() {
			for pace.Wait(ctx) == nil {
				call.submit(ctx, s.take(), &t)
			}
		})
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			fmt.Println(t.offered.Load(), t.passed.Load(), t.refused.Load())
		case <-ctx.Done():
		}
	}
	wg.Wait()
	return nil
}

func (c *raw) submit(ctx context.Context, tx []byte, t *tally) {
	body, err := json.Marshal(map[string]any{"transaction": tx})
	if err != nil {
		t.refused.Add(1)
		return
	}
	t.offered.Add(1)
	resp, err := c.post(ctx, "Submit", "application/json", body)
	if err != nil {
		t.refused.Add(1)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		t.passed.Add(1)
	} else {
		t.refused.Add(1)
	}
}
