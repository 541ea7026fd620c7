package query_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/vault"
)

func TestAPermittedRequestIsAnswered(t *testing.T) {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	k := w.consent(c, "lender")
	w.deliver(k)
	p := w.permit(k, w.incomeBand())
	if got := w.ask(p); got.Outcome != record.Answered || got.Body.Value != "MID" {
		t.Fatalf("answer %+v", got)
	}
	outcome, body, ok, err := w.a.Outcome(t.Context(), p.Request.RequestID)
	if err != nil || !ok || outcome != record.Answered || body.Value != "MID" {
		t.Errorf("kept: %v %v %v %v", outcome, body, ok, err)
	}
	year := fmt.Sprintf("credit year %d income", time.Now().UTC().Year())
	if got := w.leaked(c); !maps.Equal(got, map[string]uint64{"credit epoch 1 income": 2000, year: 2000}) {
		t.Errorf("leaked %v", got)
	}
}

func TestDeliveringAPermitAgainChangesNothing(t *testing.T) {
	w := newWorld(t)
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	w.deliver(k)
	p := w.permit(k, w.incomeBand())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { w.handle(p) })
	}
	wg.Wait()
	first, _ := w.out.get(p.Request.RequestID)
	w.reopen()
	w.handle(p)
	if n := w.count(`SELECT count(*) FROM departures`); n != 1 {
		t.Fatalf("%d departures", n)
	}
	var sealed []byte
	must(t, w.store.db.QueryRow(`SELECT sealed FROM departures`).Scan(&sealed))
	if !bytes.Equal(sealed, first.Sealed) {
		t.Error("another sealed answer")
	}
}

func TestAnswersAreFrozenForTheEpoch(t *testing.T) {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	k := w.consent(c, "lender")
	w.deliver(k)
	p1 := w.permit(k, w.incomeBand())
	if v := w.ask(p1).Body.Value; v != "MID" {
		t.Fatalf("answer %s", v)
	}
	w.vault.set(func() { w.vault.rows["cn:1"] = income(9000) })
	other := w.consent(c, "lender-b") // frozen for every lender
	w.deliver(other)
	before := w.leaked(c)
	for range 5 {
		if v := w.ask(w.permit(k, w.incomeBand())).Body.Value; v != "MID" {
			t.Errorf("the same lender again: %s", v)
		}
		if v := w.ask(w.permit(other, w.incomeBand())).Body.Value; v != "MID" {
			t.Errorf("another lender: %s", v)
		}
	}
	if !maps.Equal(before, w.leaked(c)) {
		t.Errorf("frozen answers were debited: %v, then %v", before, w.leaked(c))
	}
	p := w.permit(k, w.incomeBand())
	p.Request.Epoch = 2
	if v := w.ask(p).Body.Value; v != "HIGH" {
		t.Errorf("next epoch: %s", v)
	}
}

func TestExhaustedAccountIsAGenericRefusal(t *testing.T) {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	k := w.consent(c, "lender")
	w.deliver(k)
	ask := func(n int) record.ReceiptOutcome { // each asks something new of 1 bit
		tpl := w.template(record.TemplateID(fmt.Sprint("over-", n)), fmt.Sprintf(`income > %d ? "YES" : "NO_RECORD"`, n), []string{"YES", record.NoRecord}, "income")
		a := w.ask(w.permit(k, tpl))
		d, _ := w.out.get(a.Body.RequestID)
		if d.Receipt.Outcome != a.Outcome {
			t.Errorf("receipt says %s, answer %s", d.Receipt.Outcome, a.Outcome)
		}
		return a.Outcome
	}
	for n := range 4 {
		if got := ask(n); got != record.Answered {
			t.Fatalf("question %d: %s", n, got)
		}
	}
	if got := ask(4); got != record.Refused {
		t.Errorf("a fifth bit: %s", got)
	}
	if got := ask(2); got != record.Answered {
		t.Errorf("a frozen answer after the account is empty: %s", got)
	}
	// Next epoch: 2 bits are left for the year.
	for i, want := range []record.ReceiptOutcome{record.Answered, record.Answered, record.Refused} {
		tpl := w.template(record.TemplateID(fmt.Sprint("e2-", i)), fmt.Sprintf(`income > %d ? "YES" : "NO_RECORD"`, 100+i), []string{"YES", record.NoRecord}, "income")
		p := w.permit(k, tpl)
		p.Request.Epoch = 2
		if got := w.ask(p).Outcome; got != want {
			t.Errorf("next epoch, question %d: %s, want %s", i, got, want)
		}
	}
	// Another customer has an account of its own.
	c2 := w.customer("cn:2", income(1))
	k2 := w.consent(c2, "lender")
	w.deliver(k2)
	if got := w.ask(w.permit(k2, w.incomeBand())).Outcome; got != record.Answered {
		t.Errorf("another customer: %s", got)
	}
}

