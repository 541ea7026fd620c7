package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/bft"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/evidence"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// Examine gathers the facts about a node for the doctor, on the node's machine,
// whether it runs or not. password may be nil: then no key is unlocked. It changes
// nothing but a file of its own, which it removes.
func Examine(ctx context.Context, cfg config.Config, version string, password keys.Password) *doctor.Facts {
	x := &examination{cfg: &cfg, facts: &doctor.Facts{Now: time.Now(), Software: version, ProtocolKnown: ledger.Protocol}}
	x.keys(password)
	x.node(ctx)
	x.disk()
	x.ports(ctx)
	if x.facts.Node != nil {
		x.facts.Ledger = x.facts.Node.Ledger
		askPeers(ctx, x.facts)
	}
	if x.facts.Running && x.facts.Node != nil {
		x.facts.Vaults = x.facts.Node.Vaults
	} else {
		for _, v := range cfg.Answering.Vaults {
			x.facts.Vaults = append(x.facts.Vaults, vaultFact(CheckVault(ctx, v)))
		}
	}
	return x.facts
}

type examination struct {
	cfg   *config.Config
	facts *doctor.Facts
	self  network.PeerID
	vote  []ledger.Address
}

// keys looks at every key that the configuration names.
func (x *examination) keys(password keys.Password) {
	id := &x.cfg.Identity
	s, err := keys.Open(id.KeysDir)
	if err != nil {
		x.facts.Keystore = err
		return
	}
	for _, k := range nodeKeys(id) {
		if k.name == tagKey && !x.cfg.Answering.Enabled {
			continue
		}
		f := doctor.Key{Name: k.name, Use: useOf(id, k.name), Next: slices.Contains([]string{id.NextVote, id.NextHost}, k.name), Locked: password == nil}
		info, err := s.Info(k.name)
		if err == nil && password != nil {
			err = unlocks(s, k.name, password)
		}
		f.Err, f.Created = err, info.Created
		// Whose key it is can be read without its password: the node that answers is
		// told from another one even if no key opens.
		if info.PublicKey != "" {
			f.Public = x.public(f.Use, f.Next, info)
		}
		x.facts.Keys = append(x.facts.Keys, f)
	}
}

func unlocks(s *keys.Store, name string, password keys.Password) error {
	pw, err := password(name)
	if err != nil {
		return err
	}
	defer clear(pw)
	_, secret, err := s.Export(name, pw)
	clear(secret)
	return err
}

func useOf(id *config.Identity, name string) string {
	switch {
	case slices.Contains(voteKeys(id), name):
		return "vote"
	case slices.Contains(hostKeys(id), name):
		return "host"
	case name == id.TxKey:
		return "tx"
	case name == id.TLSKey:
		return "tls"
	case name == tagKey:
		return "tag"
	}
	return "data"
}

// public returns the name by which the ledger knows a key.
func (x *examination) public(use string, next bool, info keys.Info) string {
	switch use {
	case "vote":
		x.vote = append(x.vote, info.Address)
		return strings.ToLower(info.Address.Hex())
	case "tx":
		return strings.ToLower(info.Address.Hex())
	case "tls":
		return spkiOf(info.PublicKey)
	case "host":
		var k ledger.HostKey
		if err := k.UnmarshalText([]byte(info.PublicKey)); err == nil && !next {
			x.self, _ = network.PeerIDFromPublicKey(k[:]) // the keystore has checked it
		}
		return info.PublicKey
	case "data":
		return dataKeyID(info.PublicKey)
	}
	return ""
}

func dataKeyID(public string) string {
	b, err := decodeHex(public)
	if err != nil {
		return ""
	}
	return answer.KeyID(b)
}

// node asks the running node, or reads the files of a stopped one.
func (x *examination) node(ctx context.Context) {
	n, err := askNode(ctx, x.cfg.Metrics.Listen)
	if err == nil && x.self != "" && n.NodeID != string(x.self) {
		err = fmt.Errorf("at %s another node answers, %s", x.cfg.Metrics.Listen, n.NodeID)
		n = nil
	}
	if n != nil {
		x.facts.Running, x.facts.Node = true, n
		return
	}
	x.facts.NodeErr = err.Error()
	if stopped := x.stopped(ctx); errors.Is(stopped, syscall.EAGAIN) {
		x.facts.Running = true // its files are locked
	} else if stopped != nil {
		x.facts.NodeErr = stopped.Error()
	}
}

