package bft

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"

	"github.com/assent-network/assent/consensus"
)

// Config is what an engine needs. Self, Membership, WALDir, App and Transport
// are required.
type Config struct {
	// Self is this replica; it must be in Membership.
	Self consensus.ReplicaID
	// Membership is the one in force after Last.
	Membership consensus.Membership
	// WALDir holds the engine's write-ahead log. It belongs to one replica and
	// one ledger, is created if absent, and must never be restored from a copy:
	// an old log lets this replica vote twice.
	WALDir string
	// Last is the last decision in the block store, after the caller caught up
	// with its peers as far as it could. Zero at genesis.
	Last consensus.Decision
	// NewReplica allows an empty WALDir although Last is not genesis. Set it
	// only for a replica that has never voted under its vote key, such as one
	// that a configuration has just admitted. See Init for the better way.
	NewReplica bool
	// LastAlone says that Last was decided by this replica alone, as the only one
	// of its membership, under an engine that keeps no log (solo).
	LastAlone bool

	App       consensus.App
	Transport consensus.Transport

	Settings Settings
	// Logger receives what operators must know (nil: nothing). The engine's own
	// chatter appears at debug level.
	Logger *slog.Logger
}

// Settings are sizes and times. A zero field means its default. All replicas
// of a network should use the same.
type Settings struct {
	// BatchMaxCount is the most requests in a proposal (2000).
	BatchMaxCount int
	// BatchMaxBytes is the most bytes of requests in a proposal (2 MiB).
	BatchMaxBytes int
	// BatchInterval is how long a leader under load lets requests gather
	// before it proposes fewer than BatchMaxCount (2 ms, at most 100 ms). A lone
	// request is proposed at once.
	BatchInterval time.Duration

	// PoolSize is the most requests waiting (20000).
	PoolSize int
	// RequestMaxBytes is the longest request (256 KiB).
	RequestMaxBytes int
	// SubmitTimeout is how long Submit waits for room in the pool (200 ms,
	// which is also the maximum).
	SubmitTimeout time.Duration
	// ForwardTimeout is the age at which a follower passes a request to the
	// leader again (500 ms).
	ForwardTimeout time.Duration
	// ComplainTimeout is how long a follower then waits before it complains
	// about the leader (4 s).
	ComplainTimeout time.Duration
	// RemoveTimeout is how long it then keeps the request (60 s).
	RemoveTimeout time.Duration

	// HeartbeatTimeout is the silence after which a follower complains about
	// the leader (3 s).
	HeartbeatTimeout time.Duration
	// HeartbeatCount is how many heartbeats a leader sends in that time (10).
	HeartbeatCount int
	// TicksBehind is for how many ticks a follower may be one decision behind
	// before it catches up (10).
	TicksBehind int
	// ViewChangeResend is the interval of repeating a complaint (1 s).
	ViewChangeResend time.Duration
	// ViewChangeTimeout bounds one view change before the next is tried (3 s); each
	// further one gets that much longer.
	ViewChangeTimeout time.Duration
	// CollectTimeout bounds the question for the peers' view after catching up
	// (300 ms).
	CollectTimeout time.Duration
	// CatchUpTimeout ends the context of App.CatchUp (5 s).
	CatchUpTimeout time.Duration
	// RepeatTimeout is how long a proposal stays undecided before this replica
	// repeats what it said about it (500 ms); then twice as long until the first
	// complaint is due, then longer and longer.
	RepeatTimeout time.Duration
	// Tick is the period of heartbeat and view-change clocks (100 ms).
	Tick time.Duration

	// IncomingBuffer is how many messages wait before Step blocks (1000).
	IncomingBuffer int
	// MessageMaxBytes is the longest engine message accepted (16 MiB): a new
	// view carries up to two proposals of every replica.
	MessageMaxBytes int
	// StopTimeout bounds how long Run waits for the engine's goroutines (30 s).
	StopTimeout time.Duration
}

// idlePoll is how often a leader with an empty pool looks at it although
// nothing woke it. Submission wakes it, so the value only has to be rare.
const idlePoll = time.Second

const (
	maxSubmitTimeout = 200 * time.Millisecond
	maxBatchInterval = 100 * time.Millisecond
)

