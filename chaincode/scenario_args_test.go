package chaincode_test

import (
	"strconv"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// options are the name=value words of a line.
type options map[string]string

// set calls f with the value of a word, if the line has it.
func (o options) set(name string, f func(value string)) {
	if value, found := o[name]; found {
		f(value)
		delete(o, name)
	}
}

func (o options) get(name, otherwise string) string {
	value := otherwise
	o.set(name, func(v string) { value = v })
	return value
}

func plus[S ~string](text string) []S {
	if text == "none" {
		return nil
	}
	var out []S
	for _, part := range strings.Split(text, "+") {
		out = append(out, S(part))
	}
	return out
}

func (s *scenario) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// args makes the arguments of a call from the words of its line. "arg=x" words
// are passed as they are.
func (s *scenario) args(function string, words []string) []string {
	s.t.Helper()
	o := options{}
	var raw []string
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		if name == "arg" {
			raw = append(raw, value)
		} else {
			o[name] = value
		}
	}
	if raw != nil || len(words) == 0 {
		return raw
	}
	contract, name, _ := strings.Cut(function, ":")
	var out []string
	switch contract {
	case "membership":
		out = s.membershipArgs(name, o)
	case "catalog":
		out = s.catalogArgs(name, o)
	case "consent":
		out = s.consentArgs(name, o)
	case "access":
		out = s.accessArgs(name, o)
	}
	if out == nil || len(o) != 0 {
		s.t.Fatalf("%s: words nobody understands: %v", function, o)
	}
	return out
}

func (s *scenario) membershipArgs(function string, o options) []string {
	switch function {
	case "ApplyConfig":
		c := config()
		c.ConfigSeq = s.number(o.get("seq", "1"))
		o.set("config", func(v string) { c.ConfigHash = record.ConfigHash(s.proposed[v]) })
		o.set("chain", func(v string) { c.ChainID = hashOf(v) })
		o.set("drop", func(v string) {
			for i := range c.Members {
				if c.Members[i].OrgID == record.OrgID(v) {
					c.Members = append(c.Members[:i], c.Members[i+1:]...)
					return
				}
			}
		})
		o.set("admin", func(v string) { // org:key replaces the member's admins
			org, key, _ := strings.Cut(v, ":")
			for i := range c.Members {
				if c.Members[i].OrgID == record.OrgID(org) {
					c.Members[i].AdminKeys = []record.Address{addressOf(org + "-" + key)}
				}
			}
		})
		return []string{encode(s.t, c)}
	case "RegisterClient":
		c := &record.ClientSpec{Address: addressOf(o.get("key", "")), Roles: plus[record.ClientRole](o.get("roles", "integration"))}
		o.set("label", func(v string) { c.Label = v })
		o.set("from", func(v string) { c.ValidFrom = start + offset(s.t, v) })
		o.set("until", func(v string) { c.ValidUntil = start + offset(s.t, v) })
		return []string{encode(s.t, c)}
	case "SuspendMember":
		return []string{o.get("org", ""), o.get("reason", "INVESTIGATION")}
	case "ReinstateMember":
		return []string{o.get("org", "")}
	case "RevokeClient":
		at := "0"
		o.set("from", func(v string) { at = strconv.FormatInt(start+offset(s.t, v), 10) })
		return []string{record.FormatAddress(addressOf(o.get("key", ""))), at, o.get("reason", "ROTATED")}
	case "SetNode":
		node := o.get("node", "")
		name := o.get("host", node)
		host := hostOf(name)
		n := &record.NodeSpec{
			Addrs: []string{"/dns4/node/tcp/7000"}, HostKey: host[:],
			Kind: record.NodeKind(o.get("kind", "observer")), NodeID: record.NodeID(node),
		}
		until := s.Now + offset(s.t, o.get("until", "90d"))
		digest := record.HostProofDigest(s.chain(o), record.OrgID(o.get("for", s.org)), n.HostKey, until)
		if by := o.get("proof", name+"-host"); by != "none" {
			n.HostProof = &record.HostProof{Signature: sign(s.t, by, digest, nil), ValidUntil: until}
		}
		o.set("txkey", func(v string) { n.TxKey, n.Answers = addressOf(v), true })
		return []string{encode(s.t, n)}
	case "SetDataKey":
		k := &record.DataKeySpec{
			KeyID: record.DataKeyID(o.get("id", "")), PublicKey: hashOf("data key").Bytes(), Suite: record.SuiteX25519,
			ValidFrom: start, ValidUntil: start + offset(s.t, o.get("until", "90d")),
		}
		return []string{encode(s.t, k)}
	case "RemoveNode":
		return []string{o.get("node", "")}
	case "RevokeDataKey":
		at := "0"
		o.set("from", func(v string) { at = strconv.FormatInt(start+offset(s.t, v), 10) })
		return []string{o.get("id", ""), at}
	case "Propose", "Approve", "Withdraw", "GetProposal", "GetProposedConfig", "ListProposals":
		return s.proposalArgs(function, o)
	case "GetClient":
		return []string{o.get("org", ""), record.FormatAddress(addressOf(o.get("key", "")))}
	}
	return nil
}

