package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/assent-network/assent/scripts/faults/flat"
)

const kib, mib = 1 << 10, 1 << 20

// figure is something that must stay at its level over the second half.
type figure struct {
	name string
	unit float64 // for people; 1: a count
	// process: it is judged in the longest life of the node's processes; else over
	// all of them.
	process bool
	bound   flat.Bound
	why     string // for the bound
}

var figures = []figure{
	{"goroutines", 1, true, flat.Bound{Least: 12, Share: 0.05}, "connections come and go"},
	{"heap", mib, true, flat.Bound{Least: 10 * mib, Share: 0.15}, "caches fill, and the ids of ten minutes are known"},
	{"rss", mib, true, flat.Bound{Least: 32 * mib, Share: 0.20}, "the runtime gives memory back late"},
	{"sockets", 1, true, flat.Bound{Least: 8}, "connections come and go"},
	{"files", 1, true, flat.Bound{Least: 24}, "tables of the stores, of which at most 96 are kept open"},
	{"pool", 1, true, flat.Bound{Least: 200}, "what waits to be ordered"},
	{"outbox", 1, false, flat.Bound{Least: 64}, "what is under way"},
	{"wal", mib, false, flat.Bound{Least: 72 * mib}, "it is cut a file of 64 MiB at a time"},
	{"journal", mib, false, flat.Bound{Least: 8 * mib}, "SQLite's log is taken over when it has 4 MiB"},
	{"vault", mib, false, flat.Bound{}, "the bank's own database is only read"},
	{"other", mib, false, flat.Bound{Least: 256 * kib}, "configuration, keys"},
}

// kept is something on disk that may grow with the transactions.
type kept struct {
	name  string
	most  float64 // bytes for each transaction
	bound flat.Bound
	why   string // it grows, and how long
}

var keeps = []kept{
	{"blocks", 2 * kib, flat.Bound{Least: 1 * kib, Share: 1.5}, "every transaction, its block's header and certificate: until blocks are pruned behind a snapshot"},
	{"state", 4 * kib, flat.Bound{Least: 2 * kib, Share: 1.5}, "records, trie nodes and outcomes: receipts are kept, old versions are dropped"},
	{"private", kib, flat.Bound{Least: kib, Share: 1.5}, "of the bank: one row for each answer, so that none is given twice, and sealed parts; of a lender: answers until they expire"},
	{"log", 64, flat.Bound{Least: 32, Share: 1.5}, "a line for what an operator should know: rotate it"},
}

// levelled is the judgement on a figure.
type levelled struct {
	flat.Level
	Why string `json:"why"`
}

// growth is the judgement on a store.
type growth struct {
	flat.Spread
	Bytes  float64 `json:"bytes"`  // over the whole run
	PerTx  float64 `json:"perTx"`  // of them
	AtEnd  float64 `json:"atEnd"`  // bytes
	Reason string  `json:"reason"` // why it grows
}

// judge holds the samples against figures and stores (keeps), and says what is wrong.
func (s *soak) judge() []string {
	s.levels, s.growth = make(map[string]map[string]levelled), make(map[string]map[string]growth)
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(s.watched)) {
		w := s.watched[name]
		s.levels[name], s.growth[name] = make(map[string]levelled), make(map[string]growth)
		for _, f := range figures {
			points := w.over[f.name]
			if f.process {
				points = w.longest().points[f.name]
			}
			if len(points) == 0 && f.name == "vault" {
				continue // only the bank has one
			}
			l := flat.Judge(points, f.bound)
			s.levels[name][f.name] = levelled{l, f.why}
			switch {
			case !l.Judged && (s.steady[name] || !f.process):
				wrong = append(wrong, fmt.Sprintf("%s: %s was sampled only %d times: nothing can be said", name, f.name, l.Points))
			case l.Judged && !l.Flat:
				wrong = append(wrong, fmt.Sprintf("%s: %s grew by %s in %.0f s, from %s to %s; allowed are %s (%s)",
					name, f.name, f.say(l.Growth), l.Seconds, f.say(l.First), f.say(l.Last), f.say(l.Allowed), f.why))
			}
		}
		wrong = append(wrong, s.judgeStores(name, w)...)
	}
	return wrong
}

