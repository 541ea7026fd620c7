package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/scripts/testnet"
)

// snapshots are peers that serve a node which begins anew from a snapshot, and do
// not serve it well. It asks them first, for theirs is the newest; it must not
// believe them, name them, and begin from somebody else's.
var snapshots = []scenario{
	{name: "snapshot-forged", about: "a validator serves a snapshot with one wrong byte, all hashes of its manifest made anew: it is refused and named, an honest one is taken", disturb: joinDespite(forgeSnapshot, "peer sent something wrong while this node joins")},
	{name: "snapshot-torn", about: "a validator serves a snapshot with a wrong byte on its disk: it is refused and named, an honest one is taken", disturb: joinDespite(tearSnapshot, "peer sent something wrong while this node joins")},
	{name: "snapshot-withheld", about: "a validator sends half of a snapshot and no more: it is left and named, an honest one is taken", tagged: true,
		prepare: prepared("", "byzantine=withhold-snapshot"), disturb: joinDespite(withholdSnapshot, "peer does not help this node to join")},
}

// joinDespite lets a node begin anew while one of those that offer it a snapshot
// is made a liar, and demands that its log has the words, and names the liar.
func joinDespite(spoil func(ctx context.Context, p *play, liar *testnet.Node, at string) error, words string) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		roles := p.some(3)
		honest, liar, behind := roles[0], roles[1], roles[2]
		p.spare(liar, behind)
		good, err := p.snapshotOf(ctx, honest)
		if err != nil {
			return err
		}
		if err := p.flows(ctx, warm, honest); err != nil {
			return err
		}
		bad, err := p.snapshotOf(ctx, liar)
		if err != nil {
			return err
		}
		if bad <= good {
			return fmt.Errorf("the liar's snapshot of height %d is not newer than the honest one of %d: nobody would ask for it", bad, good)
		}
		p.kill(behind)
		if err := spoil(ctx, p, liar, filepath.Join(liar.DataDir(), "snapshots", fmt.Sprint(bad))); err != nil {
			return err
		}
		if err := p.remedy(ctx, behind, "blocks"); err != nil {
			return err
		}
		s := p.starts[behind.Name]
		if s.program == "" {
			s.program = p.net.Program
		}
		s.env = append(s.env, "ASSENT_SNAPSHOTS_JOIN_ABOVE=1")
		p.starts[behind.Name] = s
		if err := p.again(ctx, behind); err != nil {
			return err
		}
		if err := p.flows(ctx, warm, behind); err != nil {
			return err
		}
		return begunDespite(behind, liar, good, words)
	}
}

// snapshotOf has a node write a snapshot, and returns its height.
func (p *play) snapshotOf(ctx context.Context, x *testnet.Node) (uint64, error) {
	out, code := p.assentd(ctx, "snapshot", "write", "--home", x.Home)
	if code != 0 {
		return 0, fmt.Errorf("snapshot of %s: %s", x.Name, out)
	}
	heights, err := snapshot.Open(filepath.Join(x.DataDir(), "snapshots")).Heights()
	if err != nil || len(heights) == 0 {
		return 0, errors.Join(fmt.Errorf("%s has written a snapshot, and none is there", x.Name), err)
	}
	return uint64(heights[0]), nil
}

// begunDespite looks in a node's log for the liar's name and the honest snapshot.
func begunDespite(x, liar *testnet.Node, good uint64, words string) error {
	b, err := os.ReadFile(x.LogPath())
	if err != nil {
		return err
	}
	named, begun := "", ""
	for line := range strings.SplitSeq(string(b), "\n") {
		if strings.Contains(line, words) && strings.Contains(line, `"peer":"`+liar.Card.NodeID+`"`) {
			named = line
		}
		if strings.Contains(line, `"msg":"the node has begun with a snapshot"`) {
			begun = line
		}
	}
	switch {
	case named == "":
		return fmt.Errorf("%s does not name %s (%s)", x.Name, liar.Name, liar.Card.NodeID)
	case !strings.Contains(begun, fmt.Sprintf(`"height":%d,`, good)):
		return fmt.Errorf("%s did not begin with the honest snapshot of height %d: %s", x.Name, good, begun)
	}
	fmt.Fprintln(os.Stderr, " ", named)
	return nil
}

// restarted changes files of a node while it is stopped.
func (p *play) restarted(ctx context.Context, x *testnet.Node, change func() error) error {
	if err := x.StopNode(); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return p.again(ctx, x)
}

func tearSnapshot(ctx context.Context, p *play, liar *testnet.Node, at string) error {
	return p.restarted(ctx, liar, func() error {
		path := filepath.Join(at, "chunks")
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[p.rng.IntN(len(b))] ^= byte(1 << p.rng.IntN(8))
		return os.WriteFile(path, b, 0o600)
	})
}

// forgeSnapshot changes the last byte of the first chunk's last row and makes
// everything anew that follows from it, but the state's root, which it cannot.
func forgeSnapshot(ctx context.Context, p *play, liar *testnet.Node, at string) error {
	return p.restarted(ctx, liar, func() error { return forge(at) })
}

func forge(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "manifest"))
	if err != nil {
		return err
	}
	m, err := snapshot.Decode(b)
	if err != nil {
		return err
	}
	chunks, err := os.ReadFile(filepath.Join(dir, "chunks"))
	if err != nil {
		return err
	}
	first := &m.Chunks[0]
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	defer dec.Close()
	raw, err := dec.DecodeAll(chunks[:first.Size], nil)
	if err != nil {
		return err
	}
	raw[len(raw)-1] ^= 1
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return err
	}
	defer enc.Close()
	packed := enc.EncodeAll(raw, nil)
	chunks = append(packed, chunks[first.Size:]...)
	first.Size, first.Hash = uint64(len(packed)), ledger.Sum(packed)
	return errors.Join(os.WriteFile(filepath.Join(dir, "manifest"), m.Encode(), 0o600), os.WriteFile(filepath.Join(dir, "chunks"), chunks, 0o600))
}

// withholdSnapshot arms the liar, which runs the program that can do it.
func withholdSnapshot(ctx context.Context, p *play, liar *testnet.Node, _ string) error {
	p.doomed = liar
	_, err := p.arm(ctx)
	return err
}
