package sqlvault

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/node/vault"
)

// Check implements vault.Connector. Each step has the time of one lookup.
func (v *Vault) Check(ctx context.Context) error {
	release, err := v.hold()
	if err != nil {
		return fmt.Errorf("check vault: %w", err)
	}
	defer release()
	step := func(name string, run func(context.Context) error) error {
		limited, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
		defer cancel()
		err := run(limited)
		if err != nil && v.lost(err) { // as a lookup would, once more
			err = run(limited)
		}
		if err != nil {
			return v.failure(ctx, name, err)
		}
		return nil
	}
	if err := step("check account", func(ctx context.Context) error { return v.admit(ctx, true) }); err != nil {
		return err
	}
	m := v.cfg.Mapping
	if err := step("check key", func(ctx context.Context) error { return v.probeKey(ctx) }); err != nil {
		return err
	}
	for _, c := range m.Columns {
		if err := step("check column", func(ctx context.Context) error { return v.probe(ctx, c) }); err != nil {
			return err
		}
	}
	return nil
}

// admit looks at the account's rights when that is due, or at once with force.
// While one caller asks again, others go on with the last verdict, but never
// without one.
func (v *Vault) admit(ctx context.Context, force bool) error {
	if v.cfg.Dialect.Account == nil {
		return nil
	}
	age := func() time.Duration {
		if at := v.admitted.Load(); at != nil && !force {
			return time.Since(*at)
		}
		return 1 << 62
	}
	if age() < v.cfg.AccountEvery {
		return nil
	}
	select {
	case v.admitting <- struct{}{}:
	default:
		if age() < 2*v.cfg.AccountEvery {
			return nil
		}
		select {
		case v.admitting <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-v.admitting }()
	if age() < v.cfg.AccountEvery {
		return nil
	}
	v.admitted.Store(nil)
	if err := v.cfg.Dialect.Account(ctx, v.db); err != nil {
		return err
	}
	now := time.Now()
	v.admitted.Store(&now)
	return nil
}

// probe reads one mapped column of a few rows.
func (v *Vault) probe(ctx context.Context, c ColumnMapping) error {
	return v.sample(ctx, c, func(rows *sql.Rows) error {
		types, err := v.checkTypes(rows, []ColumnMapping{c})
		if err != nil {
			return err
		}
		for rows.Next() {
			var raw any
			if err := rows.Scan(&raw); err != nil {
				return err
			}
			if _, err := c.decode(unpadded(raw, types[0])); err != nil {
				return err
			}
		}
		return nil
	})
}

func (v *Vault) probeKey(ctx context.Context) error {
	m := &v.cfg.Mapping
	return v.sample(ctx, ColumnMapping{Name: m.Key}, func(rows *sql.Rows) error {
		types, err := rows.ColumnTypes()
		if err != nil || v.cfg.Dialect.FitsKey == nil {
			return err
		}
		if wrong, remedy := v.cfg.Dialect.FitsKey(storedType(types[0])); wrong != "" {
			return &vault.SchemaError{Column: m.Key, Detail: wrong, Remedy: remedy}
		}
		return nil
	})
}

// sample runs the query of one column without a condition.
func (v *Vault) sample(ctx context.Context, c ColumnMapping, use func(*sql.Rows) error) error {
	text := v.cfg.Mapping.selectFrom([]ColumnMapping{c}) + fmt.Sprintf(" LIMIT %d", checkRows)
	rows, end, err := v.query(ctx, func(tx *sql.Tx) (*sql.Rows, error) {
		if tx != nil {
			return tx.QueryContext(ctx, text)
		}
		return v.db.QueryContext(ctx, text)
	})
	if err == nil {
		defer end()
		if err = use(rows); err == nil {
			err = rows.Err()
		}
	}
	if err == nil {
		return nil
	}
	if s := v.cfg.Dialect.Classify(err); s != nil && s.Column == "" {
		s.Column = c.Name
		return s
	}
	return err
}

// checkTypes holds the types of a result against the mapping, and against those
// that the columns had when they were first read: a figure that has moved from
// units to cents would be a wrong answer, and one for every subject.
func (v *Vault) checkTypes(rows *sql.Rows, cols []ColumnMapping) ([]StoredType, error) {
	reported, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	return v.fitTypes(reported, cols)
}

func (v *Vault) fitTypes(reported []*sql.ColumnType, cols []ColumnMapping) ([]StoredType, error) {
	types := make([]StoredType, len(cols))
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, c := range cols {
		t := storedType(reported[i])
		types[i] = t
		found := t.String()
		if c.Stored != "" && !strings.EqualFold(strings.ReplaceAll(c.Stored, " ", ""), found) {
			return nil, &vault.SchemaError{Column: c.Name, Detail: fmt.Sprintf("is expected to be %s but is %s in the database", c.Stored, found),
				Remedy: "see what has changed, then correct the mapping (type, scale, expr, stored)"}
		}
		if v.cfg.Dialect.Fits != nil {
			if wrong, remedy := v.cfg.Dialect.Fits(c, t); wrong != "" {
				return nil, &vault.SchemaError{Column: c.Name, Detail: wrong, Remedy: remedy}
			}
		}
		first, known := v.types[c.Name]
		if !known {
			v.types[c.Name] = found
		} else if first != found {
			return nil, &vault.SchemaError{Column: c.Name, Detail: fmt.Sprintf("was %s when this node first read it and is %s now", orNone(first), orNone(found)),
				Remedy: "see whether its figures still mean the same, correct the mapping if not, and restart the node"}
		}
	}
	return types, nil
}

func orNone(t string) string {
	if t == "" {
		return "without a type"
	}
	return t
}

// Types lists the type that each mapped column has in the database, as far as it
// has been read.
func (v *Vault) Types() map[string]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[string]string, len(v.types))
	for k, t := range v.types {
		out[k] = t
	}
	return out
}

// name finds the column at fault when the database refuses a query without
// naming one that is mapped: it asks for each alone. Nothing depends on the words
// of the database's message, which may be in any language.
func (v *Vault) name(ctx context.Context, err error, columns []string) error {
	s := v.cfg.Dialect.Classify(err)
	if s == nil || v.cfg.Dialect.Lost == nil || v.mapped(v.blame(s).Column) {
		return err
	}
	if len(columns) == 1 && s.InRow {
		s.Column = columns[0]
	}
	if s.InRow { // preparing will not show it
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	refused := func(c ColumnMapping) *vault.SchemaError {
		stmt, err := v.db.PrepareContext(ctx, v.cfg.Mapping.selectFrom([]ColumnMapping{c})+" LIMIT 1")
		if err != nil {
			return v.cfg.Dialect.Classify(err)
		}
		stmt.Close()
		return nil
	}
	if refused(ColumnMapping{Expr: "1"}) != nil {
		return s // the table itself
	}
	for _, name := range columns {
		if found := refused(v.byName[name]); found != nil {
			found.Column = name
			return found
		}
	}
	if len(columns) == 1 {
		s.Column = columns[0]
	}
	return s
}

func (v *Vault) mapped(name string) bool {
	_, ok := v.byName[name]
	return ok
}

// blame names the mapped column when the database named only its own.
func (v *Vault) blame(s *vault.SchemaError) *vault.SchemaError {
	if s.Column == "" || v.mapped(s.Column) {
		return s
	}
	i := slices.IndexFunc(v.cfg.Mapping.Columns, func(c ColumnMapping) bool { return c.Expr != "" && strings.Contains(c.Expr, s.Column) })
	if i >= 0 {
		s.Column = v.cfg.Mapping.Columns[i].Name
	}
	return s
}
