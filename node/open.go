package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/join"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/metrics"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/celquery"
	"github.com/assent-network/assent/node/query/epoch"
	"github.com/assent-network/assent/node/query/survey"
	"github.com/assent-network/assent/node/query/total"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/node/sync"
)

// Options are what a node needs beside its configuration.
type Options struct {
	Config   config.Config
	Password keys.Password
	Version  string       // of the program, for people
	Logger   *slog.Logger // default slog.Default

	// Network opens the network; default network.Open. Tests of several nodes in
	// one process give memnet's.
	Network func(context.Context, network.Config) (Host, error)
	// The rest is what a simulation replaces: how the API's address is bound, the
	// node's clock, and the files below blocks and state. nil: the machine's own.
	Listen func(ctx context.Context, addr string) (net.Listener, error)
	Clock  func() time.Time
	Files  func(dir string, s store.Files) store.Files

	// ByBlocks makes the node catch up block by block however far it is behind, as
	// long as somebody keeps the blocks. Serve sets it when nobody has a snapshot.
	ByBlocks bool
}

// Host moves bytes between nodes; *network.Host is one, and says what each
// method promises.
type Host interface {
	ID() network.PeerID
	SetPeers(peers []network.Peer)
	Handle(c network.Class, h func(from network.PeerID, msg []byte))
	Serve(p network.Protocol, h func(ctx context.Context, from network.PeerID, req []byte) ([]byte, error))
	Send(to network.PeerID, c network.Class, msg []byte) error
	Broadcast(to []network.PeerID, c network.Class, msg []byte)
	Request(ctx context.Context, to network.PeerID, p network.Protocol, req []byte) ([]byte, error)
	Shun(peer network.PeerID, c network.Class, d time.Duration)
	Status() []network.PeerStatus
	Run(ctx context.Context) error
	Close() error
}

func openHost(ctx context.Context, cfg network.Config) (Host, error) { return network.Open(ctx, cfg) }

// Node is one member's node. Open makes it, Run runs it.
type Node struct {
	cfg     config.Config
	opts    Options
	version string
	log     *slog.Logger
	chainID ledger.Hash
	member  string
	genesis *ledger.Config

	secrets secrets
	txKey   ledger.Signer

	store    *store.Store
	state    *state.DB
	executor *executor.Executor
	chain    *chain.Chain
	private  *outbox.Private
	outbox   *outbox.Outbox
	inbox    *outbox.Inbox
	answerer *query.Answerer // nil on a node that does not answer
	epochs   *epoch.Store    // its anchored answers
	totals   *total.Book     // its pledges; nil without keys
	survey   *survey.Book    // its part in statistics
	pledger  pledger
	engine   query.Engine
	vaults   vaults
	permits  *permits

	host      Host
	entry     []network.Peer // network.entry
	dir       directory
	roster    roster
	assembler assembler
	view      *sync.View
	engines   engines
	caughtUp  atomic.Bool // see firstView

	vaultsSeen atomic.Int64 // Unix ns of the last look at the vaults for /readyz

	server    *sync.Server
	client    *sync.Client
	snapshots *snapshots
	pruner    pruner
	keepers   keepers
	follower  *follower
	accused   accusations
	senders   senders
	own       ownTxs
	holds     holds
	duties    duties
	gateway   *gateway.Server
	ops       net.Listener // nil when metrics.listen is off
	control   control
	restored  *restored                   // nil unless the node came from a backup
	halted    atomic.Pointer[doctor.Halt] // where it halted, now or before; nil when it has passed that
	metrics   *metrics.Metrics

	closers []func() error // of what is open, in the order of opening
}

// now is the node's clock: what it holds against times that the ledger names.
func (n *Node) now() time.Time { return n.opts.Clock() }

