package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	stdsync "sync"
	"time"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// pruner is what prunes, while the node serves.
type pruner struct {
	wake    chan struct{}
	running stdsync.Mutex // held by the one pruning under way
}

// ask has runPruning look what may be pruned.
func (p *pruner) ask() {
	select {
	case p.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// freeAfter is how often it is tried to give space back that was in use before.
const freeAfter = 10 * time.Second

// runPruning prunes behind the newest snapshot: when the node starts, for it may
// have been stopped amid pruning, and whenever a snapshot was written.
func (n *Node) runPruning(ctx context.Context) error {
	tick := time.NewTicker(freeAfter)
	defer tick.Stop()
	n.pruner.ask()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.pruner.wake:
			if _, err := n.prune(ctx, n.sayPruning()); err != nil && ctx.Err() == nil {
				n.log.Warn("pruning stopped, it is tried again after the next snapshot", "reason", err)
			}
		case <-tick.C:
			if err := n.free(ctx); err != nil && ctx.Err() == nil {
				n.log.Warn("what was pruned still takes space on the disk", "reason", err)
			}
		}
	}
}

// sayPruning logs how far pruning is, every five seconds.
func (n *Node) sayPruning() func(VerifyProgress) {
	said := time.Now()
	return func(p VerifyProgress) {
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			n.log.Info("pruning", "step", p.Step, "done", p.Done, "total", p.Total)
		}
	}
}

// PruneInfo says what a node keeps after a pruning.
type PruneInfo struct {
	Snapshot ledger.Height `json:"snapshot"` // height of the one behind which was pruned; 0: there is none
	// Blocks and Records are the heights from which on bodies of blocks, and
	// outcomes with access records, are all kept; 0: from genesis on.
	Blocks  ledger.Height `json:"blocksFrom"`
	Records ledger.Height `json:"recordsFrom"`
	Bodies  int           `json:"prunedBlocks"`    // by this call
	Pruned  uint64        `json:"prunedRecords"`   // by this call
	Unfreed uint64        `json:"unfreedReceipts"` // whose space the disk gets back once nobody reads older states
	Millis  int64         `json:"tookMs"`
}

// prune deletes what the retention rules no longer want and the newest snapshot
// stands above. The snapshot must be whole, and its header certified by a quorum.
func (n *Node) prune(ctx context.Context, progress func(VerifyProgress)) (info PruneInfo, err error) {
	n.pruner.running.Lock()
	defer n.pruner.running.Unlock()
	begin := time.Now()
	info.Blocks, info.Records = n.store.Base(), n.recordsFrom()
	heights, err := n.snapshots.dir.Heights()
	if err != nil || len(heights) == 0 {
		return info, err
	}
	m, err := n.snapshots.dir.Manifest(heights[0])
	if err != nil {
		return info, err
	}
	info.Snapshot = m.Height()
	blocks, records, err := n.prunable(m)
	if err == nil && (blocks > 0 || records > 0) {
		if err = soundSnapshot(ctx, n.store, n.snapshots.dir, m); err == nil {
			err = n.pruneBehind(ctx, blocks, records, &info, progress)
		}
	}
	info.Millis = time.Since(begin).Milliseconds()
	if info.Bodies > 0 || info.Pruned > 0 {
		n.log.Info("the ledger was pruned", "snapshot", info.Snapshot, "blocks from", info.Blocks, "bodies", info.Bodies, "records from", info.Records,
			"records", info.Pruned, "took", time.Since(begin).Round(time.Millisecond))
	}
	return info, err
}

