package badinput

import (
	"net/http"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

const noConsent = "0x11111111111111111111111111111111"

// testCalls: functions that are not there, or not for this caller.
func testCalls(t *testing.T, w *world) {
	for name, c := range map[string]struct {
		as       string
		contract string
		function string
		args     []string
		code     string
		says     string
	}{
		"no such contract":        {"lender/integration", "loans", "Create", []string{"{}"}, "UNKNOWN_FUNCTION", "no such contract or function"},
		"no such function":        {"lender/integration", "consent", "Crate", []string{"{}"}, "UNKNOWN_FUNCTION", "no such contract or function"},
		"function in small":       {"lender/integration", "consent", "create", []string{"{}"}, "UNKNOWN_FUNCTION", ""},
		"of the framework":        {"lender/integration", "org.hyperledger.fabric", "GetMetadata", nil, "UNKNOWN_FUNCTION", ""},
		"too few arguments":       {"lender/integration", "consent", "Authorise", []string{noConsent}, "UNKNOWN_FUNCTION", "takes 3 arguments, 1 were given"},
		"too many arguments":      {"lender/integration", "consent", "Expire", []string{noConsent, "x"}, "UNKNOWN_FUNCTION", "takes 1 arguments, 2 were given"},
		"read function":           {"lender/integration", "consent", "Get", []string{noConsent}, "READ_ONLY_FUNCTION", "call it as a read"},
		"of the node itself":      {"lender/admin", "membership", "ApplyConfig", []string{configOf(t, w)}, "FORBIDDEN", "only the node itself"},
		"role that may not":       {"lender/officer", "consent", "Create", []string{"{}"}, "BAD_REQUEST", ""},
		"officer's, by another":   {"bank/integration", "catalog", "PublishProduct", []string{encode(t, ptr(product("bank.other")))}, "FORBIDDEN", "none of the roles [officer]"},
		"provider's, by a lender": {"lender/officer", "catalog", "PublishProduct", []string{encode(t, ptr(product("lender.other")))}, "FORBIDDEN", "none of the roles [DATA_PROVIDER]"},
		"admin's, by another":     {"lender/operator", "membership", "RegisterClient", []string{`{"address":"0x00000000000000000000000000000000000000ab","label":"x","roles":["auditor"]}`}, "FORBIDDEN", "none of the roles [admin]"},
		"another bank's product":  {"lender/officer", "catalog", "RetireProduct", []string{card}, "FORBIDDEN", ""},
		"product of nobody":       {"bank/officer", "catalog", "RetireProduct", []string{"bank.none"}, "NOT_FOUND", "product"},
		"product id that is none": {"bank/officer", "catalog", "RetireProduct", []string{"no product!"}, "BAD_REQUEST", ""},
		"product twice":           {"bank/officer", "catalog", "PublishProduct", []string{encode(t, ptr(product(card)))}, "ALREADY_EXISTS", "a new version takes a new id"},
		"epoch that was":          {"bank/officer", "catalog", "OpenEpoch", []string{card, "1"}, "WRONG_STATE", "the next one is 2"},
		"epoch that is no number": {"bank/officer", "catalog", "OpenEpoch", []string{card, "02"}, "BAD_REQUEST", "epoch: want an integer"},
		"revoke an admin":         {"lender/admin", "membership", "RevokeClient", []string{strings.ToLower(w.as("lender/admin").key.Address().Hex()), "0", "ROTATED"}, "WRONG_STATE", "changes with the ordering config"},
		"address in capitals":     {"lender/admin", "membership", "RevokeClient", []string{"0x00000000000000000000000000000000000000AB", "0", "ROTATED"}, "BAD_REQUEST", ""},
		"reason of one's own":     {"lender/admin", "membership", "RevokeClient", []string{"0x00000000000000000000000000000000000000ab", "0", "because"}, "BAD_REQUEST", "want one of"},
		"expire what is unknown":  {"lender/integration", "consent", "Expire", []string{noConsent}, "CONSENT_UNKNOWN", ""},
		"revoke in nobody's name": {"lender/integration", "consent", "Revoke", []string{noConsent, "TIME", "WITHDRAWN", "{}"}, "BAD_REQUEST", "want SUBJECT, PARTY or AUTHORITY"},
		"a subject's reason":      {"lender/integration", "consent", "Revoke", []string{noConsent, "PARTY", "WITHDRAWN", "{}"}, "BAD_REQUEST", "PURPOSE_ENDED"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.as(c.as)
			x := w.nodes[p.org]
			r, o := x.submit(t, w.bearer(t, p, x.node), sign(t, p, w.payload(p, c.contract, c.function, c.args...)).Encode())
			refused(t, r, o, c.code, c.says)
		})
	}
	t.Run("reads", func(t *testing.T) { testReads(t, w) })
	w.commits(t)
}