// Open opens everything a node has and binds its sockets. It starts nothing. An
// error has closed what was open.
func Open(ctx context.Context, opts Options) (n *Node, err error) {
	opts = withFaults(opts)
	n = newNode(opts)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
			n = nil
		}
	}()
	for _, step := range []struct {
		name string
		open func(context.Context) error
	}{
		{"keys", func(context.Context) error { return n.openKeys(opts.Password) }},
		{"mark of a restore", func(context.Context) error { return n.openRestored() }},
		{"ledger", n.openLedger},
		{"ledger", n.openWhole},
		{"private database", n.openPrivate},
		{"network", func(ctx context.Context) error { return n.openNetwork(ctx, opts.Network) }},
		{"network", n.serveNetwork},
		{"evidence", n.openEvidence},
		{"chain", n.openChain},
		{"answering", n.openAnswering},
		{"api", n.openAPI},
		{"operators' address", n.openOps},
		{"control socket", n.openControl},
	} {
		if err := step.open(ctx); err != nil {
			return n, fmt.Errorf("open %s: %w", step.name, err)
		}
	}
	return n, nil
}

// newNode returns a node of which nothing is open.
func newNode(opts Options) *Node {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	n := &Node{cfg: opts.Config, opts: opts, version: opts.Version, log: opts.logger(), member: opts.Config.Identity.Member}
	n.roster.wake = make(chan struct{}, 1)
	n.assembler = assembler{wake: make(chan struct{}, 1), said: make(map[ledger.Hash]string)}
	n.metrics = metrics.New(n.version)
	n.pruner.wake = make(chan struct{}, 1)
	n.own.byID = make(map[string]*ledger.Transaction)
	n.duties.wake = make(chan struct{}, 1)
	n.pledger.wake = make(chan struct{}, 1)
	return n
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.Default()
	}
	return o.Logger
}

// Close frees what Open opened, last first. Run calls it.
func (n *Node) Close() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}

func (n *Node) closeLater(f func() error) { n.closers = append(n.closers, f) }

func (n *Node) openLedger(ctx context.Context) error {
	blocks, states := filepath.Join(n.cfg.DataDir, blocksDir), filepath.Join(n.cfg.DataDir, stateDir)
	genesis, err := config.ReadGenesis(n.cfg.Genesis)
	if err != nil {
		return err
	}
	n.genesis, n.chainID = genesis, genesis.Hash()
	if err := checkRetention(&n.cfg, genesis); err != nil {
		return err
	}
	if n.store, err = store.OpenFiles(blocks, n.chainID, n.files(blocks)); err != nil {
		return err
	}
	n.closeLater(n.store.Close)
	if err := join.Recover(states); err != nil {
		return err
	}
	if n.state, err = n.openState(ctx, state.Config{Dir: states, ChainID: n.chainID, Files: n.files(states)}); err != nil {
		return err
	}
	n.closeLater(func() error {
		if n.state == nil { // closed before the others
			return nil
		}
		return n.state.Close()
	})
	n.snapshots = newSnapshots(filepath.Join(n.cfg.DataDir, snapshotsDir))
	n.closeLater(n.snapshots.Close)
	contracts, err := Contracts()
	if err != nil {
		return err
	}
	n.executor, err = executor.New(executor.Config{DB: n.state, Genesis: genesis, Contracts: withFaultyContracts(contracts), Logger: n.log})
	return err
}

// files is what Options put around the files in dir, if anything.
func (n *Node) files(dir string) func(store.Files) store.Files {
	if n.opts.Files == nil {
		return nil
	}
	return func(s store.Files) store.Files { return n.opts.Files(dir, s) }
}

// openState opens the state. One that is gone is begun anew and filled by
// executing the blocks again: that is how a damaged one is repaired, and the
// block store has shown that this is the right data directory.
func (n *Node) openState(ctx context.Context, cfg state.Config) (*state.DB, error) {
	if _, err := os.Stat(cfg.Dir); errors.Is(err, os.ErrNotExist) {
		n.log.Warn("the state is missing, executing all blocks again", "dir", cfg.Dir, "blocks", n.store.Tip().Height)
		return state.Create(ctx, cfg)
	}
	return state.Open(ctx, cfg)
}

