// Package config owns a node's own configuration: the file that its operator
// writes, never the network's configuration, which stands on the ledger.
//
// Values come from the file (YAML, of which JSON is a part), are overridden by
// environment variables ASSENT_<KEY>, and those by flags. It promises that an
// unknown key is refused with the nearest known name; that every complaint is
// reported at once, each with key, value and remedy; that a value which may be a
// secret is never repeated; and that Template writes a file which Load reads
// back. Relative paths count from the file's directory.
//
// It also reads the genesis file. It leaves to others what the values do.
package config

import (
	"time"

	"github.com/assent-network/assent/node/ledger"
)

// Config is a node's configuration. Default returns the defaults; the doc tags
// are the comments that Template writes.
type Config struct {
	DataDir   string    `conf:"dataDir" doc:"Directory of blocks, state and private data. Keep it on a local disk; never share it between nodes."`
	Genesis   string    `conf:"genesis" doc:"The network's genesis file, the same at every member."`
	Identity  Identity  `conf:"identity" doc:"Who this node is."`
	Network   Network   `conf:"network" doc:"How other nodes reach it."`
	API       API       `conf:"api" doc:"How clients reach it."`
	Answering Answering `conf:"answering" doc:"Whether it answers permitted requests from the member's own database."`
	Limits    Limits    `conf:"limits" doc:"What it takes from others."`
	Snapshots Snapshots `conf:"snapshots" doc:"Copies of the state, from which other nodes can begin."`
	Retention Retention `conf:"retention" doc:"How long it keeps what the ledger's roots no longer need. Headers and config blocks are kept for ever."`
	Log       Log       `conf:"log" doc:"What it writes about itself; personal data never is."`
	Metrics   Metrics   `conf:"metrics" doc:"What it tells a monitoring system."`
}

// Identity says who the node is and where its keys are.
type Identity struct {
	Member   string   `conf:"member" doc:"Identifier of the member in the genesis file."`
	Node     string   `conf:"node" doc:"validator (orders and executes) or observer (follows and verifies)."`
	KeysDir  string   `conf:"keysDir" doc:"Directory of encrypted keys, mode 0700."`
	Password string   `conf:"password" doc:"Where the keys' password is: file:<path>, env:<variable> or prompt."`
	VoteKey  string   `conf:"voteKey" doc:"Name of the key that signs votes. Validators only; never on two machines at once."`
	NextVote string   `conf:"nextVoteKey" doc:"Name of the vote key that takes over when the network's config names it (rotation); empty: none."`
	HostKey  string   `conf:"hostKey" doc:"Name of the key that is this node's network identity."`
	NextHost string   `conf:"nextHostKey" doc:"Name of the network identity with which the node starts once the ledger names it (rotation); empty: none."`
	TxKey    string   `conf:"txKey" doc:"Name of the key that signs this node's own transactions."`
	TLSKey   string   `conf:"tlsKey" doc:"Name of the key of the API's certificate; its hash stands on the ledger."`
	DataKeys []string `conf:"dataKeys" doc:"Names of the keys that open what is sealed to the member, newest first."`
}

// Network says where other nodes reach the node.
type Network struct {
	Listen []string `conf:"listen" doc:"Multiaddresses to listen on."`
	Entry  []string `conf:"entry" doc:"Validators in force, as /dns4/node.bank.example/tcp/7400/p2p/<node id>: for a node that knows none of them, because those of the genesis file, or of its last block, are gone. They have to prove what they send. Unused once the ledger here names them."`
}

// API says where clients reach the node.
type API struct {
	Listen string   `conf:"listen" doc:"Host and port."`
	Names  []string `conf:"names" doc:"DNS names and IP addresses in the certificate."`
	Guests []string `conf:"guests" doc:"Other members whose clients may submit here as this member's may."`

	NoConsole bool `conf:"noConsole" doc:"true: no pages for this member's people are served here."`
}

// Answering says whether and from where the node answers.
type Answering struct {
	Enabled bool    `conf:"enabled" doc:"true on the one node that answers for its member."`
	Vaults  []Vault `conf:"vaults" doc:"One entry per data product."`

	ExposureKeys string `conf:"exposureKeys" doc:"Folder with the keys of range proofs, as assent exposure ceremony keys wrote it. Empty: this node takes no part in totals over several banks."`
}

// Vault maps a data product to the member's database.
type Vault struct {
	Product     string        `conf:"product" doc:"Identifier of the data product."`
	Connector   string        `conf:"connector" doc:"Kind of database: sqlite, postgres or mysql (MariaDB, too)."`
	Source      string        `conf:"source" doc:"Where the database is: a path for sqlite; postgres://reader@db.bank.example:5432/core (sslmode=verify-full unless the server is this machine); mysql://reader@db.bank.example:3306/core. Never the password."`
	Password    string        `conf:"password" doc:"Where the account's password is: file:<path> or env:<variable>. Empty: none."`
	Connections int           `conf:"connections" doc:"Connections to the database at most; 0: 4."`
	Table       string        `conf:"table" doc:"Table or view that holds one row per customer; or:"`
	Query       string        `conf:"query" doc:"SELECT that yields one row per customer."`
	Key         string        `conf:"key" doc:"Column that holds the canonical subject identifier."`
	Timeout     time.Duration `conf:"timeout" doc:"Longest time of one lookup; the database server ends it, too."`
	Columns     []Column      `conf:"columns" doc:"Columns that query templates may name."`
}

