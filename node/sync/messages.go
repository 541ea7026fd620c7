package sync

import (
	"fmt"

	"github.com/assent-network/assent/node/ledger"
	"github.com/ethereum/go-ethereum/rlp"
)

// Bounds of the protocol.
const (
	maxRequest  = 256     // bytes of any request
	maxResponse = 8 << 20 // bytes of any response: what the network allows a frame
	// maxBlocks, maxHeaders and maxConfigs bound the items of one response.
	maxBlocks  = 4096
	maxHeaders = 1024
	maxConfigs = 16
	maxOffers  = 16
	// maxReceipts and maxWrites: leaves of the receipt log, and the writes that one
	// leaf commits to; a transaction writes fewer.
	maxReceipts = 1024
	maxWrites   = 16_384
)

// Every message is an RLP list that starts with its tag.
const (
	tagStatus         = "assent/sync/status/1"
	tagStatusAnswer   = "assent/sync/status-answer/1"
	tagBlocks         = "assent/sync/blocks/1"
	tagBlocksAnswer   = "assent/sync/blocks-answer/1"
	tagHeaders        = "assent/sync/headers/1"
	tagHeadersAnswer  = "assent/sync/headers-answer/1"
	tagConfigs        = "assent/sync/configs/1"
	tagConfigsAnswer  = "assent/sync/configs-answer/1"
	tagOffers         = "assent/sync/snapshots/1"
	tagOffersAnswer   = "assent/sync/snapshots-answer/1"
	tagPiece          = "assent/sync/snapshot-piece/1"
	tagPieceAnswer    = "assent/sync/snapshot-piece-answer/1"
	tagReceipts       = "assent/sync/receipts/1"
	tagReceiptsAnswer = "assent/sync/receipts-answer/1"
	tagWrites         = "assent/sync/writes/1"
	tagWritesAnswer   = "assent/sync/writes-answer/1"
	maxTag            = 40
	maxStatusBytes    = 512
	maxCertifiedBytes = 17 << 10
)

// statusRequest asks where a node stands.
type statusRequest struct {
	Tag   string
	Nonce ledger.Hash
}

// statusAnswer holds a ledger.Status and the node's highest header with its
// certificate, so that the height proves itself; Tip is empty at genesis.
type statusAnswer struct {
	Tag    string
	Status []byte
	Tip    []byte
}

// blocksRequest asks for the blocks from a height on, up to about MaxBytes but
// at least one. With none there, the server may wait up to WaitMillis for one.
type blocksRequest struct {
	Tag        string
	From       ledger.Height
	MaxBytes   uint64
	WaitMillis uint64
}

// blocksAnswer holds consecutive blocks from the height asked for on; none if
// the server has none. Tip is the server's highest height. Base, if it is there,
// is the height from which on the server has all blocks: it has no block asked
// for below it.
type blocksAnswer struct {
	Tag    string
	Tip    ledger.Height
	Blocks []blockItem
	Base   ledger.Height `rlp:"optional"`
}

type blockItem struct {
	Block       []byte // ledger.Block
	Certificate []byte // ledger.Certificate
}

// headersRequest asks for certified headers from a height on.
type headersRequest struct {
	Tag  string
	From ledger.Height
	Max  uint64
}

type headersAnswer struct {
	Tag     string
	Tip     ledger.Height
	Headers [][]byte // ledger.CertifiedHeader, consecutive
}

// configsRequest asks for the config blocks that bring From and the following
// configs.
type configsRequest struct {
	Tag  string
	From uint64
	Max  uint64
}

type configsAnswer struct {
	Tag    string
	Newest uint64
	Proofs [][]byte // ledger.ConfigProof, consecutive
}

// offersRequest asks which snapshots a node has.
type offersRequest struct{ Tag string }

// offersAnswer lists them, newest first. Base is as in blocksAnswer, 0 for all;
// Records is the height of the first block whose access records are all kept.
type offersAnswer struct {
	Tag       string
	Base      ledger.Height
	Snapshots []Offer
	Records   ledger.Height `rlp:"optional"`
}

// Offer is a snapshot that a peer says to have. Nothing of it is checked.
type Offer struct {
	Height   ledger.Height // after which it shows the state
	ID       ledger.Hash   // of its content
	Manifest uint64        // bytes of the manifest
	Bytes    uint64        // of all chunks
}

