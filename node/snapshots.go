package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	stdsync "sync"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/node/sync"
)

// snapshots are a node's own: it writes them, and offers them to others.
type snapshots struct {
	dir *snapshot.Dir

	mu   stdsync.Mutex // guards open
	open map[ledger.Height]*shelved

	writing stdsync.Mutex // one at a time
}

// shelved is a snapshot that is offered.
type shelved struct {
	file     *snapshot.File
	id       ledger.Hash
	manifest []byte
	bytes    uint64
}

func newSnapshots(root string) *snapshots {
	return &snapshots{dir: snapshot.Open(root), open: make(map[ledger.Height]*shelved)}
}

// Close closes the files of what is offered.
func (s *snapshots) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for h, x := range s.open {
		errs = append(errs, x.file.Close())
		delete(s.open, h)
	}
	return errors.Join(errs...)
}

// shelf opens what is new in the directory and closes what is gone. It returns
// the heights, newest first.
func (s *snapshots) shelfLocked() ([]ledger.Height, error) {
	heights, err := s.dir.Heights()
	if err != nil {
		return nil, err
	}
	there := make(map[ledger.Height]bool, len(heights))
	kept := heights[:0]
	for _, h := range heights {
		if s.open[h] == nil {
			f, err := s.dir.File(h)
			if err != nil {
				continue // damaged, or removed meanwhile: it is not offered
			}
			x := &shelved{file: f, id: f.Manifest.ID(), manifest: f.Manifest.Encode()}
			x.bytes, _ = f.Manifest.Bytes()
			s.open[h] = x
		}
		there[h] = true
		kept = append(kept, h)
	}
	for h, x := range s.open {
		if !there[h] {
			_ = x.file.Close() // it was read only
			delete(s.open, h)
		}
	}
	return kept, nil
}

// Offers implements sync.Snapshots.
func (s *snapshots) Offers() ([]sync.Offer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heights, err := s.shelfLocked()
	if err != nil {
		return nil, err
	}
	var out []sync.Offer
	for _, h := range heights {
		x := s.open[h]
		out = append(out, sync.Offer{Height: h, ID: x.id, Manifest: uint64(len(x.manifest)), Bytes: x.bytes})
	}
	return out, nil
}

// Piece implements sync.Snapshots.
func (s *snapshots) Piece(id ledger.Hash, part, offset, limit uint64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.open {
		if x.id != id {
			continue
		}
		if part > 0 {
			return x.file.Read(part-1, offset, limit)
		}
		if offset >= uint64(len(x.manifest)) {
			return nil, fmt.Errorf("the manifest has no byte %d", offset)
		}
		rest := x.manifest[offset:]
		return rest[:min(limit, uint64(len(rest)))], nil
	}
	return nil, fmt.Errorf("there is no snapshot %s here any more", id)
}

// freezeWait is how long a snapshot waits for a certified state.
const freezeWait = 30 * time.Second

