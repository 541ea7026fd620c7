package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/node/sync"
)

func newestFirst(offers []offer) {
	slices.SortStableFunc(offers, func(a, b offer) int { return cmp.Compare(b.Height, a.Height) })
}

// each asks the peers in turn, first the one named, until one helps: try returns
// nil. Failures of peers are logged.
func (j *joiner) each(ctx context.Context, first, what string, try func(peer string) error) error {
	order := []string{first}
	for _, p := range j.Peers() {
		if p.ID != first {
			order = append(order, p.ID)
		}
	}
	for _, peer := range order {
		if peer == "" {
			continue
		}
		err := try(peer)
		if err == nil {
			return nil
		}
		if fatal := j.blame(ctx, peer, what, err); fatal != nil {
			return fatal
		}
	}
	return fmt.Errorf("%w: no peer sends %s", errPeer, what)
}

// headers extends the store to a height: headers alone, config blocks and the
// last block whole.
func (j *joiner) headers(ctx context.Context, to ledger.Height, first string) error {
	for j.Store.Tip().Height < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := j.Store.Tip().Height
		err := j.each(ctx, first, fmt.Sprintf("headers from %d", from+1), func(peer string) error {
			return j.someHeaders(ctx, peer, to)
		})
		if err != nil {
			return err
		}
		if j.Store.Tip().Height == from {
			return fmt.Errorf("the store stays at height %d", from)
		}
		j.Progress(Progress{"headers", uint64(j.Store.Tip().Height), uint64(to)})
	}
	return nil
}

const headersAtOnce = 1024

// someHeaders appends what one answer of a peer holds. A header is appended
// without its body only when the one above it, under the same config, has been
// verified: then it brought no config.
func (j *joiner) someHeaders(ctx context.Context, peer string, to ledger.Height) error {
	tip := j.Store.Tip()
	limit := min(uint64(to-tip.Height), headersAtOnce)
	list, err := j.Client.Headers(ctx, peer, tip.Height+1, int(limit))
	if err != nil {
		return failed(err)
	}
	if len(list) == 0 {
		return fmt.Errorf("%w: it has no header %d", errPeer, tip.Height+1)
	}
	config := tip.Config
	parent := &tip.Header
	var bare []*ledger.CertifiedHeader
	for i, ch := range list {
		if ch.Header.ConfigSeq != config.Seq {
			break // the one below brought a config, and is not among the bare
		}
		if err := config.VerifyCertificate(&ch.Header, &ch.Certificate); err != nil {
			return lied("%w", err)
		}
		if err := ch.Header.Follows(parent, config); err != nil {
			return fmt.Errorf("%w: %w", sync.ErrForked, err)
		}
		parent = &list[i].Header
		if i > 0 {
			bare = append(bare, list[i-1])
		}
	}
	if err := j.Store.AppendHeaders(bare); err != nil {
		return err
	}
	if len(bare) == len(list)-1 && len(bare) > 0 && list[len(list)-1].Header.Height < to {
		return nil // the last one waits for the next above it
	}
	return j.whole(ctx, peer)
}

// whole appends the next block with its body.
func (j *joiner) whole(ctx context.Context, peer string) error {
	tip := j.Store.Tip()
	blocks, certs, err := j.Client.Blocks(ctx, peer, tip.Height+1, 1)
	if err != nil {
		return failed(err)
	}
	b, cert := blocks[0], certs[0]
	if err := tip.Config.VerifyCertificate(&b.Header, cert); err != nil {
		return lied("%w", err)
	}
	if _, err := b.CheckContent(tip.Config); err != nil {
		return fmt.Errorf("%w: %w", sync.ErrForked, err)
	}
	return j.Store.Append(b, cert)
}

// download fetches the chunks that dir does not hold yet. Chunks already there
// were checked when they came, and are again when they are restored.
func (j *joiner) download(ctx context.Context, o offer, m *snapshot.Manifest, dir string) error {
	d, err := snapshot.OpenDownload(dir, m)
	if err != nil {
		return err
	}
	defer d.Close()
	total := uint64(len(m.Chunks))
	for i := d.Next(); i < total; i++ {
		b := make([]byte, 0, m.Chunks[i].Size)
		err := j.Client.Piece(ctx, o.peer, o.ID, i+1, m.Chunks[i].Size, func(p []byte) error { b = append(b, p...); return nil })
		if err != nil {
			return failed(err)
		}
		if err := d.Add(b); err != nil {
			return err
		}
		j.Progress(Progress{"download", i + 1, total})
	}
	return d.Finish()
}

// bodies fetches the bodies of the known-transaction window below the state and
// of all blocks above it, as far as the store has headers alone.
func (j *joiner) bodies(ctx context.Context, executed int64) error {
	from, err := j.windowStart(executed)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		to := j.Store.Base()
		next, begun := j.Store.Filled(from)
		if !begun {
			next = from
		}
		if to <= from || next >= to {
			return nil
		}
		err := j.each(ctx, "", fmt.Sprintf("blocks from %d", next), func(peer string) error {
			blocks, _, err := j.Client.Blocks(ctx, peer, next, 4<<20)
			if err != nil {
				return failed(err)
			}
			if left := int(to - next); len(blocks) > left {
				blocks = blocks[:left]
			}
			if err := j.Store.Fill(blocks); errors.Is(err, store.ErrFork) {
				return lied("%w", err)
			} else if err != nil {
				return err
			}
			j.Progress(Progress{"blocks", uint64(next-from) + uint64(len(blocks)), uint64(to - from)})
			return nil
		})
		if errors.Is(err, errPeer) && int64(from) <= executed {
			// Nobody keeps the window whole any more. The state knows its
			// transactions; what has to be executed is enough.
			from = ledger.Height(executed + 1)
			continue
		}
		if errors.Is(err, errPeer) {
			return fmt.Errorf("%w: %w", ErrNoSnapshot, err)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// windowStart returns the first height whose block is no older than the
// known-transaction window of the state, at most the next to execute.
func (j *joiner) windowStart(executed int64) (ledger.Height, error) {
	if executed <= 0 {
		return 1, nil
	}
	at, _, err := j.Store.Header(ledger.Height(executed))
	if err != nil {
		return 0, err
	}
	since := at.Time - min(at.Time, ledger.KnownWindowMillis)
	return j.Store.FirstSince(at.Height, since)
}

const (
	freshSuffix = ".new"   // being restored
	readySuffix = ".ready" // restored and found right
	oldSuffix   = ".old"
)

// adopt puts the finished state beside dir in its place. Whenever it is
// interrupted, Recover finishes it.
func adopt(dir string) error {
	if err := errors.Join(os.RemoveAll(dir+oldSuffix), os.RemoveAll(dir+readySuffix)); err != nil {
		return err
	}
	if err := os.Rename(dir+freshSuffix, dir+readySuffix); err != nil {
		return err
	}
	if err := os.Rename(dir, dir+oldSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return Recover(dir)
}

// Recover finishes an adoption of a state in dir that was interrupted; call it
// before the state is opened. The old state is moved away only when the new one
// is ready; where an operator removed it, one that is not ready is none.
func Recover(dir string) error {
	_, err := os.Stat(dir)
	if err == nil {
		return os.RemoveAll(dir + oldSuffix)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir+readySuffix, dir); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	f, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), os.RemoveAll(dir+oldSuffix))
}