func (s *scenario) catalogArgs(function string, o options) []string {
	switch function {
	case "PublishNotice":
		n := notice()
		n.NoticeID = record.NoticeID(o.get("notice", ""))
		return []string{encode(s.t, n)}
	case "PublishProduct":
		p := product()
		p.ProductID = record.ProductID(o.get("product", ""))
		o.set("methods", func(v string) { p.Methods = plus[record.Method](v) })
		o.set("purposes", func(v string) { p.Purposes = plus[record.Purpose](v) })
		return []string{encode(s.t, p)}
	case "ProposeTemplate":
		return []string{encode(s.t, templateFrom(o))}
	case "ApproveTemplate":
		t := templateFrom(o)
		return []string{string(t.TemplateID), codeHash(s.t, t)}
	case "WithdrawTemplate":
		return []string{o.get("template", "")}
	case "GetTemplateProposal":
		return []string{o.get("provider", ""), o.get("template", "")}
	case "ListTemplateProposals":
		return []string{o.get("provider", "")}
	case "OpenEpoch":
		return []string{o.get("product", ""), o.get("epoch", "")}
	case "AnchorAnswers":
		return []string{encode(s.t, s.anchorFrom(o))}
	case "GetAnchor":
		return []string{o.get("template", ""), o.get("epoch", ""), o.get("params", "{}")}
	case "ListAnchors":
		return []string{o.get("template", ""), o.get("epoch", "")}
	case "RetireProduct", "GetProduct", "GetEpoch", "ListTemplates":
		return []string{o.get("product", "")}
	case "SuspendProduct":
		return []string{o.get("product", ""), o.get("reason", "INVESTIGATION")}
	case "SuspendTemplate":
		return []string{o.get("template", ""), o.get("reason", "INVESTIGATION")}
	case "ReinstateProduct":
		return []string{o.get("product", "")}
	case "RetireTemplate", "GetTemplate", "ReinstateTemplate":
		return []string{o.get("template", "")}
	case "ListProducts":
		return []string{o.get("provider", "")}
	case "GetNotice":
		return []string{hashOf(o.get("notice", "")).Hex()}
	}
	return nil
}

func (s *scenario) anchorFrom(o options) *record.AnchorSpec {
	t := template()
	hash, err := t.CodeHash()
	if err != nil {
		s.t.Fatal(err)
	}
	a := &record.AnchorSpec{
		CodeHash: hash, Epoch: s.number(o.get("epoch", "2")), Nonce: hashOf("nonce"), Params: request("c1").Params,
		Root: hashOf(o.get("root", "root")), TemplateID: record.TemplateID(o.get("template", string(t.TemplateID))),
	}
	o.set("min", func(v string) { a.Params[0].Value = v })
	o.set("code", func(v string) { a.CodeHash = hashOf(v) })
	o.set("nonce", func(string) { a.Nonce = record.Hash{} })
	return a
}

