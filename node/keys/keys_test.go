package keys

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
)

var pw = []byte("correct horse")

// secretHex is a key that no output may show.
const secretHex = "4646464646464646464646464646464646464646464646464646464646464646"

func secret(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(secretHex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	s.n = 2 // the real work factor costs a tenth of a second a call
	return s
}

func snapshot(t *testing.T, s *Store) map[string]string {
	t.Helper()
	m := map[string]string{}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(s.dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		m[e.Name()] = string(b)
	}
	return m
}

func TestEveryKindIsKeptAndUnlocked(t *testing.T) {
	s := newStore(t)
	for _, k := range []Kind{Vote, Host, Client, Data, TLS} {
		info, err := s.New("my-"+string(k), k, pw)
		if err != nil {
			t.Fatal(err)
		}
		if info.Kind != k || info.PublicKey == "" || info.Created.IsZero() {
			t.Errorf("%s: %+v", k, info)
		}
	}
	reopened, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	infos, err := reopened.List()
	if err != nil || len(infos) != 5 || infos[0].Name != "my-client" || infos[4].Name != "my-vote" {
		t.Fatalf("list: %+v, %v", infos, err)
	}
	by := map[Kind]Info{}
	for _, i := range infos {
		by[i.Kind] = i
	}
	for _, k := range []Kind{Vote, Client} {
		signer, err := reopened.Signer("my-"+string(k), k, pw)
		if err != nil {
			t.Fatal(err)
		}
		d := ledger.Sum([]byte("digest"))
		sig, err := signer.Sign(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := ledger.VerifySignature(d, sig, by[k].Address); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
	host, err := reopened.Host("my-host", pw)
	if err != nil || hex0x(crypto.CompressPubkey(&host.PublicKey)) != by[Host].PublicKey {
		t.Errorf("host: %v", err)
	}
	data, err := reopened.Data("my-data", pw)
	if err != nil || hex0x(data.PublicKey().Bytes()) != by[Data].PublicKey {
		t.Errorf("data: %v", err)
	}
	if key, err := reopened.TLS("my-tls", pw); err != nil || key.Curve.Params().Name != "P-256" {
		t.Errorf("tls: %v", err)
	}
}

func TestOtherToolsReadTheFile(t *testing.T) {
	s := newStore(t)
	s.n = scryptN
	info, err := s.Import("c", Client, secret(t), pw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.path("c"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := keystore.DecryptKey(b, string(pw))
	if err != nil || k.Address != info.Address {
		t.Errorf("go-ethereum reads %v, %v", k, err)
	}
	kind, got, err := s.Export("c", pw)
	if err != nil || kind != Client || !bytes.Equal(got, secret(t)) {
		t.Errorf("export: %s, %v", kind, err)
	}
}

func TestWrongPasswordChangesNothing(t *testing.T) {
	s := newStore(t)
	if _, err := s.Import("c", Client, secret(t), pw); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s)
	_, err := s.Signer("c", Client, []byte("wrong horse"))
	if !errors.Is(err, ErrWrongPassword) || !strings.Contains(err.Error(), "check the password") || strings.Contains(err.Error(), "horse") {
		t.Errorf("unlock: %v", err)
	}
	if err := s.ChangePassword("c", []byte("wrong horse"), []byte("battery staple")); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("change: %v", err)
	}
	if err := s.ChangePassword("c", pw, []byte("short")); err == nil {
		t.Error("a short password is taken")
	}
	after := snapshot(t, s)
	if len(after) != 1 || after["c"+suffix] != before["c"+suffix] {
		t.Error("the directory changed")
	}
	if err := s.ChangePassword("c", pw, []byte("battery staple")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Signer("c", Client, []byte("battery staple")); err != nil {
		t.Error(err)
	}
	if _, err := s.Signer("c", Client, pw); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("the old password still opens: %v", err)
	}
	if len(snapshot(t, s)) != 1 {
		t.Error("temporary files stay behind")
	}
}

func TestAKeyIsNeverOverwritten(t *testing.T) {
	s := newStore(t)
	if _, err := s.Import("c", Client, secret(t), pw); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s)
	if _, err := s.New("c", Vote, pw); !errors.Is(err, ErrKeyExists) {
		t.Errorf("second key: %v", err)
	}
	if after := snapshot(t, s); len(after) != 1 || after["c"+suffix] != before["c"+suffix] {
		t.Error("the directory changed")
	}
}

func TestAKeyServesItsKindAlone(t *testing.T) {
	s := newStore(t)
	if _, err := s.Import("v", Vote, secret(t), pw); err != nil {
		t.Fatal(err)
	}
	checks := map[string]error{}
	_, checks["client"] = s.Signer("v", Client, pw)
	_, checks["host"] = s.Host("v", pw)
	_, checks["data"] = s.Data("v", pw)
	_, checks["tls"] = s.TLS("v", pw)
	_, checks["host as signer"] = s.Signer("v", Host, pw)
	for what, err := range checks {
		if !errors.Is(err, ErrWrongKind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Signer("w", Vote, pw); !errors.Is(err, ErrNoKey) {
		t.Errorf("missing key: %v", err)
	}
}

func TestLaxPermissionsAreRefused(t *testing.T) {
	s := newStore(t)
	if _, err := s.Import("c", Client, secret(t), pw); err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(s.path("c")); fi.Mode().Perm() != 0o600 {
		t.Errorf("file has mode %04o", fi.Mode().Perm())
	}
	if fi, _ := os.Stat(s.dir); fi.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %04o", fi.Mode().Perm())
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(s.path("c"), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Info("c"); !errors.Is(err, ErrTooOpen) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("file of mode %04o: %v", mode, err)
		}
	}
	if err := os.Chmod(s.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir); !errors.Is(err, ErrTooOpen) || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("directory: %v", err)
	}
	if _, err := Create(s.dir); !errors.Is(err, ErrTooOpen) {
		t.Errorf("create over an open directory: %v", err)
	}
	if _, err := Open(s.dir + "-not"); err == nil {
		t.Error("a directory that does not exist opens")
	}
}

func TestAnExchangedFileIsNoticed(t *testing.T) {
	s := newStore(t)
	if _, err := s.Import("c", Client, secret(t), pw); err != nil {
		t.Fatal(err)
	}
	if _, err := s.New("d", Client, pw); err != nil {
		t.Fatal(err)
	}
	var c, d keyFile
	for name, f := range map[string]*keyFile{"c": &c, "d": &d} {
		b, _ := os.ReadFile(s.path(name))
		if err := json.Unmarshal(b, f); err != nil {
			t.Fatal(err)
		}
	}
	c.Crypto = d.Crypto
	b, _ := json.Marshal(c)
	if err := os.WriteFile(s.path("c"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Signer("c", Client, pw); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("got %v", err)
	}
}

func TestADamagedFileDoesNotHideOthers(t *testing.T) {
	s := newStore(t)
	if _, err := s.Import("c", Client, secret(t), pw); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"bad" + suffix: "{", ".new-1": "x", "notes.txt": "x"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	infos, err := s.List()
	if len(infos) != 1 || err == nil || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("list: %+v, %v", infos, err)
	}
}

func TestNothingShowsAKey(t *testing.T) {
	s := newStore(t)
	if _, err := s.Import("c", Client, secret(t), pw); err != nil {
		t.Fatal(err)
	}
	signer, err := s.Signer("c", Client, pw)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "signer", signer, "s", []any{signer})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "signer", signer)
	j, _ := json.Marshal(signer)
	shown := log.String() + string(j)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		shown += fmt.Sprintf(verb, signer) + fmt.Sprintf(verb, []any{signer})
	}
	_, _, badKey := read(Client, append(secret(t), 1))
	_, _, badTLS := read(TLS, secret(t))
	shown += badKey.Error() + badTLS.Error()
	number := fmt.Sprint(int('F')) // 0x46 in decimal, repeated, would be the key as a list of numbers
	for _, bad := range []string{secretHex, strings.Repeat("F", 32), strings.Repeat(number+" ", 4)} {
		if strings.Contains(shown, bad) {
			t.Errorf("the key is shown: %s", shown)
		}
	}
	if !strings.Contains(shown, signer.Address().Hex()) {
		t.Error("the address is not shown")
	}
}

