package wallet

import (
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
)

// EndorseSet answers the offers of one lender to the banks of a set, for the total
// of the subject's figures over them, with one fresh principal key for all of them.
// The ledger adds up only what carries one key, so that nobody fills a set with
// other people; the price is that everybody sees these consents to be one person's.
// Therefore all of them have to be for totals (TOTAL), of one network and lender,
// and of one bank each.
//
// That gives nothing away yet and authorises nothing. Asked again for the same
// offers it gives the same answers, in their order. Offers that were answered
// before, alone or in another set, are refused: an endorsed consent keeps its key.
func (w *Wallet) EndorseSet(offers []*Offer) ([]*Endorsement, error) {
	drafts, err := draftsOfSet(offers)
	if err != nil {
		return nil, fmt.Errorf("endorse a set: %w", err)
	}
	set, err := w.knownSet(offers, drafts)
	if err != nil {
		return nil, fmt.Errorf("endorse a set: %w", err)
	}
	if set == nil {
		if set, err = w.newSet(offers, drafts); err != nil {
			return nil, fmt.Errorf("endorse a set: %w", err)
		}
	}
	out := make([]*Endorsement, len(set))
	for i, c := range set {
		if out[i], err = w.vouch(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// draftsOfSet reads the offers' terms and checks that they make a set.
func draftsOfSet(offers []*Offer) ([]*record.ConsentTerms, error) {
	if n := len(offers); n < record.MinExposureBanks || n > record.MaxExposureBanks {
		return nil, fmt.Errorf("%d offers, want %d to %d, of one bank each", n, record.MinExposureBanks, record.MaxExposureBanks)
	}
	drafts := make([]*record.ConsentTerms, len(offers))
	banks := make(map[record.OrgID]bool, len(offers))
	for i, o := range offers {
		draft, err := o.Draft()
		if err == nil {
			err = o.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("offer %d: %w", i, err)
		}
		switch {
		case o.Chain != offers[0].Chain || i > 0 && draft.Consumer() != drafts[0].Consumer():
			return nil, fmt.Errorf("offer %d is of another network or lender than the first", i)
		case banks[draft.Provider()]:
			return nil, fmt.Errorf("offer %d is the second one with %s", i, draft.Provider())
		case len(draft.ProcessingMethods) != 1 || draft.ProcessingMethods[0] != record.Total:
			return nil, fmt.Errorf("offer %d is for more than totals: answer it by itself, with a key of its own", i)
		}
		banks[draft.Provider()] = true
		drafts[i] = draft
	}
	return drafts, nil
}

// knownSet finds a set that was answered before; nil if none of it was.
func (w *Wallet) knownSet(offers []*Offer, drafts []*record.ConsentTerms) ([]*consent, error) {
	var set []*consent
	for i, draft := range drafts {
		c, err := w.find(draft.ConsentID)
		if err != nil {
			continue
		}
		if !sameTerms(&c.Terms, draft) || c.Chain != offers[i].Chain {
			return nil, fmt.Errorf("offer %d: one with this id and other terms was answered before: %w", i, ErrTerms)
		}
		set = append(set, c)
	}
	if len(set) == 0 {
		return nil, nil
	}
	if len(set) != len(drafts) {
		return nil, fmt.Errorf("%d of %d offers were answered before, alone or in another set: ask the lender for new ones", len(set), len(drafts))
	}
	for i, c := range set {
		if !c.principal.Equal(set[0].principal) {
			return nil, fmt.Errorf("offer %d was answered before, alone or in another set: ask the lender for new ones", i)
		}
	}
	return set, nil
}

func (w *Wallet) newSet(offers []*Offer, drafts []*record.ConsentTerms) ([]*consent, error) {
	if len(w.consents)+len(drafts) > maxConsents {
		return nil, fmt.Errorf("the wallet has room for %d consents", maxConsents)
	}
	principal, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make a principal key: %w", err)
	}
	before := len(w.consents)
	for i, o := range offers {
		c, err := newConsent(o, drafts[i], principal)
		if err != nil {
			w.consents = w.consents[:before]
			return nil, err
		}
		w.consents = append(w.consents, c)
	}
	if err := w.save(); err != nil { // before the keys are used
		w.consents = w.consents[:before]
		return nil, err
	}
	return w.consents[before:len(w.consents):len(w.consents)], nil
}
