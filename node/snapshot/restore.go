package snapshot

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/klauspost/compress/zstd"
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

// batch is a chunk that was read, checked, decompressed and examined.
type batch struct {
	rows     []*state.ExaminedRow
	receipts []*state.ExaminedReceipt
	raw      []byte // the rows' keys and values are of it
	err      error
}

// feed hands every item of f to r, in order. Chunks are read and examined ahead by as
// many goroutines as there are processors, and so many chunks more are in memory.
func (f *File) feed(ctx context.Context, r *state.Restore, progress func(Progress)) error {
	ctx, cancel := context.WithCancel(ctx)
	workers := min(runtime.GOMAXPROCS(0), 4)
	jobs := make(chan job)
	inOrder := make(chan chan *batch, workers) // of the jobs, in order: this bounds how far ahead they are
	free := make(chan *batch, 2*workers)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() { f.examine(r.Examiner(), jobs) })
	}
	running.Go(func() {
		defer close(inOrder)
		defer close(jobs)
		position := uint64(0)
		for i := range f.Manifest.Chunks {
			j := job{index: i, position: position, done: make(chan *batch, 1)}
			if f.Manifest.Chunks[i].Kind == kindReceipts {
				position += f.Manifest.Chunks[i].Items
			}
			select {
			case j.batch = <-free:
			default:
				j.batch = new(batch)
			}
			select {
			case inOrder <- j.done:
			case <-ctx.Done():
				return
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return
			}
		}
	})
	defer func() { cancel(); running.Wait() }()
	chunks := f.Manifest.Chunks
	for i := range chunks {
		b, err := next(ctx, inOrder)
		if err != nil {
			return err
		}
		if b.err != nil {
			return b.err
		}
		if err := b.give(r); err != nil {
			return fmt.Errorf("chunk %d of %d: %w", i, len(chunks), err)
		}
		select {
		case free <- b:
		default:
		}
		stage := "rows"
		if chunks[i].Kind == kindReceipts {
			stage = "receipts"
		}
		progress(Progress{stage, uint64(i) + 1, uint64(len(chunks))})
	}
	return ctx.Err()
}

// next waits for the next chunk's batch.
func next(ctx context.Context, inOrder <-chan chan *batch) (*batch, error) {
	select {
	case done, ok := <-inOrder:
		if !ok {
			return nil, ctx.Err()
		}
		select {
		case b := <-done:
			return b, nil
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	return nil, ctx.Err()
}

// give takes a batch's items one after the other.
func (b *batch) give(r *state.Restore) error {
	for _, x := range b.rows {
		if err := r.TakeRow(x); err != nil {
			return err
		}
	}
	for _, x := range b.receipts {
		if err := r.TakeReceipt(x); err != nil {
			return err
		}
	}
	return nil
}

// job is a chunk to make a batch of.
type job struct {
	index    int
	position uint64 // in the log, of its first receipt
	batch    *batch // to be filled
	done     chan *batch
}

// examine fills the batches of jobs until there are no more.
func (f *File) examine(with *state.Examiner, jobs <-chan job) {
	dec, err := newDecoder()
	if err == nil {
		defer dec.Close()
	}
	for j := range jobs {
		if j.batch.err = err; err == nil {
			j.batch.err = f.fill(with, dec, &j)
		}
		j.done <- j.batch
	}
}

func (f *File) fill(with *state.Examiner, dec *zstd.Decoder, j *job) error {
	b, c := j.batch, &f.Manifest.Chunks[j.index]
	b.rows, b.receipts = b.rows[:0], b.receipts[:0]
	packed, err := f.Read(uint64(j.index), 0, c.Size)
	if err != nil {
		return err
	}
	if b.raw, err = c.unpack(dec, packed, b.raw); err != nil {
		return fmt.Errorf("%w: chunk %d of %d %w", ErrBad, j.index, len(f.Manifest.Chunks), err)
	}
	if err := c.deliver(b.raw, &filler{b, with, j.position}); err != nil {
		return fmt.Errorf("chunk %d of %d: %w", j.index, len(f.Manifest.Chunks), err)
	}
	return nil
}

// filler is the sink that examines.
type filler struct {
	batch    *batch
	with     *state.Examiner
	position uint64
}

func (f *filler) Row(key, value []byte) error {
	x, err := f.with.Row(key, value)
	f.batch.rows = append(f.batch.rows, x)
	return err
}

func (f *filler) Receipt(item []byte) error {
	x, err := f.with.Receipt(f.position, item)
	f.batch.receipts = append(f.batch.receipts, x)
	f.position++
	return err
}
