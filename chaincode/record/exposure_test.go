package record

import (
	"strings"
	"testing"
)

func samplePledge() *Pledge {
	return &Pledge{
		PledgeSpec: PledgeSpec{ConsentID: NewConsentID(sampleID(1)), Epoch: 3, KeyID: "data-1", Pledge: sampleHash(4), TemplateID: "owed"},
		CodeHash:   sampleHash(1), Provider: "bank-a", RegisteredAt: 5, RegisteredBy: sampleAddress(1),
	}
}

func sampleExposureSpec() *ExposureSpec {
	s := &ExposureSpec{
		AnswerKey: sampleBlob(32), DeadlineMs: MinAnswerTTL, Params: ParamValues{{Name: ThresholdParam, Value: "50000"}},
		Purpose: CreditChecking, Recipient: "bureau",
	}
	for i := range byte(MinExposureBanks) {
		s.Items = append(s.Items, ExposureItem{ConsentID: NewConsentID(sampleID(i + 1)), TemplateID: "owed"})
	}
	return s
}

func sampleExposure() *Exposure {
	return &Exposure{
		AnswerKey: sampleBlob(32), Consumer: "lender-a", Deadline: 9, Decision: Permit, ExposureID: sampleHash(9),
		Purpose: CreditChecking, Recipient: "bureau", RequestedAt: 5, Threshold: 50_000,
		Seats: []ExposureSeat{{
			Bank: "bank-a", Code: CodePermit, CodeHash: sampleHash(1), ConsentID: NewConsentID(sampleID(1)), Epoch: 3, Key: sampleBlob(32),
			KeyID: "data-1", Pledge: sampleHash(4), RequestID: NewRequestID(sampleHash(8)), TemplateID: "owed",
		}},
	}
}

func sampleHistory() *ExposureHistory {
	return &ExposureHistory{PrincipalKey: sampleAddress(2), Sets: []FigureSet{{Figures: []Figure{{Bank: "bank-a", Epoch: 3, TemplateID: "owed"}}}}}
}

// TestTheLargestHistoryFits: were it not so, the last of the sets that the rule
// allows could not be written.
func TestTheLargestHistoryFits(t *testing.T) {
	long := strings.Repeat("x", maxID)
	h := &ExposureHistory{PrincipalKey: sampleAddress(2)}
	for range MaxExposureSets {
		s := FigureSet{}
		for range MaxExposureBanks {
			s.Figures = append(s.Figures, Figure{Bank: OrgID(long), Epoch: MaxInt, TemplateID: TemplateID(long)})
		}
		h.Sets = append(h.Sets, s)
	}
	if _, err := Encode(h); err != nil {
		t.Error(err)
	}
	e := sampleExposure()
	e.Seats[0].Bank, e.Seats[0].KeyID, e.Seats[0].TemplateID = OrgID(long), DataKeyID(long), TemplateID(long)
	for len(e.Seats) < MaxExposureBanks {
		e.Seats = append(e.Seats, e.Seats[0])
	}
	if _, err := Encode(e); err != nil {
		t.Error(err)
	}
}

func TestWhatASetMayBe(t *testing.T) {
	for name, breaks := range map[string]func(s *ExposureSpec){
		"too few":                    func(s *ExposureSpec) { s.Items = s.Items[:2] },
		"out of order":               func(s *ExposureSpec) { s.Items[0], s.Items[1] = s.Items[1], s.Items[0] },
		"one consent twice":          func(s *ExposureSpec) { s.Items[1] = s.Items[0] },
		"no answer key":              func(s *ExposureSpec) { s.AnswerKey = make(Blob, 32) },
		"threshold, no aggregator":   func(s *ExposureSpec) { s.Recipient = "" },
		"aggregator, no threshold":   func(s *ExposureSpec) { s.Params = nil },
		"no consent":                 func(s *ExposureSpec) { s.Items[0].ConsentID = "" },
		"no template":                func(s *ExposureSpec) { s.Items[0].TemplateID = "" },
		"a deadline beyond the rule": func(s *ExposureSpec) { s.DeadlineMs = MaxAnswerTTL + 1 },
		"no name of a member":        func(s *ExposureSpec) { s.Recipient = "a b" },
	} {
		s := sampleExposureSpec()
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		if breaks(s); s.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s := sampleExposureSpec()
	for i := byte(len(s.Items)); len(s.Items) <= MaxExposureBanks; i++ {
		s.Items = append(s.Items, ExposureItem{ConsentID: NewConsentID(sampleID(i + 1)), TemplateID: "owed"})
	}
	if _, err := Encode(s); err == nil {
		t.Errorf("%d banks fit", len(s.Items))
	}
}

func TestWhatATotalTemplateMayBe(t *testing.T) {
	total := func() *TemplateSpec {
		s := sampleTemplate().TemplateSpec
		s.Kind, s.Columns, s.Source, s.Outputs = Total, []string{"owed"}, "owed", nil
		s.Params = []Param{{Name: ThresholdParam, Type: TypeInt, Values: []string{"1", "32985348833280"}}}
		return &s
	}
	if err := total().Check(); err != nil {
		t.Fatal(err)
	}
	for name, breaks := range map[string]func(s *TemplateSpec){
		"two columns":        func(s *TemplateSpec) { s.Columns = []string{"owed", "paid"} },
		"no column":          func(s *TemplateSpec) { s.Columns = nil },
		"an expression":      func(s *TemplateSpec) { s.Source = "owed + 1" },
		"outputs":            func(s *TemplateSpec) { s.Outputs = []string{"YES", NoRecord} },
		"another parameter":  func(s *TemplateSpec) { s.Params[0].Name = "min" },
		"two parameters":     func(s *TemplateSpec) { s.Params = append(s.Params, s.Params[0]) },
		"no INT":             func(s *TemplateSpec) { s.Params[0].Type = TypeString },
		"zero":               func(s *TemplateSpec) { s.Params[0].Values[0] = "0" },
		"beyond every total": func(s *TemplateSpec) { s.Params[0].Values[0] = "32985348833281" },
		"another spelling":   func(s *TemplateSpec) { s.Params[0].Values[0] = "01" },
		"a sign":             func(s *TemplateSpec) { s.Params[0].Values[0] = "+1" },
		"a value twice":      func(s *TemplateSpec) { s.Params[0].Values[1] = "1" },
		"no values":          func(s *TemplateSpec) { s.Params[0].Values = nil },
	} {
		s := total()
		if breaks(s); s.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
