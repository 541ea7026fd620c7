package testnet

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/assent-network/assent/sdk"
)

// Join makes a further node of a member, as its operator does on a machine of
// its own: keys, configuration and an empty ledger, from the genesis file alone.
// It starts nothing, and nobody knows the node yet: see Register and Change.
func (n *Net) Join(ctx context.Context, member, kind string) (*Node, error) {
	m := ManifestMember{ID: member}
	number := 1
	for _, x := range n.Nodes {
		if x.Member == member && x.Card.Kind == kind {
			number++
		}
	}
	x, err := n.makeNode(ctx, &m, kind, number)
	if err != nil {
		return nil, fmt.Errorf("join network: %w", err)
	}
	x.Card.Answers = false // the member's first node does
	if err := n.assentd(ctx, "init", "--home", x.Home, "--genesis", n.GenesisPath(), "--join"); err != nil {
		return nil, fmt.Errorf("join network: node %s: %w", x.Name, err)
	}
	n.Nodes = append(n.Nodes, x)
	return x, n.save()
}

// Register puts a node's record on the ledger as an observer's, in the name of
// its member's admin. A validator needs it to follow the network before it is
// admitted, and after it was removed.
func (n *Net) Register(ctx context.Context, x *Node) error {
	admin, err := n.Client(ctx, x.Member, "admin")
	if err != nil {
		return err
	}
	defer admin.Close()
	spec, err := n.record(ctx, x)
	if err != nil {
		return err
	}
	spec.Kind = "observer"
	if _, err := admin.Nodes().Set(ctx, spec); err != nil {
		return fmt.Errorf("register node %s: %w", x.Name, err)
	}
	return nil
}

// record is a node's record as assentd prints it, with the proof that the node has
// its host key.
func (n *Net) record(ctx context.Context, x *Node) (sdk.NodeSpec, error) {
	var spec sdk.NodeSpec
	cmd := exec.CommandContext(ctx, n.Program, "card", "--home", x.Home, "--record")
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return spec, fmt.Errorf("card of node %s: %w\n%s", x.Name, err, failed.Bytes())
	}
	if err := sdk.ReadRecord(out, &spec); err != nil {
		return spec, fmt.Errorf("card of node %s: %w", x.Name, err)
	}
	spec.Addrs, spec.APIURLs, spec.Answers = x.Card.Addrs, x.Card.APIURLs, x.Card.Answers
	return spec, nil
}

// SDKCard is the node's card as the SDK takes it.
func (x *Node) SDKCard() *sdk.NodeCard {
	c := &x.Card
	return &sdk.NodeCard{
		Member: sdk.OrgID(c.Member), Kind: c.Kind, NodeID: sdk.NodeID(c.NodeID), HostKey: c.HostKey, VoteKey: c.VoteKey, TxKey: c.TxKey,
		SPKI: c.SPKI, Addrs: c.Addrs, APIURLs: c.APIURLs, Answers: c.Answers, DataKeyID: sdk.DataKeyID(c.DataKeyID), DataKey: c.DataKey,
	}
}

// Changed is a config that Change has put in force.
type Changed struct {
	Config  *sdk.Config
	Enough  time.Time // when the last approval it needed was given
	InForce time.Time // when the proposer's node had it
}

// Change proposes a change of the config through via, has as many members as it
// takes approve it, each through its own node, and waits until it is in force.
// Members without a running node are left out.
func (n *Net) Change(ctx context.Context, via *Node, edit func(*sdk.ConfigEditor)) (*Changed, error) {
	first, err := n.DialAs(ctx, via, "admin")
	if err != nil {
		return nil, err
	}
	defer first.Close()
	e, err := first.Members().Edit(ctx)
	if err != nil {
		return nil, err
	}
	edit(e)
	next, err := e.Config()
	if err != nil {
		return nil, err
	}
	p, err := first.Members().Propose(ctx, next, []string{"a change of the test network"})
	if err != nil {
		return nil, err
	}
	for _, m := range e.Base().Members {
		if p.Enough() {
			break
		}
		x := n.running(m.ID)
		if x == nil || m.ID == via.Member {
			continue
		}
		if p, err = n.approve(ctx, x, next.Hash()); err != nil {
			return nil, fmt.Errorf("approve by %s: %w", m.ID, err)
		}
	}
	c := &Changed{Enough: time.Now()}
	if !p.Enough() {
		return nil, fmt.Errorf("change of the config: %d of %d approvals, no further member has a running node", len(p.Approvals), p.Needed)
	}
	c.Config, err = first.Members().AwaitInForce(ctx, next.Hash())
	c.InForce = time.Now()
	return c, err
}

func (n *Net) approve(ctx context.Context, x *Node, hash sdk.Hash) (*sdk.Proposal, error) {
	admin, err := n.DialAs(ctx, x, "admin")
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := admin.Members().Approve(ctx, hash)
		if sdk.CodeOf(err) != "NOT_FOUND" {
			return p, err
		}
		select { // this node has not executed the proposal yet
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// running returns a member's first node whose process runs and that the network
// admits.
func (n *Net) running(member string) *Node {
	for _, x := range n.Nodes {
		if x.Member == member && x.Running() && !x.Removed {
			return x
		}
	}
	return nil
}
