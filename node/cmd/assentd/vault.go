package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/vault/sqlvault"
)

func (a *app) vaultCommand() *cobra.Command {
	return group("vault", "The member's own data", a.vaultImport(), a.vaultCheck())
}

func (a *app) vaultImport() *cobra.Command {
	var product, file, keyHeader, comma string
	var replace bool
	c := &cobra.Command{
		Use: "import", Short: "Load a CSV file into the embedded vault of a product, all or nothing", Args: noArgs,
		Long: "The first line names the columns. Every column that answering.vaults maps to the table must be there; others are left out.\n" +
			"Complaints name rows and columns, never values.",
		Example: "  assentd vault import --home n1 --product my-bank.card --csv customers.csv",
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
			done, err := sqlvault.Import(cmd.Context(), cfg, r)
			bar.end()
			if errors.Is(err, sqlvault.ErrTableExists) {
				return fmt.Errorf("vault import: table %s is in %s already: add --replace to load it anew, in one step", cfg.Table, cfg.Path)
			}
			if err != nil {
				return err
			}
			return a.print(map[string]any{"product": product, "table": cfg.Table, "rows": done.Rows}, func(w io.Writer) {
				fmt.Fprintf(w, "%d customers loaded into table %s of %s.\n", done.Rows, cfg.Table, cfg.Path)
			})
		},
	}
	c.Flags().StringVar(&product, "product", "", "the data product, as in answering.vaults")
	c.Flags().StringVar(&file, "csv", "-", "CSV file with a header; - is standard input")
	c.Flags().StringVar(&keyHeader, "key-header", "", "CSV column with the subject identifier; default: the vault's key")
	c.Flags().StringVar(&comma, "comma", ",", "field separator")
	c.Flags().BoolVar(&replace, "replace", false, "replace the table if it exists")
	return c
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
			m, err := node.VaultMapping(v)
			if err != nil {
				return err
			}
			conn, err := sqlvault.OpenSQLite(sqlvault.SQLiteConfig{Path: v.Source, Mapping: m, Timeout: v.Timeout})
			if err != nil {
				return err
			}
			defer conn.Close()
			if err := conn.Check(cmd.Context()); err != nil {
				return err
			}
			return a.print(map[string]any{"product": product, "columns": len(m.Columns)}, func(w io.Writer) {
				fmt.Fprintf(w, "The mapping of product %s fits: %d columns.\n", product, len(m.Columns))
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
