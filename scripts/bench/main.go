// Command bench measures a network of four validator processes with real fsync
// and encrypted links, driven through the SDK by this process beside them.
//
//	go run ./scripts/bench [--json] [--consents 10000] [--seconds 10] [--repeats 3]
//	go run ./scripts/bench --assentd NEW --against OLD [--rounds 16]
//
// The second form compares two node programs on a machine that is not left alone:
// a network of each, loaded in turns, and the median ratio of their CPU.
//
// The nodes run the program as it is released, built with the compiler's profile;
// the first time that takes minutes (--pgo off: an ordinary build).
//
// What is measured, and how:
//
//   - tps, cpuPer1k, bytesPerRequest: committed access requests (each a PERMIT on
//     a consent of its own, spread over all consents) at saturation, submitted to
//     the two lenders' nodes. Their provider runs no answering node, so that the
//     figures are those of the ledger. CPU and bytes are those of the four node
//     processes (/proc), not of this client.
//   - commitMs: one client, one request after the other, until the outcome is
//     known at the node it asked.
//   - openedMs, verifiedMs: consented queries with a real answer out of a bank's
//     SQLite vault, one after the other: until the sealed answer is opened, and
//     until receipt and request are proven against the votes of a quorum.
//   - readsPerSec, readCpuPer1k: consent records read from one node.
//   - rssMB: sum of the nodes' peak resident memory over the whole run.
//   - idleCores: CPU of the four nodes while nobody asks anything.
//   - --catch-up BLOCKS measures something else: a node that lacks so many blocks
//     and fetches them from one other node on the same cores (catchup.go).
//   - --totals N measures totals over five banks instead: until they are decided,
//     added up, and verified (totals.go).
//   - --snapshot adds at the end: how long a validator takes to write a
//     snapshot of all that and what that costs the others' requests, and how soon a
//     new node works that begins with it (snapshot.go).
//   - --cohorts N measures statistics over 30,000 customers of three banks instead
//     (cohorts.go).
//   - signatureUs: what one signature check costs on this machine between the
//     runs at saturation. On a shared machine it varies by a factor of two and
//     more; the CPU figures vary with it.
//
// Every phase is warmed up; figures are medians of --repeats runs of --seconds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
)

// report is the JSON object.
type report struct {
	Validators int `json:"validators"`
	Cores      int `json:"cores"`
	Consents   int `json:"consents"`

	Profiled bool `json:"profiled"` // the node program was built with the compiler's profile, as it is released

	TPS             float64 `json:"tps"`
	CPUPer1k        float64 `json:"cpuPer1k"` // seconds, all nodes
	ClientCPUPer1k  float64 `json:"clientCpuPer1k"`
	BytesPerRequest float64 `json:"bytesPerRequest"` // per node

	CommitMs   spread `json:"commitMs"`
	OpenedMs   spread `json:"openedMs"`
	VerifiedMs spread `json:"verifiedMs"`

	ReadsPerSec  float64 `json:"readsPerSec"`
	ReadCPUPer1k float64 `json:"readCpuPer1k"` // seconds, the node asked

	RSSMB     float64 `json:"rssMB"`
	IdleCores float64 `json:"idleCores"`

	SignatureUs  float64 `json:"signatureUs"`  // one signature check on this machine, median over the run: the yardstick of the CPU figures
	SetupSeconds float64 `json:"setupSeconds"` // creating and authorising the consents

	Snapshot *snapshotReport `json:"snapshot,omitempty"`
}

// spread is a distribution in milliseconds.
type spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	N   int     `json:"n"`
}

type options struct {
	json     bool
	consents int
	seconds  int
	repeats  int
	clients  int
	keep     string
	program  string
	pgo      string
	profile  string
	against  string
	rounds   int
	catchUp  int
	perBlock int
	totals   int
	snapshot bool
	cohorts  int
}

