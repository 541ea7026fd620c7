package epoch

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/vault"
)

// Job is one tree to build.
type Job struct {
	// Anchor says for which question and epoch; Build fills Nonce and Root.
	Anchor record.Anchor
	// Outputs are the template's.
	Outputs []string
	// Scan visits every subject; see vault.Scanner.
	Scan func(ctx context.Context, visit func(vault.Subject, vault.Row) error) error
	// Evaluate says what the template says about a row, nil for one that cannot be
	// used. It is called by several goroutines. An error ends the build.
	Evaluate func(row vault.Row) (string, error)
	// Progress hears now and then how far it is; calls do not overlap.
	Progress func(Progress)
}

// Progress of a build.
type Progress struct {
	Read  uint64 // subjects read and evaluated
	Built uint64 // of them, in finished parts of the tree; the end is at Read
}

// Result of a build.
type Result struct {
	Nonce, Root record.Hash
	Subjects    uint64 // read
	Answered    uint64 // with an answer in the tree
	Twice       uint64 // subjects with several rows: they are answered NO_RECORD
	Collided    uint64 // subjects whose place in the tree another one has, too: the same
	Failed      uint64 // subjects on whose row the template failed: the same; counted by who evaluates
	Bytes       int64  // of the file
}

// progressEvery is after how many subjects Progress hears.
const progressEvery = 8192

const batchRows = 128

type rowOf struct {
	subject string
	row     vault.Row
}

// Build reads every subject, builds the tree and keeps its file. Nothing of it is
// found before Build returns: a process that dies leaves nothing. It uses all
// processors; its memory is 4 MiB and, for the parts that they work on, some 300
// bytes for each thousandth of the subjects and processor.
func (s *Store) Build(ctx context.Context, job Job) (*Result, error) {
	if !slices.Contains(job.Outputs, record.NoRecord) || len(job.Outputs) > 255 {
		return nil, errors.New("build anchored answers: the template's outputs do not hold NO_RECORD")
	}
	if job.Progress == nil {
		job.Progress = func(Progress) {}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("build anchored answers: %w", err)
	}
	rand.Read(job.Anchor.Nonce[:]) // does not fail
	tree := answer.TreeID(s.chainID, &job.Anchor)
	b := &builder{job: &job, tree: tree, keys: deriveKeys(s.key, tree), silent: byte(slices.Index(job.Outputs, record.NoRecord))}
	spill, err := newSpill(s.dir)
	if err != nil {
		return nil, fmt.Errorf("build anchored answers: %w", err)
	}
	defer spill.close()
	b.spill = spill
	if err := b.read(ctx); err != nil {
		return nil, fmt.Errorf("build anchored answers: %w", err)
	}
	if err := b.write(ctx, s.path(tree)); err != nil {
		return nil, fmt.Errorf("build anchored answers: %w", err)
	}
	b.result.Nonce, b.result.Root, b.result.Subjects = job.Anchor.Nonce, job.Anchor.Root, b.seen.Load()
	return &b.result, nil
}

type builder struct {
	job    *Job
	tree   record.Hash
	keys   *keys
	silent byte // index of NO_RECORD
	spill  *spill
	seen   atomic.Uint64
	built  atomic.Uint64

	mu     sync.Mutex // guards what follows
	result Result
}

func (b *builder) progress() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.job.Progress(Progress{Read: b.seen.Load(), Built: b.built.Load()})
}

