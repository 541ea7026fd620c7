package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/google/go-cmp/cmp"
)

// TestQuorumsOverlapInAnHonestValidator derives the quorum from what it is for.
func TestQuorumsOverlapInAnHonestValidator(t *testing.T) {
	for n := 1; n <= ledger.MaxValidators; n++ {
		f := 0
		for 3*(f+1)+1 <= n {
			f++
		}
		q := 1
		for 2*q-n < f+1 { // two quorums share at least 2q−n validators
			q++
		}
		if ledger.Faults(n) != f || ledger.Quorum(n) != q {
			t.Errorf("n=%d: faults %d, quorum %d, want %d, %d", n, ledger.Faults(n), ledger.Quorum(n), f, q)
		}
		if q > n-f {
			t.Errorf("n=%d: a quorum of %d cannot be had with %d faulty", n, q, f)
		}
	}
	for n, q := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5, 10: 7, 13: 9} {
		if ledger.Quorum(n) != q {
			t.Errorf("quorum of %d is %d, want %d", n, ledger.Quorum(n), q)
		}
	}
}

func TestConfigIsCheckedWhereverItComesFrom(t *testing.T) {
	good := ledgertest.Config(4)
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range badConfigs {
		bad := ledgertest.Clone(good)
		tt.change(bad)
		_, derr := ledger.DecodeConfig(bad.Encode())
		for _, err := range []error{bad.Check(), derr} {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
			}
		}
	}
}

func TestConfigSurvivesJSON(t *testing.T) {
	c := ledgertest.Config(4)
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var got ledger.Config
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Encode(), c.Encode()) {
		t.Error("the encoding changed: a genesis file would name another chain")
	}
	for _, text := range []string{`"0x02"`, `"0203"`, `"0x` + strings.Repeat("zz", 33) + `"`} {
		var k ledger.HostKey
		if err := json.Unmarshal([]byte(text), &k); err == nil {
			t.Errorf("host key %s was read", text)
		}
		var s ledger.Signature
		if err := json.Unmarshal([]byte(text), &s); err == nil {
			t.Errorf("signature %s was read", text)
		}
	}
	var sig, back ledger.Signature
	sig[0], sig[64] = 0xab, 1
	text, err := json.Marshal(sig)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &back); err != nil || back != sig {
		t.Errorf("signature %s was read as %v, %v", text, back, err)
	}
}

func TestLookupsFindMembersAndValidators(t *testing.T) {
	c := ledgertest.Config(4)
	for i := range c.Members {
		if m := c.Member(c.Members[i].ID); m != &c.Members[i] {
			t.Errorf("member %d was not found", i)
		}
	}
	for i := range c.Validators {
		v := &c.Validators[i]
		if c.Validator(v.ID) != v || c.ValidatorByVoteKey(v.VoteKey) != v {
			t.Errorf("validator %d was not found", i)
		}
	}
	if c.Member("nobody") != nil || c.Validator(9) != nil || c.ValidatorByVoteKey(ledger.Address{1}) != nil {
		t.Error("something was found that is not there")
	}
}

func TestValidatorsHashBindsIdsAndVoteKeys(t *testing.T) {
	c := ledgertest.Config(4)
	want := c.ValidatorsHash()
	for what, f := range map[string]func(*ledger.Config){
		"id":       func(c *ledger.Config) { c.Validators[3].ID = 9 },
		"vote key": func(c *ledger.Config) { c.Validators[3].VoteKey[0] ^= 1 },
		"fewer":    func(c *ledger.Config) { c.Validators = c.Validators[:3] },
	} {
		d := ledgertest.Clone(c)
		if f(d); d.ValidatorsHash() == want {
			t.Errorf("%s: same hash", what)
		}
	}
	d := ledgertest.Clone(c)
	if d.Validators[0].Addrs = []string{"elsewhere"}; d.ValidatorsHash() != want {
		t.Error("another address changes the hash")
	}
}

func TestUpdateNeedsMoreThanTwoThirdsOfTheMembers(t *testing.T) {
	for n := 1; n <= 10; n++ {
		c := ledgertest.Config(n)
		for k := 1; k <= n; k++ {
			members := make([]string, k)
			for i := range members {
				members[i] = c.Members[i].ID
			}
			u := ledgertest.Update(c.Hash(), c, change, members...)
			if err := u.Verify(c.Hash(), c); (err == nil) != (3*k > 2*n) {
				t.Errorf("%d of %d: %v", k, n, err)
			}
		}
	}
}

