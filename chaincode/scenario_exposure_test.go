package chaincode_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// foundBanks makes a network of banks whose figures are added up.
func (w *world) foundBanks(banks []string) {
	w.t.Helper()
	c := config()
	c.Members = nil
	add := func(org string, role record.MemberRole) {
		c.Members = append(c.Members, record.ConfigMember{
			AdminKeys: []record.Address{addressOf(org + "-admin")}, OrgID: record.OrgID(org), Roles: []record.MemberRole{role}, Title: "Member " + org,
		})
	}
	for _, bank := range banks {
		add(bank, record.DataProvider)
	}
	add("lender-a", record.DataConsumer)
	add("lender-b", record.DataConsumer)
	add("bureau", record.CreditReportingAgency)
	slices.SortFunc(c.Members, func(a, b record.ConfigMember) int { return cmp.Compare(a.OrgID, b.OrgID) })
	if r := w.submitAs(record.SystemCreator(), "membership:ApplyConfig", encode(w.t, c)); r.Code != record.OK {
		w.t.Fatal(r.Message)
	}
	for _, m := range c.Members {
		org := string(m.OrgID)
		for key, role := range map[string]record.ClientRole{"app": record.RoleIntegration, "officer": record.RoleOfficer, "second": record.RoleOfficer} {
			w.must(m.OrgID, org+"-admin", "membership:RegisterClient", encode(w.t, &record.ClientSpec{Address: addressOf(org + "-" + key), Roles: []record.ClientRole{role}}))
		}
	}
	for i, bank := range banks {
		if i == 0 {
			w.must(record.OrgID(bank), bank+"-officer", "catalog:PublishNotice", encode(w.t, notice()))
		}
		w.foundLoans(bank)
	}
}

func (w *world) foundLoans(bank string) {
	org, officer, second := record.OrgID(bank), bank+"-officer", bank+"-second"
	w.must(org, bank+"-admin", "membership:SetDataKey", encode(w.t, &record.DataKeySpec{
		KeyID: "data", PublicKey: hashOf("data key of " + bank).Bytes(), Suite: record.SuiteX25519, ValidFrom: start, ValidUntil: start + 30*day,
	}))
	p := product()
	p.ProductID, p.Columns = record.ProductID(bank+"-loans"), []record.Column{
		{Name: "note", Type: record.TypeString, DataClass: record.C1, Class: record.Class{Kind: record.ClassNever}},
		{Name: "owed", Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassSumOnly}},
	}
	w.must(org, officer, "catalog:PublishProduct", encode(w.t, p))
	for _, t := range []*record.TemplateSpec{totalTemplate(bank, "-owed"), totalTemplate(bank, "-over")} {
		w.must(org, officer, "catalog:ProposeTemplate", encode(w.t, t))
		w.must(org, second, "catalog:ApproveTemplate", string(t.TemplateID), codeHash(w.t, t))
	}
	w.must(org, bank+"-app", "catalog:OpenEpoch", string(p.ProductID), "1")
}

func totalTemplate(bank, kind string) *record.TemplateSpec {
	t := template()
	t.TemplateID, t.ProductID, t.Kind = record.TemplateID(bank+kind), record.ProductID(bank+"-loans"), record.Total
	t.Columns, t.Source, t.Outputs, t.Params = []string{"owed"}, "owed", nil, nil
	if kind == "-over" {
		t.Params = []record.Param{{Name: record.ThresholdParam, Type: record.TypeInt, Values: []string{"50000", "100000"}}}
	}
	return t
}

// owedTerms are a consent's with a bank of foundBanks; both its templates.
func owedTerms(t *record.ConsentTerms, bank string) {
	t.Parties[1].PartyID, t.ProductID = record.OrgID(bank), record.ProductID(bank+"-loans")
	t.TemplateIDs = []record.TemplateID{record.TemplateID(bank + "-over"), record.TemplateID(bank + "-owed")}
	slices.Sort(t.TemplateIDs)
	t.ProcessingMethods = []record.TemplateKind{record.Total}
	t.AccessLimits = record.AccessLimits{FrequencyPerDay: 20, MaxUses: 60}
}

func pledge(consent, bank, kind string, epoch uint64) *record.PledgeSpec {
	return &record.PledgeSpec{
		ConsentID: consentOf(consent), Epoch: epoch, KeyID: "data", Pledge: hashOf(fmt.Sprint(consent, bank, kind, epoch)),
		TemplateID: record.TemplateID(bank + kind),
	}
}

// exposure asks for the total over consents named "subject/bank".
func exposure(kind string, consents []string) *record.ExposureSpec {
	e := &record.ExposureSpec{AnswerKey: hashOf("answer key").Bytes(), Purpose: record.CreditChecking}
	for _, name := range consents {
		_, bank, _ := strings.Cut(name, "/")
		e.Items = append(e.Items, record.ExposureItem{ConsentID: consentOf(name), TemplateID: record.TemplateID(bank + kind)})
	}
	slices.SortFunc(e.Items, func(a, b record.ExposureItem) int { return cmp.Compare(a.ConsentID, b.ConsentID) })
	if kind == "-over" {
		e.Params, e.Recipient = record.ParamValues{{Name: record.ThresholdParam, Value: "50000"}}, "bureau"
	}
	return e
}

func (s *scenario) exposureArgs(function string, o options) []string {
	kind := o.get("kind", "-owed")
	switch function {
	case "RegisterPledge", "GetPledge":
		name := o.get("consent", "")
		_, bank, _ := strings.Cut(name, "/")
		o.set("bank", func(v string) { bank = v })
		p := pledge(name, bank, kind, s.number(o.get("epoch", "1")))
		o.set("key", func(v string) { p.KeyID = record.DataKeyID(v) })
		o.set("figure", func(v string) { p.Pledge = hashOf(v) })
		o.set("template", func(v string) { p.TemplateID = record.TemplateID(v) })
		if function == "GetPledge" {
			return []string{string(p.ConsentID), string(p.TemplateID), fmt.Sprint(p.Epoch)}
		}
		return []string{encode(s.t, p)}
	case "RequestExposure":
		e := exposure(kind, strings.Split(o.get("consents", ""), "+"))
		o.set("purpose", func(v string) { e.Purpose = record.Purpose(v) })
		o.set("recipient", func(v string) { e.Recipient = record.OrgID(v) })
		o.set("threshold", func(v string) { e.Params[0].Value = v })
		o.set("param", func(v string) { e.Params[0].Name = v })
		o.set("deadline", func(v string) { e.DeadlineMs = offset(s.t, v) })
		return []string{encode(s.t, e)}
	case "GetExposure":
		return []string{s.ids[o.get("set", "")].Hex()}
	case "GetExposureHistory":
		return []string{record.FormatAddress(addressOf(o.get("wallet", "")))}
	}
	return nil
}

// exposureLine prints each bank's code; seat i can be named label.i from then on.
func (s *scenario) exposureLine(out *strings.Builder, label string, e *record.Exposure) {
	fmt.Fprintf(out, "%s=%s", label, e.Decision)
	for i := range e.Seats {
		seat := &e.Seats[i]
		s.met[seat.Code] = true
		fmt.Fprintf(out, " %s:%s", seat.Bank, seat.Code)
		id, err := record.ParseHash(string(seat.RequestID))
		if err != nil {
			s.t.Fatal(err)
		}
		s.ids[fmt.Sprintf("%s.%d", label, i)] = id
	}
	if e.Decision == record.Permit {
		fmt.Fprintf(out, " to=%s threshold=%d deadline=%s", e.Recipient, e.Threshold, moment(e.Deadline))
	}
	out.WriteString("\n")
}
