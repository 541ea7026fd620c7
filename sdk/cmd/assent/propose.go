package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/sdk"
)

// proposing are the flags of every member propose command.
type proposing struct {
	reason, force string
	down          accepting
	dry           bool
	out           string
	cards         []*sdk.NodeCard
}

func (p *proposing) flags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&p.reason, "reason", "", "why, for the other members; never a person's name")
	f.StringVar(&p.force, "force", "", "go on in spite of warnings, for this reason, which the proposal shows; refusals stand")
	p.down.flag(f)
	f.BoolVar(&p.dry, "dry-run", false, "show what would change and what the preflight says; propose nothing")
	f.StringVar(&p.out, "out", "", "write the config to this file too, for an admin key that signs elsewhere (assent member sign)")
}

// edit is a change of the config in force, from the arguments of a command.
type edit func(e *sdk.ConfigEditor, args []string) error

func (a *app) proposeCmd() *cobra.Command {
	p := &proposing{}
	change := func(use, short string, do edit) *cobra.Command {
		return leaf(use, short, func(c *cobra.Command, args []string) error {
			return a.propose(c, p, func(e *sdk.ConfigEditor) error { return do(e, args) })
		})
	}
	g := group("propose", "Propose a change of members, validators, keys or limits (admin)",
		a.addMemberCmd(p),
		change("remove-member ORG", "Remove a member and its validators", func(e *sdk.ConfigEditor, args []string) error {
			e.RemoveMember(sdk.OrgID(args[0]))
			return nil
		}),
		change("add-admin ORG ADDRESS", "Add an admin key of a member", adminEdit((*sdk.ConfigEditor).AddAdmin)),
		change("remove-admin ORG ADDRESS", "Remove an admin key of a member", adminEdit((*sdk.ConfigEditor).RemoveAdmin)),
		change("replace-admin ORG OLD NEW", "Replace an admin key of a member; the old one may be lost", replaceAdmin),
		change("add-validator CARD", "Add a validator by its card (assentd card)", func(e *sdk.ConfigEditor, args []string) error {
			card, err := a.card(args[0])
			if err == nil {
				p.cards = append(p.cards, card)
				e.AddValidator(card)
			}
			return err
		}),
		change("remove-validator ID", "Remove a validator by its number (assent member config)", func(e *sdk.ConfigEditor, args []string) error {
			id, err := validatorID(args[0])
			e.RemoveValidator(id)
			return err
		}),
		change("rotate-vote-key ID ADDRESS", "Give a validator another vote key, and with it another number", rotateVoteKey),
		change("rotate-host-key ID KEY", "Give a validator another host key, 0x-hex of 33 bytes", rotateHostKey),
		a.setAddrsCmd(p), a.setLimitsCmd(p),
		change("set-protocol VERSION", "Raise the protocol version", func(e *sdk.ConfigEditor, args []string) error {
			v, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil {
				return usageError{fmt.Errorf("%.40q is not a protocol version", args[0])}
			}
			e.SetProtocol(v)
			return nil
		}),
		a.proposeFileCmd(p))
	p.flags(g)
	return g
}

func replaceAdmin(e *sdk.ConfigEditor, args []string) error {
	old, err := parseAddress(args[1])
	if err != nil {
		return usageError{err}
	}
	key, err := parseAddress(args[2])
	if err != nil {
		return usageError{err}
	}
	e.ReplaceAdmin(sdk.OrgID(args[0]), old, key)
	return nil
}

func rotateVoteKey(e *sdk.ConfigEditor, args []string) error {
	id, err := validatorID(args[0])
	if err != nil {
		return err
	}
	key, err := parseAddress(args[1])
	if err != nil {
		return usageError{err}
	}
	e.RotateVoteKey(id, key)
	return nil
}

func rotateHostKey(e *sdk.ConfigEditor, args []string) error {
	id, err := validatorID(args[0])
	if err != nil {
		return err
	}
	var card sdk.NodeCard
	if err := card.HostKey.UnmarshalText([]byte(args[1])); err != nil {
		return usageError{err}
	}
	e.RotateHostKey(id, card.HostKey)
	return nil
}

func adminEdit(f func(*sdk.ConfigEditor, sdk.OrgID, sdk.Address) *sdk.ConfigEditor) edit {
	return func(e *sdk.ConfigEditor, args []string) error {
		key, err := parseAddress(args[1])
		if err != nil {
			return usageError{err}
		}
		f(e, sdk.OrgID(args[0]), key)
		return nil
	}
}

