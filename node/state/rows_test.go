package state

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/assent-network/assent/node/ledger"
)

func sampleOutcome() (*Outcome, []ledger.Write) {
	writes := []ledger.Write{
		{Key: "a/k", Value: []byte("record")}, {Key: "a/ix/1", Delete: true},
		{Key: "a/log/1", Value: []byte("first")}, {Key: "a/log/2", Value: []byte("second")},
	}
	return &Outcome{
		TxID: ledger.Hash{1}, Height: 7, Index: 2, Position: 40, Time: 99, Code: "OK", Message: "m", Payload: []byte("p"),
		Writes: ledger.HashedWrites(writes),
		Events: []ledger.Event{{Contract: "a", Name: "e", Payload: []byte("second")}, {Contract: "a", Name: "f", Payload: []byte("else")}},
	}, writes
}

// An outcome comes back as it was, though its row does not repeat what stands
// in it already.
func TestOutcomeRowRoundTrip(t *testing.T) {
	o, writes := sampleOutcome()
	b := encodeRow(rowOf(o, writes))
	if n := bytes.Count(b, []byte("second")); n != 1 {
		t.Errorf("the value of a log row stands %d times in its outcome", n)
	}
	row, err := decodeOutcomeRow(40, b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := row.outcome(40)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a decoder accepts it would write the same; nothing makes it panic.
func FuzzRows(f *testing.F) {
	o, writes := sampleOutcome()
	f.Add(encodeRow(rowOf(o, writes)))
	f.Add(encodeRow(&headRow{3, 4, EmptyRoots}))
	f.Add(encodeRow(&metaRow{Version: 1, ChainID: ledger.Hash{9}}))
	f.Add(txRef{1, 2, 3, 4}.encode())
	f.Add(logRef{position: 5, ordinal: 6}.row(nil))
	f.Add(logRef{alone: true}.row([]byte("value")))
	f.Add(make([]byte, 512))
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, got []byte) {
			if !bytes.Equal(got, b) {
				t.Errorf("%s: decoded %x, encoded %x", what, b, got)
			}
		}
		if row, err := decodeOutcomeRow(1, b); err == nil {
			same("outcome", encodeRow(row))
			if o, err := row.outcome(1); err == nil {
				r := o.Receipt()
				_ = r.Encode()
			}
		}
		var h headRow
		if decodeRow("head", b, &h) == nil {
			same("head", encodeRow(&h))
		}
		var m metaRow
		if decodeRow("meta", b, &m) == nil {
			same("meta", encodeRow(&m))
		}
		if r, err := decodeTxRef(b); err == nil {
			same("index", r.encode())
		}
		if r, value, err := decodeLogRow(b); err == nil {
			same("log row", r.row(value))
		}
		if hashes, err := decodeTile(tileID{}, b); err == nil {
			same("tile", encodeTile(hashes))
		}
	})
}

func rowOf(o *Outcome, values []ledger.Write) *outcomeRow {
	r := new(outcomeRow)
	r.fill(o, values)
	return r
}

// A row that was used for another outcome before is written as a new one.
func TestRoomForARowLeavesNothingBehind(t *testing.T) {
	batch := &Outcome{TxID: ledger.Hash{9}, Code: "OK", Message: "a batch", Payload: []byte("p")}
	var values []ledger.Write
	for i := range maxSharedLogs {
		values = append(values, ledger.Write{Key: fmt.Sprintf("access/log/%d", i), Value: []byte{byte(i)}})
	}
	values = append(values, ledger.Write{Key: "access/usage", Value: []byte("u")})
	batch.Writes = ledger.HashedWrites(values)
	batch.Events = []ledger.Event{{Contract: "access", Name: "batch", Payload: []byte("p")}, {Contract: "access", Name: "first", Payload: []byte{0}}}
	used := rowOf(batch, values)
	for _, n := range []int{0, 1, len(values)} {
		for _, o := range []*Outcome{
			{TxID: ledger.Hash{1}, Code: "OK", Writes: ledger.HashedWrites(values[:n]), Events: batch.Events[:min(n, 1)]},
			{TxID: ledger.Hash{2}, Code: "FORBIDDEN", Message: "no", NoPayload: true, Writes: ledger.HashedWrites(values[:n])},
		} {
			used.fill(o, values[:n])
			if got, want := encodeRow(used), encodeRow(rowOf(o, values[:n])); !bytes.Equal(got, want) {
				t.Errorf("%d writes, code %s: % x, want % x", n, o.Code, got, want)
			}
		}
	}
}
