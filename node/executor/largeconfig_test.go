package executor

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// largest is as much as the ordering level admits of everything that a contract
// sees: members, names whose every byte is escaped, roles and admin keys, the
// keys different for every salt.
func largest(seq uint64, salt byte) *ledger.Config {
	c := genesis()
	c.Seq = seq
	c.Members = nil
	for i := range ledger.MaxMembers {
		m := ledger.Member{
			ID: fmt.Sprintf("%064d", i), Name: strings.Repeat(`"`, 128),
			Roles: []string{"AUDITOR", "CREDIT_REPORTING_AGENCY", "DATA_CONSUMER", "DATA_PROVIDER"},
		}
		for j := range ledger.MaxAdmins / ledger.MaxMembers {
			var a ledger.Address
			a[0] = salt
			binary.BigEndian.PutUint32(a[16:], uint32(16*i+j+1))
			m.Admins = append(m.Admins, a)
		}
		c.Members = append(c.Members, m)
	}
	c.Validators[0].Member = c.Members[0].ID
	return c
}

// Whatever config the ordering level puts in force, the contract takes over: also
// the largest, and the largest after another one with which it shares nothing.
func TestTheLargestConfigIsTakenOver(t *testing.T) {
	n := newNetwork(t, Contracts{})
	for i, c := range []*ledger.Config{largest(1, 1), largest(2, 2), genesis()} {
		c.Seq, c.Validators[0].HostKey = uint64(i)+1, ledger.HostKey{0: 2, 32: 1} // a point of the curve
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		u := &ledger.Update{ChainID: n.exec.chain, Config: c}
		if len(u.Config.Encode()) > ledger.MaxConfigBytes {
			t.Fatalf("config %d has %d bytes", c.Seq, len(u.Config.Encode()))
		}
		b := n.block()
		b.Requests = [][]byte{u.Encode()}
		if o := n.execute(b, nil).Outcomes[0]; o.Code != "OK" {
			t.Errorf("config %d is refused: %s %s", c.Seq, o.Code, o.Message)
		}
	}
	over := largest(1, 1)
	over.Members[7].Admins = append(over.Members[7].Admins, ledger.Address{0: 0xff})
	if err := over.Check(); err == nil || !strings.Contains(err.Error(), "2049 admin keys") {
		t.Errorf("one admin key more: %v", err)
	}
}
