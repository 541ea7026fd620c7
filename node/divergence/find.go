package divergence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/compact"

	"github.com/assent-network/assent/node/ledger"
)

// Own is this node's receipt log; *state.View is one.
type Own interface {
	// LogUpTo returns the first size leaves as a range that can grow.
	LogUpTo(size uint64) (*compact.Range, error)
	// Leaf returns the leaf at a position and the hashes of its writes.
	Leaf(position uint64) (*ledger.Receipt, []ledger.WriteHash, error)
}

// Peers reads other nodes' receipt logs; *sync.Client does. What they return is
// checked here.
type Peers interface {
	// Receipts returns leaves from a position on: one at least, limit at most.
	Receipts(ctx context.Context, peer string, from, limit uint64) ([]*ledger.Receipt, error)
	// Writes returns the hashes of what the leaf at a position wrote.
	Writes(ctx context.Context, peer string, position uint64) ([]ledger.WriteHash, error)
}

// Claim is what is certified, and up to where this node agreed.
type Claim struct {
	From     uint64      // size of the log at the certified header before
	FromRoot ledger.Hash // its root there
	Size     uint64      // size of the log that the certified header names
	Root     ledger.Hash // its root
	OwnSize  uint64      // size of this node's log after the same height
}

// Config is what Find needs.
type Config struct {
	Own    Own
	Peers  Peers
	Ask    []string // peers, in the order in which they are asked
	Claim  Claim
	PerAsk time.Duration // that one peer may take, default 4 s
}

// Part says what of a transaction's result differs.
type Part string

// The parts, in the order in which they are looked at.
const (
	PartIdentity Part = "transaction" // another transaction stands there, or none
	PartWrites   Part = "writes"
	PartCode     Part = "code"
	PartEvents   Part = "events"
	PartPlace    Part = "place" // height or index in the block
)

// Finding is the first difference. All of it is proven by the certified root.
type Finding struct {
	Position  uint64 // in the receipt log
	Certified ledger.Receipt
	Own       *ledger.Receipt // nil: this node has none there
	Part      Part
	Key       string // the first one whose write differs; "" if no write does
	HasHere   bool   // this node wrote or removed Key …
	HasThere  bool   // … and so did the others
}

// maxLeaves bounds how many receipts are compared: more than the blocks of which
// an honest header's roots may lag can hold.
const maxLeaves = 1 << 20

// pageLeaves is how many receipts are asked for at a time.
const pageLeaves = 1024

// ErrSame means that this node's receipts are the certified ones: what differs is
// its state, which does not follow from what was written to it.
var ErrSame = errors.New("every receipt is the certified one: this node's state does not follow from its own writes, its files are damaged")

// errLied is what a peer sent that the certified root does not prove.
var errLied = errors.New("what it sent is not what was certified")

// Find returns the first transaction whose certified receipt is not this node's,
// and the first key whose write differs. Errors: ErrSame; that this node's own log
// cannot be read or is damaged; or why no peer could help, each with its reason.
func Find(ctx context.Context, cfg Config) (*Finding, error) {
	if cfg.PerAsk == 0 {
		cfg.PerAsk = 4 * time.Second
	}
	c := cfg.Claim
	if c.Size <= c.From || c.Size-c.From > maxLeaves {
		return nil, fmt.Errorf("the certified log has %d receipts after %d: nothing to compare", c.Size, c.From)
	}
	base, err := cfg.Own.LogUpTo(c.From)
	if err != nil {
		return nil, fmt.Errorf("own receipts: %w", err)
	}
	if root, err := ledger.LogRoot(base); err != nil || root != c.FromRoot {
		return nil, errors.Join(fmt.Errorf("the first %d of this node's own receipts are not the certified ones any more: its files are damaged", c.From), err)
	}
	var errs []error
	for _, peer := range cfg.Ask {
		f, err := ask(ctx, cfg, peer)
		if err == nil || errors.Is(err, ErrSame) {
			return f, err
		}
		var own ownError
		if errors.As(err, &own) {
			return nil, err
		}
		errs = append(errs, fmt.Errorf("peer %s: %w", peer, err))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("there is none"))
	}
	return nil, fmt.Errorf("no peer could show what was certified: %w", errors.Join(errs...))
}

// ownError is a failure of this node, which no other peer can help.
type ownError struct{ error }

func (e ownError) Unwrap() error { return e.error }

