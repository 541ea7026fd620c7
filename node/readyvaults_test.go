package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/metrics"
	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault"
)

// /readyz names every product's vault, says in a word what is wrong with it and
// where to learn more, and stays ready: the node orders and serves as ever.
func TestReadinessShowsVaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vault.db")
	if _, err := sqlvault.Import(t.Context(), sqlvault.ImportConfig{Path: file, Table: "customers", Key: "id", KeyHeader: "id",
		Columns: []sqlvault.ImportColumn{{Name: "late", Type: vault.Int}}}, strings.NewReader("id,late\na,1\n")); err != nil {
		t.Fatal(err)
	}
	good := config.Vault{Product: "p.good", Connector: "sqlite", Source: file, Table: "customers", Key: "id", Columns: []config.Column{{Name: "late", Type: "int"}}}
	drifted := good
	drifted.Product, drifted.Columns = "p.drifted", []config.Column{{Name: "none", Type: "int"}}
	n := &Node{log: slog.New(slog.DiscardHandler)}
	if got := n.checkVaults(t.Context()); got != nil {
		t.Errorf("a node that does not answer shows %v", got)
	}
	n.cfg.Answering = config.Answering{Enabled: true, Vaults: []config.Vault{good, drifted}}
	if err := n.openVaults(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.vaults.close()
	got := n.checkVaults(t.Context())
	if len(got) != 2 || got[0].Name != "vault p.drifted" || got[0].OK || !got[0].Advisory || got[1].Name != "vault p.good" || !got[1].OK || got[1].Why != "" {
		t.Fatalf("%+v", got)
	}
	if why := got[0].Why; !strings.Contains(why, "(schema)") || !strings.Contains(why, "assentd doctor") || strings.Contains(why, file) {
		t.Errorf("why: %s", why)
	}
	// What a look found counts for a while, so that asking often costs the database
	// nothing; then it is looked at again.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := n.checkVaults(t.Context()); !got[1].OK {
		t.Errorf("looked at again at once: %+v", got)
	}
	n.vaultsSeen.Store(0)
	if got := n.checkVaults(t.Context()); got[1].OK || !strings.Contains(got[1].Why, "(unavailable)") {
		t.Errorf("its file is gone: %+v", got)
	}
	w := httptest.NewRecorder()
	gateway.ServeReadiness(w, gateway.Readiness{Ready: true, Checks: got})
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"advisory":true`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// failing is a vault whose look-ups fail.
type failing struct {
	vault.Connector
	err error
}

func (f failing) Lookup(context.Context, vault.Subject, []string) (vault.Row, error) {
	return nil, f.err
}

// Every kind of failure of a vault is counted as what it is.
func TestFailedLookupsAreCountedByKind(t *testing.T) {
	for kind, err := range map[string]error{
		"account": fmt.Errorf("look up: %w", vault.ErrAccount), "schema": vault.ErrSchema, "ambiguous": vault.ErrAmbiguous, "unavailable": errors.New("gone"),
	} {
		m := metrics.New("test")
		subject, bad := vault.ParseSubject("a")
		if bad != nil {
			t.Fatal(bad)
		}
		if _, got := (countedVault{failing{err: err}, "p", m}).Lookup(t.Context(), subject, nil); !errors.Is(got, err) {
			t.Errorf("%s: %v", kind, got)
		}
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if line := `assent_vault_errors_total{kind="` + kind + `",product="p"} 1`; !strings.Contains(w.Body.String(), line) || strings.Count(w.Body.String(), "\nassent_vault_errors_total{") != 1 {
			t.Errorf("%s is not counted as such:\n%s", kind, w.Body)
		}
	}
}
