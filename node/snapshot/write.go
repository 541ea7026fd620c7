package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/time/rate"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// Source is a state to copy; *state.Frozen is one. The bytes that it yields are
// valid until yield returns.
type Source interface {
	Height() ledger.Height
	Time() uint64 // Unix ms
	Roots() state.Roots
	Rows(yield func(key, value []byte) error) error
	Receipts(yield func(item []byte) error) error
}

// Progress says how far writing, reading or restoring is. Total is 0 while it is
// not known.
type Progress struct {
	Stage       string // "rows", "receipts", or a stage of state.Progress
	Done, Total uint64 // items, or chunks when restoring
}

// WriteConfig tells what to write and how fast.
type WriteConfig struct {
	ChainID ledger.Hash
	Header  *ledger.CertifiedHeader // certified; names the source's height and roots
	Source  Source
	// BytesPerSecond bounds how fast the state is read, so that the node's clients
	// do not feel it; 0: as fast as it goes.
	BytesPerSecond int
	Progress       func(Progress) // may be nil; called for every chunk
}

// Write writes a snapshot into the directory and returns its manifest. A crash or
// an error leaves nothing that List shows.
func (d *Dir) Write(ctx context.Context, cfg WriteConfig) (*Manifest, error) {
	h := &cfg.Header.Header
	m := &Manifest{Domain: domainManifest, ChainID: cfg.ChainID, Header: *cfg.Header, Time: cfg.Source.Time()}
	if m.Height() != cfg.Source.Height() || m.Roots() != cfg.Source.Roots() {
		return nil, fmt.Errorf("write snapshot: header %d names another state than that after height %d", h.Height, cfg.Source.Height())
	}
	fresh := filepath.Join(d.root, fmt.Sprintf("%d%s", m.Height(), unfinished))
	if err := os.RemoveAll(fresh); err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	if err := os.MkdirAll(fresh, 0o700); err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	err := write(ctx, &cfg, m, fresh)
	if err == nil {
		err = d.finish(fresh, m)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write snapshot of height %d: %w", m.Height(), err), os.RemoveAll(fresh))
	}
	return m, nil
}

func write(ctx context.Context, cfg *WriteConfig, m *Manifest, dir string) (err error) {
	enc, err := newEncoder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, enc.Close()) }()
	f, err := os.OpenFile(filepath.Join(dir, dataFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := &writer{ctx: ctx, cfg: cfg, enc: enc, file: f, m: m}
	if cfg.BytesPerSecond > 0 {
		w.pace = rate.NewLimiter(rate.Limit(cfg.BytesPerSecond), max(cfg.BytesPerSecond/4, maxRaw))
		w.pace.AllowN(time.Now(), w.pace.Burst()) // begin with an empty bucket
	}
	w.kind = kindRows
	if err := cfg.Source.Rows(func(key, value []byte) error { return w.item(key, value) }); err != nil {
		return err
	}
	if err := w.close(); err != nil {
		return err
	}
	w.kind = kindReceipts
	if err := cfg.Source.Receipts(func(item []byte) error { return w.item(item) }); err != nil {
		return err
	}
	if err := w.close(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	return f.Sync()
}

// writer fills chunks.
type writer struct {
	ctx  context.Context
	cfg  *WriteConfig
	enc  *zstd.Encoder
	file *os.File
	pace *rate.Limiter // nil: none
	m    *Manifest

	kind        uint64
	items, done uint64
	raw, packed []byte
}

func (w *writer) item(parts ...[]byte) error {
	for _, p := range parts {
		if len(p) > maxItem {
			return fmt.Errorf("an item has %d bytes, at most %d are allowed", len(p), maxItem)
		}
		w.raw = appendString(w.raw, p)
	}
	w.items++
	if len(w.raw) < chunkBytes {
		return nil
	}
	return w.close()
}

// close writes the chunk, if there is anything in it.
func (w *writer) close() error {
	if w.items == 0 {
		w.done = 0
		return w.ctx.Err()
	}
	if w.pace != nil {
		if err := w.pace.WaitN(w.ctx, min(len(w.raw), w.pace.Burst())); err != nil {
			return err
		}
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.packed = w.enc.EncodeAll(w.raw, w.packed[:0])
	if _, err := w.file.Write(w.packed); err != nil {
		return err
	}
	w.m.Chunks = append(w.m.Chunks, Chunk{w.kind, w.items, uint64(len(w.raw)), uint64(len(w.packed)), ledger.Sum(w.packed)})
	w.done += w.items
	if w.cfg.Progress != nil {
		p := Progress{Stage: "rows", Done: w.done}
		if w.kind == kindReceipts {
			p = Progress{"receipts", w.done, w.m.Roots().ReceiptsSize}
		}
		w.cfg.Progress(p)
	}
	w.raw, w.items = w.raw[:0], 0
	return nil
}
