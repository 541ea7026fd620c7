package chain

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// A key that its member has not registered cannot use up the member's share.
func TestForwardedTransactionNeedsARegisteredKey(t *testing.T) {
	w := newWorld(t)
	asked := 0
	a := w.start(0, t.TempDir(), func(c *Config) {
		c.Registered = func(org string, key ledger.Address) (bool, error) {
			asked++
			return key == w.admin.Address(), nil
		}
	})
	mallory := ledger.NewKeySigner(key(777))
	p := w.register(1).Payload
	p.Key = mallory.Address()
	forged := ledger.NewTransaction(p)
	if err := forged.Sign(mallory); err != nil {
		t.Fatal(err)
	}
	if err := a.Accept(t.Context(), 2, forged.Encode()); !errors.Is(err, ErrStranger) || errors.Is(err, ErrInvalid) {
		t.Errorf("a stranger's transaction in the bank's name: %v, want ErrStranger", err)
	}
	for n := range uint64(3) {
		if err := a.Accept(t.Context(), 2, w.register(10+n).Encode()); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 {
		t.Errorf("the state was asked %d times, want once for each key", asked)
	}
	if got := len(a.eng.taken()); got != 3 {
		t.Errorf("%d requests reached the engine, want 3", got)
	}
	if n := a.Admission(); n.Admitted != 3 || n.Stranger != 1 || n.Members["bank"] != 3 {
		t.Errorf("counters %+v", n)
	}
}

// What is refused for want of room costs no signature check, and is taken when
// there is room again.
func TestAFullShareIsRefusedUncheckedAndRecovers(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir(), func(c *Config) { c.PoolUnits = 600 })
	var reqs [][]byte
	n := uint64(0)
	for ; ; n++ {
		raw := w.register(n).Encode()
		if _, err := a.Submit(t.Context(), raw); err != nil {
			if !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			break
		}
		reqs = append(reqs, raw)
	}
	if len(reqs) < leastShare || len(reqs) > 250 {
		t.Fatalf("%d requests of one member were taken into a pool of 600", len(reqs))
	}
	spoilt := w.register(n)
	spoilt.Sig[3] ^= 1
	_, err := a.Submit(t.Context(), spoilt.Encode())
	var busy *Busy
	if !errors.As(err, &busy) || busy.Org != "bank" || busy.Held != len(reqs) || !strings.Contains(err.Error(), "member bank") {
		t.Errorf("a bad signature in a full share: %v, want to be refused before it is checked", err)
	}
	if err := a.Accept(t.Context(), 2, w.register(n+1).Encode()); err != nil {
		t.Errorf("another validator may not pass on what it vouches for: %v", err)
	}
	if _, err := a.Submit(t.Context(), reqs[0]); err != nil {
		t.Errorf("a repeated submission of what is pooled: %v", err)
	}
	w.commit([]*member{a}, reqs...)
	if got := a.Admission(); got.Waiting != 1 {
		t.Errorf("%d units wait after the block, want the forwarded one", got.Waiting)
	}
	if _, err := a.Submit(t.Context(), w.register(n+2).Encode()); err != nil {
		t.Errorf("after the block: %v", err)
	}
}

// Whoever was cut off when a request was spread has missed it, and no one but its
// client asks again.
func TestARequestItsClientRepeatsIsPassedOnAgain(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	raw := w.register(1).Encode()
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {0, 0}, {passAgain - time.Millisecond, 0}, {time.Millisecond, 1}, {0, 0}, {time.Minute, 1}, {time.Second, 1}} {
		w.ms.Add(step.after.Milliseconds())
		if _, err := a.Submit(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		if got := len(a.eng.taken()); got != step.want {
			t.Errorf("%v later it is passed on %d times, want %d", step.after, got, step.want)
		}
	}
	if got := a.Admission().Waiting; got != 1 {
		t.Errorf("%d units wait, want 1", got)
	}
	w.commit([]*member{a}, raw)
	w.ms.Add(time.Minute.Milliseconds())
	if _, err := a.Submit(t.Context(), raw); !errors.Is(err, ErrKnown) {
		t.Errorf("after its block: %v", err)
	}
	if got := len(a.eng.taken()); got != 0 {
		t.Errorf("after its block it is passed on %d times", got)
	}
}

