package executor

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// Config tells an Executor what to run on what.
type Config struct {
	DB        *state.DB
	Genesis   *ledger.Config // executed as block 0
	Contracts Contracts      // zero: those of package chaincode
	Logger    *slog.Logger   // defects of contracts; nil: none
}

// Executor runs blocks and read calls on one state.
type Executor struct {
	db        *state.DB
	genesis   *ledger.Config
	chain     ledger.Hash
	channel   string
	contracts Contracts
	log       *slog.Logger
	memory    *memory // owned by Execute

	running atomic.Pointer[Call] // what Execute is running, for the watchdog
	touched lastKey              // of that call
}

// lastKey is the key that a call used last: what the watchdog says of a contract
// that does not return. The call writes it, the watchdog reads it.
type lastKey struct {
	mu  sync.Mutex
	key string
}

func (l *lastKey) set(key string) {
	l.mu.Lock()
	l.key = key
	l.mu.Unlock()
}

// Call names a contract call.
type Call struct {
	Contract string
	Function string
	TxID     ledger.Hash
}

// New returns an executor on cfg.DB.
func New(cfg Config) (*Executor, error) {
	var errs []error
	if cfg.DB == nil {
		errs = append(errs, errors.New("DB is missing"))
	}
	if cfg.Genesis == nil {
		errs = append(errs, errors.New("Genesis is missing"))
	}
	if (cfg.Contracts.Chaincode == nil) != (cfg.Contracts.Lookup == nil) {
		errs = append(errs, errors.New("Contracts has only one of Chaincode and Lookup"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("executor config: %w", err)
	}
	if cfg.Contracts.Chaincode == nil {
		var err error
		if cfg.Contracts, err = assent(); err != nil {
			return nil, err
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	chain := cfg.Genesis.Hash()
	return &Executor{
		db: cfg.DB, genesis: cfg.Genesis, chain: chain, channel: chain.Hex(),
		contracts: cfg.Contracts, log: cfg.Logger, memory: newMemory(),
	}, nil
}

// Result is what a block did.
type Result struct {
	Height   ledger.Height
	Time     uint64 // of the block, Unix ms
	Roots    state.Roots
	Outcomes []*state.Outcome // in order; seals have none
}

// Running returns the call that Execute is in, or nil. A watchdog that finds the
// same pointer for too long knows that a contract does not return.
func (e *Executor) Running() *Call { return e.running.Load() }

// Touched returns the key that the call of Running asked for or wrote last, as
// ledger.ShownKey shows it, or "".
func (e *Executor) Touched() string {
	e.touched.mu.Lock()
	defer e.touched.mu.Unlock()
	return ledger.ShownKey(e.touched.key)
}

// Execute runs the block that follows the last executed one and commits its
// effects. txs may hold what the caller has already decoded: txs[i] is the
// transaction in block.Requests[i], or nil. One goroutine calls Execute, the one
// that flushes the state.
//
// An error means that the state could not be read or written, or that a block
// which a quorum accepted cannot be understood: the node must stop. Restarting
// executes the block again.
func (e *Executor) Execute(block *ledger.Block, txs []*ledger.Transaction) (*Result, error) {
	h := &block.Header
	b, err := e.db.Begin(h.Height, h.Time)
	if err != nil {
		return nil, fmt.Errorf("execute block %d: %w", h.Height, err)
	}
	// Access records that nodes may have pruned are read by none.
	b.Age(h.Time - min(h.Time, e.genesis.Limits.RecordAge()))
	r := &Result{Height: h.Height, Time: h.Time, Outcomes: make([]*state.Outcome, 0, len(block.Requests))}
	if h.Height == 0 {
		if err := e.executeGenesis(b, r); err != nil {
			return nil, fmt.Errorf("execute genesis: %w", err)
		}
	}
	for i, req := range block.Requests {
		var tx *ledger.Transaction
		if i < len(txs) {
			tx = txs[i]
		}
		if err := e.executeRequest(b, r, uint64(i), req, tx); err != nil {
			return nil, fmt.Errorf("execute block %d: request %d: %w", h.Height, i, err)
		}
	}
	if r.Roots, err = b.Seal(); err != nil {
		return nil, fmt.Errorf("execute block %d: %w", h.Height, err)
	}
	if err := b.Commit(); err != nil {
		return nil, fmt.Errorf("execute block %d: %w", h.Height, err)
	}
	return r, nil
}

func (e *Executor) executeGenesis(b *state.Block, r *Result) error {
	if err := e.applyConfig(b, r, e.chain, 0, e.genesis); err != nil {
		return err
	}
	if o := r.Outcomes[0]; o.Code != string(record.OK) {
		return fmt.Errorf("the membership contract refuses the genesis config with %s: %s: make a new genesis", o.Code, o.Message)
	}
	return nil
}

func (e *Executor) executeRequest(b *state.Block, r *Result, index uint64, req []byte, tx *ledger.Transaction) error {
	switch kind := ledger.KindOf(req); {
	case tx != nil || kind == ledger.KindTransaction:
		if tx == nil {
			var err error
			if tx, err = ledger.DecodeTransaction(req); err != nil {
				return err
			}
		}
		return e.executeTransaction(b, r, index, tx)
	case kind == ledger.KindUpdate:
		u, err := ledger.DecodeUpdate(req)
		if err != nil {
			return err
		}
		return e.applyConfig(b, r, u.ID(), index, u.Config)
	case kind == ledger.KindSeal:
		return nil
	default:
		return errors.New("it is neither a transaction nor a config update nor a seal: this node is older than the network, update it")
	}
}

func (e *Executor) executeTransaction(b *state.Block, r *Result, index uint64, tx *ledger.Transaction) error {
	known, err := b.Known(tx.ID())
	if err != nil {
		return err
	}
	if known {
		return e.apply(b, r, refused(tx.ID(), index, record.CodeDuplicate, "this transaction stands in an earlier block or earlier in this one"))
	}
	p := &tx.Payload
	f, ok := e.contracts.Lookup(p.Contract, p.Function)
	switch {
	case !ok:
		return e.apply(b, r, refused(tx.ID(), index, record.CodeUnknownFunction, "no such contract or function"))
	case f.Read:
		return e.apply(b, r, refused(tx.ID(), index, record.CodeReadOnlyFunction, "the function only reads: call it as a read"))
	case len(p.Args) != f.Args:
		return e.apply(b, r, refused(tx.ID(), index, record.CodeUnknownFunction, fmt.Sprintf("the function takes %d arguments, %d were given", f.Args, len(p.Args))))
	}
	creator, err := record.Encode(record.NewCreator(record.OrgID(p.Org), p.Key))
	if err != nil {
		return e.apply(b, r, refused(tx.ID(), index, record.CodeUnknownKey, "the organisation's name is not in its form"))
	}
	return e.call(b, r, index, invocation{
		call: Call{p.Contract, p.Function, tx.ID()}, args: p.Args, creator: creator,
	})
}

// call runs a contract on b and applies what came of it.
func (e *Executor) call(b *state.Block, r *Result, index uint64, inv invocation) error {
	inv.channel, inv.time = e.channel, b.Time()
	s := newStub(b, inv, transactionLimits)
	s.memory, s.touched = e.memory, &e.touched
	e.touched.set("")
	e.running.Store(&inv.call)
	v := e.run(s)
	e.running.Store(nil)
	if v.err != nil {
		return v.err
	}
	tx := &state.Tx{TxID: inv.call.TxID, Index: index, Code: string(v.code), Message: v.message}
	if v.code == record.OK {
		tx.Payload, tx.Events, tx.Writes = v.payload, s.events(), s.sortedWrites()
	}
	return e.apply(b, r, tx)
}

func refused(id ledger.Hash, index uint64, code record.Code, message string) *state.Tx {
	return &state.Tx{TxID: id, Index: index, Code: string(code), Message: message}
}

func (e *Executor) apply(b *state.Block, r *Result, tx *state.Tx) error {
	o, err := b.Apply(tx)
	if errors.Is(err, state.ErrLogRowExists) {
		o, err = b.Apply(refused(tx.TxID, tx.Index, record.CodeAlreadyExists, "a record that is written once exists already"))
	}
	if err != nil {
		return err
	}
	r.Outcomes = append(r.Outcomes, o)
	return nil
}
