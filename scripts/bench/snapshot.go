package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/scripts/testnet"
)

// snapshotReport says what a snapshot of the ledger as it stands costs the network
// that goes on under load, and how soon a new node works that begins with it.
type snapshotReport struct {
	Receipts     uint64  `json:"receipts"`
	MB           float64 `json:"mb"`
	WriteSeconds float64 `json:"writeSeconds"`
	BeforeTPS    float64 `json:"beforeTps"` // at saturation, a measurement long
	DuringTPS    float64 `json:"duringTps"` // while one validator wrote it
	AfterTPS     float64 `json:"afterTps"`
	Loss         float64 `json:"loss"`         // of throughput while it was written, against the mean of before and after
	WriterRSSMB  float64 `json:"writerRssMB"`  // peak of the node that wrote it, over the whole run
	WriterGrewMB float64 `json:"writerGrewMB"` // by how much writing raised that peak
	JoinSeconds  float64 `json:"joinSeconds"`  // from the start of a new node until it had executed all there was when it started
	JoinRSSMB    float64 `json:"joinRssMB"`    // its peak
}

// snapshot measures that, with the silent bank's validator as the writer.
func (b *bench) snapshot(ctx context.Context) error {
	r, writer := new(snapshotReport), b.net.First(silent)
	var err error
	if r.BeforeTPS, err = b.rate(ctx); err != nil {
		return err
	}
	peak, err := peakRSS(writer.PID)
	if err != nil {
		return err
	}
	info, m, err := b.writeUnderLoad(ctx, writer)
	if err != nil {
		return err
	}
	r.Receipts, r.MB, r.WriteSeconds = info.Receipts, float64(info.Bytes)/1e6, float64(info.Millis)/1000
	r.DuringTPS = m.requests / m.took.Seconds()
	after, err := peakRSS(writer.PID)
	if err != nil {
		return err
	}
	r.WriterRSSMB, r.WriterGrewMB = float64(after)/1024, float64(after-peak)/1024
	if r.AfterTPS, err = b.rate(ctx); err != nil {
		return err
	}
	r.Loss = 1 - 2*r.DuringTPS/(r.BeforeTPS+r.AfterTPS)
	b.progress("a snapshot of %.0f MB in %.1f s, %.0f requests/s meanwhile, %.0f before and %.0f after", r.MB, r.WriteSeconds, r.DuringTPS, r.BeforeTPS, r.AfterTPS)
	b.report.Snapshot = r
	return b.begin(ctx, r)
}

// rate is how many requests a second are committed at saturation.
func (b *bench) rate(ctx context.Context) (float64, error) {
	m, err := b.load(ctx, time.Duration(b.opts.seconds)*time.Second)
	return m.requests / max(m.took.Seconds(), 1e-9), err
}

// writeUnderLoad has a node write a snapshot, and loads the network for as long.
func (b *bench) writeUnderLoad(ctx context.Context, writer *testnet.Node) (info node.SnapshotInfo, m measurement, err error) {
	var written atomic.Bool
	done := make(chan error, 1)
	go func() {
		defer written.Store(true)
		out, err := exec.CommandContext(ctx, b.net.Program, "snapshot", "write", "--home", writer.Home, "--json").Output()
		if err == nil {
			err = json.Unmarshal(out, &info)
		}
		done <- err
	}()
	m, err = b.loadWhile(ctx, func() bool { return !written.Load() })
	if err = errors.Join(err, <-done); err != nil {
		err = fmt.Errorf("write a snapshot under load: %w", err)
	}
	return info, m, err
}

// begin starts a new observer, which takes the snapshot from the others.
func (b *bench) begin(ctx context.Context, r *snapshotReport) error {
	x, err := b.net.Join(ctx, silent, "observer")
	if err != nil {
		return err
	}
	if err := b.net.Register(ctx, x); err != nil {
		return err
	}
	s, err := b.lend[0].Status(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.net.StartNodeAs(x, b.net.Program, x.Home, "ASSENT_SNAPSHOTS_JOIN_ABOVE=1"); err != nil {
		return err
	}
	if err := b.reaches(ctx, x, func(executed uint64) bool { return executed >= s.Executed }); err != nil {
		return err
	}
	r.JoinSeconds = time.Since(began).Seconds()
	kb, err := peakRSS(x.PID)
	if err != nil {
		return err
	}
	r.JoinRSSMB = float64(kb) / 1024
	b.progress("a new node has begun with it and follows, %.1f s after its start", r.JoinSeconds)
	log, err := os.ReadFile(x.LogPath())
	if err != nil {
		return err
	}
	if !bytes.Contains(log, []byte("the node has begun with a snapshot")) {
		return errors.New("the new node began with genesis, not with the snapshot: its log says why")
	}
	return x.StopNode()
}
