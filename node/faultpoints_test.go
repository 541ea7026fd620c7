//go:build faultpoints

package node

import (
	"bytes"
	"testing"

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
