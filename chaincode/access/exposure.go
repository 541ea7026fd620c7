package access

import (
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// RequestExposure asks for the total of one subject's figures over 3 to 30 banks.
// Argument: record.ExposureSpec; result and event: record.Exposure. For integrations
// of the lender. Whether the total reaches a threshold is refused: see thresholds.
//
// The consents are of one principal key, authorised by the subject's own wallet, and
// of one bank each. The set is permitted or denied as one: each seat is decided like
// a request of its own and leaves its record, names its own reason, and
// SET_INCOMPLETE where only others stand in the way. A PERMIT freezes the banks, their
// epochs, data keys and pledges. SET_TOO_CLOSE denies a set that with those permitted
// before, to any lender, shows one bank's figure: see Shows. The same set may be
// asked again, which tells nothing new.
func (*Contract) RequestExposure(ctx *call.Context, exposureJSON string) (string, error) {
	spec, err := call.Argument[record.ExposureSpec](exposureJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleIntegration)
	if err != nil {
		return "", err
	}
	s, err := seated(ctx, caller, spec)
	if err != nil {
		return "", err
	}
	if err := s.decide(ctx); err != nil {
		return "", err
	}
	return s.write(ctx)
}

// seat is one bank's part of a set while it is decided.
type seat struct {
	in     *Inputs
	code   record.Code
	pledge *record.Pledge
	key    *record.DataKey
}

func (s *seat) bank() record.OrgID { return s.in.Consent.Provider() }

func (s *seat) figure() record.Figure {
	return record.Figure{Bank: s.bank(), Epoch: s.in.Epoch.Epoch, TemplateID: s.in.Template.TemplateID}
}

// set is a set while it is decided.
type set struct {
	caller    *call.Caller
	spec      *record.ExposureSpec
	seats     []seat // ascending by bank
	principal record.Address
	recipient record.OrgID
	threshold uint64
	history   *record.ExposureHistory // nil: nothing to be added
}

// seated reads what a set is decided from, and refuses what is no set: then nothing
// is recorded.
func seated(ctx *call.Context, caller *call.Caller, spec *record.ExposureSpec) (*set, error) {
	s := &set{caller: caller, spec: spec, seats: make([]seat, len(spec.Items)), recipient: caller.OrgID()}
	for i := range spec.Items {
		in, err := gather(ctx, caller, spec.Request(i))
		if err != nil {
			return nil, err
		}
		in.InSet = true
		s.seats[i].in = in
	}
	s.principal = s.seats[0].in.Consent.PrincipalKey
	for i := range s.seats {
		consent := s.seats[i].in.Consent
		if consent.PrincipalKey != s.principal || s.principal == (record.Address{}) {
			return nil, record.Refuse(record.CodeBadRequest, "item %d: the consents of a set carry one principal key", i)
		}
		if a := consent.Authorisation; a != nil && a.Method != record.Wallet {
			return nil, record.Refuse(record.CodeMethodNotAllowed, "item %d: the consents of a set are authorised by the subject's wallet", i)
		}
	}
	slices.SortFunc(s.seats, func(a, b seat) int { return strings.Compare(string(a.bank()), string(b.bank())) })
	for i := 1; i < len(s.seats); i++ {
		if s.seats[i-1].bank() == s.seats[i].bank() {
			return nil, record.Refuse(record.CodeBadRequest, "items: two consents with one bank")
		}
	}
	return s, s.seatRecipient(ctx)
}

// seatRecipient settles who opens the shares: the lender, or an aggregator that is
// neither the lender nor one of the banks.
func (s *set) seatRecipient(ctx *call.Context) error {
	if s.spec.Recipient == "" {
		return s.isNoBank(s.caller.OrgID())
	}
	text, found := s.spec.Params.Get(record.ThresholdParam)
	if !found || len(s.spec.Params) != 1 {
		return record.Refuse(record.CodeParameterNotAllowed, "params: a set takes the threshold or nothing")
	}
	var err error
	if s.threshold, err = record.ParseThreshold(text); err != nil {
		return record.Refuse(record.CodeParameterNotAllowed, "threshold: %v", err)
	}
	if s.recipient = s.spec.Recipient; s.recipient == s.caller.OrgID() {
		return record.Refuse(record.CodeBadRequest, "recipient: the aggregator is not the lender")
	}
	if _, err := ctx.MemberActive(s.recipient); err != nil {
		return err
	}
	if err := s.isNoBank(s.recipient); err != nil {
		return err
	}
	return thresholds()
}

// thresholds refuses what is else a proper request for a verdict, and nothing of it is
// recorded or used up. No node serves as an aggregator, so a PERMIT would make banks
// send shares that nobody opens; and before one does, the subject has to agree to who
// opens them, and a set to be asked with one threshold only: each further one halves
// what is not known of the total.
func thresholds() error {
	return record.Refuse(record.CodeBadRequest,
		"recipient: whether a total reaches a threshold is not answered yet; ask for the total itself, by TOTAL templates without a threshold")
}

func (s *set) isNoBank(org record.OrgID) error {
	for i := range s.seats {
		if s.seats[i].bank() == org || s.seats[i].bank() == s.caller.OrgID() {
			return record.Refuse(record.CodeBadRequest, "recipient: who asks or opens the shares is no bank of the set")
		}
	}
	return nil
}

// decide gives every seat its code.
func (s *set) decide(ctx *call.Context) error {
	denied := false
	for i := range s.seats {
		if err := s.seats[i].decide(ctx, s.caller.Now); err != nil {
			return err
		}
		denied = denied || s.seats[i].code != record.CodePermit
	}
	otherwise := record.CodeSetIncomplete
	if !denied {
		tooClose, err := s.tooClose(ctx)
		if err != nil || !tooClose {
			return err
		}
		otherwise = record.CodeSetTooClose
	}
	for i := range s.seats {
		if s.seats[i].code == record.CodePermit {
			s.seats[i].code = otherwise
		}
	}
	return nil
}

// decide is Decide, and whether the bank has committed itself.
func (s *seat) decide(ctx *call.Context, now record.Millis) (err error) {
	if s.code = Decide(s.in); s.code != record.CodePermit {
		return nil
	}
	id := s.in.Consent.ConsentID
	s.pledge, err = call.Get[record.Pledge](ctx, record.PledgeKey(id, s.in.Template.TemplateID, s.in.Epoch.Epoch))
	if err != nil {
		return err
	}
	if s.pledge != nil {
		if s.key, err = dataKeyOf(ctx, s.bank(), s.pledge.KeyID); err != nil {
			return err
		}
	}
	if s.pledge == nil || s.key == nil || !s.key.Usable(now) {
		s.code = record.CodeNoPledge
	}
	return nil
}

// tooClose holds the set against those that were permitted before, and remembers it
// if it is a new one.
func (s *set) tooClose(ctx *call.Context) (bool, error) {
	history, err := call.Get[record.ExposureHistory](ctx, record.ExposureHistoryKey(s.principal))
	if err != nil {
		return false, err
	}
	if history == nil {
		history = &record.ExposureHistory{PrincipalKey: s.principal}
	}
	next := record.FigureSet{Figures: make([]record.Figure, len(s.seats))}
	for i := range s.seats {
		next.Figures[i] = s.seats[i].figure()
	}
	for i := range history.Sets {
		if slices.Equal(history.Sets[i].Figures, next.Figures) {
			return false, nil // the same set tells nothing new
		}
	}
	if len(history.Sets) == record.MaxExposureSets {
		return true, nil
	}
	history.Sets = append(history.Sets, next)
	if Shows(history.Sets) {
		return true, nil
	}
	s.history = history
	return false, nil
}

// write records every seat's request, and with a PERMIT the frozen set.
func (s *set) write(ctx *call.Context) (string, error) {
	id := transactionID(ctx)
	e := &record.Exposure{
		AnswerKey: s.spec.AnswerKey, Consumer: s.caller.OrgID(), Decision: record.Permit, ExposureID: id,
		Purpose: s.spec.Purpose, Recipient: s.recipient, RequestedAt: s.caller.Now, Seats: make([]record.ExposureSeat, len(s.seats)), Threshold: s.threshold,
	}
	requests := make([]*record.Request, len(s.seats))
	for i := range s.seats {
		r := describe(s.caller, s.seats[i].in, s.seats[i].code, record.BatchRequestID(id, i))
		r.BatchID, requests[i] = id, r
		if r.Decision != record.Permit {
			e.Decision = record.Deny
		} else if e.Deadline == 0 || r.Deadline < e.Deadline {
			e.Deadline = r.Deadline
		}
	}
	for i, r := range requests {
		if e.Decision == record.Permit {
			r.Deadline = e.Deadline // one for the whole set
		}
		_, usage, err := writeRequest(ctx, r, s.seats[i].in.Usage)
		if err != nil {
			return "", err
		}
		if _, err := ctx.Put(record.UsageKey(usage.ConsentID), usage); err != nil {
			return "", err
		}
		e.Seats[i] = s.seats[i].describe(r)
	}
	return s.publish(ctx, e)
}

func (s *seat) describe(r *record.Request) record.ExposureSeat {
	out := record.ExposureSeat{
		Bank: s.bank(), Code: r.Code, ConsentID: r.ConsentID, RequestID: r.RequestID, TemplateID: s.in.Request.TemplateID,
	}
	if r.Decision == record.Permit {
		out.CodeHash, out.Epoch, out.Key, out.KeyID, out.Pledge = r.CodeHash, r.Epoch, s.key.PublicKey, s.key.KeyID, s.pledge.Pledge
	}
	return out
}

func (s *set) publish(ctx *call.Context, e *record.Exposure) (string, error) {
	if e.Decision == record.Permit {
		if s.history != nil {
			if _, err := ctx.Put(record.ExposureHistoryKey(s.principal), s.history); err != nil {
				return "", err
			}
		}
		return ctx.Publish(record.ExposureKey(e.ExposureID), EventExposure, e)
	}
	data, err := record.Encode(e)
	if err != nil {
		return "", record.Refuse(record.CodeLimitExceeded, "the results are too large; name fewer banks")
	}
	return string(data), ctx.Emit(EventExposure, data)
}

// GetExposure returns record.Exposure of a permitted set, by the transaction's id.
func (*Contract) GetExposure(ctx *call.Context, exposureID string) (string, error) {
	id, err := record.ParseHash(exposureID)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return ctx.Show(record.ExposureKey(id), "permitted set")
}

// GetExposureHistory returns record.ExposureHistory of a principal key.
func (*Contract) GetExposureHistory(ctx *call.Context, principalKey string) (string, error) {
	key, err := record.ParseAddress(principalKey)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return ctx.Show(record.ExposureHistoryKey(key), "set asked under this principal key")
}
