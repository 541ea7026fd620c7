// Package join begins a node from a snapshot of its peers, when it is too far
// behind to execute every block, or when nobody keeps the blocks any more.
//
// It works on a node that is stopped but for its network, in steps of which each
// can be interrupted and goes on where it was:
//
//	headers    every header up to the one that certifies the snapshot, each under
//	           the config in force, config blocks whole
//	download   the snapshot's chunks, each against the manifest
//	restore    the state, beside the old one, against the roots of that header
//	adopt      the restored state takes the place of the old one
//	blocks     the bodies of the known-transaction window, up to the tip
//
// It promises that nothing is believed: headers follow from genesis by
// certificates, the state from the headers' roots. A peer that sends anything
// else is named, and another is asked. Until the restored state has been found
// right the old one stays.
//
// It leaves to others when to begin (package node), and the blocks above.
package join

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/node/sync"
)

// ErrNoSnapshot: no peer has a snapshot from which this node could begin, and no
// peer has the blocks either. Try again later.
var ErrNoSnapshot = errors.New("no peer has a snapshot that helps, nor the blocks since this node's state")

// Progress says how far a step is. Total is 0 while it is not known.
type Progress struct {
	Step        string
	Done, Total uint64
}

// Config is what joining needs.
type Config struct {
	Store     *store.Store
	Snapshots *snapshot.Dir // where the snapshot goes that this node began with
	State     state.Config  // of the state to make
	Work      string        // directory of its own, for what is unfinished; on the state's file system

	Client *sync.Client
	Peers  func() []sync.Peer
	// Adopting is called once, before a new state takes the place of the old one,
	// which must then be closed; nil: it is not open.
	Adopting func() error
	Free     func() (uint64, error) // bytes that Work's file system has left; nil: not asked

	Progress func(Progress) // may be nil; must not block
	Logger   *slog.Logger
}

type joiner struct {
	Config
	log   *slog.Logger
	given bool // Adopting has closed the old state
}

// offer is a snapshot and who has it.
type offer struct {
	sync.Offer
	peer string
}

// Needed reports whether a node whose state is after a height lacks bodies that it
// would have to execute: it was interrupted while joining. executed is −1 before
// genesis, which every store has.
func Needed(s *store.Store, executed int64) bool { return int64(s.Base()) > max(executed+1, 1) }

// Run begins the node from the newest snapshot that proves right, its own or one
// of its peers. executed is the
// height of the state that it has, −1 for none; a state that is not older than any
// snapshot stays, and only lacking bodies are fetched. ErrNoSnapshot: try again.
func Run(ctx context.Context, cfg Config, executed int64) error {
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	j := &joiner{Config: cfg, log: cfg.Logger}
	if err := os.MkdirAll(cfg.Work, 0o700); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	base := cfg.Store.Base()
	executed, took := j.own(ctx, executed)
	for _, o := range j.offers(ctx, executed) {
		err := j.take(ctx, o)
		if err == nil {
			executed, took = int64(o.Height), true
			break
		}
		if fatal := j.blame(ctx, o.peer, fmt.Sprintf("snapshot of height %d", o.Height), err); fatal != nil {
			return fmt.Errorf("join: %w", fatal)
		}
	}
	if err := j.bodies(ctx, executed); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if Needed(cfg.Store, executed) || !took && cfg.Store.Base() == base {
		return fmt.Errorf("join: %w", ErrNoSnapshot)
	}
	return os.RemoveAll(cfg.Work)
}

// blame names a peer in the log and returns nil, or returns what is this node's
// own failure.
func (j *joiner) blame(ctx context.Context, peer, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case sync.Lied(err), errors.Is(err, snapshot.ErrBad), errors.Is(err, state.ErrForged):
		j.log.Warn("peer sent something wrong while this node joins, another is asked", "peer", peer, "what", what, "reason", err)
	case errors.Is(err, errPeer):
		j.log.Info("peer does not help this node to join, another is asked", "peer", peer, "what", what, "reason", err)
	default:
		return err
	}
	return nil
}

