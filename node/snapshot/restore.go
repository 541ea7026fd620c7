package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// RestoreConfig tells what to make of a snapshot.
type RestoreConfig struct {
	// State is where the state goes; its Dir must be empty or missing. An empty
	// Dir checks everything and writes nothing but scratch files.
	State   state.Config
	Scratch string // existing directory for files of the size of the indexes
	// Earlier and TimeOf are those of state.Target. TimeOf nil: with an empty Dir
	// only.
	Earlier []state.Certified
	TimeOf  func(ledger.Height) (uint64, error)
	Time    uint64 // of the block at the snapshot's height, by a header
	// RecordAge is that of state.Target.
	RecordAge uint64
	Progress  func(Progress) // may be nil
}

// Restore makes a state of a snapshot, or checks that one could be made. The
// manifest's header must be certified: the caller has seen to that. An error that
// is ErrBad or state.ErrForged blames the snapshot.
func (f *File) Restore(ctx context.Context, cfg RestoreConfig) (err error) {
	m := f.Manifest
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if m.Time != cfg.Time && cfg.State.Dir != "" {
		return fmt.Errorf("%w: its manifest says that block %d is of time %d, the header says %d", ErrBad, m.Height(), m.Time, cfg.Time)
	}
	target := state.Target{Height: m.Height(), Time: cfg.Time, Roots: m.Roots(), Earlier: cfg.Earlier, TimeOf: cfg.TimeOf, RecordAge: cfg.RecordAge}
	var r *state.Restore
	if cfg.State.Dir == "" {
		r, err = state.NewCheck(cfg.Scratch, target)
	} else {
		r, err = state.NewRestore(cfg.State, cfg.Scratch, target)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := f.feed(ctx, r, cfg.Progress); err != nil {
		return err
	}
	return r.Finish(ctx, func(p state.Progress) { cfg.Progress(Progress{p.Stage, p.Done, p.Total}) })
}

// Check reads every chunk and compares its hash with the manifest's. It does not
// look into them: Restore does.
func (f *File) Check(ctx context.Context) error {
	for i := range f.Manifest.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &f.Manifest.Chunks[i]
		b, err := f.Read(uint64(i), 0, c.Size)
		if err != nil {
			return err
		}
		if h := ledger.Sum(b); h != c.Hash || uint64(len(b)) != c.Size {
			return fmt.Errorf("%w: chunk %d of %d has %d bytes and hash %s, the manifest says %d and %s", ErrBad, i, len(f.Manifest.Chunks), len(b), h, c.Size, c.Hash)
		}
	}
	return nil
}

// loaded is a chunk that was read, checked and decompressed.
type loaded struct {
	index int
	raw   []byte
	err   error
}

// feed hands every item of f to r. Chunks are read and decompressed ahead, three
// at most.
func (f *File) feed(ctx context.Context, r sink, progress func(Progress)) error {
	ctx, cancel := context.WithCancel(ctx)
	ahead, free := make(chan loaded, 2), make(chan []byte, 4)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(ahead)
		f.load(ctx, ahead, free)
	}()
	defer func() { cancel(); <-ended }()
	chunks := f.Manifest.Chunks
	for l := range ahead {
		if l.err != nil {
			return l.err
		}
		if err := chunks[l.index].deliver(l.raw, r); err != nil {
			return fmt.Errorf("chunk %d of %d: %w", l.index, len(chunks), err)
		}
		select {
		case free <- l.raw:
		default:
		}
		stage := "rows"
		if chunks[l.index].Kind == kindReceipts {
			stage = "receipts"
		}
		progress(Progress{stage, uint64(l.index) + 1, uint64(len(chunks))})
	}
	return ctx.Err()
}

func (f *File) load(ctx context.Context, out chan<- loaded, free <-chan []byte) {
	dec, err := newDecoder()
	if err != nil {
		out <- loaded{err: err}
		return
	}
	defer dec.Close()
	for i := range f.Manifest.Chunks {
		c := &f.Manifest.Chunks[i]
		l := loaded{index: i}
		select {
		case l.raw = <-free:
		default:
		}
		packed, err := f.Read(uint64(i), 0, c.Size)
		if err == nil {
			if l.raw, err = c.unpack(dec, packed, l.raw); err != nil {
				err = fmt.Errorf("%w: chunk %d of %d %w", ErrBad, i, len(f.Manifest.Chunks), err)
			}
		}
		l.err = err
		select {
		case out <- l:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}
