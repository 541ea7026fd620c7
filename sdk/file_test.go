package sdk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// proofs exports a record's presence, one's absence and a receipt, after a
// config change.
func exported(t *testing.T) (genesis []byte, files map[string][]byte) {
	t.Helper()
	w := newWorld(t)
	c := w.lender()
	consent := w.authorised(c)
	r, err := c.Query(t.Context(), question(consent.ConsentID))
	w.must(err)
	w.net.Reconfigure(func(c *ledger.Config) { c.Limits.MaxExecLag = 63 })
	files = map[string][]byte{}
	for name, key := range map[string]string{"present": record.ConsentKey(consent.ConsentID), "absent": "consent/rec/0x"} {
		p, err := c.Proofs().Record(t.Context(), key)
		w.must(err)
		files[name], err = c.Proofs().ExportRecord(p)
		w.must(err)
	}
	key := record.RequestKey(r.Decision.RequestID)
	p, err := c.Proofs().Receipt(t.Context(), r.Verified.RequestProof.TxID, key)
	w.must(err)
	files["receipt"], err = c.Proofs().ExportReceipt(p)
	w.must(err)
	return w.net.Genesis.Encode(), files
}

func TestExportedProofsVerifyOffline(t *testing.T) {
	genesis, files := exported(t)
	p, err := sdk.VerifyBundle(genesis, files["present"])
	if err != nil || !p.Record.Present || !bytes.Contains(p.Record.Value, []byte("Authorised")) {
		t.Errorf("present: %+v, %v", p, err)
	}
	if p, err = sdk.VerifyBundle(genesis, files["absent"]); err != nil || p.Record.Present {
		t.Errorf("absent: %+v, %v", p, err)
	}
	if p, err = sdk.VerifyBundle(genesis, files["receipt"]); err != nil || p.Receipt.Code != record.OK || len(p.Receipt.Records) != 1 {
		t.Errorf("receipt: %+v, %v", p, err)
	}
	for name, f := range map[string]func(m map[string]any){
		"no config block":  func(m map[string]any) { m["configs"] = nil },
		"other chain":      func(m map[string]any) { m["chainId"] = hashOf("x") },
		"no proof":         func(m map[string]any) { delete(m, "state") },
		"two proofs":       func(m map[string]any) { m["receipt"] = m["state"] },
		"other header":     func(m map[string]any) { m["header"] = m["state"] },
		"newer version":    func(m map[string]any) { m["version"] = 2 },
		"other kind":       func(m map[string]any) { m["kind"] = "x" },
		"bytes of nothing": func(m map[string]any) { m["state"] = []byte{0xc0} },
	} {
		var m map[string]any
		if err := json.Unmarshal(files["present"], &m); err != nil {
			t.Fatal(err)
		}
		f(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sdk.VerifyBundle(genesis, b); err == nil {
			t.Errorf("%s: it verifies", name)
		}
	}
	var rows map[string]any
	if err := json.Unmarshal(files["receipt"], &rows); err != nil {
		t.Fatal(err)
	}
	for k := range rows["records"].(map[string]any) {
		rows["records"].(map[string]any)[k] = "{}"
	}
	b, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sdk.VerifyBundle(genesis, b)
	wantLie(t, err, "did not write")
	other := fakenode.New(later).Genesis.Encode()
	if _, err := sdk.VerifyBundle(other, files["present"]); err == nil {
		t.Error("it verifies under another genesis config")
	}
}

// Whatever is in a proof file: an error, never a panic, and no other value for
// the record proven.
func FuzzVerifyBundle(f *testing.F) {
	w := fakenode.New(later)
	genesis := w.Genesis.Encode()
	f.Add([]byte(`{"kind":"assent-proof","version":1,"chainId":"` + w.ChainID().Hex() + `","configs":null,"header":"","state":"wA=="}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := sdk.VerifyBundle(genesis, b)
		if err == nil && p.Record == nil && p.Receipt == nil {
			t.Error("nothing was verified without an error")
		}
	})
}

func TestKeyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.json")
	addr, err := sdk.NewKeyFile(path, "a password")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sdk.ReadKeyFile(path, "a password")
	if err != nil || s.Address() != addr {
		t.Fatalf("address %s, %v", s.Address(), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	short := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(short, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"another password": func() error { _, err := sdk.ReadKeyFile(path, "x"); return err },
		"no file":          func() error { _, err := sdk.ReadKeyFile(path+"x", "x"); return err },
		"no key file":      func() error { _, err := sdk.ReadKeyFile(short, "x"); return err },
		"a file is there":  func() error { _, err := sdk.NewKeyFile(path, "x"); return err },
		"empty password":   func() error { _, err := sdk.NewKeyFile(path+"2", ""); return err },
	} {
		var conf *sdk.ConfigError
		if err := f(); !errors.As(err, &conf) || conf.Remedy == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadRecordTakesAnySpelling(t *testing.T) {
	const want = `{"language":"zh-CN","noticeId":"n-1","text":"查询一次 \u0001\t\"q\" \\u2028 ` + "\u2028" + ` <&>","title":"告知书"}`
	spellings := []string{
		want,
		` { "title" : "告知书",` + "\n" + ` "text": "查询一次 \u0001\u0009\"q\" \\u2028 \u2028 \u003c\u0026>", "noticeId":"n-1", "language":"zh-CN" } `,
	}
	for _, s := range spellings {
		var n sdk.NoticeSpec
		if err := sdk.ReadRecord([]byte(s), &n); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if b, err := sdk.JSON(&n); err != nil || string(b) != want {
			t.Errorf("reads as %s, %v", b, err)
		}
	}
	for name, s := range map[string]string{
		"repeated field":   `{"title":"a","title":"b"}`,
		"unknown field":    strings.Replace(want, `"title"`, `"titel"`, 1),
		"missing field":    `{"language":"en"}`,
		"two values":       want + "{}",
		"not JSON":         `{"title":`,
		"too deep":         strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"a rule is broken": strings.Replace(want, "zh-CN", "-", 1),
		"too long":         `{"title":"` + strings.Repeat("x", sdk.MaxRecordFile) + `"}`,
	} {
		var n sdk.NoticeSpec
		if err := sdk.ReadRecord([]byte(s), &n); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// What ReadRecord takes, it takes to one form: reading the canonical JSON again
// gives the same record.
func FuzzReadRecord(f *testing.F) {
	spec := fakenode.TemplateSpec()
	b, err := sdk.JSON(&spec)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"a":[1,"\ud800\u0000",true,null,{"b":1.5}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var one, two sdk.TemplateSpec
		if sdk.ReadRecord(b, &one) != nil {
			return
		}
		c, err := sdk.JSON(&one)
		if err != nil {
			t.Fatal(err)
		}
		if err := sdk.ReadRecord(c, &two); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		if d, err := sdk.JSON(&two); err != nil || !bytes.Equal(c, d) {
			t.Errorf("%s became %s (%v)", c, d, err)
		}
	})
}

// A genesis file has one meaning: writing what was read and reading it again
// gives the same network.
func FuzzParseGenesis(f *testing.F) {
	genesis := fakenode.New(later).Genesis
	file, err := sdk.FormatGenesis(genesis)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add(genesis.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err := sdk.ParseGenesis(b)
		if err != nil {
			return
		}
		again, err := sdk.FormatGenesis(one)
		if err != nil {
			t.Fatal(err)
		}
		if two, err := sdk.ParseGenesis(again); err != nil || two.Hash() != one.Hash() {
			t.Errorf("%s: another network when read again (%v)", again, err)
		}
	})
}

const nodeCard = `{"member":"bank","kind":"validator","nodeId":"n1","hostKey":"0x028bfd53c3759626112cb0da7c0f8f43540f4a2b644c5a69d849efbd216e0667e9",` +
	`"voteKey":"0xe39f7e12f23556cdcc48cb8f39b0abac1490fd34","txKey":"0x2a2f831eb813c3549b6ac8dd4e05ea2b12ee2737",` +
	`"spki":"0x3b44edfcba0adbaff87d6a87cf9a2042bc81ad4c295fa9478601633709ef4415","addrs":["/ip4/127.0.0.1/tcp/1"],"apiUrls":["https://127.0.0.1:1"],` +
	`"answers":true,"dataKeyId":"k1","dataKey":"0x0207fb2136be20be5ccd71981f861d91baa44c1badd316d8b2509392c3016f7f"}`

func TestNodeCards(t *testing.T) {
	c, err := sdk.ParseNodeCard([]byte(nodeCard))
	if err != nil {
		t.Fatal(err)
	}
	spec := c.Spec()
	if spec.NodeID != "n1" || !spec.Answers || len(spec.HostKey) != 33 || spec.TxKey != c.TxKey {
		t.Errorf("record %+v", spec)
	}
	key, ok, err := c.DataKeySpec(later())
	if err != nil || !ok || len(key.PublicKey) != 32 || key.Check() != nil {
		t.Errorf("data key %+v, %v, %v", key, ok, err)
	}
	record, err := sdk.JSON(&spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sdk.ParseNodeCard(record); !errors.Is(err, sdk.ErrNoCard) {
		t.Errorf("a record read as a card: %v", err)
	}
	for name, bad := range map[string]string{
		"unknown field":    strings.Replace(nodeCard, `"kind"`, `"kinds"`, 1),
		"host key too big": strings.Replace(nodeCard, `0x028b`, `0x00028b`, 1),
		"answers no key":   strings.Replace(nodeCard, `0x2a2f831eb813c3549b6ac8dd4e05ea2b12ee2737`, `0x0000000000000000000000000000000000000000`, 1),
	} {
		if _, err := sdk.ParseNodeCard([]byte(bad)); err == nil || errors.Is(err, sdk.ErrNoCard) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.DataKey = "0x12"
	if _, _, err := c.DataKeySpec(later()); err == nil {
		t.Error("a data key of one byte was taken")
	}
}

func FuzzParseNodeCard(f *testing.F) {
	f.Add([]byte(nodeCard))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := sdk.ParseNodeCard(b); err == nil {
			spec := c.Spec()
			if spec.Check() != nil {
				t.Errorf("%s: taken, yet its record is refused", b)
			}
		}
	})
}
