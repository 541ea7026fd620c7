package queue

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
)

// twin is the slow, obvious queue.
type twin struct {
	policy      Policy
	maxN, maxB  int
	msgs        [][]byte
	epoch       Epoch
	sent, drops uint64
}

func (q *twin) bytes() (n int) {
	for _, m := range q.msgs {
		n += len(m)
	}
	return n
}

func (q *twin) clear() {
	if len(q.msgs) > 0 {
		q.drops += uint64(len(q.msgs))
		q.msgs = nil
		q.epoch++
	}
}

func (q *twin) push(m []byte) bool {
	if len(q.msgs)+1 <= q.maxN && q.bytes()+len(m) <= q.maxB {
		q.msgs = append(q.msgs, m)
		return true
	}
	q.drops++
	if q.policy == DropAll {
		q.drops += uint64(len(q.msgs))
		q.msgs = nil
		q.epoch++
	}
	return false
}

func TestQueueAgreesWithItsTwin(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		policy := Policy(seed % 2)
		maxN, maxB := 1+rng.IntN(3000), 1000+rng.IntN(100_000)
		q, w := New(policy, maxN, maxB), &twin{policy: policy, maxN: maxN, maxB: maxB}
		var peeked int
		var epoch Epoch
		for step := range 5_000 {
			switch op := rng.IntN(100); {
			case op < 60:
				msg := make([]byte, rng.IntN(200))
				if got, want := q.Push(msg), w.push(msg); got != want {
					t.Fatalf("seed %d step %d: Push %v, want %v", seed, step, got, want)
				}
			case op < 75:
				n, size := 1+rng.IntN(300), rng.IntN(20_000)
				var msgs [][]byte
				msgs, epoch = q.Peek(nil, n, size)
				peeked = len(msgs)
				checkPeek(t, w, msgs, n, size)
			case op < 99:
				n := rng.IntN(peeked + 1)
				ok := q.Done(n, epoch)
				if want := epoch == w.epoch; ok != want {
					t.Fatalf("seed %d step %d: Done %v, want %v", seed, step, ok, want)
				}
				if ok {
					w.msgs, w.sent = w.msgs[n:], w.sent+uint64(n)
				}
				peeked = 0
			default:
				q.Clear()
				w.clear()
			}
			want := Stats{Messages: len(w.msgs), Bytes: w.bytes(), Sent: w.sent, Dropped: w.drops}
			if got := q.Stats(); got != want || q.Epoch() != w.epoch {
				t.Fatalf("seed %d step %d: %+v, want %+v", seed, step, got, want)
			}
			if want.Messages > maxN || want.Bytes > maxB {
				t.Fatalf("seed %d step %d: over the limits: %+v", seed, step, want)
			}
		}
	}
}

func checkPeek(t *testing.T, w *twin, msgs [][]byte, n, size int) {
	t.Helper()
	if len(w.msgs) > 0 && len(msgs) == 0 || len(msgs) > n {
		t.Fatalf("Peek returned %d of %d messages, asked for %d", len(msgs), len(w.msgs), n)
	}
	total := 0
	for i, m := range msgs {
		if i > 0 && total >= size {
			t.Fatalf("Peek returned a message beyond %d bytes", size)
		}
		if !bytes.Equal(m, w.msgs[i]) || (len(m) > 0 && &m[0] != &w.msgs[i][0]) {
			t.Fatalf("message %d is another, or a copy", i)
		}
		total += len(m)
	}
}

func TestConsumerIsWokenAndSeesEachProducersOrder(t *testing.T) {
	q := New(DropNew, 1_000_000, 1<<30)
	const producers, count = 4, 5000
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range count {
				msg := make([]byte, 8)
				binary.BigEndian.PutUint32(msg, uint32(p))
				binary.BigEndian.PutUint32(msg[4:], uint32(i))
				if !q.Push(msg) {
					t.Error("refused")
				}
			}
		})
	}
	var next [producers]uint32
	for got := 0; got < producers*count; {
		msgs, epoch := q.Peek(nil, 100, 1<<20)
		if len(msgs) == 0 {
			<-q.Wake()
			continue
		}
		for _, m := range msgs {
			p, i := binary.BigEndian.Uint32(m), binary.BigEndian.Uint32(m[4:])
			if i != next[p] {
				t.Fatalf("producer %d: message %d, want %d", p, i, next[p])
			}
			next[p]++
		}
		q.Done(len(msgs), epoch)
		got += len(msgs)
	}
	wg.Wait()
}