// Contracts assembles the contracts as the executor wants them.
func Contracts() (executor.Contracts, error) {
	cc, err := chaincode.NewDirect()
	if err != nil {
		return executor.Contracts{}, err
	}
	return executor.Contracts{Chaincode: cc, Lookup: func(contract, function string) (executor.Function, bool) {
		f, ok := chaincode.Lookup(contract, function)
		return executor.Function{Read: f.Evaluate, Args: f.Args}, ok
	}}, nil
}

func (n *Node) openPrivate(ctx context.Context) error {
	path := filepath.Join(n.cfg.DataDir, privateFile)
	err := checkPrivateThere(path, n.store.Tip().Height)
	if err != nil {
		return err
	}
	if n.private, err = outbox.OpenPrivate(ctx, path); err != nil {
		return err
	}
	n.closeLater(n.private.Close)
	if err := bindPrivate(ctx, n.private, n.chainID); err != nil {
		return err
	}
	if n.inbox, err = outbox.OpenInbox(ctx, n.private, outbox.InboxLimits{}); err != nil {
		return err
	}
	n.outbox, err = outbox.Open(ctx, outbox.Config{
		Store: n.private, Send: n.send, Guard: n.guard, Ended: n.ended, Over: n.countEnding, RetryMax: 5 * time.Second, Clock: n.now, Logger: n.log,
		LedgerTime: n.ledgerTime,
	})
	return err
}

func (n *Node) openNetwork(ctx context.Context, open func(context.Context, network.Config) (Host, error)) error {
	if open == nil {
		open = openHost
	}
	limits := network.DefaultLimits()
	limits.TxRate = n.cfg.Limits.PeerTxRate
	limits.TxBurst = int(2 * n.cfg.Limits.PeerTxRate)
	// A follower's request for the next block is held; statuses must find room
	// beside such requests.
	limits.Sync.PerPeer, limits.Sync.Total = 3, 32
	key, err := n.hostKey()
	if err != nil {
		return err
	}
	host, err := open(ctx, network.Config{HostKey: key, Listen: n.cfg.Network.Listen, Limits: limits, Logger: n.log})
	if err != nil {
		return err
	}
	n.host = host
	n.closeLater(host.Close)
	if n.entry, err = parseEntry(n.cfg.Network.Entry); err != nil {
		return err
	}
	_, err = n.refreshDirectory()
	return err
}

// serveNetwork says what this node does with what comes in.
func (n *Node) serveNetwork(context.Context) error {
	host := n.host
	host.Handle(network.ClassConsensus, func(from network.PeerID, msg []byte) {
		if id, ok := n.dir.replica(from); ok {
			n.chain.Step(id, msg)
		}
	})
	host.Handle(network.ClassTx, n.forwarded)
	host.Serve(network.ProtocolSync, func(ctx context.Context, from network.PeerID, req []byte) ([]byte, error) {
		return n.server.Handle(ctx, string(from), req)
	})
	host.Serve(network.ProtocolSealed, n.serve(network.ProtocolSealed))
	host.Serve(network.ProtocolAnswer, n.serve(network.ProtocolAnswer))
	return nil
}

