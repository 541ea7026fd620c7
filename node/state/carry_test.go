package state

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// carried is what a snapshot carries of an outcome, the plain way.
func (r *outcomeRow) carried() *carried {
	return &carried{TxID: r.TxID, Height: r.Height, Index: r.Index, Code: r.Code, Logs: r.Logs, Writes: r.Writes, Events: r.Events}
}

// Copying the fields of a stored row gives the bytes that taking it apart and
// encoding it would, for every shape that a row has.
func TestCarriedCopyIsWhatEncodingGives(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	text := func(most int) []byte { return bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(most)) }
	var buf []byte
	for range 2_000 {
		r := &outcomeRow{
			TxID: ledger.Sum(text(9)), Height: ledger.Height(rnd.Uint64() >> rnd.IntN(64)), Index: rnd.Uint64() >> rnd.IntN(64), Time: rnd.Uint64() >> rnd.IntN(64),
			Code: string(text(20)), Message: string(text(100)), Payload: text(300),
		}
		for range rnd.IntN(4) {
			r.Logs = append(r.Logs, text(1+rnd.IntN(70_000)))
			r.Writes = append(r.Writes, storedWrite{strings.Repeat("k", rnd.IntN(90)), text(33)})
			r.Events = append(r.Events, storedEvent{"c", string(text(60)), rnd.Uint64() >> rnd.IntN(64), text(400)})
		}
		if rnd.IntN(2) == 0 {
			r.Same = unknownPayload
		}
		want, err := rlp.EncodeToBytes(r.carried())
		if err != nil {
			t.Fatal(err)
		}
		if buf, err = appendCarried(buf[:0], 1, encodeRow(r)); err != nil || !bytes.Equal(buf, want) {
			t.Fatalf("%+v is carried as %x, %v; want %x", r, buf, err, want)
		}
	}
	if buf, err := appendCarried(nil, 1, encodeRow(&outcomeRow{})); err != nil {
		t.Fatal(err)
	} else if want, _ := rlp.EncodeToBytes(new(outcomeRow).carried()); !bytes.Equal(buf, want) {
		t.Fatalf("an empty row is carried as %x, want %x", buf, want)
	}
}

func TestDamagedRowIsNotCarried(t *testing.T) {
	good := encodeRow(&outcomeRow{Code: "OK", Events: []storedEvent{{"c", "n", 0, []byte("payload")}}})
	pruned := encodeRow(&prunedRow{Code: "OK"})
	for name, row := range map[string][]byte{
		"missing": nil, "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0), "a string": {0x83, 1, 2, 3},
		"another row": pruned, "fields of other kinds": encodeRow([]string{"", "", "", "", "", "", "", "", "", ""}),
		"more fields": encodeRow([]any{"", "", "", "", "", "", []string{}, []string{}, []string{}, "", "", ""}),
		"fewer":       encodeRow([]any{"", "", "", "", "", "", []string{}, []string{}, []string{}}),
	} {
		if out, err := appendCarried(nil, 1, row); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: carried as %x, %v; want %v", name, out, err, ErrCorrupt)
		}
	}
}
