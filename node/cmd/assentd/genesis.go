package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
)

// membersFile is what --members names: who founds the network.
type membersFile struct {
	Network string `json:"network"`
	Members []struct {
		ID     string           `json:"id"`
		Name   string           `json:"name"`
		Roles  []string         `json:"roles"`
		Admins []ledger.Address `json:"admins"`
	} `json:"members"`
	// RecordMillis is limits.recordMillis of the genesis config; left out: three years.
	RecordMillis uint64 `json:"recordMillis"`
}

func (m *membersFile) list() (out []node.GenesisMember) {
	for _, x := range m.Members {
		out = append(out, node.GenesisMember{ID: x.ID, Name: x.Name, Roles: x.Roles, Admins: x.Admins})
	}
	return out
}

const membersForm = `{"network":"…","members":[{"id":"my-bank","name":"My Bank","roles":["DATA_PROVIDER"],"admins":["0x…"]}]}`

// shortestRecords is how long a network keeps access records at least that is not
// there for tests alone.
const shortestRecords = ledger.LawfulRecordMillis

func (a *app) genesisCommand() *cobra.Command {
	var members, out string
	var records time.Duration
	c := &cobra.Command{
		Use: "genesis CARD…", Short: "Make a network's genesis file from its members and the cards of their validators",
		Long: "The file of --members is JSON:\n  " + membersForm + "\n" +
			"roles are DATA_PROVIDER, DATA_CONSUMER, CREDIT_REPORTING_AGENCY and AUDITOR; admins are addresses of keys that `assent member client new` makes.\n" +
			"recordMillis beside members, or --records, is for how long every node keeps access records and transactions may read them: three years\n" +
			"(94694400000) if left out, fixed for good. Less is for test networks alone: lenders and banks must keep records of access for three years.\n" +
			"Every CARD is the " + node.CardFile + " of a validator. One person makes the genesis file; all members compare the chain id.",
		Example: "  assentd genesis --members members.json --out genesis.json n1/node.json n2/node.json n3/node.json n4/node.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("genesis needs the cards (" + node.CardFile + ") of the validators")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			g, err := makeGenesis(members, records, args)
			if err != nil {
				return err
			}
			if err := writeGenesis(g, out); err != nil {
				return err
			}
			return a.print(map[string]any{"chainId": g.Hash().Hex(), "validators": len(g.Validators), "recordMillis": g.Limits.RecordAge(), "file": out}, func(w io.Writer) {
				fmt.Fprintf(w, "Genesis of network %s with %d members and %d validators written to %s.\nChain id: %s\n", g.Network, len(g.Members), len(g.Validators), out, g.Hash())
				if f := (len(g.Validators) - 1) / 3; f == 0 {
					fmt.Fprintln(w, "With fewer than four validators the network stands still when one of them fails.")
				}
				if age := g.Limits.RecordAge(); age < shortestRecords {
					fmt.Fprintf(w, "A test network: access records are kept for %s only, not for three years, and that can never be changed.\n", time.Duration(age)*time.Millisecond)
				}
			})
		},
	}
	c.Flags().StringVar(&members, "members", "members.json", "the founding members")
	c.Flags().StringVar(&out, "out", "genesis.json", "where to write the genesis file; never over an existing one")
	c.Flags().DurationVar(&records, "records", 0, "for how long access records are kept, as 26304h; in place of recordMillis in --members")
	return c
}

// writeGenesis writes a new file: a node may rest on an old one.
func writeGenesis(g *ledger.Config, path string) error {
	b, err := config.FormatGenesis(g)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("write the genesis file: %s exists, and another genesis is another network: choose another --out, or move it away", path)
	}
	if err != nil {
		return fmt.Errorf("write the genesis file: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the genesis file: %w", err)
	}
	return nil
}

// makeGenesis makes the config of the members file and the cards; records, if it is
// not 0, goes before what the file says of it.
func makeGenesis(members string, records time.Duration, paths []string) (*ledger.Config, error) {
	var m membersFile
	if err := readJSON(members, &m, "members.json is "+membersForm); err != nil {
		return nil, err
	}
	list := m.list()
	cards := make([]node.Card, len(paths))
	for i, path := range paths {
		if err := readJSON(path, &cards[i], "give the "+node.CardFile+" that assentd init wrote"); err != nil {
			return nil, err
		}
		if err := checkCard(&cards[i], &m); err != nil {
			return nil, fmt.Errorf("card %s: %w", path, err)
		}
		for j := range i {
			if cards[j].NodeID == cards[i].NodeID {
				return nil, fmt.Errorf("cards %s and %s are of the same node: give each validator's once", paths[j], path)
			}
		}
	}
	if records < 0 || records%time.Millisecond != 0 {
		return nil, usage("--records is %s, want whole milliseconds", records)
	}
	if records > 0 {
		m.RecordMillis = uint64(records.Milliseconds())
	}
	g, err := node.Genesis(m.Network, uint64(time.Now().UnixMilli()), list, cards)
	if err == nil {
		g.Limits.RecordMillis = m.RecordMillis
		if m.RecordMillis == ledger.LawfulRecordMillis {
			g.Limits.RecordMillis = 0 // the same, and the same chain id for who leaves it out
		}
		err = g.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: correct %s or the cards", err, members)
	}
	return g, nil
}

// checkCard says what is wrong with one card in words about it; the config's own
// check, which follows, knows validators by their numbers only.
func checkCard(c *node.Card, m *membersFile) error {
	if c.Kind != "validator" {
		return fmt.Errorf("it is of an %s: the genesis file names validators only; have an admin of %s register it once the network runs", c.Kind, c.Member)
	}
	known := false
	ids := make([]string, len(m.Members))
	for i := range m.Members {
		ids[i] = m.Members[i].ID
		known = known || ids[i] == c.Member
	}
	if !known {
		return fmt.Errorf("its member %q is not among the members (%s): add it, or correct identity.member and run init again", c.Member, strings.Join(ids, ", "))
	}
	if (c.VoteKey == ledger.Address{}) || (c.HostKey == ledger.HostKey{}) {
		return errors.New("it has no vote key or no host key: fetch it again from the node's operator")
	}
	if len(c.Addrs) == 0 || slices.ContainsFunc(c.Addrs, func(a string) bool {
		p := multiaddress.FindStringSubmatch(a)
		return p == nil || everywhere(p[2])
	}) {
		return fmt.Errorf("its addresses (%s) cannot be dialled: set the node up again with --advertise", strings.Join(c.Addrs, " "))
	}
	return nil
}

// readJSON reads one JSON object of at most 1 MiB with known fields only.
func readJSON(path string, v any, remedy string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %s", err, remedy)
	}
	if len(b) > 1<<20 {
		return fmt.Errorf("read %s: %d bytes: %s", path, len(b), remedy)
	}
	if err := parseJSON(b, v); err != nil {
		return fmt.Errorf("read %s: %w: %s", path, err, remedy)
	}
	return nil
}

func parseJSON(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}
