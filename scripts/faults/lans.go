package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/assent-network/assent/scripts/faults/packets"
	"github.com/assent-network/assent/scripts/testnet"
)

// lans are what happens to single packets, below TCP. They are played on a network of
// their own, whose nodes each live in a network namespace.
var lans = []scenario{
	{name: "packet-loss", about: "a fifth of all packets between nodes is lost", packets: true,
		disturb: ruled(packets.Rule{Loss: 0.2}, func(c packets.Count) int64 { return c.Lost })},
	{name: "packet-duplication", about: "a third of all packets between nodes arrives twice", packets: true,
		disturb: ruled(packets.Rule{Duplicate: 0.33}, func(c packets.Count) int64 { return c.Repeated })},
	{name: "packet-reordering", about: "a quarter of all packets between nodes is overtaken by those of the next 50 ms", packets: true,
		disturb: ruled(packets.Rule{Reorder: 0.25, Hold: 50 * time.Millisecond}, func(c packets.Count) int64 { return c.Held })},
	{name: "packet-jitter", about: "every packet between nodes takes up to 200 ms, each another time", packets: true,
		disturb: ruled(packets.Rule{Jitter: 200 * time.Millisecond}, func(c packets.Count) int64 { return c.Sent })},
	{name: "packet-storm", about: "packets between nodes are lost, repeated, overtaken and late at once", packets: true,
		disturb: ruled(packets.Rule{Loss: 0.05, Duplicate: 0.1, Reorder: 0.1, Hold: 100 * time.Millisecond, Jitter: 50 * time.Millisecond},
			func(c packets.Count) int64 { return min(c.Lost, c.Repeated, c.Held) })},
}

// lan is the network of namespaces, if a world has one.
type lan struct {
	*packets.Lan
	mu    sync.Mutex               // while members are made, all at once
	hosts map[string]*packets.Host // by node
	port  map[string]string        // multiaddress that the node listens on
	ends  []func() error           // of what forwards clients
}

// openPackets founds a second network beside w, in namespaces.
func (w *world) openPackets(ctx context.Context) (*world, error) {
	if w.inPackets == nil {
		in, err := openOn(ctx, filepath.Join(w.dir, "packets"), w.opts, &lan{
			Lan: packets.New(w.opts.seed), hosts: make(map[string]*packets.Host), port: make(map[string]string),
		})
		if err != nil {
			return nil, fmt.Errorf("a network in namespaces: %w", err)
		}
		w.inPackets = in
	}
	return w.inPackets, nil
}

// advertise makes a node's host and returns the address at which others dial it.
func (l *lan) advertise(name, listen string) (string, error) {
	var port int
	if _, err := fmt.Sscanf(listen, "/ip4/127.0.0.1/tcp/%d", &port); err != nil {
		return "", fmt.Errorf("node %s listens on %s: %w", name, listen, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h, err := l.Join(netip.AddrFrom4([4]byte{10, 77, 0, byte(1 + len(l.hosts))}))
	if err != nil {
		return "", err
	}
	l.hosts[name] = h
	l.port[name] = fmt.Sprintf("/ip4/%s/tcp/%d", h.Addr, port)
	return l.port[name], nil
}

// forward lets clients reach every node's API, and operators what it tells them.
func (l *lan) forward(nodes []*testnet.Node) error {
	for _, x := range nodes {
		for _, address := range []string{x.API, x.Ops} {
			f, err := l.hosts[x.Name].Forward(address)
			if err != nil {
				return fmt.Errorf("forward to %s of %s: %w", address, x.Name, err)
			}
			l.ends = append(l.ends, f.Close)
		}
	}
	return nil
}

func (l *lan) close() error {
	var errs []error
	for _, f := range l.ends {
		errs = append(errs, f())
	}
	return errors.Join(append(errs, l.Close())...)
}

// ruled puts a rule on all packets for a while, and demands that it touched some.
// Answers are on their way for as long as TCP takes.
func ruled(r packets.Rule, touched func(packets.Count) int64) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		p.load.census.setBlind(true)
		before := p.lan.Count()
		p.lan.Set(r)
		if err := p.pause(ctx, p.duration); err != nil {
			return err
		}
		c := p.lan.Count().Since(before)
		fmt.Fprintf(os.Stderr, "  of %d packets %d were lost, %d repeated, %d held back\n", c.Sent, c.Lost, c.Repeated, c.Held)
		if touched(c) == 0 {
			return errors.New("the rule touched no packet")
		}
		return nil
	}
}
