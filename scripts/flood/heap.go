package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// liveHeap is the live memory of the node that has the most, in MB, after a collection
// of garbage. Resident memory says less: Go gives back what it does not need in its
// own time.
func (w *world) liveHeap(ctx context.Context) (most float64, err error) {
	for _, x := range w.validators() {
		if _, err := opsGet(ctx, "http://"+x.Ops+"/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
		text, err := opsGet(ctx, "http://"+x.Ops+"/metrics")
		if err != nil {
			return 0, err
		}
		live, err := sampleOf(text, "go_memstats_heap_alloc_bytes")
		if err != nil {
			return 0, fmt.Errorf("%s: %w", x.Name, err)
		}
		most = max(most, live/(1<<20))
	}
	return most, nil
}

func opsGet(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(b), err
}

func sampleOf(metrics, name string) (float64, error) {
	lines := bufio.NewScanner(strings.NewReader(metrics))
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("no sample of %s", name)
}