// ask compares with one peer's receipts.
func ask(ctx context.Context, cfg Config, peer string) (*Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.PerAsk)
	defer cancel()
	f, err := compareLeaves(ctx, cfg, peer)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, ErrSame
	}
	if f.Own == nil || f.Own.TxID != f.Certified.TxID {
		f.Part = PartIdentity
		return f, nil
	}
	if f.Own.Writes != f.Certified.Writes {
		f.Part = PartWrites
		return f, nameKey(ctx, cfg, peer, f)
	}
	switch {
	case f.Own.Code != f.Certified.Code:
		f.Part = PartCode
	case f.Own.Events != f.Certified.Events:
		f.Part = PartEvents
	default:
		f.Part = PartPlace
	}
	return f, nil
}

// compareLeaves adds a peer's leaves to this node's log and returns the first that
// is not this node's, nil if there is none; an error unless all of them together
// have the certified root.
func compareLeaves(ctx context.Context, cfg Config, peer string) (*Finding, error) {
	c := cfg.Claim
	log, err := cfg.Own.LogUpTo(c.From)
	if err != nil {
		return nil, ownError{fmt.Errorf("own receipts: %w", err)}
	}
	var first *Finding
	for p := c.From; p < c.Size; {
		page, err := cfg.Peers.Receipts(ctx, peer, p, min(c.Size-p, pageLeaves))
		if err == nil && (len(page) == 0 || uint64(len(page)) > c.Size-p) {
			err = fmt.Errorf("%w: %d receipts where %d are left", errLied, len(page), c.Size-p)
		}
		if err != nil {
			return nil, err
		}
		for _, theirs := range page {
			leaf := theirs.LeafHash()
			if err := log.Append(leaf[:], nil); err != nil {
				return nil, ownError{fmt.Errorf("own receipts: %w", err)}
			}
			if first == nil {
				if first, err = differs(cfg, p, theirs, leaf); err != nil {
					return nil, err
				}
			}
			p++
		}
	}
	if root, err := ledger.LogRoot(log); err != nil || root != c.Root {
		return nil, errors.Join(fmt.Errorf("%w: its receipts %d to %d have another root", errLied, c.From, c.Size-1), err)
	}
	return first, nil
}

// differs compares one leaf with this node's.
func differs(cfg Config, position uint64, theirs *ledger.Receipt, leaf ledger.Hash) (*Finding, error) {
	f := &Finding{Position: position, Certified: *theirs}
	if position >= cfg.Claim.OwnSize {
		return f, nil
	}
	ours, _, err := cfg.Own.Leaf(position)
	if err != nil {
		return nil, ownError{fmt.Errorf("own receipt %d: %w", position, err)}
	}
	if ours.LeafHash() == leaf {
		return nil, nil
	}
	f.Own = ours
	return f, nil
}

// nameKey fills in the first key whose write differs.
func nameKey(ctx context.Context, cfg Config, peer string, f *Finding) error {
	theirs, err := cfg.Peers.Writes(ctx, peer, f.Position)
	if err != nil {
		return err
	}
	if ledger.HashWrites(theirs) != f.Certified.Writes {
		return fmt.Errorf("%w: the writes of receipt %d have another hash", errLied, f.Position)
	}
	_, ours, err := cfg.Own.Leaf(f.Position)
	if err != nil {
		return ownError{fmt.Errorf("own receipt %d: %w", f.Position, err)}
	}
	f.Key, f.HasHere, f.HasThere = firstKey(ours, theirs)
	return nil
}

// firstKey returns the first key that stands in one list only or with another
// value, records and log rows before index rows: those follow from the others.
// Both ascend by key.
func firstKey(ours, theirs []ledger.WriteHash) (key string, here, there bool) {
	take := func(k string, h, t bool) (done bool) {
		index := ledger.KeepingOf(k) == ledger.KeepIndex
		if key == "" || !index {
			key, here, there = k, h, t
		}
		return !index
	}
	for i, j := 0, 0; i < len(ours) || j < len(theirs); {
		switch {
		case j == len(theirs) || i < len(ours) && ours[i].Key < theirs[j].Key:
			if take(ours[i].Key, true, false) {
				return
			}
			i++
		case i == len(ours) || theirs[j].Key < ours[i].Key:
			if take(theirs[j].Key, false, true) {
				return
			}
			j++
		default:
			if !bytes.Equal(ours[i].Value, theirs[j].Value) && take(ours[i].Key, true, true) {
				return
			}
			i++
			j++
		}
	}
	return
}
