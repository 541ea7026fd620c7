//go:build linux

// Package packets joins network namespaces by a switch in this process, which loses,
// repeats, reorders and delays single packets: what happens to a network below TCP,
// with the kernel's own TCP on both sides.
//
// It owns the namespaces, one for each host, and the TUN device in each of them. It
// promises that nothing passes between hosts but what the rule in force lets through,
// and that Close leaves nothing behind. It needs root and /dev/net/tun, and no queueing
// discipline of the kernel. What hosts run, and who may talk to them from outside, is
// left to others.
package packets

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Rule is what happens to each packet. The zero value lets all through at once.
type Rule struct {
	Loss      float64       // share that never arrives
	Duplicate float64       // share that arrives twice, each copy after a delay of its own
	Reorder   float64       // share that waits Hold in addition, so that later ones overtake it
	Hold      time.Duration // at most
	Jitter    time.Duration // every packet waits between nothing and this
}

// Count says what became of packets so far.
type Count struct{ Sent, Lost, Repeated, Held int64 }

// Since is what happened after an earlier count.
func (c Count) Since(before Count) Count {
	return Count{c.Sent - before.Sent, c.Lost - before.Lost, c.Repeated - before.Repeated, c.Held - before.Held}
}

const (
	device    = "lan0"
	mtu       = 1400
	maxFlight = 1 << 14 // packets that wait; more are lost, as in a router
)

// Lan is one network of hosts.
type Lan struct {
	rule   atomic.Pointer[Rule]
	seed   uint64
	count  struct{ sent, lost, repeated, held atomic.Int64 }
	flight atomic.Int64
	closed chan struct{}
	work   sync.WaitGroup // readers and packets on their way

	mu    sync.RWMutex
	hosts map[netip.Addr]*Host
}

// Host is one namespace with one address in the network.
type Host struct {
	Addr netip.Addr

	space *os.File // the namespace
	tun   *os.File
	mu    sync.Mutex // a packet is written whole
}

// Possible is nil if this process can make such a network, and says why not.
func Possible() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root for network namespaces")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return errors.New("needs /dev/net/tun, which this kernel does not have")
	}
	return nil
}

// New returns a network without hosts.
func New(seed uint64) *Lan {
	l := &Lan{seed: seed, closed: make(chan struct{}), hosts: make(map[netip.Addr]*Host)}
	l.rule.Store(&Rule{})
	return l
}

// Set puts a rule in force for all packets from now on.
func (l *Lan) Set(r Rule) { l.rule.Store(&r) }

// Count returns what became of packets so far.
func (l *Lan) Count() Count {
	return Count{l.count.sent.Load(), l.count.lost.Load(), l.count.repeated.Load(), l.count.held.Load()}
}

// Join makes a host. Its loopback is its own too.
func (l *Lan) Join(addr netip.Addr) (*Host, error) {
	h := &Host{Addr: addr}
	if err := onThread(func() error { return h.make() }); err != nil {
		return nil, fmt.Errorf("make host %s: %w", addr, errors.Join(err, h.close()))
	}
	l.mu.Lock()
	l.hosts[addr] = h
	rng := rand.New(rand.NewPCG(l.seed, uint64(len(l.hosts))))
	l.mu.Unlock()
	l.work.Go(func() { l.read(h, rng) })
	return h, nil
}

// onThread runs f on an operating system's thread that nobody uses afterwards: its
// namespace is another one.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

func (h *Host) make() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	var err error
	if h.space, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w", err)
	}
	if err := attach(fd); err != nil {
		unix.Close(fd)
		return err
	}
	h.tun = os.NewFile(uintptr(fd), "/dev/net/tun")
	return up(h.Addr)
}

// attach makes the device behind an open /dev/net/tun.
func attach(fd int) error {
	ifr, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return fmt.Errorf("make a TUN device: %w", err)
	}
	return unix.SetNonblock(fd, true)
}

// up gives the device its address and starts it and the loopback.
func up(addr netip.Addr) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ip := addr.As4()
	for _, step := range []struct {
		name string
		call uint
		set  func(*unix.Ifreq) error
	}{
		{"lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }},
		{device, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }},
		{device, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{device, unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }},
		{device, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }},
	} {
		ifr, err := unix.NewIfreq(step.name)
		if err == nil {
			err = step.set(ifr)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, step.call, ifr)
		}
		if err != nil {
			return fmt.Errorf("set up %s: %w", step.name, err)
		}
	}
	return nil
}

// Run runs f in the host's namespace: sockets that f makes on its own goroutine, and
// processes that it starts, are the host's.
func (h *Host) Run(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(h.space.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the namespace of %s: %w", h.Addr, err)
		}
		return f()
	})
}

// Dial connects to an address as the host sees it.
func (h *Host) Dial(address string) (conn net.Conn, err error) {
	err = h.Run(func() error {
		conn, err = net.DialTimeout("tcp4", address, 5*time.Second)
		return err
	})
	return conn, err
}

// read takes what a host sends until its device is closed.
func (l *Lan) read(h *Host, rng *rand.Rand) {
	buf := make([]byte, 1<<16)
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			return
		}
		if n < 20 || buf[0]>>4 != 4 {
			continue // nothing but IPv4 is spoken here
		}
		l.mu.RLock()
		to := l.hosts[netip.AddrFrom4([4]byte(buf[16:20]))]
		l.mu.RUnlock()
		if to != nil {
			l.pass(to, append([]byte(nil), buf[:n]...), rng)
		}
	}
}

// pass does to a packet what the rule says.
func (l *Lan) pass(to *Host, packet []byte, rng *rand.Rand) {
	r := l.rule.Load()
	l.count.sent.Add(1)
	if rng.Float64() < r.Loss {
		l.count.lost.Add(1)
		return
	}
	copies := 1
	if rng.Float64() < r.Duplicate {
		copies = 2
		l.count.repeated.Add(1)
	}
	for range copies {
		var wait time.Duration
		if r.Jitter > 0 {
			wait = time.Duration(rng.Int64N(int64(r.Jitter)))
		}
		if r.Hold > 0 && rng.Float64() < r.Reorder {
			wait += time.Duration(rng.Int64N(int64(r.Hold)))
			l.count.held.Add(1)
		}
		l.send(to, packet, wait)
	}
}

// send hands a packet to its host after a while.
func (l *Lan) send(to *Host, packet []byte, wait time.Duration) {
	if wait == 0 {
		to.write(packet)
		return
	}
	if l.flight.Add(1) > maxFlight {
		l.flight.Add(-1)
		l.count.lost.Add(1)
		return
	}
	l.work.Go(func() {
		defer l.flight.Add(-1)
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			to.write(packet)
		case <-l.closed:
		}
	})
}

// write is as a wire is: what the host does not take is lost.
func (h *Host) write(packet []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = h.tun.Write(packet)
}

func (h *Host) close() error {
	var errs []error
	for _, f := range []*os.File{h.tun, h.space} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Close takes all hosts away. Their processes must have ended, or they go on without
// a network.
func (l *Lan) Close() error {
	close(l.closed)
	l.mu.Lock()
	var errs []error
	for _, h := range l.hosts {
		errs = append(errs, h.close())
	}
	l.mu.Unlock()
	l.work.Wait()
	return errors.Join(errs...)
}