func (n *Node) openChain(context.Context) error {
	peers := syncPeers{n.host}
	var err error
	n.client, err = sync.NewClient(sync.ClientConfig{
		Store: n.store, Request: peers.Request, Peers: n.syncPeers, FarBehind: n.farBehind(), Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.openHalt()
	t := transport{n.host, &n.dir}
	cfg := chain.Config{
		ChainID: n.chainID, Store: n.store, State: n.state, Executor: n.executor, Peers: catchUp{n.client},
		Votes: n.secrets.votes, NewEngine: n.newEngine(t), Spread: n.spread(t), OnConfig: n.configChanged, Clock: n.now, Logger: n.log, Witness: n.accused.watch,
		PoolUnits: n.cfg.Limits.PoolRequests, Registered: n.registered,
		OnExecuted: func(r *executor.Result) {
			n.follower.add(r, n.now())
			n.countBlock(r)
			n.passedHalt(r.Height)
		},
	}
	if n.chain, err = chain.New(cfg); err != nil {
		return err
	}
	n.server, err = sync.NewServer(sync.ServerConfig{Store: n.store, Snapshots: n.snapshots, SnapshotRate: n.cfg.Snapshots.Rate / 2, Records: n.recordsFrom, Receipts: receipts{n.state}, Voter: func() (ledger.Signer, ledger.Height) {
		key, _, voted := n.chain.Voter()
		return key, voted
	}})
	if err != nil {
		return err
	}
	n.view, err = sync.NewView(sync.ViewConfig{
		Store: n.store, Request: peers.Request, Peers: n.syncPeers, WaitExecuted: n.chain.WaitExecuted, Logger: n.log,
		Self: func() (uint64, ledger.Height) {
			_, id, voted := n.chain.Voter()
			return id, voted
		},
	})
	return err
}

// spread hands on what an observer's clients submit, unless nobody takes
// anything from this node.
func (n *Node) spread(t transport) func([]byte) error {
	return func(req []byte) error {
		if n.roster.removed.Load() {
			_, why := n.standing()
			return why
		}
		return t.spread(req)
	}
}

// catchUp adapts the sync client to the chain: the same functions under the
// chain's own type.
type catchUp struct{ *sync.Client }

func (c catchUp) CatchUp(ctx context.Context, add func(*ledger.Block, *ledger.Certificate) error) error {
	return c.Client.CatchUp(ctx, add)
}

func (c catchUp) Follow(ctx context.Context, add func(*ledger.Block, *ledger.Certificate) error) error {
	return c.Client.Follow(ctx, add)
}

// syncPeers lists who has blocks: the validators, and who may be one by now.
func (n *Node) syncPeers() []sync.Peer {
	e := n.dir.current.Load()
	out := make([]sync.Peer, 0, len(e.validators))
	for _, id := range e.validators {
		out = append(out, sync.Peer{ID: string(id), Validator: uint64(e.peers[id].replica)})
	}
	for _, p := range e.strangers {
		out = append(out, sync.Peer{ID: string(p.ID), Entry: true})
	}
	return out
}

func (n *Node) openAnswering(ctx context.Context) error {
	n.engine = total.Engine{Other: celquery.New()}
	next := n.state.View().Roots().ReceiptsSize
	if n.cfg.Answering.Enabled {
		if err := n.openVaults(ctx); err != nil {
			return err
		}
		tag, err := subjectTagKey(n.secrets.tag)
		if err != nil {
			return err
		}
		if err := n.openEpochs(tag); err != nil {
			return err
		}
		shares, err := n.openTotals(ctx)
		if err != nil {
			return err
		}
		if n.survey, err = n.openSurvey(ctx); err != nil {
			return err
		}
		n.answerer, err = query.Open(ctx, query.Config{
			Store: n.private, Epochs: n.epochs, Shares: shares, Cohorts: n.survey, Departures: departures{n.outbox}, Engine: n.engine, ChainID: n.chainID,
			Member: record.OrgID(n.member), Vault: n.countedVaults, Counted: n.countAnswer, DataKey: n.secrets.data.find, TagKey: tag, Clock: n.now, Logger: n.log,
		})
		if err != nil {
			return err
		}
		from, err := n.answerer.Checkpoint(ctx)
		if err != nil {
			return err
		}
		n.permits = newPermits(n.answerer, from, n.log)
		if n.restored != nil {
			n.permits.handle = n.handleRestored
		}
		if next, err = firstPosition(n.state.View(), ledger.Height(from)); err != nil {
			return err
		}
	}
	n.follower = newFollower(n.state, next, n.executed, n.now)
	return nil
}
