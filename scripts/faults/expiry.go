package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/scripts/testnet"
)

// What a node that sends transactions about to end achieves is that others refuse
// them: nobody takes one into its pool of which less than a minute is left, so none
// can end there while a leader works. Those that have more are ordered long before.

// notNow is how many transactions a node has refused because of their time.
func notNow(ctx context.Context, x *testnet.Node) (n float64, err error) {
	err = scrape(ctx, x, "/metrics", func(line string) {
		if name, text, _ := strings.Cut(line, " "); name == `assent_admission_total{result="not_now"}` {
			n, _ = strconv.ParseFloat(text, 64) // the program's own number
		}
	})
	return n, err
}

// refusedByTime is notNow of several nodes.
func refusedByTime(ctx context.Context, nodes []*testnet.Node) ([]float64, error) {
	out := make([]float64, len(nodes))
	for i, x := range nodes {
		var err error
		if out[i], err = notNow(ctx, x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// leastLeft is what must be left of a transaction when it is ordered: a minute when
// it was taken, less what ordering may take on a crowded machine.
const leastLeft = 40 * time.Second

// noneNearItsEnd looks for the liar's transactions in the blocks: some were ordered,
// and none of those that were about to end.
func noneNearItsEnd(_ context.Context, p *play) (err error) {
	x := p.others(p.doomed)[0]
	blocks, err := store.Open(filepath.Join(x.DataDir(), "blocks"), p.net.Genesis().Hash())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blocks.Close()) }()
	ordered, least := 0, time.Duration(1<<62)
	for b, err := range blocks.Blocks(1, blocks.Tip().Height) {
		if err != nil {
			return err
		}
		for _, r := range b.Requests {
			tx, err := ledger.DecodeTransaction(r)
			if err != nil || tx.Payload.Key != p.doomed.Card.TxKey || tx.Payload.Function != "RegisterClient" {
				continue
			}
			ordered++
			least = min(least, time.Duration(tx.Payload.ValidUntil-b.Header.Time)*time.Millisecond)
		}
	}
	switch {
	case ordered == 0:
		return fmt.Errorf("nothing that %s sent with time enough was ordered: its transactions met nobody", p.doomed.Name)
	case least < leastLeft:
		return fmt.Errorf("a transaction of %s was ordered %s before its end: somebody took it into its pool too late", p.doomed.Name, least)
	}
	fmt.Fprintf(os.Stderr, "  %d of its transactions were ordered, %s before their end at least\n", ordered, least.Round(time.Second))
	return nil
}