// A request that the engine did not take is not counted as waiting, nor is one
// that was forwarded again after its block.
func TestNothingThatIsNotPooledIsCounted(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	tx := w.register(1)
	if err := a.Accept(t.Context(), 0, tx.Encode()); err != nil {
		t.Fatal(err)
	}
	w.commit([]*member{a}, tx.Encode())
	for range 3 {
		if err := a.Accept(t.Context(), 0, tx.Encode()); err != nil {
			t.Errorf("forwarded again: %v", err)
		}
	}
	a.mutedBy.Store(new(error))
	if err := a.Accept(t.Context(), 0, w.register(2).Encode()); !errors.Is(err, ErrNotReady) {
		t.Errorf("a muted node takes requests: %v", err)
	}
	a.mutedBy.Store(nil)
	if got := a.Admission().Waiting; got != 0 {
		t.Errorf("%d units wait, want none", got)
	}
}

func TestExpiredRequestsLeaveTheirShare(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	if _, err := a.Submit(t.Context(), w.register(1).Encode()); err != nil {
		t.Fatal(err)
	}
	w.ms.Add(400_000)
	w.commit([]*member{a}, w.register(2).Encode())
	if got := a.Admission().Waiting; got != 0 {
		t.Errorf("%d units wait after the end of their validity", got)
	}
	if len(a.eng.gone()) == 0 {
		t.Error("the engine was not told to forget it")
	}
}

func TestOverdueSealsAndUnknownRequestsStay(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	seal, err := ledger.NewSeal(w.config.Hash(), 1, w.votes[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, req := range map[string][]byte{"seal": seal.Encode(), "unknown": w.register(5).Encode(), "garbage": []byte("x")} {
		if !a.Overdue(req) {
			t.Errorf("%s was dropped", name)
		}
	}
}

// FuzzSenderOf: what is read from the outside is what decoding finds.
func FuzzSenderOf(f *testing.F) {
	tx := ledger.NewTransaction(ledger.Payload{Org: "bank", Key: ledger.Address{7}, Contract: "c", Function: "f", ValidUntil: 1})
	f.Add(tx.Encode())
	s, err := ledger.NewSeal(ledger.Hash{}, 1, ledger.NewKeySigner(key(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Encode())
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		org, key, ok := ledger.SenderOf(b)
		tx, err := ledger.DecodeTransaction(b)
		if err == nil && (!ok || string(org) != tx.Payload.Org || key != tx.Payload.Key) {
			t.Errorf("SenderOf says %q %s, %t; the transaction %q %s", org, key, ok, tx.Payload.Org, tx.Payload.Key)
		}
	})
}

// BenchmarkAdmit is what it costs to admit a transaction that was checked
// before, which is everything but signature and decoding.
func BenchmarkAdmit(b *testing.B) {
	w := newWorld(b)
	a := w.start(0, b.TempDir())
	a.shares.pace.perSecond = 1e6
	w.commit([]*member{a}, w.register(5000).Encode())
	w.ms.Add(60_000) // from here on no transaction can be older than the blocks it saw
	reqs := make([][]byte, 1024)
	infos := make([]consensus.RequestInfo, len(reqs))
	for i := range reqs {
		tx := w.register(uint64(i))
		reqs[i] = tx.Encode()
		infos[i] = infoOf(tx.ID())
		if _, err := a.verifyTransaction(reqs[i], a.Config()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	before := ownCPU(b)
	i := 0
	for b.Loop() {
		if _, err := a.admit(reqs[i], nil, true, 0); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(reqs) {
			i = 0
			a.shares.drop(infos...)
		}
	}
	b.ReportMetric(float64((ownCPU(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}
