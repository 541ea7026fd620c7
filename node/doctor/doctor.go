// Package doctor judges how a node is.
//
// It owns the judgement: from facts that somebody gathered it makes findings, each
// with a level, a sentence that says what is and one that says what to do. It
// promises to be a pure function of the facts, to look at every one of them, and
// to say nothing about a person. It leaves to others how facts are come by
// (package node, whose Examine gathers them whether the node runs or not).
package doctor

import (
	"slices"
	"time"
)

// Level says how bad a finding is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // it works, and will not for long or not after one more failure
	Fail Level = "fail" // something does not work
)

// Finding is one thing that was looked at.
type Finding struct {
	Check  string `json:"check"`
	Level  Level  `json:"level"`
	What   string `json:"what"`             // one sentence
	Remedy string `json:"remedy,omitempty"` // one sentence; empty at level ok
}

// Report is what the doctor says.
type Report struct {
	Level    Level     `json:"level"` // of the worst finding
	Running  bool      `json:"running"`
	Findings []Finding `json:"findings"`
}

// Exit is the exit code that goes with a report: 0, 1 for warnings, 2.
func (r *Report) Exit() int { return slices.Index([]Level{OK, Warn, Fail}, r.Level) }

// Facts are what was found out about a node. What could not be found out is nil
// or, where a field says so, empty.
type Facts struct {
	Now     time.Time
	Config  error // why the configuration cannot be used; then nothing else is known
	Running bool
	Node    *Node  // how the node is; nil: not known
	NodeErr string // why not

	Keystore error
	Keys     []Key
	Ledger   *OnLedger // nil: the ledger could not be read

	Disk   *Disk
	Clocks []Clock // of other nodes, against this machine's
	Ports  []Port
	Stores *Stores // of a stopped node; nil while it runs: it has looked by itself
	Vaults []Vault

	Software      string // of this program
	ProtocolKnown uint64 // newest rules that this program knows
}

// Node is what a node knows of itself; a running one tells it on its operators'
// address, of a stopped one the part that its files tell is filled in.
type Node struct {
	NodeID    string    `json:"nodeId"`
	Member    string    `json:"member"`
	Software  string    `json:"software"`
	Height    uint64    `json:"height"`
	Executed  uint64    `json:"executed"`
	BlockTime time.Time `json:"blockTime"`
	ConfigSeq uint64    `json:"configSeq"`
	Protocol  uint64    `json:"protocol"` // rules in force

	Validators int    `json:"validators"`
	Reached    int    `json:"reached"` // validators it talks to, itself included if it votes
	Orders     bool   `json:"orders"`  // it is to vote
	Leader     uint64 `json:"leader"`
	Engine     bool   `json:"engine"`             // ordering runs
	Standing   string `json:"standing,omitempty"` // why its place is not what its operator may expect

	ViewAge time.Duration `json:"viewAgeNs"` // -1: not established
	Peers   []Peer        `json:"peers"`

	Accusations []Accusation `json:"accusations,omitempty"` // against other validators

	OutboxItems  int           `json:"outboxItems"`
	OutboxOldest time.Duration `json:"outboxOldestNs"`
	Vaults       []Vault       `json:"vaults"`
	Ledger       *OnLedger     `json:"ledger"`
	Restored     *Restored     `json:"restored,omitempty"` // nil: its files never came from a backup
	Halt         *Halt         `json:"halt,omitempty"`     // nil: it has not halted, or has passed that height since
}

// Restored says how far a node is that came from a backup.
type Restored struct {
	Made      string        `json:"made"` // when the backup was, RFC 3339
	On        string        `json:"on"`   // when it was restored
	Validator uint64        `json:"validator"`
	VoteKey   string        `json:"voteKey,omitempty"` // the one made for it, lower-case address
	Admitted  bool          `json:"admitted"`          // the config names such a key for it
	CaughtUp  bool          `json:"caughtUp"`
	Erased    bool          `json:"erased"`           // what was erased since the backup is destroyed again
	Closed    []ClosedEpoch `json:"closed,omitempty"` // products that it does not answer about now
}

