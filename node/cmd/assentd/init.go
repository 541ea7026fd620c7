package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
)

// initFlags are those of init without --genesis.
type initFlags struct {
	member, node, listen, api, ops string
	advertise, apiURL              []string
}

func (a *app) initCommand() *cobra.Command {
	var genesis string
	var join bool
	var f initFlags
	c := &cobra.Command{
		Use: "init", Args: noArgs,
		Short: "Set up a node; with --genesis, create its ledger",
		Long: "Without --genesis, init makes the node's keys, its configuration and its card (" + node.CardFile + "), which holds nothing secret: send it to whoever makes the genesis file.\n" +
			"With --genesis, init copies that file into the home and creates the empty ledger.\n" +
			"A node that the network was not founded with proves its host key in its card then, for 30 days: an admin of its member registers it with that card.\n" +
			"With --join too, the node joins a network that runs: it follows once an admin of its member has registered its card as an observer, and orders once a config update has admitted it as a validator.",
		Example: "  assentd init --home n1 --member my-bank --listen /ip4/10.0.0.7/tcp/7400 --api 10.0.0.7:7443 --password file:pw\n" +
			"  assentd init --home n1 --genesis genesis.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if genesis == "" {
				if join {
					return usage("--join belongs to the second init: give --genesis, the genesis file of the network that the node joins")
				}
				return a.setUp(&f)
			}
			for _, name := range []string{"member", "node", "listen", "advertise", "api", "api-url", "metrics"} {
				if cmd.Flags().Changed(name) {
					return usage("--%s belongs to the first init; with --genesis the configuration in the home says it", name)
				}
			}
			return a.createLedger(cmd, genesis, join)
		},
	}
	c.Flags().StringVar(&genesis, "genesis", "", "genesis file: create the ledger")
	c.Flags().BoolVar(&join, "join", false, "with --genesis: the network runs already, and neither this node nor its member need stand in the genesis file")
	c.Flags().StringVar(&f.member, "member", "", "identifier of the member, as the genesis file will name it")
	c.Flags().StringVar(&f.node, "node", "validator", "validator or observer")
	c.Flags().StringVar(&f.listen, "listen", "", "multiaddress to listen on for other nodes, such as /ip4/10.0.0.7/tcp/7400 (default "+config.Default().Network.Listen[0]+")")
	c.Flags().StringSliceVar(&f.advertise, "advertise", nil, "multiaddress at which other nodes dial this one, if it listens elsewhere; up to 4")
	c.Flags().StringVar(&f.api, "api", "", "host:port to listen on for clients (default "+config.Default().API.Listen+")")
	c.Flags().StringSliceVar(&f.apiURL, "api-url", nil, "https://host:port at which clients reach it, if it listens elsewhere; up to 4")
	c.Flags().StringVar(&f.ops, "metrics", "", "host:port of metrics and profiles, without TLS, or off; one port per node of a machine (default "+config.Default().Metrics.Listen+")")
	return c
}

func (a *app) setUp(f *initFlags) error {
	cfg, reach, err := f.config()
	if err != nil {
		return err
	}
	if a.password != "" {
		if cfg.Identity.Password, err = fromHere(a.password); err != nil {
			return err
		}
	}
	if err := cfg.Check(); err != nil {
		return usage("init:\n%w", err)
	}
	password, err := a.newPassword(cfg.Identity.Password, "")
	if err != nil {
		return err
	}
	defer clear(password)
	card, err := node.InitAt(a.home, cfg, reach, password)
	if err != nil {
		return err
	}
	return a.print(card, func(w io.Writer) {
		fmt.Fprintf(w, "Node %s of member %s is set up in %s.\n", card.NodeID, card.Member, a.home)
		fmt.Fprintf(w, "Other nodes reach it at  %s\n", strings.Join(card.Addrs, " "))
		for _, u := range card.APIURLs {
			fmt.Fprintf(w, "Clients reach it at      %s#sha256=%x\n", u, card.SPKI[:])
		}
		if card.Kind == "observer" {
			fmt.Fprintf(w, "Fetch the network's genesis file and run: assentd init --home %s --genesis genesis.json; then have an admin of %s register %s on the ledger\n", a.home, card.Member, filepath.Join(a.home, node.CardFile))
			return
		}
		fmt.Fprintf(w, "Send %s to whoever makes the genesis file, then run: assentd init --home %s --genesis genesis.json\n", filepath.Join(a.home, node.CardFile), a.home)
	})
}

// config turns the flags into a configuration and what the card tells others.
func (f *initFlags) config() (config.Config, node.Reach, error) {
	cfg := config.Default()
	cfg.DataDir, cfg.Genesis = "data", "genesis.json"
	cfg.Identity.Member, cfg.Identity.Node = f.member, f.node
	if f.member == "" {
		return cfg, node.Reach{}, usage("init needs --member, the identifier of the member whose node this is")
	}
	if f.listen != "" {
		cfg.Network.Listen = []string{f.listen}
	}
	if f.api != "" {
		cfg.API.Listen = f.api
	}
	if f.ops != "" {
		cfg.Metrics.Listen = f.ops
	}
	reach := node.Reach{Addrs: f.advertise, APIURLs: f.apiURL}
	if err := checkAdvertised(cfg.Network.Listen[0], f.advertise); err != nil {
		return cfg, reach, err
	}
	names, err := apiNames(cfg.API.Listen, f.apiURL)
	if err != nil {
		return cfg, reach, err
	}
	// The card's URL is made of the first name.
	for _, n := range slices.Backward(names) {
		cfg.API.Names = append([]string{n}, slices.DeleteFunc(cfg.API.Names, func(m string) bool { return m == n })...)
	}
	return cfg, reach, nil
}

