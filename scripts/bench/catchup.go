package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// catchUpReport is the JSON object of --catch-up.
type catchUpReport struct {
	Cores        int     `json:"cores"`
	Profiled     bool    `json:"profiled"`
	Blocks       uint64  `json:"blocks"`
	Transactions uint64  `json:"transactions"`
	Consents     int     `json:"consents"`
	Seconds      float64 `json:"seconds"`      // from the start of the process that was behind until all was executed
	StartSeconds float64 `json:"startSeconds"` // of these, until it had the first block
	TxPerSec     float64 `json:"txPerSec"`
	BlocksPerSec float64 `json:"blocksPerSec"`
	CPUPer1k     float64 `json:"cpuPer1k"`      // seconds, of the node that was behind
	ServeCPU     float64 `json:"serveCpuPer1k"` // seconds, of the node that served the blocks, on the same cores
	BytesPerTx   float64 `json:"bytesPerTx"`    // handed to the disk by the node that was behind
	RSSMB        float64 `json:"rssMB"`         // its peak
	SignatureUs  float64 `json:"signatureUs"`   // one signature check, before and after: the lower
	MadeSeconds  float64 `json:"madeSeconds"`   // making the chain
}

// catchUp measures how fast a node that is far behind executes what it lacks: a
// chain of blocks is made in this process, with the validators' own keys, and given
// to one node; another starts without it.
func (b *bench) catchUp(ctx context.Context) error {
	if err := b.makeConsents(ctx); err != nil {
		return err
	}
	for _, c := range b.lend {
		c.Close()
	}
	if err := b.net.Stop(); err != nil {
		return err
	}
	full, behind := b.net.First(answering), b.net.First(silent)
	r := &catchUpReport{Cores: b.report.Cores, Profiled: b.report.Profiled, Blocks: uint64(b.opts.catchUp), Consents: b.opts.consents}
	b.progress("making %d blocks of %d transactions …", b.opts.catchUp, b.opts.perBlock)
	began := time.Now()
	m, err := b.openMaker(ctx, full)
	if err != nil {
		return err
	}
	target, err := m.make(ctx, b.opts.catchUp, b.opts.perBlock)
	if err = errors.Join(err, m.close()); err != nil {
		return fmt.Errorf("make a chain: %w", err)
	}
	r.Transactions, r.MadeSeconds = uint64(b.opts.catchUp*b.opts.perBlock), time.Since(began).Seconds()
	before, err := signatureCost()
	if err != nil {
		return err
	}
	if err := b.follow(ctx, full, behind, target, r); err != nil {
		return err
	}
	after, err := signatureCost()
	if err != nil {
		return err
	}
	r.SignatureUs = min(before, after)
	if b.opts.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf(`A node %d blocks (%d transactions) behind, on %d cores, the node that serves beside it.

caught up                   %8.0f transactions/s, %.0f blocks/s, in %.1f s (%.1f s of them to start)
CPU                         %8.2f s per 1,000 transactions (who serves: %.2f)
written to disk             %8.1f KB per transaction
memory                      %8.0f MB at the peak
one signature check         %8.1f µs on this machine now
`, r.Blocks, r.Transactions, r.Cores, r.TxPerSec, r.BlocksPerSec, r.Seconds, r.StartSeconds, r.CPUPer1k, r.ServeCPU, r.BytesPerTx/1024, r.RSSMB, r.SignatureUs)
	return nil
}

// follow starts the node that has the blocks and then the one that has not, both as
// observers: a validator catches up in the same way, before it orders.
func (b *bench) follow(ctx context.Context, full, behind *testnet.Node, target ledger.Height, r *catchUpReport) error {
	const observer = "ASSENT_IDENTITY_NODE=observer"
	if err := b.net.StartNodeAs(full, b.net.Program, full.Home, observer); err != nil {
		return err
	}
	if err := b.reaches(ctx, full, func(executed uint64) bool { return executed >= uint64(target) }); err != nil {
		return err
	}
	served, err := usageOf(full.PID)
	if err != nil {
		return err
	}
	b.progress("a node begins to catch up …")
	began := time.Now()
	if err := b.net.StartNodeAs(behind, b.net.Program, behind.Home, observer); err != nil {
		return err
	}
	base := uint64(target) - uint64(b.opts.catchUp)
	if err := b.reaches(ctx, behind, func(executed uint64) bool { return executed > base }); err != nil {
		return err
	}
	r.StartSeconds = time.Since(began).Seconds()
	profiled := make(chan error, 1)
	go func() { profiled <- b.profileOf(ctx, behind, full) }()
	if err := b.reaches(ctx, behind, func(executed uint64) bool { return executed >= uint64(target) }); err != nil {
		return err
	}
	r.Seconds = time.Since(began).Seconds()
	r.TxPerSec, r.BlocksPerSec = float64(r.Transactions)/r.Seconds, float64(r.Blocks)/r.Seconds
	used, err := usageOf(behind.PID)
	if err != nil {
		return err
	}
	after, err := usageOf(full.PID)
	if err != nil {
		return err
	}
	kb, err := peakRSS(behind.PID)
	if err != nil {
		return err
	}
	thousands := float64(r.Transactions) / 1000
	r.CPUPer1k, r.ServeCPU = used.cpu.Seconds()/thousands, after.since(served).cpu.Seconds()/thousands
	r.BytesPerTx, r.RSSMB = float64(used.written)/float64(r.Transactions), float64(kb)/1024
	return <-profiled
}

func (b *bench) profileOf(ctx context.Context, nodes ...*testnet.Node) error {
	if b.opts.profile == "" {
		return nil
	}
	done := make(chan error, len(nodes))
	for _, x := range nodes {
		go func() { done <- b.profile(ctx, x, fmt.Sprintf("profile?seconds=%d", b.opts.seconds), "catchup") }()
	}
	var errs []error
	for range nodes {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// reaches waits until a node's executed height is what is wanted, or it has ended.
func (b *bench) reaches(ctx context.Context, x *testnet.Node, wanted func(executed uint64) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var client *sdk.Client
	defer func() {
		if client != nil {
			client.Close()
		}
	}()
	for {
		var s *sdk.NodeStatus
		var last error
		if client == nil {
			client, last = b.net.DialAs(ctx, x, "auditor")
		}
		if last == nil {
			s, last = client.Status(ctx)
		}
		if last == nil && wanted(s.Executed) {
			return nil
		}
		select {
		case <-tick.C:
		case <-x.Ended():
			return fmt.Errorf("%s ended: %s", x.Name, x.LastLine())
		case <-ctx.Done():
			return fmt.Errorf("%s does not get there: %w (%w)", x.Name, ctx.Err(), last)
		}
	}
}
