package fakenode

import (
	"context"
	"crypto/rand"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
)

// Anchor anchors, for the bank, a tree in which only one subject stands, and returns
// the record and the opening of that subject's answer. The epoch is the open one:
// this ledger does not mind.
func (n *Network) Anchor(subject, value string, epoch uint64, params record.ParamValues) (*record.Anchor, []byte) {
	a := n.tree(record.AnchorSpec{Epoch: epoch, Params: params, TemplateID: Template})
	p := &answer.Proof{}
	rand.Read(p.Salt[:])
	for i := range p.Path {
		rand.Read(p.Path[i][:])
	}
	a.Root = p.Root(answer.Tag(answer.TreeID(n.ChainID(), a), subject), value)
	if _, err := n.Act("integration "+Bank, Bank, record.ContractCatalog, "AnchorAnswers", string(must(&a.AnchorSpec))); err != nil {
		panic(err)
	}
	return a, p.Encode()
}

// tree completes what is known of an anchor before it is on the ledger.
func (n *Network) tree(spec record.AnchorSpec) *record.Anchor {
	n.mu.Lock()
	defer n.mu.Unlock()
	t, err := record.Load[record.Template](n.rows[record.TemplateKey(spec.TemplateID)])
	if err != nil {
		panic(err)
	}
	spec.CodeHash = t.CodeHash
	rand.Read(spec.Nonce[:])
	return &record.Anchor{AnchorSpec: spec, ProductID: t.ProductID, Provider: t.Provider}
}

func (c *call) anchorAnswers() ([]byte, error) {
	spec, err := parse[record.AnchorSpec](c)
	if err != nil {
		return nil, err
	}
	t, err := load[record.Template](c, record.TemplateKey(spec.TemplateID))
	if err != nil {
		return nil, err
	}
	return c.publish("anchor", record.AnchorKey(spec.TemplateID, spec.Epoch, spec.Params), &record.Anchor{
		AnchorSpec: *spec, AnchoredAt: c.now, AnchoredBy: c.key, ProductID: t.ProductID, Provider: c.org,
	})
}

// anchorRoot is what a dispute NOT_ANCHORED is held against.
func (c *call) anchorRoot(spec *record.AnswerDisputeSpec) (root record.Hash, err error) {
	if spec.Claim != record.ClaimNotAnchored {
		return root, nil
	}
	r, err := load[record.Request](c, record.RequestKey(spec.RequestID))
	if err != nil {
		return root, err
	}
	a, err := load[record.Anchor](c, record.AnchorKey(r.TemplateID, r.Epoch, r.Params))
	if err != nil {
		return root, refuse(record.CodeWrongState, "no answers are anchored")
	}
	return a.Root, nil
}

// BuildAnswers pretends to have worked out the answers of 20,000 customers.
func (h handler) BuildAnswers(_ context.Context, req *connect.Request[v1.BuildAnswersRequest], st *connect.ServerStream[v1.BuildAnswersResponse]) error {
	h.n.Net.mu.Lock()
	_, known := h.n.Net.rows[record.TemplateKey(record.TemplateID(req.Msg.TemplateId))]
	h.n.Net.mu.Unlock()
	if !known {
		return wire(v1.Code_CODE_NOT_FOUND, "template")
	}
	params := map[string]string{}
	for _, p := range req.Msg.Params {
		params[p.Name] = p.Value
	}
	a := h.n.Net.tree(record.AnchorSpec{Epoch: req.Msg.Epoch, Params: record.MakeParamValues(params), TemplateID: record.TemplateID(req.Msg.TemplateId)})
	rand.Read(a.Root[:])
	for _, m := range []*v1.BuildAnswersResponse{
		{Read: 8192}, {Read: 20_000, Built: 10_000},
		{Read: 20_000, Built: 20_000, Result: &v1.BuiltAnswers{AnchorJson: string(must(&a.AnchorSpec)), Customers: 20_000, Answered: 19_998, Twice: 2, Bytes: 1 << 20}},
	} {
		if err := st.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// TryTemplate pretends to have tried a template over 20,000 customers.
func (h handler) TryTemplate(_ context.Context, req *connect.Request[v1.TryTemplateRequest], st *connect.ServerStream[v1.TryTemplateResponse]) error {
	spec, err := record.Parse[record.TemplateSpec](req.Msg.TemplateJson)
	if err != nil {
		return wire(v1.Code_CODE_BAD_REQUEST, "template")
	}
	k := max(req.Msg.K, 20)
	params := req.Msg.Params
	if len(params) == 0 && len(spec.Params) > 0 {
		params = []*v1.ParamValue{{Name: spec.Params[0].Name, Value: spec.Params[0].Values[0]}}
	}
	q := &v1.TriedQuestion{Params: params, Nulls: 2}
	outputs := spec.Outputs
	if spec.Kind == record.CohortKind {
		outputs = []string{"IN", "OUT"}
	}
	for i, o := range outputs {
		n := uint64(30)
		if i == 0 {
			n = 19_940
		}
		q.Outputs = append(q.Outputs, &v1.OutputCount{Output: o, Customers: n, Few: n < k && spec.Kind != record.CohortKind})
	}
	r := &v1.TriedTemplate{Customers: 20_000, K: k, LeakMillibits: answer.LeakMillibits(len(spec.Outputs)), CostMax: 7, CostLimit: spec.CostLimit, Questions: []*v1.TriedQuestion{q}}
	for _, name := range spec.Columns {
		r.Columns = append(r.Columns, &v1.TriedColumn{Name: name, DataClass: "C2", Read: true, BitsPerEpoch: 8, BitsPerYear: 32})
	}
	for _, m := range []*v1.TryTemplateResponse{{Read: 8192}, {Read: 20_000, Result: r}} {
		if err := st.Send(m); err != nil {
			return err
		}
	}
	return nil
}
