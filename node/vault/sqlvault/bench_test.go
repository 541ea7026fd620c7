package sqlvault

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
)

const benchRows = 30_000

var benchMapping = Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{
	{Name: "a", Type: vault.Int}, {Name: "b", Type: vault.Int, Scale: 2}, {Name: "c", Type: vault.String}, {Name: "d", Type: vault.Bool}}}

// benchLookups looks up four columns of one subject after the other and reports
// this process's own CPU beside the time.
func benchLookups(b *testing.B, v *Vault) {
	defer v.Close()
	columns := []string{"a", "b", "c", "d"}
	if _, err := v.Lookup(b.Context(), "1", columns); err != nil {
		b.Fatal(err)
	}
	before := cpu(b)
	n := 0
	for b.Loop() {
		if _, err := v.Lookup(b.Context(), vault.Subject(strconv.Itoa(n%benchRows+1)), columns); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(n), "cpu-ns/op")
}

// cpu is the time that this process has computed, in nanoseconds.
func cpu(b *testing.B) int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

func BenchmarkLookupSQLite(b *testing.B) {
	path := filepath.Join(b.TempDir(), "vault.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE customers (id TEXT PRIMARY KEY, a INTEGER, b TEXT, c TEXT, d INTEGER) WITHOUT ROWID;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ` + strconv.Itoa(benchRows) + `) INSERT INTO customers SELECT i, i, i || '.25', 'x', i % 2 FROM n`); err != nil {
		b.Fatal(err)
	}
	v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: benchMapping})
	if err != nil {
		b.Fatal(err)
	}
	benchLookups(b, v)
}

func BenchmarkLookupPostgres(b *testing.B) {
	server := pgtest.Shared(b)
	name := server.NewSpace(b)
	if err := server.Exec(b.Context(), pgtest.Database, "SET search_path = "+name,
		"CREATE TABLE customers (id text PRIMARY KEY, a bigint, b numeric(12,2), c text, d boolean)",
		fmt.Sprintf("INSERT INTO customers SELECT i::text, i, i + 0.25, 'x', i %% 2 = 0 FROM generate_series(1, %d) i", benchRows),
		"GRANT SELECT ON customers TO "+name, "ANALYZE customers"); err != nil {
		b.Fatal(err)
	}
	password := func() (string, error) { return name, nil }
	for _, way := range []struct{ name, url string }{
		{"TCP", server.URL(pgtest.Database, name, "")},
		{"Socket", fmt.Sprintf("postgres://%s@/%s?host=%s&port=%d", name, pgtest.Database, server.Dir, server.Port)},
	} {
		b.Run(way.name, func(b *testing.B) {
			v, err := OpenPostgres(ServerConfig{URL: way.url, Password: password, Mapping: benchMapping})
			if err != nil {
				b.Fatal(err)
			}
			before := serverCPU(b, server.PID)
			benchLookups(b, v)
			b.ReportMetric(float64(serverCPU(b, server.PID)-before)/float64(b.N), "server-cpu-ns/op")
		})
	}
}

// serverCPU is what the processes of a server have computed that are there now, in
// nanoseconds; it counts in hundredths of a second.
func serverCPU(b *testing.B, pid int) (total int64) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid … utime stime cutime cstime, fields 14 to 17
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		own := filepath.Base(filepath.Dir(path)) == strconv.Itoa(pid)
		if f[1] != strconv.Itoa(pid) && !own {
			continue
		}
		last := 13
		if own {
			last = 15 // with the sessions that have ended
		}
		for _, s := range f[11:last] {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			total += n * 10_000_000
		}
	}
	return total
}
