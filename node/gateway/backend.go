package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/redact"
)

// Errors of every backend: an *api.Error goes to the client as it is; a
// *record.Refusal becomes the error of its code; the end of ctx becomes TIMEOUT
// or CANCELLED; anything else is logged and becomes INTERNAL without its text.
// All methods may be called concurrently and end soon after ctx does.

// Caller is who makes a call.
type Caller struct {
	Org     string         // member; empty for a subject
	Address ledger.Address // the client key, or the subject's principalKey
	Subject bool
}

// Clients says who the registered keys are.
type Clients interface {
	// Client returns the record of a member's client key in the newest executed
	// state, nil if there is none, and the time of that state's block. It is
	// called for every call and every batch of events: it must be cheap.
	Client(org record.OrgID, key ledger.Address) (*record.Client, record.Millis, error)
}

// Transactions takes transactions and tells what became of them.
type Transactions interface {
	// Submit admits signed bytes to the pool and returns their id; bytes that it
	// holds already, or that are executed, are no error. With wait > 0 it returns
	// the outcome too, or nil if that is not known in time. Errors: BAD_REQUEST,
	// BAD_SIGNATURE, WRONG_CHAIN, NOT_VALID_NOW, OVERLOADED, NOT_READY.
	Submit(ctx context.Context, tx []byte, wait time.Duration) (ledger.Hash, *Outcome, error)
	// SubmitMany is Submit for several transactions at once, with wait > 0. It
	// calls report, from the calling goroutine, with what became known together,
	// and tells of every transaction once: when wait is over also of those whose
	// outcome is not known. An error of report ends it and is returned; what was
	// admitted stays so. report does not keep the slice.
	SubmitMany(ctx context.Context, txs [][]byte, wait time.Duration, report func([]Submitted) error) error
	// Outcome returns what became of a transaction, waiting for it at most wait;
	// nil: it is in no executed block.
	Outcome(ctx context.Context, id ledger.Hash, wait time.Duration) (*Outcome, error)
}

// Outcome is what became of a transaction.
type Outcome struct {
	TxID      ledger.Hash
	Height    ledger.Height
	Index     uint64
	Code      string
	Message   string // for people
	Payload   []byte
	Events    []Event
	BlockTime uint64 // Unix ms
}

// Submitted is what is known of one transaction of a SubmitMany: what Submit
// would return.
type Submitted struct {
	Index   int
	TxID    ledger.Hash
	Outcome *Outcome
	Err     error
}

// Event is one event of an executed block.
type Event struct {
	Height    ledger.Height
	Index     uint32 // among all events of the block, from 0
	TxID      ledger.Hash
	Contract  string
	Name      string
	Payload   []byte
	BlockTime uint64 // Unix ms
}

// Reads runs read calls.
type Reads interface {
	// Evaluate runs a read function on the newest executed state and returns that
	// state's height. It first waits, at most wait, until minHeight is executed:
	// NOT_EXECUTED if it is not in time. A subject belongs to no member.
	Evaluate(ctx context.Context, c Call) ([]byte, ledger.Height, error)
}

// Call is a read call. Its sizes are checked, its names are not.
type Call struct {
	Caller    Caller
	Contract  string
	Function  string
	Args      []string
	MinHeight ledger.Height
	Wait      time.Duration
}

// Proofs proves what the ledger says.
type Proofs interface {
	// ProveRecord proves a record, or its absence, in the state after minHeight or
	// later, waiting for a certificate at most wait. Errors: NOT_CERTIFIED,
	// PROOF_TOO_OLD.
	ProveRecord(ctx context.Context, key string, minHeight ledger.Height, wait time.Duration) (*ledger.CertifiedHeader, *ledger.StateProof, error)
	// ProveReceipt proves a transaction's receipt. Errors: NOT_COMMITTED,
	// NOT_CERTIFIED.
	ProveReceipt(ctx context.Context, id ledger.Hash, wait time.Duration) (*ledger.CertifiedHeader, *ledger.ReceiptProof, error)
	// Row returns the bytes under a state key, nil if there are none.
	Row(ctx context.Context, key string) ([]byte, error)
}

// Blocks reads the chain.
type Blocks interface {
	Genesis() *ledger.Config
	// Block returns a block's exact bytes and its certificate's, the latter empty
	// for genesis. Errors: NOT_FOUND above the tip, PRUNED.
	Block(ctx context.Context, h ledger.Height) (block, certificate []byte, err error)
	// Header returns a header with its certificate. Errors as Block.
	Header(ctx context.Context, h ledger.Height) (*ledger.CertifiedHeader, error)
	// Tip is the newest height.
	Tip() ledger.Height
	// ConfigProofs returns the config blocks from sequence seq on, at most max,
	// and whether there are more.
	ConfigProofs(ctx context.Context, seq uint64, max int) ([]*ledger.ConfigProof, bool, error)
}

