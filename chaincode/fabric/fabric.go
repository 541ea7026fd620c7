// Package fabric runs the contracts on a Hyperledger Fabric network.
//
// It promises the contracts what they are written for, on a peer that promises
// less: a creator in Assent's form made from an X.509 identity, a transaction
// time near this service's clock, what the creator signed and nothing else as
// the call, writes under the contract's own name alone, log rows written once,
// read functions that do not write, and a panic that is a refusal. What does
// not fit is refused; nothing is guessed.
//
// It leaves to the peer who belongs to an MSP and whether the proposal's
// signature holds, to Fabric's endorsement policy how many members must agree,
// and to package service the connection. It takes time as an argument and
// starts nothing.
package fabric

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/record"
)

// DefaultMaxSkew is how far a transaction's time may be from the service's
// clock, in milliseconds.
const DefaultMaxSkew record.Millis = 30_000

// Bounds of one call. They are those of Assent's own executor, so that what one
// network takes the other takes.
const (
	maxArguments = 256 << 10 // bytes of all arguments together
	maxConfig    = 512 << 10 // the same for ApplyConfig
	maxCalls     = 50_000    // calls of the stub
	maxWrites    = 8_192
	maxWritten   = 4 << 20 // keys and values
	maxValue     = 256 << 10
	maxKey       = 512
	maxResponse  = 256 << 10 // of a transaction
	maxReadReply = 8 << 20   // of a read function
	maxMessage   = 256       // text of a refusal
)

// Config is what one member's service adds to the code that all run. Services
// may differ in it: a difference makes one refuse to endorse, never endorse
// something else.
type Config struct {
	// Approved is the Approval of the ordering config that this member accepts;
	// zero accepts none, and ApplyConfig is refused.
	Approved record.Hash
	Now      func() record.Millis // this service's clock, Unix ms
	MaxSkew  record.Millis        // 0: DefaultMaxSkew
	Logger   *slog.Logger         // defects; nil: none
}

// Chaincode is the contracts as a Fabric chaincode. Many goroutines may call it.
type Chaincode struct {
	inner    shim.Chaincode
	approved record.Hash
	now      func() record.Millis
	maxSkew  record.Millis
	log      *slog.Logger
}

// New returns the chaincode of all contracts.
func New(cfg Config) (*Chaincode, error) {
	inner, err := chaincode.New()
	if err != nil {
		return nil, err
	}
	return wrap(inner, cfg)
}

