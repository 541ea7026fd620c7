package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/ledger"
)

// The client of the benchmark is a process of its own, so that the CPU time of
// this one is the server's.
const (
	loadURL   = "ASSENT_GATEWAY_LOAD_URL"
	loadToken = "ASSENT_GATEWAY_LOAD_TOKEN"
	loadRoots = "ASSENT_GATEWAY_LOAD_ROOTS"
	loadCalls = "ASSENT_GATEWAY_LOAD_CALLS"
	loadHTTP1 = "ASSENT_GATEWAY_LOAD_HTTP1"
	loadJobs  = "ASSENT_GATEWAY_LOAD_JOBS"
)

func runLoad() {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv(loadRoots)))
	calls, _ := strconv.Atoi(os.Getenv(loadCalls))
	jobs, _ := strconv.Atoi(os.Getenv(loadJobs))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: jobs}
	if os.Getenv(loadHTTP1) != "" {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	client := &http.Client{Transport: transport}
	c := assentv1connect.NewLedgerServiceClient(client, os.Getenv(loadURL), connect.WithAcceptCompression("gzip", nil, nil))
	var wg sync.WaitGroup
	for j := range jobs {
		n := calls / jobs
		if j < calls%jobs {
			n++
		}
		wg.Go(func() {
			for range n {
				_, err := c.Evaluate(context.Background(), with(os.Getenv(loadToken), &assentv1.EvaluateRequest{Contract: "catalog", Function: "GetProduct", Args: []string{"p"}}))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		})
	}
	wg.Wait()
}

// fixed answers reads with a record of usual size, at no cost of its own.
type fixed struct {
	*world
	payload []byte
	client  *record.Client
}

func (f fixed) Evaluate(context.Context, Call) ([]byte, ledger.Height, error) {
	return f.payload, 9, nil
}

func (f fixed) Client(record.OrgID, ledger.Address) (*record.Client, record.Millis, error) {
	return f.client, 0, nil
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEvaluate is an authenticated read over TLS. cpu-s/1000 is the server's
// CPU time per 1,000 calls, without what the backend costs.
func BenchmarkEvaluate(b *testing.B) {
	for _, x := range []load{{1, false}, {16, false}, {64, false}, {16, true}} {
		b.Run(x.String(), func(b *testing.B) {
			r := newRig(b, func(c *Config) {
				f := fixed{world: c.Reads.(*world), payload: make([]byte, 900)}
				f.client = f.register("bank-a", "clerk", record.RoleIntegration)
				c.Reads, c.Clients = f, f
				c.Limits.ClientRate, c.Limits.ClientBurst = 1e6, 1_000_000
				c.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil)) // level info, as in operation
			})
			x.run(b, r, r.url)
		})
	}
}

// BenchmarkBareHTTP is what Go's HTTP server costs that does nothing but send an
// answer of the same size: the floor under BenchmarkEvaluate.
func BenchmarkBareHTTP(b *testing.B) {
	for _, x := range []load{{16, false}, {16, true}} {
		b.Run(x.String(), func(b *testing.B) {
			r := newRig(b)
			answer, err := proto.Marshal(&assentv1.EvaluateResponse{Payload: make([]byte, 900)})
			if err != nil {
				b.Fatal(err)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			s := &http.Server{
				TLSConfig: &tls.Config{Certificates: []tls.Certificate{r.srv.cfg.Certificate}},
				Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					_, _ = io.Copy(io.Discard, req.Body)
					w.Header().Set("Content-Type", "application/proto")
					_, _ = w.Write(answer)
				}),
			}
			done := make(chan error, 1)
			go func() { done <- s.ServeTLS(l, "", "") }()
			x.run(b, r, "https://"+l.Addr().String())
			_ = s.Close()
			<-done
		})
	}
}

// load is how a benchmark's client calls.
type load struct {
	jobs  int
	http1 bool
}

func (x load) String() string { return fmt.Sprintf("callers=%d,http1=%t", x.jobs, x.http1) }

func (x load) run(b *testing.B, r *rig, url string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), loadURL+"="+url, loadToken+"="+r.token("clerk", "bank-a"), loadRoots+"="+string(PEM(r.srv.cfg.Certificate)),
		loadCalls+"="+strconv.Itoa(b.N), loadJobs+"="+strconv.Itoa(x.jobs))
	if x.http1 {
		cmd.Env = append(cmd.Env, loadHTTP1+"=1")
	}
	cmd.Stderr = os.Stderr
	before := cpu(b)
	b.ResetTimer()
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N), "cpu-s/1000")
}

// BenchmarkAuthorise is what the gate costs once a token is known.
func BenchmarkAuthorise(b *testing.B) {
	r := newRig(b, func(c *Config) {
		f := fixed{world: c.Reads.(*world)}
		f.client = f.register("bank-a", "clerk", record.RoleIntegration)
		c.Clients = f
		c.Limits.ClientRate, c.Limits.ClientBurst = 1e9, 1<<40
	})
	h := http.Header{"Authorization": {"Bearer " + r.token("clerk", "bank-a")}}
	b.ReportAllocs()
	for b.Loop() {
		c := &call{server: r.srv, method: assentv1connect.LedgerServiceEvaluateProcedure}
		if err := r.srv.authorise(c, "127.0.0.1:9", h); err != nil {
			b.Fatal(err)
		}
		c.meter.leave()
	}
}
