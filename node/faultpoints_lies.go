//go:build faultpoints

package node

import (
	"github.com/ethereum/go-ethereum/rlp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/assent-network/assent/node/ledger"
)

// The first byte of the ordering library's messages, and where a proposal is in
// them. Its types are consensus/bft's alone; a liar needs four numbers.
const (
	tagPrePrepare = 1<<3 | 2
	tagPrepare    = 2<<3 | 2
	tagCommit     = 3<<3 | 2

	fieldPrePrepare, fieldProposal   = 1, 3
	fieldHeader, fieldPayload        = 1, 2
	fieldCommit, fieldCommitedDigest = 3, 3
	fieldViewChange                  = 4
)

// at replaces the bytes of a field, which is found by the numbers of those around
// it. A message without it stays as it is.
func at(msg []byte, path []protowire.Number, change func([]byte) []byte) []byte {
	if len(path) == 0 {
		return change(msg)
	}
	var out []byte
	for rest := msg; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return msg
		}
		m := protowire.ConsumeFieldValue(num, typ, rest[n:])
		if m < 0 {
			return msg
		}
		if num == path[0] && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(rest[n:])
			out = protowire.AppendTag(out, num, typ)
			out = protowire.AppendBytes(out, at(value, path[1:], change))
		} else {
			out = append(out, rest[:n+m]...)
		}
		rest = rest[n+m:]
	}
	return out
}

func header(msg []byte, change func(h *ledger.Header)) []byte {
	return at(msg, []protowire.Number{fieldPrePrepare, fieldProposal, fieldHeader}, func(b []byte) []byte {
		h, err := ledger.DecodeHeader(b)
		if err != nil {
			return b
		}
		change(h)
		return h.Encode()
	})
}

func otherTime(msg []byte) []byte { return header(msg, func(h *ledger.Header) { h.Time++ }) }

func otherRoot(msg []byte) []byte { return header(msg, func(h *ledger.Header) { h.StateRoot[0] ^= 1 }) }

func otherBatch(msg []byte) []byte {
	return at(msg, []protowire.Number{fieldPrePrepare, fieldProposal, fieldPayload}, func(b []byte) []byte {
		b = append([]byte(nil), b...)
		if len(b) > 0 {
			b[len(b)/2] ^= 1
		}
		return b
	})
}

func otherVote(msg []byte) []byte {
	return at(msg, []protowire.Number{fieldCommit, fieldCommitedDigest}, func(b []byte) []byte {
		b = append([]byte(nil), b...)
		if len(b) > 0 {
			b[0] ^= 1 // of a hex digit: still one
		}
		return b
	})
}

// otherSignature leaves a request's payload, and so its identity, as it is.
func otherSignature(req []byte) []byte {
	tx, err := ledger.DecodeTransaction(req)
	if err != nil {
		return req
	}
	tx.Sig[5] ^= 1
	return tx.Encode()
}

// firstHalf turns the request for the beginning of a snapshot's chunk into one for
// 512 bytes; more is false for one that goes on from there. Requests for manifests
// stay as they are.
func firstHalf(req []byte) (half []byte, more bool) {
	var r struct { // sync.pieceRequest
		Tag               string
		Snapshot          ledger.Hash
		Part, Offset, Max uint64
	}
	if rlp.DecodeBytes(req, &r) != nil || r.Part == 0 {
		return req, true
	}
	r.Max = min(r.Max, 512)
	half, err := rlp.EncodeToBytes(&r)
	return half, err == nil && r.Offset == 0
}

// complaint asks for a view, as a replica does whose leader does nothing.
func complaint(view uint64) []byte {
	next := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), view)
	return protowire.AppendBytes(protowire.AppendTag(nil, fieldViewChange, protowire.BytesType), next)
}