// pieceRequest asks for up to Max bytes of the manifest (Part 0) or of chunk
// Part−1 of a snapshot, from Offset on.
type pieceRequest struct {
	Tag      string
	Snapshot ledger.Hash
	Part     uint64
	Offset   uint64
	Max      uint64
}

type pieceAnswer struct {
	Tag  string
	Data []byte
}

// receiptsRequest asks for leaves of the receipt log from a position on.
type receiptsRequest struct {
	Tag  string
	From uint64
	Max  uint64
}

// receiptsAnswer holds consecutive leaves; Size is that of the server's log.
type receiptsAnswer struct {
	Tag      string
	Size     uint64
	Receipts [][]byte // ledger.Receipt
}

// writesRequest asks what a leaf of the receipt log commits to.
type writesRequest struct {
	Tag      string
	Position uint64
}

type writesAnswer struct {
	Tag      string
	Position uint64
	Writes   []ledger.WriteHash
}

func encode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic(fmt.Sprintf("sync: encode %T: %v", v, err)) // our own types
	}
	return b
}

// tagOf reads the tag of a message, or "".
func tagOf(b []byte) string {
	body, rest, err := rlp.SplitList(b)
	if err != nil || len(rest) != 0 {
		return ""
	}
	tag, _, err := rlp.SplitString(body)
	if err != nil || len(tag) > maxTag {
		return ""
	}
	return string(tag)
}

// decode reads a message of the tag given.
func decode(b []byte, limit int, tag string, v any) error {
	if len(b) > limit {
		return fmt.Errorf("message of %d bytes, at most %d are allowed", len(b), limit)
	}
	if got := tagOf(b); got != tag {
		return fmt.Errorf("message is %q, want %q", got, tag)
	}
	if err := rlp.DecodeBytes(b, v); err != nil {
		return fmt.Errorf("message %s: %w", tag, err)
	}
	return nil
}

func decodeStatusAnswer(b []byte) (*statusAnswer, error) {
	a := new(statusAnswer)
	if err := decode(b, maxStatusBytes+maxCertifiedBytes+64, tagStatusAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

func decodeBlocksAnswer(b []byte) (*blocksAnswer, error) {
	if err := checkCount(b, maxBlocks); err != nil {
		return nil, err
	}
	a := new(blocksAnswer)
	if err := decode(b, maxResponse, tagBlocksAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

func decodeHeadersAnswer(b []byte) (*headersAnswer, error) {
	if err := checkCount(b, maxHeaders); err != nil {
		return nil, err
	}
	a := new(headersAnswer)
	if err := decode(b, maxResponse, tagHeadersAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

func decodeConfigsAnswer(b []byte) (*configsAnswer, error) {
	if err := checkCount(b, maxConfigs); err != nil {
		return nil, err
	}
	a := new(configsAnswer)
	if err := decode(b, maxResponse, tagConfigsAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

func decodeOffersAnswer(b []byte) (*offersAnswer, error) {
	if err := checkCount(b, maxOffers); err != nil {
		return nil, err
	}
	a := new(offersAnswer)
	if err := decode(b, maxRequest+maxOffers*64, tagOffersAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

func decodePieceAnswer(b []byte) (*pieceAnswer, error) {
	a := new(pieceAnswer)
	if err := decode(b, maxResponse, tagPieceAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

func decodeReceiptsAnswer(b []byte) (*receiptsAnswer, error) {
	if err := checkCount(b, maxReceipts); err != nil {
		return nil, err
	}
	a := new(receiptsAnswer)
	if err := decode(b, maxResponse, tagReceiptsAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

func decodeWritesAnswer(b []byte) (*writesAnswer, error) {
	if err := checkCount(b, maxWrites); err != nil {
		return nil, err
	}
	a := new(writesAnswer)
	if err := decode(b, maxResponse, tagWritesAnswer, a); err != nil {
		return nil, err
	}
	return a, nil
}

// checkCount looks at the list that is the third element of an answer before
// memory is spent on it: eight million empty items would fit into a frame.
func checkCount(b []byte, limit int) error {
	body, _, err := rlp.SplitList(b)
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	for range 2 {
		if _, _, body, err = rlp.Split(body); err != nil {
			return fmt.Errorf("message: %w", err)
		}
	}
	list, _, err := rlp.SplitList(body)
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	n, err := rlp.CountValues(list)
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if n > limit {
		return fmt.Errorf("message holds %d items, at most %d are allowed", n, limit)
	}
	return nil
}
