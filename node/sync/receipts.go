package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/assent-network/assent/node/ledger"
)

// Receipts is the receipt log that a server reads to its peers: what every member
// has executed, and what a node whose results differ compares its own with.
type Receipts interface {
	// Size returns how many leaves there are.
	Size() uint64
	// Leaf returns a leaf and the hashes of the writes that it commits to.
	Leaf(position uint64) (*ledger.Receipt, []ledger.WriteHash, error)
}

var errNoReceipts = errors.New("no receipts are read here")

func (s *Server) receipts(ctx context.Context, req []byte) ([]byte, error) {
	var r receiptsRequest
	if err := decode(req, maxRequest, tagReceipts, &r); err != nil {
		return nil, err
	}
	if s.cfg.Receipts == nil {
		return nil, errNoReceipts
	}
	a := &receiptsAnswer{Tag: tagReceiptsAnswer, Size: s.cfg.Receipts.Size(), Receipts: [][]byte{}}
	for p := r.From; p < a.Size && uint64(len(a.Receipts)) < min(r.Max, maxReceipts) && ctx.Err() == nil; p++ {
		leaf, _, err := s.cfg.Receipts.Leaf(p)
		if err != nil {
			return nil, fmt.Errorf("receipt %d cannot be read here", p) // the cause is no peer's business
		}
		a.Receipts = append(a.Receipts, leaf.Encode())
	}
	return encode(a), nil
}

func (s *Server) writes(req []byte) ([]byte, error) {
	var r writesRequest
	if err := decode(req, maxRequest, tagWrites, &r); err != nil {
		return nil, err
	}
	if s.cfg.Receipts == nil {
		return nil, errNoReceipts
	}
	_, writes, err := s.cfg.Receipts.Leaf(r.Position)
	if err != nil {
		return nil, fmt.Errorf("receipt %d cannot be read here", r.Position)
	}
	if writes == nil {
		writes = []ledger.WriteHash{}
	}
	return encode(&writesAnswer{tagWritesAnswer, r.Position, writes}), nil
}

// Receipts asks a peer for leaves of the receipt log from a position on, limit at
// most; how many it returns is its choice, but one at least. Nothing of them is
// checked but their form.
func (c *Client) Receipts(ctx context.Context, peer string, from, limit uint64) ([]*ledger.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FetchTimeout)
	defer cancel()
	b, err := c.cfg.Request(ctx, peer, encode(&receiptsRequest{tagReceipts, from, limit}))
	if err != nil {
		return nil, fmt.Errorf("receipts from %d of %s: %w", from, peer, silence{err})
	}
	a, err := decodeReceiptsAnswer(b)
	if err == nil && (len(a.Receipts) == 0 || uint64(len(a.Receipts)) > limit) {
		err = fmt.Errorf("%d came, asked were %d; its log has %d", len(a.Receipts), limit, a.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("receipts from %d of %s: %w", from, peer, fault{err})
	}
	out := make([]*ledger.Receipt, len(a.Receipts))
	for i, e := range a.Receipts {
		if out[i], err = ledger.DecodeReceipt(e); err != nil {
			return nil, fmt.Errorf("receipts from %d of %s: %w", from, peer, fault{err})
		}
	}
	return out, nil
}

// Writes asks a peer for the hashes of the writes that the leaf at a position
// commits to. Whether it does is for the caller to find out.
func (c *Client) Writes(ctx context.Context, peer string, position uint64) ([]ledger.WriteHash, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FetchTimeout)
	defer cancel()
	b, err := c.cfg.Request(ctx, peer, encode(&writesRequest{tagWrites, position}))
	if err != nil {
		return nil, fmt.Errorf("writes of receipt %d of %s: %w", position, peer, silence{err})
	}
	a, err := decodeWritesAnswer(b)
	if err == nil && a.Position != position {
		err = fmt.Errorf("those of %d came", a.Position)
	}
	if err != nil {
		return nil, fmt.Errorf("writes of receipt %d of %s: %w", position, peer, fault{err})
	}
	return a.Writes, nil
}
