package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/vault/sqlvault"
)

func (a *app) vaultCommand() *cobra.Command {
	c := &cobra.Command{Use: "vault", Short: "The member's own data", Args: noArgs}
	c.AddCommand(a.vaultImport(), a.vaultCheck())
	return c
}

func (a *app) vaultImport() *cobra.Command {
	var product, file, keyHeader, comma string
	var replace bool
	c := &cobra.Command{
		Use: "import", Short: "Load a CSV file into the embedded vault of a product, all or nothing", Args: noArgs,
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
		return sqlvault.ImportConfig{}, usageError{fmt.Errorf("--comma %q: want one character", comma)}
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
	return config.Vault{}, fmt.Errorf("product %q: %w", product, errNoVault)
}
