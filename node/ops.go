package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/assent-network/assent/node/api"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/gateway"
)

// openOps binds the operators' address: metrics, health, this node's view of
// itself and profiles, without TLS or tokens, so that it belongs on loopback or a
// management network. Nothing is served when it is off.
func (n *Node) openOps(ctx context.Context) error {
	addr := n.cfg.Metrics.Listen
	if addr == config.Off {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w: free the port, or set metrics.listen", addr, err)
	}
	n.ops = l
	n.closeLater(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // after Run it is closed
			return err
		}
		return nil
	})
	return nil
}

// runOps serves operators until ctx ends.
func (n *Node) runOps(ctx context.Context) error {
	if n.ops == nil {
		<-ctx.Done()
		return nil
	}
	n.metrics.Watch(n.figures)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.metrics.Handler())
	mux.HandleFunc("GET "+api.HealthPath, gateway.Live)
	mux.HandleFunc("GET "+api.ReadyPath, func(w http.ResponseWriter, r *http.Request) {
		gateway.ServeReadiness(w, n.gateway.Readiness(r.Context()))
	})
	mux.HandleFunc("GET "+statusPath, n.serveStatus)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(n.ops) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err := s.Close() // a profile under way is not waited for
	<-ended
	return err
}
