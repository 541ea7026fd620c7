package store

import (
	"encoding/binary"
	"fmt"

	"github.com/assent-network/assent/node/ledger"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// Every key of blocks/:
//
//	'a' ‖ "format"          → RLP [version, chain id, genesis config]
//	'a' ‖ "base"            → RLP [base, swept, fill from, fill next, freed], once a body is missing; see base.go
//	'c' ‖ seq:8             → height:8 of the block that brought config seq; none for genesis
//	'h' ‖ height:8 ‖ 1      → header hash:32 ‖ header
//	'h' ‖ height:8 ‖ 2      → the elements of the block's RLP list after the header; below base of config blocks alone
//	'h' ‖ height:8 ‖ 3      → certificate; none for genesis
//
// Integers are big-endian. Rows of one height are neighbours, and an ordinary
// block adds rows behind all others and changes none: tables do not overlap, so
// that compaction moves them instead of writing every block again.
const (
	formatVersion = 2

	prefixAbout  = 'a'
	prefixConfig = 'c'
	prefixHeight = 'h'

	rowHeader      = 1
	rowBody        = 2
	rowCertificate = 3
)

var (
	keyFormat = []byte{prefixAbout, 'f', 'o', 'r', 'm', 'a', 't'}
	keyBase   = []byte{prefixAbout, 'b', 'a', 's', 'e'}
)

type format struct {
	Version uint64
	ChainID ledger.Hash
	Genesis []byte
}

func keyOf(h ledger.Height, row byte) []byte {
	k := make([]byte, 0, 10)
	k = append(k, prefixHeight)
	k = binary.BigEndian.AppendUint64(k, uint64(h))
	return append(k, row)
}

func splitKey(k []byte) (h ledger.Height, row byte, ok bool) {
	if len(k) != 10 || k[0] != prefixHeight {
		return 0, 0, false
	}
	return ledger.Height(binary.BigEndian.Uint64(k[1:9])), k[9], true
}

func keyOfConfig(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixConfig}, seq)
}

func rangeOf(prefix byte) *util.Range { return util.BytesPrefix([]byte{prefix}) }

// splitBlock cuts an encoded block into its header and the rest, so that a
// header can be read without the body, and neither is stored twice.
func splitBlock(encoded []byte) (header, body []byte) {
	elems, _, err := rlp.SplitList(encoded)
	if err != nil {
		panic(fmt.Sprintf("store: own encoding of a block: %v", err))
	}
	_, _, body, err = rlp.Split(elems)
	if err != nil {
		panic(fmt.Sprintf("store: own encoding of a block: %v", err))
	}
	return elems[:len(elems)-len(body)], body
}

// joinBlock undoes splitBlock.
func joinBlock(header, body []byte) []byte {
	n := uint64(len(header) + len(body))
	b := make([]byte, 0, n+9)
	switch {
	case n < 56:
		b = append(b, 0xc0+byte(n))
	default:
		size := binary.BigEndian.AppendUint64(nil, n)
		for size[0] == 0 {
			size = size[1:]
		}
		b = append(b, 0xf7+byte(len(size)))
		b = append(b, size...)
	}
	b = append(b, header...)
	return append(b, body...)
}
