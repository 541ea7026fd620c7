package query

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/vault"
)

// tag is how private.db knows a subject: an HMAC under the member's own key, so
// that the file alone names nobody and cannot be tried against a list of
// identifiers.
type tag [sha256.Size]byte

// tagKind keeps apart what must not share an account.
type tagKind byte

const (
	// Numbers stand in private.db.
	subjectTag    tagKind = 1 // a customer
	unboundTag    tagKind = 2 // an identifier claimed without a binding
	unreadableTag tagKind = 3 // a consent whose part says nothing usable
)

func (a *Answerer) tag(kind tagKind, text string) (t tag) {
	mac := hmac.New(sha256.New, a.cfg.TagKey)
	mac.Write([]byte("assent/subject-tag/1"))
	mac.Write([]byte{byte(kind)})
	mac.Write([]byte(text))
	mac.Sum(t[:0])
	return t
}

// maxWallets bounds the wallets bound to one customer.
const maxWallets = 16

// Bind records that a wallet belongs to a customer. The bank calls it in a session
// in which it has authenticated the customer by its own means: this is the one
// place where a person and a key meet. Binding again is a success.
func (a *Answerer) Bind(ctx context.Context, subject vault.Subject, wallet record.Address) error {
	if _, err := vault.ParseSubject(string(subject)); err != nil {
		return err
	}
	if wallet == (record.Address{}) {
		return fmt.Errorf("bind wallet: the address is zero")
	}
	t := a.tag(subjectTag, string(subject))
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM query_wallets WHERE tag = ? AND wallet <> ?`, t[:], wallet[:]).Scan(&n); err != nil {
			return err
		}
		if n >= maxWallets {
			return fmt.Errorf("the customer has %d wallets already; unbind one first", n)
		}
		_, err := tx.Exec(`INSERT INTO query_wallets VALUES (?,?,?) ON CONFLICT DO NOTHING`, t[:], wallet[:], time.Now().UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("bind wallet: %w", err)
	}
	return nil
}

// Unbind ends a binding, for example after a lost phone. Consents endorsed by that
// wallet answer NO_RECORD from the next epoch on, and at once to what was not
// asked in this one.
func (a *Answerer) Unbind(ctx context.Context, subject vault.Subject, wallet record.Address) error {
	t := a.tag(subjectTag, string(subject))
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM query_wallets WHERE tag = ? AND wallet = ?`, t[:], wallet[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("unbind wallet: %w", err)
	}
	return nil
}

// UnbindAll ends every binding of a customer, as Unbind does for one wallet.
// A customer without any is a success: the answer tells nothing.
func (a *Answerer) UnbindAll(ctx context.Context, subject vault.Subject) error {
	t := a.tag(subjectTag, string(subject))
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM query_wallets WHERE tag = ?`, t[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("unbind customer: %w", err)
	}
	return nil
}

// ErrBound refuses to bind a consent to a second customer.
var ErrBound = errors.New("query: the consent is bound to another customer")

// BindConsent records for which customer the bank authorised a consent itself
// (PROVIDER_AUTHENTICATED) or countersigned it (WRITTEN). A consent is bound once; another customer is refused.
func (a *Answerer) BindConsent(ctx context.Context, consent record.ConsentID, subject vault.Subject) error {
	if err := consent.Check(); err != nil {
		return err
	}
	if _, err := vault.ParseSubject(string(subject)); err != nil {
		return err
	}
	t := a.tag(subjectTag, string(subject))
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`INSERT INTO query_sessions VALUES (?,?,?) ON CONFLICT DO NOTHING`, string(consent), t[:], time.Now().UnixMilli()); err != nil {
			return err
		}
		var same bool
		if err := tx.QueryRow(`SELECT tag = ? FROM query_sessions WHERE consent_id = ?`, t[:], string(consent)).Scan(&same); err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%w: consent %s", ErrBound, consent)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("bind consent: %w", err)
	}
	return nil
}