func validatorID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 16)
	if err != nil || id == 0 {
		return 0, usageError{fmt.Errorf("%.40q is not a validator's number: assent member config shows them", s)}
	}
	return id, nil
}

func (a *app) card(path string) (*sdk.NodeCard, error) {
	b, err := a.input(path, sdk.MaxRecordFile)
	if err != nil {
		return nil, err
	}
	card, err := sdk.ParseNodeCard(b)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", path, err)}
	}
	return card, nil
}

func (a *app) addMemberCmd(p *proposing) *cobra.Command {
	var title string
	var roles, admins, cards []string
	c := leaf("add-member ORG", "Add a member, with validators if it has cards already", func(c *cobra.Command, args []string) error {
		m := sdk.ConfigMember{ID: args[0], Name: first(title, args[0]), Roles: roles}
		for _, s := range admins {
			key, err := parseAddress(s)
			if err != nil {
				return usageError{err}
			}
			m.Admins = append(m.Admins, key)
		}
		for _, path := range cards {
			card, err := a.card(path)
			if err != nil {
				return err
			}
			p.cards = append(p.cards, card)
		}
		return a.propose(c, p, func(e *sdk.ConfigEditor) error {
			e.AddMember(m)
			for _, card := range p.cards {
				e.AddValidator(card)
			}
			return nil
		})
	})
	c.Flags().StringVar(&title, "name", "", "name for people (default: ORG)")
	c.Flags().StringSliceVar(&roles, "role", nil, "DATA_PROVIDER, DATA_CONSUMER, CREDIT_REPORTING_AGENCY or AUDITOR; repeat")
	c.Flags().StringSliceVar(&admins, "admin", nil, "address of an admin key (assent member client new); repeat")
	c.Flags().StringSliceVar(&cards, "validator", nil, "card of a validator of the new member; repeat")
	return c
}

func (a *app) setAddrsCmd(p *proposing) *cobra.Command {
	var addrs []string
	c := leaf("set-address ID", "Change where other nodes reach a validator", func(c *cobra.Command, args []string) error {
		id, err := validatorID(args[0])
		if err != nil {
			return err
		}
		if len(addrs) == 0 {
			return usageError{errors.New("give --addr, the multiaddress at which other nodes dial it")}
		}
		return a.propose(c, p, func(e *sdk.ConfigEditor) error { e.SetAddrs(id, addrs); return nil })
	})
	c.Flags().StringSliceVar(&addrs, "addr", nil, "multiaddress, such as /dns4/node.bank.example/tcp/7400; up to 4")
	return c
}

func (a *app) setLimitsCmd(p *proposing) *cobra.Command {
	var next sdk.ConfigLimits
	c := leaf("set-limits", "Change limits of the network; what is not named stays", nil)
	limits := []struct {
		name string
		to   *uint64
		of   func(*sdk.ConfigLimits) *uint64
	}{
		{"max-request-bytes", &next.MaxRequestBytes, func(l *sdk.ConfigLimits) *uint64 { return &l.MaxRequestBytes }},
		{"max-block-bytes", &next.MaxBlockBytes, func(l *sdk.ConfigLimits) *uint64 { return &l.MaxBlockBytes }},
		{"max-block-requests", &next.MaxBlockRequests, func(l *sdk.ConfigLimits) *uint64 { return &l.MaxBlockRequests }},
		{"clock-tolerance-ms", &next.ClockToleranceMs, func(l *sdk.ConfigLimits) *uint64 { return &l.ClockToleranceMs }},
		{"max-exec-lag", &next.MaxExecLag, func(l *sdk.ConfigLimits) *uint64 { return &l.MaxExecLag }},
		{"observers-per-member", &next.ObserversPerMember, func(l *sdk.ConfigLimits) *uint64 { return &l.ObserversPerMember }},
	}
	for _, l := range limits {
		c.Flags().Uint64Var(l.to, l.name, 0, "(see node/ledger/SPEC.md)")
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.propose(c, p, func(e *sdk.ConfigEditor) error {
			e.SetLimits(func(now *sdk.ConfigLimits) {
				for _, l := range limits {
					if c.Flags().Changed(l.name) {
						*l.of(now) = *l.to
					}
				}
			})
			return nil
		})
	}
	return c
}

