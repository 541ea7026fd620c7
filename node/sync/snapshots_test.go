package sync

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// oneSnapshot offers a single snapshot with one chunk.
type oneSnapshot struct {
	offer    Offer
	manifest []byte
	chunk    []byte
}

func (o *oneSnapshot) Offers() ([]Offer, error) { return []Offer{o.offer}, nil }

func (o *oneSnapshot) Piece(id ledger.Hash, part, offset, limit uint64) ([]byte, error) {
	b := map[uint64][]byte{0: o.manifest, 1: o.chunk}[part]
	if id != o.offer.ID || offset >= uint64(len(b)) {
		return nil, errors.New("there is no such piece")
	}
	return b[offset:min(uint64(len(b)), offset+limit)], nil
}

func someSnapshot() *oneSnapshot {
	o := &oneSnapshot{manifest: []byte("manifest"), chunk: bytes.Repeat([]byte("chunk"), 500_000)}
	o.offer = Offer{Height: 5, ID: ledger.Sum(o.chunk), Manifest: uint64(len(o.manifest)), Bytes: uint64(len(o.chunk))}
	return o
}

// serveSnapshot makes a client whose only peer offers o, bent by change.
func serveSnapshot(t *testing.T, o Snapshots, change func(req, answer []byte) []byte) *Client {
	t.Helper()
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(8)
	s := newStore(t, c, 8)
	server := newServer(t, s, func(c *ServerConfig) { c.Snapshots = o })
	n := newNet()
	n.add(1, func(ctx context.Context, req []byte) ([]byte, error) {
		b, err := server.Handle(ctx, "asker", req)
		if change != nil && err == nil {
			b = change(req, b)
		}
		return b, err
	})
	return newClient(t, newStore(t, c, 0), n)
}

func TestASnapshotComesInPieces(t *testing.T) {
	o := someSnapshot()
	c := serveSnapshot(t, o, nil)
	base, offers, err := c.Offers(t.Context(), name(1))
	if err != nil || base != (Kept{}) || len(offers) != 1 || offers[0] != o.offer {
		t.Fatalf("offers are %v, kept %+v, %v", offers, base, err)
	}
	for part, want := range [][]byte{o.manifest, o.chunk} {
		var got []byte
		pieces := 0
		err := c.Piece(t.Context(), name(1), o.offer.ID, uint64(part), uint64(len(want)), func(b []byte) error {
			if len(b) > maxPiece {
				t.Errorf("a piece of %d bytes", len(b))
			}
			pieces++
			got = append(got, b...)
			return nil
		})
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("part %d: %d bytes in %d pieces, %v", part, len(got), pieces, err)
		}
	}
	if err := c.Piece(t.Context(), name(1), ledger.Hash{1}, 0, 8, func([]byte) error { return nil }); err == nil {
		t.Error("a piece of an unknown snapshot came")
	}
}

func TestPeersThatSendWrongPiecesLied(t *testing.T) {
	o := someSnapshot()
	for what, change := range map[string]func(req, answer []byte) []byte{
		"too long":       func(_, _ []byte) []byte { return encode(&pieceAnswer{tagPieceAnswer, make([]byte, 100)}) },
		"empty":          func(_, _ []byte) []byte { return encode(&pieceAnswer{tagPieceAnswer, nil}) },
		"garbage":        func(_, _ []byte) []byte { return []byte("garbage") },
		"another answer": func(_, _ []byte) []byte { return encode(&offersAnswer{Tag: tagOffersAnswer}) },
	} {
		err := serveSnapshot(t, o, change).Piece(t.Context(), name(1), o.offer.ID, 0, 8, func([]byte) error { return nil })
		if !Lied(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	many := offersAnswer{Tag: tagOffersAnswer, Snapshots: make([]Offer, maxOffers+1)}
	if _, _, err := serveSnapshot(t, o, func(_, _ []byte) []byte { return encode(&many) }).Offers(t.Context(), name(1)); !Lied(err) {
		t.Errorf("%d offers: %v", len(many.Snapshots), err)
	}
	// Silence is no lie.
	c := serveSnapshot(t, o, nil)
	if _, _, err := c.Offers(t.Context(), name(2)); err == nil || Lied(err) {
		t.Errorf("a peer that does not answer: %v", err)
	}
}

// Serving snapshots is bounded in bytes per second, for all peers together.
func TestSnapshotsAreServedAtARate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStore(t, ledgertest.NewChain(ledgertest.Config(1)), 0)
		defer s.Close()
		o := someSnapshot()
		server := newServer(t, s, func(c *ServerConfig) { c.Snapshots, c.SnapshotRate = o, maxPiece })
		begin := time.Now()
		for i := range 10 {
			if _, err := server.Handle(t.Context(), string(rune('a'+i)), encode(&pieceRequest{tagPiece, o.offer.ID, 1, 0, 1 << 40})); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("10 pieces took %s", took)
		}
		synctest.Wait()
	})
}

// A server that has pruned a block says so, and serves what it keeps.
func TestPrunedBlocksAreNamed(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(12)
	s := newStore(t, c, 12)
	if _, err := s.Prune(6, nil); err != nil {
		t.Fatal(err)
	}
	server := newServer(t, s, nil)
	if a := askBlocks(t, server, "p", blocksRequest{From: 3, MaxBytes: 1 << 20}); len(a.Blocks) != 0 || a.Base != 6 || a.Tip != 12 {
		t.Errorf("%d blocks, base %d, tip %d", len(a.Blocks), a.Base, a.Tip)
	}
	if a := askBlocks(t, server, "p", blocksRequest{From: 6, MaxBytes: 1 << 20}); len(a.Blocks) != 7 || a.Base != 0 {
		t.Errorf("%d blocks, base %d", len(a.Blocks), a.Base)
	}
}

// prunedNet has n validators of which some have pruned what a newcomer needs.
func prunedNet(t *testing.T, c *ledgertest.Chain, pruned map[uint64]bool) *net {
	n := newNet()
	for v := uint64(1); v <= 3; v++ {
		s := newStore(t, c, len(c.Blocks)-1)
		if pruned[v] {
			if _, err := s.Prune(10, nil); err != nil {
				t.Fatal(err)
			}
		}
		n.add(v, serve(t, s, v, tipOf(s)))
	}
	return n
}

// One validator may lie about what it keeps; two of four may not.
func TestWhoIsTooFarBehindIsTold(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(20)
	for _, tt := range []struct {
		pruned map[uint64]bool
		far    ledger.Height
		behind bool
	}{
		{nil, 0, false}, {nil, 20, false}, {nil, 19, true},
		{map[uint64]bool{1: true}, 0, false},
		{map[uint64]bool{1: true, 2: true, 3: true}, 0, true},
	} {
		mine := newStore(t, c, 0)
		client := newClient(t, mine, prunedNet(t, c, tt.pruned))
		client.cfg.FarBehind = tt.far
		for what, try := range map[string]func(context.Context, Append) error{"CatchUp": client.CatchUp, "Follow": func(ctx context.Context, add Append) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return client.Follow(ctx, func(b *ledger.Block, cert *ledger.Certificate) error {
				if b.Header.Height == 20 {
					cancel()
				}
				return add(b, cert)
			})
		}} {
			if what == "Follow" && !tt.behind {
				continue // CatchUp has fetched everything
			}
			if err := try(t.Context(), mine.Append); errors.Is(err, ErrBehind) != tt.behind || !tt.behind && err != nil {
				t.Errorf("pruned by %v, far is %d: %s ended with %v", tt.pruned, tt.far, what, err)
			}
		}
		if !tt.behind {
			wantTip(t, mine, c, 20)
		}
	}
}
