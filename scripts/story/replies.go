package main

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// recorder keeps what the nodes' APIs answered during the story, to be searched
// for personal data afterwards.
type recorder struct {
	mu      sync.Mutex
	replies []*reply
}

type reply struct {
	path string
	mu   sync.Mutex
	body bytes.Buffer
}

// wrap records the answers of a client.
func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper { return recording{r, next} }

type recording struct {
	r    *recorder
	next http.RoundTripper
}

func (t recording) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	kept := &reply{path: req.URL.Host + req.URL.Path}
	t.r.mu.Lock()
	t.r.replies = append(t.r.replies, kept)
	t.r.mu.Unlock()
	resp.Body = &teeBody{resp.Body, kept}
	return resp, nil
}

// teeBody copies what is read.
type teeBody struct {
	io.ReadCloser
	kept *reply
}

func (b *teeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.kept.mu.Lock()
	b.kept.body.Write(p[:n])
	b.kept.mu.Unlock()
	return n, err
}

// rows visits every reply.
func (r *recorder) rows(visit func(string, []byte) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.replies {
		x.mu.Lock()
		err := visit("reply of "+x.path, x.body.Bytes())
		x.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
