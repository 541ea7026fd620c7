package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/assent-network/assent/network"
)

// machine is what a simulated node runs on: a clock that may be wrong, a door for
// clients, and a disk of which a crash keeps what it must and no more. It outlives
// the node's lives.
type machine struct {
	peer   *peer
	addr   string       // of the API
	skew   atomic.Int64 // nanoseconds that the clock is ahead
	lives  int
	life   *life                // the present one, or the last
	node   atomic.Pointer[Node] // while it runs, for any goroutine
	random *rand.Rand
}

func (m *machine) now() time.Time { return time.Now().Add(time.Duration(m.skew.Load())) }

// boot puts a node about to be opened on the machine.
func (m *machine) boot(p *peer, o *Options) {
	m.lives++
	l := &life{machine: m, files: make(map[string]*simFile)}
	m.life = l
	o.Clock = m.now
	o.Listen = func(context.Context, string) (net.Listener, error) {
		d, err := p.c.sockets.listen(m.addr)
		l.door = d
		return d, err
	}
	o.Files = func(dir string, s storage.Storage) storage.Storage { return &simDisk{s, dir, l} }
	open := o.Network
	o.Network = func(ctx context.Context, cfg network.Config) (Host, error) {
		h, err := open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return &simHost{h, l}, nil
	}
}

// moment is a place in the program at which a node can die.
type moment string

const (
	noMoment   moment = ""
	writing    moment = "write"      // in the middle of writing a file of blocks or state
	syncing    moment = "sync"       // before such a file is synced
	synced     moment = "after sync" // right after
	sending    moment = "send"       // before a consensus message leaves
	requesting moment = "request"    // before a request to another node leaves
	responded  moment = "response"   // after one was answered, before the node knows
	anyMoment  moment = "between"    // while every goroutine waits
)

var moments = []moment{writing, syncing, synced, sending, requesting, responded}

// trap is a death that waits for a node.
type trap struct {
	at    moment
	after int  // how many such moments pass first
	power bool // what was not synced is lost
}

// life is one run of a node, from its start to its end.
type life struct {
	*machine
	door *door
	gone atomic.Bool // nothing leaves this life any more

	mu    sync.Mutex // held while a file is changed, and while the image is taken
	trap  trap
	files map[string]*simFile
	image string // what the death left; "" while alive
	how   string
	err   error
}

type simFile struct{ size, synced int64 }

// set lays a trap for the present life.
func (l *life) set(t trap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trap = t
}

// passes is called at every moment at which a node can die, without l.mu.
func (l *life) passes(at moment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passesLocked(at)
}

func (l *life) passesLocked(at moment) {
	if l.trap.at != at || l.gone.Load() {
		return
	}
	if l.trap.after--; l.trap.after < 0 {
		l.dieLocked(at, l.trap.power)
	}
}

// die ends the life now: nothing leaves it any more, and what its disk holds is
// put aside. The goroutines of the dead node go on for a while, on files that
// nobody will look at, until bury.
func (l *life) die(at moment, power bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone.Load() {
		l.dieLocked(at, power)
	}
}

func (l *life) dieLocked(at moment, power bool) {
	l.trap = trap{}
	l.gone.Store(true)
	l.peer.c.wires.Kill(l.peer.id())
	if l.door != nil {
		l.door.sever()
	}
	l.image = filepath.Join(l.peer.home, fmt.Sprintf("data-%d", l.lives+1))
	l.how = "killed at " + string(at)
	l.err = l.takeImage(l.peer.cfg.DataDir, l.image)
	if l.err == nil && power {
		l.how = "power lost at " + string(at)
		l.err = l.loseUnsynced()
	}
}

// takeImage copies the data directory. Files of blocks and state stand still
// meanwhile (l.mu), and so does the chain, which waits for them; the ordering log
// and private.db may go on for a moment, but nothing that follows from that
// leaves the node. They are copied until they stood still during the copy.
func (l *life) takeImage(from, to string) error {
	for _, parts := range [][]string{{stateDir}, {blocksDir}, {walDir}, {privateFile, privateFile + "-wal"}} {
		err := errors.New("it keeps changing")
		for try := 0; err != nil && try < 1000; try++ {
			err = copyStill(from, to, parts)
		}
		if err != nil {
			return fmt.Errorf("take image of %s: %w", parts[0], err)
		}
	}
	return nil
}

// copyStill copies files or directories that belong together, and fails if they
// changed meanwhile. One that is not there is left out: an observer has no log,
// and a database at rest none of its own.
func copyStill(from, to string, parts []string) error {
	look := func() (found, state []string, err error) {
		for _, part := range parts {
			src := filepath.Join(from, part)
			if _, err := os.Stat(src); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			lines, err := listing(src)
			if err != nil {
				return nil, nil, err
			}
			found, state = append(found, part), append(state, lines...)
		}
		return found, state, nil
	}
	found, before, err := look()
	for _, part := range parts {
		err = errors.Join(err, os.RemoveAll(filepath.Join(to, part)))
	}
	for _, part := range found {
		err = errors.Join(err, copyTree(filepath.Join(from, part), filepath.Join(to, part)))
	}
	if err != nil {
		return err
	}
	if _, after, err := look(); err != nil || !slices.Equal(before, after) {
		return errors.Join(err, errors.New("it changed during the copy"))
	}
	return nil
}

