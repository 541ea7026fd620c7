package record

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
)

// rule is a sample, changed so that one rule is broken, and the word its
// refusal must name.
type rule[T any] struct {
	name   string
	change func(v *T)
	word   string
}

func checkRules[T any, P interface {
	*T
	Checked
}](t *testing.T, sample func() *T, rules []rule[T]) {
	t.Helper()
	if err := P(sample()).Check(); err != nil {
		t.Fatalf("the sample itself: %v", err)
	}
	for _, r := range rules {
		v := sample()
		r.change(v)
		err := P(v).Check()
		if err == nil || !strings.Contains(err.Error(), r.word) {
			t.Errorf("%T, %s: got %v, want one about %q", v, r.name, err, r.word)
		}
	}
}

func TestConsentTermsRules(t *testing.T) {
	checkRules(t, sampleTerms, []rule[ConsentTerms]{
		{"other schema", func(v *ConsentTerms) { v.SchemaVersion = 2 }, "schemaVersion"},
		{"id with a meaning", func(v *ConsentTerms) { v.ConsentID = "alice" }, "consent id"},
		{"id in upper case", func(v *ConsentTerms) { v.ConsentID = "0x" + ConsentID(strings.Repeat("A", 32)) }, "consent id"},
		{"principal with a meaning", func(v *ConsentTerms) { v.PrincipalRef = "110101199001011237" }, "principal reference"},
		{"product id with a slash", func(v *ConsentTerms) { v.ProductID = "a/b" }, "product id"},
		{"version without predecessor", func(v *ConsentTerms) { v.Supersedes = "" }, "version"},
		{"predecessor without version", func(v *ConsentTerms) { v.Version = 1 }, "version"},
		{"its own predecessor", func(v *ConsentTerms) { v.Supersedes = v.ConsentID }, "supersedes"},
		{"bad predecessor", func(v *ConsentTerms) { v.Supersedes = "old" }, "consent id"},
		{"no parties", func(v *ConsentTerms) { v.Parties = nil }, "parties"},
		{"one party", func(v *ConsentTerms) { v.Parties = v.Parties[:1] }, "parties"},
		{"parties swapped", func(v *ConsentTerms) { v.Parties[0], v.Parties[1] = v.Parties[1], v.Parties[0] }, "parties"},
		{"one member both", func(v *ConsentTerms) { v.Parties[1].PartyID = "lender-a" }, "parties"},
		{"lender id", func(v *ConsentTerms) { v.Parties[0].PartyID = "" }, "organisation id"},
		{"bank id", func(v *ConsentTerms) { v.Parties[1].PartyID = "a b" }, "organisation id"},
		{"no data class", func(v *ConsentTerms) { v.DataClasses = nil }, "dataClasses"},
		{"no purpose", func(v *ConsentTerms) { v.Purposes = nil }, "purposes"},
		{"purposes unsorted", func(v *ConsentTerms) { v.Purposes = []Purpose{FraudManagement, CreditChecking} }, "purposes"},
		{"purpose twice", func(v *ConsentTerms) { v.Purposes = []Purpose{CreditChecking, CreditChecking} }, "purposes"},
		{"declined unsorted", func(v *ConsentTerms) { v.DeclinedPurposes = []Purpose{LoanServiceProvision, DebtManagement} }, "declinedPurposes"},
		{"accepted and declined", func(v *ConsentTerms) { v.DeclinedPurposes = []Purpose{CreditChecking} }, "declinedPurposes"},
		{"no method", func(v *ConsentTerms) { v.ProcessingMethods = nil }, "processingMethods"},
		{"no template", func(v *ConsentTerms) { v.TemplateIDs = nil }, "templateIds"},
		{"template id", func(v *ConsentTerms) { v.TemplateIDs = []TemplateID{"a b"} }, "templateIds"},
		{"no start", func(v *ConsentTerms) { v.ValidFrom = 0 }, "validFrom"},
		{"ends before it starts", func(v *ConsentTerms) { v.ExpirationDateTime = v.ValidFrom }, "expirationDateTime"},
		{"without end", func(v *ConsentTerms) { v.ExpirationDateTime = v.ValidFrom + MaxConsentDuration + 1 }, "expirationDateTime"},
		{"no uses", func(v *ConsentTerms) { v.AccessLimits.MaxUses = 0 }, "accessLimits"},
		{"too many uses", func(v *ConsentTerms) { v.AccessLimits.MaxUses = MaxUses + 1 }, "accessLimits"},
		{"no frequency", func(v *ConsentTerms) { v.AccessLimits.FrequencyPerDay = 0 }, "accessLimits"},
		{"no notice", func(v *ConsentTerms) { v.NoticeHash = Hash{} }, "noticeHash"},
		{"no commitment", func(v *ConsentTerms) { v.RecordCommitment = Hash{} }, "recordCommitment"},
	})
}