func TestNames(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "A", "a b", ".hidden", strings.Repeat("a", 65)} {
		if _, err := s.New(name, Client, pw); err == nil {
			t.Errorf("name %q is taken", name)
		}
		if _, err := s.Info(name); err == nil {
			t.Errorf("name %q is read", name)
		}
	}
	if _, err := s.New("a", "root", pw); err == nil {
		t.Error("an unknown kind is taken")
	}
	if _, err := s.New("a", Client, []byte("1234567")); err == nil {
		t.Error("a short password is taken")
	}
}

func TestPasswordSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Setenv("ASSENT_TEST_PASSWORD", "from env")
	asked := Password(func(string) ([]byte, error) { return []byte("typed"), nil })
	cases := []struct {
		source, want, wantErr string
		prompt                Password
	}{
		{source: "file:" + write("a", "from file\nsecond line\n", 0o600), want: "from file"},
		{source: "file:" + write("b", "dos\r\n", 0o440), want: "dos"},
		{source: "file:" + write("c", "open", 0o644), wantErr: "chmod 600"},
		{source: "file:" + write("d", "\n", 0o600), wantErr: "first line"},
		{source: "file:" + write("e", strings.Repeat("x", maxPasswordBytes+1), 0o600), wantErr: "something else"},
		{source: "file:" + dir + "/not", wantErr: "does not exist"},
		{source: "env:ASSENT_TEST_PASSWORD", want: "from env"},
		{source: "env:ASSENT_TEST_NOT_SET", wantErr: "is not set"},
		{source: "prompt", prompt: asked, want: "typed"},
		{source: "prompt", wantErr: "no terminal"},
		{source: "hunter2", wantErr: "want"},
		{source: "", wantErr: "want"},
		{source: "file:", wantErr: "want"},
	}
	for _, c := range cases {
		p, err := ParseSource(c.source, c.prompt)
		var got []byte
		if err == nil {
			got, err = p("vote")
		}
		if string(got) != c.want || (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%q gives %q, %v; want %q, %q", c.source, got, err, c.want, c.wantErr)
		}
		if err != nil && c.source == "hunter2" && strings.Contains(err.Error(), c.source) {
			t.Errorf("the error repeats what may be a password: %v", err)
		}
	}
	fixed := Fixed(pw)
	a, _ := fixed("x")
	clear(a)
	if b, _ := fixed("x"); !bytes.Equal(b, pw) {
		t.Error("clearing one answer cleared the source")
	}
}

