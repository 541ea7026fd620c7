package node

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault"
	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
)

// TestVaultReports: one node with vaults in every state says so, and starts unless
// an account may write.
func TestVaultReports(t *testing.T) {
	server := pgtest.Own(t)
	space := server.NewSpace(t)
	exec := func(statements ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), pgtest.Database, append([]string{"SET search_path = " + space}, statements...)...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE customers (id text PRIMARY KEY, late integer, name text)", "GRANT SELECT ON customers TO "+space)
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "secret"), filepath.Join(dir, "vault.db")
	if err := os.WriteFile(secret, []byte(space+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlvault.Import(t.Context(), sqlvault.ImportConfig{Path: file, Table: "customers", Key: "id", KeyHeader: "id",
		Columns: []sqlvault.ImportColumn{{Name: "late", Type: vault.Int}}}, strings.NewReader("id,late\na,1\n")); err != nil {
		t.Fatal(err)
	}
	base := config.Vault{Product: "p.good", Connector: "postgres", Source: server.URL(pgtest.Database, space, ""), Password: "file:" + secret,
		Table: "customers", Key: "id", Timeout: 20 * time.Second, Columns: []config.Column{{Name: "late", Type: "int"}}}
	with := func(product string, change func(*config.Vault)) config.Vault {
		v := base
		v.Product = product
		change(&v)
		return v
	}
	embedded := with("p.embedded", func(v *config.Vault) { v.Connector, v.Source, v.Password = "sqlite", file, "" })
	down := with("p.down", func(v *config.Vault) { v.Source = "postgres://reader@127.0.0.1:1/core" })
	drifted := with("p.drifted", func(v *config.Vault) { v.Columns = []config.Column{{Name: "name", Type: "int"}} })
	mysql := with("p.mysql", func(v *config.Vault) { v.Connector, v.Source = "mysql", "mysql://reader@127.0.0.1:1/core" })

	var log bytes.Buffer
	n := &Node{log: slog.New(slog.NewJSONHandler(&log, nil))}
	n.cfg.Answering = config.Answering{Enabled: true, Vaults: []config.Vault{base, embedded, down, drifted, mysql}}
	if err := n.openVaults(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]VaultState{"p.good": VaultOK, "p.embedded": VaultOK, "p.down": VaultUnavailable, "p.drifted": VaultSchema, "p.mysql": VaultUnavailable}
	for _, r := range n.CheckVaults(t.Context()) {
		if r.State != want[r.Product] || (r.Err == nil) != (r.State == VaultOK) {
			t.Errorf("%s: %s, %v", r.Product, r.State, r.Err)
		}
		if r.Product == "p.good" && r.Types["late"] != "INT4" {
			t.Errorf("types %v", r.Types)
		}
	}
	if got := n.VaultStates(); got["p.good"] != VaultOK || got["p.down"] != VaultUnavailable || got["p.drifted"] != VaultSchema {
		t.Errorf("states %v", got)
	}
	if got := strings.Count(log.String(), `"product":"p.down"`); got != 1 { // looked at twice
		t.Errorf("one trouble is logged %d times", got)
	}
	exec("ALTER TABLE customers ALTER COLUMN name TYPE integer USING NULL")
	n.CheckVaults(t.Context())
	if !strings.Contains(log.String(), "a vault can be read again") || n.VaultStates()["p.drifted"] != VaultOK {
		t.Errorf("mended: %v\n%s", n.VaultStates(), log.String())
	}
	for _, words := range []string{"p.down", "p.drifted", "mapped as int but is TEXT"} {
		if !strings.Contains(log.String(), words) {
			t.Errorf("the log does not say %q:\n%s", words, log.String())
		}
	}
	if strings.Contains(log.String(), "p.good") {
		t.Errorf("the log complains about a good vault:\n%s", log.String())
	}
	if err := n.vaults.close(); err != nil {
		t.Error(err)
	}

	exec("GRANT DELETE ON customers TO " + space)
	if r := CheckVault(t.Context(), base); r.State != VaultAccount || !strings.Contains(r.Err.Error(), "REVOKE") {
		t.Errorf("%+v", r)
	}
	if err := n.openVaults(t.Context()); !errors.Is(err, vault.ErrAccount) || !strings.Contains(err.Error(), "p.good") {
		t.Errorf("an account that may write: %v", err)
	}
	n.vaults.close()
	os.Remove(secret)
	if r := CheckVault(t.Context(), base); r.State != VaultUnavailable || !strings.Contains(r.Err.Error(), "does not exist") {
		t.Errorf("no password file: %+v", r)
	}
}

// TestVaultExamplesOpen: the documented configuration is one.
func TestVaultExamplesOpen(t *testing.T) {
	b, err := os.ReadFile("vault/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```yaml\n")
	text, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("no YAML in vault/README.md")
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("dataDir: data\ngenesis: genesis.json\nidentity: {member: my-bank}\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range cfg.Answering.Vaults {
		v.Source = strings.Replace(v.Source, "?sslrootcert=/etc/assent/db-ca.pem", "", 1) // a file of the bank's
		if v.Password != "" {
			t.Setenv("VAULT_EXAMPLE", "x")
			v.Password = "env:VAULT_EXAMPLE"
		}
		if v.Connector == "sqlite" {
			if err := os.WriteFile(v.Source, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := OpenVault(v)
		if err != nil {
			t.Errorf("%s: %v", v.Product, err)
			continue
		}
		c.Close()
	}
	if len(cfg.Answering.Vaults) != 3 {
		t.Errorf("%d examples", len(cfg.Answering.Vaults))
	}
}
