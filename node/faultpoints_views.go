//go:build faultpoints

package node

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
)

const (
	fieldViewData = 5
	fieldNewView  = 6
)

// forger makes accounts of where a replica stands that are not true.
type forger struct {
	sign  ledger.Signer
	chain ledger.Hash
	conf  *ledger.Config
	self  uint64
}

func newForger(o Options) *forger {
	genesis, err := config.ReadGenesis(o.Config.Genesis)
	sign := voteSigner(o)
	if err != nil || sign == nil {
		return nil
	}
	f := &forger{sign: sign, chain: genesis.Hash(), conf: genesis}
	if v := genesis.ValidatorByVoteKey(sign.Address()); v != nil {
		f.self = v.ID
	}
	return f
}

func varint(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func inside(num protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
}

// block is a proposal that nobody made, in its form.
func (f *forger) block(view, height uint64) []byte {
	meta := append(varint(1, view), varint(2, height)...)
	h := ledger.Genesis(f.conf).Header
	h.ChainID, h.Height, h.EngineMetaHash = f.chain, ledger.Height(height), ledger.HashMeta(meta)
	b := append(inside(fieldHeader, h.Encode()), inside(fieldPayload, ledger.EncodeRequests(nil))...)
	return append(b, inside(3, meta)...)
}

// account says as validator by that it stands at height, with a block under way;
// signed by this node's key, whoever it is to be from.
func (f *forger) account(by, next, height uint64, votes bool) []byte {
	raw := append(varint(1, next), inside(2, f.block(next-1, height))...)
	if votes {
		for _, v := range f.conf.Validators {
			raw = append(raw, inside(3, append(varint(1, v.ID), inside(2, make([]byte, 65))...))...)
		}
	}
	raw = append(raw, inside(4, f.block(next-1, height+1))...)
	raw = append(raw, varint(5, 1)...)
	sig, err := f.sign.Sign(ledger.EngineDigest(f.chain, raw))
	if err != nil {
		return nil
	}
	out := append(inside(1, raw), varint(2, by)...)
	return append(out, inside(3, sig[:])...)
}

// message returns one of several forged messages about a view.
func (f *forger) message(i int, view uint64) []byte {
	others := f.conf.Validators
	another := others[i%len(others)].ID
	height := uint64(1 + below(2000))
	switch i % 5 {
	case 0: // its own account, of a block that nobody decided
		return inside(fieldViewData, f.account(f.self, view, height, true))
	case 1:
		return inside(fieldViewData, f.account(f.self, view, 1<<40, false))
	case 2: // another's account, with its own signature
		return inside(fieldViewData, f.account(another, view, height, true))
	case 3: // a new view of its own account alone, three times
		one := inside(2, f.account(f.self, view, height, true))
		return inside(fieldNewView, append(append(append([]byte{}, one...), one...), one...))
	default: // a new view of everybody's accounts, none of them theirs
		var all []byte
		for _, v := range others {
			all = append(all, inside(2, f.account(v.ID, view, height, true))...)
		}
		return inside(fieldNewView, all)
	}
}