func (s Settings) withDefaults() Settings {
	def(&s.BatchMaxCount, 2000)
	def(&s.BatchMaxBytes, 2<<20)
	def(&s.BatchInterval, 2*time.Millisecond)
	def(&s.PoolSize, 20_000)
	def(&s.RequestMaxBytes, 256<<10)
	def(&s.SubmitTimeout, maxSubmitTimeout)
	def(&s.ForwardTimeout, 500*time.Millisecond)
	def(&s.ComplainTimeout, 4*time.Second)
	def(&s.RemoveTimeout, time.Minute)
	def(&s.HeartbeatTimeout, 3*time.Second)
	def(&s.HeartbeatCount, 10)
	def(&s.TicksBehind, 10)
	def(&s.ViewChangeResend, time.Second)
	def(&s.ViewChangeTimeout, 3*time.Second)
	def(&s.CollectTimeout, 300*time.Millisecond)
	def(&s.CatchUpTimeout, 5*time.Second)
	def(&s.RepeatTimeout, 500*time.Millisecond)
	def(&s.Tick, 100*time.Millisecond)
	def(&s.IncomingBuffer, 1000)
	def(&s.MessageMaxBytes, 16<<20)
	def(&s.StopTimeout, 30*time.Second)
	return s
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) withDefaults() Config {
	c.Settings = c.Settings.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// check joins every complaint about c, which has its defaults.
func (c Config) check() error {
	var errs []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	complain(c.App == nil, "App is missing")
	complain(c.Transport == nil, "Transport is missing")
	complain(c.WALDir == "", "WALDir is missing")
	if err := c.Membership.Check(); err != nil {
		errs = append(errs, err)
	}
	complain(!c.Membership.Contains(c.Self), "replica %d is not in its membership %v", c.Self, c.Membership.Replicas)
	s := c.Settings
	complain(s.BatchMaxCount < 1, "BatchMaxCount %d is below 1", s.BatchMaxCount)
	complain(s.RequestMaxBytes < 1, "RequestMaxBytes %d is below 1", s.RequestMaxBytes)
	complain(s.RequestMaxBytes > s.BatchMaxBytes, "RequestMaxBytes %d exceeds BatchMaxBytes %d", s.RequestMaxBytes, s.BatchMaxBytes)
	complain(s.BatchMaxBytes > s.MessageMaxBytes/2, "BatchMaxBytes %d exceeds half of MessageMaxBytes %d", s.BatchMaxBytes, s.MessageMaxBytes)
	complain(s.BatchInterval < 0 || s.BatchInterval > maxBatchInterval, "BatchInterval %v is outside 0 to %v", s.BatchInterval, maxBatchInterval)
	complain(s.SubmitTimeout > maxSubmitTimeout, "SubmitTimeout %v exceeds %v", s.SubmitTimeout, maxSubmitTimeout)
	complain(s.PoolSize < 2*s.BatchMaxCount, "PoolSize %d is below twice BatchMaxCount %d", s.PoolSize, s.BatchMaxCount)
	complain(s.Tick <= 0, "Tick %v is not positive", s.Tick)
	complain(s.RepeatTimeout <= 0, "RepeatTimeout %v is not positive", s.RepeatTimeout)
	complain(s.CatchUpTimeout <= 0, "CatchUpTimeout %v is not positive", s.CatchUpTimeout)
	complain(s.StopTimeout <= 0, "StopTimeout %v is not positive", s.StopTimeout)
	complain(s.HeartbeatTimeout < 2*s.Tick, "HeartbeatTimeout %v is below two ticks of %v", s.HeartbeatTimeout, s.Tick)
	complain(s.HeartbeatCount < 1 || s.TicksBehind < 1 || s.IncomingBuffer < 1, "HeartbeatCount, TicksBehind and IncomingBuffer must be positive")
	if err := c.library().Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("consensus/bft: bad configuration: %w", err)
	}
	return nil
}

// library spells out every field of the library's configuration: a field it
// adds later must be decided here, not inherited.
func (c Config) library() smart.Configuration {
	s := c.Settings
	return smart.Configuration{
		SelfID: uint64(c.Self),
		// One pooled request makes the library's batch full, so it asks for a
		// proposal at once and otherwise sleeps; Engine.gather then takes the
		// real batch (batch.go).
		RequestBatchMaxCount:    1,
		RequestBatchMaxBytes:    uint64(s.BatchMaxBytes),
		RequestBatchMaxInterval: idlePoll,

		IncomingMessageBufferSize: uint64(s.IncomingBuffer),
		RequestPoolSize:           uint64(s.PoolSize),
		RequestForwardTimeout:     s.ForwardTimeout,
		RequestComplainTimeout:    s.ComplainTimeout,
		RequestAutoRemoveTimeout:  s.RemoveTimeout,
		RequestMaxBytes:           uint64(s.RequestMaxBytes),
		RequestPoolSubmitTimeout:  s.SubmitTimeout,

		ViewChangeResendInterval:      s.ViewChangeResend,
		ViewChangeTimeout:             s.ViewChangeTimeout,
		LeaderHeartbeatTimeout:        s.HeartbeatTimeout,
		LeaderHeartbeatCount:          uint64(s.HeartbeatCount),
		NumOfTicksBehindBeforeSyncing: uint64(s.TicksBehind),
		CollectTimeout:                s.CollectTimeout,

		SyncOnStart:        false, // Start would hold the lock that the answers need
		SpeedUpViewChange:  false, // joining at f+1 complaints is less safe
		LeaderRotation:     false,
		DecisionsPerLeader: 0,
	}
}
