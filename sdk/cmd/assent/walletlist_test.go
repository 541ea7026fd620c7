package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-network/assent/node/api"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
	"github.com/assent-network/assent/sdk/wallet"
)

// endorsed makes a wallet file with consents that never came to the ledger.
func endorsed(t *testing.T, net *fakenode.Network, node *fakenode.Node, path string, n int) {
	t.Helper()
	c, err := sdk.Dial(t.Context(), []string{node.URL()}, sdk.WithChainID(net.ChainID()), sdk.WithTLSPin(node.Pin()),
		sdk.WithIdentity(fakenode.Lender, fakenode.Signer("integration lender")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	notice, err := fakenode.Notice.Hash()
	if err != nil {
		t.Fatal(err)
	}
	terms, err := c.Consents().Draft(t.Context(), sdk.ConsentDraft{
		Provider: fakenode.Bank, Product: "salary-account", Templates: []sdk.TemplateID{"income-band"},
		Purposes: []sdk.Purpose{"CreditChecking"}, Expires: time.Now().AddDate(0, 1, 0), MaxUses: 3, NoticeHash: notice,
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := wallet.Create(path, "a password")
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		draft := *terms
		draft.ConsentID = sdk.ConsentID(fmt.Sprintf("0x%032x", i+1))
		offer, err := wallet.NewOffer(net.ChainID(), &draft, nil, nil, time.Now().Add(time.Hour).UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Endorse(offer); err != nil {
			t.Fatal(err)
		}
	}
}

// What a wallet asks the ledger for comes in pages, four consents at a time, and
// one that fails is named and keeps nobody else's answer back.
func TestAWalletListsItsConsentsInPagesAndGoesOnAfterAnError(t *testing.T) {
	net := fakenode.New(time.Now).Furnish()
	node := fakenode.Serve(net, fakenode.Lender)
	defer node.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "w.json")
	endorsed(t, net, node, file, 10)
	env := map[string]string{
		"ASSENT_ENDPOINTS": node.URL() + "#sha256=" + node.Pin().Hex()[2:], "ASSENT_CHAIN": net.ChainID().Hex(), "ASSENT_PASSWORD": "a password",
	}
	list := func(args ...string) (rows []walletRow, said string, exit int) {
		t.Helper()
		var out, errs bytes.Buffer
		exit = run(t.Context(), append([]string{"--json", "wallet", "list", "--wallet", file}, args...), &surroundings{
			in: strings.NewReader(""), out: &out, err: &errs, env: func(k string) string { return env[k] }, now: time.Now,
			home: func() (string, error) { return dir, os.MkdirAll(dir, 0o700) },
		})
		if err := json.Unmarshal(out.Bytes(), &rows); err != nil && exit != exitUsage {
			t.Fatalf("%v: %s%s", err, &out, &errs)
		}
		return rows, errs.String(), exit
	}
	if rows, _, exit := list(); len(rows) != 10 || exit != exitOK || node.Calls("ProveRecord") != 0 {
		t.Fatalf("without the ledger: %d rows, exit code %d", len(rows), exit)
	}

	// The first four calls wait for each other: one by one they would never be four.
	var calls, open, most atomic.Int64
	four := make(chan struct{})
	node.Fail("ProveRecord", func() error {
		defer open.Add(-1)
		if n := open.Add(1); n > most.Load() {
			most.Store(n)
		}
		k := calls.Add(1)
		if k == ledgerAtOnce {
			close(four)
		}
		select {
		case <-four:
		case <-time.After(20 * time.Second):
			t.Error("no four consents are looked up at once")
		}
		if k == 3 {
			return (&api.Error{Code: v1.Code_CODE_BAD_REQUEST, What: "not this one"}).ToConnect()
		}
		return nil
	})
	rows, said, exit := list("--ledger", "--page-size", "8")
	failed := 0
	for _, r := range rows {
		switch {
		case r.Failed != nil:
			failed++
			if r.Failed.Code != "BAD_REQUEST" || r.Ledger != "" || !strings.Contains(said, "consent "+r.Consent+": BAD_REQUEST: not this one") {
				t.Errorf("%+v; said was %s", r.Failed, said)
			}
		case r.Ledger != "not there, or erased":
			t.Errorf("%s: %q", r.Consent, r.Ledger)
		}
	}
	if len(rows) != 8 || failed != 1 || exit != exitRefused {
		t.Errorf("%d rows, %d failed, exit code %d", len(rows), failed, exit)
	}
	if most.Load() > ledgerAtOnce {
		t.Errorf("%d consents at once", most.Load())
	}
	for _, part := range []string{"1 of 8 consents could not be looked up", "8 of 10 consents; --page 2 goes on"} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q: %s", part, said)
		}
	}
	node.Fail("ProveRecord", nil)
	before := node.Calls("ProveRecord")
	rows, _, exit = list("--ledger", "--page-size", "8", "--page", "2")
	if len(rows) != 2 || exit != exitOK || rows[0].Consent == "" || node.Calls("ProveRecord")-before != 2 {
		t.Errorf("the second page: %+v, exit code %d", rows, exit)
	}
	for _, page := range []string{"3", "4294967296", "18446744073709551615"} {
		if rows, said, exit = list("--ledger", "--page-size", "8", "--page", page); len(rows) != 0 || exit != exitOK || strings.Contains(said, "goes on") {
			t.Errorf("page %s: %d rows, exit code %d, %s", page, len(rows), exit, said)
		}
	}
	for _, wrong := range [][]string{{"--page", "0"}, {"--page-size", "1001"}} {
		if _, _, exit := list(wrong...); exit != exitUsage {
			t.Errorf("%v: exit code %d", wrong, exit)
		}
	}
}