func TestCatalogRules(t *testing.T) {
	checkRules(t, func() *ProductSpec { return &sampleProduct().ProductSpec }, []rule[ProductSpec]{
		{"id", func(v *ProductSpec) { v.ProductID = "" }, "product id"},
		{"version", func(v *ProductSpec) { v.Version = 0 }, "version"},
		{"no column", func(v *ProductSpec) { v.Columns = nil }, "columns"},
		{"columns unsorted", func(v *ProductSpec) { v.Columns[1].Name = "a" }, "columns"},
		{"column name", func(v *ProductSpec) { v.Columns[0].Name = "Income" }, "column name"},
		{"answers without bits", func(v *ProductSpec) { v.Columns[0].Class.BitsPerEpoch = 0 }, "class"},
		{"a year below an epoch", func(v *ProductSpec) { v.Columns[0].Class.BitsPerYear = 3 }, "class"},
		{"answers with k", func(v *ProductSpec) { v.Columns[0].Class.K = 5 }, "class"},
		{"statistics with bits", func(v *ProductSpec) { v.Columns[1].Class.BitsPerYear = 3 }, "class"},
		{"statistics of one", func(v *ProductSpec) { v.Columns[1].Class.K = 1 }, "class"},
		{"statistics without budget", func(v *ProductSpec) { v.Columns[1].Class.EpsilonMicro = 0 }, "class"},
		{"no method", func(v *ProductSpec) { v.Methods = nil }, "methods"},
		{"no purpose", func(v *ProductSpec) { v.Purposes = nil }, "purposes"},
		{"no title", func(v *ProductSpec) { v.Title = "" }, "title"},
		{"title with a line", func(v *ProductSpec) { v.Title = "a\nb" }, "title"},
	})
	checkRules(t, func() *TemplateSpec { return &sampleTemplate().TemplateSpec }, []rule[TemplateSpec]{
		{"id", func(v *TemplateSpec) { v.TemplateID = "_" }, "template id"},
		{"product", func(v *TemplateSpec) { v.ProductID = "" }, "product id"},
		{"version", func(v *TemplateSpec) { v.Version = 0 }, "version"},
		{"no cost limit", func(v *TemplateSpec) { v.CostLimit = 0 }, "costLimit"},
		{"no source", func(v *TemplateSpec) { v.Source = "" }, "source"},
		{"due at once", func(v *TemplateSpec) { v.AnswerTTL = MinAnswerTTL - 1 }, "answerTtlMs"},
		{"due never", func(v *TemplateSpec) { v.AnswerTTL = MaxAnswerTTL + 1 }, "answerTtlMs"},
		{"no column", func(v *TemplateSpec) { v.Columns = nil }, "columns"},
		{"one output", func(v *TemplateSpec) { v.Outputs = []string{NoRecord} }, "outputs"},
		{"no NO_RECORD", func(v *TemplateSpec) { v.Outputs = []string{"YES", "NO"} }, "NO_RECORD"},
		{"output twice", func(v *TemplateSpec) { v.Outputs = []string{"YES", "YES", NoRecord} }, "repeated"},
		{"empty output", func(v *TemplateSpec) { v.Outputs = []string{"", NoRecord} }, "outputs"},
		{"params unsorted", func(v *TemplateSpec) { v.Params[1].Name = "a" }, "params"},
		{"parameter name", func(v *TemplateSpec) { v.Params[0].Name = "a-b" }, "parameter name"},
		{"free parameter", func(v *TemplateSpec) { v.Params[0].Values = nil }, "parameter values"},
		{"value twice", func(v *TemplateSpec) { v.Params[1].Values = []string{"1", "1"} }, "repeated"},
	})
	checkRules(t, func() *NoticeSpec { return &NoticeSpec{Language: "zh-Hans-CN", NoticeID: "n", Text: "t", Title: "t"} }, []rule[NoticeSpec]{
		{"id", func(v *NoticeSpec) { v.NoticeID = "" }, "notice id"},
		{"language", func(v *NoticeSpec) { v.Language = "en_GB" }, "language"},
		{"no language", func(v *NoticeSpec) { v.Language = "" }, "language"},
		{"no text", func(v *NoticeSpec) { v.Text = "" }, "text"},
		{"no title", func(v *NoticeSpec) { v.Title = "" }, "title"},
	})
}