// Checkpoint names the next event wanted: see assent.v1.Checkpoint.
type Checkpoint struct {
	Height ledger.Height
	Index  uint32
}

// Events reads the events of executed blocks. It keeps nothing per reader.
type Events interface {
	// Next is the checkpoint after the newest executed block.
	Next() Checkpoint
	// Read returns events from a checkpoint on, in order, and the checkpoint after
	// them. If the block is not executed yet it waits for it, at most wait, and then
	// returns no event and from itself. What it returns is in memory until the
	// reader has taken it, so it is little at a time: some blocks, some ten KiB, or
	// one event. Errors: PRUNED, CHECKPOINT_INVALID for one far above the executed
	// height.
	Read(ctx context.Context, from Checkpoint, wait time.Duration) ([]Event, Checkpoint, error)
}

// Delivery moves what is sealed. Caller.Org is the member it acts for.
type Delivery interface {
	// PutSealedPart returns nil when the part is on disk here. Errors:
	// ALREADY_EXISTS for other bytes of the same part, NOT_FOUND for an unknown
	// consent or member, FORBIDDEN if the member is no party.
	PutSealedPart(ctx context.Context, by Caller, p SealedPart) error
	// AwaitAnswer returns the sealed answer to a request of the caller's member.
	// Errors: ANSWER_PENDING after wait, NOT_FOUND.
	AwaitAnswer(ctx context.Context, by Caller, requestID string, wait time.Duration) ([]byte, error)
}

// SealedPart is the sealed part of a consent on its way to a member.
type SealedPart struct {
	ConsentID string
	Version   uint32
	Recipient string
	Sealed    []byte
}

// Format shows which part it is, and nothing of what is in it.
func (p SealedPart) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "sealed part of consent %s for %s", p.ConsentID, p.Recipient)
}

// Provider is the bank's own session with its answering node.
type Provider interface {
	// Bind returns nil when the binding is on disk. subject identifies a person:
	// no error may repeat it.
	Bind(ctx context.Context, subject redact.Personal, wallet ledger.Address) error
	Unbind(ctx context.Context, subject redact.Personal) error
	// BindConsent returns nil when it is on disk for which customer the bank
	// authorised a consent itself. Errors: ALREADY_EXISTS for another customer.
	BindConsent(ctx context.Context, consentID string, subject redact.Personal) error
	CheckTemplate(ctx context.Context, template []byte) (TemplateReport, error)
	// BuildAnswers works out and keeps what is anchored next. progress is called now
	// and then and does not block. Errors: NOT_FOUND, FORBIDDEN, WRONG_STATE,
	// PARAMETER_NOT_ALLOWED, BAD_REQUEST for a vault or template that does not fit,
	// OVERLOADED while another build is under way.
	BuildAnswers(ctx context.Context, q AnswersOf, progress func(read, built uint64)) (*BuiltAnswers, error)
	// TryTemplate evaluates a template over every customer and keeps nothing.
	// progress is called now and then and does not block. Errors: those of
	// BuildAnswers without WRONG_STATE.
	TryTemplate(ctx context.Context, q TrialOf, progress func(read uint64)) (*Trial, error)
}

// AnswersOf says what to work out for every customer.
type AnswersOf struct {
	TemplateID string
	Params     map[string]string
	Epoch      uint64
}

// BuiltAnswers is what came of it.
type BuiltAnswers struct {
	Anchor                                              []byte // record.AnchorSpec as canonical JSON
	Customers, Answered, Twice, Failed, Collided, Bytes uint64
}

// TemplateReport is what a check of a query template found.
type TemplateReport struct {
	Findings []Finding
	Columns  []string
}

// Finding is one complaint about a template.
type Finding struct {
	Warning      bool // else an error
	Field        string
	Line, Column uint32
	What, Remedy string
}

// Node says how the node is.
type Node interface {
	Status() Status
	// Ready is nil, or says in one clause what the node waits for.
	Ready() error
	// Health says of each condition of readiness whether it holds. It may ask
	// other nodes, and ends with ctx.
	Health(ctx context.Context) []Check
}

// Check is one condition of readiness.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"` // what is wrong and what to do, when it does not hold
	// Advisory conditions are shown and keep the node from nothing.
	Advisory bool `json:"advisory,omitempty"`
}

// Status is how far the node is.
type Status struct {
	Protocol  uint64
	Validator uint64 // 0: an observer
	Height    ledger.Height
	Executed  ledger.Height
	Certified ledger.Height // newest height whose state root a certificate covers
	ConfigSeq uint64
	Leader    uint64
	View      uint64
	BlockTime uint64 // Unix ms
	ViewAge   time.Duration
	Pool      int
	Peers     int
}
