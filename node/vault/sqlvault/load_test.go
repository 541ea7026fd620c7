package sqlvault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/assent-network/assent/node/vault"
)

func config(path string) ImportConfig {
	return ImportConfig{Path: path, Table: "customers", Key: "id", KeyHeader: "ID", Columns: []ImportColumn{
		{Name: "income", Header: "LIMIT BAL", Type: vault.Int},
		{Name: "rate", Header: "Rate", Type: vault.Int, Scale: 2},
		{Name: "region", Type: vault.String},
		{Name: "active", Header: "Active", Type: vault.Bool},
	}}
}

const header = "Other,ID,LIMIT BAL,Rate,region,Active\r\n"

func TestImportReadsWhatSpreadsheetsWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.db")
	input := "\xef\xbb\xbf" + header +
		"x,cn:1,5000,12.5,\"Bei\"\"jing\",true\r\n" +
		"x, cn:2 ,,,,\n" +
		"x,\"cn:3\",-7, 3 ,\"line one\r\nline two\",0\n" +
		"x,cn:4,0,0.00,  spaced ,1"
	for _, r := range []*strings.Reader{strings.NewReader(input)} {
		got, err := Import(t.Context(), config(path), iotest.OneByteReader(r))
		if err != nil {
			t.Fatal(err)
		}
		if got.Rows != 4 || got.Bytes != int64(len(input)) {
			t.Errorf("%+v, want 4 rows of %d bytes", got, len(input))
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: config(path).Mapping()})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[vault.Subject]vault.Row{
		"cn:1": {vault.IntValue(5000), vault.IntValue(1250), vault.StringValue(`Bei"jing`), vault.BoolValue(true)},
		"cn:2": {vault.Null(), vault.Null(), vault.Null(), vault.Null()},
		"cn:3": {vault.IntValue(-7), vault.IntValue(300), vault.StringValue("line one\nline two"), vault.BoolValue(false)},
		"cn:4": {vault.IntValue(0), vault.IntValue(0), vault.StringValue("  spaced "), vault.BoolValue(true)},
	} {
		row, err := v.Lookup(t.Context(), key, []string{"income", "rate", "region", "active"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if row[i] != want[i] {
				s, _ := row[i].Str()
				t.Errorf("%s column %d differs (%q)", string(key), i, s)
			}
		}
	}
}

func TestBadInputIsNamedAndLoadsNothing(t *testing.T) {
	for _, c := range []struct {
		name, input string
		want        []string
	}{
		{"empty", "", []string{"the file is empty"}},
		{"missing columns", "ID,Rate\n1,2\n", []string{`"LIMIT BAL", "region", "Active"`, "separator"}},
		{"repeated header", "ID,ID\n", []string{`names "ID" twice`}},
		{"text in a number", header + "x,cn:1,1,1,a,true\nx,cn:2,SECRET,1,a,true\n", []string{`row 2 (line 3), column income (header "LIMIT BAL"): is not a whole number`}},
		{"too many decimals", header + "x,cn:1,1,1.234,a,true\n", []string{"row 1 (line 2), column rate", "at most 2 decimal places"}},
		{"not a boolean", header + "x,cn:1,1,1,a,SECRET\n", []string{"column active", "neither true nor false"}},
		{"too large", header + "x,cn:1,99999999999999999999,1,a,1\n", []string{"column income"}},
		{"no key", header + "x,,1,1,a,1\n", []string{`column id (header "ID"): empty subject identifier`}},
		{"control character in the key", header + "x,SEC\x01RET,1,1,a,1\n", []string{"control character"}},
		{"key twice", header + "x,SECRET,1,1,a,1\nx,SECRET,2,2,b,0\n", []string{"row 2 (line 3), column id", "earlier row"}},
		{"long text", header + "x,cn:1,1,1," + strings.Repeat("S", 300) + ",1\n", []string{"column region", "at most 256 bytes"}},
		{"not UTF-8", header + "x,cn:1,1,1,\xff\xfe,1\n", []string{"column region", "UTF-8"}},
		{"wrong number of fields", header + "x,cn:1,1\n", []string{"row 1", "wrong number of fields"}},
		{"bare quote", header + "x,cn:1,1,1,a\"b,1\n", []string{"row 1", "bare"}},
		{"quote left open", header + "x,cn:1,1,1,\"a,1\n" + strings.Repeat("x,cn:2,1,1,a,1\n", 10_000), []string{"longer than 65536 bytes", "quote left open"}},
		{"no line ends", strings.Repeat("SECRET", 100_000), []string{"longer than 65536 bytes"}},
		{"several at once", header + "x,cn:1,SECRET,SECRET,a,SECRET\nx,cn:2,SECRET,1,a,1\n", []string{"column income", "column rate", "column active", "row 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "v.db")
			_, err := Import(t.Context(), config(path), strings.NewReader(c.input))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no word of %q in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "SSS") {
				t.Errorf("the error repeats a value: %v", err)
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
				t.Errorf("files left behind: %v", left)
			}
		})
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.db")
	_, err := Import(t.Context(), config(path), strings.NewReader(header+strings.Repeat("x,cn:1,a,b,c,d\n", 50_000)))
	if err == nil || strings.Count(err.Error(), "\n") > maxBadCells+5 {
		t.Errorf("%d lines of complaints", strings.Count(err.Error(), "\n"))
	}
}

func TestImportAgainNeedsReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.db")
	one, two := header+"x,cn:1,1,1,a,1\n", header+"x,cn:2,2,2,b,0\nx,cn:3,3,3,c,0\n"
	if _, err := Import(t.Context(), config(path), strings.NewReader(one)); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), config(path), strings.NewReader(two)); !errors.Is(err, ErrTableExists) {
		t.Fatalf("error %v, want a refusal", err)
	}
	v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: config(path).Mapping()})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	has := func(s vault.Subject) bool {
		_, err := v.Lookup(t.Context(), s, []string{"income"})
		if err != nil && !errors.Is(err, vault.ErrUnknownSubject) {
			t.Fatal(err)
		}
		return err == nil
	}
	replace := config(path)
	replace.Replace = true
	if _, err := Import(t.Context(), replace, strings.NewReader(two+"x,cn:4,bad,1,a,1\n")); err == nil || !has("cn:1") || has("cn:2") {
		t.Fatalf("a failed replacement changed the vault (%v)", err)
	}
	if _, err := Import(t.Context(), replace, strings.NewReader(two)); err != nil || has("cn:1") || !has("cn:3") {
		t.Fatalf("not replaced under an open reader: %v", err)
	}
}

func TestCancelledImportLoadsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.db")
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(path)
	calls := 0
	cfg.Progress = func(p Progress) {
		if calls++; p.Rows >= 2000 {
			cancel()
		}
	}
	_, err := Import(ctx, cfg, bytes.NewReader(rowsCSV(10_000)))
	if !errors.Is(err, context.Canceled) || calls < 2 {
		t.Fatalf("error %v after %d calls", err, calls)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("half a vault left behind")
	}
}

func rowsCSV(n int) []byte {
	var b bytes.Buffer
	b.WriteString(header)
	for i := range n {
		fmt.Fprintf(&b, "x,cn:%d,%d,%d.%02d,r%d,%d\n", i, i*1000, i, i%100, i%30, i%2)
	}
	return b.Bytes()
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(header + "x,cn:1,1,1.5,a,true\n"))
	f.Add([]byte("\xef\xbb\xbf" + header + "x,\"a\"\"b\",,,,\r\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		path := filepath.Join(t.TempDir(), "v.db")
		got, err := Import(t.Context(), config(path), bytes.NewReader(input))
		if err != nil {
			return
		}
		v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: config(path).Mapping()})
		if err != nil {
			t.Fatalf("%d rows imported, but: %v", got.Rows, err)
		}
		defer v.Close()
		if err := v.Check(t.Context()); err != nil {
			t.Fatalf("%d rows imported that do not fit their own mapping: %v", got.Rows, err)
		}
	})
}

func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0", "-12.50", "+1", ".5", "1.", "9223372036854775807", "1e5"} {
		f.Add(s, uint8(2))
	}
	f.Fuzz(func(t *testing.T, s string, scale uint8) {
		scale %= 10
		n, ok := parseDecimal(s, scale)
		if !ok {
			return
		}
		// Writing it back and reading again must give the same number.
		text := fmt.Sprintf("%0*d", int(scale)+1, n)
		sign := ""
		if strings.HasPrefix(text, "-") {
			sign, text = "-", fmt.Sprintf("%0*s", int(scale)+1, text[1:])
		}
		if cut := len(text) - int(scale); scale > 0 {
			text = text[:cut] + "." + text[cut:]
		}
		if again, ok := parseDecimal(sign+text, scale); !ok || again != n {
			t.Fatalf("%q at scale %d is %d, written back %q", s, scale, n, sign+text)
		}
	})
}

func BenchmarkImport30kRows(b *testing.B) {
	input := rowsCSV(30_000)
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "v.db")
		if _, err := Import(b.Context(), config(path), bytes.NewReader(input)); err != nil {
			b.Fatal(err)
		}
	}
}
