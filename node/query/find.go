package query

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/vault"
)

// finding is what the template says about a person, before freeze and account.
type finding struct {
	value   string
	proof   []byte // the opening of an anchored answer; nil: it has none
	refused bool   // the template cannot run here, whoever the subject is
}

// find looks the person up and runs the template. ok is false while the vault
// cannot be read. Look-up and evaluation happen for everybody, also where the
// answer is NO_RECORD anyway.
//
// Everything that depends on the row ends as one of the template's outputs: an
// unknown subject, a null the template does not handle, an arithmetic error, an
// unlisted result and a malformed row are all NO_RECORD, because anything else
// would be one more output that no leak account is debited for.
func (a *Answerer) find(ctx context.Context, p *Permit, who person) (f finding, ok bool, err error) {
	if p.Anchor != nil {
		return a.findAnchored(p, who)
	}
	row, found, ok, err := a.row(ctx, p, who)
	if err != nil || !ok {
		return finding{}, false, err
	}
	value, err := a.cfg.Engine.Evaluate(&p.Product.ProductSpec, &p.Template, p.Request.Params, row)
	var broken *TemplateError
	switch {
	case errors.As(err, &broken), errors.Is(err, ErrParameter):
		a.alarm(p, "the template cannot run; retire it and approve a corrected one", err)
		return finding{refused: true}, true, nil
	case !found || !who.bound:
		value = record.NoRecord
	case errors.Is(err, ErrNull):
		value = record.NoRecord
	case err != nil:
		a.alarm(p, "the template failed on a row; answering NO_RECORD", err)
		value = record.NoRecord
	}
	return finding{value: value}, true, nil
}

// row reads the person's row from the product's vault: see lookup.
func (a *Answerer) row(ctx context.Context, p *Permit, who person) (row vault.Row, found, ok bool, err error) {
	conn, mapped := a.cfg.Vault(p.Product.ProductID)
	if !mapped {
		a.alarm(p, "no vault is mapped for the product; map it in the node's configuration", nil)
		return nil, false, false, nil
	}
	if err := CheckMapping(&p.Product.ProductSpec, p.Template.Columns, conn.Describe()); err != nil {
		a.alarm(p, "the vault mapping does not fit the product; trying again until the deadline", err)
		return nil, false, false, nil
	}
	return a.lookup(ctx, p, conn, who)
}

// CheckMapping reports whether a vault maps the named columns of a product in the
// types that templates see. A wrong type would otherwise answer NO_RECORD for
// everybody. The error is a *vault.SchemaError for the first column that differs.
func CheckMapping(p *record.ProductSpec, columns []string, mapped []vault.Column) error {
	for _, name := range columns {
		col, ok := p.Column(name)
		if !ok {
			continue // the engine says so, with the template's place
		}
		want, err := VaultType(col.Type)
		if err != nil {
			continue // as above
		}
		i := slices.IndexFunc(mapped, func(c vault.Column) bool { return c.Name == name })
		switch {
		case i < 0:
			return &vault.SchemaError{Column: name, Detail: fmt.Sprintf("of product %s is not mapped", p.ProductID), Remedy: "add it to the vault mapping of the node's configuration"}
		case mapped[i].Type != want:
			return &vault.SchemaError{Column: name, Detail: fmt.Sprintf("of product %s is published as %s but mapped as %s", p.ProductID, col.Type, mapped[i].Type),
				Remedy: fmt.Sprintf("map it as %s", want)}
		}
	}
	return nil
}

// lookup reads the row, or one of nulls where there is none. ok is false when the
// vault must be asked again later.
func (a *Answerer) lookup(ctx context.Context, p *Permit, conn vault.Connector, who person) (row vault.Row, found, ok bool, err error) {
	columns := p.Template.Columns
	row, err = conn.Lookup(ctx, who.subject, columns)
	var schema *vault.SchemaError
	switch {
	case err == nil && len(row) == len(columns):
		return row, true, true, nil
	case errors.Is(err, vault.ErrUnknownSubject):
	case errors.Is(err, vault.ErrAmbiguous), errors.As(err, &schema) && schema.InRow:
		a.alarm(p, "one subject's row cannot be used; answering NO_RECORD", err)
	case ctx.Err() != nil:
		return nil, false, false, ctx.Err()
	default:
		a.alarm(p, "the vault cannot be read; trying again until the deadline", err)
		return nil, false, false, nil
	}
	return make(vault.Row, len(columns)), false, true, nil
}

// alarm logs what an operator must look at; errors of vault and engine hold no
// personal data.
func (a *Answerer) alarm(p *Permit, msg string, err error) {
	log := a.cfg.Logger.With("product", p.Product.ProductID, "template", p.Template.TemplateID)
	if err != nil {
		log = log.With("err", err)
	}
	log.Warn("query: an operator must look at this", "what", msg)
}
