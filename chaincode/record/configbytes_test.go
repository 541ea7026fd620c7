package record

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"
)

// orderingVectors are the ordering level's own: what stands there twice, here and
// in the ledger, must be the same.
func orderingVectors(t testing.TB) (chainID Hash, config []byte, digest Hash) {
	t.Helper()
	data, err := os.ReadFile("../../node/ledger/testdata/vectors/update.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		ChainID        Hash   `json:"chainId"`
		Config         string `json:"config"`
		ApprovalDigest Hash   `json:"approvalDigest"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if config, err = hex.DecodeString(strings.TrimPrefix(v.Config, "0x")); err != nil {
		t.Fatal(err)
	}
	return v.ChainID, config, v.ApprovalDigest
}

func TestApprovalDigestIsTheLedgers(t *testing.T) {
	chainID, config, want := orderingVectors(t)
	outline, err := OutlineConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if outline.Seq == 0 || outline.Protocol == 0 || len(outline.Members) != 4 || outline.SharedKeys || outline.Network == "" {
		t.Errorf("outline is %+v", outline)
	}
	if got := ApprovalDigest(chainID, outline.Seq, ConfigHash(config)); got != want {
		t.Errorf("approval digest %s, the ledger's is %s", got, want)
	}
}

func TestConfigBytesAreChecked(t *testing.T) {
	_, config, _ := orderingVectors(t)
	if _, err := OutlineConfig(append(config[:len(config):len(config)], 0)); err == nil {
		t.Error("bytes after the end are taken")
	}
	if _, err := OutlineConfig(make([]byte, MaxConfigBytes+1)); err == nil {
		t.Error("oversized bytes are taken")
	}
	change := func(f func(members []configMemberRLP, validators []configValidatorRLP)) []byte {
		var r configRLP
		if err := rlp.DecodeBytes(config, &r); err != nil {
			t.Fatal(err)
		}
		var m []configMemberRLP
		var v []configValidatorRLP
		if rlp.DecodeBytes(r.Members, &m) != nil || rlp.DecodeBytes(r.Validators, &v) != nil {
			t.Fatal("the vector does not decode")
		}
		f(m, v)
		r.Members, _ = rlp.EncodeToBytes(m)
		r.Validators, _ = rlp.EncodeToBytes(v)
		b, err := rlp.EncodeToBytes(&r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, f := range map[string]func([]configMemberRLP, []configValidatorRLP){
		"members out of order":    func(m []configMemberRLP, _ []configValidatorRLP) { m[0], m[1] = m[1], m[0] },
		"a member twice":          func(m []configMemberRLP, _ []configValidatorRLP) { m[1].ID = m[0].ID },
		"a member without admins": func(m []configMemberRLP, _ []configValidatorRLP) { m[2].Admins = nil },
		"a key separator":         func(m []configMemberRLP, _ []configValidatorRLP) { m[0].ID = "a/b" },
		"validators out of order": func(_ []configMemberRLP, v []configValidatorRLP) { v[0], v[1] = v[1], v[0] },
		"a validator of nobody":   func(_ []configMemberRLP, v []configValidatorRLP) { v[3].Member = "nobody" },
	} {
		if _, err := OutlineConfig(change(f)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for name, f := range map[string]func([]configMemberRLP, []configValidatorRLP){
		"vote key": func(_ []configMemberRLP, v []configValidatorRLP) { v[3].VoteKey = v[0].VoteKey },
		"host key": func(_ []configMemberRLP, v []configValidatorRLP) { v[3].HostKey = v[1].HostKey },
	} {
		if o, err := OutlineConfig(change(f)); err != nil || !o.SharedKeys {
			t.Errorf("shared %s: %+v, %v", name, o, err)
		}
	}
}

func TestApprovalsNeededAreMoreThanTwoThirds(t *testing.T) {
	for members := 1; members <= 256; members++ {
		n := ApprovalsNeeded(members)
		if 3*n <= uint64(2*members) || 3*(n-1) > uint64(2*members) || n > uint64(members) {
			t.Errorf("%d members: %d approvals", members, n)
		}
	}
}

func TestBase64HasOneSpelling(t *testing.T) {
	for text, ok := range map[string]bool{
		`""`: true, `"+P8/"`: true, `"+P8="`: true, `"+P8"`: false, `"-P8_"`: false, `"+P8/\n"`: false, `"+P9="`: false, `"+\nP8/"`: false,
	} {
		var v ProposedConfig
		if err := DecodeString(`{"config":`+text+`}`, &v); ok != (err == nil) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzOutlineConfig(f *testing.F) {
	_, config, _ := orderingVectors(f)
	f.Add(config)
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := OutlineConfig(b)
		if err == nil && (len(o.Members) == 0 || len(o.Members) > maxMembers) {
			t.Fatalf("a config with %d members", len(o.Members))
		}
	})
}
