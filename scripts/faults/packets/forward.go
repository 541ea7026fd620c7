//go:build linux

package packets

import (
	"errors"
	"io"
	"net"
	"sync"
)

// Forward listens on address here and joins every connection to the same address of
// the host's own loopback: so clients outside reach what the host serves, over no
// link that a rule touches.
func (h *Host) Forward(address string) (io.Closer, error) {
	in, err := net.Listen("tcp4", address)
	if err != nil {
		return nil, err
	}
	f := &forward{listener: in, open: make(map[net.Conn]bool)}
	f.work.Go(func() {
		for {
			conn, err := in.Accept()
			if err != nil {
				return
			}
			if !f.keep(conn) {
				return
			}
			f.work.Go(func() { f.join(h, conn, address) })
		}
	})
	return f, nil
}

type forward struct {
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

// keep remembers a connection, so that Close can end it.
func (f *forward) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		conn.Close()
		return false
	}
	f.open[conn] = true
	return true
}

func (f *forward) drop(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, conn)
	conn.Close()
}

func (f *forward) join(h *Host, outside net.Conn, address string) {
	defer f.drop(outside)
	inside, err := h.Dial(address)
	if err != nil || !f.keep(inside) {
		return // as a closed port: the client sees a reset
	}
	defer f.drop(inside)
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{inside, outside}, {outside, inside}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			if c, ok := way[0].(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

// Close ends the listener and every connection.
func (f *forward) Close() error {
	f.mu.Lock()
	f.closed = true
	errs := []error{f.listener.Close()}
	for conn := range f.open {
		conn.Close()
	}
	f.mu.Unlock()
	f.work.Wait()
	return errors.Join(errs...)
}
