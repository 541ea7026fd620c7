//go:build faultpoints

package node

import (
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/ledger"
)

const (
	tagViewData = fieldViewData<<3 | 2
	tagNewView  = fieldNewView<<3 | 2
)

// twoViews begins a view that it leads in two ways: one of the validators that gave it
// an account, the victim, is shown another one of the liar itself, as true to its form
// and as well signed as the one that the others see.
type twoViews struct {
	*forger

	mu     sync.Mutex     // guards victim
	victim network.PeerID // whoever gave an account last: it is there to be lied to
}

func (v *twoViews) hear(from network.PeerID, msg []byte) {
	if len(msg) > 0 && msg[0] == tagViewData {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.victim = from
	}
}

// say returns what to is shown instead of msg, and whether that is a lie.
func (v *twoViews) say(to network.PeerID, msg []byte) (out []byte, lie bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if msg[0] != tagNewView || to != v.victim || v.sign == nil {
		return msg, false
	}
	out = at(msg, []protowire.Number{fieldNewView, 2}, func(signed []byte) []byte {
		if field64(signed, 2) != v.self {
			return signed
		}
		other := at(signed, []protowire.Number{1}, v.otherAccount)
		var raw []byte
		at(other, []protowire.Number{1}, func(b []byte) []byte { raw = b; return b })
		return at(other, []protowire.Number{3}, func(old []byte) []byte {
			sig, err := v.sign.Sign(ledger.EngineDigest(v.chain, raw))
			if err != nil {
				return old
			}
			lie = true
			return sig[:]
		})
	})
	return out, lie
}

// otherAccount of what this validator has under way: nothing, or if it is nothing, a
// block that nobody proposed, as one that a quorum has prepared.
func (v *twoViews) otherAccount(raw []byte) []byte {
	var out []byte
	under := false
	for rest := raw; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		m := -1
		if n >= 0 {
			m = protowire.ConsumeFieldValue(num, typ, rest[n:])
		}
		if m < 0 {
			return raw
		}
		switch num {
		case 4:
			under = true
		case 5:
		default:
			out = append(out, rest[:n+m]...)
		}
		rest = rest[n+m:]
	}
	if under {
		return out
	}
	var height uint64
	at(raw, []protowire.Number{2, 3}, func(meta []byte) []byte { height = field64(meta, 2); return meta })
	out = append(out, inside(4, v.block(field64(raw, 1)-1, height+1))...)
	return append(out, varint(5, 1)...)
}