// TestNobodyCanTellWhoIsKnown is the promise to the subject: whatever is the matter
// with a consent, what leaves has the same size, shape and time, after the same work.
func TestNobodyCanTellWhoIsKnown(t *testing.T) {
	w := newWorld(t)
	stranger, err := crypto.GenerateKey()
	must(t, err)
	known := w.customer("cn:1", income(1500))
	type one struct {
		name string
		k    consent
		want string
	}
	cases := []one{
		{"known", w.consent(known, "lender"), "MID"},
		{"bound, no row", w.consent(w.customer("cn:2", nil), "lender"), record.NoRecord},
		{"row of nulls", w.consent(w.customer("cn:3", map[string]vault.Value{}), "lender"), record.NoRecord},
		{"wallet never bound", w.consent(customer{"cn:1", stranger}, "lender"), record.NoRecord},
		{"customer never heard of", w.consent(customer{"cn:404", stranger}, "lender"), record.NoRecord},
		{"identifier of another customer", w.consent(customer{"cn:2", known.wallet}, "lender"), record.NoRecord},
	}
	tamper := func(name string, change func(k *consent)) {
		k := w.consent(known, "lender")
		change(&k)
		cases = append(cases, one{name, k, record.NoRecord})
	}
	tamper("no endorsement", func(k *consent) { k.part.Endorsement = nil; w.commit(k) })
	tamper("endorsement of another key", func(k *consent) { k.part.Endorsement.Signature[3] ^= 1; w.commit(k) })
	tamper("endorsement with foreign wallet named", func(k *consent) {
		k.part.Endorsement.Wallet = crypto.PubkeyToAddress(stranger.PublicKey)
		w.commit(k)
	})
	tamper("endorsement of another consent", func(k *consent) {
		k.part.Endorsement = w.consent(known, "lender").part.Endorsement
		w.commit(k)
	})
	tamper("endorsement for another lender", func(k *consent) {
		k.part.Endorsement = w.consent(known, "lender-b").part.Endorsement
		w.commit(k)
	})
	tamper("not what the consent commits to", func(k *consent) { k.record.RecordCommitment[0] ^= 1 })
	tamper("identifier with a line break", func(k *consent) { k.part.SubjectID = "cn:1\n"; w.commit(k) })
	tamper("claimed to be authenticated by the bank", func(k *consent) {
		k.record.Authorisation.Method, k.record.Authorisation.OrgID = record.ProviderAuthenticated, "bank"
	})

	var size, dos, lookups int
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w.deliver(c.k)
			p := w.permit(c.k, w.incomeBand())
			d0, l0 := w.store.dos, w.vault.lookups
			got := w.ask(p)
			if got.Outcome != record.Answered || got.Body.Value != c.want {
				t.Fatalf("%s %q, want %q", got.Outcome, got.Body.Value, c.want)
			}
			d, _ := w.out.get(p.Request.RequestID)
			if i == 0 {
				size, dos, lookups = len(d.Sealed), w.store.dos-d0, w.vault.lookups-l0
			}
			if len(d.Sealed) != size || w.store.dos-d0 != dos || w.vault.lookups-l0 != lookups {
				t.Errorf("%d bytes, %d transactions, %d look-ups; a known subject has %d, %d, %d", len(d.Sealed), w.store.dos-d0, w.vault.lookups-l0, size, dos, lookups)
			}
			if at := d.NotBefore.Sub(p.ExecutedAt); at <= 0 || at%(10*time.Millisecond) != 0 {
				t.Errorf("leaves %v after execution", at)
			}
		})
	}
	if got := w.leaked(known)["credit epoch 1 income"]; got != 2000 {
		t.Errorf("forged consents were debited to the customer they named: %d", got)
	}
	// Each case left the same rows behind.
	if q, f := w.count(`SELECT count(*) FROM query_requests`), w.count(`SELECT count(*) FROM departures WHERE sealed IS NOT NULL`); q != len(cases) || f != len(cases) {
		t.Errorf("%d requests, %d departures for %d cases", q, f, len(cases))
	}
}