func TestMembershipRules(t *testing.T) {
	config := func() *OrderingConfig {
		return &OrderingConfig{ChainID: sampleHash(1), Members: []ConfigMember{
			{AdminKeys: []Address{{1}, {2}}, OrgID: "a", Roles: []MemberRole{DataProvider}, Title: "A"},
			{AdminKeys: []Address{{3}}, OrgID: "b", Roles: []MemberRole{DataConsumer}, Title: "B"},
		}}
	}
	checkRules(t, config, []rule[OrderingConfig]{
		{"no chain", func(v *OrderingConfig) { v.ChainID = Hash{} }, "chainId"},
		{"no member", func(v *OrderingConfig) { v.Members = nil }, "members"},
		{"member twice", func(v *OrderingConfig) { v.Members[1].OrgID = "a" }, "members"},
		{"member id", func(v *OrderingConfig) { v.Members[1].OrgID = "b/" }, "organisation id"},
		{"no admin", func(v *OrderingConfig) { v.Members[0].AdminKeys = nil }, "adminKeys"},
		{"admin twice", func(v *OrderingConfig) { v.Members[0].AdminKeys[0] = Address{2} }, "adminKeys"},
		{"roles unsorted", func(v *OrderingConfig) { v.Members[0].Roles = []MemberRole{DataProvider, DataConsumer} }, "roles"},
	})
	client := func() *ClientSpec {
		return &ClientSpec{Address: Address{1}, Label: "x", Roles: []ClientRole{RoleIntegration, RoleOfficer}}
	}
	checkRules(t, client, []rule[ClientSpec]{
		{"zero", func(v *ClientSpec) { v.Address = Address{} }, "address"},
		{"an admin", func(v *ClientSpec) { v.Roles = []ClientRole{RoleAdmin} }, "roles"},
		{"a node", func(v *ClientSpec) { v.Roles = []ClientRole{RoleIntegration, RoleNode} }, "roles"},
		{"no role", func(v *ClientSpec) { v.Roles = nil }, "roles"},
		{"roles unsorted", func(v *ClientSpec) { v.Roles = []ClientRole{RoleOfficer, RoleIntegration} }, "roles"},
		{"label with a line", func(v *ClientSpec) { v.Label = "a\nb" }, "label"},
	})
	checkRules(t, func() *NodeSpec { return &sampleNode().NodeSpec }, []rule[NodeSpec]{
		{"id", func(v *NodeSpec) { v.NodeID = "" }, "node id"},
		{"address", func(v *NodeSpec) { v.Addrs = []string{"10.0.0.1:7000"} }, "addrs"},
		{"url", func(v *NodeSpec) { v.APIURLs = []string{"ftp://x"} }, "apiUrls"},
		{"url with a line", func(v *NodeSpec) { v.APIURLs = []string{"https://x\n"} }, "apiUrls"},
		{"no host key", func(v *NodeSpec) { v.HostKey = nil }, "hostKey"},
		{"uncompressed host key", func(v *NodeSpec) { v.HostKey[0] = 4 }, "hostKey"},
		{"answers unsigned", func(v *NodeSpec) { v.TxKey = Address{} }, "txKey"},
	})
	checkRules(t, func() *DataKeySpec { return &sampleDataKey().DataKeySpec }, []rule[DataKeySpec]{
		{"id", func(v *DataKeySpec) { v.KeyID = "" }, "data key id"},
		{"zero", func(v *DataKeySpec) { clear(v.PublicKey) }, "publicKey"},
		{"period", func(v *DataKeySpec) { v.ValidUntil = v.ValidFrom }, "validUntil"},
	})
}

