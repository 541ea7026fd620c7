package sdk

import (
	"cmp"
	"context"
	"iter"

	"github.com/assent-network/assent/chaincode/record"
)

// A lender's dispute of an answer: what the authority gets to see stays off the
// ledger, which holds only the claim, a commitment to the opening, and the verdict.
type (
	AnswerDispute = record.AnswerDispute
	AnswerClaim   = record.AnswerClaim
	VerdictSpec   = record.VerdictSpec
)

// Opening returns what an authority needs to judge the answer: the body with its
// salt, as canonical JSON. Whoever has it can read the answer. nil for an answer
// with nothing to open.
func (a *Answer) Opening() ([]byte, error) {
	if a.opened == nil {
		return nil, nil
	}
	return record.Encode(&a.opened.Body)
}

// DisputeAnswer records, once, that the lender disputes an answer before an
// authority, an AUDITOR, to which it hands Opening off the ledger. Roles: officer,
// integration of the lender.
func (m Queries) DisputeAnswer(ctx context.Context, a *Answer, claim AnswerClaim, authority OrgID) (*Outcome, error) {
	spec := &record.AnswerDisputeSpec{Authority: authority, Claim: claim, RequestID: a.RequestID}
	if claim != record.ClaimNotReceived {
		if a.opened == nil {
			return nil, &ConfigError{What: "dispute of an answer that was not opened", Remedy: "Open the answer first, or claim NOT_RECEIVED."}
		}
		var err error
		if spec.OpeningHash, err = a.opened.Body.OpeningHash(); err != nil {
			return nil, err
		}
	}
	return m.c.write(ctx, record.ContractAccess, "DisputeAnswer", spec)
}

// JudgeAnswer records the authority's verdict, once. Role: officer of the
// authority that the dispute names.
func (m Queries) JudgeAnswer(ctx context.Context, v VerdictSpec) (*Outcome, error) {
	return m.c.write(ctx, record.ContractAccess, "JudgeAnswer", &v)
}

// AnswerDispute returns the dispute of one answer, as a node says.
func (m Queries) AnswerDispute(ctx context.Context, id RequestID) (*AnswerDispute, error) {
	return read[record.AnswerDispute](ctx, m.c, record.ContractAccess, "GetAnswerDispute", string(id))
}

// AnswerDisputes yields the open disputes before an authority; "" means the
// client's own member.
func (m Queries) AnswerDisputes(ctx context.Context, authority OrgID) iter.Seq2[*AnswerDispute, error] {
	authority = cmp.Or(authority, m.c.set.org)
	return pages(func(bookmark string) ([]AnswerDispute, string, error) {
		p, err := read[record.AnswerDisputePage](ctx, m.c, record.ContractAccess, "ListAnswerDisputes", string(authority), pageSize, bookmark)
		if err != nil {
			return nil, "", err
		}
		return p.Disputes, p.Bookmark, nil
	})
}
