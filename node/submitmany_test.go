package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/sdk"
)

// What every transaction meets when several come together is what it would meet
// alone.
func TestTransactionsSubmittedTogetherMeetWhatTheyWouldAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, soloSeats[:1])
	p := c.node(lender)
	admin := p.as("admin")
	signed := func(contract, function, arg string) []byte {
		tx, err := admin.NewTransaction(contract, function, arg)
		if err == nil {
			tx, err = tx.Sign(c.people[lender+"/admin"])
		}
		if err != nil {
			t.Fatal(err)
		}
		return tx.Bytes()
	}
	register := func() []byte {
		b, err := sdk.JSON(&sdk.ClientSpec{Address: ledgerKey(t), Roles: []sdk.ClientRole{"auditor"}})
		if err != nil {
			t.Fatal(err)
		}
		return signed(record.ContractMembership, "RegisterClient", string(b))
	}
	known := register()
	b := &backend{Node: p.node}
	if _, o, err := b.Submit(t.Context(), known, 10*time.Second); err != nil || o == nil || o.Code != "OK" {
		t.Fatalf("%+v, %v", o, err)
	}
	forged := register()
	forged[len(forged)-10] ^= 1
	good := register()
	txs := [][]byte{good, known, forged, []byte("no transaction"), good, signed(record.ContractMembership, "RegisterClient", "{}"), register()}
	got := make([]*gateway.Submitted, len(txs))
	err := b.SubmitMany(t.Context(), txs, 10*time.Second, func(all []gateway.Submitted) error {
		for _, x := range all {
			if got[x.Index] != nil {
				t.Errorf("transaction %d was told of twice", x.Index)
			}
			got[x.Index] = &x
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"OK", "OK", "error", "error", "OK", "BAD_REQUEST", "OK"} {
		x := got[i]
		switch {
		case x == nil:
			t.Errorf("transaction %d was not told of", i)
		case want == "error":
			if code := api.CodeOf(x.Err); code != pb.Code_CODE_BAD_SIGNATURE && code != pb.Code_CODE_BAD_REQUEST || x.Outcome != nil {
				t.Errorf("transaction %d: %+v", i, x)
			}
		case x.Err != nil || x.Outcome == nil || x.Outcome.TxID != x.TxID:
			t.Errorf("transaction %d: %+v", i, x)
		case x.Outcome.Code != want:
			t.Errorf("transaction %d: %s, want %s", i, x.Outcome.Code, want)
		}
	}
	if got[0].Outcome.Height != got[4].Outcome.Height || got[0].TxID != got[4].TxID {
		t.Errorf("one transaction has two outcomes: %+v, %+v", got[0].Outcome, got[4].Outcome)
	}

	gone := fmt.Errorf("the client has gone")
	err = b.SubmitMany(t.Context(), [][]byte{known}, time.Second, func([]gateway.Submitted) error { return gone })
	if err != gone {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.SubmitMany(ctx, [][]byte{register()}, time.Second, func([]gateway.Submitted) error { return nil }); err == nil {
		t.Error("a call that was over succeeded")
	}
}
