package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	_ "modernc.org/sqlite" // driver

	"github.com/assent-network/assent/scripts/scan"
	"github.com/assent-network/assent/scripts/testnet"
)

// search stops the nodes and looks for every customer's identity number, phone
// and name in what they keep.
func (t *teller) search(ctx context.Context) error {
	if err := t.net.Stop(); err != nil {
		return err
	}
	n := scan.New()
	for i := range t.people {
		c := &t.people[i]
		for _, v := range []struct{ kind, value string }{{"identity number", c.identity}, {"phone", c.phone}, {"name", c.name}} {
			if err := n.Add(v.kind, v.value); err != nil {
				return err
			}
		}
	}
	places := []scan.Rows{t.replies.rows}
	for _, x := range t.net.Nodes {
		places = append(places, nodePlaces(ctx, x)...)
	}
	found, pieces, err := n.Scan(places)
	if err != nil {
		return err
	}
	for _, f := range found {
		t.result.PersonalDataFound += f.Times
		t.say("FOUND %s in %s", f.What, f.Where)
	}
	planted, err := t.plant(ctx, n)
	if err != nil {
		return err
	}
	t.result.PlantedValueFound = planted
	t.chapter("Searched %d rows, log files and API replies of all nodes for %d customers' identity number, phone and name,", pieces, len(t.people))
	t.say("raw and as hex, base64, sha256 and keccak256: %d found. (A value planted in a copy is found: %t.)", t.result.PersonalDataFound, planted)
	if t.result.PersonalDataFound > 0 || !planted {
		return errors.New("the search for personal data failed")
	}
	return nil
}

// nodePlaces are the decoded rows of a node's block store, state, write-ahead log
// and outbox, and its log file.
func nodePlaces(ctx context.Context, x *testnet.Node) []scan.Rows {
	data := x.DataDir()
	return []scan.Rows{
		leveldbRows(filepath.Join(data, "blocks")),
		leveldbRows(filepath.Join(data, "state")),
		scan.FileRows(data, func(path string) bool {
			return strings.Contains(path, string(filepath.Separator)+"wal"+string(filepath.Separator))
		}),
		sqliteRows(ctx, filepath.Join(data, "private.db")),
		scan.FileRows(x.Home, func(path string) bool { return path == x.LogPath() }),
	}
}

// leveldbRows visits every key and value of a database, decompressed.
func leveldbRows(dir string) scan.Rows {
	return func(visit func(string, []byte) error) (err error) {
		db, err := leveldb.OpenFile(dir, &opt.Options{ReadOnly: true, ErrorIfMissing: true})
		if err != nil {
			return fmt.Errorf("open %s: %w", dir, err)
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		it := db.NewIterator(nil, nil)
		defer it.Release()
		for it.Next() {
			if err := visit(dir+" key", it.Key()); err != nil {
				return err
			}
			if err := visit(fmt.Sprintf("%s key %.40q", dir, it.Key()), it.Value()); err != nil {
				return err
			}
		}
		return it.Error()
	}
}

// sqliteRows visits every value of every table.
func sqliteRows(ctx context.Context, path string) scan.Rows {
	return func(visit func(string, []byte) error) (err error) {
		db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		tables, err := tableNames(ctx, db)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		for _, table := range tables {
			if err := tableRows(ctx, db, path, table, visit); err != nil {
				return fmt.Errorf("read %s table %s: %w", path, table, err)
			}
		}
		return nil
	}
}

func tableNames(ctx context.Context, db *sql.DB) ([]string, error) {
	r, err := db.QueryContext(ctx, `SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []string
	for r.Next() {
		var name string
		if err := r.Scan(&name); err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, r.Err()
}

func tableRows(ctx context.Context, db *sql.DB, path, table string, visit func(string, []byte) error) error {
	r, err := db.QueryContext(ctx, `SELECT * FROM "`+table+`"`)
	if err != nil {
		return err
	}
	defer r.Close()
	columns, err := r.Columns()
	if err != nil {
		return err
	}
	cells := make([]sql.RawBytes, len(columns))
	ptrs := make([]any, len(columns))
	for i := range cells {
		ptrs[i] = &cells[i]
	}
	for r.Next() {
		if err := r.Scan(ptrs...); err != nil {
			return err
		}
		for i, c := range cells {
			if err := visit(path+" "+table+"."+columns[i], c); err != nil {
				return err
			}
		}
	}
	return r.Err()
}

// plant puts a customer's identity number into a copy of each kind of place and
// reports whether the search finds every one of them.
func (t *teller) plant(ctx context.Context, n *scan.Needles) (bool, error) {
	dir := filepath.Join(t.dir, "planted")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	x := t.net.Nodes[0]
	value := []byte(t.cast.borrower.identity)
	for _, name := range []string{"blocks", "state"} {
		to := filepath.Join(dir, name)
		if err := os.CopyFS(to, os.DirFS(filepath.Join(x.DataDir(), name))); err != nil {
			return false, fmt.Errorf("copy %s: %w", name, err)
		}
		db, err := leveldb.OpenFile(to, nil)
		if err != nil {
			return false, fmt.Errorf("open the copy of %s: %w", name, err)
		}
		if err := errors.Join(db.Put([]byte("zz planted"), append([]byte("{\"id\":\""), value...), nil), db.Close()); err != nil {
			return false, fmt.Errorf("plant in %s: %w", name, err)
		}
	}
	private := filepath.Join(dir, "private.db")
	b, err := os.ReadFile(filepath.Join(x.DataDir(), "private.db"))
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(private, b, 0o600); err != nil {
		return false, err
	}
	if err := plantSQLite(ctx, private, value); err != nil {
		return false, fmt.Errorf("plant in private.db: %w", err)
	}
	log := filepath.Join(dir, "node.log")
	if err := os.WriteFile(log, fmt.Appendf(nil, `{"msg":"%x"}`, value), 0o600); err != nil {
		return false, err
	}
	places := []scan.Rows{
		leveldbRows(filepath.Join(dir, "blocks")), leveldbRows(filepath.Join(dir, "state")), sqliteRows(ctx, private),
		scan.FileRows(dir, func(path string) bool { return path == log }),
	}
	for _, p := range places {
		found, _, err := n.Scan([]scan.Rows{p})
		if err != nil || len(found) == 0 {
			return false, err
		}
	}
	return true, nil
}

func plantSQLite(ctx context.Context, path string, value []byte) error {
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE planted (v BLOB)`)
	if err == nil {
		_, err = db.ExecContext(ctx, `INSERT INTO planted VALUES (?)`, value)
	}
	return errors.Join(err, db.Close())
}
