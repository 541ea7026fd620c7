package sqlvault

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/vaulttest"
)

// A connection that is open keeps the old file readable; the vault must not.
func TestTheVaultIsWhatStandsUnderItsName(t *testing.T) {
	dir := t.TempDir()
	made := func(name string, value int64) string {
		path := filepath.Join(dir, name)
		db := build(t, path, vaulttest.Setup{
			Columns: []vaulttest.Column{{Name: "n", Type: vault.Int}},
			Rows:    []vaulttest.Row{{Key: "900001", Values: []vault.Value{vault.IntValue(value)}}},
		})
		db.Close()
		return path
	}
	path, next := made("vault.db", 1), made("next.db", 2)
	v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "n", Type: vault.Int}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	want := func(n int64) {
		t.Helper()
		var wg sync.WaitGroup
		for range 8 { // several connections
			wg.Go(func() {
				row, err := v.Lookup(t.Context(), "900001", []string{"n"})
				if err != nil || row[0] != vault.IntValue(n) {
					t.Errorf("%v, %v, want %d", row, err, n)
				}
			})
		}
		wg.Wait()
	}
	want(1)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Lookup(t.Context(), "900001", []string{"n"}); !errors.Is(err, vault.ErrUnavailable) {
		t.Errorf("without its file: %v", err)
	}
	if err := v.Check(t.Context()); !errors.Is(err, vault.ErrUnavailable) {
		t.Errorf("without its file, Check: %v", err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	want(1)
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	want(2)
}
