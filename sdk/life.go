package sdk

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/assent-network/assent/chaincode/record"
)

// What happens to a consent besides being given and used: written authorisation,
// endings that nobody but the subject decided, the duties that follow an ending,
// disputes and erasure. What each record means stands in chaincode/record.
type (
	Termination    = record.Termination
	Deletion       = record.Deletion
	Erasure        = record.Erasure
	Dispute        = record.Dispute
	DisputeSpec    = record.DisputeSpec
	ResolutionSpec = record.ResolutionSpec
	Initiator      = record.Initiator
)

// Countersign authorises a WRITTEN consent whose evidence was brought with
// Authorise. evidenceHash is that of the document which the officer saw. Role:
// officer of the provider, with another key than brought the evidence.
func (m Consents) Countersign(ctx context.Context, id ConsentID, evidenceHash Hash) (*Consent, error) {
	return m.change(ctx, "Countersign", string(id), evidenceHash.Hex())
}

// RevokeAs ends a consent in the name of a party or an authority, with a reason
// from record.RevocationReasonsOf and a salted commitment to the grounds. Roles:
// officer or integration of the lender or the provider; officer of an AUDITOR.
func (m Consents) RevokeAs(ctx context.Context, id ConsentID, by Initiator, why Reason, grounds Hash) (*Consent, error) {
	body, err := encodeChecked("evidence", &Evidence{EvidenceHash: grounds})
	if err != nil {
		return nil, err
	}
	return m.change(ctx, "Revoke", string(id), string(by), string(why), body)
}

// Termination returns the record of a consent's ending, as a node says.
func (m Consents) Termination(ctx context.Context, id ConsentID) (*Termination, error) {
	return read[record.Termination](ctx, m.c, record.ContractConsent, "GetTermination", string(id))
}

// Terminations yields the endings that a party has not acknowledged; "" means the
// client's own member.
func (m Consents) Terminations(ctx context.Context, party OrgID) iter.Seq2[*Termination, error] {
	party = cmp.Or(party, m.c.set.org)
	return pages(func(bookmark string) ([]Termination, string, error) {
		p, err := read[record.TerminationPage](ctx, m.c, record.ContractConsent, "ListTerminations", string(party), pageSize, bookmark)
		if err != nil {
			return nil, "", err
		}
		return p.Terminations, p.Bookmark, nil
	})
}

// AcknowledgeTermination signs, for a party, that it knows of a consent's ending
// and keeps to it. A second acknowledgement has code ALREADY_EXISTS. Roles:
// officer, integration, node of a party.
func (m Consents) AcknowledgeTermination(ctx context.Context, id ConsentID) (*Termination, error) {
	return invoked[record.Termination](ctx, m.c, "AcknowledgeTermination", string(id))
}

// ConfirmDeletion signs that the lender has destroyed every answer it was given
// under a consent that ended. The receipt names the head of the usage chain, read
// here, and so each of them. Roles: officer, integration of the lender.
func (m Consents) ConfirmDeletion(ctx context.Context, id ConsentID) (*Deletion, error) {
	u, err := read[record.Usage](ctx, m.c, record.ContractAccess, "Usage", string(id))
	if err != nil {
		return nil, err
	}
	body, err := encodeChecked("deletion", &record.DeletionSpec{ConsentID: id, Head: u.Head, Requests: u.Requests})
	if err != nil {
		return nil, err
	}
	return invoked[record.Deletion](ctx, m.c, "ConfirmDeletion", body)
}

// DeletionsDue yields the endings after which a lender has not confirmed its
// deletion, by due date; "" means the client's own member, a zero time all.
func (m Consents) DeletionsDue(ctx context.Context, lender OrgID, before time.Time) iter.Seq2[*Termination, error] {
	lender = cmp.Or(lender, m.c.set.org)
	return pages(func(bookmark string) ([]Termination, string, error) {
		p, err := read[record.TerminationPage](ctx, m.c, record.ContractConsent, "ListDeletionsDue", string(lender), dueBefore(before), pageSize, bookmark)
		if err != nil {
			return nil, "", err
		}
		return p.Terminations, p.Bookmark, nil
	})
}

// RequestErasure brings the subject's wish that an ended consent be erased: its
// signature over record.ErasureOf, which any member may relay, or the provider's
// commitment to what its customer told it.
func (m Consents) RequestErasure(ctx context.Context, id ConsentID, e Evidence) (*Erasure, error) {
	body, err := encodeChecked("evidence", &e)
	if err != nil {
		return nil, err
	}
	return invoked[record.Erasure](ctx, m.c, "RequestErasure", string(id), body)
}

