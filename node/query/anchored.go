package query

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/epoch"
	"github.com/assent-network/assent/node/vault"
)

// Verifiable answers. Where the provider has anchored its answers to a question for
// an epoch, every answer of that epoch is the anchored one and comes with its
// opening; the vault is not asked. Nobody but the tree decides, so nobody can be told
// anything else. Who is not in the tree, or not bound to the consent, is answered
// NO_RECORD after the same work.

// findAnchored opens the anchored answer about a person. ok is false while the file
// cannot be read: answering from the vault instead would be an answer that its
// lender disputes.
func (a *Answerer) findAnchored(p *Permit, who person) (f finding, ok bool, err error) {
	if a.cfg.Epochs == nil {
		a.alarm(p, "the provider has anchored its answers of this epoch, and this node keeps none: answer with the node that built them, or open another epoch", nil)
		return finding{}, false, nil
	}
	value, proof, err := a.cfg.Epochs.Find(p.Anchor, p.Template.Outputs, string(who.subject))
	if err != nil {
		a.alarm(p, "the anchored answers of this epoch cannot be read; trying again until the deadline. Restore their file, or open another epoch", err)
		return finding{}, false, nil
	}
	if !who.bound {
		value, proof = record.NoRecord, nil
	}
	return finding{value: value, proof: proof}, true, nil
}

// errFrozen cannot happen while epochs are anchored before they begin.
var errFrozen = errors.New("another answer was given in this epoch than the anchored one")

// Errors of BuildAnswers.
var (
	// ErrNoVault: there is no vault for the product, or it cannot be scanned.
	ErrNoVault = errors.New("query: no vault that can be scanned is mapped for the product")
	// ErrBuilding: one tree is being built already.
	ErrBuilding = errors.New("query: anchored answers are being built already")
)

// BuildAnswers works out the answers of a template about every subject of the vault,
// for an epoch that has not been opened yet, and keeps them. The result is for the
// catalog's AnchorAnswers; until it is anchored nothing of it is answered. One at a
// time. Errors: ErrBuilding, ErrNoVault, ErrParameter, *TemplateError,
// *vault.SchemaError and those of a scan.
func (a *Answerer) BuildAnswers(ctx context.Context, product *record.Product, t *record.Template, params record.ParamValues, number uint64, progress func(epoch.Progress)) (*epoch.Result, error) {
	if a.cfg.Epochs == nil {
		return nil, errors.New("query: this node keeps no anchored answers")
	}
	if !a.building.TryLock() {
		return nil, ErrBuilding
	}
	defer a.building.Unlock()
	if !t.Accepts(params) {
		return nil, ErrParameter
	}
	conn, mapped := a.cfg.Vault(product.ProductID)
	scanner, can := conn.(vault.Scanner)
	if !mapped || !can {
		return nil, fmt.Errorf("%w: product %s", ErrNoVault, product.ProductID)
	}
	if _, err := a.cfg.Engine.Check(&product.ProductSpec, &t.TemplateSpec); err != nil {
		return nil, err
	}
	if err := CheckMapping(&product.ProductSpec, t.Columns, conn.Describe()); err != nil {
		return nil, err
	}
	var failed atomic.Uint64
	result, err := a.cfg.Epochs.Build(ctx, epoch.Job{
		Anchor: record.Anchor{
			AnchorSpec: record.AnchorSpec{CodeHash: t.CodeHash, Epoch: number, Params: params, TemplateID: t.TemplateID},
			ProductID:  t.ProductID, Provider: t.Provider,
		},
		Outputs: t.Outputs, Progress: progress,
		Scan: func(ctx context.Context, visit func(vault.Subject, vault.Row) error) error {
			return scanner.Scan(ctx, t.Columns, visit)
		},
		Evaluate: func(row vault.Row) (string, error) {
			value, err := a.cfg.Engine.Evaluate(&product.ProductSpec, t, params, row)
			var broken *TemplateError
			switch {
			case err == nil:
				return value, nil
			case errors.As(err, &broken), errors.Is(err, ErrParameter):
				return "", err
			case !errors.Is(err, ErrNull):
				failed.Add(1)
			}
			return record.NoRecord, nil // as for one subject: see find
		},
	})
	if err != nil {
		return nil, err
	}
	result.Failed = failed.Load()
	if n := result.Failed + result.Twice + result.Collided; n > 0 {
		a.cfg.Logger.Warn("query: an operator must look at this", "what", "subjects are answered NO_RECORD because of their rows", "product", product.ProductID, "template", t.TemplateID,
			"failed", result.Failed, "twice", result.Twice, "collided", result.Collided)
	}
	return result, nil
}
