package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// someReceipts is a receipt log of n leaves; one below lost cannot be read.
type someReceipts struct {
	n, lost uint64
}

func (s someReceipts) Size() uint64 { return s.n }

func (s someReceipts) Leaf(p uint64) (*ledger.Receipt, []ledger.WriteHash, error) {
	if p >= s.n || p < s.lost {
		return nil, nil, errors.New("a detail of this node's disk")
	}
	w := []ledger.WriteHash{{Key: fmt.Sprintf("access/usage/%d", p), Value: ledger.Sum([]byte("value")).Bytes()}, {Key: "access/zz"}}
	return &ledger.Receipt{TxID: ledger.Sum(fmt.Append(nil, p)), Height: 4, Index: p, Code: "OK", Writes: ledger.HashWrites(w)}, w, nil
}

func serveReceipts(t *testing.T, r Receipts, change func(answer []byte) []byte) *Client {
	t.Helper()
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(2)
	server := newServer(t, newStore(t, c, 2), func(c *ServerConfig) { c.Receipts, c.Rate = r, 1e9 })
	n := newNet()
	n.add(1, func(ctx context.Context, req []byte) ([]byte, error) {
		b, err := server.Handle(ctx, "asker", req)
		if change != nil && err == nil {
			b = change(b)
		}
		return b, err
	})
	return newClient(t, newStore(t, c, 0), n)
}

func TestReceiptsComeInPagesAndWithTheirWrites(t *testing.T) {
	log := someReceipts{n: 2500}
	c := serveReceipts(t, log, nil)
	for at := uint64(3); at < log.n; {
		page, err := c.Receipts(t.Context(), name(1), at, 5000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > maxReceipts {
			t.Fatalf("%d came at once", len(page))
		}
		for _, r := range page {
			want, writes, err := log.Leaf(at)
			if err != nil {
				t.Fatal(err)
			}
			if r.LeafHash() != want.LeafHash() {
				t.Fatalf("receipt %d is %+v", at, r)
			}
			if at%500 == 0 {
				got, err := c.Writes(t.Context(), name(1), at)
				if err != nil || ledger.HashWrites(got) != want.Writes || len(got) != len(writes) {
					t.Fatalf("the writes of %d are %v, %v", at, got, err)
				}
			}
			at++
		}
	}
}

func TestReceiptsThatCannotBeHadAreErrors(t *testing.T) {
	whole := someReceipts{n: 9}
	other := encode(&writesAnswer{tagWritesAnswer, 4, nil})
	for what, c := range map[string]*Client{
		"no log":      serveReceipts(t, nil, nil),
		"damaged log": serveReceipts(t, someReceipts{n: 9, lost: 9}, nil),
		"garbage":     serveReceipts(t, whole, func([]byte) []byte { return []byte("garbage") }),
		"cut":         serveReceipts(t, whole, func(b []byte) []byte { return b[:len(b)/2] }),
		"no leaf":     serveReceipts(t, whole, func([]byte) []byte { return encode(&receiptsAnswer{tagReceiptsAnswer, 9, [][]byte{[]byte("leaf")}}) }),
		"none":        serveReceipts(t, whole, func([]byte) []byte { return encode(&receiptsAnswer{tagReceiptsAnswer, 9, nil}) }),
		"more than that": serveReceipts(t, whole, func([]byte) []byte {
			return encode(&receiptsAnswer{tagReceiptsAnswer, 9, slices.Repeat([][]byte{(&ledger.Receipt{}).Encode()}, 3)})
		}),
		"other writes": serveReceipts(t, whole, func([]byte) []byte { return other }),
	} {
		if r, err := c.Receipts(t.Context(), name(1), 1, 2); err == nil {
			t.Errorf("%s: %d receipts", what, len(r))
		}
		if w, err := c.Writes(t.Context(), name(1), 1); err == nil {
			t.Errorf("%s: %d writes", what, len(w))
		}
	}
	if _, err := serveReceipts(t, whole, nil).Receipts(t.Context(), name(1), 9, 5); err == nil {
		t.Error("receipts beyond the end came")
	}
	for _, b := range [][]byte{encode(&receiptsAnswer{tagReceiptsAnswer, 1, make([][]byte, maxReceipts+1)}), encode(&writesAnswer{tagWritesAnswer, 1, make([]ledger.WriteHash, maxWrites+1)})} {
		if _, err := decodeReceiptsAnswer(b); err == nil {
			t.Error("too many receipts: accepted")
		}
		if _, err := decodeWritesAnswer(b); err == nil {
			t.Error("too many writes: accepted")
		}
	}
}