// freeze returns the state that the newest certified header names, with that
// header.
func freeze(ctx context.Context, blocks *store.Store, db *state.DB) (*state.Frozen, *ledger.CertifiedHeader, error) {
	ctx, cancel := context.WithTimeout(ctx, freezeWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		tip := blocks.Tip()
		err := errors.New("the network has no block yet")
		if tip.Height > 0 {
			var f *state.Frozen
			f, err = db.Freeze(tip.Header.ExecHeight)
			if err == nil {
				h := &tip.Header
				if want := (state.Roots{State: h.StateRoot, Receipts: h.ReceiptsRoot, ReceiptsSize: h.ReceiptsSize}); f.Roots() != want {
					return nil, nil, fmt.Errorf("header %d names other roots of height %d than this node has", h.Height, h.ExecHeight)
				}
				ch, err := blocks.Certified(tip.Height)
				return f, ch, err
			}
			if !errors.Is(err, state.ErrNotFrozen) && !errors.Is(err, state.ErrNotExecuted) {
				return nil, nil, err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("no certified state could be read within %s: %w", freezeWait, err)
		}
	}
}

// SnapshotInfo describes a snapshot.
type SnapshotInfo struct {
	Height    ledger.Height `json:"height"` // after which it shows the state
	Certified ledger.Height `json:"certifiedBy"`
	StateRoot string        `json:"stateRoot"`
	Receipts  uint64        `json:"receipts"`
	Time      time.Time     `json:"time"` // of the block at that height
	Bytes     uint64        `json:"bytes"`
	Chunks    int           `json:"chunks"`
	ID        string        `json:"id"` // of the content, alike on every node
	Millis    int64         `json:"tookMs,omitempty"`
}

func snapshotInfo(m *snapshot.Manifest) SnapshotInfo {
	size, _ := m.Bytes()
	return SnapshotInfo{
		Height: m.Height(), Certified: m.Header.Header.Height, StateRoot: m.Roots().State.Hex(), Receipts: m.Roots().ReceiptsSize,
		Time: time.UnixMilli(int64(m.Time)).UTC(), Bytes: size, Chunks: len(m.Chunks), ID: m.ID().Hex(),
	}
}

// write writes a snapshot of the newest certified state.
func (s *snapshots) write(ctx context.Context, blocks *store.Store, db *state.DB, rate int, progress func(snapshot.Progress)) (*snapshot.Manifest, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writeLocked(ctx, blocks, db, rate, progress)
}

// replace is write that forgets all but the newest keep snapshots; old tells why
// they are still there.
func (s *snapshots) replace(ctx context.Context, blocks *store.Store, db *state.DB, rate, keep int, progress func(snapshot.Progress)) (m *snapshot.Manifest, old, err error) {
	s.writing.Lock()
	defer s.writing.Unlock() // Keep would take another's unfinished one for left behind
	if m, err = s.writeLocked(ctx, blocks, db, rate, progress); err == nil {
		old = s.dir.Keep(keep)
	}
	return m, old, err
}

func (s *snapshots) writeLocked(ctx context.Context, blocks *store.Store, db *state.DB, rate int, progress func(snapshot.Progress)) (*snapshot.Manifest, error) {
	f, header, err := freeze(ctx, blocks, db)
	if err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	if m, err := s.dir.Manifest(f.Height()); err == nil {
		return m, nil // nothing has happened since
	}
	return s.dir.Write(ctx, snapshot.WriteConfig{ChainID: blocks.ChainID(), Header: header, Source: f, BytesPerSecond: rate, Progress: progress})
}

// runSnapshots writes a snapshot whenever it is this node's turn, and prunes
// behind it.
func (n *Node) runSnapshots(ctx context.Context) error {
	last := ledger.Height(0)
	if heights, err := n.snapshots.dir.Heights(); err == nil && len(heights) > 0 {
		last = heights[0]
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !n.snapshotTurn().due(last, n.store.Tip().Header.ExecHeight) {
			continue
		}
		m, err := n.writeSnapshot(ctx, nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.log.Warn("no snapshot was written, it is tried again in a minute", "reason", err)
			if !sleep(ctx, time.Minute) {
				return nil
			}
		default:
			last = m.Height()
		}
	}
}

// writeSnapshot writes a snapshot, forgets old ones and has what the retention rules
// allow pruned.
func (n *Node) writeSnapshot(ctx context.Context, progress func(VerifyProgress)) (*snapshot.Manifest, error) {
	begin, said := time.Now(), time.Now()
	m, old, err := n.snapshots.replace(ctx, n.store, n.state, n.cfg.Snapshots.Rate, n.cfg.Snapshots.Keep, func(p snapshot.Progress) {
		if progress != nil {
			progress(VerifyProgress{p.Stage, p.Done, p.Total})
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			n.log.Info("writing a snapshot", "stage", p.Stage, "done", p.Done, "total", p.Total)
		}
	})
	if err != nil {
		return nil, err
	}
	size, _ := m.Bytes()
	n.log.Info("a snapshot was written", "height", m.Height(), "bytes", size, "took", time.Since(begin).Round(time.Millisecond))
	if old != nil {
		n.log.Warn("old snapshots were not removed", "reason", old)
	}
	n.pruner.ask()
	return m, nil
}

// snapshotPath is where a running node is asked for a snapshot, on its control
// socket.
const snapshotPath = "/snapshot"

func (n *Node) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	answerWithProgress(w, func(progress func(VerifyProgress)) (any, error) {
		begin := time.Now()
		m, err := n.writeSnapshot(r.Context(), progress)
		if err != nil {
			return nil, err
		}
		info := snapshotInfo(m)
		info.Millis = time.Since(begin).Milliseconds()
		return info, nil
	})
}