// spaceFactor is how much disk beginning takes, in sizes of the snapshot: its
// chunks, and a state of several times their size.
const spaceFactor = 8

// errPeer marks failures of a peer that are no lies.
var errPeer = errors.New("peer failed")

func failed(err error) error {
	if err == nil || sync.Lied(err) {
		return err
	}
	return fmt.Errorf("%w: %w", errPeer, err)
}

// lied makes an error one that a peer is blamed for.
func lied(format string, args ...any) error {
	return fmt.Errorf("%w: %w", snapshot.ErrBad, fmt.Errorf(format, args...))
}

// offers asks all peers for snapshots newer than the state, newest first, those of
// one height in the order of peers.
func (j *joiner) offers(ctx context.Context, executed int64) []offer {
	type answer struct {
		peer   string
		offers []sync.Offer
		err    error
	}
	peers := j.Peers()
	answers := make([]chan answer, len(peers))
	for i, p := range peers {
		answers[i] = make(chan answer, 1)
		go func() {
			_, offers, err := j.Client.Offers(ctx, p.ID)
			answers[i] <- answer{p.ID, offers, err}
		}()
	}
	var out []offer
	for _, ch := range answers {
		a := <-ch // bounded by the client's time-out
		if a.err != nil {
			j.log.Info("peer offers no snapshots", "peer", a.peer, "reason", a.err)
		}
		for _, o := range a.offers {
			if int64(o.Height) > executed {
				out = append(out, offer{o, a.peer})
			}
		}
	}
	newestFirst(out)
	return out
}

// take makes the state of an offered snapshot this node's.
func (j *joiner) take(ctx context.Context, o offer) error {
	if j.Free != nil {
		free, err := j.Free()
		if err != nil {
			return err
		}
		if o.Bytes > free/spaceFactor {
			return fmt.Errorf("%w: its snapshot has %d bytes; beginning with it takes some %d times as many, %d are free on this disk", errPeer, o.Bytes, spaceFactor, free)
		}
	}
	m, err := j.manifest(ctx, o)
	if err != nil {
		return err
	}
	begin := time.Now()
	j.log.Info("beginning with a snapshot of a peer", "peer", o.peer, "height", o.Height, "bytes", o.Bytes)
	if err := j.headers(ctx, m.Header.Header.Height, o.peer); err != nil {
		return err
	}
	if !Fits(j.Store, m) {
		return lied("header %d of its manifest is not the certified one", m.Header.Header.Height)
	}
	dir := filepath.Join(j.Work, o.ID.Hex())
	if err := j.download(ctx, o, m, dir); err != nil {
		return err
	}
	if err := j.restore(ctx, dir); err != nil {
		if errors.Is(err, snapshot.ErrBad) || errors.Is(err, state.ErrForged) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return err
	}
	if _, err := j.Snapshots.Adopt(dir); err != nil {
		j.log.Warn("the snapshot that this node began with is not kept", "reason", err)
	}
	j.log.Info("the node has begun with a snapshot", "height", o.Height, "took", time.Since(begin).Round(time.Millisecond))
	return nil
}

func (j *joiner) manifest(ctx context.Context, o offer) (*snapshot.Manifest, error) {
	if o.Manifest == 0 || o.Manifest > snapshot.MaxManifestBytes {
		return nil, lied("its manifest has %d bytes", o.Manifest)
	}
	var b []byte
	err := j.Client.Piece(ctx, o.peer, o.ID, 0, o.Manifest, func(p []byte) error { b = append(b, p...); return nil })
	if err != nil {
		return nil, failed(err)
	}
	m, err := snapshot.Decode(b)
	if err != nil {
		return nil, lied("%w", err)
	}
	switch size, _ := m.Bytes(); {
	case m.ChainID != j.Store.ChainID():
		return nil, lied("it is of network %s", m.ChainID)
	case m.ID() != o.ID || m.Height() != o.Height || size != o.Bytes:
		return nil, lied("its manifest is not the one offered")
	}
	return m, nil
}

