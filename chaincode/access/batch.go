package access

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// RequestBatch asks to use up to record.MaxBatch consents, or one of them several
// times, in one transaction. Argument: record.BatchSpec; result and event:
// record.Batch. Each item is decided, recorded and counted as if the items had
// been asked one after the other: uses granted earlier in the batch count for
// those that follow. An item that Request would refuse has its code among the
// results and leaves nothing; the call is refused if that is so for all of them.
// For integrations of lenders.
func (*Contract) RequestBatch(ctx *call.Context, batchJSON string) (string, error) {
	spec, err := call.Argument[record.BatchSpec](batchJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleIntegration)
	if err != nil {
		return "", err
	}
	if err := caller.MustBe(record.DataConsumer); err != nil {
		return "", err
	}
	b := newBatch(ctx, caller)
	result := &record.Batch{BatchID: transactionID(ctx), Consumer: caller.OrgID(), Results: make([]record.ItemResult, len(spec.Items))}
	var refused error
	for i := range spec.Items {
		in, err := b.gather(spec.Request(i))
		if err != nil {
			code, isRefusal := record.CodeOf(err)
			if !isRefusal {
				return "", err // the state could not be read
			}
			result.Results[i].Code, refused = code, err
			continue
		}
		if err := b.decide(in, result.BatchID, i, &result.Results[i]); err != nil {
			return "", err
		}
	}
	if len(b.touched) == 0 {
		return "", refused
	}
	for _, id := range b.touched {
		if _, err := ctx.Put(record.UsageKey(id), b.usage[id]); err != nil {
			return "", err
		}
	}
	data, err := record.Encode(result)
	if err != nil {
		return "", record.Refuse(record.CodeLimitExceeded, "the results are too large; send fewer items")
	}
	return string(data), ctx.Emit(EventBatch, data)
}

// batch is what one batch has read and decided so far. A contract sees the state
// before its transaction, never its own writes, so the usage of each consent is
// carried here from item to item; what cannot change within the batch is read
// once.
type batch struct {
	ctx      *call.Context
	caller   *call.Caller
	usage    map[record.ConsentID]*record.Usage
	touched  []record.ConsentID // consents with a decision, in the order of their first
	consents map[record.ConsentID]*record.Consent
	shared   catalogue
}

func newBatch(ctx *call.Context, caller *call.Caller) *batch {
	return &batch{
		ctx: ctx, caller: caller, usage: make(map[record.ConsentID]*record.Usage), consents: make(map[record.ConsentID]*record.Consent),
		shared: newCatalogue(),
	}
}

// decide decides item i and writes its record.
func (b *batch) decide(in *Inputs, batchID record.Hash, i int, out *record.ItemResult) error {
	request := describe(b.caller, in, Decide(in), record.BatchRequestID(batchID, i))
	request.BatchID = batchID
	_, after, err := writeRequest(b.ctx, request, in.Usage)
	if err != nil {
		return err
	}
	id := request.ConsentID
	if _, again := b.usage[id]; !again {
		b.touched = append(b.touched, id)
	}
	b.usage[id] = after
	*out = record.ItemResult{
		Code: request.Code, Deadline: request.Deadline, Decision: request.Decision, Disputed: request.Disputed,
		Epoch: request.Epoch, RequestID: request.RequestID,
	}
	return nil
}

// gather reads what the decision on one item depends on.
func (b *batch) gather(spec *record.RequestSpec) (*Inputs, error) {
	consent, known := b.consents[spec.ConsentID]
	if !known {
		var err error
		if consent, err = ownConsent(b.ctx, b.caller, spec.ConsentID); err != nil {
			return nil, err
		}
		b.consents[spec.ConsentID] = consent
	}
	usage, known := b.usage[spec.ConsentID]
	if !known {
		var err error
		if usage, err = usageOf(b.ctx, spec.ConsentID); err != nil {
			return nil, err
		}
	}
	in := &Inputs{Now: b.caller.Now, Request: spec, Consent: consent, Usage: usage}
	return in, b.shared.fill(b.ctx, in)
}

// catalogue remembers what many items of a batch share: nil stands for a record
// that is not there.
type catalogue struct {
	products  map[record.ProductID]*record.Product
	templates map[record.TemplateID]*record.Template
	epochs    map[record.ProductID]*record.Epoch
	members   map[record.OrgID]*record.Member
}

func newCatalogue() catalogue {
	return catalogue{
		products: make(map[record.ProductID]*record.Product), templates: make(map[record.TemplateID]*record.Template),
		epochs: make(map[record.ProductID]*record.Epoch), members: make(map[record.OrgID]*record.Member),
	}
}

func (k *catalogue) fill(ctx *call.Context, in *Inputs) (err error) {
	product := in.Consent.ProductID
	if in.Product, err = once[record.Product](ctx, k.products, product, record.ProductKey); err != nil {
		return err
	}
	if record.HasItem(in.Consent.TemplateIDs, in.Request.TemplateID) {
		if in.Template, err = once[record.Template](ctx, k.templates, in.Request.TemplateID, record.TemplateKey); err != nil {
			return err
		}
	}
	if in.Epoch, err = once[record.Epoch](ctx, k.epochs, product, record.EpochKey); err != nil {
		return err
	}
	in.Provider, err = once[record.Member](ctx, k.members, in.Consent.Provider(), record.MemberKey)
	return err
}

// once reads a record the first time it is asked for.
func once[T any, ID comparable, P interface {
	*T
	record.Record
}](ctx *call.Context, seen map[ID]*T, id ID, key func(ID) string) (*T, error) {
	if v, known := seen[id]; known {
		return v, nil
	}
	v, err := call.Shared[T, P](ctx, key(id))
	if err == nil {
		seen[id] = v
	}
	return v, err
}