func TestUnboundSubjectsAreRefusedLikeKnownOnes(t *testing.T) {
	w := newWorld(t)
	stranger, err := crypto.GenerateKey()
	must(t, err)
	known, unbound := w.consent(w.customer("cn:1", income(5)), "lender"), w.consent(customer{"cn:2", stranger}, "lender")
	w.deliver(known)
	w.deliver(unbound)
	for n := range 7 {
		tpl := w.template(record.TemplateID(fmt.Sprint("q", n)), fmt.Sprintf(`income > %d ? "YES" : "NO_RECORD"`, n), []string{"YES", record.NoRecord}, "income")
		a, b := w.ask(w.permit(known, tpl)), w.ask(w.permit(unbound, tpl))
		if a.Outcome != b.Outcome {
			t.Errorf("question %d: %s for a customer, %s for a stranger", n, a.Outcome, b.Outcome)
		}
	}
}

func TestBankAuthenticatedConsentNeedsTheBanksOwnBinding(t *testing.T) {
	w := newWorld(t)
	w.vault.rows["cn:1"] = income(1500)
	key, err := crypto.GenerateKey()
	must(t, err)
	make := func(org record.OrgID) consent {
		k := w.consent(customer{"cn:1", key}, "lender")
		k.record.Authorisation.Method, k.record.Authorisation.OrgID = record.ProviderAuthenticated, org
		k.part.Endorsement = nil
		w.commit(&k)
		w.deliver(k)
		return k
	}
	k := make("bank")
	must(t, w.a.BindConsent(t.Context(), k.record.ConsentID, "cn:1"))
	must(t, w.a.BindConsent(t.Context(), k.record.ConsentID, "cn:1"))
	if err := w.a.BindConsent(t.Context(), k.record.ConsentID, "cn:2"); err == nil || strings.Contains(err.Error(), "cn:") {
		t.Errorf("bound to a second customer: %v", err)
	}
	if v := w.ask(w.permit(k, w.incomeBand())).Body.Value; v != "MID" {
		t.Errorf("bound: %s", v)
	}
	if v := w.ask(w.permit(make("bank"), w.incomeBand())).Body.Value; v != record.NoRecord {
		t.Errorf("authenticated but not bound: %s", v)
	}
	k = make("other-bank")
	must(t, w.a.BindConsent(t.Context(), k.record.ConsentID, "cn:1"))
	if v := w.ask(w.permit(k, w.incomeBand())).Body.Value; v != record.NoRecord {
		t.Errorf("authenticated by another member: %s", v)
	}
}

