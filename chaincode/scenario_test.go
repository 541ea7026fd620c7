package chaincode_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/internal/memledger"
	"github.com/assent-network/assent/chaincode/record"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the results in testdata/scenarios; read the diff")

// TestScenarios replays testdata/scenarios. A file is a story on one ledger: in
// each block the calls stand above "----" and what came of them below. README
// in that folder explains the words.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios, %v", err)
	}
	met := map[record.Code]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { replay(t, file, met) })
	}
	for _, code := range record.Codes() {
		switch code {
		case record.CodeDuplicate, record.CodeReadOnlyFunction, record.CodePanic, record.CodePruned:
			continue // the node gives these, no contract does
		}
		if !met[code] {
			t.Errorf("no scenario ends in %s", code)
		}
	}
}

func replay(t *testing.T, file string, met map[record.Code]bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newScenario(t, met)
	var out strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		script, _, _ := strings.Cut(block, "\n----")
		out.WriteString(script + "\n")
		result := s.run(script)
		if result != "" {
			out.WriteString("----\n" + result)
		}
		out.WriteString("\n")
	}
	got := strings.TrimSpace(out.String()) + "\n"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(data) {
		t.Errorf("%s comes out differently (-rewrite shows the diff):\n%s", file, got)
	}
}

type scenario struct {
	*world
	ids      map[string]record.Hash // label of a call → its transaction id
	proposed map[string][]byte      // name → proposed config
	met      map[record.Code]bool
	org      string // of the caller of the line that is read
}

func newScenario(t testing.TB, met map[record.Code]bool) *scenario {
	return &scenario{world: newWorld(t), ids: map[string]record.Hash{}, proposed: map[string][]byte{}, met: met}
}

// run makes the calls of one block and returns what came of them.
func (s *scenario) run(script string) string {
	var out strings.Builder
	for _, line := range strings.Split(script, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		switch words[0] {
		case "found":
			s.found()
		case "banks":
			s.foundBanks(words[1:])
		case "statistics":
			s.foundStatistics(words[1:])
		case "time":
			s.Now = start + offset(s.t, words[1])
		case "submit":
			s.submitLine(&out, words[1], words[2:])
		case "show":
			s.showLine(&out, words[1:])
		case "rows":
			fmt.Fprintf(&out, "rows %s %d\n", words[1], len(s.Keys(words[1])))
		default:
			s.t.Fatalf("unknown word %q", words[0])
		}
	}
	if out.Len() > 0 {
		fmt.Fprintf(&out, "state=%s\n", s.digest())
	}
	return out.String()
}

// digest stands for the whole state: equal before and after means untouched.
func (s *scenario) digest() string {
	var all []byte
	for _, key := range slices.Sorted(maps.Keys(s.State)) {
		all = fmt.Appendf(all, "%s=%s\n", key, s.State[key])
	}
	return crypto.Keccak256Hash(all).Hex()[2:10]
}

func (s *scenario) submitLine(out *strings.Builder, label string, words []string) {
	who, function := strings.TrimPrefix(words[0], "as="), words[1]
	creator := record.SystemCreator()
	if org, key, found := strings.Cut(who, "."); found {
		s.org = org
		creator = record.NewCreator(record.OrgID(org), addressOf(org+"-"+key))
	} else if who != "system" {
		creator = record.NewCreator("", addressOf(who))
	}
	s.ids[label] = s.nextTx()
	result, err := s.Submit(memledger.Call{
		Creator: creator, TxID: s.ids[label], Function: function, Args: s.args(function, words[2:]),
	})
	if err != nil {
		s.t.Fatalf("%s: %v", label, err)
	}
	s.met[result.Code] = true
	switch {
	case result.Code != record.OK:
		fmt.Fprintf(out, "%s=%s\n", label, result.Message)
	case function == "access:Request":
		d := load[record.Decision](s.t, []byte(result.Payload))
		s.met[d.Code] = true
		if d.Decision == record.Permit {
			fmt.Fprintf(out, "%s=PERMIT epoch=%d deadline=%s\n", label, d.Epoch, moment(d.Deadline))
		} else {
			fmt.Fprintf(out, "%s=DENY/%s\n", label, d.Code)
		}
	case function == "access:RequestExposure":
		s.exposureLine(out, label, load[record.Exposure](s.t, []byte(result.Payload)))
	case function == "access:RequestCohort":
		s.cohortLine(out, label, load[record.Cohort](s.t, []byte(result.Payload)))
	case function == "access:RequestBatch":
		s.batchLine(out, label, load[record.Batch](s.t, []byte(result.Payload)))
	default:
		fmt.Fprintf(out, "%s=OK event=%s\n", label, result.Event.Name)
	}
}

// batchLine prints the results of a batch in order; item i can be named label.i
// from then on.
func (s *scenario) batchLine(out *strings.Builder, label string, b *record.Batch) {
	fmt.Fprintf(out, "%s=", label)
	for i, r := range b.Results {
		s.met[r.Code] = true
		switch r.Decision {
		case record.Permit:
			out.WriteString(" PERMIT")
		case record.Deny:
			fmt.Fprintf(out, " DENY/%s", r.Code)
		default:
			fmt.Fprintf(out, " refused/%s", r.Code)
			continue
		}
		id, err := record.ParseHash(string(r.RequestID))
		if err != nil {
			s.t.Fatal(err)
		}
		s.ids[fmt.Sprintf("%s.%d", label, i)] = id
	}
	out.WriteString("\n")
}

// showLine makes a read call and prints the fields asked for.
func (s *scenario) showLine(out *strings.Builder, words []string) {
	var fields []string
	if n := len(words); strings.HasPrefix(words[n-1], "fields=") {
		fields = strings.Split(strings.TrimPrefix(words[n-1], "fields="), "+")
		words = words[:n-1]
	}
	result := s.evaluate(words[0], s.args(words[0], words[1:])...)
	s.met[result.Code] = true
	if result.Code != record.OK {
		fmt.Fprintf(out, "%s\n", result.Message)
		return
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(result.Payload), &all); err != nil {
		s.t.Fatal(err)
	}
	for _, field := range fields {
		name, inner, nested := strings.Cut(field, ".")
		value, found := all[name]
		switch {
		case !found:
			fmt.Fprintf(out, "%s: absent\n", field)
		case nested:
			fmt.Fprintf(out, "%s: %s\n", field, each(s.t, value, inner))
		default:
			fmt.Fprintf(out, "%s: %s\n", field, value)
		}
	}
}

// each prints one field of every object in a list.
func each(t testing.TB, list json.RawMessage, field string) string {
	var items []map[string]json.RawMessage
	if err := json.Unmarshal(list, &items); err != nil {
		t.Fatal(err)
	}
	values := make([]string, len(items))
	for i, item := range items {
		values[i] = string(item[field])
	}
	return strings.Join(values, " ")
}

// offset reads a time after the start of the story: "90m", "2d", "1d12h30s",
// "-1ms".
func offset(t testing.TB, text string) record.Millis {
	t.Helper()
	total := record.Millis(0)
	if days, rest, found := strings.Cut(text, "d"); found {
		n, err := time.ParseDuration(days + "h")
		if err != nil {
			t.Fatal(err)
		}
		total, text = 24*n.Milliseconds(), rest
	}
	if text == "" {
		return total
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return total + d.Milliseconds()
}

// moment prints a block time as such an offset.
func moment(at record.Millis) string { return (time.Duration(at-start) * time.Millisecond).String() }
