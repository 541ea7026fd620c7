package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/assent-network/assent/node/api"
	"github.com/assent-network/assent/node/api/openapi"
)

// healthTime bounds what /readyz may take: whoever asks takes silence for no.
const healthTime = 2 * time.Second

// Readiness is the body of /readyz.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// health answers /healthz and /readyz.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if err := s.strangers.of(network(r.RemoteAddr), s.now()).take(s.now()); err != nil {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if r.URL.Path == api.HealthPath {
		Live(w, r)
		return
	}
	ServeReadiness(w, s.Readiness(r.Context()))
}

// Readiness says whether clients should be sent here.
func (s *Server) Readiness(ctx context.Context) Readiness {
	running := Check{Name: "running", OK: !s.draining()}
	if !running.OK {
		running.Why = "the node is stopping: use another one"
	}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	checks := append([]Check{running}, s.cfg.Node.Health(ctx)...)
	return Readiness{Ready: !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK && !c.Advisory }), Checks: checks}
}

// Live answers /healthz: whoever reads this talks to a process that lives.
func Live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n") // the client may have gone
}

// ServeReadiness answers /readyz: 200, or 503 and what keeps it from being ready.
func ServeReadiness(w http.ResponseWriter, ready Readiness) {
	w.Header().Set("Content-Type", "application/json")
	if !ready.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(ready) // the client may have gone
}

// describe serves the OpenAPI description of the API to anybody.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) {
	if err := s.strangers.of(network(r.RemoteAddr), s.now()).take(s.now()); err != nil {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the description of the API is read with GET", http.StatusMethodNotAllowed)
		return
	}
	text, kind := openapi.YAML, "application/yaml"
	if r.URL.Path == openapi.JSONPath {
		text, kind = openapi.JSON, "application/json"
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(text) // the client may have gone
}
