package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// sound is what a faultless run leaves: a consent's life, one act of which nobody
// was told, one that the client was told cannot have happened, and a repetition.
func sound() ([]Act, []Ledger, Answers) {
	acts := []Act{
		{ID: "t1", What: Create, Consent: "c", MaxUses: 2, Begun: 1 * ms, Known: 5 * ms, Where: Position{1, 0}, Code: ok},
		{ID: "t2", What: Authorise, Consent: "c", Begun: 6 * ms, Known: 9 * ms, Where: Position{2, 0}, Code: ok},
		{ID: "t3", What: Request, Consent: "c", Request: "r3", Begun: 10 * ms, Known: 15 * ms, Where: Position{3, 0}, Code: ok, Decision: permit},
		{ID: "t4", What: Request, Consent: "c", Request: "r4", Begun: 11 * ms},
		{ID: "t5", What: Revoke, Consent: "c", Begun: 16 * ms, Known: 20 * ms, Where: Position{5, 0}, Code: ok},
		{ID: "t6", What: Request, Consent: "c", Request: "r6", Begun: 21 * ms, Known: 25 * ms, Where: Position{6, 0}, Code: ok, Decision: consentRevoked},
		{ID: "t7", What: Revoke, Consent: "c", Begun: 21 * ms, Known: 30 * ms, Never: true},
		{ID: "t8", What: Other, Begun: 21 * ms, Known: 30 * ms, Where: Position{6, 1}, Code: ok},
	}
	order := []Executed{
		{ID: "t1", At: Position{1, 0}, Time: 1, Code: ok},
		{ID: "t2", At: Position{2, 0}, Time: 2, Code: ok},
		{ID: "t3", At: Position{3, 0}, Time: 3, Code: ok, Decision: permit},
		{ID: "t4", At: Position{3, 1}, Time: 3, Code: ok, Decision: permit},
		{ID: "s3", At: Position{4, 0}, Time: 4, Code: ok, Receipts: []string{"r3"}},
		{ID: "t3", At: Position{4, 1}, Time: 4, Code: codeDuplicate},
		{ID: "t5", At: Position{5, 0}, Time: 5, Code: ok},
		{ID: "t6", At: Position{6, 0}, Time: 6, Code: ok, Decision: consentRevoked},
		{ID: "t8", At: Position{6, 1}, Time: 6, Code: ok},
	}
	var ledgers []Ledger
	for i := range 4 {
		ledgers = append(ledgers, Ledger{
			Node: fmt.Sprintf("node%d", i+1), Root: "root", Order: slices.Clone(order),
			Hashes: []string{"g", "1", "2", "3", "4", "5", "6"},
		})
	}
	return acts, ledgers, Answers{Held: map[string]bool{"r3": true, "r4": true}}
}

func TestAFaultlessRunPasses(t *testing.T) {
	acts, ledgers, answers := sound()
	if v := Judge(acts, ledgers, answers); !v.Passed() || v.Acked != 6 {
		t.Errorf("%+v", v)
	}
}

// without removes a transaction from a node's ledger.
func without(l *Ledger, id string) {
	l.Order = slices.DeleteFunc(l.Order, func(e Executed) bool { return e.ID == id })
}

func everywhere(ledgers []Ledger, change func(l *Ledger)) {
	for i := range ledgers {
		change(&ledgers[i])
	}
}

