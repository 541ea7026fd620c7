package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/network/memnet"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/sdk"
)

// peer is one node of a cluster, running or not.
type peer struct {
	c       *cluster
	name    string
	home    string
	cfg     config.Config
	card    Card
	log     logLines
	left    bool     // the network has removed it: it need not keep up
	machine *machine // what a simulated node runs on, else nil

	node   *Node // nil while stopped
	cancel context.CancelFunc
	done   chan error // what Run returned

	prepares atomic.Int64 // messages sent that say: this proposal is in my log

	mu       sync.Mutex // guards what follows
	rule     *rules
	answers  []departed
	clients  []*sdk.Client
	byPerson map[string]*sdk.Client
}

// rules bend what passes a node's host. A nil function lets everything pass.
type rules struct {
	// request stands between the node and the network for what the node asks of
	// others; next does the asking.
	request func(ctx context.Context, to network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error)
	// deaf drops messages that come in.
	deaf func(from network.PeerID, c network.Class) bool
	// lose drops single messages that come in.
	lose func(c network.Class, msg []byte) bool
}

// departed is one attempt to hand an answer to another node.
type departed struct {
	at      time.Time
	to      network.PeerID
	payload []byte
}

func (p *peer) id() network.PeerID { return network.PeerID(p.card.NodeID) }

func (p *peer) running() bool { return p.node != nil }

// options are what the node is opened with.
func (p *peer) options() Options {
	logger := slog.New(slog.NewJSONHandler(&p.log, &slog.HandlerOptions{Level: p.c.level}))
	opts := Options{
		Config: p.cfg, Password: keys.Fixed(password), Version: "test", Logger: logger, Clock: p.c.now,
		Network: func(_ context.Context, cfg network.Config) (Host, error) {
			h, err := p.c.wires.Open(memnet.Config{ID: p.id(), Limits: cfg.Limits, Logger: cfg.Logger})
			if err != nil {
				return nil, err
			}
			return &tap{Host: h, peer: p}, nil
		},
	}
	if p.machine != nil {
		p.machine.boot(p, &opts)
	}
	return opts
}

// open opens the node and runs it.
func (p *peer) open() {
	t := p.c.t
	t.Helper()
	n, err := Open(context.Background(), p.options())
	if err != nil {
		t.Fatalf("open %s: %v", p.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.node, p.cancel, p.done = n, cancel, make(chan error, 1)
	go func() { p.done <- n.Run(ctx) }()
}

// ready waits until the node takes part.
func (p *peer) ready() {
	p.c.t.Helper()
	b := &backend{Node: p.node}
	eventually(p.c.t, 30*time.Second, func() error {
		select {
		case err := <-p.done:
			p.done <- err
			p.c.t.Fatalf("%s ended: %v", p.name, err)
		default:
		}
		return b.Ready()
	})
}

// stop ends the node as SIGTERM does.
func (p *peer) stop() {
	if p.node == nil {
		return
	}
	p.mu.Lock()
	clients := p.clients
	p.clients, p.byPerson = nil, nil
	p.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	p.cancel()
	select {
	case err := <-p.done:
		if err != nil {
			p.c.t.Errorf("%s: %v", p.name, err)
		}
	case <-time.After(30 * time.Second):
		p.c.t.Errorf("%s did not stop within 30 s", p.name)
	}
	p.node = nil
}

func (p *peer) restart() {
	p.c.t.Helper()
	p.stop()
	p.c.start(p)
}

// idle reports what the node still has to do.
func (p *peer) idle() error {
	for _, s := range p.node.outbox.Status() {
		return fmt.Errorf("%d items wait for %s", s.Waiting, s.Recipient)
	}
	if p.node.answerer != nil && p.node.answerer.Waiting() > 0 {
		return fmt.Errorf("%d requests wait", p.node.answerer.Waiting())
	}
	return p.dutiesDone()
}

// dutiesDone reports what the ledger still waits for from the node: terminations
// to sign for, and erasures but those of a lender that owes its deletion receipt.
func (p *peer) dutiesDone() error {
	if !p.node.speaks() {
		return nil
	}
	view, org := p.node.state.View(), record.OrgID(p.cfg.Identity.Member)
	for what, prefix := range map[string]string{"termination": record.TerminationIndexPrefix(org), "erasure": record.ErasureIndexPrefix(org)} {
		rows, err := view.Range(prefix, prefixEnd(prefix), 1000)
		if err != nil {
			return err
		}
		for _, row := range rows {
			id := record.ConsentID(record.LastSegment(row.Key))
			t, err := loadRecord[record.Termination](view, record.TerminationKey(id))
			if err != nil {
				return err
			}
			if what == "erasure" && t.Consumer == org {
				if owes, err := owesDeletion(view, id); owes || err != nil {
					continue
				}
			}
			return fmt.Errorf("the %s of %s is not signed", what, id)
		}
	}
	return nil
}

// rules replaces what bends the node's traffic; nil for nothing.
func (p *peer) rules(r *rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = r
}

func (p *peer) ruled() rules {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rule == nil {
		return rules{}
	}
	return *p.rule
}

// departures returns every attempt to hand on an answer so far.
func (p *peer) departed() []departed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]departed(nil), p.answers...)
}

