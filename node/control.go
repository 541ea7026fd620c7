package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// The control socket is where the operator's commands on this machine speak to the
// running node: a Unix socket in the data directory, which nobody but the node's own
// user can enter. Whoever can open it can read the files anyway, so it asks for no
// token; the operators' address, which may be on a network, never serves this.
const controlFile = "control.sock"

type control struct {
	listener net.Listener // nil where the machine is simulated
	backup   sync.Mutex   // held by the one backup that may run
}

// openControl binds the control socket. The lock of the block store, which is held
// by now, says that a socket found here is a dead node's.
func (n *Node) openControl(ctx context.Context) error {
	if n.opts.Listen != nil {
		return nil // a simulated machine has no files for sockets
	}
	if err := removeCopies(n.cfg.DataDir); err != nil {
		return err
	}
	path := filepath.Join(n.cfg.DataDir, controlFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := atSocket(n.cfg.DataDir, func(path string) (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(ctx, "unix", path)
	})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // its name may be a detour
	n.control.listener = l
	n.closeLater(func() error {
		err := l.Close()
		if errors.Is(err, net.ErrClosed) { // after Run it is closed
			err = nil
		}
		return errors.Join(err, ignoreMissing(os.Remove(path)))
	})
	return os.Chmod(path, 0o600)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// maxSocketPath is less than what every system takes.
const maxSocketPath = 100

// atSocket calls f with the path of the control socket in dir. A path that is too
// long for a socket is named through the directory's descriptor.
func atSocket[T any](dir string, f func(path string) (T, error)) (T, error) {
	path := filepath.Join(dir, controlFile)
	if len(path) <= maxSocketPath {
		return f(path)
	}
	d, err := os.Open(dir)
	if err != nil {
		var none T
		return none, err
	}
	defer d.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlFile))
}

// runControl serves the control socket until ctx ends.
func (n *Node) runControl(ctx context.Context) error {
	if n.control.listener == nil {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+backupPath, n.serveBackup)
	mux.HandleFunc("POST "+snapshotPath, n.serveSnapshot)
	mux.HandleFunc("POST "+prunePath, n.servePrune)
	return serveUntil(ctx, n.control.listener, mux)
}

// serveUntil serves until ctx ends and every call has returned: what they read is
// closed after that. A call under way finds its context ended and its connection
// cut, so whoever asked sees that it is unfinished.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var calls sync.RWMutex // held for reading by every call
	joined := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !calls.TryRLock() {
			http.Error(w, "the node is stopping", http.StatusServiceUnavailable)
			return
		}
		defer calls.RUnlock()
		h.ServeHTTP(w, r)
	})
	s := &http.Server{Handler: joined, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	cancel()
	err = errors.Join(err, s.Close())
	calls.Lock() // and stays so: nothing is served any more
	return err
}

// errNotRunning: no node answers at the control socket of a data directory.
var errNotRunning = errors.New("no node runs on this data directory")

// controlClient speaks to the node that runs on a data directory.
func controlClient(dataDir string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := atSocket(dataDir, func(path string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", path)
			})
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
				return nil, errNotRunning
			}
			return c, err
		},
	}}
}
