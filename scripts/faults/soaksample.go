package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/assent-network/assent/scripts/faults/flat"
	"github.com/assent-network/assent/scripts/testnet"
)

// watched is what one node was seen to use.
type watched struct {
	lives []life
	disk  map[string][]flat.Point // by store, over work
	over  map[string][]flat.Point // by figure that outlives processes, over time
}

// life is what one process of a node used, by figure, over time.
type life struct {
	pid    int
	points map[string][]flat.Point
}

func (w *watched) last(figure string) float64 {
	if len(w.lives) == 0 {
		return 0
	}
	points := w.lives[len(w.lives)-1].points[figure]
	if len(points) == 0 {
		return 0
	}
	return points[len(points)-1].Value
}

// sample asks every node that runs what it uses now. A node that does not answer,
// because it has just been started or struck, is left out.
func (s *soak) sample(ctx context.Context, p *play, at time.Duration) error {
	for _, x := range p.net.Nodes {
		w := s.watched[x.Name]
		if w == nil {
			w = &watched{disk: make(map[string][]flat.Point), over: make(map[string][]flat.Point)}
			s.watched[x.Name] = w
		}
		if !x.Running() {
			return fmt.Errorf("%s ended by itself: %s", x.Name, x.LastLine())
		}
		process, executed, err := processUse(ctx, x)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if s.steady[x.Name] {
			s.work = max(s.work, executed)
		}
		if len(w.lives) == 0 || w.lives[len(w.lives)-1].pid != x.PID {
			w.lives = append(w.lives, life{pid: x.PID, points: make(map[string][]flat.Point)})
		}
		now := w.lives[len(w.lives)-1]
		for name, v := range process {
			now.points[name] = append(now.points[name], flat.Point{At: at.Seconds(), Value: v})
		}
		disk, err := diskUse(x)
		if err != nil {
			return err
		}
		if x.Member == bank {
			if disk["vault"], err = size(p.vaultPath()); err != nil {
				return err
			}
		}
		for name, v := range disk {
			w.disk[name] = append(w.disk[name], flat.Point{At: s.work, Value: v})
			w.over[name] = append(w.over[name], flat.Point{At: at.Seconds(), Value: v})
		}
		w.over["outbox"] = append(w.over["outbox"], flat.Point{At: at.Seconds(), Value: process["outbox"]})
	}
	return nil
}

// processUse is what a node's process uses, after a garbage collection, and how
// many transactions it has executed since it started.
func processUse(ctx context.Context, x *testnet.Node) (use map[string]float64, executed float64, err error) {
	if err := scrape(ctx, x, "/debug/pprof/heap?gc=1", func(string) {}); err != nil {
		return nil, 0, err
	}
	use = make(map[string]float64)
	err = scrape(ctx, x, "/metrics", func(line string) {
		name, text, _ := strings.Cut(line, " ")
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || strings.HasPrefix(line, "#") {
			return
		}
		name, _, _ = strings.Cut(name, "{")
		switch name {
		case "go_goroutines":
			use["goroutines"] = v
		case "go_memstats_heap_alloc_bytes":
			use["heap"] = v
		case "assent_outbox_items":
			use["outbox"] = v
		case "assent_pool_requests":
			use["pool"] = v
		case "assent_transactions_total":
			executed += v
		}
	})
	if err != nil {
		return nil, 0, err
	}
	u, err := x.Usage()
	if err != nil {
		return nil, 0, err
	}
	use["rss"] = float64(u.RSS)
	return use, executed, handles(x.PID, use)
}

// handles counts a process's open files, by what they are.
func handles(pid int, use map[string]float64) error {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	use["sockets"], use["files"] = 0, 0
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case err != nil: // closed meanwhile
		case strings.HasPrefix(to, "socket:"):
			use["sockets"]++
		default:
			use["files"]++
		}
	}
	return nil
}

func scrape(ctx context.Context, x *testnet.Node, path string, each func(line string)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+x.Ops+path, nil)
	if err != nil {
		return err
	}
	req.Close = true // a connection kept open would be one of the node's sockets
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of %s: %s", path, x.Name, resp.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		each(lines.Text())
	}
	return nil // a binary profile is no lines: it was wanted for its garbage collection
}

// parts of a data directory that are figures of their own.
var parts = map[string]string{"blocks": "blocks", "state": "state", "wal": "wal", "private.db": "private", "private.db-wal": "journal", "private.db-shm": "journal"}

// diskUse is what a node's home takes, by store; what belongs to none is other.
func diskUse(x *testnet.Node) (map[string]float64, error) {
	use := map[string]float64{"blocks": 0, "state": 0, "wal": 0, "private": 0, "journal": 0, "log": 0, "other": 0}
	err := filepath.WalkDir(x.Home, func(at string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone meanwhile, as tables of a compaction
			return nil
		case err != nil || !d.Type().IsRegular():
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		store := "other"
		if at == x.LogPath() {
			store = "log"
		} else if below, err := filepath.Rel(x.DataDir(), at); err == nil {
			first, _, _ := strings.Cut(below, string(filepath.Separator))
			if s, ok := parts[first]; ok {
				store = s
			}
		}
		use[store] += float64(info.Size())
		return nil
	})
	return use, err
}

func size(path string) (n float64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()), nil
}

// rowsOf counts what a stopped node's private database holds, by table.
func rowsOf(ctx context.Context, x *testnet.Node) (rows map[string]int64, err error) {
	db, err := private(x)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var tables []string
	list, err := db.QueryContext(ctx, `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("tables of %s: %w", x.Name, err)
	}
	defer list.Close()
	for list.Next() {
		var name string
		if err := list.Scan(&name); err != nil {
			return nil, err
		}
		tables = append(tables, name)
	}
	if err := list.Err(); err != nil {
		return nil, err
	}
	rows = make(map[string]int64)
	for _, t := range tables {
		var n int64
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM "`+t+`"`).Scan(&n); err != nil {
			return nil, fmt.Errorf("table %s of %s: %w", t, x.Name, err)
		}
		rows[t] = n
	}
	return rows, nil
}