func TestAccessRules(t *testing.T) {
	request := func() *RequestSpec {
		return &RequestSpec{AnswerKey: sampleBlob(32), ConsentID: NewConsentID(sampleID(1)), DeadlineMs: MinAnswerTTL, Purpose: CreditChecking, TemplateID: "t"}
	}
	checkRules(t, request, []rule[RequestSpec]{
		{"zero key", func(v *RequestSpec) { clear(v.AnswerKey) }, "answerKey"},
		{"consent", func(v *RequestSpec) { v.ConsentID = "" }, "consent id"},
		{"template", func(v *RequestSpec) { v.TemplateID = "a b" }, "template id"},
		{"at once", func(v *RequestSpec) { v.DeadlineMs = 1 }, "deadlineMs"},
		{"never", func(v *RequestSpec) { v.DeadlineMs = MaxAnswerTTL + 1 }, "deadlineMs"},
	})
	receipt := func() *ReceiptSpec {
		return &ReceiptSpec{CodeHash: sampleHash(1), EvaluatedHeight: 1, Outcome: Answered, RequestID: NewRequestID(sampleHash(1)), ResultCommitment: sampleHash(2)}
	}
	checkRules(t, receipt, []rule[ReceiptSpec]{
		{"no commitment", func(v *ReceiptSpec) { v.ResultCommitment = Hash{} }, "resultCommitment"},
		{"no code hash", func(v *ReceiptSpec) { v.CodeHash = Hash{} }, "codeHash"},
		{"no height", func(v *ReceiptSpec) { v.EvaluatedHeight = 0 }, "evaluatedHeight"},
		{"refused with an answer", func(v *ReceiptSpec) { v.Outcome = Refused }, "resultCommitment"},
		{"overdue at a height", func(v *ReceiptSpec) { *v = ReceiptSpec{EvaluatedHeight: 1, Outcome: Overdue} }, "evaluatedHeight"},
		{"request", func(v *ReceiptSpec) { v.RequestID = "0x1" }, "request id"},
	})
	checkRules(t, func() *Evidence { return &Evidence{Signature: sampleBlob(65)} }, []rule[Evidence]{
		{"none", func(v *Evidence) { v.Signature = nil }, "evidence"},
		{"both", func(v *Evidence) { v.EvidenceHash = sampleHash(1) }, "evidence"},
	})
	checkRules(t, sampleSealed, []rule[SealedPart]{
		{"no salt", func(v *SealedPart) { v.Salt = Hash{} }, "salt"},
		{"no chain", func(v *SealedPart) { v.ChainID = Hash{} }, "chainId"},
		{"consent", func(v *SealedPart) { v.ConsentID = "x" }, "consent id"},
		{"no subject", func(v *SealedPart) { v.SubjectID = "" }, "subjectId"},
		{"no version", func(v *SealedPart) { v.Version = 0 }, "version"},
		{"no wallet", func(v *SealedPart) { v.Endorsement.Wallet = Address{} }, "wallet"},
		{"language", func(v *SealedPart) { v.NoticeLanguage = "-" }, "language"},
	})
	checkRules(t, sampleAnswer, []rule[AnswerBody]{
		{"no salt", func(v *AnswerBody) { v.Salt = Hash{} }, "salt"},
		{"consent", func(v *AnswerBody) { v.ConsentID = "x" }, "consent id"},
		{"request", func(v *AnswerBody) { v.RequestID = "x" }, "request id"},
		{"no value", func(v *AnswerBody) { v.Value = "" }, "value"},
		{"template", func(v *AnswerBody) { v.TemplateID = "" }, "template id"},
	})
}

