package wallet_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk/wallet"
)

// offerOf is an offer for the total, of bank n; change makes it another one.
func offerOf(t *testing.T, n int, change func(*record.ConsentTerms)) *wallet.Offer {
	t.Helper()
	tt := terms(t)
	tt.ConsentID = record.NewConsentID([16]byte{9, byte(n)})
	tt.Parties[1].PartyID = record.OrgID(fmt.Sprintf("bank-%d", n))
	tt.ProcessingMethods = []record.TemplateKind{record.Total}
	tt.TemplateIDs = []record.TemplateID{"loans"}
	if change != nil {
		change(tt)
	}
	o, err := wallet.NewOffer(chain, tt, nil, &notice, now+1)
	must(t, err)
	return o
}

func setOf(t *testing.T, n int) []*wallet.Offer {
	t.Helper()
	out := make([]*wallet.Offer, n)
	for i := range out {
		out[i] = offerOf(t, i, nil)
	}
	return out
}

func TestASetOfBanksHasOneFreshPrincipalKey(t *testing.T) {
	w, path := create(t)
	set, err := w.EndorseSet(setOf(t, 4))
	must(t, err)
	for i, e := range set {
		if e.PrincipalKey != set[0].PrincipalKey || e.PrincipalKey == w.Address() {
			t.Errorf("bank %d: principal key %s", i, e.PrincipalKey)
		}
		if i > 0 && e.PartKey == set[0].PartKey {
			t.Error("two sealed parts under one key")
		}
		tt, err := offerOf(t, i, nil).Draft()
		must(t, err)
		tt.PrincipalKey = e.PrincipalKey
		digest, err := record.EndorsementOf(tt).Digest(chain)
		must(t, err)
		must(t, record.Verify(digest, e.Signature[:], w.Address()))
	}
	w, err = wallet.OpenCheap(path, "a password") // another day
	must(t, err)
	again, err := w.EndorseSet(setOf(t, 4))
	must(t, err)
	for i := range again {
		if *again[i] != *set[i] {
			t.Errorf("bank %d: another answer to the same offer", i)
		}
	}
	if n := len(w.Consents()); n != 4 {
		t.Errorf("%d consents, want 4", n)
	}
	other, err := w.EndorseSet([]*wallet.Offer{offerOf(t, 10, nil), offerOf(t, 11, nil), offerOf(t, 12, nil)})
	must(t, err)
	if other[0].PrincipalKey == set[0].PrincipalKey {
		t.Error("two sets share their principal key")
	}
}

func TestWhatIsNoSetIsRefused(t *testing.T) {
	alone := offerOf(t, 0, nil)
	for name, c := range map[string]struct {
		offers []*wallet.Offer
		want   string
	}{
		"two banks":       {setOf(t, 2), "want 3 to 30"},
		"31 banks":        {setOf(t, 31), "want 3 to 30"},
		"a bank twice":    {append(setOf(t, 3), offerOf(t, 40, func(c *record.ConsentTerms) { c.Parties[1].PartyID = "bank-1" })), "second one with bank-1"},
		"another lender":  {append(setOf(t, 3), offerOf(t, 3, func(c *record.ConsentTerms) { c.Parties[0].PartyID = "other" })), "another network or lender"},
		"more than total": {append(setOf(t, 3), offerOf(t, 3, func(c *record.ConsentTerms) { c.ProcessingMethods = []record.TemplateKind{record.Bucket, record.Total} })), "more than totals"},
		"answered alone":  {setOf(t, 3), "answered before"},
		"other terms": {append(setOf(t, 2), offerOf(t, 0, func(c *record.ConsentTerms) {
			c.ConsentID, c.Parties[1].PartyID = alonesID(t, alone), "bank-7"
		})), "other terms"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := create(t)
			if name == "answered alone" || name == "other terms" {
				_, err := w.Endorse(alone)
				must(t, err)
			}
			if name == "other terms" {
				c := c.offers
				c[0] = offerOf(t, 20, nil)
			}
			before := len(w.Consents())
			_, err := w.EndorseSet(c.offers)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if name == "other terms" && !errors.Is(err, wallet.ErrTerms) {
				t.Errorf("%v is not ErrTerms", err)
			}
			if len(w.Consents()) != before {
				t.Error("a refused set left consents behind")
			}
		})
	}
}

func alonesID(t *testing.T, o *wallet.Offer) record.ConsentID {
	t.Helper()
	d, err := o.Draft()
	must(t, err)
	return d.ConsentID
}
