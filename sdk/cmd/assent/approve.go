package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
)

// changeView is what the commands about a proposal print.
type changeView struct {
	ConfigHash string          `json:"configHash"`
	ConfigSeq  uint64          `json:"configSeq"`
	Status     string          `json:"status,omitempty"`
	Proposal   *proposalView   `json:"proposal,omitempty"`
	Missing    []string        `json:"missing,omitempty"` // members that have not approved
	Changes    []string        `json:"changes"`           // against the config in force
	Preflight  *sdk.Preflight  `json:"preflight,omitempty"`
	InForce    bool            `json:"inForce,omitempty"`
	Cannot     string          `json:"cannot,omitempty"` // why it cannot come into force with the programs that run
	Config     json.RawMessage `json:"config,omitempty"`
}

// proposalView is a proposal as the ledger holds it.
type proposalView struct {
	p   *sdk.Proposal
	raw json.RawMessage
}

func (v *proposalView) MarshalJSON() ([]byte, error) { return v.raw, nil }

func (a *app) record(p *sdk.Proposal, err error) (*proposalView, error) {
	if err != nil {
		return nil, err
	}
	raw, err := sdk.JSON(p)
	return &proposalView{p, raw}, err
}

func (v *changeView) text(w io.Writer) {
	fmt.Fprintf(w, "Config %d, %s\n", v.ConfigSeq, v.ConfigHash)
	for _, line := range v.Changes {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if v.Preflight == nil {
		return
	}
	fmt.Fprintln(w, "Preflight:")
	for _, r := range v.Preflight.Remarks {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", r.Level, r.Name, r.What)
		if r.Remedy != "" {
			fmt.Fprintf(w, "  \t\t→ %s\n", r.Remedy)
		}
	}
}

// standing says how far a proposal is.
func (v *changeView) standing() string {
	p := v.Proposal.p
	if p.Enough() {
		return fmt.Sprintf("It has its %d approvals; the network takes it over now.", p.Needed)
	}
	return fmt.Sprintf("%d of %d approvals.", len(p.Approvals), p.Needed)
}

// refusedByPreflight is a change that the preflight stopped.
type refusedByPreflight struct {
	change  *changeView
	remarks []sdk.Remark // of the worst level
}

func (r refusedByPreflight) Error() string { return r.what() + ". " + r.remedy() }

func (r refusedByPreflight) what() string {
	parts := make([]string, len(r.remarks))
	for i, k := range r.remarks {
		parts[i] = k.Name + " " + k.What
	}
	return "nothing was changed: " + strings.Join(parts, "; ")
}

func (r refusedByPreflight) remedy() string {
	parts := make([]string, len(r.remarks))
	for i, k := range r.remarks {
		parts[i] = k.Remedy
	}
	text := strings.Join(slices.Compact(parts), " ")
	if r.remarks[0].Level == sdk.RemarkWarning {
		text += " To go on all the same: --force with a reason."
	}
	return text
}

func (a *app) approveCmd() *cobra.Command {
	var force, signature, admin string
	var noWait bool
	var down accepting
	c := leaf("approve HASH", "Approve a proposed change for your member, after looking at it (admin)", func(c *cobra.Command, args []string) error {
		hash, err := parseHash(args[0])
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		v, err := a.look(c, client, hash, &down)
		if err != nil {
			return err
		}
		if err := a.stops(v, force); err != nil {
			return err
		}
		if !a.flags.json {
			if err := a.show(v, v.text); err != nil {
				return err
			}
		}
		if err := a.confirm("Approve this change?"); err != nil {
			return err
		}
		if signature != "" {
			err = a.bring(c, client, v, hash, admin, signature)
		} else {
			why := ""
			if v.Preflight.Worst() == sdk.RemarkWarning {
				why = force
			}
			why = joined(why, acceptedDown(v.Preflight))
			v.Proposal, err = a.record(client.Members().ApproveBecause(c.Context(), hash, why))
		}
		if err != nil {
			return err
		}
		return a.approved(c, client, v, hash, noWait)
	})
	c.Flags().StringVar(&force, "force", "", "approve in spite of warnings, for this reason; refusals stand")
	down.flag(c.Flags())
	c.Flags().StringVar(&signature, "signature", "", "approval that an admin key signed elsewhere (assent member sign), 0x-hex")
	c.Flags().StringVar(&admin, "admin", "", "address of that admin key")
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for the change to be in force")
	return c
}

// patience is how long approve waits for a change that has its approvals.
const patience = time.Minute

// bring takes an approval that was signed elsewhere to the ledger.
func (a *app) bring(c *cobra.Command, client *sdk.Client, v *changeView, hash sdk.Hash, admin, signature string) error {
	key, err := parseAddress(admin)
	if err != nil {
		return usageError{fmt.Errorf("--admin: %w", err)}
	}
	sig, err := hex.DecodeString(strings.TrimPrefix(signature, "0x"))
	if err != nil || len(sig) != 65 {
		return usageError{errors.New("--signature: want 0x and 130 hex digits, as assent member sign prints it")}
	}
	v.Proposal, err = a.record(client.Members().ApproveSigned(c.Context(), &sdk.SignedApproval{Admin: key, ConfigHash: hash, Signature: sig}))
	return err
}

// approved says what an approval brought about; with the last one it waits until
// the change is in force.
func (a *app) approved(c *cobra.Command, client *sdk.Client, v *changeView, hash sdk.Hash, noWait bool) error {
	p := v.Proposal.p
	v.Status = string(p.Status)
	if p.Enough() && !noWait {
		ctx, cancel := context.WithTimeout(c.Context(), max(a.flags.timeout, patience))
		defer cancel()
		_, err := client.Members().AwaitInForce(ctx, hash)
		if err != nil && ctx.Err() == nil {
			return err
		}
		v.InForce = err == nil
	}
	return a.show(v, func(w io.Writer) {
		if v.InForce {
			fmt.Fprintf(w, "Approved. Config %d is in force.\n", v.ConfigSeq)
			return
		}
		fmt.Fprintf(w, "Approved. %s\n", v.standing())
	})
}

// look fetches a proposal, what it changes and, unless down is nil, what the
// preflight says.
func (a *app) look(c *cobra.Command, client *sdk.Client, hash sdk.Hash, down *accepting) (*changeView, error) {
	ctx := c.Context()
	p, err := client.Members().Proposal(ctx, hash)
	if err != nil {
		return nil, err
	}
	next, cannot := client.Members().ProposedConfig(ctx, hash)
	if cannot != nil && (down != nil || sdk.CodeOf(cannot) != "BAD_REQUEST") {
		return nil, cannot
	}
	current, err := client.Config(ctx)
	if err != nil {
		return nil, err
	}
	v := &changeView{ConfigHash: hash.Hex(), ConfigSeq: p.ConfigSeq, Status: string(p.Status), Changes: []string{}}
	if v.Proposal, err = a.record(p, nil); err != nil {
		return nil, err
	}
	if cannot != nil {
		v.Cannot = cannot.Error()
	}
	if current.Seq < p.ConfigSeq {
		if next != nil {
			v.Changes = sdk.DiffConfigs(current, next)
		}
		for _, m := range current.Members {
			if p.ApprovalOf(sdk.OrgID(m.ID)) == nil {
				v.Missing = append(v.Missing, m.ID)
			}
		}
	}
	v.InForce = current.Hash() == hash
	if down != nil {
		v.Preflight, err = client.Members().Preflight(ctx, next, down.option())
	}
	return v, err
}

func (a *app) proposalStatusCmd() *cobra.Command {
	return &cobra.Command{Use: "status [HASH]", Short: "Show open proposals, or one: who approved, who is missing, what changes",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s: %d arguments, want none or one: %s", c.CommandPath(), len(args), c.UseLine())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.dial(c.Context(), true)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.showProposals(c, client)
			}
			hash, err := parseHash(args[0])
			if err != nil {
				return usageError{err}
			}
			v, err := a.look(c, client, hash, nil)
			if err != nil {
				return err
			}
			return a.show(v, func(w io.Writer) {
				v.text(w)
				v.approvals(w)
			})
		}}
}

