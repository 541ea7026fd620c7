package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/vault/sqlvault"
)

func (a *app) vaultCommand() *cobra.Command {
	return group("vault", "The member's own data", a.vaultImport(), a.vaultCheck())
}

func (a *app) vaultImport() *cobra.Command {
	var product, file, keyHeader, comma string
	var replace bool
	var to target
	c := &cobra.Command{
		Use: "import", Short: "Load a CSV file into the vault of a product, all or nothing", Args: noArgs,
		Long: "The first line names the columns. Every column that answering.vaults maps to the table must be there; others are left out.\n" +
			"Complaints name rows and columns, never values.\n\n" +
			"Into PostgreSQL it goes by COPY, as an account of the bank's that may create the table (--owner); the account that the\n" +
			"node reads with is granted SELECT on it. SQLite has no decimals: a column with a scale is stored as text.",
		Example: "  assentd vault import --home n1 --product my-bank.card --csv customers.csv\n" +
			"  assentd vault import --home n1 --csv customers.csv --owner postgres://owner@db.bank.example/core --owner-password file:pw",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := a.vault(product)
			if err != nil {
				return err
			}
			cfg, err := importConfig(v, keyHeader, comma, replace)
			if err != nil {
				return err
			}
			r, size, err := open(file)
			if err != nil {
				return fmt.Errorf("vault import: %w", err)
			}
			defer r.Close()
			bar := newBar(a.err, a.json)
			cfg.Progress = func(p sqlvault.Progress) { bar.set("import", uint64(p.Bytes), uint64(size)) }
			done, err := to.load(cmd.Context(), v, cfg, r)
			bar.end()
			where := cfg.Path
			if v.Connector != "sqlite" {
				where = "the " + v.Connector + " server"
			}
			if errors.Is(err, sqlvault.ErrTableExists) {
				return fmt.Errorf("vault import: table %s is in %s already: add --replace to load it anew, in one step", cfg.Table, where)
			}
			if err != nil {
				return err
			}
			return a.print(map[string]any{"product": v.Product, "connector": v.Connector, "table": cfg.Table, "rows": done.Rows}, func(w io.Writer) {
				fmt.Fprintf(w, "%d customers loaded into table %s of %s.\n", done.Rows, cfg.Table, where)
			})
		},
	}
	c.Flags().StringVar(&product, "product", "", "the data product, as in answering.vaults")
	c.Flags().StringVar(&file, "csv", "-", "CSV file with a header; - is standard input")
	c.Flags().StringVar(&keyHeader, "key-header", "", "CSV column with the subject identifier; default: the vault's key")
	c.Flags().StringVar(&comma, "comma", ",", "field separator")
	c.Flags().BoolVar(&replace, "replace", false, "replace the table if it exists")
	c.Flags().StringVar(&to.owner, "owner", "", "PostgreSQL: URL with the account that creates the table, without password")
	c.Flags().StringVar(&to.password, "owner-password", "", "where its password is: file:<path> or env:<variable>")
	return c
}

// target is where an import goes, if not into the embedded SQLite.
type target struct{ owner, password string }

func (to target) load(ctx context.Context, v config.Vault, cfg sqlvault.ImportConfig, r io.Reader) (sqlvault.Progress, error) {
	switch {
	case v.Connector == "mysql":
		return sqlvault.Progress{}, errors.New("vault import: loads SQLite and PostgreSQL only: load MySQL with its own tools, such as LOAD DATA")
	case v.Connector == "sqlite" && to != target{}:
		return sqlvault.Progress{}, usage("--owner is for PostgreSQL; product %s is on sqlite", v.Product)
	case v.Connector == "sqlite":
		return sqlvault.Import(ctx, cfg, r)
	case to.owner == "":
		return sqlvault.Progress{}, usage("product %s is on PostgreSQL: add --owner with an account that may create the table; the node's own only reads", v.Product)
	}
	reader, err := url.Parse(v.Source)
	if err != nil {
		return sqlvault.Progress{}, errors.New("vault import: the vault's source is no URL")
	}
	pg := sqlvault.PostgresTarget{URL: to.owner, Reader: reader.User.Username()}
	if to.password != "" {
		from, err := keys.ParseSource(to.password, nil)
		if err != nil {
			return sqlvault.Progress{}, usageError{err}
		}
		pg.Password = func() (string, error) {
			b, err := from("owner of the table")
			return string(b), err
		}
	}
	return sqlvault.ImportPostgres(ctx, pg, cfg, r)
}

func importConfig(v config.Vault, keyHeader, comma string, replace bool) (sqlvault.ImportConfig, error) {
	m, err := node.VaultMapping(v)
	if err != nil {
		return sqlvault.ImportConfig{}, err
	}
	if v.Table == "" {
		return sqlvault.ImportConfig{}, fmt.Errorf("vault import: product %s is mapped by a query: name a table in answering.vaults to import into", v.Product)
	}
	if len([]rune(comma)) != 1 {
		return sqlvault.ImportConfig{}, usage("--comma %q: want one character", comma)
	}
	if keyHeader == "" {
		keyHeader = v.Key
	}
	cfg := sqlvault.ImportConfig{Path: v.Source, Table: v.Table, Key: v.Key, KeyHeader: keyHeader, Replace: replace, Comma: []rune(comma)[0]}
	for _, col := range m.Columns {
		if col.Expr != "" {
			continue // computed from others
		}
		cfg.Columns = append(cfg.Columns, sqlvault.ImportColumn{Name: col.Name, Type: col.Type, Scale: col.Scale})
	}
	return cfg, nil
}

func (a *app) vaultCheck() *cobra.Command {
	var product string
	c := &cobra.Command{
		Use: "check", Short: "Check that the mapping of a product fits its database", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := a.vault(product)
			if err != nil {
				return err
			}
			r := node.CheckVault(cmd.Context(), v)
			if r.Err != nil {
				return r.Err
			}
			return a.print(map[string]any{"product": v.Product, "connector": v.Connector, "columns": len(v.Columns), "types": r.Types}, func(w io.Writer) {
				fmt.Fprintf(w, "The mapping of product %s fits: %d columns.\n", v.Product, len(v.Columns))
			})
		},
	}
	c.Flags().StringVar(&product, "product", "", "the data product, as in answering.vaults")
	return c
}

func (a *app) vault(product string) (config.Vault, error) {
	cfg, err := a.config()
	if err != nil {
		return config.Vault{}, err
	}
	for _, v := range cfg.Answering.Vaults {
		if v.Product == product || product == "" && len(cfg.Answering.Vaults) == 1 {
			return v, nil
		}
	}
	var products []string
	for _, v := range cfg.Answering.Vaults {
		products = append(products, v.Product)
	}
	switch {
	case len(products) == 0:
		return config.Vault{}, fmt.Errorf("no vault is mapped: add one under answering.vaults in %s", filepath.Join(a.home, node.ConfigFile))
	case product == "":
		return config.Vault{}, usage("several vaults are mapped: add --product with one of %s", strings.Join(products, ", "))
	}
	return config.Vault{}, fmt.Errorf("product %q has no vault, mapped are %s: correct --product, or add it under answering.vaults", product, strings.Join(products, ", "))
}

// open opens a file for reading; "-" is standard input.
func open(path string) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, fi.Size(), nil
}