// ConfirmErasure signs, for one holder, that salt, key and mapping of the consent
// are destroyed. With the last holder's receipt the ledger keeps a tombstone.
// Nodes do this by themselves. Roles: officer, integration, node of a party.
func (m Consents) ConfirmErasure(ctx context.Context, id ConsentID) (*Erasure, error) {
	return invoked[record.Erasure](ctx, m.c, "ConfirmErasure", string(id))
}

// Erasure returns how far a consent's erasure has come, as a node says.
func (m Consents) Erasure(ctx context.Context, id ConsentID) (*Erasure, error) {
	return read[record.Erasure](ctx, m.c, record.ContractConsent, "GetErasure", string(id))
}

// ErasuresDue yields the erasures that a holder has not confirmed, by due date.
func (m Consents) ErasuresDue(ctx context.Context, holder OrgID, before time.Time) iter.Seq2[*Erasure, error] {
	holder = cmp.Or(holder, m.c.set.org)
	return pages(func(bookmark string) ([]Erasure, string, error) {
		p, err := read[record.ErasurePage](ctx, m.c, record.ContractConsent, "ListErasuresDue", string(holder), dueBefore(before), pageSize, bookmark)
		if err != nil {
			return nil, "", err
		}
		return p.Erasures, p.Bookmark, nil
	})
}

// RaiseDispute records that the subject disputes the data under a consent, or one
// answer: its signature over record.DisputeOf, which any member may relay, or the
// provider's commitment. From then on every decision says so, and the provider
// has 20 days.
func (m Consents) RaiseDispute(ctx context.Context, spec DisputeSpec, e Evidence) (*Dispute, error) {
	dispute, err := encodeChecked("dispute", &spec)
	if err != nil {
		return nil, err
	}
	body, err := encodeChecked("evidence", &e)
	if err != nil {
		return nil, err
	}
	return invoked[record.Dispute](ctx, m.c, "RaiseDispute", dispute, body)
}

// ResolveDispute settles a dispute: CORRECTED, or REJECTED with a reason. Role:
// officer of the provider.
func (m Consents) ResolveDispute(ctx context.Context, spec ResolutionSpec) (*Dispute, error) {
	body, err := encodeChecked("resolution", &spec)
	if err != nil {
		return nil, err
	}
	return invoked[record.Dispute](ctx, m.c, "ResolveDispute", body)
}

// Disputes yields every dispute under a consent.
func (m Consents) Disputes(ctx context.Context, id ConsentID) iter.Seq2[*Dispute, error] {
	return m.disputes(ctx, "ListDisputes", string(id))
}

// DisputesDue yields a provider's open disputes by due date.
func (m Consents) DisputesDue(ctx context.Context, provider OrgID, before time.Time) iter.Seq2[*Dispute, error] {
	return m.disputes(ctx, "ListDisputesDue", string(cmp.Or(provider, m.c.set.org)), dueBefore(before))
}

func (m Consents) disputes(ctx context.Context, function string, args ...string) iter.Seq2[*Dispute, error] {
	return pages(func(bookmark string) ([]Dispute, string, error) {
		p, err := read[record.DisputePage](ctx, m.c, record.ContractConsent, function, append(args[:len(args):len(args)], pageSize, bookmark)...)
		if err != nil {
			return nil, "", err
		}
		return p.Disputes, p.Bookmark, nil
	})
}

var pageSize = strconv.Itoa(record.MaxPage)

// dueBefore is block time in milliseconds, "0" for all.
func dueBefore(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// invoked submits a call of the consent contract and returns the record that it
// gives back.
func invoked[T any, P interface {
	*T
	record.Record
}](ctx context.Context, c *Client, function string, args ...string) (*T, error) {
	o, err := c.Invoke(ctx, record.ContractConsent, function, args...)
	if err != nil {
		return nil, err
	}
	v, err := record.Load[T, P](o.Payload)
	if err != nil {
		return nil, fmt.Errorf("consent.%s, transaction %s: the node's payload: %w", function, o.TxID, err)
	}
	return v, nil
}

// pages yields a list that is read page by page.
func pages[T any](next func(bookmark string) (list []T, following string, err error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for bookmark := ""; ; {
			list, following, err := next(bookmark)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range list {
				if !yield(&list[i], nil) {
					return
				}
			}
			if following == "" {
				return
			}
			bookmark = following
		}
	}
}
