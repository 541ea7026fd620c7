package chain

import (
	"context"
	"fmt"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// Deliver implements consensus.App: append, sync, prune the pool, hand over to
// the executor. Nothing is executed here.
func (c *Chain) Deliver(d consensus.Decision) (*consensus.Membership, error) {
	if err := c.failed(); err != nil {
		return nil, err
	}
	p, err := c.parsedProposal(d.Proposal)
	if err != nil {
		err = fmt.Errorf("decided proposal at height %d cannot be read: %w", d.Proposal.Height, err)
		c.fail(err)
		return nil, err
	}
	cert := &ledger.Certificate{Header: p.hash, View: d.View}
	for _, v := range d.Votes {
		cert.Votes = append(cert.Votes, ledger.Vote{Validator: uint64(v.Replica), Sig: ledger.Signature(v.Signature)})
	}
	ledger.SortVotes(cert.Votes)
	return c.append(p, cert)
}

// parsedProposal returns the decoded block of p, from the last check if it was
// that one.
func (c *Chain) parsedProposal(p consensus.Proposal) (*parsed, error) {
	if ch := c.checked; ch != nil && ch.hash == ledger.Sum(p.Header) {
		c.checked = nil
		return ch, nil
	}
	b, err := c.parse(p)
	if err != nil {
		return nil, err
	}
	return decodeBlock(b)
}

// decodeBlock decodes the requests of a certified block. A quorum checked their
// signatures.
func decodeBlock(b *ledger.Block) (*parsed, error) {
	p := &parsed{block: b, hash: b.Header.Hash(), txs: make([]*ledger.Transaction, len(b.Requests)), infos: make([]consensus.RequestInfo, len(b.Requests))}
	for i, r := range b.Requests {
		id, err := ledger.RequestID(r)
		if err != nil {
			return nil, fmt.Errorf("block %d request %d: %w", b.Header.Height, i, err)
		}
		p.infos[i] = infoOf(id)
		if ledger.KindOf(r) == ledger.KindTransaction {
			if p.txs[i], err = ledger.DecodeTransaction(r); err != nil {
				return nil, fmt.Errorf("block %d request %d: %w", b.Header.Height, i, err)
			}
		}
	}
	u, err := b.Update()
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", b.Header.Height, err)
	}
	if u != nil {
		p.next = u.Config
	}
	return p, nil
}

// Append takes a block from a peer, whose certificate the caller has checked
// under this chain's configs. A block that is here already is a success.
func (c *Chain) Append(b *ledger.Block, cert *ledger.Certificate) error {
	p, err := decodeBlock(b)
	if err != nil {
		return err
	}
	_, err = c.append(p, cert)
	return err
}

// append is the one place where the ledger grows. An error is fatal: it mutes
// the node, and only a restart goes on.
func (c *Chain) append(p *parsed, cert *ledger.Certificate) (m *consensus.Membership, err error) {
	c.appendMu.Lock()
	defer c.appendMu.Unlock()
	if err := c.failed(); err != nil {
		return nil, err
	}
	if c.closed {
		return nil, ErrStopped
	}
	defer func() {
		if err != nil {
			c.fail(err)
		}
	}()
	h := &p.block.Header
	if h.Height <= c.Tip().Height {
		return nil, c.sameAsStored(p, cert)
	}
	conf, certified := c.Config(), c.certifiedHeight()
	if err := c.checkHeader(h, conf, p.next); err != nil {
		return nil, fmt.Errorf("certified block %d does not extend this ledger: %w", h.Height, err)
	}
	if err := c.cfg.Store.Append(p.block, cert); err != nil {
		return nil, fmt.Errorf("append block %d: %w", h.Height, err)
	}
	if w := c.cfg.Witness; w != nil {
		w.Decided(h, p.hash, p.block.Meta, cert)
	}
	if p.next != nil {
		next := c.membership()
		m = &next
		c.log.Info("a further config is in force", "configSeq", p.next.Seq, "height", h.Height, "members", len(p.next.Members), "validators", len(p.next.Validators))
		c.cfg.OnConfig()
	}
	c.forget(append(c.doneSeals(certified, h.ExecHeight), p.infos...))
	c.shares.ordered(h.Time, p.units())
	select {
	case c.queue <- p: // full: the executor is 64 blocks behind, and ordering waits for it
	case <-c.done: // whoever waited on here would keep the node from ending
		return nil, c.failed()
	}
	return m, nil
}

// units is what the transactions of a block cost.
func (p *parsed) units() int {
	sum := 0
	for i, r := range p.block.Requests {
		if p.txs[i] != nil {
			sum += unitsOf(r)
		}
	}
	return sum
}

// sameAsStored accepts a block that was appended before, and nothing else.
func (c *Chain) sameAsStored(p *parsed, cert *ledger.Certificate) error {
	_, got, err := c.cfg.Store.Header(p.block.Header.Height)
	if err != nil {
		return err
	}
	if got != p.hash {
		if w := c.cfg.Witness; w != nil { // more than f validators lied: what they signed is left
			w.Decided(&p.block.Header, p.hash, p.block.Meta, cert)
		}
		return fmt.Errorf("fork at height %d: block %s is on disk, %s was certified: keep the data directory and call the other members", p.block.Header.Height, got, p.hash)
	}
	return nil
}

// CatchUp implements consensus.App.
func (c *Chain) CatchUp(ctx context.Context) (consensus.Tip, error) {
	before := c.Config().Seq
	if err := c.cfg.Peers.CatchUp(ctx, c.Append); err != nil {
		return consensus.Tip{}, err
	}
	last, err := c.lastDecision()
	if err != nil {
		return consensus.Tip{}, err
	}
	t := consensus.Tip{Decision: last}
	if c.Config().Seq != before {
		m := c.membership()
		t.Changed = &m
	}
	return t, nil
}
