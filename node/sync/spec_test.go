package sync

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/google/go-cmp/cmp"

	"github.com/assent-network/assent/node/ledger"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/vectors.json; read the diff")

type messageVector struct {
	Tag     string `json:"tag"`
	Message any    `json:"message"` // its elements after the tag; byte strings as 0x-hex
	Bytes   string `json:"bytes"`
}

// sampleMessages are one of each kind, and their elements as SPEC.md has them.
func sampleMessages() []struct {
	tag      string
	message  any
	elements []any
} {
	nonce := ledger.Hash{1, 31: 2}
	b := func(s string) []byte { return []byte(s) }
	return []struct {
		tag      string
		message  any
		elements []any
	}{
		{tagStatus, &statusRequest{tagStatus, nonce}, []any{nonce[:]}},
		{tagStatusAnswer, &statusAnswer{tagStatusAnswer, b("status"), b("header")}, []any{b("status"), b("header")}},
		{tagBlocks, &blocksRequest{tagBlocks, 7, 1 << 20, 2_000}, []any{uint64(7), uint64(1 << 20), uint64(2_000)}},
		{tagBlocksAnswer, &blocksAnswer{tagBlocksAnswer, 9, []blockItem{{b("block 7"), b("votes 7")}, {b("block 8"), b("votes 8")}}, 0},
			[]any{uint64(9), []any{[]any{b("block 7"), b("votes 7")}, []any{b("block 8"), b("votes 8")}}}},
		{tagBlocksAnswer, &blocksAnswer{tagBlocksAnswer, 9, nil, 5}, []any{uint64(9), []any{}, uint64(5)}},
		{tagHeaders, &headersRequest{tagHeaders, 7, 1_024}, []any{uint64(7), uint64(1_024)}},
		{tagHeadersAnswer, &headersAnswer{tagHeadersAnswer, 300, [][]byte{b("header 7")}}, []any{uint64(300), []any{b("header 7")}}},
		{tagConfigs, &configsRequest{tagConfigs, 1, 16}, []any{uint64(1), uint64(16)}},
		{tagConfigsAnswer, &configsAnswer{tagConfigsAnswer, 2, [][]byte{b("proof 1"), b("proof 2")}}, []any{uint64(2), []any{b("proof 1"), b("proof 2")}}},
		{tagOffers, &offersRequest{tagOffers}, []any{}},
		{tagOffersAnswer, &offersAnswer{Tag: tagOffersAnswer, Base: 5, Snapshots: []Offer{{40, nonce, 700, 9_000}}}, []any{uint64(5), []any{[]any{uint64(40), nonce[:], uint64(700), uint64(9_000)}}}},
		{tagPiece, &pieceRequest{tagPiece, nonce, 1, 1 << 20, 512}, []any{nonce[:], uint64(1), uint64(1 << 20), uint64(512)}},
		{tagPieceAnswer, &pieceAnswer{tagPieceAnswer, b("bytes")}, []any{b("bytes")}},
		{tagReceipts, &receiptsRequest{tagReceipts, 70, 1_024}, []any{uint64(70), uint64(1_024)}},
		{tagReceiptsAnswer, &receiptsAnswer{tagReceiptsAnswer, 72, [][]byte{b("receipt 70"), b("receipt 71")}}, []any{uint64(72), []any{b("receipt 70"), b("receipt 71")}}},
		{tagWrites, &writesRequest{tagWrites, 70}, []any{uint64(70)}},
		{tagWritesAnswer, &writesAnswer{tagWritesAnswer, 70, []ledger.WriteHash{{Key: "access/usage/1", Value: nonce[:]}, {Key: "consent/ix/1"}}},
			[]any{uint64(70), []any{[]any{b("access/usage/1"), nonce[:]}, []any{b("consent/ix/1"), b("")}}}},
	}
}

// plain turns byte strings into hex, for people and JSON.
func plain(v any) any {
	switch v := v.(type) {
	case []byte:
		return "0x" + hex.EncodeToString(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case uint64:
		return float64(v) // as JSON reads it
	}
	return v
}

// The messages are the bytes that SPEC.md describes and testdata publishes.
func TestPublishedMessages(t *testing.T) {
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []messageVector
	for _, m := range sampleMessages() {
		if !strings.Contains(string(spec), `"`+m.tag+`"`) {
			t.Errorf("SPEC.md does not name %s", m.tag)
		}
		byHand, err := rlp.EncodeToBytes(append([]any{m.tag}, m.elements...))
		if err != nil {
			t.Fatal(err)
		}
		ours := encode(m.message)
		if diff := cmp.Diff(byHand, ours); diff != "" {
			t.Errorf("%s (-SPEC +code):\n%s", m.tag, diff)
		}
		got = append(got, messageVector{m.tag, plain(m.elements), "0x" + hex.EncodeToString(ours)})
	}
	const path = "testdata/vectors.json"
	if *rewrite {
		data, err := json.MarshalIndent(got, "", "  ")
		if err == nil {
			err = os.WriteFile(path, append(data, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []messageVector
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("published vectors (-published +now):\n%s", diff)
	}
}
