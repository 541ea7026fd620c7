package sqlvault

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strconv"

	"github.com/assent-network/assent/node/vault"
)

var _ vault.Scanner = (*Vault)(nil)

// Scan implements vault.Scanner. It reads on a connection of its own, on which the
// server's time limits are lifted and which is closed afterwards.
func (v *Vault) Scan(ctx context.Context, columns []string, visit func(vault.Subject, vault.Row) error) error {
	cols, err := v.columns(columns)
	if err != nil {
		return err
	}
	release, err := v.hold() // the file that stands there now: what replaces it meanwhile is for the next scan
	if err != nil {
		return fmt.Errorf("scan vault: %w", err)
	}
	release()
	if err := v.admit(ctx, true); err != nil {
		return v.failure(ctx, "scan vault", err)
	}
	conn, err := v.db.Conn(ctx)
	if err != nil {
		return v.failure(ctx, "scan vault", err)
	}
	defer func() {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // the pool does not take it back
		conn.Close()
	}()
	if patient := v.cfg.Dialect.Patient; patient != nil {
		if err := patient(ctx, conn); err != nil {
			return v.failure(ctx, "scan vault", err)
		}
	}
	// As with a lookup, nothing counts that was read with an account nobody looked at.
	if err := v.admit(ctx, false); err != nil {
		return v.failure(ctx, "scan vault", err)
	}
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: v.cfg.Dialect.ReadOnly})
	if err != nil {
		return v.failure(ctx, "scan vault", err)
	}
	defer tx.Rollback()
	stop, err := v.scan(ctx, tx, cols, len(columns), visit)
	if stop != nil {
		return stop
	}
	if err != nil {
		return v.failure(ctx, "scan vault", v.name(ctx, err, columns))
	}
	return nil
}

// scan runs the query. stop is visit's error, passed on as it is.
func (v *Vault) scan(ctx context.Context, tx *sql.Tx, cols []ColumnMapping, want int, visit func(vault.Subject, vault.Row) error) (stop, err error) {
	key := ColumnMapping{Name: v.cfg.Mapping.Key}
	rows, err := tx.QueryContext(ctx, v.cfg.Mapping.selectFrom(append([]ColumnMapping{key}, cols...)))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	keyType, types, err := v.scanTypes(rows, cols)
	if err != nil {
		return nil, err
	}
	raw := make([]any, 1+len(cols))
	ptr := make([]any, len(raw))
	for i := range raw {
		ptr[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(ptr...); err != nil {
			return nil, err
		}
		subject, ok := subjectOf(unpadded(raw[0], keyType))
		if !ok {
			continue // no lookup could ever find it
		}
		row := make(vault.Row, len(cols))
		for i, c := range cols {
			val, err := c.decode(unpadded(raw[1+i], types[i]))
			if err != nil {
				row = nil // this subject's row cannot be used: the others' can
				break
			}
			row[i] = val
		}
		if row != nil {
			row = row[:want]
		}
		if stop := visit(subject, row); stop != nil {
			return stop, nil
		}
	}
	return nil, rows.Err()
}

// scanTypes holds the types of key and columns against the mapping.
func (v *Vault) scanTypes(rows *sql.Rows, cols []ColumnMapping) (StoredType, []StoredType, error) {
	reported, err := rows.ColumnTypes()
	if err != nil {
		return StoredType{}, nil, err
	}
	key := storedType(reported[0])
	if fits := v.cfg.Dialect.FitsKey; fits != nil {
		if wrong, remedy := fits(key); wrong != "" {
			return key, nil, &vault.SchemaError{Column: v.cfg.Mapping.Key, Detail: wrong, Remedy: remedy}
		}
	}
	types, err := v.fitTypes(reported[1:], cols)
	return key, types, err
}

// subjectOf reads a key as a canonical identifier.
func subjectOf(raw any) (vault.Subject, bool) {
	var text string
	switch k := raw.(type) {
	case string:
		text = k
	case []byte:
		text = string(k)
	case int64:
		text = strconv.FormatInt(k, 10)
	}
	subject, err := vault.ParseSubject(text)
	return subject, err == nil
}
