package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/assent-network/assent/sdk"
)

// profile is what the command needs to know of a network and of its user. Each
// value comes from the flag, else the environment, else the profile file.
type profile struct {
	Endpoints    []string `json:"endpoints"`
	Org          string   `json:"org"`
	Key          string   `json:"key"`     // key file
	Genesis      string   `json:"genesis"` // file
	Chain        string   `json:"chain"`   // instead of Genesis
	Pins         []string `json:"pins"`
	PasswordFile string   `json:"passwordFile"`
	Wallet       string   `json:"wallet"` // wallet file

	dir string // paths in the file are relative to it
}

const maxProfile = 64 << 10

func (a *app) configDir() (string, error) {
	home, err := a.home()
	if err != nil {
		return "", usageError{fmt.Errorf("find the configuration directory: %w: give --profile", err)}
	}
	return filepath.Join(home, "assent"), nil
}

// settings reads the profile once. A profile file that was not asked for by name
// may be absent.
func (a *app) settings() (*profile, error) {
	if a.profile != nil {
		return a.profile, nil
	}
	path, named := first(a.flags.profile, a.env("ASSENT_PROFILE")), true
	if path == "" {
		dir, err := a.configDir()
		if err != nil {
			return nil, err
		}
		path, named = filepath.Join(dir, "profile.json"), false
	}
	p := &profile{dir: filepath.Dir(path)}
	b, err := readFile(path, maxProfile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
	case err != nil:
		return nil, usageError{fmt.Errorf("profile: %w", err)}
	default:
		if err := p.parse(b); err != nil {
			return nil, usageError{fmt.Errorf("profile %s: %w: it is JSON with the fields endpoints, org, key, genesis, chain, pins, passwordFile, wallet", path, err)}
		}
	}
	a.override(p)
	a.profile = p
	return p, nil
}

