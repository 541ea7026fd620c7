package node

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// needles are values in every disguise in which they could leak: as they are, as
// hex or base64, and as their digests.
type needles [][]byte

func (n *needles) add(value string) {
	sha := sha256.Sum256([]byte(value))
	for _, raw := range [][]byte{[]byte(value), sha[:], crypto.Keccak256([]byte(value))} {
		h := hex.EncodeToString(raw)
		*n = append(*n, raw, []byte(h), []byte(strings.ToUpper(h)))
		for shift := range 3 { // where it stands in what was encoded
			padded := append(make([]byte, shift), raw...)
			from, to := (shift*8+5)/6, len(padded)*8/6
			*n = append(*n, []byte(base64.RawStdEncoding.EncodeToString(padded)[from:to]), []byte(base64.RawURLEncoding.EncodeToString(padded)[from:to]))
		}
	}
}

func (n needles) in(b []byte) bool {
	for _, x := range n {
		if bytes.Contains(b, x) {
			return true
		}
	}
	return false
}

// levelRows visits every key and value of a goleveldb, decompressed.
func levelRows(dir string, visit func(where string, content []byte)) (err error) {
	db, err := leveldb.OpenFile(dir, &opt.Options{ReadOnly: true, ErrorIfMissing: true})
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	it := db.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		visit(filepath.Base(dir)+" key", it.Key())
		visit(fmt.Sprintf("%s value of %.40q", filepath.Base(dir), it.Key()), it.Value())
	}
	return it.Error()
}

// fileRows visits every file below dir, which may be absent.
func fileRows(dir string, visit func(where string, content []byte)) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		visit(path, b)
		return nil
	})
}

// sqliteRows visits every value of every table of a database.
func sqliteRows(path string, visit func(table, column string, value []byte)) (err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	names, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return err
	}
	defer names.Close()
	for names.Next() {
		var table string
		if err := names.Scan(&table); err != nil {
			return err
		}
		if err := tableRows(db, table, visit); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return names.Err()
}

func tableRows(db *sql.DB, table string, visit func(table, column string, value []byte)) error {
	rows, err := db.Query(`SELECT * FROM "` + table + `"`)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	cells := make([]sql.RawBytes, len(columns))
	into := make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, c := range cells {
			visit(table, columns[i], c)
		}
	}
	return rows.Err()
}

// A search that finds nothing anywhere proves nothing: it finds what is planted.
func TestTheSearchForPersonsFindsThem(t *testing.T) {
	const value = "900001197001010001"
	var n needles
	n.add(value)
	sha := sha256.Sum256([]byte(value))
	for name, text := range map[string][]byte{
		"as it is": []byte(`{"id":"` + value + `"}`), "hex": []byte(hex.EncodeToString([]byte(value))),
		"base64": []byte(base64.StdEncoding.EncodeToString([]byte("xy" + value))), "digest": sha[:],
		"digest in hex": []byte("0x" + hex.EncodeToString(crypto.Keccak256([]byte(value)))),
	} {
		if !n.in(text) {
			t.Errorf("%s is not found", name)
		}
		dir := filepath.Join(t.TempDir(), "db")
		db, err := leveldb.OpenFile(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Put([]byte("key"), text, nil), db.Close()); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "private.db")
		lite, err := sql.Open("sqlite", "file:"+file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = lite.Exec(`CREATE TABLE t (v BLOB); INSERT INTO t VALUES (?)`, text)
		if err := errors.Join(err, lite.Close()); err != nil {
			t.Fatal(err)
		}
		found := 0
		look := func(b []byte) {
			if n.in(b) {
				found++
			}
		}
		if err := levelRows(dir, func(_ string, b []byte) { look(b) }); err != nil {
			t.Fatal(err)
		}
		if err := sqliteRows(file, func(_, _ string, b []byte) { look(b) }); err != nil {
			t.Fatal(err)
		}
		if found != 2 {
			t.Errorf("%s is found in %d of two databases", name, found)
		}
	}
	if n.in([]byte("900001197001010002")) {
		t.Error("another value is found")
	}
}
