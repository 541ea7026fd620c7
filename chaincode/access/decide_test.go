package access

import (
	"slices"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

const (
	day  record.Millis = 86_400_000
	noon               = 20_000*day + day/2
)

// usual is an input that is permitted, at noon of the day 20,000.
func usual() *Inputs {
	return &Inputs{
		Now: noon,
		Request: &record.RequestSpec{
			Params: record.ParamValues{{Name: "min", Value: "1"}}, Purpose: record.CreditChecking, TemplateID: "t",
		},
		Consent: &record.Consent{
			ConsentTerms: record.ConsentTerms{
				AccessLimits:       record.AccessLimits{FrequencyPerDay: 2, MaxUses: 5},
				ExpirationDateTime: noon + day, ProductID: "p", Purposes: []record.Purpose{record.CreditChecking},
				TemplateIDs: []record.TemplateID{"t", "u"}, ValidFrom: noon - day,
			},
			Status: record.Authorised,
		},
		Usage:   &record.Usage{},
		Product: &record.Product{ProductSpec: record.ProductSpec{ProductID: "p", Purposes: []record.Purpose{record.CreditChecking, record.FraudManagement}}},
		Template: &record.Template{TemplateSpec: record.TemplateSpec{
			ProductID: "p", TemplateID: "t", Params: []record.Param{{Name: "min", Values: []string{"1", "2"}}},
		}},
		Epoch:    &record.Epoch{Epoch: 1, ProductID: "p"},
		Provider: &record.Member{Active: true},
	}
}

// ofSets are decided over several requests, never for one alone.
var ofSets = []record.Code{record.CodeNoPledge, record.CodeSetIncomplete, record.CodeSetTooClose, record.CodeEpsilonExhausted}

// breaks are the reasons for a denial, in the order Decide tests them.
var breaks = []struct {
	name  string
	apply func(in *Inputs)
	want  record.Code
}{
	{"rejected", func(in *Inputs) { in.Consent.Status = record.Rejected }, record.CodeConsentRejected},
	{"not yet valid", func(in *Inputs) { in.Consent.ValidFrom = in.Now + 1 }, record.CodeNotYetValid},
	{"provider suspended", func(in *Inputs) { in.Provider.Suspension = &record.Suspension{At: 1} }, record.CodeMemberSuspended},
	{"purpose declined", func(in *Inputs) { in.Consent.DeclinedPurposes = []record.Purpose{in.Request.Purpose} }, record.CodePurposeDeclined},
	{"purpose not consented", func(in *Inputs) { in.Request.Purpose = record.FraudManagement }, record.CodePurposeNotAllowed},
	{"product retired", func(in *Inputs) { in.Product.RetiredAt = 1 }, record.CodeProductRetired},
	{"product suspended", func(in *Inputs) { in.Product.Suspension = &record.Suspension{At: 1} }, record.CodeProductSuspended},
	{"template not consented", func(in *Inputs) { in.Consent.TemplateIDs = []record.TemplateID{"u"} }, record.CodeTemplateNotAllowed},
	{"total asked of one bank", func(in *Inputs) { in.Template.Kind = record.Total }, record.CodeTemplateNotAllowed},
	{"template retired", func(in *Inputs) { in.Template.RetiredAt = 1 }, record.CodeTemplateRetired},
	{"template suspended", func(in *Inputs) { in.Template.Suspension = &record.Suspension{At: 1} }, record.CodeTemplateSuspended},
	{"parameter off the enumeration", func(in *Inputs) { in.Request.Params[0].Value = "3" }, record.CodeParameterNotAllowed},
	{"uses exhausted", func(in *Inputs) { in.Usage.Uses = 5 }, record.CodeUsesExhausted},
	{"frequency exceeded", func(in *Inputs) { in.Usage.Day, in.Usage.DayUses = 20_000, 2 }, record.CodeFrequencyExceeded},
	{"no epoch", func(in *Inputs) { in.Epoch = nil }, record.CodeNoEpoch},
}

func TestDecideGivesTheFirstReason(t *testing.T) {
	if got := Decide(usual()); got != record.CodePermit {
		t.Fatalf("the usual input: %s", got)
	}
	for i, first := range breaks {
		in := usual()
		first.apply(in)
		if got := Decide(in); got != first.want {
			t.Errorf("%s alone: got %s", first.name, got)
		}
		for _, second := range breaks[i+1:] {
			in := usual()
			second.apply(in)
			first.apply(in)
			if got := Decide(in); got != first.want {
				t.Errorf("%s and %s: got %s", first.name, second.name, got)
			}
		}
	}
}

func TestDecideTable(t *testing.T) {
	for _, c := range []struct {
		name  string
		apply func(in *Inputs)
		want  record.Code
	}{
		{"awaiting", func(in *Inputs) { in.Consent.Status = record.AwaitingAuthorisation }, record.CodeConsentNotAuthorised},
		{"awaiting and run out", func(in *Inputs) { in.Consent.Status, in.Now = record.AwaitingAuthorisation, noon+day }, record.CodeConsentExpired},
		{"revoked", func(in *Inputs) { in.Consent.Status = record.Revoked }, record.CodeConsentRevoked},
		{"revoked and run out", func(in *Inputs) { in.Consent.Status, in.Now = record.Revoked, noon+day }, record.CodeConsentRevoked},
		{"rejected and run out", func(in *Inputs) { in.Consent.Status, in.Now = record.Rejected, noon+day }, record.CodeConsentRejected},
		{"expired", func(in *Inputs) { in.Consent.Status = record.Expired }, record.CodeConsentExpired},
		{"last moment", func(in *Inputs) { in.Now = noon + day - 1 }, record.CodePermit},
		{"run out", func(in *Inputs) { in.Now = noon + day }, record.CodeConsentExpired},
		{"first moment", func(in *Inputs) { in.Now = noon - day }, record.CodePermit},
		{"before the first moment", func(in *Inputs) { in.Now = noon - day - 1 }, record.CodeNotYetValid},
		{"purpose the product does not accept", func(in *Inputs) { in.Product.Purposes = []record.Purpose{record.FraudManagement} }, record.CodePurposeNotAllowed},
		{"product gone", func(in *Inputs) { in.Product = nil }, record.CodeProductRetired},
		{"template gone", func(in *Inputs) { in.Template = nil }, record.CodeTemplateNotAllowed},
		{"template of another product", func(in *Inputs) { in.Template.ProductID = "q" }, record.CodeTemplateNotAllowed},
		{"other enumerated value", func(in *Inputs) { in.Request.Params[0].Value = "2" }, record.CodePermit},
		{"parameter missing", func(in *Inputs) { in.Request.Params = nil }, record.CodeParameterNotAllowed},
		{"parameter too many", func(in *Inputs) {
			in.Request.Params = append(in.Request.Params, record.ParamValue{Name: "z", Value: "1"})
		}, record.CodeParameterNotAllowed},
		{"one use left", func(in *Inputs) { in.Usage.Uses = 4 }, record.CodePermit},
		{"more uses than allowed", func(in *Inputs) { in.Usage.Uses = 6 }, record.CodeUsesExhausted},
		{"one left today", func(in *Inputs) { in.Usage.Day, in.Usage.DayUses = 20_000, 1 }, record.CodePermit},
		{"none left yesterday", func(in *Inputs) { in.Usage.Day, in.Usage.DayUses = 19_999, 2 }, record.CodePermit},
		{"last millisecond of the day", func(in *Inputs) {
			in.Now, in.Usage.Day, in.Usage.DayUses = 20_001*day-1, 20_000, 2
		}, record.CodeFrequencyExceeded},
		{"first millisecond of the next", func(in *Inputs) {
			in.Now, in.Usage.Day, in.Usage.DayUses = 20_001*day, 20_000, 2
		}, record.CodePermit},
	} {
		in := usual()
		c.apply(in)
		if got := Decide(in); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// TestDecideCanGiveEveryCode holds the two tables against the closed list.
func TestDecideCanGiveEveryCode(t *testing.T) {
	reached := map[record.Code]bool{}
	for _, s := range record.Statuses() {
		in := usual()
		in.Consent.Status = s
		reached[Decide(in)] = true
	}
	for _, b := range breaks {
		in := usual()
		b.apply(in)
		reached[Decide(in)] = true
	}
	for _, code := range record.DecisionCodes() {
		if slices.Contains(ofSets, code) {
			continue
		}
		if !reached[code] {
			t.Errorf("%s is never decided", code)
		}
	}
	if want := len(record.DecisionCodes()) - len(ofSets); len(reached) != want {
		t.Errorf("decided %d codes of %d", len(reached), want)
	}
}

func TestOnlyTotalsAreAskedOfASet(t *testing.T) {
	for _, kind := range []record.TemplateKind{record.Predicate, record.Bucket, record.Score, record.Total, record.CohortKind} {
		in := usual()
		in.InSet, in.Template.Kind = true, kind
		if got := Decide(in); (got == record.CodePermit) != (kind == record.Total) {
			t.Errorf("%s in a set: %s", kind, got)
		}
		if in.InSet = false; kind == record.CohortKind && Decide(in) != record.CodeTemplateNotAllowed {
			t.Error("statistics are told under one subject's consent")
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	in := usual()
	b.ReportAllocs()
	for b.Loop() {
		if Decide(in) != record.CodePermit {
			b.Fatal("denied")
		}
	}
}