func ptr[T any](v T) *T { return &v }

// testReads: the same for Evaluate, which answers at once.
func testReads(t *testing.T, w *world) {
	p := w.as("lender/auditor")
	x := w.nodes[lender]
	bearer := w.bearer(t, p, x.node)
	bad := func(code string, status int, connect string, says ...string) refusal {
		return refusal{status, connect, code, says}
	}
	for name, c := range map[string]struct {
		contract, function string
		args               []string
		want               refusal
	}{
		"no such function":     {"consent", "Gte", []string{noConsent}, bad("UNKNOWN_FUNCTION", 400, "invalid_argument")},
		"argument count":       {"consent", "Get", nil, bad("UNKNOWN_FUNCTION", 400, "invalid_argument")},
		"function that writes": {"consent", "Expire", []string{noConsent}, bad("WRITE_IN_READ", 400, "invalid_argument")},
		"no contract":          {"", "Get", []string{noConsent}, bad("BAD_REQUEST", 400, "invalid_argument", "contract is missing")},
		"unknown consent":      {"consent", "Get", []string{noConsent}, bad("CONSENT_UNKNOWN", 404, "not_found", "no such consent")},
		"consent id malformed": {"consent", "Get", []string{"1"}, bad("BAD_REQUEST", 400, "invalid_argument")},
		"page size":            {"consent", "ListByParty", []string{lender, "", "many", ""}, bad("BAD_REQUEST", 400, "invalid_argument")},
		"status":               {"consent", "ListByParty", []string{lender, "Lost", "10", ""}, bad("BAD_REQUEST", 400, "invalid_argument", "status: want one of")},
		"seventeen arguments":  {"consent", "Get", make([]string, 17), bad("BAD_REQUEST", 400, "invalid_argument", "args has 17 entries, at most 16")},
		"huge argument":        {"consent", "Get", []string{strings.Repeat("x", 70_000)}, bad("BAD_REQUEST", 400, "invalid_argument", "args has 70000 bytes")},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.check(t, x.call(t, "LedgerService/Evaluate", bearer, map[string]any{"contract": c.contract, "function": c.function, "args": c.args}))
		})
	}
	t.Run("height of the future", func(t *testing.T) {
		r := x.call(t, "LedgerService/Evaluate", bearer, map[string]any{"contract": "membership", "function": "GetMember", "args": []string{lender}, "minHeight": 1_000_000})
		refusal{http.StatusServiceUnavailable, "unavailable", "NOT_EXECUTED", []string{"height 1000000 is not executed here yet, the newest is "}}.check(t, r)
	})
}

