package link

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a node that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

func open(t *testing.T) (*Links, string) {
	t.Helper()
	l := New(1, ByProcess(func() map[int]string { return map[int]string{os.Getpid(): "a"} }))
	door, err := l.Open("b", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, door
}

func dial(t *testing.T, door string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", door)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// says sends a word and returns what comes back within a time.
func says(t *testing.T, c net.Conn, word string, within time.Duration) (string, error) {
	t.Helper()
	if _, err := c.Write([]byte(word)); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(word))
	n, err := io.ReadFull(c, buf)
	return string(buf[:n]), err
}

// refused fails if a new connection through the door carries anything.
func refused(t *testing.T, door string) {
	t.Helper()
	c, err := net.Dial("tcp", door)
	if err != nil {
		return
	}
	defer c.Close()
	if got, err := says(t, c, "hello", long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q came back, %v", got, err)
	}
}

const long = 20 * time.Second

func TestADoorPassesOnAndKnowsWhoDials(t *testing.T) {
	l, door := open(t)
	if got, err := says(t, dial(t, door), "hello", long); got != "hello" || err != nil {
		t.Fatal(got, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.wires {
		if !w.between("a", "b") {
			t.Errorf("the wire is between %q and %q", w.a, w.b)
		}
	}
}

func TestAStrangerIsNotServed(t *testing.T) {
	l := New(1, ByProcess(func() map[int]string { return map[int]string{1 << 30: "a"} }))
	door, err := l.Open("b", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused(t, door)
}

func TestACutResetsAndHealsForNewConnections(t *testing.T) {
	l, door := open(t)
	c := dial(t, door)
	if _, err := says(t, c, "x", long); err != nil {
		t.Fatal(err)
	}
	l.Set("a", "b", Rule{Cut: true})
	if _, err := says(t, c, "y", long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a cut connection: %v", err)
	}
	refused(t, door)
	l.Heal()
	if got, err := says(t, dial(t, door), "z", long); got != "z" || err != nil {
		t.Fatal(got, err)
	}
}

func TestAStallTellsNobodyAndNothingHeldArrivesLater(t *testing.T) {
	for _, dir := range []pair{{"a", "b"}, {"b", "a"}} {
		l, door := open(t)
		c := dial(t, door)
		if _, err := says(t, c, "x", long); err != nil {
			t.Fatal(err)
		}
		l.Set(dir.from, dir.to, Rule{Stall: true})
		if got, err := says(t, c, "y", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("stalled %v: %q, %v", dir, got, err)
		}
		l.Heal()
		if err := c.SetReadDeadline(time.Now().Add(long)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after the stall %d bytes came, %v", n, err)
		}
	}
}

func TestDelayRateAndRoughnessKeepBytesAndOrder(t *testing.T) {
	for name, r := range map[string]Rule{
		"delay": {Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond}, "rate": {Rate: 200_000}, "rough": {Rough: 0.2},
	} {
		l, door := open(t)
		l.Both("a", "b", r)
		for try := 0; ; try++ { // a rough link may reset
			word := strings.Repeat("0123456789", 2000)
			began := time.Now()
			got, err := says(t, dial(t, door), word, long)
			if err != nil && r.Rough > 0 && try < 20 {
				continue
			}
			if got != word || err != nil {
				t.Errorf("%s: %d of %d bytes came back: %v", name, len(got), len(word), err)
			}
			if took := time.Since(began); r.Delay > 0 && took < 2*r.Delay || r.Rate > 0 && took < 100*time.Millisecond {
				t.Errorf("%s: only %s", name, took)
			}
			break
		}
	}
}

func TestFindSocket(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:A1B2 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4242 1
`
	a, b := netip.MustParseAddrPort("127.0.0.1:41394"), netip.MustParseAddrPort("127.0.0.1:8080")
	if got, err := findSocket(strings.NewReader(table), a, b); got != "4242" || err != nil {
		t.Error(got, err)
	}
	if got, err := findSocket(strings.NewReader(table), b, a); err == nil {
		t.Error(got)
	}
}
