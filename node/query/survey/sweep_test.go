package survey_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query/survey"
)

func (b *bank) rowsOf(table string) (n int) {
	b.t.Helper()
	must(b.t, b.db.QueryRow(`SELECT count(*) FROM `+table).Scan(&n))
	return n
}

func (b *bank) sweep(want int) {
	b.t.Helper()
	n, err := b.book.Sweep(b.t.Context(), b.now)
	must(b.t, err)
	if n != want {
		b.t.Errorf("%d requests were forgotten, want %d", n, want)
	}
}

// Shares are kept as long as their request can be asked or delivered again, and for the
// time in which an authority may want to see them; then they go, wherever a pass dies.
func TestSharesAreForgottenWhenTheirRequestIsOver(t *testing.T) {
	w := newWorld(t, 1000)
	for i := range w.banks {
		w.part(i)
		w.deliver(i)
	}
	b := w.banks[0]
	first := w.part(0)
	kept := func(shares, counts int) {
		t.Helper()
		if s, c := b.rowsOf("survey_shares"), b.rowsOf("survey_counts"); s != shares || c != counts {
			t.Fatalf("%d shares and %d counts are kept, want %d and %d", s, c, shares, counts)
		}
	}
	kept(1, 2)
	made := b.now
	over := func() { b.now = made.Add(survey.Keep + time.Second) }

	// The time is over, but the request has no outcome here: its permit may come again.
	over()
	b.sweep(0)
	b.open()
	if again := w.part(0); again.Value != answer.ShareValue || !bytes.Equal(again.Carries, first.Carries) {
		t.Fatal("other bytes leave for the same request")
	}
	// It has one, but the time is not over.
	b.finished = map[record.RequestID]bool{w.request.Seats[0].RequestID: true}
	b.now = made.Add(survey.Keep - time.Second)
	b.sweep(0)
	kept(1, 2)

	// A pass that dies before its transaction is on disk leaves all of it, one that dies
	// after it nothing.
	over()
	b.cut = errors.New("the process dies before the commit")
	if _, err := b.book.Sweep(t.Context(), b.now); !errors.Is(err, b.cut) {
		t.Fatalf("error %v", err)
	}
	b.cut = nil
	b.open()
	kept(1, 2)
	b.after = errors.New("the process dies after the commit")
	if _, err := b.book.Sweep(t.Context(), b.now); !errors.Is(err, b.after) {
		t.Fatalf("error %v", err)
	}
	b.after = nil
	b.open()
	kept(0, 0)
	b.sweep(0)

	// Whoever asks the book again all the same gets no second noise, and nobody's count
	// comes back.
	scans := b.scans
	if p, err := b.book.Part(t.Context(), w.permits[0]); p != nil || err == nil || !strings.Contains(err.Error(), "is over") || b.scans != scans {
		t.Errorf("%+v, %v, %d passes over the vault", p, err, b.scans-scans)
	}
	b.now = time.UnixMilli(w.request.Deadline).Add(survey.Keep + time.Second)
	if err := b.book.Take(t.Context(), w.request, "bank-b", w.banks[1].sent[0].Share); !errors.Is(err, survey.ErrRefused) {
		t.Errorf("a count of a request that is forgotten: %v", err)
	}
	kept(0, 0)
}

// A pass looks at a bounded number of requests, and the next goes on behind those that
// must stay.
func TestAPassIsBounded(t *testing.T) {
	w := newWorld(t, 10)
	b := w.banks[0]
	const many, stay = 600, 300
	b.finished = map[record.RequestID]bool{}
	for i := range many {
		id := record.Hash{1, byte(i >> 8), byte(i)}
		if _, err := b.db.Exec(`INSERT INTO survey_counts VALUES (?,?,?,0,?)`, id[:], "bank-b", []byte("share"), begun); err != nil {
			t.Fatal(err)
		}
		if i >= stay {
			b.finished[record.BatchRequestID(id, i%record.MaxCohortBanks)] = true
		}
	}
	b.now = time.UnixMilli(begun).Add(survey.Keep + time.Second)
	b.sweep(0)            // 256 without an outcome
	b.sweep(2*256 - stay) // 44 without one
	b.sweep(many - 2*256) // the last
	b.sweep(0)            // from the beginning: the same 256
	if n := b.rowsOf("survey_counts"); n != stay {
		t.Errorf("%d counts are left, want %d", n, stay)
	}
}