// stopped reads what the files of a stopped node tell. An error means that the
// ledger cannot be read; EAGAIN that somebody else reads it.
func (x *examination) stopped(ctx context.Context) error {
	genesis, err := config.ReadGenesis(x.cfg.Genesis)
	if err != nil {
		return err
	}
	blocks, err := store.Open(filepath.Join(x.cfg.DataDir, blocksDir), genesis.Hash())
	if errors.Is(err, syscall.EAGAIN) {
		return err
	}
	s := &doctor.Stores{Blocks: err}
	x.facts.Stores = s
	if err != nil {
		return err
	}
	defer blocks.Close()
	tip := blocks.Tip()
	x.facts.Node = &doctor.Node{
		NodeID: string(x.self), Member: x.cfg.Identity.Member, Height: uint64(tip.Height), BlockTime: time.UnixMilli(int64(tip.Header.Time)),
		ConfigSeq: tip.Config.Seq, Protocol: tip.Config.Protocol, Validators: len(tip.Config.Validators), ViewAge: -1,
	}
	if book, err := evidence.Open(filepath.Join(x.cfg.DataDir, evidenceDir), genesis.Hash()); err == nil {
		x.facts.Node.Accusations = provenFacts(book, tip.Config)
	}
	if h, err := readHalt(x.cfg.DataDir); err == nil && h != nil {
		x.facts.Node.Halt = &h.Halt
	}
	s.Log = x.checkLog(blocks)
	s.Private = x.readOutbox(ctx)
	db, err := state.Open(ctx, state.Config{Dir: filepath.Join(x.cfg.DataDir, stateDir), ChainID: genesis.Hash()})
	if err != nil {
		s.State = err
		return nil
	}
	defer db.Close()
	executed, roots, _ := db.Executed()
	if x.facts.Node.Executed = uint64(executed); executed > tip.Height {
		s.State = fmt.Errorf("the state was executed up to height %d, the blocks end at %d", executed, tip.Height)
		return nil
	}
	if h := tip.Header; h.ExecHeight == executed && (roots.State != h.StateRoot || roots.Receipts != h.ReceiptsRoot) {
		s.State = fmt.Errorf("the state after height %d has another root than block %d certifies", executed, tip.Height)
		return nil
	}
	if x.facts.Node.Ledger, err = onLedger(db.View(), tip.Config, x.cfg.Identity.Member, x.self); err != nil {
		s.State = err
		return nil
	}
	if err := x.restored(ctx, tip.Config, db.View()); err != nil {
		s.Private = errors.Join(s.Private, err)
	}
	e, err := readDirectory(x.self, tip.Config, db.View())
	if err != nil {
		s.State = err
		return nil
	}
	for id, p := range e.peers {
		if id != x.self {
			peer := doctor.Peer{NodeID: string(id), Member: p.member, Validator: uint64(p.replica)}
			reachable(db.View(), &peer)
			x.facts.Node.Peers = append(x.facts.Node.Peers, peer)
		}
	}
	return nil
}

// checkLog holds the ordering log of a validator against its block store.
func (x *examination) checkLog(blocks *store.Store) error {
	tip := blocks.Tip()
	for _, key := range x.vote {
		v := tip.Config.ValidatorByVoteKey(key)
		if v == nil || len(tip.Config.Validators) == 1 {
			continue // it does not order now, or with an engine that keeps no log
		}
		last := consensus.Decision{Proposal: consensus.Proposal{Height: uint64(tip.Height)}}
		alone := false
		if tip.Height > 0 {
			cert, err := blocks.Certificate(tip.Height)
			if err != nil {
				return err
			}
			last.View = cert.View
			for _, vote := range cert.Votes {
				last.Votes = append(last.Votes, consensus.Vote{Replica: consensus.ReplicaID(vote.Validator)})
			}
			conf, err := blocks.Config(tip.Header.ConfigSeq)
			if err != nil {
				return err
			}
			alone = len(conf.Validators) == 1
		}
		if err := bft.Inspect(voteLogDir(x.cfg.DataDir, key), consensus.ReplicaID(v.ID), last, alone); err != nil {
			return err
		}
	}
	return nil
}

