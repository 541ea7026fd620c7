package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/network"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/sdk"
)

// Whoever floods has machines of its own. Here a flood is a process of its own, and of lower priority than the others: else it would show how an
// operating system shares cores, and in one process with the lenders how Go does.

const (
	otherEnv      = "ASSENT_FLOOD_PROCESS"
	otherNiceness = 10
	clientCalls   = 64 // open at a time
	together      = 64 // transactions a call of the flooding client brings: one by one its own work would bound the flood
)

// order is what the other process is told.
type order struct {
	PerSecond int
	Requests  [][]byte

	Called *endpoint  // by a client
	Held   []endpoint // by one who reads nothing
	// Of a node; the password of its keystore comes this way too, for test networks
	// are the only ones that are flooded with their own keys.
	KeysDir, HostKey, Password string
	Peers                      []network.Peer
}

// endpoint is a node's API and a token for it.
type endpoint struct {
	API, Bearer string
	SPKI        sdk.Hash
}

// client is a client of the greedy member's own, honest node that calls without
// heed of what the node answers.
func client(ctx context.Context, w *world, perSecond int, t *tally) error {
	x := w.net.First(greedy)
	bearer, err := w.bearer(x, greedy)
	if err != nil {
		return err
	}
	return other(ctx, &order{Called: &endpoint{x.API, bearer, sdk.Hash(x.Card.SPKI)}, PerSecond: perSecond}, t)
}

// valid is the node of a dishonest member: it takes part in the network under
// the observer's key and sends signed transactions of one greedy client to every
// validator, whatever they say to it.
func valid(ctx context.Context, w *world, perSecond int, t *tally) error {
	return w.forward(ctx, perSecond, t)
}

// invalid does the same with signatures that are wrong.
func invalid(ctx context.Context, w *world, perSecond int, t *tally) error {
	return w.forward(ctx, perSecond, t)
}

func (w *world) forward(ctx context.Context, perSecond int, t *tally) error {
	cfg, err := w.hostConfig()
	if err != nil {
		return err
	}
	password, err := w.password(w.observer.Member)
	if err != nil {
		return err
	}
	o := &order{PerSecond: perSecond, KeysDir: cfg.Identity.KeysDir, HostKey: cfg.Identity.HostKey, Password: password}
	for _, x := range w.validators() {
		o.Peers = append(o.Peers, network.Peer{ID: network.PeerID(x.Card.NodeID), Addrs: []string{x.P2P}, Dial: true})
	}
	return other(ctx, o, t)
}

// other runs a flood in a process of its own until ctx ends.
func other(ctx context.Context, o *order, t *tally) error {
	o.Requests = ctx.Value(stockKey{}).(*stock).reqs
	told, err := json.Marshal(o)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), otherEnv+"=1"), os.Stderr
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
	_, deaf := in.Write(append(told, '\n'))
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var offered, passed, refused int64
		if _, err := fmt.Sscan(lines.Text(), &offered, &passed, &refused); err != nil {
			break
		}
		if offered > 0 {
			t.begin()
		}
		t.offered.Store(offered)
		t.passed.Store(passed)
		t.refused.Store(refused)
	}
	in.Close()
	err = errors.Join(lines.Err(), cmd.Wait())
	if ctx.Err() == nil { // it ended by itself
		err = errors.Join(errors.New("the flooding process ended"), err, deaf)
	}
	return err
}

// beOther is the other process, which ends when its standard input does.
func beOther() error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	var o order
	if err := json.Unmarshal(line, &o); err != nil {
		return err
	}
	var calls [][]byte
	if o.Called != nil {
		if calls, err = encodeCalls(o.Requests); err != nil {
			return err
		}
	}
	// Only now: on a full machine the preparations would take the time of the flood.
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, otherNiceness); err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	var t tally
	ended := make(chan error, 1)
	go func() {
		switch {
		case o.HostKey != "":
			ended <- o.beNode(ctx, &t)
		case o.Called != nil:
			ended <- o.beClient(ctx, calls, &t)
		default:
			ended <- o.beDeaf(ctx, &t)
		}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			fmt.Println(t.offered.Load(), t.passed.Load(), t.refused.Load())
		}
	}
}

func (o *order) beClient(ctx context.Context, calls [][]byte, t *tally) error {
	var wg sync.WaitGroup
	s := &stock{reqs: calls}
	call := newRaw(*o.Called)
	pace := rate.NewLimiter(rate.Limit(o.PerSecond), o.PerSecond/100+together)
	for range clientCalls {
		wg.Go(func() {
			for pace.WaitN(ctx, together) == nil {
				call.submit(ctx, s, t)
			}
		})
	}
	wg.Wait()
	return nil
}

func (o *order) beDeaf(ctx context.Context, t *tally) error {
	var wg sync.WaitGroup
	for _, e := range o.Held {
		wg.Go(func() { e.hold(ctx, t) })
	}
	wg.Wait()
	return nil
}

// encodeCalls makes the bodies of calls of SubmitMany. A message of the streaming
// protocol begins with a flag and four bytes of length.
func encodeCalls(txs [][]byte) ([][]byte, error) {
	var out [][]byte
	for some := range slices.Chunk(txs[:len(txs)/together*together], together) {
		m, err := proto.Marshal(&assentv1.SubmitManyRequest{Transactions: some, TimeoutMs: 1})
		if err != nil {
			return nil, err
		}
		out = append(out, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...))
	}
	return out, nil
}

// submit hands in the next transactions and waits for no outcome.
func (c *raw) submit(ctx context.Context, s *stock, t *tally) {
	t.offered.Add(together)
	taken, err := c.submitMany(ctx, s.take())
	if err != nil {
		taken = 0 // not known of all: the flood's own count, which no claim rests on
	}
	t.passed.Add(taken)
	t.refused.Add(together - taken)
}

// submitMany returns how many transactions the node took. The last message of an
// answer has the flag 2.
func (c *raw) submitMany(ctx context.Context, body []byte) (taken int64, err error) {
	resp, err := c.post(ctx, "SubmitMany", "application/connect+proto", body)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(resp.Body, head); err != nil {
			return taken, err
		}
		part := make([]byte, min(binary.BigEndian.Uint32(head[1:]), 1<<20))
		if _, err := io.ReadFull(resp.Body, part); err != nil || head[0]&2 != 0 {
			return taken, err
		}
		var m assentv1.SubmitManyResponse
		if err := proto.Unmarshal(part, &m); err != nil {
			return taken, err
		}
		for _, r := range m.Results {
			if r.Error == nil {
				taken++
			}
		}
	}
}

// beNode is a host of our network with the observer's key. What no queue takes is
// not sent: the flood offers PerSecond transactions to each validator.
func (o *order) beNode(ctx context.Context, t *tally) error {
	store, err := keys.Open(o.KeysDir)
	if err != nil {
		return err
	}
	key, err := store.Host(o.HostKey, []byte(o.Password))
	if err != nil {
		return err
	}
	h, err := network.Open(ctx, network.Config{HostKey: key, Limits: network.DefaultLimits(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	h.SetPeers(o.Peers)
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	s := &stock{reqs: o.Requests}
	for began, sent := time.Now(), 0; ; {
		select {
		case err := <-done:
			return err
		case <-pace.C:
		}
		for due := int(time.Since(began).Seconds() * float64(o.PerSecond)); sent < due; sent++ {
			r := s.take()
			t.offered.Add(1)
			for _, p := range o.Peers {
				if h.Send(p.ID, network.ClassTx, r) != nil {
					t.refused.Add(1)
				} else {
					t.passed.Add(1)
				}
			}
		}
	}
}