func TestUpdateIsRefused(t *testing.T) {
	c := ledgertest.Config(4)
	for _, tt := range badUpdates(c) {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.update.Verify(c.Hash(), c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	unchecked := ledgertest.Update(c.Hash(), c, change)
	unchecked.Config.Validators = nil
	if err := unchecked.Verify(c.Hash(), c); err == nil || !strings.Contains(err.Error(), "0 validators") {
		t.Errorf("a config that was never decoded: %v", err)
	}
}

func TestUpdateIDIsThatOfTheChange(t *testing.T) {
	c := ledgertest.Config(4)
	a := ledgertest.Update(c.Hash(), c, change, "member-01", "member-02", "member-03")
	b := ledgertest.Update(c.Hash(), c, change, "member-02", "member-03", "member-04")
	if a.ID() != b.ID() {
		t.Error("who approved changes the id: the pool would hold one change twice")
	}
	if bytes.Equal(a.Encode(), b.Encode()) {
		t.Error("approvals are not in the bytes")
	}
}

func TestDecodedUpdateMustNameItsConfig(t *testing.T) {
	c := ledgertest.Config(4)
	u := ledgertest.Update(c.Hash(), c, change)
	body := []any{"assent/config-update/1", c.Hash(), uint64(2), u.Config.Encode()}
	if _, err := ledger.DecodeUpdate(twinRLP([]any{body, []any{}})); err == nil || !strings.Contains(err.Error(), "names sequence 2 but holds config 1") {
		t.Errorf("got %v", err)
	}
	body[2], body[3] = uint64(1), []byte{0xc0}
	if _, err := ledger.DecodeUpdate(twinRLP([]any{body, []any{}})); err == nil {
		t.Error("an update without config was decoded")
	}
}

func TestSealIsRefused(t *testing.T) {
	c := ledgertest.Config(4)
	make := func(chain ledger.Hash, h ledger.Height, validator uint64) *ledger.Seal {
		s, err := ledger.NewSeal(chain, h, ledgertest.VoteKey(validator))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := make(c.Hash(), 7, 1)
	if err := good.Verify(c.Hash(), c); err != nil {
		t.Fatal(err)
	}
	if other := make(c.Hash(), 7, 2); other.ID() != good.ID() {
		t.Error("two validators' seals of one height have different ids")
	}
	stolen := *good
	stolen.Validator = ledgertest.VoteKey(2).Address()
	moved := *good
	moved.Height++
	for what, tt := range map[string]struct {
		seal *ledger.Seal
		is   error
	}{
		"another chain":         {make(ledger.Sum(nil), 7, 1), ledger.ErrWrongChain},
		"a foreign validator":   {make(c.Hash(), 7, 9), nil},
		"in another's name":     {&stolen, ledger.ErrWrongSigner},
		"signed for one height": {&moved, ledger.ErrWrongSigner},
	} {
		if err := tt.seal.Verify(c.Hash(), c); err == nil || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %v", what, err)
		}
	}
	back, err := ledger.DecodeSeal(good.Encode())
	if err != nil || !cmp.Equal(back, good) {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

// A config of a test network names its own age of records, with a chain id that
// tells it from a network that does not.
func TestAgeOfRecords(t *testing.T) {
	c := ledgertest.Config(4)
	if got := c.Limits.RecordAge(); got != 1096*24*3600*1000 {
		t.Errorf("records age after %d ms", got)
	}
	test := ledgertest.Clone(c)
	test.Limits.RecordMillis = 5000
	if test.Hash() == c.Hash() {
		t.Error("the chain id does not tell a test network")
	}
	got, err := ledger.DecodeConfig(test.Encode())
	if err != nil || got.Limits.RecordAge() != 5000 {
		t.Errorf("decoded as %v, %v", got, err)
	}
	// A zero that is written out would give one config two hashes.
	list := configList(c)
	limits := list[7].([]any)
	list[7] = append(limits, uint64(0))
	if _, err := ledger.DecodeConfig(twinRLP(list)); err == nil {
		t.Error("a zero that is written out was decoded")
	}
	for key, want := range map[string]bool{
		"access/log/request/0x1": true, "access/log/receipt/0x1": true,
		"access/usage/1": false, "access/ix/log/1": false, "consent/log/deletion/1": false, "membership/log/config/1": false, "accessory/log/x": false,
	} {
		if ledger.Ages(key) != want {
			t.Errorf("%s ages: %v", key, !want)
		}
	}
}
