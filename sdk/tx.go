package sdk

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

const (
	// backdate makes a transaction valid for nodes whose clocks run behind.
	backdate = 30 * time.Second
	// validity is how long a transaction may wait for a block.
	validity = 10 * time.Minute
	// answerMargin is how much earlier than the client the node gives up waiting,
	// so that its answer still arrives.
	answerMargin = 200 * time.Millisecond
)

// Transaction is a call of one contract function in the name of one member.
type Transaction struct {
	tx     *ledger.Transaction
	raw    []byte // tx.Encode(), never changed
	signed bool
}

func signedTransaction(tx *ledger.Transaction) *Transaction {
	return &Transaction{tx: tx, raw: tx.Encode(), signed: true}
}

// NewTransaction builds an unsigned transaction in the name of the client's
// member, valid from 30 s ago for ten minutes.
func (c *Client) NewTransaction(contract, function string, args ...string) (*Transaction, error) {
	if c.set.subject || c.set.org == "" {
		return nil, &ConfigError{
			What:   "build transaction " + contract + "." + function + ": the client has no member identity",
			Remedy: "Dial with WithIdentity. A subject signs evidence with its wallet, and any member relays it.",
		}
	}
	return BuildTransaction(c.chainID, c.set.org, c.Key(), c.set.now(), contract, function, args...)
}

// BuildTransaction builds an unsigned transaction without a connection, to be
// signed with the key of that address.
func BuildTransaction(chainID Hash, org OrgID, key Address, now time.Time, contract, function string, args ...string) (*Transaction, error) {
	from := now.Add(-backdate)
	p := ledger.Payload{
		ChainID: chainID, Org: string(org), Key: key, Contract: contract, Function: function,
		Args: make([][]byte, len(args)), NotBefore: uint64(from.UnixMilli()), ValidUntil: uint64(from.Add(validity).UnixMilli()),
	}
	for i, a := range args {
		p.Args[i] = []byte(a)
	}
	rand.Read(p.Nonce[:]) // never fails since Go 1.24
	tx := ledger.NewTransaction(p)
	if err := tx.Check(); err != nil {
		return nil, &ConfigError{What: "build transaction " + contract + "." + function, Cause: err, Remedy: "Correct the names or send less."}
	}
	return &Transaction{tx: tx, raw: tx.Encode()}, nil
}

