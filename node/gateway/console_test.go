package gateway

import (
	"io"
	"net/http"
	"testing"
)

// A browser finds the pages from the root, at the rate of those who show no token; an
// open page does not keep the node from stopping.
func TestTheConsoleIsServedBesideTheAPI(t *testing.T) {
	streaming := make(chan struct{})
	r := newRig(t, func(c *Config) {
		c.ConsolePath = "/console/"
		c.Console = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/console/live" {
				close(streaming)
				<-r.Context().Done()
				return
			}
			_, _ = io.WriteString(w, "page "+r.URL.Path)
		})
		c.Limits.AnonymousRate = 2 // twenty at once
	})
	get := func(path string) (int, string) {
		t.Helper()
		a, err := r.http.Get(r.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(body)
	}
	for path, want := range map[string]string{"/": "page /console/", "/console": "page /console/", "/console/blocks": "page /console/blocks"} {
		if status, body := get(path); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if status, _ := get("/consoles"); status < 400 {
		t.Errorf("a path beside it: %d", status)
	}
	last := 0
	for range 25 {
		last, _ = get("/console/")
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("a flood of pages: %d", last)
	}

	r.clock.advance(1 << 40)
	gone := make(chan error, 1)
	go func() {
		a, err := r.http.Get(r.url + "/console/live")
		if err == nil {
			a.Body.Close()
		}
		gone <- err
	}()
	<-streaming
	r.stop()
	<-gone
}