// TestPlantedWrongsAreFound changes the sound run in one place at a time.
func TestPlantedWrongsAreFound(t *testing.T) {
	lost := func(v *Verdict) bool { return v.Lost > 0 }
	duplicated := func(v *Verdict) bool { return v.Duplicated > 0 }
	forked := func(v *Verdict) bool { return v.Forks > 0 }
	late := func(v *Verdict) bool { return v.LateAnswers > 0 }
	says := func(words string) func(*Verdict) bool {
		return func(v *Verdict) bool {
			return slices.ContainsFunc(v.Problems, func(p string) bool { return strings.Contains(p, words) })
		}
	}
	for _, c := range []struct {
		name  string
		plant func(acts []Act, ledgers []Ledger, answers *Answers)
		found func(*Verdict) bool
	}{
		{"lost on every node", func(_ []Act, l []Ledger, _ *Answers) { everywhere(l, func(l *Ledger) { without(l, "t8") }) }, lost},
		{"lost on one node", func(_ []Act, l []Ledger, _ *Answers) { without(&l[3], "t8") }, lost},
		{"acknowledged elsewhere", func(a []Act, _ []Ledger, _ *Answers) { a[7].Where.Height = 5 }, lost},
		{"acknowledged with another outcome", func(a []Act, _ []Ledger, _ *Answers) { a[7].Code = wrongState }, lost},
		{"acknowledged with another decision", func(a []Act, _ []Ledger, _ *Answers) { a[5].Decision = permit }, lost},
		{"executed twice", func(_ []Act, l []Ledger, _ *Answers) {
			l[1].Order = append(l[1].Order, Executed{ID: "t8", At: Position{6, 2}, Time: 6, Code: ok})
		}, duplicated},
		{"two receipts", func(_ []Act, l []Ledger, _ *Answers) {
			l[2].Order = append(l[2].Order, Executed{ID: "s4", At: Position{6, 2}, Time: 6, Code: ok, Receipts: []string{"r3"}})
		}, duplicated},
		{"forked", func(_ []Act, l []Ledger, _ *Answers) { l[2].Hashes[4] = "other" }, forked},
		{"executed otherwise", func(_ []Act, l []Ledger, _ *Answers) { l[2].Root = "other" }, forked},
		{"a node left behind", func(_ []Act, l []Ledger, _ *Answers) { l[2].Hashes = l[2].Hashes[:5] }, says("blocks")},
		{"answered late", func(_ []Act, _ []Ledger, x *Answers) { x.Late = []string{"r4"} }, late},
		{"answered after a denial", func(_ []Act, _ []Ledger, x *Answers) { x.Held["r6"] = true }, late},
		{"told it cannot have happened", func(_ []Act, l []Ledger, _ *Answers) {
			everywhere(l, func(l *Ledger) {
				l.Order = append(l.Order, Executed{ID: "t7", At: Position{6, 2}, Time: 6, Code: wrongState})
			})
		}, says("cannot have happened")},
		{"a duplicate of nothing", func(_ []Act, l []Ledger, _ *Answers) { l[0].Order[0].Code = codeDuplicate }, says("was not executed before")},
		{"time runs back", func(_ []Act, l []Ledger, _ *Answers) { l[0].Order[3].Time = 1 }, says("earlier time")},
		{"permitted after the revocation", func(a []Act, l []Ledger, _ *Answers) {
			a[5].Decision = permit
			everywhere(l, func(l *Ledger) { l.Order[7].Decision = permit })
		}, says("not linearizable")},
		{"permitted too often", func(a []Act, _ []Ledger, _ *Answers) { a[0].MaxUses = 1 }, says("not linearizable")},
		{"denied although the consent stood", func(a []Act, l []Ledger, _ *Answers) {
			a[2].Decision = consentRevoked
			everywhere(l, func(l *Ledger) { l.Order[2].Decision = consentRevoked })
		}, says("not linearizable")},
		{"an unknown request took effect after the revocation", func(a []Act, l []Ledger, _ *Answers) {
			a[3].Begun = 22 * ms
		}, says("not linearizable")},
		{"no ledger", nil, says("no node")},
	} {
		acts, ledgers, answers := sound()
		if c.plant == nil {
			ledgers = nil
		} else {
			c.plant(acts, ledgers, &answers)
		}
		v := Judge(acts, ledgers, answers)
		if v.Passed() || !c.found(v) {
			t.Errorf("%s: not found: %+v", c.name, v)
		}
	}
}

func TestWhatNobodyWasToldMayHaveHappenedOrNot(t *testing.T) {
	acts, ledgers, answers := sound()
	everywhere(ledgers, func(l *Ledger) { without(l, "t4") })
	delete(answers.Held, "r4")
	if v := Judge(acts, ledgers, answers); !v.Passed() {
		t.Errorf("%+v", v)
	}
}

// A word of one node about its own result may be doubted: of that node, that code,
// since that time, and never where the act stands.
func TestADoubtedWordIsNoLoss(t *testing.T) {
	h := NewHistory()
	for i, via := range []string{"odd", "odd", "good"} {
		a := &Act{ID: fmt.Sprint("t", i), What: Other, Via: via}
		h.Begin(a)
		h.Told(a, Position{uint64(1 + i), 0}, "PANIC", "")
	}
	order := []Executed{{ID: "t0", At: Position{1, 0}, Code: ok}, {ID: "t1", At: Position{2, 0}, Code: ok}, {ID: "t2", At: Position{3, 0}, Code: ok}}
	ledger := []Ledger{{Node: "n", Root: "root", Order: order}}
	if v := Judge(h.Acts(), ledger, Answers{}); v.Lost != 3 {
		t.Errorf("%d wrong words are found, want 3", v.Lost)
	}
	h.Doubt("odd", "FORBIDDEN", 0)
	h.Doubt("odd", "PANIC", h.Now()+time.Hour)
	if v := Judge(h.Acts(), ledger, Answers{}); v.Lost != 3 {
		t.Errorf("%d wrong words are found, want 3: another code or a later time was doubted", v.Lost)
	}
	h.Doubt("odd", "PANIC", 0)
	if v := Judge(h.Acts(), ledger, Answers{}); v.Lost != 1 {
		t.Errorf("%d wrong words are found, want that of the good node", v.Lost)
	}
	ledger[0].Order[1].At.Index++
	if v := Judge(h.Acts(), ledger, Answers{}); v.Lost != 2 {
		t.Errorf("%d wrong words are found, want 2: an act that is elsewhere is one", v.Lost)
	}
}

func TestPauseAndServed(t *testing.T) {
	h := &History{began: time.Now()}
	for i, known := range []time.Duration{10 * ms, 20 * ms, 70 * ms, 80 * ms} {
		h.acts = append(h.acts, &Act{ID: fmt.Sprint(i), Via: "a", Begun: known - 5*ms, Known: known})
	}
	h.acts = append(h.acts, &Act{Via: "b", Begun: 25 * ms, Known: 30 * ms}, &Act{Via: "a", Begun: 21 * ms, Known: 22 * ms, Never: true})
	if got := h.Pause(0, 100*ms, func(via string) bool { return via == "a" }); got != 50*ms {
		t.Errorf("pause %s", got)
	}
	if got, found := h.Served("a", 20*ms); !found || got != 70*ms {
		t.Errorf("served after %s, %t", got, found)
	}
	if _, found := h.Served("a", 90*ms); found {
		t.Error("served later")
	}
	if n := h.Acked("", 20*ms); n != 4 {
		t.Errorf("%d acknowledged", n)
	}
}
