package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

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
	loadJobs  = "ASSENT_GATEWAY_LOAD_JOBS"
)

func runLoad() {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv(loadRoots)))
	calls, _ := strconv.Atoi(os.Getenv(loadCalls))
	jobs, _ := strconv.Atoi(os.Getenv(loadJobs))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
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

// BenchmarkEvaluate is an authenticated read over TLS and HTTP/2. cpu-s/1000 is
// the server's CPU time per 1,000 calls, without what the backend costs.
func BenchmarkEvaluate(b *testing.B) {
	for _, jobs := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", jobs), func(b *testing.B) {
			var cert tls.Certificate
			r := newRig(b, func(c *Config) {
				f := fixed{world: c.Reads.(*world), payload: make([]byte, 900)}
				f.client = f.register("bank-a", "clerk", record.RoleIntegration)
				c.Reads, c.Clients = f, f
				c.Limits.ClientRate, c.Limits.ClientBurst = 1e6, 1_000_000
				c.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil)) // level info, as in operation
				cert = c.Certificate
			})
			load := exec.CommandContext(b.Context(), os.Args[0])
			load.Env = append(os.Environ(), loadURL+"="+r.url, loadToken+"="+r.token("clerk", "bank-a"),
				loadRoots+"="+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})),
				loadCalls+"="+strconv.Itoa(b.N), loadJobs+"="+strconv.Itoa(jobs))
			load.Stderr = os.Stderr
			before := cpu(b)
			b.ResetTimer()
			if err := load.Run(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N), "cpu-s/1000")
		})
	}
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
