//go:build faultpoints

package node

import (
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

// twoFaced tells one validator, the victim, another block than the others: as leader
// it proposes another, and whatever it proposed it votes for both, with its vote key.
type twoFaced struct {
	sign ledger.Signer // nil: no such liar

	mu    sync.Mutex // guards other
	other map[uint64]otherBlock
}

type otherBlock struct {
	digest string
	vote   []byte // as the ordering engine sends it: the view, then the signature
}

// voteSigner unlocks the vote key of a node that lies with it.
func voteSigner(o Options) ledger.Signer {
	s, err := keys.Open(o.Config.Identity.KeysDir)
	if err != nil {
		return nil
	}
	name := voteKeys(&o.Config.Identity)[0]
	pw, err := o.Password(name)
	if err != nil {
		return nil
	}
	k, err := s.Signer(name, keys.Vote, pw)
	if err != nil {
		return nil
	}
	return k
}

// say returns what the victim is told instead of msg.
func (f *twoFaced) say(msg []byte) [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch msg[0] {
	case tagPrePrepare:
		out := otherTime(msg)
		if o, seq, ok := f.make(out); ok {
			f.other[seq] = o
			delete(f.other, seq-16)
			return [][]byte{out}
		}
	case tagPrepare:
		if o, ok := f.other[number(msg, 2, 2)]; ok {
			return [][]byte{at(msg, []protowire.Number{2, 3}, func([]byte) []byte { return []byte(o.digest) })}
		}
	case tagCommit:
		if o, ok := f.other[number(msg, fieldCommit, 2)]; ok {
			second := at(msg, []protowire.Number{fieldCommit, fieldCommitedDigest}, func([]byte) []byte { return []byte(o.digest) })
			second = at(second, []protowire.Number{fieldCommit, 4, 2}, func([]byte) []byte { return o.vote })
			return [][]byte{msg, second}
		}
	}
	return [][]byte{msg}
}

// make votes for the block of a proposal.
func (f *twoFaced) make(prePrepare []byte) (o otherBlock, seq uint64, ok bool) {
	var p struct { // as the ordering library names proposals
		Payload, Header, Metadata []byte
		VerificationSequence      int64
	}
	for num, to := range map[protowire.Number]*[]byte{fieldHeader: &p.Header, fieldPayload: &p.Payload, 3: &p.Metadata} {
		at(prePrepare, []protowire.Number{fieldPrePrepare, fieldProposal, num}, func(b []byte) []byte { *to = b; return b })
	}
	at(prePrepare, []protowire.Number{fieldPrePrepare, fieldProposal}, func(b []byte) []byte {
		p.VerificationSequence = int64(field64(b, 4))
		return b
	})
	raw, err := asn1.Marshal(p)
	if err != nil || len(p.Header) == 0 {
		return o, 0, false
	}
	sum := sha256.Sum256(raw)
	o.digest = hex.EncodeToString(sum[:])
	view := number(prePrepare, fieldPrePrepare, 1)
	sig, err := f.sign.Sign(ledger.VoteDigest(ledger.Sum(p.Header), view))
	o.vote = append(binary.BigEndian.AppendUint64(nil, view), sig[:]...)
	return o, number(prePrepare, fieldPrePrepare, 2), err == nil
}

// number reads a number in a message in a message.
func number(msg []byte, outer, inner protowire.Number) (v uint64) {
	at(msg, []protowire.Number{outer}, func(b []byte) []byte { v = field64(b, inner); return b })
	return v
}

func field64(b []byte, want protowire.Number) uint64 {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		if num == want && typ == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b[n:])
			return v
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return 0
		}
		b = b[n+m:]
	}
	return 0
}

// otherSignatures proposes the first transaction, which everybody has checked, with
// another signature, under a header that fits: nothing but its signature is wrong.
func otherSignatures(msg []byte) []byte {
	root, changed := ledger.Hash{}, false
	msg = at(msg, []protowire.Number{fieldPrePrepare, fieldProposal, fieldPayload}, func(b []byte) []byte {
		reqs, err := ledger.DecodeRequests(b)
		if err != nil {
			return b
		}
		for i, r := range reqs {
			if ledger.KindOf(r) == ledger.KindTransaction {
				reqs[i] = otherSignature(r)
				root, changed = ledger.TxRoot(reqs), true
				return ledger.EncodeRequests(reqs)
			}
		}
		return b
	})
	if !changed {
		return msg
	}
	return header(msg, func(h *ledger.Header) { h.TxRoot = root })
}

// expiring signs transactions that end while they wait.
type expiring struct {
	sign    ledger.Signer
	payload ledger.Payload
}

func newExpiring(o Options) *expiring {
	genesis, err := config.ReadGenesis(o.Config.Genesis)
	if err != nil {
		return nil
	}
	s, err := keys.Open(o.Config.Identity.KeysDir)
	if err != nil {
		return nil
	}
	pw, err := o.Password(o.Config.Identity.TxKey)
	if err != nil {
		return nil
	}
	k, err := s.Signer(o.Config.Identity.TxKey, keys.Client, pw)
	if err != nil {
		return nil
	}
	return &expiring{k, ledger.Payload{
		ChainID: genesis.Hash(), Org: o.Config.Identity.Member, Key: k.Address(),
		Contract: "membership", Function: "RegisterClient", Args: [][]byte{[]byte("{}")},
	}}
}

// transaction makes one that is valid now and for so long.
func (e *expiring) transaction(left time.Duration) ([]byte, error) {
	p := e.payload
	now := time.Now()
	p.NotBefore = uint64(now.Add(-time.Second).UnixMilli())
	p.ValidUntil = uint64(now.Add(left).UnixMilli())
	for i := range p.Nonce {
		p.Nonce[i] = byte(below(256))
	}
	tx := ledger.NewTransaction(p)
	if err := tx.Sign(e.sign); err != nil {
		return nil, err
	}
	return tx.Encode(), nil
}