func (s *soak) judgeStores(name string, w *watched) (wrong []string) {
	for _, d := range keeps {
		points := w.disk[d.name]
		g := growth{Spread: flat.PerWork(points, d.most, d.bound), Reason: d.why}
		if n := len(points); n > 0 {
			first, last := points[0], points[n-1]
			g.Bytes, g.AtEnd = last.Value-first.Value, last.Value
			if done := last.At - first.At; done > 0 {
				g.PerTx = g.Bytes / done
			}
		}
		s.growth[name][d.name] = g
		switch {
		case !g.Judged:
			wrong = append(wrong, fmt.Sprintf("%s: %s was sampled too seldom: nothing can be said", name, d.name))
		case !g.Within:
			wrong = append(wrong, fmt.Sprintf("%s: %s grew by %.0f bytes for each transaction of the second half and %.0f of the first; allowed are %.0f",
				name, d.name, g.Second, g.First, g.Allowed))
		}
	}
	return wrong
}

func (w *watched) longest() life {
	if len(w.lives) == 0 {
		return life{}
	}
	return slices.MaxFunc(w.lives, func(a, b life) int { return cmp.Compare(span(a), span(b)) })
}

func span(l life) float64 {
	points := l.points["goroutines"]
	if len(points) == 0 {
		return 0
	}
	return points[len(points)-1].At - points[0].At
}

func (f *figure) say(v float64) string {
	if f.unit == 1 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f MiB", v/f.unit)
}

// table is for people.
func (r *soakReport) table(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%.0f s, %.0f transactions, %d reads, %d events, faults %v\n\n", r.Seconds, r.Transactions, r.Reads, r.Events, r.Faults)
	fmt.Fprint(t, "over the second half")
	for _, n := range r.Nodes {
		fmt.Fprintf(t, "\t%s", short(n))
	}
	fmt.Fprintln(t, "\tmay grow by")
	for i := range figures {
		f := &figures[i]
		fmt.Fprint(t, f.name)
		allowed := 0.0
		for _, n := range r.Nodes {
			l, ok := n.Levels[f.name]
			switch {
			case !ok:
				fmt.Fprint(t, "\t-")
			case !l.Judged:
				fmt.Fprint(t, "\ttoo few samples")
			default:
				mark := ""
				if !l.Flat {
					mark = " GROWS"
				}
				fmt.Fprintf(t, "\t%s → %s%s", f.say(l.First), f.say(l.Last), mark)
			}
			allowed = max(allowed, l.Allowed)
		}
		fmt.Fprintf(t, "\t%s: %s\n", f.say(allowed), f.why)
	}
	fmt.Fprint(t, "\nbytes per transaction (whole; 1st, 2nd half)")
	for _, n := range r.Nodes {
		fmt.Fprintf(t, "\t%s", short(n))
	}
	fmt.Fprintln(t, "\tat most; why")
	for _, d := range keeps {
		fmt.Fprint(t, d.name)
		for _, n := range r.Nodes {
			g := n.Growth[d.name]
			mark := ""
			if g.Judged && !g.Within {
				mark = " GROWS"
			}
			fmt.Fprintf(t, "\t%.0f (%.0f, %.0f)%s", g.PerTx, g.First, g.Second, mark)
		}
		fmt.Fprintf(t, "\t%.0f; %s\n", d.most, d.why)
	}
	fmt.Fprintln(t, "\nrows in private.db")
	for _, table := range r.tables() {
		fmt.Fprint(t, table)
		for _, n := range r.Nodes {
			fmt.Fprintf(t, "\t%d", n.Rows[table])
		}
		fmt.Fprintln(t, "\t")
	}
	fmt.Fprintln(t)
	return t.Flush()
}

func (r *soakReport) tables() []string {
	all := make(map[string]bool)
	for _, n := range r.Nodes {
		for t := range n.Rows {
			all[t] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// short names a node in a column.
func short(n soakNode) string {
	name, _, _ := strings.Cut(n.Name, "-validator")
	if n.Steady {
		return name
	}
	return fmt.Sprintf("%s (%d lives)", name, n.Lives)
}
