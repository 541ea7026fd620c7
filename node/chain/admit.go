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
	// ErrTooLarge: it exceeds the network's limit.
	ErrTooLarge = errors.New("transaction is too large")
	// ErrStranger: a transaction of a key that its member has not registered, or
	// that may not act any more, as far as this node has executed.
	ErrStranger = errors.New("key is not registered")
	// ErrNotReady: the node is starting, catching up or stopping; retry.
	ErrNotReady = errors.New("node is not ready")
)

// Submit admits a transaction of this node's own clients and spreads it to all
// validators. A nil error means that it waits in the pool, not that it will be
// ordered. What the member may not have waiting is refused (ErrBusy, a *Busy)
// before anything is computed.
func (c *Chain) Submit(ctx context.Context, req []byte) (ledger.Hash, error) {
	return c.SubmitDecoded(ctx, req, nil)
}

// SubmitDecoded is Submit for a caller that has decoded req before: decoded must be
// what ledger.DecodeTransaction made of these very bytes, or nil.
func (c *Chain) SubmitDecoded(ctx context.Context, req []byte, decoded *ledger.Transaction) (ledger.Hash, error) {
	tx, err := c.admit(req, decoded, true, 0)
	switch {
	case errors.Is(err, errHeld):
		if c.shares.mayPassAgain(tx.ID(), c.cfg.Clock()) {
			// It is pooled here whatever comes of this.
			_ = c.pass(ctx, req)
		}
		return tx.ID(), nil
	case tx == nil:
		return ledger.Hash{}, err
	case err != nil:
		return tx.ID(), err
	}
	if err := c.pass(ctx, req); err != nil {
		c.shares.drop(infoOf(tx.ID()))
		return tx.ID(), err
	}
	return tx.ID(), nil
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

// Accept admits a request that another node forwarded; via is the validator
// whose node that is, 0 for an observer's. A refusal is that node's fault
// (ErrInvalid: an honest one forwards nothing of the kind) or a race, never an
// error of this one.
func (c *Chain) Accept(ctx context.Context, via consensus.ReplicaID, req []byte) error {
	switch ledger.KindOf(req) {
	case ledger.KindTransaction:
		tx, err := c.admit(req, nil, false, via)
		if errors.Is(err, errHeld) || errors.Is(err, ErrKnown) {
			return nil
		}
		if err != nil {
			return err
		}
		return c.pool(tx, func(e consensus.Engine) error { return e.Accept(ctx, req) })
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

// pool hands a counted transaction to the engine.
func (c *Chain) pool(tx *ledger.Transaction, f func(consensus.Engine) error) error {
	err := c.toEngine(f)
	if err != nil {
		c.shares.drop(infoOf(tx.ID()))
	}
	return err
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
	if errors.Is(err, state.ErrPruned) {
		return true, nil
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

// admit checks a transaction and counts it as pooled: what is cheap first, the
// signature last. The transaction is nil if its bytes cannot be read or the pool
// has no room; errHeld means that it is pooled already. decoded is nil or req
// decoded.
func (c *Chain) admit(req []byte, decoded *ledger.Transaction, own bool, via consensus.ReplicaID) (tx *ledger.Transaction, err error) {
	defer func() {
		if err != nil {
			c.shares.count(err)
		}
	}()
	units, conf := unitsOf(req), c.Config()
	tx = c.verified.get(req, conf.Seq)
	if tx == nil { // else it may be one that is pooled, of a client that asks again
		if org, key, ok := ledger.SenderOf(req); ok {
			if err := c.shares.full(org, key, units, own, via); err != nil {
				return nil, err
			}
		}
	}
	known := tx != nil
	if tx == nil {
		if tx, err = c.decodeTransaction(req, decoded, conf); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if err := c.mayPool(tx); err != nil {
		return tx, err
	}
	if !known {
		if err := tx.Verify(c.cfg.ChainID); err != nil {
			return tx, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		c.verified.put(req, conf.Seq, tx)
	}
	if err := c.shares.take(tx, units, own, via, c.cfg.Clock()); err != nil {
		return tx, err
	}
	// A block that held it may have been executed meanwhile, and nobody would
	// take it from the pool again. The executor's side looks in the other order.
	if c.recent.holds(tx) {
		c.shares.drop(infoOf(tx.ID()))
		return tx, fmt.Errorf("%w: %s", ErrKnown, tx.ID())
	}
	return tx, nil
}

// mayPool holds a transaction against time, ledger and state. It must have
// PoolMarginMillis left, so that nobody can fill the pool with transactions that
// expire on their way into a block. It must be signed by a registered key: else
// anybody could use up another member's share. A node's own clients are told so
// at once, for no other node would take it.
func (c *Chain) mayPool(tx *ledger.Transaction) error {
	clock := c.cfg.Clock()
	now := uint64(clock.UnixMilli())
	p := &tx.Payload
	if p.NotBefore > now {
		return fmt.Errorf("%w: notBefore is %d ms ahead of this node's clock: check the client's clock", ErrNotNow, p.NotBefore-now)
	}
	if p.ValidUntil < now+ledger.PoolMarginMillis {
		return fmt.Errorf("%w: it ends at %d, this node's clock says %d and wants %d ms left: sign it anew", ErrNotNow, p.ValidUntil, now, ledger.PoolMarginMillis)
	}
	known, err := c.known(tx)
	if err != nil {
		return err
	}
	if known {
		return fmt.Errorf("%w: %s", ErrKnown, tx.ID())
	}
	if c.cfg.Registered == nil || c.shares.usable(p.Org, p.Key, clock) {
		return nil
	}
	ok, err := c.cfg.Registered(p.Org, p.Key)
	if err != nil {
		return fmt.Errorf("look up key %s of member %s: %w", p.Key, p.Org, err)
	}
	if !ok {
		return fmt.Errorf("%w: %s is no usable key of member %s here", ErrStranger, p.Key, p.Org)
	}
	c.shares.setUsable(p.Org, p.Key, clock)
	return nil
}

// verifyTransaction checks everything that depends on bytes and config only,
// once per node and config.
func (c *Chain) verifyTransaction(req []byte, conf *ledger.Config) (*ledger.Transaction, error) {
	if tx := c.verified.get(req, conf.Seq); tx != nil {
		return tx, nil
	}
	tx, err := c.decodeTransaction(req, nil, conf)
	if err != nil {
		return nil, err
	}
	if err := tx.Verify(c.cfg.ChainID); err != nil {
		return nil, err
	}
	c.verified.put(req, conf.Seq, tx)
	return tx, nil
}

// decodeTransaction does all of verifyTransaction that costs little; tx is nil or req
// decoded.
func (c *Chain) decodeTransaction(req []byte, tx *ledger.Transaction, conf *ledger.Config) (_ *ledger.Transaction, err error) {
	if uint64(len(req)) > conf.Limits.MaxRequestBytes {
		return nil, fmt.Errorf("%w: %d bytes, the network allows %d (maxRequestBytes): split it", ErrTooLarge, len(req), conf.Limits.MaxRequestBytes)
	}
	if tx == nil {
		if tx, err = ledger.DecodeTransaction(req); err != nil {
			return nil, err
		}
	}
	if conf.Member(tx.Payload.Org) == nil {
		return nil, fmt.Errorf("org %q is no member of this network", tx.Payload.Org)
	}
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
