package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/ledger"
)

// Bounds of readiness.
const (
	// maxLag is how many blocks may wait for execution.
	maxLag = 32
	// maxReadyAge is how old the state may be that clients are served. It is asked
	// for when somebody wants to know, at most twice in this time.
	maxReadyAge = 10 * time.Second
	// minDiskFree is what must be left for a node to go on for a while.
	minDiskFree = 256 << 20
)

// Health implements gateway.Node.
func (b *backend) Health(ctx context.Context) []gateway.Check { return b.health(ctx) }

// Ready implements gateway.Node.
func (b *backend) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, c := range b.health(ctx) {
		if !c.OK && !c.Advisory {
			return errors.New(c.Why)
		}
	}
	return nil
}

// health says of each condition of readiness whether it holds.
func (n *Node) health(ctx context.Context) []gateway.Check {
	var out []gateway.Check
	check := func(name string, err error) {
		c := gateway.Check{Name: name, OK: err == nil}
		if err != nil {
			c.Why = err.Error()
		}
		out = append(out, c)
	}
	check("halt", n.checkHalt())
	check("admitted", n.checkAdmitted())
	check("caught-up", n.checkCaughtUp())
	check("lag", n.checkLag())
	check("view-age", n.checkViewAge(ctx))
	check("quorum", n.checkQuorum())
	check("ordering", n.checkOrdering())
	check("disk", n.checkDisk())
	return append(out, n.checkVaults(ctx)...)
}

// What a look at the vaults may take, and how long it counts: whoever asks for
// readiness does so often, and a database that hangs must not make it late.
const (
	vaultLook  = 500 * time.Millisecond
	vaultFresh = 15 * time.Second
)

// checkVaults says of each product's database whether it is in order. Anybody may
// ask for readiness, so the reason is the state in one word: the doctor tells more.
// A vault that is not in order is no reason to send clients elsewhere: the node
// orders, executes and serves as ever.
func (n *Node) checkVaults(ctx context.Context) []gateway.Check {
	if len(n.vaults) == 0 {
		return nil
	}
	now, last := time.Now().UnixNano(), n.vaultsSeen.Load()
	if now-last >= int64(vaultFresh) && n.vaultsSeen.CompareAndSwap(last, now) {
		look, cancel := context.WithTimeout(ctx, vaultLook)
		n.CheckVaults(look)
		cancel()
	}
	states := n.VaultStates()
	var out []gateway.Check
	for _, product := range slices.Sorted(maps.Keys(states)) {
		c := gateway.Check{Name: "vault " + product, OK: states[product] == VaultOK, Advisory: true}
		if !c.OK {
			c.Why = "the database of this product is not in order (" + string(states[product]) + "), so its requests are not answered: assentd doctor on this machine says why and what to do"
		}
		out = append(out, c)
	}
	return out
}

func (n *Node) checkCaughtUp() error {
	if !n.caughtUp.Load() {
		return errors.New("it has not caught up with the network yet: wait")
	}
	return nil
}

func (n *Node) checkLag() error {
	tip := n.store.Tip().Height
	if executed, _, ok := n.state.Executed(); !ok || executed+maxLag < tip {
		return fmt.Errorf("block %d is here, %d is executed: wait, and look for a machine that is too slow", tip, executed)
	}
	return nil
}

func (n *Node) checkViewAge(ctx context.Context) error {
	if !n.caughtUp.Load() {
		return errors.New("how old its state is was never established: wait")
	}
	if age, err := n.view.Fresh(ctx, maxReadyAge); err != nil {
		return fmt.Errorf("its state may be %s old: too few validators answer, or it lags behind them", age.Round(time.Second))
	}
	return nil
}

// reach counts the validators that this node talks to, itself included if it
// votes.
func (n *Node) reach() (reached, all int) {
	if n.orders() {
		reached++
	}
	return reached + n.connectedValidators(), len(n.store.Tip().Config.Validators)
}

func (n *Node) connectedValidators() (connected int) {
	for _, p := range n.host.Status() {
		if _, validates := n.dir.replica(p.ID); validates && p.Connected {
			connected++
		}
	}
	return connected
}

// orders reports whether this node is to vote under the config in force.
func (n *Node) orders() bool {
	part := n.chain.Standing()
	return part.Validator != 0 && !part.Refused
}

func (n *Node) checkAdmitted() error {
	_, why := n.standing()
	if why != nil && (n.roster.removed.Load() || n.connectedValidators() == 0) {
		return why
	}
	return nil
}

func (n *Node) checkQuorum() error {
	reached, all := n.reach()
	switch {
	case !n.orders() && reached == 0:
		return errors.New("no validator is connected: check network.listen, the firewall and whether the ledger names this node")
	case n.orders() && reached < ledger.Quorum(all):
		return fmt.Errorf("too few validators are connected for a quorum: %d of %d, %d are needed", reached, all, ledger.Quorum(all))
	}
	return nil
}

func (n *Node) checkOrdering() error {
	if !n.orders() {
		return nil
	}
	if e := n.chain.EngineStatus(); !e.Running || e.Leader == 0 {
		return errors.New("ordering has not started: wait")
	}
	return nil
}

func (n *Node) checkDisk() error {
	free, err := diskFree(n.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("the data directory cannot be looked at: %w", err)
	}
	if free < minDiskFree {
		return fmt.Errorf("%d MiB are left for %s: free or add space", free>>20, n.cfg.DataDir)
	}
	return nil
}

// diskFree returns how many bytes this process may still write on a directory's
// file system.
func diskFree(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