func copyTree(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// loseUnsynced cuts off the image's files somewhere after what was synced.
func (l *life) loseUnsynced() error {
	paths := make([]string, 0, len(l.files))
	for path, f := range l.files {
		if f.synced < f.size {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		f := l.files[path]
		rel, err := filepath.Rel(l.peer.cfg.DataDir, path)
		if err != nil {
			return err
		}
		keep := f.synced + l.random.Int64N(f.size-f.synced+1)
		l.how += fmt.Sprintf(", %s cut from %d to %d bytes", rel, f.size, keep)
		if err := os.Truncate(filepath.Join(l.image, rel), keep); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// simDisk is the files of one database of a life. Syncing them costs nothing: what
// is synced is remembered, not done.
type simDisk struct {
	storage.Storage
	dir  string
	life *life
}

func (d *simDisk) Create(fd storage.FileDesc) (storage.Writer, error) {
	d.life.mu.Lock()
	defer d.life.mu.Unlock()
	w, err := d.Storage.Create(fd)
	if err != nil {
		return nil, err
	}
	f := &simFile{}
	d.life.files[filepath.Join(d.dir, fd.String())] = f
	return &simWriter{w, d.life, f}, nil
}

func (d *simDisk) Remove(fd storage.FileDesc) error {
	d.life.mu.Lock()
	defer d.life.mu.Unlock()
	delete(d.life.files, filepath.Join(d.dir, fd.String()))
	return d.Storage.Remove(fd)
}

func (d *simDisk) Rename(from, to storage.FileDesc) error {
	d.life.mu.Lock()
	defer d.life.mu.Unlock()
	a, b := filepath.Join(d.dir, from.String()), filepath.Join(d.dir, to.String())
	if f := d.life.files[a]; f != nil {
		d.life.files[b] = f
		delete(d.life.files, a)
	}
	return d.Storage.Rename(from, to)
}

func (d *simDisk) SetMeta(fd storage.FileDesc) error {
	d.life.mu.Lock()
	defer d.life.mu.Unlock()
	return d.Storage.SetMeta(fd)
}

type simWriter struct {
	storage.Writer
	life *life
	file *simFile
}

func (w *simWriter) Write(b []byte) (int, error) {
	w.life.mu.Lock()
	defer w.life.mu.Unlock()
	half := len(b) / 2
	n, err := w.Writer.Write(b[:half])
	w.file.size += int64(n)
	if err != nil {
		return n, err
	}
	w.life.passesLocked(writing)
	m, err := w.Writer.Write(b[half:])
	w.file.size += int64(m)
	return n + m, err
}

func (w *simWriter) Sync() error {
	w.life.mu.Lock()
	defer w.life.mu.Unlock()
	w.life.passesLocked(syncing)
	w.file.synced = w.file.size
	w.life.passesLocked(synced)
	return nil
}

// simHost is a node's host in one of its lives.
type simHost struct {
	Host
	life *life
}

func (h *simHost) Send(to network.PeerID, c network.Class, msg []byte) error {
	if c == network.ClassConsensus {
		h.life.passes(sending)
	}
	return h.Host.Send(to, c, msg)
}

func (h *simHost) Request(ctx context.Context, to network.PeerID, p network.Protocol, req []byte) ([]byte, error) {
	if p != network.ProtocolSync {
		h.life.passes(requesting)
	}
	if h.life.gone.Load() { // nothing departs from the dead
		return nil, network.ErrStopped
	}
	got, err := h.Host.Request(ctx, to, p, req)
	if err == nil && p != network.ProtocolSync {
		h.life.passes(responded)
	}
	return got, err
}

// dead reports how a node died in a trap, "" if it did not.
func (p *peer) dead() string {
	if p.node == nil || !p.machine.life.gone.Load() {
		return ""
	}
	l := p.machine.life
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.how
}

// bury waits until the goroutines of a dead node have ended, and makes what its
// death left the node's data.
func (p *peer) bury() error {
	p.cancel()
	select {
	case <-p.done: // a dead node may well have failed
	case <-time.After(5 * time.Minute):
		return fmt.Errorf("the dead %s does not end", p.name)
	}
	p.node = nil
	l := p.machine.life
	if l.err != nil {
		return fmt.Errorf("%s: %w", p.name, l.err)
	}
	old := p.cfg.DataDir
	p.cfg.DataDir = l.image
	if !strings.HasPrefix(old, p.home) {
		return fmt.Errorf("%s is not below %s", old, p.home)
	}
	return os.RemoveAll(old)
}