func (v *changeView) approvals(w io.Writer) {
	p := v.Proposal.p
	fmt.Fprintf(w, "%s. Proposed by %s at %s.\n", p.Status, p.Proposer, when(p.ProposedAt))
	for _, line := range p.Summary {
		fmt.Fprintf(w, "  %s says: %s\n", p.Proposer, line)
	}
	for i := range p.Approvals {
		fmt.Fprintf(w, "  approved\t%s\t%s\t%s\n", p.Approvals[i].OrgID, lower(p.Approvals[i].Admin), when(p.Approvals[i].At))
	}
	for i := range p.Refusals {
		fmt.Fprintf(w, "  refused\t%s\t%s\t%s\n", p.Refusals[i].OrgID, when(p.Refusals[i].At), p.Refusals[i].Reason)
	}
	if p.Status == "REFUSED" {
		fmt.Fprintln(w, "It had its approvals and cannot come into force. Mend the reason, for instance by upgrading the nodes, and propose it again.")
	}
	if p.Status != "OPEN" {
		return
	}
	for _, org := range v.Missing {
		fmt.Fprintf(w, "  missing\t%s\n", org)
	}
	if v.Cannot != "" {
		fmt.Fprintf(w, "It cannot come into force with this program: %s\n", v.Cannot)
		return
	}
	fmt.Fprintln(w, v.standing())
}