func TestBindings(t *testing.T) {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	address := crypto.PubkeyToAddress(c.wallet.PublicKey)
	must(t, w.a.Bind(t.Context(), c.subject, address))
	for _, bad := range []vault.Subject{"", " x", "a\x00"} {
		if w.a.Bind(t.Context(), bad, address) == nil {
			t.Errorf("%q bound", string(bad))
		}
	}
	if w.a.Bind(t.Context(), c.subject, record.Address{}) == nil {
		t.Error("zero address bound")
	}
	for i := range 15 {
		must(t, w.a.Bind(t.Context(), c.subject, record.Address{9, byte(i)}))
	}
	if err := w.a.Bind(t.Context(), c.subject, record.Address{10}); err == nil || strings.Contains(err.Error(), "cn:1") {
		t.Errorf("a seventeenth wallet: %v", err)
	}
	must(t, w.a.Unbind(t.Context(), c.subject, address))
	k := w.consent(c, "lender")
	w.deliver(k)
	if v := w.ask(w.permit(k, w.incomeBand())).Body.Value; v != record.NoRecord {
		t.Errorf("after unbinding: %s", v)
	}
	must(t, w.a.UnbindAll(t.Context(), c.subject))
	must(t, w.a.UnbindAll(t.Context(), "cn:never-seen"))
	if n := w.count(`SELECT count(*) FROM query_wallets`); n != 0 {
		t.Errorf("%d wallets left", n)
	}
	must(t, w.a.Bind(t.Context(), c.subject, address))
	var text string
	must(t, w.store.db.QueryRow(`SELECT group_concat(hex(tag) || hex(wallet)) FROM query_wallets`).Scan(&text))
	if strings.Contains(text, fmt.Sprintf("%X", "cn:1")) {
		t.Error("the database holds a subject identifier in clear")
	}
}

func TestMissingPartIsAwaitedThenAnswered(t *testing.T) {
	w := newWorld(t)
	w.run()
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	p := w.permit(k, w.incomeBand())
	w.handle(p)
	w.handle(p)
	if w.a.Waiting() != 1 {
		t.Fatalf("%d waiting", w.a.Waiting())
	}
	w.reopen() // it waits on disk too
	w.run()
	w.handle(p)
	if w.a.Waiting() != 1 {
		t.Fatalf("%d waiting after a restart", w.a.Waiting())
	}
	w.deliver(k)
	w.wait(p.Request.RequestID)
	if v := w.read(p).Body.Value; v != "MID" {
		t.Errorf("answer %s", v)
	}
	w.stop()
	if w.a.Waiting() != 0 || w.count(`SELECT count(*) FROM query_waiting`) != 0 {
		t.Error("still on the waiting list")
	}
}

func TestAStrangersPartIsNoObstacle(t *testing.T) {
	w := newWorld(t)
	w.run()
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	forged := *k.part
	forged.Salt = record.Hash{1}
	must(t, w.a.StorePart(t.Context(), "mallory", w.seal(&forged)))
	p := w.permit(k, w.incomeBand())
	w.handle(p)
	if _, ok := w.out.get(p.Request.RequestID); ok {
		t.Fatal("answered over a stranger's part")
	}
	w.deliver(k)
	w.wait(p.Request.RequestID)
	if v := w.read(p).Body.Value; v != "MID" {
		t.Errorf("answer %s", v)
	}
}

