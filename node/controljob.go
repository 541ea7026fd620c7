package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	stdsync "sync"
	"time"
)

// A job that a running node does for its operator answers with lines of JSON: how
// far it is, now and then, and at the end its result or why there is none.
type jobLine struct {
	Progress *VerifyProgress `json:"progress,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// jobEvery is the least time between two lines about progress.
const jobEvery = 200 * time.Millisecond

// answerWithProgress does a job and writes its lines.
func answerWithProgress(w http.ResponseWriter, job func(progress func(VerifyProgress)) (any, error)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	var mu stdsync.Mutex
	line := func(l *jobLine) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(w).Encode(l) // whoever asked may have gone
		_ = http.NewResponseController(w).Flush()
	}
	var said time.Time
	result, err := job(func(p VerifyProgress) {
		if time.Since(said) >= jobEvery {
			said = time.Now()
			line(&jobLine{Progress: &p})
		}
	})
	if err != nil {
		line(&jobLine{Error: err.Error()})
		return
	}
	b, err := json.Marshal(result)
	if err != nil {
		line(&jobLine{Error: err.Error()})
		return
	}
	line(&jobLine{Result: b})
}

// askRunning has the running node do the job at a path of its control socket.
func askRunning[T any](ctx context.Context, dataDir, path string, progress func(VerifyProgress)) (out T, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node"+path, nil)
	if err != nil {
		return out, fmt.Errorf("ask the node: %w", err)
	}
	resp, err := controlClient(dataDir).Do(req)
	if err != nil {
		return out, fmt.Errorf("ask the node: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return out, fmt.Errorf("ask the node: %s: %s", resp.Status, strings.TrimSpace(string(why)))
	}
	in := json.NewDecoder(resp.Body)
	for {
		var l jobLine
		if err := in.Decode(&l); err != nil {
			return out, fmt.Errorf("the node ended before its job was done, see its log: %w", unexpectedEOF(err))
		}
		switch {
		case l.Progress != nil:
			progress(*l.Progress)
		case l.Error != "":
			return out, errors.New(l.Error)
		default:
			return out, json.Unmarshal(l.Result, &out)
		}
	}
}
