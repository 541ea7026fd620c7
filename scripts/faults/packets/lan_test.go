//go:build linux

package packets

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// pair makes two hosts, where the machine lets us.
func pair(t *testing.T) (*Lan, *Host, *Host) {
	t.Helper()
	if err := Possible(); err != nil {
		t.Skip(err) // the harness says the same of its scenarios
	}
	l := New(7)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	a, err := l.Join(netip.MustParseAddr("10.77.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Join(netip.MustParseAddr("10.77.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	return l, a, b
}

// TestTCPSurvivesWhatARuleDoesToPackets sends bytes through the kernel's TCP under
// each kind of rule, and the rule must have touched packets.
func TestTCPSurvivesWhatARuleDoesToPackets(t *testing.T) {
	l, a, b := pair(t)
	var in net.Listener
	if err := b.Run(func() (err error) { in, err = net.Listen("tcp4", "10.77.0.2:4000"); return err }); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sent := bytes.Repeat([]byte("packets are lost and come again "), 4000)
	for name, c := range map[string]struct {
		rule    Rule
		touched func(Count) int64
	}{
		"nothing":     {Rule{}, func(c Count) int64 { return c.Sent }},
		"loss":        {Rule{Loss: 0.1}, func(c Count) int64 { return c.Lost }},
		"duplication": {Rule{Duplicate: 0.3}, func(c Count) int64 { return c.Repeated }},
		"reordering":  {Rule{Reorder: 0.3, Hold: 20 * time.Millisecond}, func(c Count) int64 { return c.Held }},
		"jitter":      {Rule{Jitter: 20 * time.Millisecond}, func(c Count) int64 { return c.Sent }},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.touched(l.Count())
			l.Set(c.rule)
			defer l.Set(Rule{})
			got := make(chan [32]byte, 1)
			go func() {
				var sum [32]byte
				if conn, err := in.Accept(); err == nil {
					all, _ := io.ReadAll(conn)
					sum = sha256.Sum256(all)
					conn.Close()
				}
				got <- sum
			}()
			conn, err := a.Dial("10.77.0.2:4000")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(sent); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if <-got != sha256.Sum256(sent) {
				t.Error("other bytes arrived")
			}
			if c.touched(l.Count()) == before {
				t.Error("the rule touched no packet")
			}
		})
	}
}

func TestHostsAreApartFromThisMachineButForWhatIsForwarded(t *testing.T) {
	_, a, _ := pair(t)
	here, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if conn, err := a.Dial(here.Addr().String()); err == nil {
		conn.Close()
		t.Error("a host reaches this machine's loopback")
	}
	address := "127.0.0.1:0"
	var in net.Listener
	if err := a.Run(func() (err error) { in, err = net.Listen("tcp4", address); return err }); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	address = in.Addr().String()
	f, err := a.Forward(address)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := in.Accept(); err == nil {
			_, _ = conn.Write([]byte("inside"))
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "inside" {
		t.Errorf("%q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