func TestPartsAreCheckedAndBounded(t *testing.T) {
	w := newWorld(t)
	k := w.consent(w.customer("cn:1", nil), "lender")
	foreign, err := query.Open(t.Context(), func() query.Config { c := w.cfg; c.Member = "bank-b"; return c }())
	must(t, err)
	for name, err := range map[string]error{
		"garbage":       w.a.StorePart(t.Context(), "lender", []byte("garbage")),
		"another bank":  foreign.StorePart(t.Context(), "lender", k.sealed),
		"tampered":      w.a.StorePart(t.Context(), "lender", append(k.sealed[:len(k.sealed)-1:len(k.sealed)-1], k.sealed[len(k.sealed)-1]^1)),
		"empty":         w.a.StorePart(t.Context(), "lender", nil),
		"two megabytes": w.a.StorePart(t.Context(), "lender", make([]byte, 2<<20)),
	} {
		if !errors.Is(err, query.ErrPart) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range 5 {
		part := *k.part
		part.Salt = record.Hash{byte(i + 1)}
		err := w.a.StorePart(t.Context(), "mallory", w.seal(&part))
		if i < 2 && err != nil || i >= 2 && !errors.Is(err, query.ErrTooManyParts) {
			t.Errorf("candidate %d: %v", i, err)
		}
	}
	for range 3 {
		w.deliver(k) // again and again is fine
	}
	cfg := w.cfg
	cfg.MaxPartsPerSender = 1
	strict, err := query.Open(t.Context(), cfg)
	must(t, err)
	k2 := w.consent(w.customer("cn:2", nil), "lender")
	if err := strict.StorePart(t.Context(), "lender", k2.sealed); !errors.Is(err, query.ErrTooManyParts) {
		t.Errorf("beyond the sender's limit: %v", err)
	}
	must(t, strict.Erase(t.Context(), &k.record, pages()))
	must(t, strict.StorePart(t.Context(), "lender", k2.sealed))
	if n := w.count(`SELECT count(*) FROM query_parts WHERE consent_id = ?`, string(k.record.ConsentID)); n != 0 {
		t.Errorf("%d parts left after erasure", n)
	}
}

func TestVaultDownIsRetriedUntilItIsBack(t *testing.T) {
	w := newWorld(t)
	w.run()
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	w.deliver(k)
	w.vault.set(func() { w.vault.err = fmt.Errorf("connect: %w", vault.ErrUnavailable) })
	p := w.permit(k, w.incomeBand())
	w.handle(p)
	for range cap(w.vault.looked) {
		<-w.vault.looked
	}
	w.vault.set(func() { w.vault.err = nil })
	w.wait(p.Request.RequestID)
	if v := w.read(p).Body.Value; v != "MID" {
		t.Errorf("answer %s", v)
	}
}

// A request that waits is stored with its template, whose source may hold what
// JSON encoders like to escape.
func TestAWaitingRequestKeepsItsTemplate(t *testing.T) {
	w := newWorld(t)
	w.run()
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	tpl := w.template("comparison", `income >= 1000 && income < 2000 ? "<&>" : "NO"`, []string{"<&>", "NO", record.NoRecord}, "income")
	p := w.permit(k, tpl)
	w.handle(p)  // the part is missing
	w.deliver(k) // and wakes it
	w.wait(p.Request.RequestID)
	if v := w.read(p).Body.Value; v != "<&>" {
		t.Errorf("answer %s", v)
	}
}

func TestDeadlinePassedIsOverdue(t *testing.T) {
	for name, set := range map[string]func(*world, *consent){
		"no part":     func(w *world, k *consent) {},
		"vault down":  func(w *world, k *consent) { w.deliver(*k); w.vault.err = vault.ErrUnavailable },
		"bad mapping": func(w *world, k *consent) { w.deliver(*k); w.vault.err = &vault.SchemaError{Column: "income"} },
		"other type":  func(w *world, k *consent) { w.deliver(*k); w.vault.income = vault.String },
		"no data key": func(w *world, k *consent) { w.deliver(*k); w.noKey = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.run()
			c := w.customer("cn:1", income(1500))
			k := w.consent(c, "lender")
			set(w, &k)
			p := w.permit(k, w.incomeBand())
			p.Request.Deadline = time.Now().Add(40 * time.Millisecond).UnixMilli()
			w.handle(p)
			d := w.wait(p.Request.RequestID)
			if d.Sealed != nil || d.Receipt != (record.ReceiptSpec{RequestID: p.Request.RequestID, Outcome: record.Overdue}) {
				t.Errorf("departed %+v", d)
			}
			must(t, d.Receipt.Check())
			w.stop()
			w.vault.err, w.noKey, w.vault.income = nil, false, vault.Int
			w.deliver(k)
			w.handle(p) // too late for good
			if outcome, _, _, _ := w.a.Outcome(t.Context(), p.Request.RequestID); outcome != record.Overdue || w.count(`SELECT count(*) FROM departures`) != 1 {
				t.Errorf("outcome %s", outcome)
			}
			if len(w.leaked(c)) != 0 {
				t.Errorf("debited: %v", w.leaked(c))
			}
		})
	}
}