// restore makes a state of a snapshot and puts it in the place of the old one.
func (j *joiner) restore(ctx context.Context, dir string) error {
	fresh := j.State
	fresh.Dir = j.State.Dir + freshSuffix
	if err := os.RemoveAll(fresh.Dir); err != nil {
		return err
	}
	f, err := snapshot.OpenFile(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := Restore(ctx, j.Store, f, fresh, j.Work, j.Progress); err != nil {
		return errors.Join(err, os.RemoveAll(fresh.Dir))
	}
	if j.Adopting != nil && !j.given {
		if err := j.Adopting(); err != nil {
			return err
		}
		j.given = true
	}
	return adopt(j.State.Dir)
}

// own begins with a snapshot of this node's own, if one helps: its state was
// damaged or removed.
func (j *joiner) own(ctx context.Context, executed int64) (int64, bool) {
	list, err := j.Snapshots.List()
	if err != nil {
		j.log.Warn("this node's own snapshots cannot be listed", "reason", err)
	}
	for _, m := range list {
		if int64(m.Height()) <= executed || !Fits(j.Store, m) {
			continue
		}
		f, err := j.Snapshots.File(m.Height())
		if err == nil {
			err = errors.Join(f.Close(), j.restore(ctx, f.Dir()))
		}
		if err == nil {
			j.log.Info("the node has begun with a snapshot of its own", "height", m.Height())
			return int64(m.Height()), true
		}
		j.log.Warn("a snapshot of this node's own does not help", "height", m.Height(), "reason", err)
	}
	return executed, false
}

// Fits reports whether a manifest's header is one of the store's.
func Fits(s *store.Store, m *snapshot.Manifest) bool {
	_, hash, err := s.Header(m.Header.Header.Height)
	return err == nil && hash == m.Header.Header.Hash()
}

// Restore makes a state of a snapshot whose header is one of the store's, which
// must hold all headers up to it. cfg.Dir must be missing or empty; scratch takes
// files meanwhile.
func Restore(ctx context.Context, s *store.Store, f *snapshot.File, cfg state.Config, scratch string, progress func(Progress)) error {
	m := f.Manifest
	if !Fits(s, m) {
		return lied("header %d of its manifest is not the certified one", m.Header.Header.Height)
	}
	at, _, err := s.Header(m.Height())
	if err != nil {
		return err
	}
	earlier, err := earlier(s, m)
	if err != nil {
		return err
	}
	genesis, err := s.Config(0)
	if err != nil {
		return err
	}
	return f.Restore(ctx, snapshot.RestoreConfig{
		State: cfg, Scratch: scratch, Earlier: earlier, Time: at.Time, RecordAge: genesis.Limits.RecordAge(),
		TimeOf: func(h ledger.Height) (uint64, error) {
			header, _, err := s.Header(h)
			if err != nil {
				return 0, err
			}
			return header.Time, nil
		},
		Progress: func(p snapshot.Progress) { progress(Progress{p.Stage, p.Done, p.Total}) },
	})
}

// earlier are the roots of heights below the snapshot's that headers above it
// name: executing those blocks compares them.
func earlier(s *store.Store, m *snapshot.Manifest) ([]state.Certified, error) {
	var out []state.Certified
	for h := m.Height() + 1; h <= m.Header.Header.Height; h++ {
		header, _, err := s.Header(h)
		if err != nil {
			return nil, err
		}
		if x := header.ExecHeight; x < m.Height() && (len(out) == 0 || out[len(out)-1].Height < x) {
			at, _, err := s.Header(x)
			if err != nil {
				return nil, err
			}
			out = append(out, state.Certified{Height: x, Time: at.Time, Roots: state.Roots{State: header.StateRoot, Receipts: header.ReceiptsRoot, ReceiptsSize: header.ReceiptsSize}})
		}
	}
	return out, nil
}
