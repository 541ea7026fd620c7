package sync

import (
	"bytes"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// seeds are one of every message.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	c := ledgertest.NewChain(ledgertest.Config(1)).Grow(2)
	c.Reconfigure(func(c *ledger.Config) { c.Limits.MaxExecLag-- })
	s := newStore(t, c, 3)
	h := serve(t, s, 1, tipOf(s))
	out := [][]byte{
		encode(&statusRequest{Tag: tagStatus, Nonce: newNonce()}),
		encode(&blocksRequest{tagBlocks, 1, 1000, 0}),
		encode(&headersRequest{tagHeaders, 1, 10}),
		encode(&configsRequest{tagConfigs, 1, 10}),
		encode(&offersRequest{tagOffers}),
	}
	for _, req := range out[:5] {
		b, err := h(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return append(out,
		encode(&pieceRequest{tagPiece, ledger.Hash{1}, 2, 3, 4}), encode(&pieceAnswer{tagPieceAnswer, []byte("piece")}),
		encode(&receiptsRequest{tagReceipts, 1, 2}), encode(&receiptsAnswer{tagReceiptsAnswer, 3, [][]byte{(&ledger.Receipt{Code: "OK"}).Encode()}}),
		encode(&writesRequest{tagWrites, 1}), encode(&writesAnswer{tagWritesAnswer, 1, []ledger.WriteHash{{Key: "a/b", Value: []byte{1}}, {Key: "a/c"}}}),
		encode(&offersAnswer{tagOffersAnswer, 3, []Offer{{1, ledger.Hash{2}, 3, 4}}, 2}))
}

// FuzzMessages checks that no message makes a decoder or the server panic and
// that whatever is decoded has one encoding.
func FuzzMessages(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	c := ledgertest.NewChain(ledgertest.Config(1)).Grow(2)
	blocks := newStore(f, c, 2)
	server, err := NewServer(ServerConfig{Store: blocks, Rate: 1e9})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, v any, err error) {
			if err == nil && !bytes.Equal(encode(v), b) {
				t.Errorf("%s: decoding and encoding changes it", what)
			}
		}
		for tag, v := range map[string]any{
			tagStatus: new(statusRequest), tagHeaders: new(headersRequest), tagConfigs: new(configsRequest),
			tagOffers: new(offersRequest), tagPiece: new(pieceRequest),
			tagReceipts: new(receiptsRequest), tagWrites: new(writesRequest),
		} {
			same(tag, v, decode(b, maxRequest, tag, v))
		}
		var r blocksRequest
		err := decode(b, maxRequest, tagBlocks, &r)
		same(tagBlocks, &r, err)
		if oa, err := decodeOffersAnswer(b); err == nil {
			same("offers answer", oa, nil)
		}
		if pa, err := decodePieceAnswer(b); err == nil {
			same("piece answer", pa, nil)
		}
		if ra, err := decodeReceiptsAnswer(b); err == nil {
			same("receipts answer", ra, nil)
		}
		if wa, err := decodeWritesAnswer(b); err == nil {
			same("writes answer", wa, nil)
		}
		if sa, err := decodeStatusAnswer(b); err == nil {
			same(tagStatusAnswer, sa, nil)
			_, _, _ = checkStatus(blocks, b, newNonce())
		}
		ba, err := decodeBlocksAnswer(b)
		same(tagBlocksAnswer, ba, err)
		if err == nil {
			for i, item := range ba.Blocks {
				c := checkUnder(item, blocks.Tip().Height+1, blocks.Tip().Config)
				_ = c.place(blocks.Tip())
				if i == 4 {
					break
				}
			}
		}
		ha, err := decodeHeadersAnswer(b)
		same(tagHeadersAnswer, ha, err)
		ca, err := decodeConfigsAnswer(b)
		same(tagConfigsAnswer, ca, err)
		if r.WaitMillis == 0 { // a long wait is a valid answer, too
			_, _ = server.Handle(t.Context(), "p", b)
		}
	})
}

func TestAnswersWithTooManyItemsAreRefusedBeforeTheyAreDecoded(t *testing.T) {
	a := &blocksAnswer{Tag: tagBlocksAnswer, Blocks: make([]blockItem, maxBlocks+1)}
	if _, err := decodeBlocksAnswer(encode(a)); err == nil {
		t.Error("too many blocks: accepted")
	}
	h := &headersAnswer{Tag: tagHeadersAnswer, Headers: make([][]byte, maxHeaders+1)}
	if _, err := decodeHeadersAnswer(encode(h)); err == nil {
		t.Error("too many headers: accepted")
	}
	p := &configsAnswer{Tag: tagConfigsAnswer, Proofs: make([][]byte, maxConfigs+1)}
	if _, err := decodeConfigsAnswer(encode(p)); err == nil {
		t.Error("too many proofs: accepted")
	}
	if _, err := decodeBlocksAnswer(make([]byte, maxResponse+1)); err == nil {
		t.Error("too many bytes: accepted")
	}
}