// ClosedEpoch is an accounting period still in force whose answers are not all here.
type ClosedEpoch struct {
	Product string `json:"product"`
	Epoch   uint64 `json:"epoch"`
}

// Peer is another node of the ledger.
type Peer struct {
	NodeID    string        `json:"nodeId"`
	Member    string        `json:"member"`
	Validator uint64        `json:"validator"` // 0: an observer
	Connected bool          `json:"connected"`
	RTT       time.Duration `json:"rttNs"` // 0: not measured
	LastError string        `json:"lastError,omitempty"`
	APIURLs   []string      `json:"apiUrls,omitempty"`
	SPKI      string        `json:"spki,omitempty"` // 0x-hex, of its API's key

	// Told by its API; empty if that cannot be reached from here.
	Software      string `json:"-"`
	Protocol      uint64 `json:"-"`
	ProtocolKnown uint64 `json:"-"`
}

// OnLedger is what the ledger says about a node and its keys.
type OnLedger struct {
	VoteKeys []string  `json:"voteKeys"` // of the member's validators, lower-case addresses
	HostKey  string    `json:"hostKey"`  // of the node's record or its validator; empty: neither
	SPKI     string    `json:"spki"`     // of its record; empty: no record
	TxKey    string    `json:"txKey"`
	Answers  bool      `json:"answers"`
	DataKeys []DataKey `json:"dataKeys"`
}

// DataKey is a data key of the member on the ledger.
type DataKey struct {
	ID      string    `json:"id"`
	Until   time.Time `json:"until"`
	Revoked bool      `json:"revoked"`
}

// Key is a key that the configuration names.
type Key struct {
	Name    string
	Use     string // vote, host, tx, tls, data, tag
	Next    bool   // for a rotation under way
	Err     error  // why it cannot be unlocked
	Locked  bool   // no password was at hand: only its public half was looked at
	Public  string // what the ledger would name it by: address, 0x-hex, pin or key id
	Created time.Time
}

// Disk is the file system of the data directory.
type Disk struct {
	Err   error
	Free  int64
	Data  int64         // used by the node
	Age   time.Duration // of the ledger: how long it took to grow
	Fsync time.Duration // median of a few small writes
	Timed bool          // Fsync was measured
}

// Clock is another node's clock.
type Clock struct {
	NodeID string
	Ahead  time.Duration // its clock minus this machine's, to half a second
}

// Port is an address that the node listens on.
type Port struct {
	Key  string // configuration key
	Addr string
	Err  error // running: nobody answers; stopped: it cannot be taken
}

// Stores are the files of a stopped node.
type Stores struct {
	Blocks, State, Log, Private error
}

// Vault is the member's database of one product.
type Vault struct {
	Product   string `json:"product"`
	Connector string `json:"connector"`
	State     string `json:"state"` // ok, unavailable, schema, account
	Why       string `json:"why,omitempty"`
}

// Judge makes the findings.
func Judge(f *Facts) *Report {
	j := &judge{Facts: f}
	if j.Config != nil {
		j.say("config", Fail, j.Config.Error(), "Correct the configuration; assentd init writes a commented one.")
	} else {
		j.say("config", OK, "The configuration can be used.", "")
		for _, look := range []func(){
			j.running, j.halted, j.keystore, j.keys, j.dataKeys, j.standing, j.restored, j.stores, j.clock, j.disk, j.ports,
			j.quorum, j.peers, j.accusations, j.lag, j.viewAge, j.versions, j.vaults, j.outbox,
		} {
			look()
		}
	}
	r := &Report{Level: OK, Running: f.Running, Findings: j.out}
	for _, x := range j.out {
		if x.Level == Fail || x.Level == Warn && r.Level == OK {
			r.Level = x.Level
		}
	}
	return r
}

type judge struct {
	*Facts
	out []Finding
}

func (j *judge) say(check string, l Level, what, remedy string) {
	if l == OK {
		remedy = ""
	}
	j.out = append(j.out, Finding{check, l, what, remedy})
}