func (a *app) showProposals(c *cobra.Command, client *sdk.Client) error {
	current, err := client.Config(c.Context())
	if err != nil {
		return err
	}
	return showAll(a, client.Members().Proposals(c.Context(), current.Seq+1), "HASH\tSTATUS\tAPPROVALS\tBY\tCHANGES", func(w io.Writer, p *sdk.Proposal) {
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\n", p.ConfigHash.Hex(), p.Status, len(p.Approvals), p.Needed, p.Proposer, p.Summary[0])
	})
}

func (a *app) withdrawCmd() *cobra.Command {
	return leaf("withdraw HASH", "Take back a proposal of your own member (admin)", func(c *cobra.Command, args []string) error {
		hash, err := parseHash(args[0])
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		p, err := client.Members().Withdraw(c.Context(), hash)
		if err != nil {
			return err
		}
		return a.showRecord(p)
	})
}

// preflightCmd looks without proposing or approving.
func (a *app) preflightCmd() *cobra.Command {
	var cards []string
	var down accepting
	c := leaf("preflight HASH|FILE", "Look whether the network would go on working with a proposed config", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		var next *sdk.Config
		if hash, herr := parseHash(args[0]); herr == nil {
			next, err = client.Members().ProposedConfig(c.Context(), hash)
		} else {
			next, err = a.configFile(args[0])
		}
		if err != nil {
			return err
		}
		current, err := client.Config(c.Context())
		if err != nil {
			return err
		}
		var list []*sdk.NodeCard
		for _, path := range cards {
			card, err := a.card(path)
			if err != nil {
				return err
			}
			list = append(list, card)
		}
		v := &changeView{ConfigHash: next.Hash().Hex(), ConfigSeq: next.Seq, Changes: sdk.DiffConfigs(current, next)}
		if v.Preflight, err = client.Members().Preflight(c.Context(), next, sdk.WithCards(list...), down.option()); err != nil {
			return err
		}
		if err := a.show(v, v.text); err != nil {
			return err
		}
		if l := v.Preflight.Worst(); l == sdk.RemarkRefusal || l == sdk.RemarkWarning {
			return verdict(exitUnwell)
		}
		return nil
	})
	c.Flags().StringSliceVar(&cards, "card", nil, "card of a new validator; repeat")
	down.flag(c.Flags())
	return c
}