func wrap(inner shim.Chaincode, cfg Config) (*Chaincode, error) {
	if cfg.Now == nil {
		return nil, errors.New("fabric chaincode: Now is missing")
	}
	if cfg.MaxSkew < 0 {
		return nil, errors.New("fabric chaincode: MaxSkew is negative")
	}
	if cfg.MaxSkew == 0 {
		cfg.MaxSkew = DefaultMaxSkew
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Chaincode{inner: inner, approved: cfg.Approved, now: cfg.Now, maxSkew: cfg.MaxSkew, log: cfg.Logger}, nil
}

// Init serves a chaincode definition that requires initialisation: its first
// call is membership:ApplyConfig. After an upgrade Fabric asks for Init again;
// without a function it succeeds once there is a config.
func (c *Chaincode) Init(outer shim.ChaincodeStubInterface) *peer.Response {
	function, args := outer.GetFunctionAndParameters()
	if function == applyConfig {
		return c.Invoke(outer)
	}
	if function != "" || len(args) != 0 {
		return refuse(record.CodeForbidden, "the initial call is %s, or without a function after an upgrade", applyConfig)
	}
	config, err := outer.GetState(record.ConfigKey)
	switch {
	case err != nil:
		return unreadable()
	case len(config) == 0:
		return refuse(record.CodeWrongState, "there is no config yet: initialise with %s", applyConfig)
	}
	return shim.Success(nil)
}

// Invoke serves one call. A refusal has status 500 and a text that begins with
// its code, as in Assent's own network.
func (c *Chaincode) Invoke(outer shim.ChaincodeStubInterface) *peer.Response {
	s, refusal := c.admit(outer)
	if refusal != nil {
		return refusal
	}
	return c.run(s)
}

// admit checks a call before a contract sees it.
func (c *Chaincode) admit(outer shim.ChaincodeStubInterface) (*stub, *peer.Response) {
	name, args := outer.GetFunctionAndParameters()
	contract, function, _ := strings.Cut(name, ":")
	f, found := chaincode.Lookup(contract, function)
	if !found {
		return nil, refuse(record.CodeUnknownFunction, "no such function")
	}
	limit := maxArguments
	if name == applyConfig {
		limit = maxConfig
	}
	total := 0
	for _, a := range args {
		total += len(a)
	}
	if total > limit {
		return nil, refuse(record.CodeLimitExceeded, "arguments have %d bytes, at most %d are allowed", total, limit)
	}
	if err := checkProposal(outer); err != nil {
		return nil, refusal(err)
	}
	who, err := creatorOf(outer)
	if err != nil {
		return nil, refusal(err)
	}
	if !f.Evaluate {
		if err := c.checkTime(outer); err != nil {
			return nil, refusal(err)
		}
	}
	if name == applyConfig && len(args) == f.Args {
		if err := c.checkConfig(outer.GetChannelID(), args[0], who); err != nil {
			return nil, refusal(err)
		}
		who = record.SystemCreator()
	}
	creator, err := record.Encode(who)
	if err != nil {
		return nil, refuse(record.CodeUnknownKey, "the MSP id is no organisation id of this ledger")
	}
	return newStub(outer, contract, creator, f.Evaluate), nil
}

// checkTime bounds the one input that Fabric takes from the submitter alone. It
// can only make this service refuse: a peer runs chaincode to endorse, never to
// validate or replay.
func (c *Chaincode) checkTime(outer shim.ChaincodeStubInterface) error {
	ts, err := outer.GetTxTimestamp()
	if err != nil || ts.CheckValid() != nil {
		return record.Refuse(record.CodeBadRequest, "the proposal has no time: use a Fabric client that sets one")
	}
	off := ts.GetSeconds()*1000 + int64(ts.GetNanos())/1_000_000 - c.now()
	if off > c.maxSkew || off < -c.maxSkew {
		return record.Refuse(record.CodeBadRequest, "the proposal's time is %d ms off this service's clock, at most %d are allowed: set the clock and sign again", off, c.maxSkew)
	}
	return nil
}

// run calls the contract. As in Assent's executor, the first thing the stub
// refused decides, whatever the contract made of it.
func (c *Chaincode) run(s *stub) (response *peer.Response) {
	defer func() {
		p := recover()
		if _, ours := p.(abort); p != nil && !ours {
			c.logPanic(s, p)
			response = defect()
		}
		switch {
		case s.unreadable:
			response = unreadable()
		case s.refused != nil:
			response = refusal(s.refused)
		}
	}()
	if !s.reading {
		s.ChaincodeStubInterface.StartWriteBatch() // one message for a hundred rows, if the peer can
	}
	response = c.inner.Invoke(s)
	if response.GetStatus() < shim.ERRORTHRESHOLD {
		limit := maxResponse
		if s.reading {
			limit = maxReadReply
		}
		if n := len(response.GetPayload()); n > limit {
			return refuse(record.CodeLimitExceeded, "the contract returned %d bytes, at most %d are allowed", n, limit)
		}
		return response
	}
	if code, coded := record.CodeOfText(response.GetMessage()); coded && code != record.OK {
		return shim.Error(bounded(response.GetMessage()))
	}
	// Not a refusal but something the contract did not expect of its own
	// records. Its text may hold anything.
	c.log.Error("contract failed without a code", "contract", s.contract, "tx", s.GetTxID())
	return defect()
}

// logPanic says where a contract panicked. A panic's text may quote what the
// contract was given, so only the runtime's own is logged.
func (c *Chaincode) logPanic(s *stub, p any) {
	what := fmt.Sprintf("%T", p)
	var re runtime.Error
	if err, ok := p.(error); ok && errors.As(err, &re) {
		what = re.Error()
	}
	c.log.Error("contract panicked", "contract", s.contract, "tx", s.GetTxID(), "panic", what, "stack", string(debug.Stack()))
}

func refuse(code record.Code, format string, args ...any) *peer.Response {
	return refusal(record.Refuse(code, format, args...))
}

func refusal(err error) *peer.Response { return shim.Error(bounded(err.Error())) }

func defect() *peer.Response {
	return refuse(record.CodePanic, "the contract has a defect: report it with the transaction's id")
}

// unreadable has no code: nothing was decided.
func unreadable() *peer.Response {
	return shim.Error("the peer did not read or write its state: look at the peer's log, then try again")
}

// bounded cuts text to maxMessage bytes of valid UTF-8.
func bounded(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