var multiaddress = regexp.MustCompile(`^/(ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/([0-9]{1,5})$`)

// checkAdvertised refuses a card that would tell other nodes an address which
// they cannot dial.
func checkAdvertised(listen string, advertise []string) error {
	if len(advertise) == 0 {
		if m := multiaddress.FindStringSubmatch(listen); m != nil && everywhere(m[2]) {
			return usage("--listen %s takes connections on every address of this machine, but the card must name one that other nodes can dial: add --advertise /ip4/<address>/tcp/%s (or /dns4/<name>/tcp/%s), or listen on one address", listen, m[3], m[3])
		}
		return nil
	}
	if len(advertise) > 4 {
		return usage("--advertise: %d addresses, at most 4", len(advertise))
	}
	for _, x := range advertise {
		m := multiaddress.FindStringSubmatch(x)
		if m == nil {
			return usage("--advertise %s: want a multiaddress such as /ip4/10.0.0.7/tcp/7400 or /dns4/node.bank.example/tcp/7400", x)
		}
		if everywhere(m[2]) {
			return usage("--advertise %s: nobody can dial that: name an address of this machine, or its DNS name", x)
		}
	}
	return nil
}

// apiNames returns the hosts under which clients reach the API, beside those of
// the configuration.
func apiNames(listen string, urls []string) ([]string, error) {
	if len(urls) == 0 {
		host, port, err := net.SplitHostPort(listen)
		if err != nil {
			return nil, nil // the configuration's check says so
		}
		if everywhere(host) {
			return nil, usage("--api %s takes connections on every address of this machine, but the card must name one that clients can dial: add --api-url https://<host>:%s, or listen on one address", listen, port)
		}
		if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() {
			return nil, nil
		}
		return []string{host}, nil
	}
	if len(urls) > 4 {
		return nil, usage("--api-url: %d URLs, at most 4", len(urls))
	}
	var names []string
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, usage("--api-url %s: want https://host:port", raw)
		}
		if everywhere(u.Hostname()) {
			return nil, usage("--api-url %s: nobody can dial that: name an address of this machine, or its DNS name", raw)
		}
		names = append(names, u.Hostname())
	}
	return names, nil
}

// everywhere reports whether a host to listen on means every address.
func everywhere(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

// fromHere makes the path of a password file count from the working directory,
// as on the command line, also when the configuration repeats it.
func fromHere(source string) (string, error) {
	path, ok := strings.CutPrefix(source, "file:")
	if !ok || path == "" {
		return source, nil
	}
	path, err := filepath.Abs(path)
	return "file:" + path, err
}

func (a *app) createLedger(cmd *cobra.Command, path string, join bool) error {
	g, err := config.ReadGenesis(path)
	if err != nil {
		return err
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	// ASSENT_GENESIS is the command line's too, and may name a file that pins
	// another network: that is neither taken for this node's nor written over.
	if !node.HasLedger(cfg) { // else that is what is wrong
		if err := sameNetwork(cfg.Genesis, g); err != nil {
			return err
		}
	}
	own, err := config.Load(config.Sources{File: filepath.Join(a.home, node.ConfigFile), Env: slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, config.EnvName("genesis")+"=")
	})})
	if err != nil {
		return err
	}
	// First the ledger, which is refused where one is, then the copy: a genesis
	// file that a ledger rests on is never replaced.
	final := own.Genesis
	if _, err := os.Stat(cfg.Genesis); errors.Is(err, os.ErrNotExist) {
		final = cfg.Genesis // where the node will look for it
	}
	cfg.Genesis = path
	card, err := node.ReadCard(a.home)
	if err == nil {
		err = a.proveHost(card, cfg)
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil // assentd card --record asks for it
	}
	if err != nil {
		return err
	}
	create := node.CreateLedger
	if join {
		create = node.JoinLedger
	}
	if err := create(cmd.Context(), cfg); err != nil {
		return err
	}
	if same, err := sameFile(path, final); err != nil {
		return err
	} else if !same {
		b, err := config.FormatGenesis(g)
		if err != nil {
			return err
		}
		if err := durable.Output(final, b, 0o644); err != nil {
			return fmt.Errorf("copy the genesis file: %w: copy it to %s yourself", err, final)
		}
	}
	if card != nil && card.HostProof != nil {
		if err := card.Write(a.home); err != nil {
			return fmt.Errorf("write the card with the proof of its host key: %w: assentd card --record makes one too", err)
		}
	}
	return a.print(map[string]string{"chainId": g.Hash().Hex(), "dataDir": cfg.DataDir}, func(w io.Writer) {
		fmt.Fprintf(w, "Ledger of network %s (chain id %s) created in %s.\nCompare the chain id with the other members, then run: assentd start --home %s\n", g.Network, g.Hash(), cfg.DataDir, a.home)
	})
}

// sameNetwork refuses a genesis file that stands where the node will look for it
// and is another network's.
func sameNetwork(path string, g *ledger.Config) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	there, err := config.ReadGenesis(path)
	if err == nil && there.Hash() == g.Hash() {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s is the genesis of network %s, chain id %s", path, there.Network, there.Hash())
	}
	return fmt.Errorf("create ledger: the configuration (or %s) names another genesis file: %w: move it away, or unset the variable; nothing was changed", config.EnvName("genesis"), err)
}

func sameFile(a, b string) (bool, error) {
	fa, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	fb, err := os.Stat(b)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(fa, fb), err
}
