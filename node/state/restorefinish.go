package state

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/assent-network/assent/node/ledger"
)

// Finish computes what was not carried, checks everything against the target,
// and makes the state one that Open opens. progress may be nil. An error that is
// ErrForged means that what came is not the target.
func (r *Restore) Finish(ctx context.Context, progress func(Progress)) error {
	if progress == nil {
		progress = func(Progress) {}
	}
	for _, step := range []func(context.Context, func(Progress)) error{r.finishLog, r.finishTrie, r.finishIndexRows, r.finishTransactions, r.finishLogRows} {
		if err := step(ctx, progress); err != nil {
			return fmt.Errorf("restore state at height %d: %w", r.target.Height, err)
		}
	}
	if r.ldb == nil {
		return nil
	}
	if err := r.out.commit(); err != nil {
		return err
	}
	t := &r.target
	head := headRow{t.Height, t.Time, t.Roots}
	b := new(leveldb.Batch)
	for _, e := range t.Earlier {
		if e.Height >= t.Height {
			return fmt.Errorf("restore state at height %d: earlier roots are of height %d", t.Height, e.Height)
		}
		b.Put(keyRoots(e.Height), encodeRow(&headRow{e.Height, e.Time, e.Roots}))
	}
	b.Put(keyRoots(t.Height), encodeRow(&head))
	b.Put(keyHead, encodeRow(&head))
	if r.pruned.Swept > 0 {
		b.Put(keyPruning, encodeRow(&r.pruned))
	}
	// With this row the state exists.
	b.Put(keyMeta, encodeRow(&metaRow{Version: formatVersion, ChainID: r.cfg.ChainID, Begin: t.Height}))
	if err := r.ldb.Write(b, &opt.WriteOptions{Sync: true}); err != nil {
		return storageError("finish the state", err)
	}
	return nil
}

func (r *Restore) finishLog(context.Context, func(Progress)) error {
	want := r.target.Roots
	if r.position != want.ReceiptsSize {
		return forged("%d receipts came, the header names %d", r.position, want.ReceiptsSize)
	}
	root, err := ledger.LogRoot(r.log.tree)
	if err != nil {
		return corrupt("receipt log", err)
	}
	if root != want.Receipts {
		return forged("the receipts give root %s, the header names %s", root, want.Receipts)
	}
	for i := range r.tiles {
		if err := r.tiles[i].each(r.out.put); err != nil {
			return err
		}
	}
	return r.out.commit()
}

// keepTiles puts tiles that the last receipt completed aside, by level: each
// level is in order.
func (r *Restore) keepTiles() error {
	for level := uint8(0); len(r.log.done) > 0; level++ {
		if int(level) == len(r.tiles) {
			r.tiles = append(r.tiles, rowFile{})
			if err := r.tiles[level].open(r.scratch); err != nil {
				return err
			}
		}
		id := tileID{level, r.position >> (tileBits * (uint(level) + 1))}
		if err := r.tiles[level].add(keyTile(id), r.log.done[id]); err != nil {
			return err
		}
		delete(r.log.done, id)
	}
	return nil
}

// eachShare calls f with every share of a spill.
func eachShare(ctx context.Context, stage string, progress func(Progress), f func(i int) error) error {
	for i := range spillShares {
		if i%16 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress(Progress{stage, uint64(i), spillShares})
		}
		if err := f(i); err != nil {
			return err
		}
	}
	progress(Progress{stage, spillShares, spillShares})
	return nil
}

func (r *Restore) finishTrie(ctx context.Context, progress func(Progress)) error {
	var failed error
	t := trie.NewStackTrie(func(path []byte, _ common.Hash, blob []byte) {
		if failed == nil {
			failed = r.out.put(keyNode(string(path)), blob)
		}
	})
	var buf []byte
	var order []int
	err := eachShare(ctx, "state trie", progress, func(i int) error {
		var err error
		if buf, err = r.leaves.share(i, buf); err != nil {
			return err
		}
		order = order[:0]
		for at := 0; at < len(buf); at += 64 {
			order = append(order, at)
		}
		slices.SortFunc(order, func(a, b int) int { return bytes.Compare(buf[a:a+32], buf[b:b+32]) })
		for _, at := range order {
			if err := t.Update(buf[at:at+32], bytes.Clone(buf[at+32:at+64])); err != nil {
				return forged("two records share a place in the trie: %w", err)
			}
		}
		return failed
	})
	if err != nil {
		return err
	}
	root := t.Hash()
	if failed != nil {
		return failed
	}
	if root != r.target.Roots.State {
		return forged("the records give state root %s, the header names %s", root, r.target.Roots.State)
	}
	return r.out.commit()
}

// finishIndexRows checks that the index rows are those that receipts wrote last.
func (r *Restore) finishIndexRows(ctx context.Context, progress func(Progress)) error {
	var rows, writes []byte
	return eachShare(ctx, "index rows", progress, func(i int) error {
		var err error
		if rows, err = r.present.share(i, rows); err != nil {
			return err
		}
		if writes, err = r.written.share(i, writes); err != nil {
			return err
		}
		last := make(map[ledger.Hash]ledger.Hash, len(rows)/64)
		for at := 0; at < len(writes); at += 64 {
			key, value := ledger.Hash(writes[at:]), ledger.Hash(writes[at+32:])
			if value == (ledger.Hash{}) {
				delete(last, key)
			} else {
				last[key] = value
			}
		}
		for at := 0; at < len(rows); at += 64 {
			key := ledger.Hash(rows[at:])
			if want, ok := last[key]; !ok || want != ledger.Hash(rows[at+32:]) {
				return forged("an index row is not what the receipts say")
			}
			delete(last, key)
		}
		if len(last) > 0 {
			return forged("%d index rows that receipts name are missing", len(last))
		}
		return nil
	})
}

// finishTransactions makes the index of transactions, as execution would have:
// an id that comes again while it is known stays where it is.
func (r *Restore) finishTransactions(ctx context.Context, progress func(Progress)) error {
	var buf []byte
	err := eachShare(ctx, "transactions", progress, func(i int) error {
		var err error
		if buf, err = r.txs.share(i, buf); err != nil {
			return err
		}
		refs := make(map[ledger.Hash]txRef, len(buf)/64)
		var ids []ledger.Hash
		for at := 0; at < len(buf); at += 64 {
			id := ledger.Hash(buf[at:])
			ref, err := decodeTxRef(buf[at+32 : at+64])
			if err != nil {
				return err
			}
			old, ok := refs[id]
			if !ok {
				ids = append(ids, id)
			}
			if !ok || old.time < windowStart(ref.time) {
				refs[id] = ref
			}
		}
		slices.SortFunc(ids, func(a, b ledger.Hash) int { return bytes.Compare(a[:], b[:]) })
		for _, id := range ids {
			if err := r.out.put(keyIndex(id), refs[id].encode()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.out.commit()
}

func (r *Restore) finishLogRows(ctx context.Context, progress func(Progress)) error {
	n := uint64(0)
	return r.logRows.each(func(key, value []byte) error {
		if n%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress(Progress{"log rows", n, r.logRows.count})
		}
		n++
		return r.out.put(key, value)
	})
}
