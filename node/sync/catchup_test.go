package sync

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/store"
)

func TestCatchUpWalksThroughConfigChanges(t *testing.T) {
	c := history(60)
	n := newNet()
	for v := uint64(1); v <= 3; v++ {
		s := newStore(t, c, 60)
		server, err := NewServer(ServerConfig{Store: s, Voter: voter(ledgertest.VoteKey(v), tipOf(s)), MaxBytes: 6000})
		if err != nil {
			t.Fatal(err)
		}
		n.add(v, func(ctx context.Context, req []byte) ([]byte, error) { return server.Handle(ctx, "asker", req) })
	}
	n.add(4, nil) // down
	mine := newStore(t, c, 0)
	client := newClient(t, mine, n)
	var seen []Progress
	client.cfg.OnProgress = func(p Progress) { seen = append(seen, p) }
	if err := client.CatchUp(t.Context(), mine.Append); err != nil {
		t.Fatal(err)
	}
	wantTip(t, mine, c, 60)
	for v := uint64(1); v <= 3; v++ {
		if n.askedOf(name(v)) < 3 {
			t.Errorf("%s was asked %d times: the peers do not take turns", name(v), n.askedOf(name(v)))
		}
	}
	if last := seen[len(seen)-1]; last != (Progress{60, 60}) {
		t.Errorf("last progress is %+v", last)
	}
	before := len(n.asked)
	if err := client.CatchUp(t.Context(), mine.Append); err != nil {
		t.Fatal(err)
	}
	if got := len(n.asked) - before; got != 4 {
		t.Errorf("%d requests with nothing to fetch, want one status of each peer", got)
	}
}

func TestCatchUpWithoutPeersIsNoError(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(2)
	mine := newStore(t, c, 2)
	n := newNet()
	if err := newClient(t, mine, n).CatchUp(t.Context(), mine.Append); err != nil {
		t.Error(err)
	}
	n.add(2, nil)
	if err := newClient(t, mine, n).CatchUp(t.Context(), mine.Append); err != nil {
		t.Error(err)
	}
}

// changed decodes a blocks answer of an honest peer, changes it and encodes it
// again.
func changed(honest handler, change func(*blocksAnswer)) handler {
	return only(tagBlocks, func(ctx context.Context, req []byte) ([]byte, error) {
		b, err := honest(ctx, req)
		if err != nil {
			return nil, err
		}
		a, err := decodeBlocksAnswer(b)
		if err != nil {
			return nil, err
		}
		change(a)
		return encode(a), nil
	}, honest)
}

