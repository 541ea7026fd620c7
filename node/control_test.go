package node

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// Whoever stops the node closes its files next: a call that still reads them would
// read what is closed.
func TestStoppingWaitsForCallsOnTheControlSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), controlFile))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	returned := false // read only after serveUntil, which must have waited
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
		time.Sleep(50 * time.Millisecond) // what it does until it looks at its context
		returned = true
	})
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", l.Addr().String())
		}}}
		if resp, err := c.Get("http://node/"); err == nil {
			resp.Body.Close()
			t.Error("an unfinished call was answered")
		}
	}()
	if err := serveUntil(ctx, l, h); err != nil {
		t.Error(err)
	}
	if !returned {
		t.Error("the node goes on stopping while a call runs")
	}
	<-asked
}