// TestTheLargestConfigFits builds the largest config that the ordering level
// admits: 256 members with 16 admins each and the longest names.
func TestTheLargestConfigFits(t *testing.T) {
	c := &OrderingConfig{ChainID: sampleHash(1)}
	for i := range maxMembers {
		m := ConfigMember{OrgID: OrgID(fmt.Sprintf(".%03d%060d", i, 0)), Title: strings.Repeat("\x01", maxTitle)}
		for j := range maxAdminKeys {
			m.AdminKeys = append(m.AdminKeys, Address{byte(i), byte(j)})
		}
		c.Members = append(c.Members, m)
	}
	data, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse[OrderingConfig](string(data)); err != nil {
		t.Error(err)
	}
}

func TestRefusalTextsQuoteNothing(t *testing.T) {
	const secret = "110101199001011237 Zhang"
	for _, id := range []interface{ Check() error }{
		OrgID(secret), NodeID(secret), DataKeyID(secret), NoticeID(secret), ProductID(secret), TemplateID(secret),
		ConsentID(secret), PrincipalRef(secret), RequestID(secret), &NodeSpec{NodeID: "n", Addrs: []string{secret}},
	} {
		if err := id.Check(); err == nil || strings.Contains(err.Error(), "Zhang") {
			t.Errorf("%T: %v", id, err)
		}
	}
}

func TestParseChecksWhatLoadDoesNot(t *testing.T) {
	const noEvidence = `{}`
	if _, err := Load[Evidence]([]byte(noEvidence)); err != nil {
		t.Errorf("load: %v", err)
	}
	if _, err := Parse[Evidence](noEvidence); err == nil {
		t.Error("parse takes a record that breaks its rules")
	}
	if _, err := Parse[Evidence](`{"a":1}`); err == nil {
		t.Error("parse takes another form")
	}
}

func TestTemplateAcceptsOnlyItsEnumeration(t *testing.T) {
	spec := &sampleTemplate().TemplateSpec
	for _, c := range []struct {
		values map[string]string
		want   bool
	}{
		{map[string]string{"currency": "EUR", "min": "20000"}, true},
		{map[string]string{"currency": "EUR", "min": "40000"}, true},
		{map[string]string{"currency": "EUR", "min": "30000"}, false},
		{map[string]string{"currency": "EUR", "min": "020000"}, false},
		{map[string]string{"currency": "EUR"}, false},
		{map[string]string{"currency": "EUR", "max": "20000"}, false},
		{map[string]string{"currency": "EUR", "min": "20000", "z": "1"}, false},
		{nil, false},
	} {
		if got := spec.Accepts(MakeParamValues(c.values)); got != c.want {
			t.Errorf("%v: got %v", c.values, got)
		}
	}
	if !(&TemplateSpec{}).Accepts(nil) {
		t.Error("a template without parameters wants none")
	}
	values := MakeParamValues(map[string]string{"b": "2", "a": "1"})
	if v, found := values.Get("b"); !found || v != "2" || values[0].Name != "a" {
		t.Errorf("values are %v", values)
	}
	if _, found := values.Get("c"); found {
		t.Error("a value nobody gave")
	}
}

func TestKeysEndAtTheirTime(t *testing.T) {
	for _, c := range []struct {
		client Client
		now    Millis
		want   Code
	}{
		{Client{}, 10, OK},
		{Client{RevokedAt: 11}, 10, OK},
		{Client{RevokedAt: 10}, 10, CodeKeyRevoked},
		{Client{ValidUntil: 11}, 10, OK},
		{Client{ValidUntil: 10}, 10, CodeKeyExpired},
		{Client{ValidUntil: 5, RevokedAt: 7}, 10, CodeKeyRevoked},
	} {
		if code, _ := CodeOf(c.client.Usable(c.now)); code != c.want {
			t.Errorf("%+v at %d: got %s", c.client, c.now, code)
		}
	}
	key := sampleDataKey()
	for now, want := range map[Millis]bool{0: false, 1: true, 2: true, 3: false} {
		if key.Usable(now) != want {
			t.Errorf("data key at %d: want %v", now, want)
		}
	}
	key.RevokedAt = 0
	if !key.Usable(8) || key.Usable(9) {
		t.Error("data key does not end at validUntil")
	}
}

