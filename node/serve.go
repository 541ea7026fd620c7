package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/assent-network/assent/node/join"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/sync"
)

// errUnfinished: the node was interrupted while it began with a snapshot.
var errUnfinished = fmt.Errorf("blocks are missing that the state would have to execute, as when joining was interrupted: %w", sync.ErrBehind)

// Serve opens a node and runs it until ctx ends, and begins with a snapshot of
// its peers when it finds itself too far behind. opened hears of every node that
// was opened.
func Serve(ctx context.Context, opts Options, opened func(*Node)) error {
	wait := joinPause
	for {
		from := ledger.Height(0)
		err := serveOnce(ctx, opts, func(n *Node) {
			from = n.Height()
			opened(n)
		}, func(tip ledger.Height) {
			if tip > from { // it came further: it need not be patient any more
				wait = joinPause
			}
		})
		if ctx.Err() != nil || !errors.Is(err, sync.ErrBehind) {
			return err
		}
		log := opts.logger()
		log.Warn("the node stops to begin with a snapshot of its peers", "reason", err)
		for {
			err = Join(ctx, opts)
			if !errors.Is(err, join.ErrNoSnapshot) || ctx.Err() != nil {
				break
			}
			log.Warn("nobody has a snapshot to begin with: have a member's node write one (assentd snapshot write), this node looks again by itself", "reason", err, "again", wait)
			if !sleep(ctx, wait) {
				return nil
			}
			wait = min(2*wait, joinPauseMost)
			if !errors.Is(err, errUnfinished) {
				break
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, join.ErrNoSnapshot):
			// Whoever keeps the blocks may send them; if nobody does, the node comes
			// back here.
			opts.ByBlocks = true
		case err != nil:
			return err
		default:
			wait = joinPause
		}
	}
}

// How long a node waits before it looks for a snapshot again: at first, and at most
// when it has looked in vain several times. Each look opens the node anew.
const (
	joinPause     = 2 * time.Second
	joinPauseMost = 30 * time.Second
)

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serveOnce opens a node and runs it; ended hears of the height that it came to.
func serveOnce(ctx context.Context, opts Options, opened func(*Node), ended func(ledger.Height)) error {
	n, err := Open(ctx, opts)
	if err != nil {
		return err
	}
	opened(n)
	err = n.Run(ctx)
	ended(n.Height())
	return err
}

// farBehind is how many blocks the node may lack.
func (n *Node) farBehind() ledger.Height {
	if n.opts.ByBlocks {
		return 0
	}
	return ledger.Height(n.cfg.Snapshots.JoinAbove)
}

// executedHeight is the height of the state, −1 before genesis.
func (n *Node) executedHeight() int64 {
	h, _, ok := n.state.Executed()
	if !ok {
		return -1
	}
	return int64(h)
}

// openWhole refuses a ledger whose joining was interrupted.
func (n *Node) openWhole(context.Context) error {
	if join.Needed(n.store, n.executedHeight()) {
		return errUnfinished
	}
	return nil
}

// Join begins a stopped node with a snapshot of its peers; see package join for
// what it promises. Progress goes to the log. The error is join.ErrNoSnapshot if
// no peer can help.
func Join(ctx context.Context, opts Options) (err error) {
	n := newNode(opts)
	defer func() { err = errors.Join(err, n.Close()) }()
	for _, step := range []func(context.Context) error{
		func(context.Context) error { return n.openKeys(opts.Password) },
		n.openLedger,
		func(ctx context.Context) error { return n.openNetwork(ctx, opts.Network) },
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("join: %w", err)
		}
	}
	peers := syncPeers{n.host}
	client, err := sync.NewClient(sync.ClientConfig{Store: n.store, Request: peers.Request, Peers: n.syncPeers, Logger: n.log})
	if err != nil {
		return err
	}
	hctx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- n.host.Run(hctx) }()
	defer func() { stop(); err = errors.Join(err, <-ran) }()

	dir, executed := filepath.Join(n.cfg.DataDir, stateDir), n.executedHeight()
	seq := n.store.Tip().Config.Seq
	unfinished := join.Needed(n.store, executed)
	err = join.Run(ctx, join.Config{
		Store: n.store, Snapshots: snapshot.Open(filepath.Join(n.cfg.DataDir, snapshotsDir)),
		State: state.Config{Dir: dir, ChainID: n.chainID, Files: n.files(dir)}, Work: filepath.Join(n.cfg.DataDir, joinDir),
		Client: client,
		Peers: func() []sync.Peer {
			if now := n.store.Tip().Config.Seq; now != seq && n.state != nil { // headers may have brought other validators
				seq = now
				if _, err := n.refreshDirectory(); err != nil {
					n.log.Warn("the directory of nodes stays as it was", "reason", err)
				}
			}
			return n.syncPeers()
		},
		Adopting: n.closeState,
		Free:     func() (uint64, error) { return freeSpace(n.cfg.DataDir) },
		Progress: n.sayJoining(), Logger: n.log,
	}, executed)
	if errors.Is(err, join.ErrNoSnapshot) && (unfinished || join.Needed(n.store, executed)) {
		err = errors.Join(err, errUnfinished)
	}
	return err
}

// sayJoining logs how far joining is, every two seconds.
func (n *Node) sayJoining() func(join.Progress) {
	var said time.Time
	step := ""
	return func(p join.Progress) {
		if p.Step == step && time.Since(said) < 2*time.Second {
			return
		}
		said, step = time.Now(), p.Step
		n.log.Info("beginning with a snapshot", "step", p.Step, "done", p.Done, "total", p.Total)
	}
}

// closeState closes the state before the others, so that its directory can be
// replaced.
func (n *Node) closeState() error {
	db := n.state
	n.state = nil
	return db.Close()
}

// freeSpace returns how many bytes a directory's file system has left.
func freeSpace(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
