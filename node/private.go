package node

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/outbox"
)

// createAbout says of which network a private.db is.
const createAbout = `CREATE TABLE IF NOT EXISTS node_about (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	chain BLOB NOT NULL
) STRICT`

// errOtherPrivate: a private.db of another network.
var errOtherPrivate = errors.New("the private database here belongs to another network: put this node's own back, from a backup if it is lost (assentd restore)")

// errNoPrivate: a ledger without its private.db.
var errNoPrivate = errors.New("the private database is missing: restore it from a backup (assentd restore); " +
	"if it is lost for good, make an empty file with mode 0600 in its place, and open a new epoch of every product before answering again: questions may be asked twice")

// checkPrivateThere refuses to go on with an empty database where one has been.
func checkPrivateThere(path string, tip ledger.Height) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && tip > 0 {
		return fmt.Errorf("%s: %w", path, errNoPrivate)
	}
	return nil
}

// bindPrivate notes a database's network when it is first opened, and refuses one of
// another network.
func bindPrivate(ctx context.Context, p *outbox.Private, chain ledger.Hash) error {
	var found []byte
	err := p.Do(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(createAbout); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO node_about VALUES (1, ?) ON CONFLICT DO NOTHING`, chain[:]); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT chain FROM node_about`).Scan(&found)
	})
	if err == nil && !bytes.Equal(found, chain[:]) {
		err = errOtherPrivate
	}
	return err
}

// verifyPrivate checks the private database of a stopped node. sealed says that every
// byte was compared, not the form alone.
func verifyPrivate(ctx context.Context, path string, chain ledger.Hash) (sealed bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("%s: %w", path, errNoPrivate)
	}
	if sealed, err = outbox.CheckFile(ctx, path); err != nil {
		return sealed, err
	}
	db, err := outbox.OpenReadOnly(path)
	if err != nil {
		return sealed, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var there bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'node_about')`).Scan(&there); err != nil || !there {
		return sealed, err // it has never been opened by a node that runs
	}
	var found []byte
	if err := db.QueryRowContext(ctx, `SELECT chain FROM node_about`).Scan(&found); err != nil {
		return sealed, err
	}
	if !bytes.Equal(found, chain[:]) {
		return sealed, errOtherPrivate
	}
	return sealed, nil
}
