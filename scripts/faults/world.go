package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/scripts/faults/link"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

const (
	bank      = "harbour-bank"
	neighbour = "lake-bank"
	product   = sdk.ProductID("harbour-bank.card")
	late      = sdk.TemplateID("harbour-bank.late")
	customers = 16
	quorum    = 3 // of the four validators
)

var (
	lenders = []string{"quick-loan", "swift-loan"}
	members = []string{bank, lenders[0], lenders[1], neighbour}
	// counting are the banks of statistics: one lender is a bank too.
	counting = []string{bank, lenders[1], neighbour}
)

// world is the network that scenarios are played on, each on a fresh copy of the
// same founded one.
type world struct {
	opts    options
	dir     string
	links   *link.Links
	net     *testnet.Net
	notice  sdk.Hash
	wallets []*ecdsa.PrivateKey // of the bank's customers, bound there
	points  string              // the program with fault points, once it is built

	lan       *lan   // the namespaces that the nodes live in; nil: none
	inPackets *world // the same network in namespaces, once a scenario needed it
	batch     *batch // with --cycles: those of the play

	first string // the node that leads at first

	mu   sync.Mutex     // guards pids
	pids map[int]string // whose each process is, for the links
}

func identity(i int) string { return fmt.Sprintf("900001197001%06d", i) }

func (w *world) netDir() string    { return filepath.Join(w.dir, "net") }
func (w *world) baseDir() string   { return filepath.Join(w.dir, "base") }
func (w *world) vaultPath() string { return filepath.Join(w.dir, "vault.db") }

// open founds the network, publishes what is asked about, and keeps its files as
// the base of every scenario.
func open(ctx context.Context, dir string, o options) (w *world, err error) {
	return openOn(ctx, dir, o, nil)
}

// openOn is open with nodes in namespaces, if there is a lan.
func openOn(ctx context.Context, dir string, o options, l *lan) (w *world, err error) {
	w = &world{opts: o, dir: dir, pids: make(map[int]string), lan: l}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w.links = link.New(o.seed, link.ByProcess(w.processes))
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	program, err := testnet.Build(ctx, dir)
	if err != nil {
		return w, err
	}
	m, err := w.manifest(ctx)
	if err != nil {
		return w, err
	}
	if w.net, err = testnet.Create(ctx, w.netDir(), program, m); err != nil {
		return w, err
	}
	if w.lan != nil {
		if err := w.lan.forward(w.net.Nodes); err != nil {
			return w, err
		}
	}
	if err := w.found(ctx); err != nil {
		return w, fmt.Errorf("found the network: %w", err)
	}
	return w, copyTree(ctx, w.netDir(), w.baseDir())
}

// copyTree copies with modes, which keys and databases insist on.
func copyTree(ctx context.Context, from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if b, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w\n%s", from, err, b)
	}
	return nil
}

// processes lists whose each process is, for the links.
func (w *world) processes() map[int]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.pids)
}

