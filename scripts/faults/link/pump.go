package link

import (
	"context"
	"net"
	"time"
)

const (
	pieceSize = 16 << 10
	// held bounds the pieces that wait to be passed on; the sender waits then, as
	// it does when a window is full.
	held = 64
)

// piece is some bytes on their way, and when they are due.
type piece struct {
	data []byte
	due  time.Time
}

// pump carries one direction until a connection ends or ctx does.
func (l *Links) pump(ctx context.Context, src, dst *net.TCPConn, from, to string) {
	queue := make(chan piece, held)
	go func() { // ends with src, which the caller closes when pump returns
		defer close(queue)
		var last time.Time
		for {
			buf := make([]byte, pieceSize)
			n, err := src.Read(buf)
			if n > 0 {
				r, _ := l.rule(from, to)
				due := time.Now().Add(r.Delay)
				if r.Delay > 0 || r.Jitter > 0 {
					l.met.Add(1)
				}
				if r.Jitter > 0 {
					due = due.Add(time.Duration(l.random() * float64(r.Jitter)))
				}
				if due.Before(last) {
					due = last // TCP keeps the order
				}
				last = due
				select {
				case queue <- piece{buf[:n], due}:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case p, ok := <-queue:
			if !ok || !l.pass(ctx, dst, p, from, to) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// pass writes one piece when its time has come and the rule lets it, and reports
// whether the connection goes on.
func (l *Links) pass(ctx context.Context, dst *net.TCPConn, p piece, from, to string) bool {
	if !sleep(ctx, time.Until(p.due), nil) {
		return false
	}
	r, changed := l.rule(from, to)
	if r.Stall {
		l.met.Add(1)
	}
	for r.Stall {
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
		r, changed = l.rule(from, to)
	}
	if r.Rough > 0 {
		if x := l.random(); x < r.Rough/50 {
			l.met.Add(1)
			return false
		} else if x < r.Rough {
			l.met.Add(1)
			pause := 200*time.Millisecond + time.Duration(l.random()*float64(800*time.Millisecond))
			if !sleep(ctx, pause, changed) {
				return false
			}
		}
		if n := len(p.data) / 2; n > 0 {
			if _, err := dst.Write(p.data[:n]); err != nil {
				return false
			}
			p.data = p.data[n:]
		}
	}
	if r.Rate > 0 {
		l.met.Add(1)
		wait := time.Duration(len(p.data)) * time.Second / time.Duration(r.Rate)
		if !sleep(ctx, wait, changed) {
			return false
		}
	}
	_, err := dst.Write(p.data)
	return err == nil
}

// sleep waits for d, or less if the rules change, and reports that ctx goes on.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
		return false
	}
	return true
}
