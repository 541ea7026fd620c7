package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/scripts/testnet"
)

// takeProfiles fetches a CPU profile of --seconds and then a heap profile from
// every node, and a CPU profile of this client, while the load runs. The channel gives the outcome once.
func (b *bench) takeProfiles(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	if b.opts.profile == "" {
		done <- nil
		return done
	}
	go func() {
		var g errgroup.Group
		g.Go(func() error { return b.ownProfile(ctx) })
		for _, x := range b.net.Nodes {
			g.Go(func() error {
				cpu := fmt.Sprintf("profile?seconds=%d", b.opts.seconds)
				return errors.Join(b.profile(ctx, x, cpu, "cpu"), b.profile(ctx, x, "heap", "heap"))
			})
		}
		done <- g.Wait()
	}()
	return done
}

// ownProfile profiles this process: what the load itself costs.
func (b *bench) ownProfile(ctx context.Context) error {
	if err := os.MkdirAll(b.opts.profile, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.opts.profile, "client.cpu.pprof"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	select {
	case <-time.After(time.Duration(b.opts.seconds) * time.Second):
	case <-ctx.Done():
	}
	pprof.StopCPUProfile()
	return f.Close()
}

func (b *bench) profile(ctx context.Context, x *testnet.Node, what, name string) error {
	if err := os.MkdirAll(b.opts.profile, 0o755); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+x.Ops+"/debug/pprof/"+what, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile of %s: %w", x.Name, err)
	}
	defer resp.Body.Close()
	f, err := os.Create(filepath.Join(b.opts.profile, x.Name+"."+name+".pprof"))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
