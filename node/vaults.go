package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault"
)

// vaults are the connectors of the products this node answers for.
type vaults map[record.ProductID]vault.Connector

func (v vaults) connector(id record.ProductID) (vault.Connector, bool) {
	c, ok := v[id]
	return c, ok
}

func (v vaults) close() error {
	var errs []error
	for _, c := range v {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// openVaults opens the configured vaults and looks at each. An account that may
// write is a mistake of configuration that endangers the bank's data: the node
// does not start. A database that is down or has changed is no reason to stop a
// validator: the product answers once it is mended.
func (n *Node) openVaults(ctx context.Context) error {
	n.vaults = make(vaults)
	n.closeLater(n.vaults.close)
	for _, v := range n.cfg.Answering.Vaults {
		c, err := OpenVault(v)
		if err != nil {
			return fmt.Errorf("product %s: %w", v.Product, err)
		}
		n.vaults[record.ProductID(v.Product)] = &watchedVault{Vault: c, product: v.Product, log: n.log, state: VaultOK}
	}
	var refused []error
	for _, r := range n.CheckVaults(ctx) {
		if errors.Is(r.Err, vault.ErrAccount) {
			refused = append(refused, fmt.Errorf("product %s: %w", r.Product, r.Err))
		}
	}
	return errors.Join(refused...)
}

// watchedVault logs when a vault's state, or the reason for it, changes: each
// trouble once, and its end. It remembers the newest.
type watchedVault struct {
	*sqlvault.Vault
	product string
	log     *slog.Logger

	mu    sync.Mutex
	state VaultState
	why   string
}

// Lookup implements vault.Connector.
func (w *watchedVault) Lookup(ctx context.Context, subject vault.Subject, columns []string) (vault.Row, error) {
	row, err := w.Vault.Lookup(ctx, subject, columns)
	var schema *vault.SchemaError
	switch {
	case err == nil, errors.Is(err, vault.ErrUnknownSubject):
		w.note(nil)
	case ctx.Err() != nil, errors.Is(err, vault.ErrAmbiguous), errors.As(err, &schema) && schema.InRow:
		// The caller's own end, or one subject's row: nothing about the vault.
	default:
		w.note(err)
	}
	return row, err
}

// Check implements vault.Connector.
func (w *watchedVault) Check(ctx context.Context) error {
	err := w.Vault.Check(ctx)
	if ctx.Err() == nil {
		w.note(err)
	}
	return err
}

func (w *watchedVault) note(err error) {
	state, why := stateOfVault(err), ""
	if err != nil {
		why = err.Error()
	}
	w.mu.Lock()
	before := w.state
	changed := state != before || why != w.why
	w.state, w.why = state, why
	w.mu.Unlock()
	switch {
	case !changed:
	case err == nil:
		w.log.Info("a vault can be read again", "product", w.product, "before", string(before))
	default:
		w.log.Error("a vault cannot be read: its product is not answered until it can", "product", w.product, "state", string(state), "err", err)
	}
}

// VaultStates says how each product's vault was when it was last used or looked
// at, without asking a database.
func (n *Node) VaultStates() map[string]VaultState {
	out := make(map[string]VaultState, len(n.vaults))
	for _, c := range n.vaults {
		if w, ok := c.(*watchedVault); ok {
			w.mu.Lock()
			out[w.product] = w.state
			w.mu.Unlock()
		}
	}
	return out
}

// OpenVault opens a configured vault. It does not ask a server whether it is
// there: Check does.
func OpenVault(v config.Vault) (*sqlvault.Vault, error) {
	m, err := VaultMapping(v)
	if err != nil {
		return nil, err
	}
	if v.Connector == "sqlite" {
		return sqlvault.OpenSQLite(sqlvault.SQLiteConfig{Path: v.Source, Mapping: m, Timeout: v.Timeout, Readers: v.Connections})
	}
	cfg := sqlvault.ServerConfig{URL: v.Source, Mapping: m, Timeout: v.Timeout, Connections: v.Connections}
	if v.Password != "" {
		from, err := keys.ParseSource(v.Password, nil)
		if err != nil {
			return nil, fmt.Errorf("open vault: %w", err)
		}
		cfg.Password = func() (string, error) {
			b, err := from("vault " + v.Product)
			return string(b), err
		}
	}
	if v.Connector == "mysql" {
		return sqlvault.OpenMySQL(cfg)
	}
	return sqlvault.OpenPostgres(cfg)
}

// VaultMapping turns a configured vault into a connector's mapping.
func VaultMapping(v config.Vault) (sqlvault.Mapping, error) {
	m := sqlvault.Mapping{Table: v.Table, Query: v.Query, Key: v.Key}
	for _, c := range v.Columns {
		t, err := vault.ParseType(c.Type)
		if err != nil {
			return m, fmt.Errorf("product %s column %s: %w", v.Product, c.Name, err)
		}
		m.Columns = append(m.Columns, sqlvault.ColumnMapping{Name: c.Name, Expr: c.Expr, Type: t, Scale: uint8(c.Scale), Stored: c.Stored})
	}
	return m, nil
}

// VaultState is how a vault is, in one word.
type VaultState string

// The states of a vault.
const (
	VaultOK          VaultState = "ok"
	VaultUnavailable VaultState = "unavailable" // down, locked, too slow: it may pass
	VaultSchema      VaultState = "schema"      // the mapping does not fit the database
	VaultAccount     VaultState = "account"     // the account may write
)

// VaultReport is what a look at one vault found.
type VaultReport struct {
	Product   string     `json:"product"`
	Connector string     `json:"connector"`
	State     VaultState `json:"state"`
	// Err says what is wrong and what to do; it names no value, subject or
	// password. Nil when State is VaultOK.
	Err error `json:"-"`
	// Types are the types of the mapped columns in the database, as far as read.
	Types map[string]string `json:"types,omitempty"`
}

// CheckVaults looks at every vault of the node now, each within a few of its time
// limits, in the order of the products' names. A node whose vault is not in order
// orders and executes as ever: it only leaves that product's requests unanswered.
func (n *Node) CheckVaults(ctx context.Context) []VaultReport {
	reports := make([]VaultReport, len(n.cfg.Answering.Vaults))
	var g errgroup.Group
	for i, v := range n.cfg.Answering.Vaults {
		g.Go(func() error {
			c, _ := n.vaults.connector(record.ProductID(v.Product))
			reports[i] = reportVault(ctx, v, c)
			return nil
		})
	}
	_ = g.Wait() // what went wrong is in the reports
	slices.SortFunc(reports, func(a, b VaultReport) int { return strings.Compare(a.Product, b.Product) })
	return reports
}

// CheckVault opens a configured vault, looks at it and closes it: what an operator
// asks before the node runs.
func CheckVault(ctx context.Context, v config.Vault) VaultReport {
	c, err := OpenVault(v)
	if err != nil {
		return VaultReport{Product: v.Product, Connector: v.Connector, State: stateOfVault(err), Err: err}
	}
	defer c.Close()
	return reportVault(ctx, v, c)
}

func reportVault(ctx context.Context, v config.Vault, c vault.Connector) VaultReport {
	err := c.Check(ctx)
	r := VaultReport{Product: v.Product, Connector: v.Connector, State: stateOfVault(err), Err: err}
	if typed, ok := c.(interface{ Types() map[string]string }); ok {
		r.Types = typed.Types()
	}
	return r
}

func stateOfVault(err error) VaultState {
	switch {
	case err == nil:
		return VaultOK
	case errors.Is(err, vault.ErrAccount):
		return VaultAccount
	case errors.Is(err, vault.ErrSchema), errors.Is(err, vault.ErrAmbiguous):
		return VaultSchema
	}
	return VaultUnavailable
}

// LogValue writes the report's facts.
func (r VaultReport) LogValue() slog.Value {
	return slog.GroupValue(slog.String("product", r.Product), slog.String("connector", r.Connector), slog.String("state", string(r.State)), slog.Any("err", r.Err))
}