func templateFrom(o options) *record.TemplateSpec {
	t := template()
	t.TemplateID = record.TemplateID(o.get("template", ""))
	t.ProductID = record.ProductID(o.get("product", "income"))
	t.Kind = record.TemplateKind(o.get("kind", "PREDICATE"))
	o.set("columns", func(v string) { t.Columns = plus[string](v) })
	o.set("sum", func(v string) { t.Columns, t.Source, t.Outputs, t.Params = []string{v}, v, nil, nil })
	o.set("outputs", func(v string) { t.Outputs = plus[string](v) })
	o.set("cohort", func(bank string) {
		t = cohortTemplate(bank, string(t.TemplateID))
		breakCohort(t, o.get("break", ""))
	})
	return t
}

// named are the terms that a story gave the consent, to sign them later.
func (s *scenario) named(name string) *record.ConsentTerms {
	data, found := s.State[record.ConsentKey(consentOf(name))]
	if !found {
		return terms(name)
	}
	return &load[record.Consent](s.t, data).ConsentTerms
}

func (s *scenario) consentArgs(function string, o options) []string {
	name := o.get("consent", "")
	id := string(consentOf(name))
	switch function {
	case "Create":
		return []string{encode(s.t, s.termsFrom(name, o))}
	case "Authorise":
		digest, err := s.named(name).Digest(s.chain(o))
		return []string{id, o.get("method", "WALLET"), s.evidence(o, digest, err)}
	case "Reject":
		digest, err := record.RevocationOf(s.named(name), record.ReasonRefused).Digest(s.chain(o))
		return []string{id, s.evidence(o, digest, err)}
	case "Revoke":
		reason := o.get("reason", "WITHDRAWN")
		digest, err := record.RevocationOf(s.named(name), record.Reason(o.get("signed-reason", reason))).Digest(s.chain(o))
		return []string{id, o.get("initiator", "SUBJECT"), reason, s.evidence(o, digest, err)}
	case "Expire", "Get":
		return []string{id}
	case "ListByParty":
		return []string{o.get("party", ""), o.get("status", ""), "100", ""}
	case "ListByPrincipal":
		return []string{record.FormatAddress(addressOf(o.get("key", "")))}
	}
	return s.lifeArgs(function, name, o)
}

func (s *scenario) chain(o options) record.Hash {
	chain := chainID
	o.set("chain", func(v string) { chain = hashOf(v) })
	return chain
}

func (s *scenario) evidence(o options, digest record.Hash, err error) string {
	e := new(record.Evidence)
	o.set("sign", func(key string) {
		e.Signature = sign(s.t, key, digest, err)
		e.Signature[64] += 27
	})
	o.set("evidence", func(v string) { e.EvidenceHash = hashOf(v) })
	return encode(s.t, e)
}