func TestWhatDependsOnTheRowIsNoRecord(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		row    map[string]vault.Value
		err    error
	}{
		"null not handled":  {`income > 1 ? "YES" : "NO"`, map[string]vault.Value{}, nil},
		"division by zero":  {`100 / income > 1 ? "YES" : "NO"`, income(0), nil},
		"overflow":          {`income * 1000000 > 1 ? "YES" : "NO"`, income(1 << 62), nil},
		"unlisted output":   {`region`, income(1), nil},
		"two rows":          {`income > 1 ? "YES" : "NO"`, income(5), vault.ErrAmbiguous},
		"malformed in row":  {`income > 1 ? "YES" : "NO"`, income(5), &vault.SchemaError{Column: "income", InRow: true}},
		"handled by itself": {`income == null ? "NO_RECORD" : "YES"`, map[string]vault.Value{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cust := w.customer("cn:1", c.row)
			w.vault.err = c.err
			k := w.consent(cust, "lender")
			w.deliver(k)
			columns := []string{"income"}
			if c.source == "region" {
				columns = []string{"region"}
			}
			got := w.ask(w.permit(k, w.template("t", c.source, []string{"YES", "NO", record.NoRecord}, columns...)))
			if got.Outcome != record.Answered || got.Body.Value != record.NoRecord {
				t.Errorf("%s %q", got.Outcome, got.Body.Value)
			}
			if w.leaked(cust)["credit epoch 1 "+columns[0]] != 1585 {
				t.Errorf("NO_RECORD is an output and must be debited: %v", w.leaked(cust))
			}
		})
	}
}

func TestATemplateThatCannotRunIsRefusedForEverybody(t *testing.T) {
	w := newWorld(t)
	tpl := w.template("bad", `salary > 1 ? "YES" : "NO_RECORD"`, []string{"YES", record.NoRecord}, "income")
	known := w.consent(w.customer("cn:1", income(1)), "lender")
	unknown := w.consent(w.customer("cn:2", nil), "lender")
	for _, k := range []consent{known, unknown} {
		w.deliver(k)
		if got := w.ask(w.permit(k, tpl)); got.Outcome != record.Refused || got.Body.Value != "" {
			t.Errorf("%+v", got)
		}
	}
}

func TestUnusableAnswerKeyIsARefusalWithoutEnvelope(t *testing.T) {
	w := newWorld(t)
	k := w.consent(w.customer("cn:1", income(1)), "lender")
	w.deliver(k)
	p := w.permit(k, w.incomeBand())
	p.Request.AnswerKey = append(make([]byte, 31), 0) // a point of low order
	w.handle(p)
	d, ok := w.out.get(p.Request.RequestID)
	if !ok || d.Sealed != nil || d.Receipt.Outcome != record.Refused {
		t.Errorf("departed %+v", d)
	}
	must(t, d.Receipt.Check())
}

func TestForeignPermitsAreNotOurs(t *testing.T) {
	w := newWorld(t)
	k := w.consent(w.customer("cn:1", nil), "lender")
	p := w.permit(k, w.incomeBand())
	p.Request.Provider = "bank-b"
	if err := w.a.HandlePermit(t.Context(), p); !errors.Is(err, query.ErrNotOurs) {
		t.Errorf("another provider's: %v", err)
	}
	p = w.permit(k, w.incomeBand())
	p.Request.Decision = record.Deny
	if err := w.a.HandlePermit(t.Context(), p); !errors.Is(err, query.ErrNotOurs) {
		t.Errorf("a denial: %v", err)
	}
}

