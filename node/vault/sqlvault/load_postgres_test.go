package sqlvault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
)

// target is an account that may create tables in the space.
func (p pg) target() PostgresTarget {
	p.t.Helper()
	owner := p.name + "_owner"
	p.exec("CREATE ROLE "+owner+" LOGIN PASSWORD '"+owner+"'", "GRANT USAGE, CREATE ON SCHEMA "+p.name+" TO "+owner, "ALTER ROLE "+owner+" SET search_path = "+p.name)
	return PostgresTarget{URL: p.server.URL(pgtest.Database, owner, ""), Password: func() (string, error) { return owner, nil }, Reader: p.name}
}

func TestImportIntoPostgres(t *testing.T) {
	p := postgres(t)
	to := p.target()
	cfg := config("")
	cfg.Table = p.name + ".customers"
	input := header + "x,cn:1,5000,12.5,\"Bei\"\"jing\",true\r\n" + "x, cn:2 ,,,,\n" + "x,cn:3,-7,-0.05,东城,0\n"
	if got, err := ImportPostgres(t.Context(), to, cfg, strings.NewReader(input)); err != nil || got.Rows != 3 || got.Bytes != int64(len(input)) {
		t.Fatalf("%+v, %v", got, err)
	}
	v := p.open(p.config(cfg.Mapping()))
	if err := v.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[vault.Subject]vault.Row{
		"cn:1": {vault.IntValue(5000), vault.IntValue(1250), vault.StringValue(`Bei"jing`), vault.BoolValue(true)},
		"cn:2": {vault.Null(), vault.Null(), vault.Null(), vault.Null()},
		"cn:3": {vault.IntValue(-7), vault.IntValue(-5), vault.StringValue("东城"), vault.BoolValue(false)},
	} {
		row, err := v.Lookup(t.Context(), key, []string{"income", "rate", "region", "active"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if row[i] != want[i] {
				t.Errorf("%s column %d differs", string(key), i)
			}
		}
	}
	if _, err := ImportPostgres(t.Context(), to, cfg, strings.NewReader(input)); !errors.Is(err, ErrTableExists) {
		t.Errorf("again: %v", err)
	}

	// What is refused loads nothing and repeats no value.
	cfg.Replace = true
	for _, c := range []struct {
		name, input string
		want        []string
	}{
		{"key twice", header + "x,SECRET,1,1,a,1\nx,OTHER,1,1,a,1\nx,SECRET,2,2,b,0\n", []string{"row 3", "column id", "earlier row"}},
		{"bad cells", header + "x,cn:1,SECRET,1,a,1\nx,cn:2,1,1,a,SECRET\n", []string{"row 1 (line 2), column income", "row 2 (line 3), column active"}},
		{"bad record", header + "x,cn:1,1,1,a,1\nx,SECRET\n", []string{"row 2", "wrong number of fields"}},
		{"zero byte", header + "x,cn:1,1,1,SEC\x00RET,1\n", []string{"row 1", "22021"}},
	} {
		_, err := ImportPostgres(t.Context(), to, cfg, strings.NewReader(c.input))
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no word of %q in: %v", c.name, want, err)
			}
		}
		if row, err := v.Lookup(t.Context(), "cn:1", []string{"income"}); err != nil || row[0] != vault.IntValue(5000) {
			t.Errorf("%s: the old rows: %v", c.name, err)
		}
	}
	if got, err := ImportPostgres(t.Context(), to, cfg, strings.NewReader(header+"x,cn:9,1,1,a,1\n")); err != nil || got.Rows != 1 {
		t.Fatal(err)
	}
	// The running vault reads the new table.
	if row, err := v.Lookup(t.Context(), "cn:9", []string{"income"}); err != nil || row[0] != vault.IntValue(1) {
		t.Errorf("after a new import: %v", err)
	}
}

func TestImportIntoPostgresNamesWhatIsMissing(t *testing.T) {
	p := postgres(t)
	to := p.target()
	cfg := config("")
	noRole, noRight, down := to, to, to
	noRole.Reader = "nobody_knows"
	noRight.URL, noRight.Password = p.server.URL(pgtest.Database, p.name, ""), func() (string, error) { return p.name, nil }
	down.URL = strings.Replace(to.URL, fmt.Sprint(p.server.Port), fmt.Sprint(closedPort(t)), 1)
	for want, target := range map[string]PostgresTarget{"CREATE ROLE \"nobody_knows\"": noRole, "may create tables": noRight, "no connection": down} {
		if _, err := ImportPostgres(t.Context(), target, cfg, strings.NewReader(header)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	long := header + strings.Repeat("x,,1,1,a,1\n", 1) + strings.Repeat("\n", 10)
	cancel()
	if _, err := ImportPostgres(ctx, to, cfg, strings.NewReader(long)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
