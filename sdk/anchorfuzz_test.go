package sdk

import (
	"encoding/json"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// FuzzSettleAnchor: whatever a lender hands over about an honest answer, nobody is
// convicted by it.
func FuzzSettleAnchor(f *testing.F) {
	const id = record.ConsentID("0x000102030405060708090a0b0c0d0e0f")
	chain := Hash{9}
	part := record.SealedPart{ChainID: chain, ConsentID: id, NoticeLanguage: "en", Salt: Hash{1}, SubjectID: "CN-1", Version: 1}
	anchor := Anchor{AnchorSpec: AnchorSpec{CodeHash: Hash{2}, Epoch: 3, Nonce: Hash{4}, TemplateID: "band"}, ProductID: "income", Provider: "bank"}
	proof := &answer.Proof{Salt: Hash{5}}
	anchor.Root = proof.Root(answer.Tag(answer.TreeID(chain, &anchor), part.SubjectID), "HIGH")
	body := record.AnswerBody{
		ChainID: chain, CodeHash: anchor.CodeHash, ConsentID: id, Epoch: 3, EvaluatedHeight: 7, ProofHash: answer.ProofHash(proof.Encode()),
		RequestID: record.NewRequestID(Hash{6}), Salt: Hash{7}, TemplateID: "band", Value: "HIGH",
	}
	d := &AnswerDispute{AnchorRoot: anchor.Root, Claim: record.ClaimNotAnchored, ConsentID: id, RequestID: body.RequestID}
	c := &Consent{}
	c.ConsentID = id
	var err [5]error
	d.OpeningHash, err[0] = body.OpeningHash()
	d.ResultCommitment, err[1] = body.Commitment()
	c.RecordCommitment, err[2] = part.Commitment()
	o := AnchorOpening{Proof: proof.Encode()}
	o.Answer, err[3] = record.Encode(&body)
	o.Part, err[4] = record.Encode(&part)
	for _, e := range err {
		if e != nil {
			f.Fatal(e)
		}
	}
	whole, e := json.Marshal(o)
	if e != nil {
		f.Fatal(e)
	}
	if s, err := SettleAnchor(whole, chain, d, c, &anchor); err != nil || s.Finding != record.Dismissed {
		f.Fatalf("an honest answer is settled as %+v, %v", s, err)
	}
	f.Add(whole)
	f.Add([]byte(`{"answer":null,"part":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := SettleAnchor(b, chain, d, c, &anchor)
		if (err == nil) != (s != nil) || s != nil && s.Finding == record.Upheld {
			t.Fatalf("settled as %+v, %v", s, err)
		}
	})
}