// testArguments: JSON that means the right thing and is not canonical, and JSON
// that breaks a rule.
func testArguments(t *testing.T, w *world) {
	admin := w.as("lender/admin")
	x := w.nodes[lender]
	good := `{"address":"0x00000000000000000000000000000000000000ac","label":"x","roles":["auditor"]}`
	edit := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for name, c := range map[string]struct{ arg, says string }{
		"empty":                  {"", "at byte 0"},
		"no object":              {`"x"`, "at byte 0"},
		"spaces":                 {edit(`:"x"`, `: "x"`), `"label" as a string at byte`},
		"line end behind it":     {good + "\n", "end of input at byte 88"},
		"cut short":              {good[:len(good)-1], "at byte"},
		"unknown field":          {edit(`"label"`, `"colour":"red","label"`), `at byte 55`},
		"misspelt field":         {edit(`"label"`, `"lable"`), `at byte 55`},
		"field twice":            {edit(`"label":"x"`, `"label":"x","label":"y"`), "at byte"},
		"field out of order":     {`{"label":"x","address":"0x00000000000000000000000000000000000000ac","roles":["auditor"]}`, `field "address" at byte 1`},
		"number as float":        {edit(`]}`, `],"validUntil":1.5}`), "at byte"},
		"number with exponent":   {edit(`]}`, `],"validUntil":1e12}`), "at byte"},
		"number as text":         {edit(`]}`, `],"validUntil":"1"}`), `"validUntil" as a canonical integer`},
		"number too large":       {edit(`]}`, `],"validUntil":9007199254740993}`), `"validUntil" as a canonical integer`},
		"zero written out":       {edit(`]}`, `],"validUntil":0}`), `"validUntil" left out when zero`},
		"address in capitals":    {edit("00ac", "00AC"), `"address" as lower-case hex`},
		"address too short":      {edit("00ac", "ac"), `"address" as lower-case hex`},
		"role that is none":      {edit("auditor", "boss"), `"roles"`},
		"roles out of order":     {edit(`["auditor"]`, `["officer","auditor"]`), "roles"},
		"no role":                {edit(`["auditor"]`, `[]`), "roles"},
		"needless escape":        {edit(`"x"`, `"\u0041"`), `"label" with canonical escapes`},
		"control character":      {edit(`"x"`, "\"\x01\""), `"label" with control characters escaped`},
		"bytes that are no text": {edit(`"x"`, "\"\xff\xfe\""), `"label" as valid UTF-8`},
		"label too long":         {edit(`"x"`, `"`+strings.Repeat("x", 2000)+`"`), `"label"`},
		"nested in nothing":      {strings.Repeat("[", 10_000), "at byte 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r, o := x.submit(t, w.bearer(t, admin, x.node), sign(t, admin, w.payload(admin, "membership", "RegisterClient", c.arg)).Encode())
			refused(t, r, o, string(record.CodeBadRequest), c.says)
		})
	}
	w.commits(t)
}