// dial makes a client of this node alone.
func (p *peer) dial(ctx context.Context, opts ...sdk.Option) (*sdk.Client, error) {
	endpoint := fmt.Sprintf("https://%s#sha256=%x", p.node.APIAddr(), p.card.SPKI[:])
	opts = append([]sdk.Option{sdk.WithGenesis(p.c.genesis.Encode()), sdk.WithClock(p.c.now)}, opts...)
	if p.c.sockets != nil {
		opts = append(opts, sdk.WithMiddleware(p.c.sockets.transport))
	}
	return sdk.Dial(ctx, []string{endpoint}, opts...)
}

// as returns a client of this node in the name of one of its member's people,
// until the node stops.
func (p *peer) as(role string) *sdk.Client {
	p.c.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.byPerson[role]; c != nil {
		return c
	}
	member := p.cfg.Identity.Member
	c, err := p.dial(p.c.t.Context(), sdk.WithIdentity(sdk.OrgID(member), p.c.people[member+"/"+role]))
	if err != nil {
		p.c.t.Fatalf("dial %s as %s: %v", p.name, role, err)
	}
	if p.byPerson == nil {
		p.byPerson = make(map[string]*sdk.Client)
	}
	p.byPerson[role] = c
	p.clients = append(p.clients, c)
	return c
}

// tap is a node's host with the rules of the test in it.
type tap struct {
	*memnet.Host
	peer *peer
}

func (h *tap) Request(ctx context.Context, to network.PeerID, p network.Protocol, req []byte) ([]byte, error) {
	next := func() ([]byte, error) {
		if p == network.ProtocolAnswer {
			h.peer.mu.Lock()
			h.peer.answers = append(h.peer.answers, departed{time.Now(), to, bytes.Clone(req)})
			h.peer.mu.Unlock()
		}
		return h.Host.Request(ctx, to, p, req)
	}
	if r := h.peer.ruled(); r.request != nil {
		return r.request(ctx, to, p, next)
	}
	return next()
}

func (h *tap) Handle(c network.Class, handle func(network.PeerID, []byte)) {
	h.Host.Handle(c, func(from network.PeerID, msg []byte) {
		r := h.peer.ruled()
		if r.deaf != nil && r.deaf(from, c) || r.lose != nil && r.lose(c, msg) {
			return
		}
		handle(from, msg)
	})
}

func (h *tap) Send(to network.PeerID, c network.Class, msg []byte) error {
	if c == network.ClassConsensus && isPrepare(msg) {
		h.peer.prepares.Add(1)
	}
	return h.Host.Send(to, c, msg)
}

// The engine's messages are told by their first byte, a protobuf field's tag.
func isPrepare(msg []byte) bool    { return len(msg) > 0 && msg[0] == 2<<3|2 }
func isCommit(msg []byte) bool     { return len(msg) > 0 && msg[0] == 3<<3|2 }
func isViewChange(msg []byte) bool { return len(msg) > 0 && msg[0] == 4<<3|2 }

var errRule = errors.New("the test lets nothing pass")

// logLines keeps what a node logs.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logLines) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}

// show prints the lines that matter of a test that failed, and keeps all of them
// for go test -artifacts.
func (l *logLines) show(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".log"), l.bytes(), 0o600); err != nil {
		t.Error(err)
	}
	var keep [][]byte
	for line := range bytes.Lines(l.bytes()) {
		if !bytes.Contains(line, []byte(`"level":"DEBUG"`)) {
			keep = append(keep, line)
		}
	}
	if len(keep) > 60 {
		keep = keep[len(keep)-60:]
	}
	t.Logf("%s:\n%s", name, bytes.Join(keep, nil))
}