func (s *scenario) termsFrom(name string, o options) *record.ConsentTerms {
	t := terms(name)
	o.set("owed", func(v string) { owedTerms(t, v) })
	o.set("lender", func(v string) { t.Parties[0].PartyID = record.OrgID(v) })
	o.set("bank", func(v string) { t.Parties[1].PartyID = record.OrgID(v) })
	o.set("product", func(v string) { t.ProductID = record.ProductID(v) })
	o.set("templates", func(v string) { t.TemplateIDs = plus[record.TemplateID](v) })
	o.set("purposes", func(v string) { t.Purposes, t.DeclinedPurposes = plus[record.Purpose](v), nil })
	o.set("declined", func(v string) { t.DeclinedPurposes = plus[record.Purpose](v) })
	o.set("type", func(v string) { t.ConsentType = record.ConsentType(v) })
	o.set("ref", func(v string) { t.PrincipalRef = refOf(v) })
	o.set("classes", func(v string) { t.DataClasses = plus[record.DataClass](v) })
	o.set("kinds", func(v string) { t.ProcessingMethods = plus[record.TemplateKind](v) })
	o.set("uses", func(v string) { t.AccessLimits.MaxUses = s.number(v) })
	o.set("perday", func(v string) { t.AccessLimits.FrequencyPerDay = s.number(v) })
	o.set("from", func(v string) { t.ValidFrom = start + offset(s.t, v) })
	o.set("until", func(v string) { t.ExpirationDateTime = start + offset(s.t, v) })
	o.set("notice", func(v string) { t.NoticeHash = hashOf(v) })
	o.set("supersedes", func(v string) { t.Supersedes, t.Version = consentOf(v), s.named(v).Version+1 })
	o.set("version", func(v string) { t.Version = s.number(v) })
	o.set("wallet", func(v string) {
		if v == "none" {
			t.PrincipalKey = record.Address{}
		} else {
			t.PrincipalKey = addressOf(v)
		}
	})
	return t
}

func (s *scenario) accessArgs(function string, o options) []string {
	switch function {
	case "Request":
		r := request(o.get("consent", ""))
		o.set("template", func(v string) { r.TemplateID = record.TemplateID(v) })
		o.set("purpose", func(v string) { r.Purpose = record.Purpose(v) })
		o.set("min", func(v string) { r.Params[0].Value = v })
		o.set("deadline", func(v string) { r.DeadlineMs = offset(s.t, v) })
		return []string{encode(s.t, r)}
	case "Receipt":
		id := record.NewRequestID(s.ids[o.get("request", "")])
		r := &record.ReceiptSpec{Outcome: record.ReceiptOutcome(o.get("outcome", "ANSWERED")), RequestID: id}
		if r.Outcome == record.Answered {
			hash, err := template().CodeHash()
			if err != nil {
				s.t.Fatal(err)
			}
			r.CodeHash, r.ResultCommitment, r.EvaluatedHeight = hash, hashOf("result"), 7
			o.set("code", func(v string) { r.CodeHash = hashOf(v) })
		}
		return []string{encode(s.t, r)}
	case "RequestCohort", "GetCohort", "GetEpsilon":
		return s.cohortArgs(function, o)
	case "RegisterPledge", "RequestExposure", "GetPledge", "GetExposure", "GetExposureHistory":
		return s.exposureArgs(function, o)
	case "RequestBatch":
		return []string{encode(s.t, s.batchFrom(o))}
	case "DisputeAnswer":
		d := &record.AnswerDisputeSpec{
			Authority: record.OrgID(o.get("authority", "regulator")), Claim: record.AnswerClaim(o.get("claim", "MISMATCH")),
			OpeningHash: hashOf("opening"), RequestID: record.NewRequestID(s.ids[o.get("request", "")]),
		}
		o.set("opening", func(string) { d.OpeningHash = record.Hash{} })
		return []string{encode(s.t, d)}
	case "JudgeAnswer":
		return []string{encode(s.t, &record.VerdictSpec{
			Finding: record.Finding(o.get("finding", "UPHELD")), RequestID: record.NewRequestID(s.ids[o.get("request", "")]), StatementHash: hashOf("ruling"),
		})}
	case "ListAnswerDisputes":
		return []string{o.get("authority", ""), "100", ""}
	case "GetRequest", "GetReceipt", "GetAnswerDispute":
		return []string{string(record.NewRequestID(s.ids[o.get("request", "")]))}
	case "Usage":
		return []string{string(consentOf(o.get("consent", "")))}
	case "ListByConsent":
		return []string{string(consentOf(o.get("consent", ""))), "100", ""}
	case "ListByParty":
		return []string{o.get("party", ""), "100", ""}
	}
	return nil
}
