package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/node/ledger"
)

// maxPiece bounds the bytes of a snapshot in one response.
const maxPiece = 1 << 20

func (s *Server) offers(req []byte) ([]byte, error) {
	if err := decode(req, maxRequest, tagOffers, new(offersRequest)); err != nil {
		return nil, err
	}
	a := &offersAnswer{Tag: tagOffersAnswer, Base: s.cfg.Store.Base(), Snapshots: []Offer{}}
	if s.cfg.Records != nil {
		a.Records = s.cfg.Records()
	}
	if s.cfg.Snapshots != nil {
		list, err := s.cfg.Snapshots.Offers()
		if err != nil {
			return nil, errors.New("the snapshots cannot be listed here") // the cause is no peer's business
		}
		a.Snapshots = append(a.Snapshots, list[:min(len(list), maxOffers)]...)
	}
	return encode(a), nil
}

func (s *Server) piece(ctx context.Context, req []byte) ([]byte, error) {
	var r pieceRequest
	if err := decode(req, maxRequest, tagPiece, &r); err != nil {
		return nil, err
	}
	if s.cfg.Snapshots == nil {
		return nil, errors.New("no snapshots are offered here")
	}
	limit := min(r.Max, maxPiece)
	// Paid for before it is read: who asks too fast waits, and the network bounds
	// how many of a peer's requests are served at once.
	if err := s.pace.WaitN(ctx, int(limit)); err != nil {
		return nil, ErrTooMany
	}
	data, err := s.cfg.Snapshots.Piece(r.Snapshot, r.Part, r.Offset, limit)
	if err != nil {
		return nil, err
	}
	return encode(&pieceAnswer{tagPieceAnswer, data}), nil
}

// Kept says from which heights on a peer has everything; 0: from genesis on.
type Kept struct {
	Blocks  ledger.Height // whole blocks
	Records ledger.Height // outcomes and access records
}

// Offers asks a peer for its snapshots, newest first, and for what it keeps.
func (c *Client) Offers(ctx context.Context, peer string) (kept Kept, offers []Offer, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StatusTimeout)
	defer cancel()
	b, err := c.cfg.Request(ctx, peer, encode(&offersRequest{tagOffers}))
	if err != nil {
		return kept, nil, fmt.Errorf("snapshots of %s: %w", peer, silence{err})
	}
	a, err := decodeOffersAnswer(b)
	if err != nil {
		return kept, nil, fmt.Errorf("snapshots of %s: %w", peer, fault{err})
	}
	return Kept{a.Base, a.Records}, a.Snapshots, nil
}

// Piece fetches part of a snapshot of a peer, size bytes of the manifest (part 0)
// or of chunk part−1, and hands the pieces to take in order. Nothing of it is
// checked but its size.
func (c *Client) Piece(ctx context.Context, peer string, snapshot ledger.Hash, part, size uint64, take func([]byte) error) error {
	for got := uint64(0); got < size; {
		data, err := c.piece(ctx, peer, &pieceRequest{tagPiece, snapshot, part, got, min(size-got, maxPiece)})
		if err == nil && (len(data) == 0 || uint64(len(data)) > size-got) {
			err = faultf("%d bytes came where %d are left", len(data), size-got)
		}
		if err != nil {
			return fmt.Errorf("part %d of snapshot %s of %s: %w", part, snapshot, peer, err)
		}
		if err := take(data); err != nil {
			return err
		}
		got += uint64(len(data))
	}
	return nil
}

// retries is how often a piece is asked for again before its peer is left.
const retries = 3

func (c *Client) piece(ctx context.Context, peer string, r *pieceRequest) (data []byte, err error) {
	for try := range retries {
		if try > 0 && !pause(ctx, time.Duration(try)*c.cfg.MaxBackoff/2) {
			break
		}
		var b []byte
		rctx, cancel := context.WithTimeout(ctx, c.cfg.FetchTimeout)
		b, err = c.cfg.Request(rctx, peer, encode(r))
		cancel()
		if err != nil {
			err = silence{err}
			continue
		}
		a, err := decodePieceAnswer(b)
		if err != nil {
			return nil, fault{err}
		}
		return a.Data, nil
	}
	return nil, errors.Join(err, ctx.Err())
}

// Blocks fetches blocks from a height on from a peer, as many as it sends and one
// at least, checked to be what they say: form, height and body. Whether they are
// certified is for the caller to find out. An error that is ErrPruned says that
// the peer has them no more.
func (c *Client) Blocks(ctx context.Context, peer string, from ledger.Height, maxBytes uint64) ([]*ledger.Block, []*ledger.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FetchTimeout)
	defer cancel()
	b, err := c.cfg.Request(ctx, peer, encode(&blocksRequest{Tag: tagBlocks, From: from, MaxBytes: maxBytes}))
	if err != nil {
		return nil, nil, fmt.Errorf("blocks from %d of %s: %w", from, peer, silence{err})
	}
	a, err := decodeBlocksAnswer(b)
	if err != nil {
		return nil, nil, fmt.Errorf("blocks from %d of %s: %w", from, peer, fault{err})
	}
	if len(a.Blocks) == 0 {
		if a.Base > from {
			return nil, nil, fmt.Errorf("blocks from %d of %s: %w: it has them from %d on", from, peer, ErrPruned, a.Base)
		}
		return nil, nil, fmt.Errorf("blocks from %d of %s: %w", from, peer, faultf("none came, its tip is %d", a.Tip))
	}
	blocks, certs := make([]*ledger.Block, len(a.Blocks)), make([]*ledger.Certificate, len(a.Blocks))
	for i, item := range a.Blocks {
		blocks[i], err = ledger.DecodeBlock(item.Block)
		if err == nil {
			certs[i], err = ledger.DecodeCertificate(item.Certificate)
		}
		if err == nil && blocks[i].Header.Height != from+ledger.Height(i) {
			err = fmt.Errorf("block %d came for %d", blocks[i].Header.Height, from+ledger.Height(i))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("blocks from %d of %s: %w", from, peer, fault{err})
		}
	}
	return blocks, certs, nil
}

// Lied reports whether err is what a peer did wrong, and not that it was silent
// or that something failed here.
func Lied(err error) bool {
	var f fault
	return errors.As(err, &f)
}