func TestTooManyWaitingIsBusy(t *testing.T) {
	w := newWorld(t)
	cfg := w.cfg
	cfg.MaxWaiting = 2
	a, err := query.Open(t.Context(), cfg)
	must(t, err)
	k := w.consent(w.customer("cn:1", nil), "lender")
	for i := range 3 {
		err := a.HandlePermit(t.Context(), w.permit(k, w.incomeBand()))
		if i < 2 && err != nil || i == 2 && !errors.Is(err, query.ErrBusy) {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

func TestEndedDestroysTheOpening(t *testing.T) {
	w := newWorld(t)
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	w.deliver(k)
	for _, outcome := range []record.ReceiptOutcome{record.Withheld, record.Overdue} {
		p := w.permit(k, w.incomeBand())
		w.handle(p)
		tx, err := w.store.db.Begin()
		must(t, err)
		r, err := w.a.Ended(tx, p.Request.RequestID, outcome)
		must(t, err)
		must(t, tx.Commit())
		must(t, r.Check())
		if got, body, ok, err := w.a.Outcome(t.Context(), p.Request.RequestID); err != nil || !ok || got != outcome || body != nil || r.Outcome != outcome {
			t.Errorf("%s: %v %v %v, receipt %+v", outcome, got, body, err, r)
		}
	}
}

func TestCheckpointNeverFalls(t *testing.T) {
	w := newWorld(t)
	for _, h := range []uint64{0, 5, 3, 9} {
		must(t, w.a.SaveCheckpoint(t.Context(), h))
	}
	w.reopen()
	if h, err := w.a.Checkpoint(t.Context()); err != nil || h != 9 {
		t.Errorf("checkpoint %d: %v", h, err)
	}
}

func TestNothingPersonalIsLogged(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	cfg := w.cfg
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := query.Open(t.Context(), cfg)
	must(t, err)
	stranger, err := crypto.GenerateKey()
	must(t, err)
	c := w.customer("cn:110101199001011234", map[string]vault.Value{"income": vault.StringValue("very secret")})
	for _, k := range []consent{w.consent(c, "lender"), w.consent(customer{"cn:999", stranger}, "lender")} {
		must(t, a.StorePart(t.Context(), "lender", k.sealed))
		must(t, a.HandlePermit(t.Context(), w.permit(k, w.incomeBand())))
		must(t, a.HandlePermit(t.Context(), w.permit(k, w.template("z", `100 / income > 1 ? "YES" : "NO_RECORD"`, []string{"YES", record.NoRecord}, "income"))))
	}
	w.vault.err = vault.ErrAmbiguous
	must(t, a.HandlePermit(t.Context(), w.permit(w.consent(c, "lender"), w.incomeBand())))
	text := log.String()
	if text == "" {
		t.Fatal("nothing logged at all: the test sees nothing")
	}
	for _, secret := range []string{"11010119", "cn:", "secret", "lender"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q in the log:\n%s", secret, text)
		}
	}
}

func TestMappingIsHeldAgainstTheProduct(t *testing.T) {
	w := newWorld(t)
	columns := []string{"income", "region"}
	if err := query.CheckMapping(&w.product.ProductSpec, columns, w.vault.Describe()); err != nil {
		t.Error(err)
	}
	for want, mapped := range map[string][]vault.Column{
		`column "income": of product credit is not mapped`:                        {{Name: "region", Type: vault.String}},
		`column "region": of product credit is published as STRING but mapped as`: {{Name: "income", Type: vault.Int}, {Name: "region", Type: vault.Bool}},
	} {
		if err := query.CheckMapping(&w.product.ProductSpec, columns, mapped); !errors.Is(err, vault.ErrSchema) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestFullDeparturesMakeTheRequestWait(t *testing.T) {
	w := newWorld(t)
	w.run()
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	w.deliver(k)
	w.out.setFail(errors.New("outbox full"))
	p := w.permit(k, w.incomeBand())
	w.handle(p)
	if w.a.Waiting() != 1 || w.count(`SELECT count(*) FROM query_frozen`) != 0 {
		t.Fatalf("%d waiting, or something is left of the transaction", w.a.Waiting())
	}
	w.out.setFail(nil)
	w.wait(p.Request.RequestID)
	if v := w.read(p).Body.Value; v != "MID" {
		t.Errorf("answer %s", v)
	}
}

func TestBadConfigIsRefusedTogether(t *testing.T) {
	_, err := query.Open(context.Background(), query.Config{TagKey: []byte("short")})
	for _, want := range []string{"Store", "ChainID", "member", "tag key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in %v", want, err)
		}
	}
}
