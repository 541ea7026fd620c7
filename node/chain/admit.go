package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// Errors of admission. The text of the error that wraps one says what to do.
var (
	// ErrInvalid: the bytes can never stand in a block of this network.
	ErrInvalid = errors.New("invalid transaction")
	// ErrNotNow: notBefore lies ahead, or too little of the validity remains.
	ErrNotNow = errors.New("transaction is not valid now")
	// ErrKnown: the transaction is in a block already; ask for its outcome.
	ErrKnown = errors.New("transaction is known")
	// ErrBusy: too many requests wait; retry the same transaction later.
	ErrBusy = errors.New("node is busy")
	// ErrNotReady: the node is starting, catching up or stopping; retry.
	ErrNotReady = errors.New("node is not ready")
)

// Submit admits a transaction of this node's own clients and spreads it to all
// validators. A nil error means that it waits in the pool, not that it will be
// ordered.
func (c *Chain) Submit(ctx context.Context, req []byte) (ledger.Hash, error) {
	tx, err := c.admit(req)
	if err != nil {
		return ledger.Hash{}, err
	}
	if known, err := c.known(tx); err != nil {
		return tx.ID(), err
	} else if known {
		return tx.ID(), fmt.Errorf("%w: %s", ErrKnown, tx.ID())
	}
	return tx.ID(), c.pass(ctx, req)
}

// SubmitUpdate admits a config update that enough members have approved, and
// spreads it to all validators. ErrInvalid names what is wrong with it under the
// config in force.
func (c *Chain) SubmitUpdate(ctx context.Context, u *ledger.Update) error {
	if err := u.Verify(c.cfg.ChainID, c.Config()); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	req := u.Encode()
	if limit := c.Config().Limits.MaxRequestBytes; uint64(len(req)) > limit {
		return fmt.Errorf("%w: config update %d has %d bytes, the network allows %d: raise limits.maxRequestBytes first", ErrInvalid, u.Config.Seq, len(req), limit)
	}
	return c.pass(ctx, req)
}

