package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus/bft"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/evidence"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// doubleVote is the proof that a key voted for two blocks, found as a node finds it.
func doubleVote(t *testing.T, conf *ledger.Config, key ledger.Signer) *evidence.Proof {
	t.Helper()
	var found *evidence.Proof
	w := evidence.NewWatch(evidence.Config{
		ChainID: conf.Hash(), Position: bft.Position,
		Key:   func(uint64) (ledger.Address, bool) { return key.Address(), true },
		Found: func(_ uint64, p *evidence.Proof) { found = p },
		Seen:  func(evidence.Sighting) {},
	}, 4)
	meta := []byte{0x08, 2, 0x10, 5} // view 2, height 5
	for _, variant := range []string{"a", "b"} {
		h := ledger.Genesis(conf).Header
		h.ChainID, h.Height, h.EngineMetaHash, h.StateRoot = conf.Hash(), 5, ledger.HashMeta(meta), ledger.Sum([]byte(variant))
		sig, err := key.Sign(ledger.VoteDigest(h.Hash(), 2))
		if err != nil {
			t.Fatal(err)
		}
		w.Proposed(3, h.Encode(), meta)
		w.Voted(2, 2, 5, variant, sig[:])
	}
	if found == nil {
		t.Fatal("two votes are no proof")
	}
	return found
}

func TestEvidenceIsShownAndCheckedWithTheGenesisFileAlone(t *testing.T) {
	dir, conf := t.TempDir(), ledgertest.Config(4)
	genesis := func(name string, c *ledger.Config) string {
		raw, err := config.FormatGenesis(c)
		path := filepath.Join(dir, name)
		if err = errors.Join(err, os.WriteFile(path, raw, 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ours, another := genesis("genesis.json", conf), genesis("another.json", ledgertest.Config(7))
	cfg := config.Config{Genesis: ours, DataDir: filepath.Join(dir, "data")}
	book, err := evidence.Open(filepath.Join(cfg.DataDir, evidenceDir), conf.Hash())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []ledger.Signer{ledgertest.VoteKey(2), ledgertest.Signer("a stranger")} {
		if added, err := book.Add(doubleVote(t, conf, key)); !added || err != nil {
			t.Fatal(added, err)
		}
	}
	proofs, damaged, err := Evidence(cfg)
	if err != nil || len(proofs) != 2 || len(damaged) != 0 {
		t.Fatalf("%d proofs, %v damaged, %v", len(proofs), damaged, err)
	}
	for _, p := range proofs {
		_, v, err := CheckEvidence(p.File, ours, filepath.Join(dir, "no blocks"))
		switch p.VoteKey {
		case ledgertest.VoteKey(2).Address():
			if err != nil || v == nil || v.ID != 2 {
				t.Errorf("the proof against validator 2: %+v, %v", v, err)
			}
		default:
			if !errors.Is(err, ErrUnknownKey) {
				t.Errorf("the proof against a stranger: %+v, %v", v, err)
			}
		}
		if _, _, err := CheckEvidence(p.File, another, ""); err == nil || !strings.Contains(err.Error(), "proves nothing") {
			t.Errorf("it proves something on another network: %v", err)
		}
	}
	facts := provenFacts(book, conf)
	if i := slices.IndexFunc(facts, func(f doctor.Accusation) bool { return f.Validator == 2 && f.InForce && f.Proven }); len(facts) != 2 || i < 0 {
		t.Errorf("%+v", facts)
	}
}

// What a node is told of is counted and logged, ever more rarely.
func TestSightingsAreAlarms(t *testing.T) {
	var out strings.Builder
	n := newNode(Options{Logger: slog.New(slog.NewJSONHandler(&out, nil)), Clock: func() time.Time { return time.UnixMilli(1) }})
	n.accused.seen = make(map[uint64]*sightings)
	for h := range ledger.Height(100) {
		n.sighted(evidence.Sighting{Validator: 3, Kind: evidence.TwoVotes, Height: h})
	}
	if got := strings.Count(out.String(), "ALARM"); got != 7 { // 1, 2, 4 … 64
		t.Errorf("%d alarms", got)
	}
	if s := n.accusationFigures(); len(s) != 1 || s[0].Count != 100 || s[0].Validator != 3 {
		t.Errorf("%+v", s)
	}
}