// Column maps a column of a product.
type Column struct {
	Name   string `conf:"name" doc:"Name in the data product."`
	Type   string `conf:"type" doc:"int, string or bool. A point in time is an int: Unix milliseconds."`
	Expr   string `conf:"expr" doc:"SQL expression; empty: the column of the same name."`
	Scale  int    `conf:"scale" doc:"Decimal places of an int: with 2, the database's 12.5 is read as 1250."`
	Stored string `conf:"stored" doc:"Type that the column must have in the database, as in NUMERIC(12,2); empty: any that fits. It also may not change while the node runs."`
}

// Limits bound what others may cost the node.
type Limits struct {
	PoolRequests   int           `conf:"poolRequests" doc:"Requests that wait to be ordered, at most; a request counts once more for each KiB. How many do depends on how fast the network is; one member gets at most half."`
	ClientRate     float64       `conf:"clientRate" doc:"API calls per second and client key."`
	ClientBurst    int           `conf:"clientBurst" doc:"API calls a client may make at once."`
	AnonymousRate  float64       `conf:"anonymousRate" doc:"Calls per second and network address without a token, with a new one, or by subjects."`
	ClientStreams  int           `conf:"clientStreams" doc:"Open calls and event streams per client key at once."`
	MemberRate     float64       `conf:"memberRate" doc:"API calls per second of all client keys of one member."`
	MemberCalls    int           `conf:"memberCalls" doc:"Open calls and event streams of one member at once; all members together may have twice as many."`
	MemberBytes    int           `conf:"memberBytes" doc:"Bytes of requests and answers of one member on their way at once; twice as many for all."`
	EventBytes     int           `conf:"eventBytes" doc:"Bytes of events per second that all event streams of one member get together."`
	EventStreams   int           `conf:"eventStreams" doc:"Event streams per client key at once; twice as many for all keys of a member."`
	Connections    int           `conf:"connections" doc:"API connections at once."`
	PerAddress     int           `conf:"connectionsPerAddress" doc:"API connections from one network address at once."`
	PeerTxRate     float64       `conf:"peerTxRate" doc:"Transactions per second taken from one other node."`
	RequestTimeout time.Duration `conf:"requestTimeout" doc:"Longest time of one API call that does not wait for anything."`
}

// Snapshots says when the node copies its state, and when it begins with a copy
// of another node's.
type Snapshots struct {
	Every     int `conf:"every" doc:"Blocks between two snapshots; 0: none is written."`
	Keep      int `conf:"keep" doc:"How many of them are kept."`
	Rate      int `conf:"bytesPerSecond" doc:"How fast the state is read for a snapshot at most, and half as fast sent to others. Slower is felt less by clients."`
	JoinAbove int `conf:"joinAbove" doc:"With more blocks missing the node begins with a snapshot of another node; 0: only when nobody keeps the blocks."`
}

// Retention says how long the node keeps what may be pruned, counted in block
// time. Nothing is pruned that a snapshot of its own does not stand above.
type Retention struct {
	Blocks  time.Duration `conf:"blocks" doc:"How long blocks are kept with the signed transactions in them; 0: for ever."`
	Records time.Duration `conf:"records" doc:"How long access records, events and what calls returned are kept; 0: for ever. Three years at least, unless the genesis file of a test network names less."`
}

// ThreeYears is the least time for which every node keeps access records.
const ThreeYears = ledger.LawfulRecordMillis * time.Millisecond

// Log says what is logged.
type Log struct {
	Level  string `conf:"level" doc:"debug, info, warn or error."`
	Format string `conf:"format" doc:"json or text."`
}

// Metrics says where metrics and profiles are served.
type Metrics struct {
	Listen string `conf:"listen" doc:"Host and port, without TLS: keep it on loopback or a management network. off: not served."`
}

// Off is the value of an address that is not served.
const Off = "off"

// Default returns the defaults. What has none is empty: dataDir, genesis and
// identity.member must be given.
func Default() Config {
	return Config{
		Identity: Identity{
			Node:     "validator",
			KeysDir:  "keys",
			Password: "prompt",
			VoteKey:  "vote",
			HostKey:  "host",
			TxKey:    "tx",
			TLSKey:   "tls",
		},
		Network: Network{Listen: []string{"/ip4/0.0.0.0/tcp/7400"}},
		API:     API{Listen: "127.0.0.1:7443", Names: []string{"localhost", "127.0.0.1"}},
		Limits: Limits{
			PoolRequests:   20_000,
			ClientRate:     5_000,
			ClientBurst:    10_000,
			AnonymousRate:  50,
			ClientStreams:  4_096,
			MemberRate:     10_000,
			MemberCalls:    4_096,
			MemberBytes:    128 << 20,
			EventStreams:   64,
			EventBytes:     8 << 20,
			Connections:    1_024,
			PerAddress:     256,
			PeerTxRate:     5_000,
			RequestTimeout: 10 * time.Second,
		},
		Snapshots: Snapshots{Every: 20_000, Keep: 2, Rate: 64 << 20, JoinAbove: 20_000},
		Retention: Retention{Blocks: ThreeYears, Records: ThreeYears},
		Log:       Log{Level: "info", Format: "json"},
		Metrics:   Metrics{Listen: "127.0.0.1:9464"},
	}
}

// defaultVault fills what an entry of answering.vaults leaves out.
func defaultVault() Vault {
	return Vault{Connector: "sqlite", Timeout: 2 * time.Second}
}