// signCmd needs no network: the admin key may be on a machine that has none.
func (a *app) signCmd() *cobra.Command {
	return leaf("sign CONFIG", "Sign the approval of a config without a network (admin key, genesis file)", func(_ *cobra.Command, args []string) error {
		next, err := a.configFile(args[0])
		if err != nil {
			return err
		}
		p, err := a.settings()
		if err != nil {
			return err
		}
		if p.Genesis == "" {
			return usageError{errors.New("give --genesis: an approval is for one network")}
		}
		b, err := os.ReadFile(p.Genesis)
		if err != nil {
			return usageError{err}
		}
		genesis, err := sdk.ParseConfig(b)
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", p.Genesis, err)}
		}
		signer, err := a.signer(p)
		if err != nil {
			return err
		}
		if err := a.confirm(fmt.Sprintf("Approve config %d, %s?", next.Seq, next.Hash())); err != nil {
			return err
		}
		signed, err := sdk.SignConfig(genesis.Hash(), next, signer)
		if err != nil {
			return err
		}
		v := map[string]string{"admin": lower(signed.Admin), "configHash": signed.ConfigHash.Hex(), "signature": "0x" + hex.EncodeToString(signed.Signature)}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "assent member approve %s --admin %s --signature %s\n", v["configHash"], v["admin"], v["signature"])
		})
	})
}

func (a *app) configCmd() *cobra.Command {
	return leaf("config", "Show the config in force: members, admin keys, validators, limits", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		current, err := client.Config(c.Context())
		if err != nil {
			return err
		}
		return a.show(current, func(w io.Writer) {
			b, err := json.MarshalIndent(current, "", "  ")
			if err == nil {
				fmt.Fprintln(w, string(b))
			}
		})
	})
}

func (a *app) suspendCmds() []*cobra.Command {
	var why string
	suspend := leaf("suspend ORG", "Take a member out of use (admin or officer of an AUDITOR)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Members().Suspend(c.Context(), sdk.OrgID(args[0]), sdk.SuspensionReason(why))
		if err != nil {
			return err
		}
		return a.done(o, "member "+args[0]+" suspended")
	})
	suspend.Flags().StringVar(&why, "reason", "INVESTIGATION", "INVESTIGATION, MISUSE, SECURITY_INCIDENT, LICENCE_WITHDRAWN or COURT_ORDER")
	reinstate := leaf("reinstate ORG", "End a member's suspension (admin or officer of an AUDITOR)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Members().Reinstate(c.Context(), sdk.OrgID(args[0]))
		if err != nil {
			return err
		}
		return a.done(o, "member "+args[0]+" reinstated")
	})
	return []*cobra.Command{suspend, reinstate}
}

// rotateClientCmd registers a key with the roles of another and ends the other
// later, so that both work in between.
func (a *app) rotateClientCmd() *cobra.Command {
	var overlap time.Duration
	c := leaf("rotate OLD NEW", "Replace a client key by one with its roles; both work for a while (admin)", func(c *cobra.Command, args []string) error {
		old, err := parseAddress(args[0])
		if err != nil {
			return usageError{err}
		}
		key, err := parseAddress(args[1])
		if err != nil {
			return usageError{err}
		}
		if overlap < 0 {
			return usageError{errors.New("--overlap is negative")}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		was, err := client.Clients().Get(c.Context(), client.Org(), old)
		if err != nil {
			return err
		}
		if was.HasRole("admin", "node") {
			return usageError{errors.New("admin keys change with the config (assent member propose replace-admin), a node's key with its record (assent member node set)")}
		}
		spec := sdk.ClientSpec{Address: key, Label: was.Label, Roles: slices.Clone(was.Roles)}
		// Repeating the command after a failure between the two steps goes on.
		if _, err := client.Clients().Register(c.Context(), spec); err != nil && sdk.CodeOf(err) != "ALREADY_EXISTS" {
			return err
		}
		at := time.Time{}
		if overlap > 0 {
			at = a.now().Add(overlap)
		}
		o, err := client.Clients().Revoke(c.Context(), old, at, "ROTATED")
		if err != nil {
			return err
		}
		return a.done(o, fmt.Sprintf("key %s registered; %s ends %s", lower(key), lower(old), ends(at)))
	})
	c.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old key still works")
	return c
}

func ends(at time.Time) string {
	if at.IsZero() {
		return "now"
	}
	return at.UTC().Format(time.RFC3339)
}