// parse reads a profile file into p.
func (p *profile) parse(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func (a *app) override(p *profile) {
	for _, file := range []*string{&p.Key, &p.Genesis, &p.PasswordFile, &p.Wallet} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(p.dir, *file)
		}
	}
	p.Org = first(a.flags.org, a.env("ASSENT_ORG"), p.Org)
	p.Key = first(a.flags.key, a.env("ASSENT_KEY"), p.Key)
	p.Genesis = first(a.flags.genesis, a.env("ASSENT_GENESIS"), p.Genesis)
	p.Chain = first(a.flags.chain, a.env("ASSENT_CHAIN"), p.Chain)
	p.PasswordFile = first(a.flags.password, a.env("ASSENT_PASSWORD_FILE"), p.PasswordFile)
	p.Wallet = first(a.env("ASSENT_WALLET"), p.Wallet)
	p.Endpoints = firstList(a.flags.endpoint, a.env("ASSENT_ENDPOINTS"), p.Endpoints)
	p.Pins = firstList(a.flags.pins, a.env("ASSENT_PINS"), p.Pins)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func firstList(flag []string, env string, file []string) []string {
	switch {
	case len(flag) > 0:
		return flag
	case env != "":
		return strings.Split(env, ",")
	}
	return file
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// input reads a file that an argument names; "-" is standard input.
func (a *app) input(path string, limit int64) ([]byte, error) {
	if path != "-" {
		b, err := readFile(path, limit)
		if err != nil {
			return nil, usageError{err}
		}
		return b, nil
	}
	b, err := io.ReadAll(io.LimitReader(a.in, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("standard input has more than %d bytes", limit)
	}
	return b, err
}

// text reads an argument that is a link, or the name of a file with one, or "-".
func (a *app) text(arg string) (string, error) {
	if strings.HasPrefix(arg, "assent:") {
		return arg, nil
	}
	b, err := a.input(arg, 64<<10)
	return strings.TrimSpace(string(b)), err
}

// trusted returns the options that pin the network and its nodes.
func (a *app) trusted(p *profile, any bool) ([]sdk.Option, error) {
	var opts []sdk.Option
	switch {
	case p.Genesis != "":
		b, err := readFile(p.Genesis, sdk.MaxGenesisFile)
		if err != nil {
			return nil, usageError{fmt.Errorf("genesis config: %w: get the file from a member of the network", err)}
		}
		opts = append(opts, sdk.WithGenesis(b))
	case p.Chain != "":
		id, err := parseHash(p.Chain)
		if err != nil {
			return nil, usageError{fmt.Errorf("chain id: %w", err)}
		}
		opts = append(opts, sdk.WithChainID(id))
	case any:
		opts = append(opts, sdk.WithAnyChain())
	default:
		return nil, usageError{errors.New("no network is pinned: give --genesis (or --chain), in the environment or the profile")}
	}
	for _, s := range p.Pins {
		pin, err := sdk.ParsePin(s)
		if err != nil {
			return nil, usageError{err}
		}
		opts = append(opts, sdk.WithTLSPin(pin))
	}
	if a.flags.timeout > 0 {
		opts = append(opts, sdk.WithTimeouts(sdk.Timeouts{Commit: a.flags.timeout, Certify: a.flags.timeout}))
	}
	return append(opts, sdk.WithClock(a.now)), nil
}

// dial connects with the user's identity, or without one if there is none and
// none is needed.
func (a *app) dial(ctx context.Context, needKey bool, more ...sdk.Option) (*sdk.Client, error) {
	p, err := a.settings()
	if err != nil {
		return nil, err
	}
	opts, err := a.trusted(p, false)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Key != "" && p.Org != "":
		signer, err := a.signer(p)
		if err != nil {
			return nil, err
		}
		opts = append(opts, sdk.WithIdentity(sdk.OrgID(p.Org), signer))
	case needKey:
		return nil, usageError{errors.New("this needs an identity: give --org and --key, in the environment or the profile")}
	}
	return a.connect(ctx, p, append(opts, more...))
}

// connect opens the command's one connection, which its end closes.
func (a *app) connect(ctx context.Context, p *profile, opts []sdk.Option) (*sdk.Client, error) {
	c, err := a.open(ctx, p, opts)
	a.client = c
	return c, err
}

func (a *app) open(ctx context.Context, p *profile, opts []sdk.Option) (*sdk.Client, error) {
	if len(p.Endpoints) == 0 {
		return nil, usageError{errors.New("no node is given: give --endpoint, in the environment or the profile")}
	}
	if chain := chainOf(p); chain != "" { // what was learnt of the network's validators outlives the command
		if dir, err := a.configDir(); err == nil && os.MkdirAll(dir, 0o700) == nil {
			opts = append(opts, sdk.WithPinFile(filepath.Join(dir, "pins-"+chain+".json")))
		}
	}
	return sdk.Dial(ctx, p.Endpoints, opts...)
}

func (a *app) signer(p *profile) (sdk.Signer, error) {
	password, err := a.password(p, "password of "+p.Key, false)
	if err != nil {
		return nil, err
	}
	return sdk.ReadKeyFile(p.Key, password)
}

// password comes from a file, the environment or a prompt, in that order. A
// fresh one is asked for twice.
func (a *app) password(p *profile, what string, fresh bool) (string, error) {
	if p.PasswordFile != "" {
		b, err := readFile(p.PasswordFile, 4<<10)
		if err != nil {
			return "", usageError{fmt.Errorf("password file: %w", err)}
		}
		line, _, _ := strings.Cut(string(b), "\n")
		return strings.TrimSuffix(line, "\r"), nil
	}
	if v := a.env("ASSENT_PASSWORD"); v != "" {
		return v, nil
	}
	v, err := a.prompt(what + ": ")
	if err != nil || !fresh {
		return v, err
	}
	again, err := a.prompt("again: ")
	if err == nil && again != v {
		err = usageError{errors.New("the two passwords differ")}
	}
	return v, err
}

// prompt asks on the terminal without echo; without a terminal it fails.
func (a *app) prompt(what string) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !isTerminal(f) {
		return "", usageError{errors.New("no password: give --password-file or ASSENT_PASSWORD, or run in a terminal")}
	}
	fmt.Fprint(a.err, what)
	v, err := readSilently(f)
	fmt.Fprintln(a.err)
	return v, err
}

// confirm asks before something is signed.
func (a *app) confirm(question string) error {
	if a.flags.yes {
		return nil
	}
	fmt.Fprintf(a.err, "%s [yes/no] ", question)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != "yes" {
		return usageError{errors.New("not confirmed: nothing was signed (answer yes, or give --yes)")}
	}
	return nil
}