// proposeFileCmd takes a whole config, for changes that belong together.
func (a *app) proposeFileCmd(p *proposing) *cobra.Command {
	var cards []string
	c := leaf("file CONFIG", "Propose a whole config, edited from what assent member config prints", func(c *cobra.Command, args []string) error {
		next, err := a.configFile(args[0])
		if err != nil {
			return err
		}
		for _, path := range cards {
			card, err := a.card(path)
			if err != nil {
				return err
			}
			p.cards = append(p.cards, card)
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return a.proposeConfig(c, client, p, next)
	})
	c.Flags().StringSliceVar(&cards, "card", nil, "card of a new validator, for the preflight; repeat")
	return c
}

const maxConfigFile = 1 << 20

// configFile reads a config as assent member config prints it.
func (a *app) configFile(path string) (*sdk.Config, error) {
	b, err := a.input(path, maxConfigFile)
	if err != nil {
		return nil, err
	}
	next, err := sdk.ParseConfig(b)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", path, err)}
	}
	return next, nil
}

func (a *app) propose(c *cobra.Command, p *proposing, edit func(*sdk.ConfigEditor) error) error {
	client, err := a.dial(c.Context(), true)
	if err != nil {
		return err
	}
	e, err := client.Members().Edit(c.Context())
	if err != nil {
		return err
	}
	if err := edit(e); err != nil {
		return err
	}
	next, err := e.Config()
	if err != nil {
		return err
	}
	return a.proposeConfig(c, client, p, next)
}

// proposeConfig shows what changes and what the preflight says, and proposes.
func (a *app) proposeConfig(c *cobra.Command, client *sdk.Client, p *proposing, next *sdk.Config) error {
	current, err := client.Config(c.Context())
	if err != nil {
		return err
	}
	if p.out != "" {
		b, err := json.MarshalIndent(next, "", "  ")
		if err != nil {
			return err
		}
		if err := durable.Output(p.out, append(b, '\n'), 0o644); err != nil {
			return usageError{err}
		}
	}
	v := &changeView{ConfigHash: next.Hash().Hex(), ConfigSeq: next.Seq, Changes: sdk.DiffConfigs(current, next)}
	if v.Preflight, err = client.Members().Preflight(c.Context(), next, sdk.WithCards(p.cards...), p.down.option()); err != nil {
		return err
	}
	why := p.reason
	if p.force != "" && v.Preflight.Worst() == sdk.RemarkWarning {
		why = joined(why, "in spite of warnings: "+p.force)
	}
	why = joined(why, acceptedDown(v.Preflight))
	if err := a.stops(v, p.force); err != nil {
		return err
	}
	if p.dry {
		return a.show(v, v.text)
	}
	if v.Proposal, err = a.record(client.Members().Propose(c.Context(), next, sdk.Summarise(current, next, why))); err != nil {
		return err
	}
	return a.show(v, func(w io.Writer) {
		v.text(w)
		fmt.Fprintf(w, "Proposed. %s\nThe other members look at it and approve it: assent member approve %s\n", v.standing(), v.ConfigHash)
	})
}

func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// accepting are the node ids that --unreachable names.
type accepting struct{ nodes []string }

func (d *accepting) flag(f *pflag.FlagSet) {
	f.StringSliceVar(&d.nodes, "unreachable", nil, "id of a node that may be down when it is admitted; repeat. --force covers none")
}

func (d *accepting) option() sdk.PreflightOption {
	ids := make([]sdk.NodeID, len(d.nodes))
	for i, n := range d.nodes {
		ids[i] = sdk.NodeID(n)
	}
	return sdk.AcceptUnreachable(ids...)
}

// acceptedDown is what the other members read of nodes that were accepted as down:
// two ids, so that a reason has room for them.
func acceptedDown(p *sdk.Preflight) string {
	const most = 2
	switch n := len(p.Accepted); {
	case n == 0:
		return ""
	case n > most:
		return fmt.Sprintf("accepted as down: %s, %s and %d more", p.Accepted[0], p.Accepted[1], n-most)
	case n == most:
		return fmt.Sprintf("accepted as down: %s, %s", p.Accepted[0], p.Accepted[1])
	default:
		return fmt.Sprintf("accepted as down: %s", p.Accepted[0])
	}
}

// stops returns why a preflight ends the command, nil if it does not, and shows
// the change then; as JSON it is part of the error.
func (a *app) stops(v *changeView, force string) error {
	worst := v.Preflight.Worst()
	if worst != sdk.RemarkRefusal && (worst != sdk.RemarkWarning || force != "") {
		return nil
	}
	stop := refusedByPreflight{v, v.Preflight.Of(worst)}
	if a.flags.json {
		return stop
	}
	return errors.Join(a.show(v, v.text), stop)
}
