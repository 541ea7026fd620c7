// Package fakenode is a network for tests of the SDK: one process, one ledger,
// any number of nodes that serve it over the real wire. Its bytes are real:
// genesis, signatures, certificates of four validators, trie and log proofs.
// Its contracts do just enough for a client to have something to talk to, and
// every node can be told to lie, to fail or to lose an answer.
package fakenode

import (
	"bytes"
	"crypto/ecdsa"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// Members of every network made here.
const (
	Lender  = "lender"
	Bank    = "bank"
	Auditor = "auditor"
	Outside = "outside" // another lender
)

// Network is a ledger.
type Network struct {
	Genesis *ledger.Config
	Now     func() time.Time

	// Provider says what the bank seals and what it commits to, and whether it
	// sends; nil: honestly the first output of the template.
	Provider func(r *record.Request, honest answer.Answer) (sealed, committed answer.Answer, send bool)
	// Down are validators that no node reaches; Answers says what a probe of an
	// address finds, nil: nobody listens anywhere.
	Down    map[uint64]bool
	Answers func(addr string, hostKey []byte, nonce ledger.Hash) *v1.ProbeResponse

	// SealFor alters whom an answer is sealed for.
	SealFor func(answer.Context) answer.Context

	work sync.WaitGroup // providers at work

	mu       sync.Mutex
	config   *ledger.Config
	blocks   []*block
	rows     map[string][]byte // every row
	versions []version         // after each height
	log      [][]byte          // receipts
	txs      map[ledger.Hash]*tx
	configs  [][]byte // config proofs
	parts    map[string][]byte
	answers  map[string][]byte
	bound    map[string]record.Address // wallets by subject
	boundTo  map[string]string         // subjects by consent
	seats    []*LoanSeat               // banks of totals
	banks    []*StatBank               // banks of statistics
	told     map[ledger.Hash]*told     // what they made of a set
	news     chan struct{}             // closed at each block
}

type block struct {
	ledger.Block
	cert   ledger.Certificate
	events []event
}

type event struct {
	ledger.Event
	txID ledger.Hash
}

type version struct {
	records map[string][]byte // those in the trie
	root    ledger.Hash
	nodes   map[ledger.Hash][]byte
	log     int // number of receipts
}

type tx struct {
	height  uint64
	index   int
	leaf    int // in the log
	receipt ledger.Receipt
	writes  []ledger.Write
	payload []byte
	message string
	events  []event
}

// Key returns the key that belongs to a name.
func Key(name string) *ecdsa.PrivateKey {
	seed := ledger.Sum([]byte("fakenode " + name))
	k, err := crypto.ToECDSA(seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

// Signer returns a signer with the key that belongs to a name: "admin bank",
// "integration lender", "officer bank", "vote 1".
func Signer(name string) ledger.KeySigner { return ledger.NewKeySigner(Key(name)) }

// New founds a network of four members with a validator each.
func New(now func() time.Time) *Network {
	c := &ledger.Config{Network: "fake", Protocol: 1, GenesisTime: uint64(now().Add(-time.Hour).UnixMilli()), Limits: ledger.DefaultLimits()}
	roles := map[string][]string{Lender: {"DATA_CONSUMER"}, Outside: {"DATA_CONSUMER"}, Bank: {"DATA_PROVIDER"}, Auditor: {"AUDITOR"}}
	for i, id := range slices.Sorted(maps.Keys(roles)) {
		n := uint64(i + 1)
		c.Members = append(c.Members, ledger.Member{ID: id, Name: "The " + id, Roles: roles[id], Admins: []ledger.Address{Signer("admin " + id).Address()}})
		c.Validators = append(c.Validators, ledger.Validator{
			ID: n, Member: id, VoteKey: vote(n).Address(), Addrs: []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", n)},
			HostKey: ledger.HostKey(crypto.CompressPubkey(&Key(fmt.Sprintf("host %d", n)).PublicKey)),
		})
	}
	net := &Network{
		Genesis: c, Now: now, config: c, rows: map[string][]byte{}, txs: map[ledger.Hash]*tx{}, parts: map[string][]byte{},
		answers: map[string][]byte{}, bound: map[string]record.Address{}, boundTo: map[string]string{}, news: make(chan struct{}),
	}
	net.found()
	return net
}

func vote(id uint64) ledger.KeySigner { return Signer(fmt.Sprintf("vote %d", id)) }

// found makes block 0 and puts the members into the state.
func (n *Network) found() {
	n.enter(n.Genesis)
	n.blocks = []*block{{Block: *ledger.Genesis(n.Genesis)}}
	n.executed()
}

// enter puts a config's members and admins into the state.
func (n *Network) enter(c *ledger.Config) {
	for _, m := range c.Members {
		var roles []record.MemberRole
		for _, r := range m.Roles {
			roles = append(roles, record.MemberRole(r))
		}
		org := record.OrgID(m.ID)
		n.rows[record.MemberKey(org)] = must(&record.Member{Active: true, OrgID: org, Roles: roles, Title: m.Name})
		for _, key := range m.Admins {
			n.rows[record.ClientKey(org, key)] = must(&record.Client{
				Address: key, OrgID: org, RegisteredAt: int64(n.Genesis.GenesisTime), Roles: []record.ClientRole{record.RoleAdmin},
			})
		}
	}
}

func must(r record.Record) []byte {
	b, err := record.Encode(r)
	if err != nil {
		panic(err)
	}
	return b
}

// executed computes the roots after the newest block.
func (n *Network) executed() {
	v := version{records: map[string][]byte{}, log: len(n.log)}
	for k, b := range n.rows {
		if ledger.KeepingOf(k) == ledger.KeepRecord {
			v.records[k] = b
		}
	}
	v.root, v.nodes = buildTrie(v.records)
	n.versions = append(n.versions, v)
}

// ChainID names the network.
func (n *Network) ChainID() ledger.Hash { return n.Genesis.Hash() }

// Height is that of the newest block.
func (n *Network) Height() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return uint64(len(n.blocks) - 1)
}

// append makes the next block of reqs, whose effects are events, and executes it.
func (n *Network) append(reqs [][]byte, next *ledger.Config, events []event) *block {
	tip := &n.blocks[len(n.blocks)-1].Header
	last := n.versions[len(n.versions)-1]
	h := ledger.Header{
		ChainID: n.ChainID(), Height: tip.Height + 1, Prev: tip.Hash(), TxRoot: ledger.TxRoot(reqs), Time: n.nextTime(),
		ConfigSeq: n.config.Seq, ValidatorsHash: n.config.ValidatorsHash(), NextValidatorsHash: next.ValidatorsHash(),
		EngineMetaHash: ledger.HashMeta(nil), ExecHeight: tip.Height, StateRoot: last.root,
		ReceiptsRoot: logRoot(n.log[:last.log]), ReceiptsSize: uint64(last.log),
	}
	h.Domain = n.blocks[0].Header.Domain
	b := &block{Block: ledger.Block{Header: h, Requests: reqs, Meta: []byte{}}, cert: *Certify(&h, quorum(n.config)...), events: events}
	n.blocks = append(n.blocks, b)
	n.config = next
	return b
}

// quorum are the validators that sign: the first that suffice. The key of each
// belongs to the name "vote <id>".
func quorum(c *ledger.Config) []uint64 {
	var ids []uint64
	for _, v := range c.Validators[:ledger.Quorum(len(c.Validators))] {
		ids = append(ids, v.ID)
	}
	return ids
}

func (n *Network) nextTime() uint64 {
	return max(n.blocks[len(n.blocks)-1].Header.Time+1, uint64(n.Now().UnixMilli()))
}

// Certify returns a certificate with the votes of the validators named.
func Certify(h *ledger.Header, validators ...uint64) *ledger.Certificate {
	c := &ledger.Certificate{Header: h.Hash()}
	for _, id := range validators {
		sig, err := vote(id).Sign(ledger.VoteDigest(c.Header, c.View))
		if err != nil {
			panic(err)
		}
		c.Votes = append(c.Votes, ledger.Vote{Validator: id, Sig: sig})
	}
	return c
}

// seal adds a block that certifies the roots of the one before.
func (n *Network) seal() {
	s, err := ledger.NewSeal(n.ChainID(), n.blocks[len(n.blocks)-1].Header.Height, vote(1))
	if err != nil {
		panic(err)
	}
	n.append([][]byte{s.Encode()}, n.config, nil)
	n.executed()
	close(n.news)
	n.news = make(chan struct{})
}

// submit orders and executes a transaction. known is true if it was ordered
// before.
func (n *Network) submit(b []byte) (t *tx, known bool, err error) {
	txn, err := ledger.DecodeTransaction(b)
	if err != nil {
		return nil, false, refuse(record.CodeBadRequest, "%v", err)
	}
	if err := txn.Verify(n.ChainID()); err != nil {
		return nil, false, refuse(record.CodeBadSignature, "%v", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.txs[txn.ID()]; t != nil {
		return t, true, nil
	}
	if !txn.ValidAt(n.nextTime()) {
		return nil, false, refuse("NOT_VALID_NOW", "block time %d", n.nextTime())
	}
	height := uint64(len(n.blocks))
	c := &call{
		n: n, org: record.OrgID(txn.Payload.Org), key: txn.Payload.Key, txID: txn.ID(), now: int64(n.nextTime()),
		writes: map[string][]byte{}, height: height,
	}
	t = &tx{height: height, leaf: len(n.log)}
	code := record.OK
	payload, err := c.run(txn.Payload.Contract, txn.Payload.Function, txn.Payload.Args)
	if err != nil {
		code, _ = record.CodeOf(err)
		c.writes, c.events, t.message = nil, nil, err.Error()
	}
	t.payload = payload
	n.finish(t, c, b, code)
	return t, false, nil
}

// finish records what a transaction did and certifies it.
func (n *Network) finish(t *tx, c *call, raw []byte, code record.Code) {
	for _, k := range slices.Sorted(maps.Keys(c.writes)) {
		t.writes = append(t.writes, ledger.Write{Key: k, Value: c.writes[k], Delete: c.writes[k] == nil})
		if c.writes[k] == nil {
			delete(n.rows, k)
		} else {
			n.rows[k] = c.writes[k]
		}
	}
	t.receipt = ledger.Receipt{
		TxID: c.txID, Height: ledger.Height(t.height), Code: string(code),
		Events: ledger.HashEvents(c.events), Writes: ledger.HashWrites(ledger.HashedWrites(t.writes)),
	}
	for _, e := range c.events {
		t.events = append(t.events, event{e, c.txID})
	}
	n.append([][]byte{raw}, n.config, t.events)
	n.log = append(n.log, t.receipt.Encode())
	n.txs[c.txID] = t
	n.executed()
	n.seal()
	if c.approved != nil {
		n.reconfigure(c.approved)
	}
	for _, r := range c.permitted {
		n.work.Go(func() { n.provide(r, t.height) })
	}
}

// Idle adds empty blocks.
func (n *Network) Idle(blocks int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range blocks {
		n.seal()
	}
}

// Reconfigure changes the config with the approval of the members named, of all
// if none is.
func (n *Network) Reconfigure(change func(*ledger.Config), members ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reconfigure(n.update(change, members...))
}

// reconfigure puts a config update into a block and its effects on members and
// proposals into the state.
func (n *Network) reconfigure(u *ledger.Update) {
	b := n.append([][]byte{u.Encode()}, u.Config, nil)
	p := &ledger.ConfigProof{Header: ledger.CertifiedHeader{Header: b.Header, Certificate: b.cert}, Update: u.Encode()}
	n.configs = append(n.configs, p.Encode())
	n.enter(u.Config)
	key := record.ProposalKey(u.Config.Hash())
	if row, ok := n.rows[key]; ok {
		v, err := record.Load[record.Proposal](row)
		if err != nil {
			panic(err)
		}
		v.Status, v.AppliedAt = record.ProposalApplied, int64(b.Header.Time)
		n.rows[key] = must(v)
	}
	n.executed()
	n.seal()
}

func (n *Network) update(change func(*ledger.Config), members ...string) *ledger.Update {
	next, err := ledger.DecodeConfig(n.config.Encode())
	if err != nil {
		panic(err)
	}
	next.Seq++
	change(next)
	u := &ledger.Update{ChainID: n.ChainID(), Config: next}
	if len(members) == 0 {
		for _, m := range n.config.Members {
			members = append(members, m.ID)
		}
	}
	for _, m := range members {
		k := Signer("admin " + m)
		sig, err := k.Sign(u.ApprovalDigest())
		if err != nil {
			panic(err)
		}
		u.Approvals = append(u.Approvals, ledger.Approval{Member: m, Admin: k.Address(), Sig: sig})
	}
	return u
}

// certified returns the header at a height with its votes.
func (n *Network) certified(h int) *ledger.CertifiedHeader {
	return &ledger.CertifiedHeader{Header: n.blocks[h].Header, Certificate: n.blocks[h].cert}
}

// ProveRecordAt proves key under the header at a height.
func (n *Network) ProveRecordAt(height int, key string) (*ledger.CertifiedHeader, *ledger.StateProof) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proveRecord(height, key)
}

func (n *Network) proveRecord(height int, key string) (*ledger.CertifiedHeader, *ledger.StateProof) {
	ch := n.certified(height)
	v := n.versions[ch.Header.ExecHeight]
	value, ok := v.records[key]
	return ch, &ledger.StateProof{Key: key, Present: ok, Value: value, Nodes: proveState(v.root, v.nodes, key)}
}

// ProveReceiptAt proves a transaction's receipt under the header at a height.
func (n *Network) ProveReceiptAt(height int, id ledger.Hash) (*ledger.CertifiedHeader, *ledger.ReceiptProof) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proveReceipt(height, n.txs[id])
}

func (n *Network) proveReceipt(height int, t *tx) (*ledger.CertifiedHeader, *ledger.ReceiptProof) {
	ch := n.certified(height)
	size := n.versions[ch.Header.ExecHeight].log
	return ch, &ledger.ReceiptProof{
		Receipt: t.receipt, Writes: ledger.HashedWrites(t.writes),
		Log: ledger.LogProof{Index: uint64(t.leaf), Size: uint64(size), Hashes: logPath(n.log[:size], t.leaf)},
	}
}

// Part returns the sealed part that was put for a consent.
func (n *Network) Part(consent record.ConsentID) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return bytes.Clone(n.parts[string(consent)+"/"+Bank])
}

// Bound returns the wallet bound to a subject.
func (n *Network) Bound(subject string) record.Address {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bound[subject]
}

// Wait blocks until no provider is at work.
func (n *Network) Wait() { n.work.Wait() }