// readOutbox counts what a stopped node has to deliver.
func (x *examination) readOutbox(ctx context.Context) error {
	path := filepath.Join(x.cfg.DataDir, privateFile)
	if _, err := os.Stat(path); err != nil { // opening would make an empty one
		return err
	}
	p, err := outbox.OpenPrivate(ctx, path)
	if err != nil {
		return err
	}
	defer p.Close()
	var ok string
	if err := p.Reader().QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&ok); err != nil || ok != "ok" {
		return errors.Join(fmt.Errorf("%s is damaged: %.100s", path, ok), err)
	}
	n := x.facts.Node
	var since int64
	err = p.Reader().QueryRowContext(ctx, `SELECT count(*), coalesce(min(nullif(not_before, 0)), 0) FROM outbox_items`).Scan(&n.OutboxItems, &since)
	if err != nil {
		return nil // never started: there is no table yet
	}
	if since > 0 {
		n.OutboxOldest = max(x.facts.Now.Sub(time.UnixMicro(since)), 0)
	}
	return nil
}

// restored looks whether a stopped node came from a backup, and how far it is.
func (x *examination) restored(ctx context.Context, conf *ledger.Config, view *state.View) error {
	m, err := readMark(x.cfg.DataDir)
	if err != nil || m == nil {
		return err
	}
	path := filepath.Join(x.cfg.DataDir, privateFile)
	if _, err := os.Stat(path); err != nil { // opening would make an empty one
		return err
	}
	p, err := outbox.OpenPrivate(ctx, path)
	if err != nil {
		return err
	}
	defer p.Close()
	x.facts.Node.Restored, err = restoredFacts(ctx, m, conf, x.self, view, p.Reader())
	return err
}

// disk measures the data directory.
func (x *examination) disk() {
	d := &doctor.Disk{}
	x.facts.Disk = d
	if d.Free, d.Err = diskFree(x.cfg.DataDir); d.Err != nil {
		return
	}
	d.Data = diskUse(x.cfg.DataDir)
	if genesis, err := config.ReadGenesis(x.cfg.Genesis); err == nil {
		d.Age = x.facts.Now.Sub(time.UnixMilli(int64(genesis.GenesisTime)))
	}
	if d.Fsync, d.Err = syncTime(x.cfg.DataDir); d.Err == nil {
		d.Timed = true
	}
}

// syncTime is the median of how long a small write takes to reach the disk.
func syncTime(dir string) (median time.Duration, err error) {
	f, err := os.CreateTemp(dir, "doctor-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var took []time.Duration
	for range 9 {
		begun := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// ports tries the addresses: a running node answers there, a stopped one could
// take them.
func (x *examination) ports(ctx context.Context) {
	try := func(key, addr string) {
		p := doctor.Port{Key: key, Addr: addr}
		if x.facts.Running {
			var d net.Dialer
			tctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			c, err := d.DialContext(tctx, "tcp", addr)
			if p.Err = err; err == nil {
				_ = c.Close() // it was only to be seen
			}
		} else {
			l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
			if p.Err = err; err == nil {
				_ = l.Close() // likewise
			}
		}
		x.facts.Ports = append(x.facts.Ports, p)
	}
	for _, m := range x.cfg.Network.Listen {
		if addr := tcpAddr(m); addr != "" {
			try("network.listen", addr)
		}
	}
	try("api.listen", x.cfg.API.Listen)
	if x.cfg.Metrics.Listen != config.Off {
		try("metrics.listen", x.cfg.Metrics.Listen)
	}
}

// tcpAddr turns /ip4/…/tcp/… into host:port; "" for other forms and for port 0.
func tcpAddr(multi string) string {
	p := strings.Split(multi, "/")
	if len(p) < 5 || p[3] != "tcp" || p[4] == "0" || p[1] != "ip4" && p[1] != "ip6" {
		return ""
	}
	return net.JoinHostPort(p[2], p[4])
}