// pass hands an admitted request to this node's engine, or to the validators
// while it has none and is not about to have one.
func (c *Chain) pass(ctx context.Context, req []byte) error {
	if s := c.Standing(); s.Validator != 0 && !s.Refused {
		return c.toEngine(func(e consensus.Engine) error { return e.Submit(ctx, req) })
	}
	if err := c.failed(); err != nil {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	if err := c.cfg.Spread(req); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return nil
}

// Accept admits a request that another member's node forwarded. A refusal is
// that node's fault or a race, never an error of this one.
func (c *Chain) Accept(ctx context.Context, req []byte) error {
	switch ledger.KindOf(req) {
	case ledger.KindTransaction:
		tx, err := c.admit(req)
		if err != nil {
			return err
		}
		if known, err := c.known(tx); err != nil || known {
			return err
		}
	case ledger.KindSeal:
		s, err := ledger.DecodeSeal(req)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if s.Height <= c.certifiedHeight() {
			return nil
		}
		if tip := c.Tip().Height; s.Height > tip {
			return fmt.Errorf("%w: it seals height %d, the newest block here is %d", ErrNotNow, s.Height, tip)
		}
		if _, err := c.CheckRequest(req); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	case ledger.KindUpdate:
		if _, err := c.CheckRequest(req); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	default:
		return fmt.Errorf("%w: the bytes are no transaction, seal or config update", ErrInvalid)
	}
	return c.toEngine(func(e consensus.Engine) error { return e.Accept(ctx, req) })
}

// known reports whether an executed block holds the transaction. Those between
// order and execution are caught by the executor, as DUPLICATE.
func (c *Chain) known(tx *ledger.Transaction) (bool, error) {
	if c.recent.surelyNew(tx) {
		return false, nil
	}
	_, err := c.cfg.State.View().Find(tx.ID())
	if errors.Is(err, state.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (c *Chain) toEngine(f func(consensus.Engine) error) error {
	e := c.engine.Load()
	if e == nil || c.mutedBy.Load() != nil {
		return fmt.Errorf("%w: it has not joined the ordering yet", ErrNotReady)
	}
	err := f(e.Engine)
	switch {
	case errors.Is(err, consensus.ErrBusy):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, consensus.ErrNotRunning):
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	case errors.Is(err, consensus.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// admit checks bytes, signature and validity now. A transaction must have
// PoolMarginMillis left, so that nobody can fill the pool with transactions
// that expire on their way into a block.
func (c *Chain) admit(req []byte) (*ledger.Transaction, error) {
	tx, err := c.verifyTransaction(req, c.Config())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	now := uint64(c.cfg.Clock().UnixMilli())
	p := &tx.Payload
	if p.NotBefore > now {
		return nil, fmt.Errorf("%w: notBefore is %d ms ahead of this node's clock: check the client's clock", ErrNotNow, p.NotBefore-now)
	}
	if p.ValidUntil < now+ledger.PoolMarginMillis {
		return nil, fmt.Errorf("%w: it ends at %d, this node's clock says %d and wants %d ms left: sign it anew", ErrNotNow, p.ValidUntil, now, ledger.PoolMarginMillis)
	}
	return tx, nil
}

// verifyTransaction checks everything that depends on bytes and config only,
// once per node and config.
func (c *Chain) verifyTransaction(req []byte, conf *ledger.Config) (*ledger.Transaction, error) {
	if tx := c.verified.get(req, conf.Seq); tx != nil {
		return tx, nil
	}
	if uint64(len(req)) > conf.Limits.MaxRequestBytes {
		return nil, fmt.Errorf("%d bytes, the network allows %d: split it", len(req), conf.Limits.MaxRequestBytes)
	}
	tx, err := ledger.DecodeTransaction(req)
	if err != nil {
		return nil, err
	}
	if err := tx.Verify(c.cfg.ChainID); err != nil {
		return nil, err
	}
	if conf.Member(tx.Payload.Org) == nil {
		return nil, fmt.Errorf("org %q is no member of this network", tx.Payload.Org)
	}
	c.verified.put(req, conf.Seq, tx)
	return tx, nil
}

// Inspect implements consensus.App.
func (c *Chain) Inspect(req []byte) consensus.RequestInfo {
	if tx := c.verified.get(req, c.Config().Seq); tx != nil {
		return infoOf(tx.ID())
	}
	id, err := ledger.RequestID(req)
	if err != nil {
		id = ledger.Sum(req)
	}
	return infoOf(id)
}

func infoOf(id ledger.Hash) consensus.RequestInfo {
	return consensus.RequestInfo{ID: string(id[:])}
}

// CheckRequest implements consensus.App: bytes and config in force only.
func (c *Chain) CheckRequest(req []byte) (consensus.RequestInfo, error) {
	_, err := c.verifyRequest(req, c.Config())
	return c.Inspect(req), err
}

// verifyRequest checks any kind of request and returns the decoded transaction,
// or nil for other kinds.
func (c *Chain) verifyRequest(req []byte, conf *ledger.Config) (*ledger.Transaction, error) {
	switch ledger.KindOf(req) {
	case ledger.KindTransaction:
		return c.verifyTransaction(req, conf)
	case ledger.KindSeal:
		s, err := ledger.DecodeSeal(req)
		if err != nil {
			return nil, err
		}
		return nil, s.Verify(c.cfg.ChainID, conf)
	case ledger.KindUpdate:
		u, err := ledger.DecodeUpdate(req)
		if err != nil {
			return nil, err
		}
		if uint64(len(req)) > conf.Limits.MaxRequestBytes {
			return nil, fmt.Errorf("config update of %d bytes, the network allows %d", len(req), conf.Limits.MaxRequestBytes)
		}
		return nil, u.Verify(c.cfg.ChainID, conf)
	}
	return nil, errors.New("no transaction, seal or config update")
}
