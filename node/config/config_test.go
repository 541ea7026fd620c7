package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const minimal = `
dataDir: data
genesis: genesis.json
identity: {member: bank-a}
`

func write(t testing.TB, name, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMinimalFileTakesTheDefaults(t *testing.T) {
	p := write(t, "assentd.yaml", minimal)
	c, err := Load(Sources{File: p})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(p)
	want := Default()
	want.DataDir, want.Genesis, want.Identity.Member = filepath.Join(dir, "data"), filepath.Join(dir, "genesis.json"), "bank-a"
	want.Identity.KeysDir = filepath.Join(dir, "keys")
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
}

func TestEnvironmentOverridesFileAndFlagsOverrideBoth(t *testing.T) {
	p := write(t, "assentd.yaml", minimal+"log: {level: debug}\napi: {listen: 127.0.0.1:1}\nmetrics: {listen: 127.0.0.1:2}\n")
	c, err := Load(Sources{
		File: p,
		Env: []string{"ASSENT_API_LISTEN=127.0.0.1:3", "ASSENT_METRICS_LISTEN=127.0.0.1:4", "ASSENT_API_NAMES=a.example, 10.0.0.1",
			"ASSENT_LIMITS_POOL_REQUESTS=500", "ASSENT_LIMITS_REQUEST_TIMEOUT=3s", "ASSENT_IDENTITY_MEMBER=123", "PATH=/bin", "ASSENT_ENDPOINT=x"},
		Flags: map[string]string{"metrics.listen": "off", "limits.clientRate": "2.5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Log.Level != "debug" || c.API.Listen != "127.0.0.1:3" || c.Metrics.Listen != Off || c.Limits.PoolRequests != 500 ||
		c.Limits.RequestTimeout != 3*time.Second || c.Limits.ClientRate != 2.5 || c.Identity.Member != "123" ||
		!cmp.Equal(c.API.Names, []string{"a.example", "10.0.0.1"}) {
		t.Errorf("%+v", c)
	}
}

func TestEnvNames(t *testing.T) {
	for key, want := range map[string]string{
		"dataDir": "ASSENT_DATA_DIR", "api.listen": "ASSENT_API_LISTEN", "identity.tlsKey": "ASSENT_IDENTITY_TLS_KEY",
		"limits.requestTimeout": "ASSENT_LIMITS_REQUEST_TIMEOUT",
	} {
		if got := EnvName(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	seen := map[string]string{}
	for _, k := range keys() {
		if other := seen[EnvName(k.path)]; other != "" {
			t.Errorf("%s and %s share %s", k.path, other, EnvName(k.path))
		}
		seen[EnvName(k.path)] = k.path
	}
}

// Every complaint names key, value and what to do; all come at once.
func TestComplaints(t *testing.T) {
	cases := map[string]struct {
		file string
		env  []string
		want []string
	}{
		"nothing given":        {file: "", want: []string{"dataDir: is missing", "genesis: is missing", "identity.member: is missing", "ASSENT_DATA_DIR"}},
		"unknown keys":         {file: minimal + "apy: {listen: x}\nlog: {levle: info}\n", want: []string{"apy: unknown key: did you mean api?", "log.levle: unknown key: did you mean log.level?"}},
		"unknown in list":      {file: minimal + "answering: {enabled: true, vaults: [{produkt: p}]}", want: []string{"answering.vaults[0].produkt: unknown key: did you mean answering.vaults[0].product?"}},
		"wrong types":          {file: minimal + "api: 5\nlog: {level: [a]}\nlimits: {poolRequests: many, clientRate: fast, requestTimeout: 10}\nanswering: {enabled: 1}\nnetwork: {listen: x}\n", want: []string{"api: has 5, want a group", "log.level: has a list, want text", `limits.poolRequests: has "many", want a whole number`, `limits.clientRate: has "fast"`, "limits.requestTimeout: has 10, want a time with its unit", "answering.enabled: has 1, want true or false", `network.listen: has "x", want a list`}},
		"member":               {file: strings.Replace(minimal, "bank-a", "bank a", 1), want: []string{`identity.member: has "bank a"`}},
		"node kind":            {file: strings.Replace(minimal, "bank-a", "bank-a, node: validater", 1), want: []string{`identity.node: has "validater"`, "did you mean validator?"}},
		"password in the file": {file: strings.Replace(minimal, "bank-a", "bank-a, password: hunter2", 1), want: []string{"identity.password: want file:<path>"}},
		"password is a number": {file: strings.Replace(minimal, "bank-a", "bank-a, password: 4711", 1), want: []string{"identity.password: has a value of another form"}},
		"one key, two uses":    {file: strings.Replace(minimal, "bank-a", "bank-a, hostKey: vote", 1), want: []string{`identity.voteKey: names key "vote" as identity.hostKey does`}},
		"key name":             {file: strings.Replace(minimal, "bank-a", "bank-a, txKey: ../x, dataKeys: [A]", 1), want: []string{`identity.txKey: has "../x"`, `identity.dataKeys[0]: has "A"`}},
		"addresses":            {file: minimal + "network: {listen: [0.0.0.0:7400]}\napi: {listen: '7443', names: ['a:1'], guests: ['a b']}\nmetrics: {listen: nowhere}\n", want: []string{`network.listen[0]: has "0.0.0.0:7400", want a multiaddress`, `api.listen: has "7443", want host:port`, `api.names[0]: has "a:1"`, `api.guests[0]`, "metrics.listen", "or off"}},
		"entry":                {file: minimal + "network: {entry: [/ip4/10.0.0.7/tcp/7400, /ip4/10.0.0.7/tcp/7400/p2p/x, 16Uiu2HAm1nH6sfUkdQ8JeGZ2oZgjrZrbQyMZvqGgF1nsW1Jd4JvN]}\n", want: []string{"network.entry[0]", "network.entry[1]", "network.entry[2]", "assentd card"}},
		"no addresses":         {file: minimal + "network: {listen: []}\napi: {names: []}\n", want: []string{"network.listen: has 0", "api.names: has 0"}},
		"port":                 {file: minimal + "api: {listen: '127.0.0.1:70000'}", want: []string{"api.listen"}},
		"limits":               {file: minimal + "limits: {poolRequests: 1, clientRate: 0, clientBurst: 0, anonymousRate: .inf, clientStreams: 0, connections: 1, peerTxRate: -1, requestTimeout: 1h}", want: []string{"limits.anonymousRate: has +Inf, want a number"}},
		"limits in range":      {file: minimal + "limits: {poolRequests: 1, clientRate: 0, clientBurst: 0, clientStreams: 0, connections: 1, peerTxRate: -1, requestTimeout: 1h}", want: []string{"limits.poolRequests: has 1, want 100", "limits.clientRate", "limits.clientBurst", "limits.clientStreams", "limits.connections", "limits.peerTxRate", "limits.requestTimeout: has 1h0m0s"}},
		"log":                  {file: minimal + "log: {level: loud, format: xml}", want: []string{`log.level: has "loud"`, `log.format: has "xml"`}},
		"answering, no vault":  {file: minimal + "answering: {enabled: true}", want: []string{"answering.vaults: is empty"}},
		"vault, not answering": {file: minimal + "answering: {vaults: [{product: p, source: v.db, table: t, key: id, columns: [{name: a, type: int}]}]}", want: []string{"answering.enabled: is false"}},
		"vault": {file: minimal + "answering: {enabled: true, vaults: [{product: '', connector: oracle, table: t, query: q, key: 'a b', timeout: 1ns, columns: [{name: a, type: float}, {name: a, type: string, scale: 2}]}, {product: ''}]}", want: []string{
			"vaults[0].product", `vaults[0].connector: has "oracle"`, "vaults[0].source: is missing", "vaults[0]: want either table or query", "vaults[0].key", "vaults[0].timeout", `vaults[0].columns[0].type: has "float"`, "vaults[0].columns[1].name", "vaults[0].columns[1].scale", "vaults[1].product", "second time", "vaults[1].columns: has 0"}},
		"slip in a variable": {file: minimal, env: []string{"ASSENT_API_LISTN=127.0.0.1:1"}, want: []string{"ASSENT_API_LISTN is unknown: did you mean ASSENT_API_LISTEN?"}},
		"bad variable":       {file: minimal, env: []string{"ASSENT_LIMITS_POOL_REQUESTS=lots"}, want: []string{`limits.poolRequests: has "lots"`}},
		"not YAML":           {file: "a: [", want: []string{"not YAML", "line 1"}},
		"another file":       {file: "hunter2", want: []string{"another file"}},
		"duplicate key":      {file: minimal + "dataDir: x\n", want: []string{"dataDir"}},
	}
	for name, c := range cases {
		_, err := Load(Sources{File: write(t, "f.yaml", c.file), Env: c.env})
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: want %q in:\n%v", name, w, err)
			}
		}
		for _, secret := range []string{"hunter2", "4711"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: what may be a password is repeated: %v", name, err)
			}
		}
	}
}

func TestFlagsOfUnknownKeysAreRefused(t *testing.T) {
	_, err := Load(Sources{File: write(t, "f.yaml", minimal), Flags: map[string]string{"api.lisen": "x"}})
	if err == nil || !strings.Contains(err.Error(), "did you mean api.listen?") {
		t.Errorf("got %v", err)
	}
}

func TestObserverNeedsNoVoteKey(t *testing.T) {
	if _, err := Load(Sources{File: write(t, "f.yaml", strings.Replace(minimal, "bank-a", "bank-a, node: observer, voteKey: ''", 1))}); err != nil {
		t.Error(err)
	}
	if _, err := Load(Sources{File: write(t, "f.yaml", strings.Replace(minimal, "bank-a", "bank-a, voteKey: ''", 1))}); err == nil {
		t.Error("a validator without vote key is accepted")
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	big := write(t, "big.yaml", strings.Repeat("#", MaxFileBytes+1))
	for path, want := range map[string]string{filepath.Join(dir, "none.yaml"): "assentd init", dir: "regular file", big: "another file"} {
		if _, err := Load(Sources{File: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func full() Config {
	c := Default()
	c.DataDir, c.Genesis = "/var/lib/assent", "/etc/assent/genesis.json"
	c.Identity.Member, c.Identity.KeysDir, c.Identity.Password = "bank-a", "/etc/assent/keys", "file:/run/secrets/p: #1"
	c.Identity.DataKeys = []string{"data-2", "data-1"}
	c.API.Guests = []string{"lender-b"}
	c.Answering = Answering{Enabled: true, Vaults: []Vault{
		{Product: "income", Connector: "sqlite", Connections: 4, Source: "/srv/vault.db", Query: "SELECT id,\n\t\"a\" FROM t -- x", Key: "id", Timeout: time.Second,
			Columns: []Column{{Name: "income", Type: "int", Expr: "income * 1.0", Scale: 2}, {Name: "name", Type: "string"}}},
		{Product: "loans", Connector: "postgres", Connections: 8, Source: "postgres://reader@db/core", Password: "env:VAULT_PASSWORD", Table: "loans", Key: "id", Timeout: 2 * time.Second, Columns: []Column{{Name: "open", Type: "bool", Stored: "BOOL"}}},
	}}
	return c
}

func TestTemplateIsReadBack(t *testing.T) {
	noVaults := full()
	noVaults.Answering = Answering{}
	for _, c := range []Config{full(), noVaults} {
		text := Template(c)
		got, err := Load(Sources{File: write(t, "f.yaml", string(text))})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := cmp.Diff(c, got, nilIsEmpty); d != "" {
			t.Errorf("%s\n%s", d, text)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "# \n") {
				t.Errorf("a key has no comment:\n%s", text)
			}
		}
	}
	if !bytes.Contains(Template(Default()), []byte("identity:")) {
		t.Error("the template of the defaults lacks groups")
	}
}

var nilIsEmpty = cmpopts.EquateEmpty()

func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add(Template(full()))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {a: b}\n: c"))
	f.Add([]byte("1: {2: 3}\ntrue: x"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		p := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Sources{File: p})
		if err != nil {
			return
		}
		again, err := Load(Sources{File: write(t, "again.yaml", string(Template(c)))})
		if err != nil {
			t.Fatalf("the template of an accepted configuration is refused: %v", err)
		}
		if d := cmp.Diff(c, again, nilIsEmpty); d != "" {
			t.Error(d)
		}
	})
}

// TestVaultPasswordsStayOut: wherever an operator puts a database password that
// does not belong there, it is refused and not repeated.
func TestVaultPasswordsStayOut(t *testing.T) {
	vault := func(fields string) string {
		return minimal + "\nanswering: {enabled: true, vaults: [{product: p, table: t, key: id, columns: [{name: a, type: int}], " + fields + "}]}\n"
	}
	for fields, want := range map[string]string{
		"connector: postgres, source: 'postgres://r:hunter2@db/core'":                      "holds a password",
		"connector: postgres, source: 'postgres://r@db/core?password=hunter2'":             "holds a password",
		"connector: postgres, source: 'host=db password=hunter2'":                          "want a URL",
		"connector: mysql, source: 'mysql://r:hunter2@db/core'":                            "holds a password",
		"connector: postgres, source: 'postgres://r@db/core', password: hunter2":           "want file:<path> or env:<variable>",
		"connector: postgres, source: 'postgres://r@db/core', password: [hunter2]":         "put it in quotes",
		"connector: sqlite, source: v.db, password: 'file:hunter2'":                        "no accounts",
		"connector: postgres, source: 'postgres://r:hunter2@db:x/core'":                    "want a URL",
		"connector: postgres, source: 'postgres://r@db/core', connections: 65":             "want 1 to 64",
		"connector: postgre, source: 'postgres://r@db/core'":                               "did you mean postgres",
		"connector: postgres, source: 'postgres://r@db/core', pasword: 'hunter2'":          "did you mean answering.vaults[0].password",
		"connector: postgres, source: 'postgres://r@db/core', password: 'prompt: hunter2'": "want file:<path>",
	} {
		_, err := Load(Sources{File: write(t, "f.yaml", vault(fields))})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
	path := write(t, "f.yaml", vault("connector: postgres, source: 'postgres://r@db/core', password: 'file:db.pw'"))
	c, err := Load(Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Answering.Vaults[0].Password, "file:"+filepath.Join(filepath.Dir(path), "db.pw"); got != want {
		t.Errorf("password is %q, want %q", got, want)
	}
}
