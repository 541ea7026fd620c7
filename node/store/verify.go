package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/assent-network/assent/node/ledger"
)

// Verify reads every block up to the tip and checks it against genesis: the
// hash chain, the body where it is kept, the certificate under the config in
// force, and every config update. It reports the first thing that is wrong, with its height.
// Transactions' signatures are not checked again: the certificate says that a
// quorum has. progress, if not nil, is told now and then how far it is.
func (s *Store) Verify(ctx context.Context, progress func(done, total ledger.Height)) error {
	total := s.tip.Load().Height
	config, parent, err := s.verifyGenesis()
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for h := ledger.Height(1); h <= total; h++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("verify block %d: %w", h, err)
		}
		b, next, err := s.verifyBlock(h, parent, config)
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		parent, config = &b.Header, next
		if progress != nil && (h%256 == 0 || h == total) {
			progress(h, total)
		}
	}
	heights := s.ConfigHeights()
	if config.Seq < uint64(len(heights)-1) && heights[config.Seq+1] <= total {
		return fmt.Errorf("verify: %w", damaged(fmt.Errorf("config %d is listed but no block holds it", config.Seq+1), "read the config heights"))
	}
	return nil
}

func (s *Store) verifyGenesis() (*ledger.Config, *ledger.Header, error) {
	want := ledger.Genesis(s.genesis)
	got, err := s.Block(0)
	if err != nil {
		return nil, nil, err
	}
	if got.Header.Hash() != want.Header.Hash() {
		return nil, nil, damaged(fmt.Errorf("block 0 is %s, genesis is %s", got.Header.Hash(), want.Header.Hash()), "read block 0")
	}
	return s.genesis, &want.Header, nil
}

func (s *Store) verifyBlock(h ledger.Height, parent *ledger.Header, config *ledger.Config) (*ledger.Block, *ledger.Config, error) {
	encoded, certificate, err := s.Encoded(h)
	if errors.Is(err, ErrPruned) {
		return s.verifyHeader(h, parent, config)
	}
	if err != nil {
		return nil, nil, err
	}
	step := fmt.Sprintf("check block %d", h)
	b, err := ledger.DecodeBlock(encoded)
	if err != nil {
		return nil, nil, damaged(err, step)
	}
	cert, err := ledger.DecodeCertificate(certificate)
	if err != nil {
		return nil, nil, damaged(err, step)
	}
	if err := b.Header.Follows(parent, config); err != nil {
		return nil, nil, damaged(err, step)
	}
	if err := config.VerifyCertificate(&b.Header, cert); err != nil {
		return nil, nil, damaged(err, step)
	}
	next, err := b.CheckContent(config)
	if err != nil {
		return nil, nil, damaged(err, step)
	}
	if next != config {
		heights := s.ConfigHeights()
		if next.Seq >= uint64(len(heights)) || heights[next.Seq] != h {
			return nil, nil, damaged(fmt.Errorf("it brings config %d, which is not listed there", next.Seq), step)
		}
	}
	return b, next, nil
}

// verifyHeader is verifyBlock for a block whose body is not kept, so that it
// brought no config.
func (s *Store) verifyHeader(h ledger.Height, parent *ledger.Header, config *ledger.Config) (*ledger.Block, *ledger.Config, error) {
	e, err := s.readEntry(h)
	if err != nil {
		return nil, nil, err
	}
	step := fmt.Sprintf("check header %d", h)
	if err := e.header.Follows(parent, config); err != nil {
		return nil, nil, damaged(err, step)
	}
	if err := config.VerifyCertificate(&e.header, e.cert); err != nil {
		return nil, nil, damaged(err, step)
	}
	return &ledger.Block{Header: e.header}, config, nil
}
