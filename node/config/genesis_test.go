package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-network/assent/node/ledger"
)

func genesis() *ledger.Config {
	c := &ledger.Config{
		Network:     "test",
		Protocol:    1,
		GenesisTime: 1_800_000_000_000,
		Members:     []ledger.Member{{ID: "bank-a", Name: "Bank A", Roles: []string{"DATA_PROVIDER"}, Admins: []ledger.Address{{1}}}},
		Validators:  []ledger.Validator{{ID: 1, Member: "bank-a", VoteKey: common.Address{2}, HostKey: ledger.HostKey{0: 2, 32: 1}, Addrs: []string{"/ip4/127.0.0.1/tcp/7400"}}},
		Limits:      ledger.DefaultLimits(),
	}
	return c
}

func TestGenesisIsReadBack(t *testing.T) {
	b, err := FormatGenesis(genesis())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadGenesis(write(t, "genesis.json", string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash() != genesis().Hash() {
		t.Error("the chain id changed on the way through the file")
	}
}

func TestGenesisComplaints(t *testing.T) {
	b, err := FormatGenesis(genesis())
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for name, c := range map[string]struct{ file, want string }{
		"empty":         {"", "line 1"},
		"broken":        {strings.Replace(good, `"protocol"`, `protocol"`, 1), "line 4"},
		"wrong type":    {strings.Replace(good, `"protocol": 1`, `"protocol": "1"`, 1), "line 4"},
		"unknown field": {strings.Replace(good, `"protocol"`, `"protokol"`, 1), "protokol"},
		"two objects":   {good + "{}", "one object"},
		"later config":  {strings.Replace(good, `"seq": 0`, `"seq": 3`, 1), "later config"},
		"no members":    {strings.Replace(good, `"bank-a"`, `"bank a"`, 1), "every member must hold the same file"},
	} {
		_, err := ReadGenesis(write(t, "genesis.json", c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := ReadGenesis(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzParseGenesis(f *testing.F) {
	b, err := FormatGenesis(genesis())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"seq":0,"members":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseGenesis(b)
		if err != nil {
			return
		}
		again, err := FormatGenesis(c)
		if err != nil {
			t.Fatal(err)
		}
		c2, err := ParseGenesis(again)
		if err != nil || c2.Hash() != c.Hash() {
			t.Errorf("an accepted genesis is not read back: %v", err)
		}
	})
}
