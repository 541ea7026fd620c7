package console

import (
	"net/http"
	"slices"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// Bounds of what one page of proposals reads.
const (
	proposalsShown   = 20 // membership proposals of one configuration number
	proposalsNumbers = 5  // the next configuration and the last ones
)

// proposals shows what waits for an approval: changes of the network, and query
// templates of the visitor's member.
func (c *Console) proposals(w http.ResponseWriter, r *http.Request, v *visitor) {
	config := c.cfg.Ledger.Config()
	var changes []*record.Proposal
	for i := range uint64(proposalsNumbers) {
		if i > config.Seq+1 {
			break
		}
		prefix := record.ProposalIndexPrefix(config.Seq + 1 - i)
		rows, err := c.cfg.Ledger.Rows(prefix, "", proposalsShown)
		if err != nil {
			c.failed(w, r, err)
			return
		}
		for _, row := range rows {
			hash, err := record.ParseHash(record.LastSegment(row.Key))
			if err != nil {
				c.failed(w, r, err)
				return
			}
			p, err := load[record.Proposal](r.Context(), c.cfg.Ledger, record.ProposalKey(hash))
			if err != nil {
				c.failed(w, r, err)
				return
			}
			changes = append(changes, p)
		}
	}
	rows, err := c.cfg.Ledger.Rows(record.TemplateProposalPrefix(record.OrgID(c.cfg.Member)), "", maxTemplates)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	var templates []*record.TemplateProposal
	for _, row := range rows {
		p, err := record.Load[record.TemplateProposal](row.Value)
		if err != nil {
			c.failed(w, r, err)
			return
		}
		if p.Status == record.TemplateProposed {
			templates = append(templates, p)
		}
	}
	c.show(w, r, http.StatusOK, "proposals", v, &struct {
		Changes   []*record.Proposal
		Templates []*record.TemplateProposal
		Seq       uint64
		Member    record.OrgID
	}{changes, templates, config.Seq, record.OrgID(c.cfg.Member)})
}

// maxClients bounds what a member's page reads.
const maxClients = 200

// member shows a member: its part in the network, and the keys that act for it.
func (c *Console) member(w http.ResponseWriter, r *http.Request, v *visitor) {
	id := r.PathValue("id")
	config := c.cfg.Ledger.Config()
	i := slices.IndexFunc(config.Members, func(m ledger.Member) bool { return m.ID == id })
	if i < 0 {
		c.missing(w, r, "member", errNone)
		return
	}
	rows, err := c.cfg.Ledger.Rows(record.ClientPrefix(record.OrgID(id)), "", maxClients)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	type key struct {
		*record.Client
		Ends string // "": it is in force
	}
	var keys []key
	now := c.cfg.Clock().UnixMilli()
	for _, row := range rows {
		k, err := record.Load[record.Client](row.Value)
		if err != nil {
			c.failed(w, r, err)
			return
		}
		state := key{Client: k}
		switch {
		case k.RevokedAt != 0 && k.RevokedAt <= now:
			state.Ends = "revoked"
		case k.ValidUntil != 0 && k.ValidUntil <= now:
			state.Ends = "expired"
		case k.ValidFrom > now:
			state.Ends = "not yet"
		}
		keys = append(keys, state)
	}
	var validators []ledger.Validator
	for _, x := range config.Validators {
		if x.Member == id {
			validators = append(validators, x)
		}
	}
	c.show(w, r, http.StatusOK, "member", v, &struct {
		Member     ledger.Member
		Validators []ledger.Validator
		Keys       []key
		More       bool
	}{config.Members[i], validators, keys, len(rows) == maxClients})
}
