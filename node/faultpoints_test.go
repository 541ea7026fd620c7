//go:build faultpoints

package node

import (
	"bytes"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/assent-network/assent/node/ledger"
)

// field encodes a field that holds bytes.
func field(num protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
}

// proposal is a proposal as it goes over the wire, with fields around those that
// liars change.
func proposal(h *ledger.Header, payload []byte) []byte {
	inner := append(field(fieldHeader, h.Encode()), field(fieldPayload, payload)...)
	inner = append(inner, field(3, []byte("meta"))...)
	outer := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	return field(fieldPrePrepare, append(outer, field(fieldProposal, inner)...))
}

func TestLiesChangeOneThingAndNothingElse(t *testing.T) {
	h := &ledger.Header{Domain: ledger.Genesis(&ledger.Config{}).Header.Domain, Height: 5, Time: 1000}
	payload := []byte("requests")
	honest := proposal(h, payload)
	later, rooted := *h, *h
	later.Time++
	rooted.StateRoot[0] ^= 1
	if got := otherTime(honest); !bytes.Equal(got, proposal(&later, payload)) {
		t.Errorf("other time: %x", got)
	}
	if got := otherRoot(honest); !bytes.Equal(got, proposal(&rooted, payload)) {
		t.Errorf("other root: %x", got)
	}
	if got := otherBatch(honest); bytes.Equal(got, honest) || len(got) != len(honest) {
		t.Errorf("other batch: %x", got)
	}
	vote := field(fieldCommit, field(fieldCommitedDigest, []byte("ab")))
	if got := otherVote(vote); !bytes.Equal(got, field(fieldCommit, field(fieldCommitedDigest, []byte("`b")))) {
		t.Errorf("other vote: %q", got)
	}
	for _, junk := range [][]byte{nil, {0xff}, field(9, []byte("x")), honest[:len(honest)-3]} {
		if got := otherTime(junk); !bytes.Equal(got, junk) {
			t.Errorf("%x became %x", junk, got)
		}
	}
}

// What the victim is shown is another account of the liar, validly signed by it, and
// everybody else's as they are.
func TestLiesAboutViewsChangeTheLiarsAccountAlone(t *testing.T) {
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	conf := &ledger.Config{}
	v := &twoViews{forger: &forger{sign: ledger.NewKeySigner(key), chain: ledger.Hash{7}, conf: conf, self: 2}}
	v.hear("victim", field(fieldViewData, nil))
	under, other := v.account(2, 3, 9, false), v.account(1, 3, 9, false)
	idle := at(under, []protowire.Number{1}, v.otherAccount)
	view := func(mine []byte) []byte {
		return field(fieldNewView, append(field(2, mine), field(2, other)...))
	}
	for name, mine := range map[string][]byte{"with a block under way": under, "with nothing under way": idle} {
		if got, lie := v.say("another", view(mine)); lie || !bytes.Equal(got, view(mine)) {
			t.Errorf("%s: another than the victim is lied to", name)
		}
		got, lie := v.say("victim", view(mine))
		if !lie || !bytes.HasSuffix(got, field(2, other)) {
			t.Errorf("%s: lied: %v; another's account: %x", name, lie, got)
		}
		var raw, sig []byte
		at(got, []protowire.Number{fieldNewView, 2}, func(signed []byte) []byte {
			if field64(signed, 2) == 2 {
				at(signed, []protowire.Number{1}, func(b []byte) []byte { raw = b; return b })
				at(signed, []protowire.Number{3}, func(b []byte) []byte { sig = b; return b })
			}
			return signed
		})
		has := field64(raw, 5) == 1
		if was := name == "with a block under way"; has == was || field64(raw, 1) != 3 {
			t.Errorf("%s: shown is one with a block prepared: %v, for view %d", name, has, field64(raw, 1))
		}
		want, err := v.sign.Sign(ledger.EngineDigest(v.chain, raw))
		if err != nil || !bytes.Equal(sig, want[:]) {
			t.Errorf("%s: the account is not signed as it is: %v", name, err)
		}
	}
}