func TestCatchUpLeavesLiarsAndFinishesWithTheHonest(t *testing.T) {
	c := history(20)
	forged := *c.Blocks[1]
	forged.Header.StateRoot[0]++
	liars := map[string]func(honest handler) handler{
		"garbage": func(honest handler) handler {
			return only(tagBlocks, func(context.Context, []byte) ([]byte, error) { return []byte("garbage"), nil }, honest)
		},
		"withholds": func(honest handler) handler {
			return changed(honest, func(a *blocksAnswer) { a.Blocks = []blockItem{} })
		},
		"another body": func(honest handler) handler {
			return changed(honest, func(a *blocksAnswer) {
				b := *c.Blocks[1]
				b.Requests = c.Blocks[2].Requests
				a.Blocks[0].Block = b.Encode()
			})
		},
		"a forged block with too few votes": func(honest handler) handler {
			return changed(honest, func(a *blocksAnswer) {
				a.Blocks[0] = blockItem{forged.Encode(), ledgertest.CertifyBy(&forged.Header, 1).Encode()}
			})
		},
		"a certificate of another block": func(honest handler) handler {
			return changed(honest, func(a *blocksAnswer) { a.Blocks[0].Certificate = c.Certs[2].Encode() })
		},
		"blocks in another order": func(honest handler) handler {
			return changed(honest, func(a *blocksAnswer) { a.Blocks[0], a.Blocks[1] = a.Blocks[1], a.Blocks[0] })
		},
		"a certificate of another config's validators": func(honest handler) handler {
			return changed(honest, func(a *blocksAnswer) {
				a.Blocks[0].Certificate = ledgertest.CertifyBy(&c.Blocks[1].Header, 1, 2, 5).Encode()
			})
		},
		"a refusal": func(honest handler) handler {
			return only(tagBlocks, func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no") }, honest)
		},
		"a status of another chain": func(honest handler) handler {
			return only(tagStatus, func(_ context.Context, req []byte) ([]byte, error) {
				var r statusRequest
				if err := decode(req, maxRequest, tagStatus, &r); err != nil {
					return nil, err
				}
				st := &ledger.Status{ChainID: ledger.Sum([]byte("x")), Nonce: r.Nonce, Height: 1000}
				return encode(&statusAnswer{tagStatusAnswer, st.Encode(), nil}), nil
			}, honest)
		},
		"a height without proof": func(honest handler) handler {
			return only(tagStatus, func(_ context.Context, req []byte) ([]byte, error) {
				var r statusRequest
				if err := decode(req, maxRequest, tagStatus, &r); err != nil {
					return nil, err
				}
				st := &ledger.Status{ChainID: c.ChainID(), Nonce: r.Nonce, Height: 1000}
				ch := ledger.CertifiedHeader{Header: c.Blocks[20].Header, Certificate: *c.Certs[20]}
				return encode(&statusAnswer{tagStatusAnswer, st.Encode(), ch.Encode()}), nil
			}, honest)
		},
	}
	for what, liar := range liars {
		t.Run(what, func(t *testing.T) {
			full := newStore(t, c, 20)
			n := newNet()
			n.add(1, liar(serve(t, full, 1, tipOf(full))))
			n.add(2, serve(t, full, 2, tipOf(full)))
			mine := newStore(t, c, 0)
			if err := newClient(t, mine, n).CatchUp(t.Context(), mine.Append); err != nil {
				t.Fatal(err)
			}
			wantTip(t, mine, c, 20)
			if got := n.askedOf(name(1)); got > 2 {
				t.Errorf("the liar was asked %d times", got)
			}

			alone := newNet()
			alone.add(1, liar(serve(t, full, 1, tipOf(full))))
			lost := newStore(t, c, 0)
			if err := newClient(t, lost, alone).CatchUp(t.Context(), lost.Append); err != nil {
				t.Errorf("alone with the liar: %v", err)
			}
			if got := alone.askedOf(name(1)); got > 3 {
				t.Errorf("alone, the liar was asked %d times", got)
			}
			if tip := lost.Tip().Height; tip != 0 {
				t.Errorf("the liar's blocks were taken up to %d", tip)
			}
		})
	}
}

func TestCatchUpLeavesAPeerThatStalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ledgertest.NewChain(ledgertest.Config(4)).Grow(10)
		full := newStore(t, c, 10)
		defer full.Close()
		n := newNet()
		n.add(1, only(tagBlocks, silent, serve(t, full, 1, tipOf(full))))
		n.add(2, silent)
		n.add(3, serve(t, full, 3, tipOf(full)))
		mine := newStore(t, c, 0)
		defer mine.Close()
		start := time.Now()
		if err := newClient(t, mine, n).CatchUp(t.Context(), mine.Append); err != nil {
			t.Fatal(err)
		}
		wantTip(t, mine, c, 10)
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("it took %s", took)
		}
		n.mu.Lock()
		n.nodes[name(3)] = only(tagBlocks, silent, n.nodes[name(3)])
		n.mu.Unlock()
		lost := newStore(t, c, 0)
		defer lost.Close()
		start = time.Now()
		if err := newClient(t, lost, n).CatchUp(t.Context(), lost.Append); err != nil {
			t.Errorf("nobody sends blocks: %v", err)
		}
		if took := time.Since(start); took > 20*time.Second || lost.Tip().Height != 0 {
			t.Errorf("nobody sends blocks: it took %s and reached %d", took, lost.Tip().Height)
		}
	})
}

func TestCatchUpEndsAfterItsTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ledgertest.NewChain(ledgertest.Config(1)).Grow(100)
		full := newStore(t, c, 100)
		defer full.Close()
		honest := serve(t, full, 1, tipOf(full))
		n := newNet()
		n.add(1, only(tagBlocks, func(ctx context.Context, req []byte) ([]byte, error) {
			time.Sleep(2 * time.Second) // a slow line
			return changed(honest, func(a *blocksAnswer) { a.Blocks = a.Blocks[:min(1, len(a.Blocks))] })(ctx, req)
		}, honest))
		mine := newStore(t, c, 0)
		defer mine.Close()
		start := time.Now()
		if err := newClient(t, mine, n).CatchUp(t.Context(), mine.Append); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 62*time.Second {
			t.Errorf("it took %s", took)
		}
		if tip := mine.Tip().Height; tip < 25 || tip > 31 {
			t.Errorf("tip is %d", tip)
		}
	})
}

func TestFetchingAndAppendingOverlap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ledgertest.NewChain(ledgertest.Config(1)).Grow(10)
		full := newStore(t, c, 10)
		defer full.Close()
		honest := serve(t, full, 1, tipOf(full))
		n := newNet()
		n.add(1, only(tagBlocks, func(ctx context.Context, req []byte) ([]byte, error) {
			time.Sleep(time.Second)
			return changed(honest, func(a *blocksAnswer) { a.Blocks = a.Blocks[:min(1, len(a.Blocks))] })(ctx, req)
		}, honest))
		mine := newStore(t, c, 0)
		defer mine.Close()
		start := time.Now()
		if err := newClient(t, mine, n).CatchUp(t.Context(), func(b *ledger.Block, cert *ledger.Certificate) error {
			time.Sleep(time.Second)
			return mine.Append(b, cert)
		}); err != nil {
			t.Fatal(err)
		}
		wantTip(t, mine, c, 10)
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("ten blocks took %s, one second each to fetch and to append", took)
		}
	})
}

func TestAppendErrorsAndForksEndTheCatchUp(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(5)
	full := newStore(t, c, 5)
	n := newNet()
	n.add(1, serve(t, full, 1, tipOf(full)))

	mine, broken := newStore(t, c, 0), errors.New("disk is full")
	err := newClient(t, mine, n).CatchUp(t.Context(), func(b *ledger.Block, cert *ledger.Certificate) error {
		if b.Header.Height == 3 {
			return broken
		}
		return mine.Append(b, cert)
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "append block 3") || mine.Tip().Height != 2 {
		t.Errorf("got %v at %d", err, mine.Tip().Height)
	}

	// The same network, another history: a quorum signed both.
	other := ledgertest.NewChain(c.Genesis)
	other.Extend(other.Transaction([]byte("other")))
	forked := newStore(t, other, 1)
	err = newClient(t, forked, n).CatchUp(t.Context(), forked.Append)
	if !errors.Is(err, ErrForked) || forked.Tip().Height != 1 {
		t.Errorf("got %v at %d", err, forked.Tip().Height)
	}

	closed := newStore(t, c, 2)
	closed.Close()
	if err := newClient(t, closed, n).CatchUp(t.Context(), closed.Append); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed store: %v", err)
	}
}

func TestHeadersAndConfigProofsComeConsecutive(t *testing.T) {
	c := history(30)
	full := newStore(t, c, 30)
	n := newNet()
	n.add(1, serve(t, full, 1, tipOf(full)))
	client := newClient(t, newStore(t, c, 0), n)
	headers, err := client.Headers(t.Context(), name(1), 5, 10)
	if err != nil || len(headers) != 10 || headers[9].Header != c.Blocks[14].Header {
		t.Fatalf("%d headers, %v", len(headers), err)
	}
	if headers, err := client.Headers(t.Context(), name(1), 29, 10); err != nil || len(headers) != 2 {
		t.Errorf("%d headers at the end, %v", len(headers), err)
	}
	proofs, err := client.ConfigProofs(t.Context(), name(1), 1)
	if err != nil || len(proofs) != 2 {
		t.Fatalf("%d proofs, %v", len(proofs), err)
	}
	light, err := ledger.NewLightClient(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range proofs {
		if err := light.Advance(p); err != nil {
			t.Fatal(err)
		}
	}
	if light.Config().Seq != 2 {
		t.Errorf("light client is at config %d", light.Config().Seq)
	}
}