func main() {
	flag.CommandLine = flag.NewFlagSet("bench", flag.ExitOnError) // the default one holds flags of libraries
	var o options
	flag.BoolVar(&o.json, "json", false, "print exactly one JSON object on standard output")
	flag.IntVar(&o.consents, "consents", 10_000, "consents on the ledger")
	flag.IntVar(&o.seconds, "seconds", 10, "length of one measurement")
	flag.IntVar(&o.repeats, "repeats", 3, "measurements of which the median counts")
	flag.IntVar(&o.clients, "clients", 512, "requests in flight at saturation")
	flag.StringVar(&o.keep, "keep", "", "directory for the network, kept afterwards; default: a temporary one")
	flag.StringVar(&o.program, "assentd", "", "the node program; default: it is built")
	flag.StringVar(&o.pgo, "pgo", "", "profile to build the node program with, or off; default: scripts/deploy/assentd.pgo, as the released program")
	flag.StringVar(&o.profile, "profile", "", "directory for CPU and heap profiles of every node, taken at saturation")
	flag.StringVar(&o.against, "against", "", "another node program: instead of measuring, load a network of each in turns and compare their CPU")
	flag.IntVar(&o.rounds, "rounds", 16, "rounds of a comparison")
	flag.IntVar(&o.catchUp, "catch-up", 0, "instead of all this, measure how a node that is so many blocks behind catches up")
	flag.IntVar(&o.perBlock, "per-block", 30, "transactions of a block that --catch-up makes")
	flag.IntVar(&o.cohorts, "cohorts", 0, "instead of all this, measure so many statistics over 30,000 customers of three banks")
	flag.IntVar(&o.totals, "totals", 0, "instead of all this, measure so many totals over five banks")
	flag.BoolVar(&o.snapshot, "snapshot", false, "also measure a snapshot written under load, and a node that begins with it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		if o.json {
			_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"error": err.Error()}) // nobody is left to tell
		}
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.consents < 1 || o.seconds < 1 || o.repeats < 1 || o.clients < 1 || o.rounds < 1 || o.perBlock < 1 {
		return errors.New("--consents, --seconds, --repeats, --clients, --rounds and --per-block must be at least 1")
	}
	dir := o.keep
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	} else {
		if err := os.MkdirAll(".assent", 0o700); err != nil {
			return err
		}
		if dir, err = os.MkdirTemp(".assent", "bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if o.against != "" {
		return pair(ctx, dir, o)
	}
	if o.cohorts > 0 {
		return cohorts(ctx, dir, o)
	}
	if o.totals > 0 {
		return totals(ctx, dir, o)
	}
	b, err := open(ctx, dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if o.catchUp > 0 {
		return b.catchUp(ctx)
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(b.report)
	}
	b.print()
	return nil
}

func (b *bench) measure(ctx context.Context) error {
	for _, phase := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"consents", b.makeConsents},
		{"one client", b.oneClient},
		{"consented queries", b.queries},
		{"saturation", b.saturation},
		{"reads", b.reads},
		{"idle", b.idle},
	} {
		b.progress("%s …", phase.name)
		if err := phase.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
	}
	for _, x := range b.net.Nodes {
		kb, err := peakRSS(x.PID)
		if err != nil {
			return err
		}
		b.report.RSSMB += float64(kb) / 1024
	}
	if !b.opts.snapshot {
		return nil
	}
	b.progress("snapshot …")
	if err := b.snapshot(ctx); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) print() {
	r := &b.report
	fmt.Printf(`Four validators on %d cores, %d consents, the client beside them.
Their program: %s.

committed access requests   %8.0f /s
CPU of all nodes            %8.2f s per 1,000 requests (client: %.2f)
written to disk             %8.1f KB per request and node
commit, one client          %8.1f ms p50, %.1f p95, %.1f p99 (%d requests)
answer opened               %8.1f ms p50, %.1f p95, %.1f p99 (%d queries)
answer verified             %8.1f ms p50, %.1f p95, %.1f p99
reads from one node         %8.0f /s at %.3f CPU-s per 1,000
memory of all nodes         %8.0f MB at the peak
idle                        %8.3f cores
one signature check         %8.1f µs on this machine now
`, r.Cores, r.Consents, b.how(), r.TPS, r.CPUPer1k, r.ClientCPUPer1k, r.BytesPerRequest/1024,
		r.CommitMs.P50, r.CommitMs.P95, r.CommitMs.P99, r.CommitMs.N,
		r.OpenedMs.P50, r.OpenedMs.P95, r.OpenedMs.P99, r.OpenedMs.N, r.VerifiedMs.P50, r.VerifiedMs.P95, r.VerifiedMs.P99,
		r.ReadsPerSec, r.ReadCPUPer1k, r.RSSMB, r.IdleCores, r.SignatureUs)
	if s := r.Snapshot; s != nil {
		fmt.Printf(`snapshot of %d receipts     %8.1f s for %.0f MB, %.0f requests/s meanwhile (%.0f before, %.0f after); memory of who wrote it %.0f MB at the peak, %.0f of them for that
a new node begins with it   %8.1f s, %.0f MB at the peak
`, s.Receipts, s.WriteSeconds, s.MB, s.DuringTPS, s.BeforeTPS, s.AfterTPS, s.WriterRSSMB, s.WriterGrewMB, s.JoinSeconds, s.JoinRSSMB)
	}
}

func distribution(samples []time.Duration) spread {
	slices.Sort(samples)
	at := func(p float64) float64 {
		if len(samples) == 0 {
			return 0
		}
		i := min(int(p*float64(len(samples))), len(samples)-1)
		return float64(samples[i].Microseconds()) / 1000
	}
	return spread{P50: at(0.50), P95: at(0.95), P99: at(0.99), N: len(samples)}
}

// quantile is the value below which a part p of v lies.
func quantile(v []float64, p float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[min(int(p*float64(len(v))), len(v)-1)]
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

// open makes and starts the network.
func open(ctx context.Context, dir string, o options) (*bench, error) {
	b := &bench{opts: o, began: time.Now()}
	b.report.Cores = runtime.NumCPU()
	b.report.Consents = o.consents
	program, err := b.build(ctx, dir)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if b.vault, err = makeVault(ctx, filepath.Join(abs, "vault.db")); err != nil {
		return nil, err
	}
	if b.net, err = testnet.Create(ctx, filepath.Join(abs, "net"), program, manifest(b.vault, o.profile != "")); err != nil {
		return nil, err
	}
	b.report.Validators = len(b.net.Nodes)
	if err := b.net.Up(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if err := b.dial(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}