// ParseTransaction reads the bytes of a signed or unsigned transaction. One whose
// signature is all zero is unsigned.
func ParseTransaction(b []byte) (*Transaction, error) {
	tx, err := ledger.DecodeTransaction(b)
	if err != nil {
		return nil, err
	}
	t := &Transaction{tx: tx, raw: bytes.Clone(b), signed: tx.Sig != ledger.Signature{}}
	if t.signed {
		if err := tx.Verify(tx.Payload.ChainID); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// ID names the transaction; it stays the same whoever submits it how often.
func (t *Transaction) ID() Hash { return t.tx.ID() }

// Digest is what the signer signs; equal to ID.
func (t *Transaction) Digest() Hash { return t.tx.ID() }

// Payload returns what is signed.
func (t *Transaction) Payload() ledger.Payload { return t.tx.Payload }

// Bytes returns the transaction's encoding, to store or to carry elsewhere.
func (t *Transaction) Bytes() []byte { return bytes.Clone(t.raw) }

// Signed reports whether the transaction carries its signature.
func (t *Transaction) Signed() bool { return t.signed }

// ValidUntil is the last block time at which the ledger may take it.
func (t *Transaction) ValidUntil() time.Time { return fromMillis(t.tx.Payload.ValidUntil) }

// Call is "contract.Function".
func (t *Transaction) Call() string { return t.tx.Payload.Contract + "." + t.tx.Payload.Function }

// WithSignature returns the transaction with a signature made elsewhere over
// Digest: 65 bytes r ‖ s ‖ v, low s, v 0 or 1.
func (t *Transaction) WithSignature(sig []byte) (*Transaction, error) {
	if len(sig) != len(ledger.Signature{}) {
		return nil, &ConfigError{What: fmt.Sprintf("signature of %d bytes", len(sig)), Remedy: "Give 65 bytes: r, s, and v of 0 or 1."}
	}
	tx := *t.tx
	tx.Sig = ledger.Signature(sig)
	if err := tx.Verify(tx.Payload.ChainID); err != nil {
		return nil, &ConfigError{What: "signature", Cause: err, Remedy: "Sign Digest with the key whose address the transaction names; s must be low."}
	}
	return signedTransaction(&tx), nil
}

// Sign returns the transaction signed by s, whose address it names.
func (t *Transaction) Sign(s Signer) (*Transaction, error) {
	tx := *t.tx
	if err := tx.Sign(s); err != nil {
		return nil, &ConfigError{What: "sign " + t.Call(), Cause: err, Remedy: "Build the transaction for the key that signs."}
	}
	return signedTransaction(&tx), nil
}

// Outcome is what became of a transaction, as a node says. Proofs().Receipt
// shows what the ledger certifies.
type Outcome struct {
	TxID      Hash
	Height    uint64
	Index     uint64 // position in the block
	Code      Code   // OK, or why it was refused
	Message   string // the node's sentence for people
	Payload   []byte // what the function returned
	Events    []Event
	BlockTime time.Time
}

// Invoke builds, signs and submits a transaction and waits for its outcome.
func (c *Client) Invoke(ctx context.Context, contract, function string, args ...string) (*Outcome, error) {
	t, err := c.signed(contract, function, args...)
	if err != nil {
		return nil, err
	}
	return c.Submit(ctx, t)
}

// signed is a new transaction with this client's signature.
func (c *Client) signed(contract, function string, args ...string) (*Transaction, error) {
	t, err := c.NewTransaction(contract, function, args...)
	if err != nil {
		return nil, err
	}
	return t.Sign(c.set.signer)
}

// Submit hands a signed transaction to the network and waits until it is in a
// certified block and executed. It tries node after node with the same bytes,
// which can take effect only once. While nodes say that they have too much to do
// it waits as they advise, within Timeouts.Commit; after that the error has code
// OVERLOADED or RATE_LIMITED, is Retryable, and the transaction was taken
// nowhere. A refusal by the contract is an *Error beside
// the outcome; if nobody says what became of it in time, *CommitUnknown.
func (c *Client) Submit(ctx context.Context, t *Transaction) (*Outcome, error) {
	where := "submit " + t.Call()
	if !t.signed {
		return nil, &ConfigError{What: where + ": the transaction is not signed", Remedy: "Sign it, or attach the signature with WithSignature."}
	}
	ctx, cancel := context.WithTimeout(ctx, c.set.timeouts.Commit)
	defer cancel()
	o, err := c.submit(ctx, where, t)
	if err != nil {
		return nil, err
	}
	return c.settle(where, t, o)
}

// settle turns a refused outcome into an error beside it.
func (c *Client) settle(where string, t *Transaction, o *Outcome) (*Outcome, error) {
	c.saw(o.Height)
	if o.Code == record.OK {
		return o, nil
	}
	return o, refusal(fmt.Sprintf("%s, transaction %s in block %d", where, t.ID(), o.Height), o)
}

// submit returns the outcome, refused or not, trying node after node until ctx
// ends. sent is true once some node may have admitted the transaction: from then
// on no error is certain.
func (c *Client) submit(ctx context.Context, where string, t *Transaction) (*Outcome, error) {
	sent := false
	for attempt := 0; ; attempt++ {
		var wait time.Duration // what the nodes advise
		var last error
		for _, e := range c.order(ownNode) {
			o, admitted, err := c.submitTo(ctx, e, t)
			if err == nil {
				c.stick(ownNode, e)
				return o, nil
			}
			err = c.failure(where, e, err)
			var conf *ConfigError
			var ours *Error
			switch {
			case admitted, errors.As(err, &ours) && ours.sent && !beforeAdmission(ours.Code):
				sent = true
			case ours == nil && !errors.As(err, &conf): // a node that lies may have passed it on
				sent = true
			}
			if ours != nil {
				wait = max(wait, ours.RetryAfter)
			}
			if last = err; ctx.Err() != nil || !movesOn(err) && CodeOf(err) != "NOT_COMMITTED" {
				return nil, c.unknownIf(sent, t, last)
			}
		}
		// Being pushed back is not a failed attempt: the time of ctx is the budget.
		if !sent && !pushedBack(last) && attempt+1 >= c.set.attempts || pause(ctx, attempt, wait) != nil {
			return nil, c.unknownIf(sent, t, last)
		}
	}
}

// submitTo hands t to one node and returns its outcome. A node that has t
// already, from an earlier attempt of ours, is asked for the outcome instead.
func (c *Client) submitTo(ctx context.Context, e *endpoint, t *Transaction) (o *Outcome, admitted bool, err error) {
	resp, err := e.carrier.submit(ctx, t.raw)
	switch {
	case err != nil && CodeOf(c.failure("", e, err)) != record.CodeDuplicate:
		return nil, false, err
	case err == nil && resp.Outcome != nil:
		if o, err = outcomeOf(resp.Outcome, t.ID()); err != nil {
			return nil, true, &Untrusted{Node: e.url, What: "an outcome", Cause: err}
		}
		if o.Code != record.CodeDuplicate {
			return o, true, nil
		}
	}
	o, err = c.outcomeAt(ctx, e, t.ID(), remaining(ctx))
	return o, true, err
}

// unknownIf keeps a plain error only if no node can have admitted t.
func (c *Client) unknownIf(sent bool, t *Transaction, err error) error {
	if !sent {
		return err
	}
	return &CommitUnknown{TxID: t.ID(), ValidUntil: t.ValidUntil(), Cause: err, tx: t}
}

// beforeAdmission lists the codes with which a node turns a transaction away at
// the door.
func beforeAdmission(code Code) bool {
	switch code {
	case "BAD_REQUEST", "TOO_LARGE", "TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_LIFETIME", "TOKEN_AUDIENCE",
		"UNKNOWN_KEY", "KEY_REVOKED", "KEY_EXPIRED", "KEY_NOT_YET_VALID", "FORBIDDEN", "NOT_FOUND", "UNKNOWN_METHOD", "RATE_LIMITED", "OVERLOADED",
		"WRONG_CHAIN", "NOT_VALID_NOW", "BAD_SIGNATURE", "NOT_SERVED", "UNKNOWN_FUNCTION", "READ_ONLY_FUNCTION":
		return true
	}
	return false
}

// remaining is the time until ctx ends, at least a moment, so that the call
// itself reports the end.
func remaining(ctx context.Context) time.Duration {
	d, ok := ctx.Deadline()
	if !ok {
		return api.MaxWait
	}
	return max(time.Until(d), time.Millisecond)
}

// Outcome asks what became of a transaction and waits at most wait for it. The
// error has code NOT_COMMITTED if no block holds it yet; a refused transaction
// is an outcome here, not an error.
func (c *Client) Outcome(ctx context.Context, txID Hash, wait time.Duration) (*Outcome, error) {
	return round(ctx, c, fmt.Sprintf("outcome of %s", txID), anyNode, func(ctx context.Context, e *endpoint) (*Outcome, error) {
		return c.outcomeAt(ctx, e, txID, wait)
	})
}

func (c *Client) outcomeAt(ctx context.Context, e *endpoint, txID Hash, wait time.Duration) (*Outcome, error) {
	limit := wait + c.set.timeouts.Call
	ms := uint32(0)
	if wait > 0 {
		ms = millis(wait, api.MaxWait)
	}
	resp, err := try(ctx, c, e, limit, &assentv1.GetOutcomeRequest{TxId: txID.Hex(), WaitMs: ms}, e.ledger.GetOutcome)
	if err != nil {
		return nil, err
	}
	o, err := outcomeOf(resp.Outcome, txID)
	if err != nil {
		return nil, &Untrusted{Node: e.url, What: "an outcome", Cause: err}
	}
	c.saw(o.Height)
	return o, nil
}

func outcomeOf(o *assentv1.Outcome, want Hash) (*Outcome, error) {
	if o == nil {
		return nil, errors.New("it is empty")
	}
	id, err := parseHash(o.TxId)
	if err != nil {
		return nil, err
	}
	if id != want {
		return nil, fmt.Errorf("it is of transaction %s, asked was %s", id, want)
	}
	out := &Outcome{
		TxID: id, Height: o.Height, Index: o.Index, Code: Code(o.Code), Message: o.Message,
		Payload: o.Payload, BlockTime: fromMillis(o.BlockTimeMs),
	}
	for _, e := range o.Events {
		ev, err := eventOf(e)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, ev)
	}
	return out, nil
}

// Resolve finds out what became of a transaction whose outcome was not known. It
// submits the same bytes again while they are valid. When their time is over and
// a node has executed past it without them, the error is not a CommitUnknown but
// has code NOT_VALID_NOW: the transaction never happened and never will.
func (c *Client) Resolve(ctx context.Context, u *CommitUnknown) (*Outcome, error) {
	where := fmt.Sprintf("resolve %s", u.TxID)
	if u.tx != nil && c.set.now().Add(time.Minute).Before(u.ValidUntil) {
		return c.Submit(ctx, u.tx)
	}
	o, err := c.Outcome(ctx, u.TxID, 0)
	if err == nil {
		if u.tx != nil {
			return c.settle(where, u.tx, o)
		}
		return o, nil
	}
	if CodeOf(err) != "NOT_COMMITTED" {
		return nil, &CommitUnknown{TxID: u.TxID, ValidUntil: u.ValidUntil, Cause: err, tx: u.tx}
	}
	ch, herr := c.Proofs().Header(ctx)
	if herr != nil || u.ValidUntil.IsZero() || !fromMillis(ch.Header.Time).After(u.ValidUntil) {
		return nil, &CommitUnknown{TxID: u.TxID, ValidUntil: u.ValidUntil, Cause: err, tx: u.tx}
	}
	// Blocks past its time exist. Ask once more: it may have entered between.
	if o, err = c.Outcome(ctx, u.TxID, 0); err == nil {
		return o, nil
	}
	if CodeOf(err) != "NOT_COMMITTED" {
		return nil, &CommitUnknown{TxID: u.TxID, ValidUntil: u.ValidUntil, Cause: err, tx: u.tx}
	}
	e := notSent(where, "NOT_VALID_NOW", "its time ended at "+u.ValidUntil.Format(time.RFC3339)+" and no block holds it", "Build a new transaction if the action is still wanted.")
	e.TxID = u.TxID
	return nil, e
}

// ResolveID is Resolve for a transaction of which only the identifier is left.
func (c *Client) ResolveID(ctx context.Context, txID Hash) (*Outcome, error) {
	return c.Resolve(ctx, &CommitUnknown{TxID: txID})
}
