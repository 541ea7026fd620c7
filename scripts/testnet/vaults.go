package testnet

import (
	"context"
	"io"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/vault/sqlvault"
)

// LoadVault fills a SQLite vault from a CSV whose first line names the key and the
// columns, as they are in the vault.
func LoadVault(ctx context.Context, v config.Vault, csv io.Reader) error {
	m, err := node.VaultMapping(v)
	if err != nil {
		return err
	}
	c := sqlvault.ImportConfig{Path: v.Source, Table: v.Table, Key: v.Key, KeyHeader: v.Key}
	for _, col := range m.Columns {
		c.Columns = append(c.Columns, sqlvault.ImportColumn{Name: col.Name, Type: col.Type})
	}
	_, err = sqlvault.Import(ctx, c, csv)
	return err
}
