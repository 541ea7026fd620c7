package executor

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

func hostKey(n byte) (k ledger.HostKey) {
	key, err := crypto.ToECDSA(slices.Concat(make([]byte, 31), []byte{n}))
	if err != nil {
		panic(err)
	}
	copy(k[:], crypto.CompressPubkey(&key.PublicKey))
	return k
}

// inForce is a config of four members with a validator each.
func inForce() *ledger.Config {
	c := &ledger.Config{Network: "net", Protocol: 1, GenesisTime: 7, Seq: 3, Limits: ledger.DefaultLimits()}
	for i := range byte(4) {
		id := string('a' + rune(i))
		c.Members = append(c.Members, ledger.Member{ID: id, Name: "Member " + id, Roles: []string{"DATA_CONSUMER", "DATA_PROVIDER"}, Admins: []ledger.Address{{i + 1}, {i + 100}}})
		c.Validators = append(c.Validators, ledger.Validator{ID: uint64(i) + 1, Member: id, VoteKey: ledger.Address{19: i + 1}, HostKey: hostKey(i + 1), Addrs: []string{"/ip4/10.0.0.1/tcp/7400"}})
	}
	return c
}

// configChanges are what a proposer may do to a config; most make it one that the
// ordering level refuses, alone or after another.
var configChanges = []func(r *rand.Rand, c *ledger.Config){
	func(_ *rand.Rand, c *ledger.Config) { c.Seq++ },
	func(_ *rand.Rand, c *ledger.Config) { c.Network = "other" },
	func(_ *rand.Rand, c *ledger.Config) { c.Network = "" },
	func(_ *rand.Rand, c *ledger.Config) { c.GenesisTime++ },
	func(_ *rand.Rand, c *ledger.Config) { c.Protocol = 0 },
	func(r *rand.Rand, c *ledger.Config) { c.Members[r.IntN(len(c.Members))].Name = "" },
	func(r *rand.Rand, c *ledger.Config) { c.Members[r.IntN(len(c.Members))].Name = "two\nlines" },
	func(r *rand.Rand, c *ledger.Config) { c.Members[r.IntN(len(c.Members))].Name = "\xff" },
	func(r *rand.Rand, c *ledger.Config) {
		c.Members[r.IntN(len(c.Members))].Name = strings.Repeat("ä", 64)
	},
	func(r *rand.Rand, c *ledger.Config) {
		c.Members[r.IntN(len(c.Members))].Name = strings.Repeat("ä", 65)
	},
	func(r *rand.Rand, c *ledger.Config) { c.Members[r.IntN(len(c.Members))].ID = "_x" },
	func(r *rand.Rand, c *ledger.Config) { c.Members[r.IntN(len(c.Members))].ID = "" },
	func(r *rand.Rand, c *ledger.Config) { c.Members[r.IntN(len(c.Members))].Roles = nil },
	func(r *rand.Rand, c *ledger.Config) { c.Members[r.IntN(len(c.Members))].Roles = []string{"KING"} },
	func(r *rand.Rand, c *ledger.Config) { slices.Reverse(c.Members[r.IntN(len(c.Members))].Roles) },
	func(r *rand.Rand, c *ledger.Config) { slices.Reverse(c.Members[r.IntN(len(c.Members))].Admins) },
	func(r *rand.Rand, c *ledger.Config) { c.Members[r.IntN(len(c.Members))].Admins = nil },
	func(r *rand.Rand, c *ledger.Config) {
		m := &c.Members[r.IntN(len(c.Members))]
		m.Admins = append([]ledger.Address{{}}, m.Admins...)
	},
	func(r *rand.Rand, c *ledger.Config) {
		m := &c.Members[r.IntN(len(c.Members))]
		m.Admins = nil
		for i := range byte(1 + r.IntN(18)) {
			m.Admins = append(m.Admins, ledger.Address{i + 1})
		}
	},
	func(_ *rand.Rand, c *ledger.Config) { c.Members = c.Members[min(1, len(c.Members)):] },
	func(_ *rand.Rand, c *ledger.Config) {
		c.Members, c.Validators = c.Members[min(1, len(c.Members)):], c.Validators[min(1, len(c.Validators)):]
	},
	func(_ *rand.Rand, c *ledger.Config) { c.Validators = c.Validators[min(1, len(c.Validators)):] },
	func(_ *rand.Rand, c *ledger.Config) { c.Validators = nil },
	func(r *rand.Rand, c *ledger.Config) { aValidator(r, c).ID = []uint64{0, 65_535, 65_536}[r.IntN(3)] },
	func(r *rand.Rand, c *ledger.Config) { aValidator(r, c).ID = uint64(4 + r.IntN(3)) },
	func(r *rand.Rand, c *ledger.Config) { aValidator(r, c).VoteKey = ledger.Address{19: byte(r.IntN(7))} },
	func(r *rand.Rand, c *ledger.Config) { aValidator(r, c).HostKey = hostKey(byte(1 + r.IntN(7))) },
	func(r *rand.Rand, c *ledger.Config) { aValidator(r, c).HostKey = ledger.HostKey{2} },
	func(r *rand.Rand, c *ledger.Config) {
		aValidator(r, c).Member = []string{"a", "b", "nobody"}[r.IntN(3)]
	},
	func(r *rand.Rand, c *ledger.Config) { aValidator(r, c).Addrs = make([]string, r.IntN(6)) },
	func(r *rand.Rand, c *ledger.Config) {
		v := aValidator(r, c)
		v.Addrs = nil
		for range r.IntN(6) {
			v.Addrs = append(v.Addrs, "/dns4/node.example/tcp/7400")
		}
	},
	func(r *rand.Rand, c *ledger.Config) {
		aValidator(r, c).Addrs = []string{[]string{"10.0.0.1:7400", "/a\tb", "/\xff", "/" + strings.Repeat("x", 255), "/" + strings.Repeat("x", 256)}[r.IntN(5)]}
	},
	func(r *rand.Rand, c *ledger.Config) {
		c.Limits.MaxRequestBytes = []uint64{4095, 8192, 256 << 10, 256<<10 + 1}[r.IntN(4)]
	},
	func(r *rand.Rand, c *ledger.Config) {
		c.Limits.MaxBlockBytes = []uint64{8192, 256 << 10, 4 << 20, 4<<20 + 1}[r.IntN(4)]
	},
	func(r *rand.Rand, c *ledger.Config) {
		c.Limits.MaxBlockRequests = []uint64{0, 1, 10_000, 10_001}[r.IntN(4)]
	},
	func(r *rand.Rand, c *ledger.Config) {
		c.Limits.ClockToleranceMs = []uint64{99, 100, 60_000, 60_001}[r.IntN(4)]
	},
	func(r *rand.Rand, c *ledger.Config) { c.Limits.MaxExecLag = []uint64{0, 1, 64, 65}[r.IntN(4)] },
	func(r *rand.Rand, c *ledger.Config) { c.Limits.ObserversPerMember = []uint64{0, 64, 65}[r.IntN(3)] },
	func(r *rand.Rand, c *ledger.Config) {
		c.Limits.RecordMillis = []uint64{0, 999, 1000, ledger.LawfulRecordMillis}[r.IntN(4)]
	},
}

