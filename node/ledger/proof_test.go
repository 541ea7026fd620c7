package ledger_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

func TestStateProofsAgreeWithTheDefinition(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 17, 300} {
		rows := manyRecords(n)
		s := newRecords(t, rows)
		twin := map[ledger.Hash][]byte{}
		for key, value := range rows {
			twin[ledger.TrieKey(key)] = twinHash(value)
		}
		if want := ledger.Hash(twinTrieRoot(twin)); s.root != want {
			t.Fatalf("root of %d records is %s, want %s", n, s.root, want)
		}
		for i := range n + 5 {
			key := fmt.Sprintf("consent/rec/c%d", i)
			p := s.prove(t, key)
			if p.Present != (i < n) {
				t.Fatalf("%s: present %t", key, p.Present)
			}
			if err := p.Verify(s.root); err != nil {
				t.Errorf("%d records: %v", n, err)
			}
			back, err := ledger.DecodeStateProof(p.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if err := back.Verify(s.root); err != nil {
				t.Errorf("decoded: %v", err)
			}
			if err := p.Verify(ledger.Sum(s.root[:])); err == nil {
				t.Errorf("%s holds under another root", key)
			}
		}
	}
}

func TestStateProofIsRefused(t *testing.T) {
	s := newRecords(t, manyRecords(50))
	bad := badStateProofs(s.prove(t, "consent/rec/c7"), s.prove(t, "consent/rec/c77"))
	for what, p := range bad {
		if err := p.Verify(s.root); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	empty := newRecords(t, nil)
	if empty.root != ledger.EmptyStateRoot {
		t.Fatalf("empty root is %s", empty.root)
	}
	for what, p := range map[string]*ledger.StateProof{
		"a record in the empty state": {Key: "consent/rec/c7", Present: true, Value: []byte("x")},
		"nodes of the empty state":    {Key: "consent/rec/c7", Nodes: [][]byte{{0x80}}},
	} {
		if err := p.Verify(empty.root); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

// TestChangedStateProofsNeverHold flips bytes of proofs at random.
func TestChangedStateProofsNeverHold(t *testing.T) {
	s := newRecords(t, manyRecords(100))
	rnd := rand.New(rand.NewPCG(3, 1))
	for i := range 400 {
		p := s.prove(t, fmt.Sprintf("consent/rec/c%d", rnd.IntN(150)))
		n := rnd.IntN(len(p.Nodes))
		p.Nodes[n] = bytes.Clone(p.Nodes[n])
		p.Nodes[n][rnd.IntN(len(p.Nodes[n]))] ^= byte(1 + rnd.IntN(255))
		if err := p.Verify(s.root); err == nil {
			t.Fatalf("change %d of node %d of %s: accepted", i, n, p.Key)
		}
	}
}

// receiptLog is a log of receipts and the header that certifies it.
func receiptLog(n int) ([]*ledger.ReceiptProof, *ledger.Header) {
	proofs := make([]*ledger.ReceiptProof, n)
	leaves := make([][]byte, n)
	for i := range proofs {
		writes := ledger.HashedWrites([]ledger.Write{
			{Key: fmt.Sprintf("access/log/request/%d", i), Value: []byte("PERMIT")},
			{Key: "consent/rec/gone", Delete: true},
		})
		proofs[i] = &ledger.ReceiptProof{
			Receipt: ledger.Receipt{
				TxID: ledger.Sum([]byte{byte(i)}), Height: ledger.Height(i), Code: "OK",
				Events: ledger.HashEvents(nil), Writes: ledger.HashWrites(writes),
			},
			Writes: writes,
		}
		leaves[i] = proofs[i].Receipt.Encode()
	}
	for i, p := range proofs {
		p.Log = ledger.LogProof{Index: uint64(i), Size: uint64(n), Hashes: logPath(i, leaves)}
	}
	return proofs, &ledger.Header{Height: 9, ReceiptsRoot: ledger.Hash(twinLogRoot(leaves)), ReceiptsSize: uint64(n)}
}

func TestReceiptProofHoldsWithItsWholeWriteSet(t *testing.T) {
	proofs, h := receiptLog(11)
	for i, p := range proofs {
		b := p.Encode()
		back, err := ledger.DecodeReceiptProof(b)
		if err != nil || !bytes.Equal(back.Encode(), b) {
			t.Fatalf("proof %d: %v", i, err)
		}
		if err := back.Verify(h); err != nil {
			t.Fatalf("proof %d: %v", i, err)
		}
		key := fmt.Sprintf("access/log/request/%d", i)
		if !back.Wrote(key, []byte("PERMIT")) || back.Wrote(key, []byte("DENY")) || back.Wrote("access/log/other", []byte("PERMIT")) || back.Wrote("consent/rec/gone", nil) {
			t.Errorf("proof %d shows other writes than were made", i)
		}
	}
	for what, tt := range map[string]struct {
		change func(p *ledger.ReceiptProof)
		want   string
	}{
		"a write more":       {func(p *ledger.ReceiptProof) { p.Writes = append(p.Writes[:2:2], ledger.WriteHash{Key: "z/1"}) }, "write set"},
		"a write less":       {func(p *ledger.ReceiptProof) { p.Writes = p.Writes[:1] }, "write set"},
		"another code":       {func(p *ledger.ReceiptProof) { p.Receipt.Code = "FORBIDDEN" }, "log proof"},
		"another place":      {func(p *ledger.ReceiptProof) { p.Log.Index++ }, "log proof"},
		"a log of its own":   {func(p *ledger.ReceiptProof) { p.Log = ledger.LogProof{Size: 1} }, "header 9 certifies 11"},
		"writes of another":  {func(p *ledger.ReceiptProof) { p.Writes = proofs[5].Writes }, "write set"},
		"receipt of another": {func(p *ledger.ReceiptProof) { p.Receipt, p.Writes = proofs[5].Receipt, proofs[5].Writes }, "log proof"},
	} {
		p := *proofs[3]
		tt.change(&p)
		if err := p.Verify(h); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", what, err, tt.want)
		}
	}
}

func TestKeysAreSplitAndKeptByTheirSegments(t *testing.T) {
	for key, want := range map[string]ledger.Keeping{
		"consent/rec/1": ledger.KeepRecord, "consent/log/1": ledger.KeepLog, "consent/ix/1": ledger.KeepIndex,
		"consent/log": ledger.KeepRecord, "consent/logs/1": ledger.KeepRecord, "log/x": ledger.KeepRecord, "ix/ix/": ledger.KeepIndex,
	} {
		if got := ledger.KeepingOf(key); got != want {
			t.Errorf("%s is kept as %d, want %d", key, got, want)
		}
	}
	for _, key := range []string{"", "consent", "/rest", "consent/"} {
		if _, _, err := ledger.SplitKey(key); err == nil {
			t.Errorf("key %q was split", key)
		}
	}
	contract, rest, err := ledger.SplitKey("consent/rec/1")
	if err != nil || contract != "consent" || rest != "rec/1" {
		t.Errorf("split into %q and %q, %v", contract, rest, err)
	}
}

func TestOversizedAndOverfullObjectsAreRefused(t *testing.T) {
	many := func(n int) []any {
		l := make([]any, n)
		for i := range l {
			l[i] = []byte{}
		}
		return l
	}
	c := ledgertest.NewChain(ledgertest.Config(1)).Grow(1)
	for what, err := range map[string]error{
		"a transaction of 256 KiB and more": second(ledger.DecodeTransaction(make([]byte, ledger.MaxRequestBytes+1))),
		"a transaction of many arguments":   second(ledger.DecodeTransaction(twinRLP([]any{payloadWith(many(200_000)), make([]byte, 65)}))),
		"an update of 256 KiB and more":     second(ledger.DecodeUpdate(make([]byte, ledger.MaxRequestBytes+1))),
		"an update of many approvals":       second(ledger.DecodeUpdate(twinRLP([]any{[]any{}, many(ledger.MaxMembers + 1)}))),
		"a config of 128 KiB and more":      second(ledger.DecodeConfig(make([]byte, ledger.MaxConfigBytes+1))),
		"a seal of a kilobyte":              second(ledger.DecodeSeal(make([]byte, 1024))),
		"a status of a kilobyte":            second(ledger.DecodeStatus(make([]byte, 1024))),
		"a header of 2 KiB":                 second(ledger.DecodeHeader(make([]byte, 2048))),
		"a receipt of a kilobyte":           second(ledger.DecodeReceipt(make([]byte, 1024))),
		"a certificate of 32 KiB":           second(ledger.DecodeCertificate(make([]byte, 32<<10))),
		"a block of 8 MiB":                  second(ledger.DecodeBlock(make([]byte, 8<<20))),
		"a block of many requests":          second(ledger.DecodeBlock(twinRLP([]any{headerList(headerFields(&c.Tip().Header)), many(2_000_000), ""}))),
		"many requests":                     second(ledger.DecodeRequests(twinRLP(many(ledger.MaxBlockRequests + 1)))),
		"a state proof of many nodes":       second(ledger.DecodeStateProof(twinRLP([]any{"consent/rec/1", "", "", many(66)}))),
		"a state proof of 2 MiB":            second(ledger.DecodeStateProof(make([]byte, 2<<20))),
		"a receipt proof of 2 MiB":          second(ledger.DecodeReceiptProof(make([]byte, 2<<20))),
		"a config proof of 2 MiB":           second(ledger.DecodeConfigProof(make([]byte, 2<<20))),
		"a certified header of 32 KiB":      second(ledger.DecodeCertifiedHeader(make([]byte, 32<<10))),
	} {
		if err == nil || !strings.Contains(err.Error(), "more than the limit") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func payloadWith(args []any) []any {
	l := payloadList(vectorPayload())
	l[6] = args
	return l
}