// testTemplates: questions that may not be approved. The bank's node turns them
// away before they reach the ledger, with the place in the source.
func testTemplates(t *testing.T, w *world) {
	p := w.as("bank/officer")
	x := w.nodes[bank]
	for name, c := range map[string]struct {
		change func(*sdk.TemplateSpec)
		says   []string
	}{
		"does not parse":    {func(t *sdk.TemplateSpec) { t.Source = "income >= ? 1" }, []string{"1:11"}},
		"does not compile":  {func(t *sdk.TemplateSpec) { t.Source = `income >= "much" ? "YES" : "NO"` }, []string{"1:8", "does not work on (int, string)"}},
		"word that is none": {func(t *sdk.TemplateSpec) { t.Source = `outcome >= params.at_least ? "YES" : "NO"` }, []string{"1:1", "outcome"}},
		"reads a NEVER column": {func(t *sdk.TemplateSpec) {
			t.Columns = []string{"income", "shoe_size"}
			t.Source = `shoe_size > 40 ? "YES" : "NO"`
		}, []string{`column "shoe_size"`, "NEVER"}},
		"reads what is undeclared":   {func(t *sdk.TemplateSpec) { t.Source = `late > 0 ? "YES" : "NO"` }, []string{"1:1", "late"}},
		"column that is none":        {func(t *sdk.TemplateSpec) { t.Columns = []string{"income", "wealth"} }, []string{`column "wealth": product bank.card has none of this name`}},
		"says what is not listed":    {func(t *sdk.TemplateSpec) { t.Source = `income >= params.at_least ? "YES" : "PERHAPS"` }, []string{"PERHAPS"}},
		"yields a number":            {func(t *sdk.TemplateSpec) { t.Source = `income` }, []string{"yields int"}},
		"gives the figure away":      {func(t *sdk.TemplateSpec) { t.Source = `string(income)` }, nil},
		"costs more than its limit":  {func(t *sdk.TemplateSpec) { t.CostLimit = 1 }, []string{"cost: the worst case is", "the template's limit 1"}},
		"limit beyond all":           {func(t *sdk.TemplateSpec) { t.CostLimit = 1 << 40 }, []string{"cost limit"}},
		"value of another type":      {func(t *sdk.TemplateSpec) { t.Params[0].Values = []string{"3000", "much"} }, []string{`parameter "at_least": the value "much"`}},
		"depends on the time of day": {func(t *sdk.TemplateSpec) { t.Source = `timestamp("2026-01-01T00:00:00Z") < now() ? "YES" : "NO"` }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			spec := template(card, "bank.card.bad")
			c.change(&spec)
			text := encode(t, &spec)
			r, o := x.submit(t, w.bearer(t, p, x.node), sign(t, p, w.payload(p, "catalog", "ProposeTemplate", text)).Encode())
			if o != nil {
				t.Fatalf("it was ordered: %+v", o)
			}
			refusal{400, "invalid_argument", "BAD_REQUEST", c.says}.check(t, r)
			// The check on its own says the same, and is no error.
			r = x.call(t, "ProviderService/CheckTemplate", w.bearer(t, p, x.node), map[string]string{"templateJson": text})
			if r.status != http.StatusOK || !strings.Contains(string(r.body), "SEVERITY_ERROR") || !strings.Contains(string(r.body), "remedy") {
				t.Errorf("check: %d %s", r.status, r.body)
			}
		})
	}
	// What the contract itself refuses.
	for name, c := range map[string]struct {
		as     string
		change func(*sdk.TemplateSpec)
		code   string
		says   string
	}{
		"without NO_RECORD":   {"bank/officer", func(t *sdk.TemplateSpec) { t.Outputs = []string{"YES", "NO"} }, "BAD_REQUEST", "NO_RECORD"},
		"output twice":        {"bank/officer", func(t *sdk.TemplateSpec) { t.Outputs = []string{"YES", "YES", "NO_RECORD"} }, "BAD_REQUEST", "outputs: repeated"},
		"answer due too late": {"bank/officer", func(t *sdk.TemplateSpec) { t.AnswerTTL = 8 * 86_400_000 }, "BAD_REQUEST", "answerTtlMs"},
		"id is taken":         {"bank/officer", func(t *sdk.TemplateSpec) { t.TemplateID = band }, "ALREADY_EXISTS", ""},
		"unknown product":     {"bank/officer", func(t *sdk.TemplateSpec) { t.ProductID = "bank.none" }, "NOT_FOUND", ""},
		"by an integration":   {"bank/integration", nil, "FORBIDDEN", "officer"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.as(c.as)
			spec := template(card, "bank.card.refused")
			if c.change != nil {
				c.change(&spec)
			}
			text, err := record.Encode(&spec)
			if err != nil {
				t.Fatal(err)
			}
			r, o := x.submit(t, w.bearer(t, p, x.node), sign(t, p, w.payload(p, "catalog", "ProposeTemplate", string(text))).Encode())
			refused(t, r, o, c.code, c.says)
		})
	}
	w.commits(t)
}

// configOf is the config in force as contracts see it: right in every byte, and
// still nobody's to apply.
func configOf(t *testing.T, w *world) string {
	t.Helper()
	return string(w.read(t, overseer+"/auditor", 0, "membership", "GetConfig"))
}