// manifest says what network to found: every node is told the others' doors.
func (w *world) manifest(ctx context.Context) (testnet.Manifest, error) {
	v := config.Vault{
		Product: string(product), Connector: "sqlite", Source: w.vaultPath(), Table: "customers", Key: "id",
		Timeout: 2 * time.Second, Columns: []config.Column{{Name: "late", Type: "int"}},
	}
	m := testnet.Manifest{Network: "faults", Guests: lenders, Profiles: true, Members: []testnet.ManifestMember{
		{ID: bank, Name: "Harbour Bank", Roles: []string{"DATA_PROVIDER"}, Validators: 1, Vaults: []config.Vault{v}},
		{ID: lenders[0], Name: "Quick Loan", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
		{ID: lenders[1], Name: "Swift Loan", Roles: []string{"DATA_CONSUMER", "DATA_PROVIDER"}, Validators: 1},
		{ID: neighbour, Name: "Lake Bank", Roles: []string{"DATA_PROVIDER"}, Validators: 1},
	}}
	if err := w.fillStatistics(ctx, &m); err != nil {
		return m, err
	}
	m.Advertise = func(name, listen string) (string, error) {
		if w.lan != nil {
			return w.lan.advertise(name, listen)
		}
		var port int
		if _, err := fmt.Sscanf(listen, "/ip4/127.0.0.1/tcp/%d", &port); err != nil {
			return "", fmt.Errorf("node %s listens on %s: %w", name, listen, err)
		}
		door, err := w.links.Open(name, fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return "", err
		}
		_, doorPort, err := net.SplitHostPort(door)
		return "/ip4/127.0.0.1/tcp/" + doorPort, err
	}
	return m, w.fillVault(ctx, v)
}

func (w *world) fillVault(ctx context.Context, v config.Vault) error {
	var csv strings.Builder
	csv.WriteString("id,late\n")
	for i := range customers {
		fmt.Fprintf(&csv, "%s,%d\n", identity(i), i%3)
	}
	return testnet.LoadVault(ctx, v, strings.NewReader(csv.String()))
}

// found starts the network for the first time and puts on the ledger what every
// scenario needs.
func (w *world) found(ctx context.Context) error {
	if err := w.startAll(ctx); err != nil {
		return err
	}
	if err := w.net.Enrol(ctx); err != nil {
		return err
	}
	officer, err := w.net.Client(ctx, bank, "officer")
	if err != nil {
		return err
	}
	defer officer.Close()
	if w.notice, _, err = officer.Products().PublishNotice(ctx, sdk.NoticeSpec{NoticeID: "harbour-bank.notice", Language: "en", Title: "Notice", Text: "The lender may ask."}); err != nil {
		return err
	}
	class := record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 1_000_000, BitsPerYear: 10_000_000}
	if _, err := officer.Products().Publish(ctx, sdk.ProductSpec{
		ProductID: product, Title: "Card", Version: 1, Methods: []sdk.Method{record.Wallet}, Purposes: []sdk.Purpose{record.CreditChecking},
		Columns: []sdk.Column{{Name: "late", Type: record.TypeInt, DataClass: record.C2, Class: class}},
	}); err != nil {
		return err
	}
	if err := w.net.ApproveTemplate(ctx, bank, sdk.TemplateSpec{
		TemplateID: late, Version: 1, ProductID: product, Kind: record.Bucket, Columns: []string{"late"}, CostLimit: 1000, AnswerTTL: 300_000,
		Source: `late > 1 ? "LATE" : "ON_TIME"`, Outputs: []string{"LATE", "ON_TIME", record.NoRecord},
	}); err != nil {
		return err
	}
	if _, err := officer.Products().OpenEpoch(ctx, product, 1); err != nil {
		return err
	}
	for _, member := range counting {
		if err := w.net.PublishStats(ctx, member, statBudget); err != nil {
			return err
		}
	}
	for i := range customers {
		wallet, err := crypto.GenerateKey()
		if err != nil {
			return err
		}
		if err := officer.Bind(ctx, identity(i), crypto.PubkeyToAddress(wallet.PublicKey)); err != nil {
			return err
		}
		w.wallets = append(w.wallets, wallet)
	}
	s, err := w.net.StatusOf(ctx, w.net.Nodes[0])
	if err != nil {
		return err
	}
	for _, x := range w.net.Nodes {
		if v := w.net.Genesis().Validator(s.Leader); v != nil && v.VoteKey == x.Card.VoteKey {
			w.first = x.Name
		}
	}
	return w.net.Stop()
}

// start starts one node and does not wait.
func (w *world) start(x *testnet.Node, program, home string, env ...string) error {
	begin := func() error { return w.net.StartNodeAs(x, program, home, env...) }
	if w.lan != nil {
		env = append(env, "ASSENT_NETWORK_LISTEN="+w.lan.port[x.Name])
		outside := begin
		begin = func() error { return w.lan.hosts[x.Name].Run(outside) }
	}
	if err := begin(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pids[x.PID] = x.Name
	return nil
}

// startAll starts every node that does not run and waits until all are ready.
func (w *world) startAll(ctx context.Context) error {
	for _, x := range w.net.Nodes {
		if !x.Running() {
			if err := w.start(x, w.net.Program, x.Home); err != nil {
				return err
			}
		}
	}
	return w.ready(ctx, w.net.Nodes...)
}

// ready waits until nodes are.
func (w *world) ready(ctx context.Context, nodes ...*testnet.Node) error {
	ctx, cancel := context.WithTimeout(ctx, testnet.StartTimeout)
	defer cancel()
	for _, x := range nodes {
		if err := x.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// withPoints builds the program with fault points, once.
func (w *world) withPoints(ctx context.Context) (string, error) {
	if w.points == "" {
		out, err := testnet.BuildTagged(ctx, filepath.Join(w.dir, "assentd-faultpoints"), "faultpoints")
		if err != nil {
			return "", err
		}
		w.points = out
	}
	return w.points, nil
}

// close ends every process and the links.
func (w *world) close() error {
	if w.net != nil {
		for _, x := range w.net.Nodes {
			x.Kill()
		}
	}
	errs := []error{w.links.Close()}
	if w.lan != nil {
		errs = append(errs, w.lan.close())
	}
	if w.inPackets != nil {
		errs = append(errs, w.inPackets.close())
	}
	return errors.Join(errs...)
}