// prunable returns the height below which blocks, and the time before which
// outcomes may go; 0: none of them.
func (n *Node) prunable(m *snapshot.Manifest) (blocks ledger.Height, records uint64, err error) {
	if keep := n.cfg.Retention.Blocks; keep > 0 {
		if blocks, err = retained(n.store, m, keep); err != nil {
			return 0, 0, err
		}
		if blocks <= n.store.Base() && !n.store.Unswept() {
			blocks = 0
		}
	}
	keep := uint64(n.cfg.Retention.Records.Milliseconds())
	if keep == 0 || m.Time <= keep {
		return blocks, 0, nil
	}
	next, err := n.state.View().ReceiptAt(n.state.Pruned().Done)
	if errors.Is(err, state.ErrNotFound) {
		return blocks, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	at, _, err := n.store.Header(next.Height)
	if err == nil && at.Time < m.Time-keep {
		records = m.Time - keep
	}
	return blocks, records, err
}

func (n *Node) pruneBehind(ctx context.Context, blocks ledger.Height, records uint64, info *PruneInfo, progress func(VerifyProgress)) (err error) {
	rest := resting(ctx)
	if blocks > 0 {
		info.Bodies, err = n.store.Prune(blocks, func() bool {
			progress(VerifyProgress{"blocks", uint64(n.store.Swept()), uint64(blocks)})
			return rest() == nil
		})
		info.Blocks = n.store.Base()
	}
	if err == nil && records > 0 {
		var p state.Pruning
		p, err = n.state.Prune(records, n.genesis.Limits.RecordAge(), func(p state.Pruning) error {
			progress(VerifyProgress{"records", p.Done, p.Receipts})
			return rest()
		})
		info.Pruned, info.Records, info.Unfreed = p.Pruned, p.Height, p.Unfreed
	}
	return errors.Join(err, ctx.Err())
}

// prunePath is where a running node is asked to prune, on its control socket.
const prunePath = "/prune"

func (n *Node) servePrune(w http.ResponseWriter, r *http.Request) {
	answerWithProgress(w, func(progress func(VerifyProgress)) (any, error) {
		info, err := n.prune(r.Context(), progress)
		if err == nil && info.Snapshot == 0 {
			err = errNoOwnSnapshot
		}
		return info, err
	})
}

var errNoOwnSnapshot = errors.New("there is no snapshot behind which to prune: let the node write one: assentd snapshot write")

// Prune has the running node prune what its retention rules no longer want, behind
// its newest snapshot.
func Prune(ctx context.Context, cfg config.Config, progress func(VerifyProgress)) (PruneInfo, error) {
	info, err := askRunning[PruneInfo](ctx, cfg.DataDir, prunePath, progress)
	if errors.Is(err, errNotRunning) {
		err = fmt.Errorf("%w: start it; it prunes while it serves", errNotRunning)
	}
	return info, err
}

// free gives the space of pruned records back to the file system, if nobody reads
// a state from before the pruning any more.
func (n *Node) free(ctx context.Context) error {
	if n.state.Pruned().Unfreed == 0 || !n.pruner.running.TryLock() {
		return nil
	}
	defer n.pruner.running.Unlock()
	runtime.GC() // the database holds old rows until readers of old states are collected
	rest := resting(ctx)
	done, err := n.state.Free(func(state.Pruning) error { return rest() })
	if done && err == nil {
		n.log.Info("the space of what was pruned is free")
	}
	return err
}

// resting returns a function that waits, between two steps of work, for four times
// as long as the last step took: pruning takes a fifth of one core at most.
func resting(ctx context.Context) func() error {
	last := time.Now()
	return func() error {
		took := time.Since(last)
		ok := sleep(ctx, min(4*took, time.Second))
		last = time.Now()
		if !ok {
			return ctx.Err()
		}
		return nil
	}
}

// recordsFrom returns the height from which on outcomes are all kept.
func (n *Node) recordsFrom() ledger.Height { return n.state.Pruned().Height }

// soundSnapshot reports a snapshot behind which nothing may be pruned: its header
// is not one that a quorum has signed, or its chunks are not what it says.
func soundSnapshot(ctx context.Context, blocks *store.Store, dir *snapshot.Dir, m *snapshot.Manifest) error {
	if err := certifiedSnapshot(blocks, m); err != nil {
		return fmt.Errorf("prune behind the snapshot of height %d: %w: remove it and write another", m.Height(), err)
	}
	f, err := dir.File(m.Height())
	if err != nil {
		return fmt.Errorf("prune behind the snapshot of height %d: %w", m.Height(), err)
	}
	if err := errors.Join(f.Check(ctx), f.Close()); err != nil {
		return fmt.Errorf("prune behind the snapshot of height %d: %w: remove it and write another", m.Height(), err)
	}
	return nil
}

// certifiedSnapshot reports a snapshot whose header is not this ledger's, or not
// signed by a quorum of the validators in force.
func certifiedSnapshot(blocks *store.Store, m *snapshot.Manifest) error {
	h := &m.Header.Header
	_, hash, err := blocks.Header(h.Height)
	if err != nil {
		return err
	}
	if hash != h.Hash() {
		return fmt.Errorf("%w: block %d is %s, its header is another", ErrBadSnapshot, h.Height, hash)
	}
	of, _, err := blocks.Header(m.Height())
	if err != nil {
		return err
	}
	if of.Time != m.Time { // by which it is decided what is old
		return fmt.Errorf("%w: it says that block %d is of time %d, it is of %d", ErrBadSnapshot, m.Height(), m.Time, of.Time)
	}
	conf, err := blocks.ConfigAt(h.Height)
	if err != nil {
		return err
	}
	if err := conf.VerifyCertificate(h, &m.Header.Certificate); err != nil {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	return nil
}

// retained returns the first height whose block must be kept: it is younger than
// keep at the snapshot's height, or in its known-transaction window, or above it.
func retained(blocks *store.Store, m *snapshot.Manifest, keep time.Duration) (ledger.Height, error) {
	return blocks.FirstSince(m.Height(), m.Time-min(m.Time, max(uint64(keep.Milliseconds()), ledger.KnownWindowMillis)))
}

// checkRetention refuses a node that would forget access records which every node
// of its network has to keep.
func checkRetention(cfg *config.Config, genesis *ledger.Config) error {
	least := time.Duration(genesis.Limits.RecordAge()) * time.Millisecond
	if keep := cfg.Retention.Records; keep != 0 && keep < least {
		return fmt.Errorf("retention.records is %s, every node of this network keeps access records for %s (%d days) at least: raise it, or set 0 to keep all", keep, least, least/(24*time.Hour))
	}
	return nil
}
