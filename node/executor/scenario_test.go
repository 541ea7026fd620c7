package executor

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

var rewrite = flag.Bool("rewrite", false, "write what scenarios give into their files; read the diff")

// TestScenarios replays testdata/*.txt on the real contracts. A file is a list
// of steps; "decide" executes the block of what was submitted since the last
// one, and what stands between it and the next step, after "----", is what it
// gave. The steps:
//
//	found                              keys, notice, product, template, epoch
//	consent NAME uses=N perday=M       create and authorise a consent
//	submit ID as=ORG/KEY CONTRACT.FUNCTION consent=NAME   an access.Request or consent.Revoke
//	submit ID as=ORG/KEY CONTRACT.FUNCTION ARG …          any other call
//	submit ID again=OTHER              the very transaction OTHER
//	time MILLISECONDS                  let time pass
//	decide ID …
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := &scenario{network: newNetwork(t, Contracts{}), ids: map[string]*ledger.Transaction{}}
			got := s.replay(string(b))
			s.verify()
			s.replayAgain()
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(b), got); diff != "" {
				t.Errorf("(-file +got; -rewrite writes it):\n%s", diff)
			}
		})
	}
}

type scenario struct {
	*network
	ids map[string]*ledger.Transaction
}

func (s *scenario) replay(file string) string {
	var out strings.Builder
	skipping := false
	for line := range strings.Lines(file) {
		words := strings.Fields(line)
		switch {
		case len(words) > 0 && words[0] == "----":
			skipping = true // what was given before; it is written anew
			continue
		case skipping && len(words) > 0:
			continue
		}
		skipping = false
		out.WriteString(line)
		if len(words) > 0 && words[0] != "#" {
			if given := s.step(words); given != "" {
				out.WriteString("----\n" + given)
			}
		}
	}
	return out.String()
}

func (s *scenario) step(words []string) string {
	s.t.Helper()
	switch words[0] {
	case "found":
		s.found()
	case "consent":
		var uses, perDay uint64
		if _, err := fmt.Sscanf(strings.Join(words[2:], " "), "uses=%d perday=%d", &uses, &perDay); err != nil {
			s.t.Fatal(err)
		}
		s.addCreate(words[1], uses, perDay)
		s.mustCommit()
		s.addAuthorise(words[1], uses, perDay)
		s.mustCommit()
	case "submit":
		s.submitStep(words[1:])
	case "time":
		ms, err := strconv.ParseUint(words[1], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		s.time += ms
	case "decide":
		return s.decide(words[1:])
	default:
		s.t.Fatalf("no step %q", words[0])
	}
	return ""
}

func (s *scenario) mustCommit() {
	s.t.Helper()
	for _, o := range s.commit().Outcomes {
		if o.Code != "OK" {
			s.t.Fatal(o.Code, o.Message)
		}
	}
}

func (s *scenario) submitStep(words []string) {
	id := words[0]
	if other, ok := strings.CutPrefix(words[1], "again="); ok {
		s.ids[id] = s.ids[other]
		s.txs = append(s.txs, s.ids[other])
		return
	}
	org, key, _ := strings.Cut(strings.TrimPrefix(words[1], "as="), "/")
	contract, function, _ := strings.Cut(words[2], ".")
	args := words[3:]
	if name, ok := strings.CutPrefix(strings.Join(args, " "), "consent="); ok {
		switch words[2] {
		case "access.Request":
			args = []string{requestSpec(s.t, name)}
		case "consent.Revoke":
			args = s.revocation(name)
		default:
			args = []string{string(consentID(name))}
		}
	}
	s.ids[id] = s.add(org, key, contract, function, args...)
}

// revocation is signed by the consent's subject.
func (s *scenario) revocation(name string) []string {
	digest, err := record.RevocationOf(terms(s.t, name, 1, 1), record.ReasonWithdrawn).Digest(s.exec.chain)
	if err != nil {
		s.t.Fatal(err)
	}
	sig, err := signer(name).Sign(digest)
	if err != nil {
		s.t.Fatal(err)
	}
	return []string{string(consentID(name)), "SUBJECT", string(record.ReasonWithdrawn), encode(s.t, &record.Evidence{Signature: sig[:]})}
}

// decide executes the block and describes what became of the named transactions.
func (s *scenario) decide(ids []string) string {
	r := s.commit()
	var b strings.Builder
	fmt.Fprintf(&b, "height=%d", r.Height)
	for i, id := range ids {
		o := r.Outcomes[i]
		if o.TxID != s.ids[id].ID() {
			s.t.Fatalf("outcome %d is not that of %s", i, id)
		}
		fmt.Fprintf(&b, " %s=%s", id, describe(s.t, o))
	}
	fmt.Fprintf(&b, "\nroot=%x receipts=%d:%x\n", r.Roots.State[:6], r.Roots.ReceiptsSize, r.Roots.Receipts[:6])
	return b.String()
}

func describe(t testing.TB, o *state.Outcome) string {
	if o.Code != "OK" {
		return "refused/" + o.Code
	}
	d := new(record.Decision)
	if err := record.Decode(o.Payload, d); err != nil {
		return "OK"
	}
	if d.RequestID != record.NewRequestID(o.TxID) {
		t.Fatalf("request %s was carried by %s", d.RequestID, o.TxID)
	}
	if d.Decision == record.Permit {
		return string(d.Decision)
	}
	return string(d.Decision) + "/" + string(d.Code)
}

// replayAgain executes the same blocks on a new state: same roots.
func (n *network) replayAgain() {
	n.t.Helper()
	again := newNetwork(n.t, n.exec.contracts)
	for _, b := range n.blocks[1:] {
		again.execute(b, nil) // and decodes every transaction from its bytes
	}
	if a, b := n.db.View().Roots(), again.db.View().Roots(); a != b {
		n.t.Errorf("roots %v, executed again %v", a, b)
	}
}