func TestParseRefuses(t *testing.T) {
	_, info, err := read(Client, secret(t))
	if err != nil {
		t.Fatal(err)
	}
	info.Name = "c"
	good, err := seal(info, secret(t), pw, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	edit := func(change func(map[string]any)) []byte {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		b, _ := json.Marshal(m)
		return b
	}
	sub := func(m map[string]any, path ...string) map[string]any {
		for _, p := range path {
			m = m[p].(map[string]any)
		}
		return m
	}
	for name, b := range map[string][]byte{
		"empty":         {},
		"too large":     bytes.Repeat([]byte(" "), maxFileBytes+1),
		"trailing":      append(bytes.Clone(good), '{'),
		"unknown field": edit(func(m map[string]any) { m["x"] = 1 }),
		"version":       edit(func(m map[string]any) { m["version"] = 1 }),
		"format":        edit(func(m map[string]any) { sub(m, "assent")["format"] = 2 }),
		"kind":          edit(func(m map[string]any) { sub(m, "assent")["kind"] = "root" }),
		"public key":    edit(func(m map[string]any) { sub(m, "assent")["publicKey"] = "0x" }),
		"heavy scrypt":  edit(func(m map[string]any) { sub(m, "crypto", "kdfparams")["n"] = 1 << 30 }),
		"zero scrypt":   edit(func(m map[string]any) { sub(m, "crypto", "kdfparams")["n"] = 0 }),
		"salt type":     edit(func(m map[string]any) { sub(m, "crypto", "kdfparams")["salt"] = 7 }),
		"dklen":         edit(func(m map[string]any) { sub(m, "crypto", "kdfparams")["dklen"] = 16 }),
		"iv":            edit(func(m map[string]any) { sub(m, "crypto", "cipherparams")["iv"] = "00" }),
		"kdf":           edit(func(m map[string]any) { sub(m, "crypto")["kdf"] = "pbkdf2" }),
		"cipher":        edit(func(m map[string]any) { sub(m, "crypto")["cipher"] = "rot13" }),
		"ciphertext":    edit(func(m map[string]any) { sub(m, "crypto")["ciphertext"] = "" }),
	} {
		if _, err := parse(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	_, info, err := read(Client, secret(f))
	if err != nil {
		f.Fatal(err)
	}
	good, err := seal(info, secret(f), pw, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"crypto":{"kdfparams":{"n":99999999999}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parse(b)
		if err != nil {
			return
		}
		if p := k.Crypto.KDFParams; p.N > scryptN || p.P > scryptP || p.R != scryptR {
			t.Errorf("scrypt would cost %+v", p)
		}
		k.Crypto.KDFParams.N, k.Crypto.KDFParams.P = 2, 1 // what is left must not panic, whatever the cost
		_, _ = k.open(pw)
		_ = k.info("x")
	})
}