// aValidator is one of c's, or one that c is not asked about if it has none.
func aValidator(r *rand.Rand, c *ledger.Config) *ledger.Validator {
	if len(c.Validators) == 0 {
		return new(ledger.Validator)
	}
	return &c.Validators[r.IntN(len(c.Validators))]
}

// A proposal is refused when it is made if, and only if, the ordering level would
// refuse it when it has its approvals: the contract's rules are the ledger's.
func TestTheContractRefusesWhatTheOrderingLevelWould(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	now := inForce()
	if err := now.Check(); err != nil {
		t.Fatal(err)
	}
	taken, refused := 0, 0
	const enough = 100 // of each kind: fewer say nothing
	for i := 0; taken < enough || refused < enough || i%len(configChanges) != 0; i++ {
		if i == 1000*len(configChanges) {
			t.Fatalf("%d taken, %d refused after %d changes: the changes hardly make one kind", taken, refused, i)
		}
		next := inForce()
		next.Seq++
		configChanges[i%len(configChanges)](r, next)
		for r.IntN(3) == 0 && len(next.Members) > 1 {
			configChanges[r.IntN(len(configChanges))](r, next)
		}
		want := next.Follows(now)
		s, err := record.ReadSuccession(now.Encode(), next.Encode())
		if err == nil {
			err = s.Check()
		}
		if (want == nil) != (err == nil) {
			t.Fatalf("change %d, %+v:\nthe ledger says  %v\nthe contract says %v", i%len(configChanges), next, want, err)
		}
		if want == nil {
			taken++
		} else {
			refused++
		}
	}
}

// What the ordering level would take once and never replace is refused too, and
// what no update could carry; a protocol version to come is the programs' affair.
func TestAConfigThatCouldNeverBeReplacedIsRefused(t *testing.T) {
	check := func(change func(now, next *ledger.Config)) error {
		now, next := inForce(), inForce()
		next.Seq++
		change(now, next)
		s, err := record.ReadSuccession(now.Encode(), next.Encode())
		if err != nil {
			t.Fatal(err)
		}
		return s.Check()
	}
	many := func(c *ledger.Config) {
		for i := range 40 {
			c.Validators = append(c.Validators, ledger.Validator{ID: uint64(10 + i), Member: "a", VoteKey: ledger.Address{18: byte(i + 1)}, HostKey: hostKey(byte(10 + i)), Addrs: []string{"/dns4/node.example/tcp/7400"}})
		}
	}
	for name, x := range map[string]struct {
		change func(now, next *ledger.Config)
		want   string
	}{
		"larger than an update may be": {func(now, next *ledger.Config) {
			now.Limits.MaxRequestBytes = 4 << 10
			many(next)
		}, "raise limits.maxRequestBytes first"},
		"the last one ever": {func(_, next *ledger.Config) {
			many(next)
			next.Limits.MaxRequestBytes = 4 << 10
		}, "every later config"},
		"a later protocol": {func(_, next *ledger.Config) { next.Protocol = ledger.Protocol + 1 }, ""},
		"a lower protocol": {func(now, _ *ledger.Config) { now.Protocol = 2 }, "protocol version 2 is in force"},
	} {
		err := check(x.change)
		if (x.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}
