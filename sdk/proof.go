package sdk

import (
	"context"
	"fmt"
	"time"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// Proofs reads from the ledger with no node trusted: every answer is checked
// against votes of a quorum of the validators that follow from the genesis
// config. If one node's proof does not hold, the next node is asked.
type Proofs struct{ c *Client }

// Proofs returns the reader that trusts no node.
func (c *Client) Proofs() Proofs { return Proofs{c} }

// ProvenRecord is a record, or its absence, as a quorum certified it.
type ProvenRecord struct {
	Key     string
	Present bool
	Value   []byte // canonical JSON; nil if absent
	Height  uint64 // the state proven is the one after this height

	Header ledger.CertifiedHeader
	Proof  ledger.StateProof
}

// Time is the block time of the header that certifies the record.
func (r *ProvenRecord) Time() time.Time { return fromMillis(r.Header.Header.Time) }

// Record proves the record under key ("consent/rec/0x…"), or that there is none,
// in a state no older than this client's own transactions.
func (p Proofs) Record(ctx context.Context, key string) (*ProvenRecord, error) {
	least := p.c.seen.Load()
	r, err := p.RecordSince(ctx, key, least)
	p.c.unsee(err, least)
	return r, err
}

// RecordSince is Record for a state that is the one after height or a later one.
// It waits for its certificate.
func (p Proofs) RecordSince(ctx context.Context, key string, height uint64) (*ProvenRecord, error) {
	op := fmt.Sprintf("prove record %q", key)
	return round(ctx, p.c, op, anyNode, func(ctx context.Context, e *endpoint) (*ProvenRecord, error) {
		return p.record(ctx, e, key, height)
	})
}

func (p Proofs) record(ctx context.Context, e *endpoint, key string, height uint64) (*ProvenRecord, error) {
	wait := p.c.set.timeouts.Certify
	resp, err := try(ctx, p.c, e, wait+p.c.set.timeouts.Call, &assentv1.ProveRecordRequest{
		Key: key, MinHeight: height, WaitMs: millis(wait, api.MaxWait),
	}, e.ledger.ProveRecord)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("a proof of record %q", key)
	lie := func(err error) error { return &Untrusted{Node: e.url, What: what, Cause: err} }
	ch, err := p.c.header(ctx, e, what, resp.CertifiedHeader)
	if err != nil {
		return nil, err
	}
	// Validators that have left could sign a state of their time at any time.
	if newest := p.c.trust.config().Seq; ch.Header.ConfigSeq < newest {
		return nil, &Error{
			Code: "NOT_READY", Where: what + " at " + e.url, retryable: true,
			What:   fmt.Sprintf("the node shows header %d, which was voted under config %d, and config %d is in force", ch.Header.Height, ch.Header.ConfigSeq, newest),
			Remedy: "Try again, or another node: this one has not caught up, or shows the past.",
		}
	}
	sp, err := ledger.DecodeStateProof(resp.StateProof)
	if err != nil {
		return nil, lie(err)
	}
	r := &ProvenRecord{Key: key, Header: *ch, Proof: *sp}
	if err := r.fill(); err != nil {
		return nil, lie(err)
	}
	if r.Height < height {
		return nil, lie(fmt.Errorf("it is of height %d, older than height %d that was asked for", r.Height, height))
	}
	return r, nil
}

// fill checks the proof against the header, which is trusted here, and takes
// the record from it.
func (r *ProvenRecord) fill() error {
	if r.Proof.Key != r.Key {
		return fmt.Errorf("it proves record %.80q", r.Proof.Key)
	}
	if err := r.Proof.Verify(r.Header.Header.StateRoot); err != nil {
		return err
	}
	r.Present, r.Height = r.Proof.Present, uint64(r.Header.Header.ExecHeight)
	if r.Present {
		r.Value = r.Proof.Value
	}
	return nil
}

// ProvenReceipt is what became of a transaction, and everything it wrote, as a
// quorum certified it.
type ProvenReceipt struct {
	TxID    Hash
	Height  uint64            // of the block that holds the transaction
	Index   uint64            // its position there
	Code    Code              // OK, or why it was refused
	Records map[string][]byte // the rows asked for; every one was written by the transaction

	Header ledger.CertifiedHeader // certifies the receipt; a later block
	Proof  ledger.ReceiptProof
}

// Time is the block time of the header that certifies the receipt.
func (r *ProvenReceipt) Time() time.Time { return fromMillis(r.Header.Header.Time) }

// Receipt proves what became of a transaction, refused or not, waiting for the
// certificate. keys name rows it wrote whose values are wanted too.
func (p Proofs) Receipt(ctx context.Context, txID Hash, keys ...string) (*ProvenReceipt, error) {
	op := fmt.Sprintf("prove receipt of %s", txID)
	return round(ctx, p.c, op, anyNode, func(ctx context.Context, e *endpoint) (*ProvenReceipt, error) {
		return p.receipt(ctx, e, txID, keys)
	})
}

func (p Proofs) receipt(ctx context.Context, e *endpoint, txID Hash, keys []string) (*ProvenReceipt, error) {
	wait := p.c.set.timeouts.Certify
	resp, err := try(ctx, p.c, e, wait+p.c.set.timeouts.Call, &assentv1.ProveReceiptRequest{
		TxId: txID.Hex(), WaitMs: millis(wait, api.MaxWait), Keys: keys,
	}, e.ledger.ProveReceipt)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("a proof of the receipt of %s", txID)
	lie := func(err error) error { return &Untrusted{Node: e.url, What: what, Cause: err} }
	ch, err := p.c.header(ctx, e, what, resp.CertifiedHeader)
	if err != nil {
		return nil, err
	}
	rp, err := ledger.DecodeReceiptProof(resp.ReceiptProof)
	if err != nil {
		return nil, lie(err)
	}
	r := &ProvenReceipt{TxID: txID, Header: *ch, Proof: *rp}
	if err := r.fill(); err != nil {
		return nil, lie(err)
	}
	if len(resp.Records) != len(keys) {
		return nil, lie(fmt.Errorf("%d rows came for %d keys", len(resp.Records), len(keys)))
	}
	r.Records = make(map[string][]byte, len(keys))
	for i, key := range keys {
		row := resp.Records[i]
		if row.Key != key || !rp.Wrote(key, row.Value) {
			return nil, lie(fmt.Errorf("the transaction did not write this row %q", key))
		}
		r.Records[key] = row.Value
	}
	return r, nil
}

func (r *ProvenReceipt) fill() error {
	if r.Proof.Receipt.TxID != r.TxID {
		return fmt.Errorf("it is the receipt of transaction %s", r.Proof.Receipt.TxID)
	}
	if err := r.Proof.Verify(&r.Header.Header); err != nil {
		return err
	}
	rc := &r.Proof.Receipt
	if rc.Height > r.Header.Header.ExecHeight {
		return fmt.Errorf("the receipt is of height %d, the header certifies up to %d", rc.Height, r.Header.Header.ExecHeight)
	}
	r.Height, r.Index, r.Code = uint64(rc.Height), rc.Index, Code(rc.Code)
	return nil
}

// Header returns the newest header that the nodes certify, checked.
func (p Proofs) Header(ctx context.Context) (*ledger.CertifiedHeader, error) {
	return round(ctx, p.c, "fetch the newest header", anyNode, func(ctx context.Context, e *endpoint) (*ledger.CertifiedHeader, error) {
		return p.c.newest(ctx, e)
	})
}

func (c *Client) newest(ctx context.Context, e *endpoint) (*ledger.CertifiedHeader, error) {
	resp, err := try(ctx, c, e, c.set.timeouts.Call, &assentv1.GetHeaderRequest{}, e.ledger.GetHeader)
	if err != nil {
		return nil, err
	}
	return c.header(ctx, e, "its newest header", resp.CertifiedHeader)
}
