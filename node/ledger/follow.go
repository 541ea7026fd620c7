package ledger

import (
	"errors"
	"fmt"
)

// ErrBroken means that a block does not continue the ledger: a block that a
// quorum certified never does this unless more than a third of the validators
// are dishonest.
var ErrBroken = errors.New("block does not continue the ledger")

// Follows reports why h may not stand directly above parent while c is the
// config in force. It looks at the two headers and c only: body, certificate
// and the roots themselves are other checks.
func (h *Header) Follows(parent *Header, c *Config) error {
	if err := h.follows(parent, c); err != nil {
		return fmt.Errorf("header %d: %w: %w", h.Height, ErrBroken, err)
	}
	return nil
}

func (h *Header) follows(parent *Header, c *Config) error {
	switch {
	case h.ChainID != parent.ChainID:
		return ErrWrongChain
	case h.Height != parent.Height+1:
		return fmt.Errorf("it comes after height %d", parent.Height)
	case h.Time <= parent.Time:
		return fmt.Errorf("its time %d ms is not after %d ms, the time of the block below", h.Time, parent.Time)
	case h.ConfigSeq != c.Seq:
		return fmt.Errorf("it names config %d, config %d is in force", h.ConfigSeq, c.Seq)
	case h.ValidatorsHash != parent.NextValidatorsHash:
		return fmt.Errorf("its validators are %s, the block below announced %s", h.ValidatorsHash, parent.NextValidatorsHash)
	}
	if prev := parent.Hash(); h.Prev != prev {
		return fmt.Errorf("it is built on block %s, the block below is %s", h.Prev, prev)
	}
	return h.followsExecuted(parent, c)
}

// followsExecuted checks that what is said about executed heights never goes
// back, keeps up, and speaks of the past only.
func (h *Header) followsExecuted(parent *Header, c *Config) error {
	switch {
	case h.ExecHeight >= h.Height:
		return fmt.Errorf("it has roots of height %d, which cannot have been executed yet", h.ExecHeight)
	case h.ExecHeight < parent.ExecHeight:
		return fmt.Errorf("it has roots of height %d, below %d in the block before", h.ExecHeight, parent.ExecHeight)
	case uint64(h.Height-h.ExecHeight) > c.Limits.MaxExecLag:
		return fmt.Errorf("it has roots of height %d, more than %d blocks back", h.ExecHeight, c.Limits.MaxExecLag)
	case h.ReceiptsSize < parent.ReceiptsSize:
		return fmt.Errorf("it has %d receipts, the block below had %d", h.ReceiptsSize, parent.ReceiptsSize)
	}
	// Genesis carries the roots of the empty state but block 1 those after
	// executing genesis: both name height 0.
	if h.ExecHeight == parent.ExecHeight && parent.Height > 0 &&
		(h.StateRoot != parent.StateRoot || h.ReceiptsRoot != parent.ReceiptsRoot || h.ReceiptsSize != parent.ReceiptsSize) {
		return fmt.Errorf("its roots of height %d are not those that the block below certified", h.ExecHeight)
	}
	return nil
}

// CheckContent reports why b may not stand on the ledger whatever its place:
// a body other than the header's, more than the limits of c allow, a request
// that is none, two seals, a config update that is not alone, or a transaction
// outside its time. It decodes every transaction but verifies no signature: a certificate
// says that a quorum has.
//
// It returns the config in force after the block.
func (b *Block) CheckContent(c *Config) (*Config, error) {
	next, err := b.checkContent(c)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w: %w", b.Header.Height, ErrBroken, err)
	}
	return next, nil
}

func (b *Block) checkContent(c *Config) (*Config, error) {
	if err := b.CheckBody(); err != nil {
		return nil, err
	}
	if n := uint64(len(b.Requests)); n > c.Limits.MaxBlockRequests {
		return nil, fmt.Errorf("%d requests, at most %d are allowed", n, c.Limits.MaxBlockRequests)
	}
	next, sum, seals := c, uint64(0), 0
	for i, req := range b.Requests {
		sum += uint64(len(req))
		if n := uint64(len(req)); n > c.Limits.MaxRequestBytes {
			return nil, fmt.Errorf("request %d has %d bytes, at most %d are allowed", i, n, c.Limits.MaxRequestBytes)
		}
		u, err := b.checkRequest(req, c)
		if err != nil {
			return nil, fmt.Errorf("request %d: %w", i, err)
		}
		if u != nil {
			next = u.Config
		}
		if KindOf(req) == KindSeal {
			seals++
		}
	}
	if seals > 1 {
		return nil, fmt.Errorf("%d seals, at most one is allowed", seals)
	}
	if sum > c.Limits.MaxBlockBytes {
		return nil, fmt.Errorf("%d bytes of requests, at most %d are allowed", sum, c.Limits.MaxBlockBytes)
	}
	if vh := next.ValidatorsHash(); vh != b.Header.NextValidatorsHash {
		return nil, fmt.Errorf("header announces validators %s, the config after it has %s", b.Header.NextValidatorsHash, vh)
	}
	return next, nil
}

func (b *Block) checkRequest(req []byte, c *Config) (*Update, error) {
	switch KindOf(req) {
	case KindTransaction:
		t, err := DecodeTransaction(req)
		if err != nil {
			return nil, err
		}
		if t.Payload.ChainID != b.Header.ChainID {
			return nil, ErrWrongChain
		}
		if !t.ValidAt(b.Header.Time) {
			return nil, fmt.Errorf("transaction %s is valid from %d to %d ms, the block's time is %d", t.ID(), t.Payload.NotBefore, t.Payload.ValidUntil, b.Header.Time)
		}
		return nil, nil
	case KindUpdate:
		if len(b.Requests) != 1 {
			return nil, fmt.Errorf("a config update must be alone in its block, this one has %d requests", len(b.Requests))
		}
		u, err := DecodeUpdate(req)
		if err != nil {
			return nil, err
		}
		return u, u.Verify(b.Header.ChainID, c)
	case KindSeal:
		s, err := DecodeSeal(req)
		if err != nil {
			return nil, err
		}
		return nil, s.Verify(b.Header.ChainID, c)
	}
	return nil, fmt.Errorf("neither transaction, config update nor seal")
}
