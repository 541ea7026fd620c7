package testnet

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/sdk"
)

// StartTimeout is how long a node may take to be ready.
const StartTimeout = 60 * time.Second

// Start starts the nodes that choose says, and waits until each is ready.
func (n *Net) Start(ctx context.Context, choose func(*Node) bool) error {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	for _, x := range n.Nodes {
		if choose(x) {
			if err := n.StartNode(x); err != nil {
				return err
			}
		}
	}
	var g errgroup.Group
	for _, x := range n.Nodes {
		if choose(x) {
			g.Go(func() error { return x.WaitReady(ctx) })
		}
	}
	return errors.Join(g.Wait(), n.save())
}

// Up starts the validators, registers everybody, and starts the observers.
func (n *Net) Up(ctx context.Context) error {
	if err := n.Start(ctx, func(x *Node) bool { return x.Validator() }); err != nil {
		return err
	}
	if err := n.Enrol(ctx); err != nil {
		return err
	}
	return n.Start(ctx, func(x *Node) bool { return !x.Validator() })
}

// StartNode starts one node and does not wait.
func (n *Net) StartNode(x *Node) error {
	return n.StartNodeAs(x, n.Program, x.Home)
}

// StartNodeAs starts one node from another program, or on another copy of its
// home, with additions to its environment, and does not wait.
func (n *Net) StartNodeAs(x *Node, program, home string, env ...string) error {
	p, err := startProcess(x.LogPath(), program, []string{"start", "--home", home}, env)
	if err != nil {
		return fmt.Errorf("node %s: %w", x.Name, err)
	}
	x.proc, x.PID = p, p.pid()
	return nil
}

// Ended is closed when the node's process has ended; nil if it was never started.
func (x *Node) Ended() <-chan struct{} {
	if x.proc == nil {
		return nil
	}
	return x.proc.done
}

// LastLine is the last line that the node logged.
func (x *Node) LastLine() string {
	if x.proc == nil {
		return ""
	}
	return x.proc.lastLine()
}

// Freeze stops the node's process without ending it (SIGSTOP); Thaw lets it go on.
func (x *Node) Freeze() error { return x.Signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (x *Node) Thaw() error { return x.Signal(syscall.SIGCONT) }

// Signal sends a signal to the node's process; one that has ended is left alone.
func (x *Node) Signal(s syscall.Signal) error {
	if x.proc == nil {
		return fmt.Errorf("node %s was not started", x.Name)
	}
	if err := x.proc.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("node %s: %w", x.Name, err)
	}
	return nil
}

// Running reports whether the process that this Net started runs.
func (x *Node) Running() bool { return x.proc != nil && x.proc.running() }

// Kill ends a node as a crash would.
func (x *Node) Kill() {
	if x.proc != nil {
		x.proc.kill()
	}
}

// StopNode asks a node to end and waits for it.
func (x *Node) StopNode() error {
	if x.proc == nil {
		return nil
	}
	if err := x.proc.stop(20 * time.Second); err != nil {
		return fmt.Errorf("node %s: %w", x.Name, err)
	}
	return nil
}

// Stop ends every node.
func (n *Net) Stop() error {
	var g errgroup.Group
	for _, x := range n.Nodes {
		g.Go(x.StopNode)
	}
	return g.Wait()
}

// WaitReady returns when the node says it is ready.
func (x *Node) WaitReady(ctx context.Context) error {
	client := x.HTTPClient()
	defer client.CloseIdleConnections()
	last := errors.New("it has not answered yet")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx, client, x.API)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		if x.proc != nil && !x.proc.running() {
			return fmt.Errorf("node %s ended: %s (log: %s)", x.Name, x.proc.lastLine(), x.LogPath())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("node %s is not ready: %w (log: %s)", x.Name, last, x.LogPath())
		}
	}
}

// HTTPClient trusts the node's TLS key and no other.
func (x *Node) HTTPClient() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, // the key is compared below
		VerifyConnection: func(s tls.ConnectionState) error {
			spki, err := x509.MarshalPKIXPublicKey(s.PeerCertificates[0].PublicKey)
			if err != nil {
				return err
			}
			if sha256.Sum256(spki) != [32]byte(x.Card.SPKI) {
				return errors.New("another TLS key than the node's card names")
			}
			return nil
		},
	}}}
}

func ready(ctx context.Context, client *http.Client, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // for the message only
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", strings.TrimSpace(string(body)))
	}
	return nil
}

// Client dials a member's first node as one of its people.
func (n *Net) Client(ctx context.Context, member string, role sdk.ClientRole, opts ...sdk.Option) (*sdk.Client, error) {
	return n.DialAs(ctx, n.First(member), role, opts...)
}

// Dial dials one node.
func (n *Net) Dial(ctx context.Context, x *Node, opts ...sdk.Option) (*sdk.Client, error) {
	return sdk.Dial(ctx, []string{x.Endpoint()}, append([]sdk.Option{sdk.WithGenesis(n.genesis.Encode())}, opts...)...)
}

// Enrol puts every member's nodes, people and data keys on the ledger, signed by
// its admin.
func (n *Net) Enrol(ctx context.Context) error {
	var g errgroup.Group
	for _, m := range n.Manifest.Members {
		g.Go(func() error {
			if err := n.enrolMember(ctx, &m); err != nil {
				return fmt.Errorf("enrol member %s: %w", m.ID, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (n *Net) enrolMember(ctx context.Context, m *ManifestMember) error {
	if n.First(m.ID) == nil {
		return nil
	}
	admin, err := n.Client(ctx, m.ID, "admin")
	if err != nil {
		return err
	}
	defer admin.Close()
	for _, x := range n.Nodes {
		if x.Member != m.ID {
			continue
		}
		spec := x.Card.Spec()
		if !x.Validator() { // the members admitted the founders' host keys
			if spec, err = n.record(ctx, x); err != nil {
				return err
			}
		}
		if _, err := admin.Nodes().Set(ctx, spec); err != nil {
			return fmt.Errorf("node %s: %w", x.Name, err)
		}
	}
	for _, role := range Roles {
		s, err := n.signer(m.ID, role)
		if err != nil {
			return err
		}
		if _, err := admin.Clients().Register(ctx, sdk.ClientSpec{Address: s.Address(), Roles: []sdk.ClientRole{roleOf(role)}, Label: string(role)}); err != nil {
			return fmt.Errorf("client %s: %w", role, err)
		}
	}
	key, err := n.First(m.ID).Card.DataKeySpec(time.Now())
	if err != nil {
		return err
	}
	if _, err := admin.DataKeys().Set(ctx, key); err != nil {
		return fmt.Errorf("data key: %w", err)
	}
	return nil
}

// DialAs dials a node as one of its own member's people.
func (n *Net) DialAs(ctx context.Context, x *Node, role sdk.ClientRole, opts ...sdk.Option) (*sdk.Client, error) {
	s, err := n.signer(x.Member, role)
	if err != nil {
		return nil, err
	}
	return n.Dial(ctx, x, append([]sdk.Option{sdk.WithIdentity(sdk.OrgID(x.Member), s)}, opts...)...)
}
