// Package ledgertest makes networks and ledgers for tests: configs with keys
// that follow from a name, and chains of certified blocks whose roots are made
// up. It promises that the same calls give the same bytes.
package ledgertest

import (
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/assent-network/assent/node/ledger"
	"github.com/ethereum/go-ethereum/crypto"
)

// GenesisTime is the time of block 0 of every network made here, in Unix ms.
const GenesisTime = 1_760_000_000_000

// BlockMillis lies between the times of two blocks of a Chain.
const BlockMillis = 1000

// Key returns the key that belongs to name.
func Key(name string) *ecdsa.PrivateKey {
	seed := ledger.Sum([]byte("ledgertest " + name))
	for { // the first seed is as good as certain to be a key
		if k, err := crypto.ToECDSA(seed[:]); err == nil {
			return k
		}
		seed = ledger.Sum(seed[:])
	}
}

// Signer returns a signer with the key that belongs to name.
func Signer(name string) ledger.KeySigner { return ledger.NewKeySigner(Key(name)) }

// VoteKey returns the signer of validator id.
func VoteKey(id uint64) ledger.KeySigner { return Signer(fmt.Sprintf("vote %d", id)) }

// AdminKey returns the admin signer of a member.
func AdminKey(member string) ledger.KeySigner { return Signer("admin " + member) }

// MemberID returns the id of the i-th member, from 1.
func MemberID(i int) string { return fmt.Sprintf("member-%02d", i) }

// Validator returns validator id, which belongs to member.
func Validator(id uint64, member string) ledger.Validator {
	return ledger.Validator{
		ID:      id,
		Member:  member,
		VoteKey: VoteKey(id).Address(),
		HostKey: ledger.HostKey(crypto.CompressPubkey(&Key(fmt.Sprintf("host %d", id)).PublicKey)),
		Addrs:   []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 20000+id)},
	}
}

// Config returns the genesis config of a network of n members with one
// validator each, with ids 1 to n.
func Config(n int) *ledger.Config {
	c := &ledger.Config{
		Network:     "ledgertest",
		Protocol:    1,
		GenesisTime: GenesisTime,
		Limits:      ledger.DefaultLimits(),
	}
	for i := 1; i <= n; i++ {
		id := MemberID(i)
		c.Members = append(c.Members, ledger.Member{
			ID:     id,
			Name:   fmt.Sprintf("Member %d", i),
			Roles:  []string{"DATA_CONSUMER", "DATA_PROVIDER"},
			Admins: []ledger.Address{AdminKey(id).Address()},
		})
		c.Validators = append(c.Validators, Validator(uint64(i), id))
	}
	return c
}

// Clone returns a config that shares nothing with c.
func Clone(c *ledger.Config) *ledger.Config {
	d, err := ledger.DecodeConfig(c.Encode())
	if err != nil {
		panic(fmt.Sprintf("ledgertest: clone a config: %v", err))
	}
	return d
}

// Certify returns a certificate of h with the votes of the first quorum of c's
// validators.
func Certify(c *ledger.Config, h *ledger.Header) *ledger.Certificate {
	ids := make([]uint64, 0, len(c.Validators))
	for _, v := range c.Validators {
		ids = append(ids, v.ID)
	}
	return CertifyBy(h, ids[:ledger.Quorum(len(ids))]...)
}

// CertifyBy returns a certificate of h with the votes of the validators named, in view 0.
func CertifyBy(h *ledger.Header, validators ...uint64) *ledger.Certificate {
	return CertifyIn(0, h, validators...)
}

// CertifyIn is CertifyBy with votes that were cast in another view.
func CertifyIn(view uint64, h *ledger.Header, validators ...uint64) *ledger.Certificate {
	cert := &ledger.Certificate{Header: h.Hash(), View: view}
	for _, id := range validators {
		cert.Votes = append(cert.Votes, ledger.Vote{Validator: id, Sig: sign(VoteKey(id), ledger.VoteDigest(cert.Header, view))})
	}
	ledger.SortVotes(cert.Votes)
	return cert
}

func sign(s ledger.Signer, digest ledger.Hash) ledger.Signature {
	sig, err := s.Sign(digest)
	if err != nil {
		panic(fmt.Sprintf("ledgertest: %v", err))
	}
	return sig
}