func TestEffectiveStatusIsBlockTime(t *testing.T) {
	for _, s := range statuses {
		c := &Consent{ConsentTerms: ConsentTerms{ExpirationDateTime: 100}, Status: s}
		if got := c.EffectiveStatus(99); got != s {
			t.Errorf("%s before its end: %s", s, got)
		}
		want := s
		if s == AwaitingAuthorisation || s == Authorised {
			want = Expired
		}
		if got := c.EffectiveStatus(100); got != want {
			t.Errorf("%s at its end: %s", s, got)
		}
	}
}

func TestStateKeys(t *testing.T) {
	id, request := NewConsentID(sampleID(1)), NewRequestID(sampleHash(1))
	for _, c := range []struct {
		key      string
		contract string
		kind     KeyKind
	}{
		{ConfigKey, ContractMembership, KeyRecord},
		{MemberKey("a"), ContractMembership, KeyRecord},
		{ClientKey("a", Address{1}), ContractMembership, KeyRecord},
		{NodeKey("a", "n"), ContractMembership, KeyRecord},
		{DataKeyKey("a", "k"), ContractMembership, KeyRecord},
		{NoticeKey(Hash{1}), ContractCatalog, KeyRecord},
		{ProductKey("p"), ContractCatalog, KeyRecord},
		{TemplateKey("t"), ContractCatalog, KeyRecord},
		{EpochKey("p"), ContractCatalog, KeyRecord},
		{ProductIndex("a", "p"), ContractCatalog, KeyIndex},
		{TemplateIndex("p", "t"), ContractCatalog, KeyIndex},
		{ConsentKey(id), ContractConsent, KeyRecord},
		{ConsentIndex("a", Authorised, 1, id), ContractConsent, KeyIndex},
		{PrincipalIndex(Address{1}, id), ContractConsent, KeyIndex},
		{UsageKey(id), ContractAccess, KeyRecord},
		{RequestKey(request), ContractAccess, KeyLog},
		{ReceiptKey(request), ContractAccess, KeyLog},
		{RequestConsentIndex(id, 1, request), ContractAccess, KeyIndex},
		{RequestPartyIndex("a", 1, request), ContractAccess, KeyIndex},
	} {
		contract, rest, kind, err := SplitKey(c.key)
		if err != nil || contract != c.contract || kind != c.kind || contract+"/"+rest != c.key {
			t.Errorf("%s: got %s %q %d, %v", c.key, contract, rest, kind, err)
		}
	}
	for _, bad := range []string{"", "access", "access/", "/log/x", "/"} {
		if _, _, _, err := SplitKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	for key, want := range map[string]KeyKind{"a/log": KeyRecord, "a/ix": KeyRecord, "a/logs/x": KeyRecord, "a/x/log/y": KeyRecord, "a/log/": KeyLog} {
		if _, _, kind, err := SplitKey(key); err != nil || kind != want {
			t.Errorf("%s: got %d, %v", key, kind, err)
		}
	}
}

func TestIndexKeysSortByTimeAndSequence(t *testing.T) {
	request := NewRequestID(sampleHash(1))
	numbers := []uint64{1, 2, 9, 10, 11, 99, 100, 12_345, 1_772_323_200_000, MaxInt}
	var sequence, times []string
	for _, n := range numbers {
		times = append(times, RequestPartyIndex("a", Millis(n), request))
		if n < 1e10 {
			sequence = append(sequence, RequestConsentIndex("0x1", n, request))
		}
	}
	if !sort.StringsAreSorted(sequence) || !sort.StringsAreSorted(times) {
		t.Errorf("not in order: %v %v", sequence, times)
	}
	if got := LastSegment(times[0]); got != string(request) {
		t.Errorf("last segment is %s", got)
	}
}

func TestClosedListsAreSetsAndReach(t *testing.T) {
	unique := func(name string, n int, at func(int) string) {
		seen := map[string]bool{}
		for i := range n {
			if at(i) == "" || seen[at(i)] {
				t.Errorf("%s: %q is empty or twice", name, at(i))
			}
			seen[at(i)] = true
		}
	}
	unique("codes", len(codes), func(i int) string { return string(codes[i]) })
	unique("purposes", len(purposes), func(i int) string { return string(purposes[i]) })
	for _, by := range initiators {
		for _, reason := range RevocationReasonsOf(by) {
			if !listed(reason, reasons) {
				t.Errorf("%s may give the reason %s, which is on no list", by, reason)
			}
		}
	}
	unique("reasons", len(reasons), func(i int) string { return string(reasons[i]) })
	for _, code := range decisionCodes {
		if !listed(code, codes) {
			t.Errorf("%s decides, but is on no list", code)
		}
	}
	for _, role := range memberRoles {
		if strings.Contains(string(role), "C3") {
			t.Error("C3")
		}
	}
	if HasItem(dataClasses, "C3") {
		t.Error("authentication data has a class")
	}
	// What callers get is theirs to change.
	Codes()[0], DecisionCodes()[0], Purposes()[0], Statuses()[0] = "X", "X", "X", "X"
	MemberRoles()[0], ClientRoles()[0], Methods()[0], ColumnTypes()[0] = "X", "X", "X", "X"
	RevocationReasons()[0], ReceiptOutcomes()[0], RevokeReasons()[0], SuspensionReasons()[0] = "X", "X", "X", "X"
	ProposalStatuses()[0] = "X"
	DisputeKinds()[0], DisputeReasons()[0], AnswerClaims()[0], Findings()[0] = "X", "X", "X", "X"
	if disputeKinds[0] == "X" || disputeReasons[0] == "X" || answerClaims[0] == "X" || findings[0] == "X" {
		t.Error("a closed list of disputes can be changed from outside")
	}
	if codes[0] != OK || decisionCodes[0] != CodePermit || purposes[0] == "X" || statuses[0] == "X" || memberRoles[0] == "X" ||
		clientRoles[0] == "X" || methods[0] == "X" || columnTypes[0] == "X" || RevocationReasons()[0] == "X" || receiptOutcomes[0] == "X" || keyReasons[0] == "X" || suspensionReasons[0] == "X" || proposalStatuses[0] == "X" {
		t.Error("a closed list can be changed from outside")
	}
}

func TestCodesTravelWithErrors(t *testing.T) {
	refusal := Refuse(CodeForbidden, "field %s", "x")
	if refusal.Error() != "FORBIDDEN: field x" {
		t.Errorf("text is %q", refusal)
	}
	for _, c := range []struct {
		err  error
		code Code
		ok   bool
	}{
		{nil, OK, true},
		{refusal, CodeForbidden, true},
		{fmt.Errorf("call: %w", refusal), CodeForbidden, true},
		{errors.New("FORBIDDEN: by text"), CodeForbidden, true},
		{errors.New("FORBIDDEN"), "", false},
		{errors.New("disk: gone"), "", false},
		{errors.New("NONSENSE: x"), "", false},
	} {
		if code, ok := CodeOf(c.err); code != c.code || ok != c.ok {
			t.Errorf("%v: got %q, %v", c.err, code, ok)
		}
	}
}

func TestCreators(t *testing.T) {
	if !SystemCreator().System() || NewCreator("", Address{1}).System() || (&Creator{Address: SystemAddress, OrgID: "a"}).System() {
		t.Error("the wrong creator is the system")
	}
	data, err := Encode(SystemCreator())
	if err != nil || string(data) != `{"address":"system","org":""}` {
		t.Errorf("system creator is %s, %v", data, err)
	}
}