// read takes every row to its leaf.
func (b *builder) read(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan []rowOf, 2*runtime.GOMAXPROCS(0))
	g.Go(func() error {
		defer close(batches)
		batch := make([]rowOf, 0, batchRows)
		send := func() error {
			select {
			case batches <- batch:
				batch = make([]rowOf, 0, batchRows)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		err := b.job.Scan(ctx, func(subject vault.Subject, row vault.Row) error {
			if batch = append(batch, rowOf{string(subject), row}); len(batch) < batchRows {
				return nil
			}
			return send()
		})
		if err != nil {
			return err
		}
		return send()
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			salts := newSalter(b.keys)
			leaves := make([]leaf, 0, batchRows)
			for batch := range batches {
				leaves = leaves[:0]
				for i := range batch {
					l, err := b.leaf(salts, &batch[i])
					if err != nil {
						return err
					}
					leaves = append(leaves, l)
				}
				if err := b.spill.add(leaves); err != nil {
					return err
				}
				n := b.seen.Add(uint64(len(batch)))
				if n/progressEvery != (n-uint64(len(batch)))/progressEvery {
					b.progress()
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// leaf evaluates one row. Every subject costs the same, whatever its answer.
func (b *builder) leaf(salts salter, r *rowOf) (leaf, error) {
	value := record.NoRecord
	if r.row != nil {
		var err error
		if value, err = b.job.Evaluate(r.row); err != nil {
			return leaf{}, err
		}
	}
	i := slices.Index(b.job.Outputs, value)
	if i < 0 {
		return leaf{}, errors.New("the template gave an output that it does not list")
	}
	tag := answer.Tag(b.tree, r.subject)
	return leaf{tag, answer.Leaf(salts.salt(tag), tag, value), byte(i)}, nil
}

// write builds the tree, share by share, into a file that gets its name last.
func (b *builder) write(ctx context.Context, path string) (err error) {
	starts := make([]uint64, shares+1)
	for i := range shares {
		starts[i+1] = starts[i] + b.spill.count(i)
	}
	h := &head{slots: starts[shares], level: levelOf(starts[shares])}
	if h.slots > 1<<32-1 {
		return fmt.Errorf("%d subjects are more than one tree holds", h.slots)
	}
	block, err := aes.NewCipher(b.keys.cipher)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "tree-*"+building)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := &writer{f: f, block: block, head: h}
	roots := make([]record.Hash, shares)
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < shares && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				root, err := b.share(w, i, starts[i])
				if err != nil {
					return err
				}
				roots[i] = root
				b.built.Add(starts[i+1] - starts[i])
				if i%16 == 15 {
					b.progress()
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if b.job.Anchor.Root, err = w.top(roots); err != nil {
		return err
	}
	h.anchor, h.leaves = b.job.Anchor, b.result.Answered
	headBytes, err := h.encode(b.keys)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(headBytes, 0); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	b.result.Bytes = h.size()
	return durable.SyncDir(filepath.Dir(path))
}

// share builds one share of the tree and returns its top node.
func (b *builder) share(w *writer, i int, start uint64) (record.Hash, error) {
	leaves, err := b.spill.take(i)
	if err != nil {
		return record.Hash{}, err
	}
	places := len(leaves)
	slots, twice, collided := arrange(leaves, b.silent)
	b.mu.Lock()
	b.result.Answered += uint64(len(slots))
	b.result.Twice += twice
	b.result.Collided += collided
	b.mu.Unlock()
	level := w.head.level
	n := 1 << (level - shareBits) // nodes of the lowest kept level in this share
	index := make([]byte, 0, 8*n)
	nodes := make([]record.Hash, n)
	first, at := uint64(i)<<(level-shareBits), 0
	for j := range n {
		prefix, end := first+uint64(j), at
		for end < len(slots) && slots[end].position>>(depth-level) == prefix {
			end++
		}
		if end-at > maxBucket {
			return record.Hash{}, fmt.Errorf("%d subjects in one place of the tree", end-at)
		}
		index = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(index, uint32(start)+uint32(at)), uint32(end-at))
		nodes[j] = b.keys.subtree(slots[at:end], level, prefix)
		at = end
	}
	raw := make([]byte, 0, places*slotBytes)
	for j := range slots {
		raw = encodeSlot(raw, &slots[j])
	}
	raw = raw[:places*slotBytes] // those without an answer leave their places empty
	if err := w.put(headBytes+int64(start)*slotBytes, raw); err != nil {
		return record.Hash{}, err
	}
	if err := w.put(w.head.indexAt()+8*int64(first), index); err != nil {
		return record.Hash{}, err
	}
	return w.climb(nodes, level, first, shareBits)
}

// writer encrypts what it writes.
type writer struct {
	f     *os.File
	block cipher.Block
	head  *head
}

func (w *writer) put(offset int64, b []byte) error {
	crypt(w.block, offset, b)
	_, err := w.f.WriteAt(b, offset)
	return err
}

// climb writes the nodes of a level from first on, and those above them down from
// the level to; it returns the one that is left there.
func (w *writer) climb(nodes []record.Hash, level int, first uint64, to int) (record.Hash, error) {
	for {
		raw := make([]byte, 0, len(nodes)*hashBytes)
		for i := range nodes {
			raw = append(raw, nodes[i][:]...)
		}
		if err := w.put(w.head.nodeAt(level, first), raw); err != nil || level == to {
			return nodes[0], err
		}
		for i := range len(nodes) / 2 {
			nodes[i] = answer.Node(&nodes[2*i], &nodes[2*i+1])
		}
		nodes, level, first = nodes[:len(nodes)/2], level-1, first/2
	}
}

// top builds the levels above the shares.
func (w *writer) top(roots []record.Hash) (record.Hash, error) {
	return w.climb(roots, shareBits, 0, 0)
}
