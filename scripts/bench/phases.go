package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

// request submits one access request and waits for its outcome.
func (b *bench) request(ctx context.Context, lender, i int) error {
	list := b.consents[lender]
	q := b.lend[lender].Queries()
	t, err := q.Prepare(sdk.QueryRequest{Consent: list[i%len(list)], Template: b.template[silent], Purpose: record.CreditChecking})
	if err != nil {
		return err
	}
	d, err := q.Request(ctx, t)
	if err != nil {
		return err
	}
	if !d.Permit {
		return fmt.Errorf("an access request was denied with %s", d.Code)
	}
	return nil
}

// oneClient measures commit latency without load.
func (b *bench) oneClient(ctx context.Context) error {
	for i := range 20 {
		if err := b.request(ctx, 0, i); err != nil {
			return err
		}
	}
	var samples []time.Duration
	deadline := time.Now().Add(time.Duration(b.opts.seconds) * time.Second)
	for i := 20; time.Now().Before(deadline); i++ {
		began := time.Now()
		if err := b.request(ctx, 0, i); err != nil {
			return err
		}
		samples = append(samples, time.Since(began))
	}
	b.report.CommitMs = distribution(samples)
	return nil
}

// queries measures consented queries with answers.
func (b *bench) queries(ctx context.Context) error {
	bank, err := b.net.Client(ctx, answering, "officer")
	if err != nil {
		return err
	}
	defer bank.Close()
	for i := range 20 {
		id, err := b.makeQueried(ctx, bank, i)
		if err != nil {
			return err
		}
		b.queried = append(b.queried, id)
	}
	var opened, verified []time.Duration
	deadline := time.Now().Add(time.Duration(b.opts.seconds) * time.Second)
	for i := 0; i < 10 || time.Now().Before(deadline); i++ {
		r, err := b.lend[0].Query(ctx, sdk.QueryRequest{Consent: b.queried[i%len(b.queried)], Template: b.template[answering], Purpose: record.CreditChecking})
		if err != nil {
			return err
		}
		if r.Verified == nil || r.Answer.Value == "" {
			return fmt.Errorf("query %s gave no verified answer: %s, outcome %s", r.Decision.RequestID, r.Decision.Code, r.Answer.Outcome)
		}
		if i >= 10 { // the first ones warm up
			opened, verified = append(opened, r.Timing.Opened), append(verified, r.Timing.Verified)
		}
	}
	b.report.OpenedMs, b.report.VerifiedMs = distribution(opened), distribution(verified)
	return nil
}

// saturation measures committed requests per second with many in flight.
func (b *bench) saturation(ctx context.Context) error {
	var tps, cpu, client, written, yardstick []float64
	if _, err := b.load(ctx, 3*time.Second); err != nil { // warm up
		return err
	}
	profiled := b.takeProfiles(ctx)
	for range b.opts.repeats {
		us, err := signatureCost()
		if err != nil {
			return err
		}
		yardstick = append(yardstick, us)
		m, err := b.load(ctx, time.Duration(b.opts.seconds)*time.Second)
		if err != nil {
			return err
		}
		thousands := m.requests / 1000
		tps = append(tps, m.requests/m.took.Seconds())
		cpu = append(cpu, m.nodes.cpu.Seconds()/thousands)
		client = append(client, m.client.Seconds()/thousands)
		written = append(written, float64(m.nodes.written)/m.requests/float64(len(b.net.Nodes)))
		b.progress("%.0f requests/s at %.2f CPU-s per 1,000, a signature check taking %.0f µs", tps[len(tps)-1], cpu[len(cpu)-1], us)
	}
	if err := <-profiled; err != nil {
		return err
	}
	b.report.SignatureUs = median(yardstick)
	b.report.TPS, b.report.CPUPer1k, b.report.ClientCPUPer1k, b.report.BytesPerRequest = median(tps), median(cpu), median(client), median(written)
	return nil
}

// measurement is one run of load.
type measurement struct {
	requests float64
	took     time.Duration
	nodes    usage
	client   time.Duration
}

// load keeps b.opts.clients requests in flight for d.
func (b *bench) load(ctx context.Context, d time.Duration) (measurement, error) {
	end := time.Now().Add(d)
	return b.loadWhile(ctx, func() bool { return time.Now().Before(end) })
}

// loadWhile is load for as long as more says so. It goes on where the load before
// ended: every consent has its turn before one comes again, however short the loads.
func (b *bench) loadWhile(ctx context.Context, more func() bool) (measurement, error) {
	before, err := b.usage()
	if err != nil {
		return measurement{}, err
	}
	own, err := ownCPU()
	if err != nil {
		return measurement{}, err
	}
	began := time.Now()
	var done atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for w := range b.opts.clients {
		g.Go(func() error {
			for more() {
				err := b.request(gctx, w%len(lenders), int(b.turn.Add(1)))
				switch {
				case err == nil:
					done.Add(1)
				case !sdk.Retryable(err):
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return measurement{}, err
	}
	m := measurement{requests: float64(done.Load()), took: time.Since(began)}
	if m.requests == 0 {
		return m, errors.New("no request was committed")
	}
	after, err := b.usage()
	if err != nil {
		return m, err
	}
	m.nodes = after.since(before)
	now, err := ownCPU()
	m.client = now - own
	return m, err
}

// usage sums the nodes' processes.
func (b *bench) usage() (usage, error) {
	var sum usage
	for _, x := range b.net.Nodes {
		u, err := usageOf(x.PID)
		if err != nil {
			return sum, err
		}
		sum.cpu += u.cpu
		sum.written += u.written
	}
	return sum, nil
}

// reads measures consent records read from the first lender's node.
func (b *bench) reads(ctx context.Context) error {
	var rate, cpu []float64
	for repeat := range b.opts.repeats + 1 {
		r, c, err := b.readFor(ctx, time.Duration(b.opts.seconds)*time.Second/2)
		if err != nil {
			return err
		}
		if repeat > 0 { // the first one warms up
			rate, cpu = append(rate, r), append(cpu, c)
		}
	}
	b.report.ReadsPerSec, b.report.ReadCPUPer1k = median(rate), median(cpu)
	return nil
}

func (b *bench) readFor(ctx context.Context, d time.Duration) (perSecond, cpuPer1k float64, err error) {
	pid := b.net.First(lenders[0]).PID
	before, err := usageOf(pid)
	if err != nil {
		return 0, 0, err
	}
	list := b.consents[0]
	began := time.Now()
	var mu sync.Mutex
	total := 0
	var g errgroup.Group
	for w := range 32 {
		g.Go(func() error {
			n := 0
			for i := w; time.Since(began) < d; i += 32 {
				if _, err := b.lend[0].Evaluate(ctx, record.ContractConsent, "Get", string(list[i%len(list)])); err != nil {
					return err
				}
				n++
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, err
	}
	took := time.Since(began)
	after, err := usageOf(pid)
	if err != nil {
		return 0, 0, err
	}
	return float64(total) / took.Seconds(), after.since(before).cpu.Seconds() / float64(total) * 1000, nil
}

// idle measures what the nodes cost when nobody asks anything.
func (b *bench) idle(ctx context.Context) error {
	for _, d := range []time.Duration{5 * time.Second, 2 * time.Duration(b.opts.seconds) * time.Second} { // the first lets things settle
		before, err := b.usage()
		if err != nil {
			return err
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := b.usage()
		if err != nil {
			return err
		}
		b.report.IdleCores = after.since(before).cpu.Seconds() / d.Seconds()
	}
	return nil
}
