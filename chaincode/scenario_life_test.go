package chaincode_test

import (
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
)

func disputeOf(name string) record.DisputeID {
	return record.NewDisputeID([16]byte(crypto.Keccak256([]byte("dispute " + name))))
}

// lifeArgs are the arguments of what happens to a consent after it was given.
func (s *scenario) lifeArgs(function, name string, o options) []string {
	id := string(consentOf(name))
	switch function {
	case "Countersign":
		return []string{id, hashOf(o.get("evidence", "")).Hex()}
	case "AcknowledgeTermination", "ConfirmErasure", "GetTermination", "GetDeletion", "GetErasure":
		return []string{id}
	case "ConfirmDeletion":
		return []string{encode(s.t, s.deletion(name, o))}
	case "RequestErasure":
		digest, err := record.ErasureOf(s.named(name)).Digest(s.chain(o))
		return []string{id, s.evidence(o, digest, err)}
	case "RaiseDispute":
		d := &record.DisputeSpec{
			ClaimCommitment: hashOf("claim " + name), ConsentID: consentOf(name), DisputeID: disputeOf(o.get("dispute", "")),
			Kind: record.DisputeKind(o.get("kind", "WRONG")),
		}
		o.set("request", func(v string) { d.RequestID = record.NewRequestID(s.ids[v]) })
		digest, err := record.DisputeOf(s.named(name), d).Digest(s.chain(o))
		o.set("altered", func(v string) { d.Kind = record.DisputeKind(v) }) // after it was signed
		return []string{encode(s.t, d), s.evidence(o, digest, err)}
	case "ResolveDispute":
		r := &record.ResolutionSpec{
			ConsentID: consentOf(name), DisputeID: disputeOf(o.get("dispute", "")),
			Outcome: record.DisputeOutcome(o.get("outcome", "CORRECTED")), StatementHash: hashOf("statement"),
		}
		o.set("reason", func(v string) { r.Reason = record.DisputeReason(v) })
		return []string{encode(s.t, r)}
	case "GetDispute":
		return []string{id, string(disputeOf(o.get("dispute", "")))}
	case "ListDisputes":
		return []string{id, "100", ""}
	case "ListTerminations":
		return []string{o.get("party", ""), "100", ""}
	case "ListDeletionsDue", "ListDisputesDue", "ListErasuresDue":
		before := "0"
		o.set("before", func(v string) { before = strconv.FormatInt(start+offset(s.t, v), 10) })
		return []string{o.get("party", ""), before, "100", ""}
	}
	return nil
}

// deletion names the whole usage chain of a consent, unless the line says
// otherwise.
func (s *scenario) deletion(name string, o options) *record.DeletionSpec {
	d := &record.DeletionSpec{ConsentID: consentOf(name), Head: hashOf("no chain"), Requests: 1}
	if data, used := s.State[record.UsageKey(d.ConsentID)]; used {
		usage := load[record.Usage](s.t, data)
		d.Head, d.Requests = usage.Head, usage.Requests
	}
	o.set("requests", func(v string) { d.Requests = s.number(v) })
	return d
}

// batchFrom makes an item of every consent that the line lists; "c1*3" is three
// of them, "c1@40000" asks for another amount, "c1@x" for none that is listed.
func (s *scenario) batchFrom(o options) *record.BatchSpec {
	spec := &record.BatchSpec{AnswerKey: hashOf("answer key").Bytes()}
	for _, word := range plus[string](o.get("consents", "none")) {
		word, times, repeated := strings.Cut(word, "*")
		n := uint64(1)
		if repeated {
			n = s.number(times)
		}
		name, amount, _ := strings.Cut(word, "@")
		for range n {
			r := request(name)
			if amount != "" {
				r.Params[0].Value = amount
			}
			spec.Items = append(spec.Items, record.BatchItem{ConsentID: r.ConsentID, Params: r.Params, Purpose: r.Purpose, TemplateID: r.TemplateID})
		}
	}
	o.set("deadline", func(v string) { spec.DeadlineMs = offset(s.t, v) })
	return spec
}