// Update returns a config update on top of current with the approvals of the
// members named, or of every member if none is.
func Update(chain ledger.Hash, current *ledger.Config, change func(*ledger.Config), members ...string) *ledger.Update {
	next := Clone(current)
	next.Seq++
	change(next)
	u := &ledger.Update{ChainID: chain, Config: next}
	if len(members) == 0 {
		for _, m := range current.Members {
			members = append(members, m.ID)
		}
	}
	slices.Sort(members)
	for _, m := range members {
		k := AdminKey(m)
		u.Approvals = append(u.Approvals, ledger.Approval{Member: m, Admin: k.Address(), Sig: sign(k, u.ApprovalDigest())})
	}
	return u
}

// Chain is a ledger in the making.
type Chain struct {
	Genesis *ledger.Config
	Config  *ledger.Config // in force for the next block
	Blocks  []*ledger.Block
	Certs   []*ledger.Certificate // nil at index 0

	nonce uint64
}

// NewChain returns a chain that holds genesis only.
func NewChain(genesis *ledger.Config) *Chain {
	return &Chain{
		Genesis: genesis,
		Config:  genesis,
		Blocks:  []*ledger.Block{ledger.Genesis(genesis)},
		Certs:   []*ledger.Certificate{nil},
	}
}

// ChainID names the network.
func (c *Chain) ChainID() ledger.Hash { return c.Genesis.Hash() }

// Tip returns the highest block.
func (c *Chain) Tip() *ledger.Block { return c.Blocks[len(c.Blocks)-1] }

// NextTime is the time that the next block will have.
func (c *Chain) NextTime() uint64 { return c.Tip().Header.Time + BlockMillis }

// Transaction returns the signed bytes of a transaction that fits into the next
// block, different at every call.
func (c *Chain) Transaction(args ...[]byte) []byte {
	key := Signer("client")
	p := ledger.Payload{
		ChainID: c.ChainID(), Org: MemberID(1), Key: key.Address(), Contract: "consent", Function: "Create",
		Args: args, NotBefore: c.NextTime() - 30_000, ValidUntil: c.NextTime() + 300_000,
	}
	c.nonce++
	binary.BigEndian.PutUint64(p.Nonce[8:], c.nonce)
	t := ledger.NewTransaction(p)
	if err := t.Sign(key); err != nil {
		panic(fmt.Sprintf("ledgertest: %v", err))
	}
	return t.Encode()
}

// Block returns the next block with reqs, not yet part of the chain. Its roots
// are made up.
func (c *Chain) Block(reqs ...[]byte) *ledger.Block {
	tip := c.Tip().Header
	if reqs == nil {
		reqs = [][]byte{}
	}
	next := c.Config
	b := &ledger.Block{Requests: reqs, Meta: binary.BigEndian.AppendUint64(nil, uint64(tip.Height+1))}
	if u, err := b.Update(); err == nil && u != nil {
		next = u.Config
	}
	h := tip.Height + 1
	b.Header = ledger.Header{
		Domain:             tip.Domain,
		ChainID:            c.ChainID(),
		Height:             h,
		Prev:               tip.Hash(),
		TxRoot:             ledger.TxRoot(reqs),
		Time:               c.NextTime(),
		ConfigSeq:          c.Config.Seq,
		ValidatorsHash:     c.Config.ValidatorsHash(),
		NextValidatorsHash: next.ValidatorsHash(),
		EngineMetaHash:     ledger.HashMeta(b.Meta),
		ExecHeight:         h - 1,
		StateRoot:          ledger.Sum(binary.BigEndian.AppendUint64([]byte("state"), uint64(h-1))),
		ReceiptsRoot:       ledger.Sum(binary.BigEndian.AppendUint64([]byte("receipts"), uint64(h-1))),
		ReceiptsSize:       tip.ReceiptsSize + uint64(len(c.Tip().Requests)),
	}
	return b
}

// Extend adds the next block, with reqs and a certificate.
func (c *Chain) Extend(reqs ...[]byte) (*ledger.Block, *ledger.Certificate) {
	b := c.Block(reqs...)
	cert := Certify(c.Config, &b.Header)
	c.Blocks, c.Certs = append(c.Blocks, b), append(c.Certs, cert)
	if u, err := b.Update(); err == nil && u != nil {
		c.Config = u.Config
	}
	return b, cert
}

// Grow adds n blocks of one transaction each.
func (c *Chain) Grow(n int) *Chain {
	for range n {
		c.Extend(c.Transaction([]byte(`{"made":"up"}`)))
	}
	return c
}

// Reconfigure adds a block that changes the config, approved by every member.
func (c *Chain) Reconfigure(change func(*ledger.Config)) (*ledger.Block, *ledger.Certificate) {
	return c.Extend(Update(c.ChainID(), c.Config, change).Encode())
}
