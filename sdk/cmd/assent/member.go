package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/sdk"
)

func (a *app) memberCmd() *cobra.Command {
	list := leaf("list", "List the member organisations", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Members().List(c.Context()), "ID\tTITLE\tROLES\tSTATE", func(w io.Writer, m *sdk.Member) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.OrgID, m.Title, words(m.Roles), stateOf(m))
		})
	})
	show := leaf("show ORG", "Show a member", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		m, err := client.Members().Get(c.Context(), sdk.OrgID(args[0]))
		if err != nil {
			return err
		}
		return a.showRecord(m)
	})
	return group("member", "Member organisations, their client keys, nodes and data keys", append(a.suspendCmds(), list, show, a.clientCmd(), a.nodeCmd(), a.dataKeyCmd(), a.configCmd(),
		a.proposeCmd(), a.approveCmd(), a.withdrawCmd(), a.proposalStatusCmd(), a.preflightCmd(), a.signCmd())...)
}

func stateOf(m *sdk.Member) string {
	switch {
	case !m.Active:
		return "left"
	case m.Suspension != nil:
		return fmt.Sprintf("suspended by %s (%s)", m.Suspension.OrgID, m.Suspension.Reason)
	}
	return "active"
}

func words[S ~string](list []S) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, ",")
}

// showAll prints what an iterator yields: a table, or a JSON list.
func showAll[T any, P interface {
	*T
	sdk.Record
}](a *app, items iter.Seq2[P, error], head string, row func(io.Writer, P)) error {
	rows := []json.RawMessage{}
	var all []P
	for v, err := range items {
		if err != nil {
			return err
		}
		b, err := sdk.JSON(v)
		if err != nil {
			return err
		}
		rows, all = append(rows, b), append(all, v)
	}
	return a.show(rows, func(w io.Writer) {
		fmt.Fprintln(w, head)
		for _, v := range all {
			row(w, v)
		}
	})
}

// done prints what a transaction did.
func (a *app) done(o *sdk.Outcome, what string) error {
	v := struct {
		TxID   string          `json:"txId"`
		Height uint64          `json:"height"`
		Result json.RawMessage `json:"result,omitempty"`
	}{o.TxID.Hex(), o.Height, nil}
	if json.Valid(o.Payload) {
		v.Result = o.Payload
	}
	return a.show(v, func(w io.Writer) { fmt.Fprintf(w, "%s in block %d, transaction %s\n", what, o.Height, o.TxID) })
}

func (a *app) clientCmd() *cobra.Command {
	fresh := leaf("new FILE", "Make a client key in a new file encrypted with a password", func(_ *cobra.Command, args []string) error {
		p, err := a.settings()
		if err != nil {
			return err
		}
		password, err := a.password(p, "new password for "+args[0], true)
		if err != nil {
			return err
		}
		key, err := sdk.NewKeyFile(args[0], password)
		if err != nil {
			return err
		}
		v := map[string]string{"address": lower(key), "file": args[0]}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "address %s\nHave an admin register it: assent member client add %s --role integration\n", lower(key), lower(key))
		})
	})
	var spec sdk.ClientSpec
	var roles []string
	var from, until string
	add := leaf("add ADDRESS", "Register a client key of your own member (admin)", func(c *cobra.Command, args []string) (err error) {
		if spec.Address, err = parseAddress(args[0]); err != nil {
			return usageError{err}
		}
		if spec.ValidUntil, err = parseTime(until); err != nil {
			return err
		}
		if spec.ValidFrom, err = parseTime(from); err != nil {
			return err
		}
		slices.Sort(roles)
		for _, r := range slices.Compact(roles) {
			spec.Roles = append(spec.Roles, sdk.ClientRole(r))
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Clients().Register(c.Context(), spec)
		if err != nil {
			return err
		}
		return a.done(o, "key "+lower(spec.Address)+" registered")
	})
	add.Flags().StringSliceVar(&roles, "role", nil, "operator, officer, integration or auditor; repeat")
	add.Flags().StringVar(&spec.Label, "label", "", "what the key is for, never who holds it")
	add.Flags().StringVar(&from, "from", "", "when it begins, RFC 3339 (default: at once)")
	add.Flags().StringVar(&until, "until", "", "when it ends, RFC 3339 (default: until revoked)")
	var why, end string
	revoke := leaf("revoke ADDRESS", "Revoke a client key of your own member (admin)", func(c *cobra.Command, args []string) error {
		key, err := parseAddress(args[0])
		if err != nil {
			return usageError{err}
		}
		at, said, err := endOfKey(end)
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Clients().Revoke(c.Context(), key, at, sdk.KeyReason(why))
		if err != nil {
			return err
		}
		return a.done(o, "key "+lower(key)+" revoked"+said)
	})
	revoke.Flags().StringVar(&end, "from", "", "from when it is refused, RFC 3339 (default: at once)")
	revoke.Flags().StringVar(&why, "reason", "ROTATED", "ROTATED, COMPROMISED or UNUSED")
	list := leaf("list ORG", "List the client keys of a member", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Clients().List(c.Context(), sdk.OrgID(args[0])), "ADDRESS\tROLES\tLABEL\tREVOKED", func(w io.Writer, k *sdk.Registered) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", lower(k.Address), words(k.Roles), k.Label, when(k.RevokedAt))
		})
	})
	return group("client", "Client keys", fresh, add, revoke, a.rotateClientCmd(), list)
}

func (a *app) nodeCmd() *cobra.Command {
	list := leaf("list", "List the nodes of all members", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Nodes().List(c.Context()), "MEMBER\tNODE\tKIND\tANSWERS\tAPI", func(w io.Writer, n *sdk.Node) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\n", n.OrgID, n.NodeID, n.Kind, n.Answers, strings.Join(n.APIURLs, " "))
		})
	})
	var observer bool
	set := leaf("set FILE", "Write the record of a node of your own member from its card or a JSON record, and publish the card's data key (admin)",
		func(c *cobra.Command, args []string) error { return a.setNode(c, args, observer) })
	set.Flags().BoolVar(&observer, "observer", false, "as an observer, though it is a validator's card: so it follows the network until the members have admitted it")
	remove := leaf("remove NODE", "Remove a node of your own member (admin)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Nodes().Remove(c.Context(), sdk.NodeID(args[0]))
		if err != nil {
			return err
		}
		return a.done(o, "node "+args[0]+" removed")
	})
	return group("node", "Node records", list, set, remove)
}

// setNode takes a node's card, as assentd init writes it, or a bare record.
func (a *app) setNode(c *cobra.Command, args []string, observer bool) error {
	b, err := a.input(args[0], sdk.MaxRecordFile)
	if err != nil {
		return err
	}
	card, err := sdk.ParseNodeCard(b)
	var spec sdk.NodeSpec
	switch {
	case errors.Is(err, sdk.ErrNoCard):
		if err := sdk.ReadRecord(b, &spec); err != nil {
			return usageError{fmt.Errorf("%s: %w", args[0], err)}
		}
	case err != nil:
		return usageError{fmt.Errorf("%s: %w", args[0], err)}
	default:
		spec = card.Spec()
	}
	if observer {
		spec.Kind = "observer"
	}
	client, err := a.dial(c.Context(), true)
	if err != nil {
		return err
	}
	if card != nil && card.Member != client.Org() {
		return usageError{fmt.Errorf("%s: the card is of a node of member %q, you act for %q", args[0], card.Member, client.Org())}
	}
	o, err := client.Nodes().Set(c.Context(), spec)
	if err != nil {
		return err
	}
	what := "node " + string(spec.NodeID) + " set"
	if card != nil {
		key, ok, err := card.DataKeySpec(a.now())
		if err != nil {
			return usageError{err}
		}
		if ok {
			what += ", data key " + string(key.KeyID) + " published"
			// A key never changes: one that is there already is this one.
			if _, err := client.DataKeys().Set(c.Context(), key); err != nil && sdk.CodeOf(err) != "ALREADY_EXISTS" {
				return err
			}
		}
	}
	return a.done(o, what)
}

func (a *app) dataKeyCmd() *cobra.Command {
	var from, until, public, out string
	add := leaf("add KEYID", "Publish a data key of your own member (admin, operator)", func(c *cobra.Command, args []string) error {
		spec := sdk.DataKeySpec{KeyID: sdk.DataKeyID(args[0]), Suite: sdk.SuiteX25519, ValidFrom: a.now().Add(-time.Minute).UnixMilli()}
		if err := a.publicKey(&spec, public, out); err != nil {
			return err
		}
		if from != "" {
			ms, err := parseTime(from)
			if err != nil {
				return err
			}
			spec.ValidFrom = ms
		}
		var err error
		if spec.ValidUntil, err = parseTime(first(until, a.now().AddDate(1, 0, 0).Format(time.RFC3339))); err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.DataKeys().Set(c.Context(), spec)
		if err != nil {
			return err
		}
		return a.done(o, "data key "+args[0]+" published")
	})
	add.Flags().StringVar(&public, "public", "", "X25519 public key, hex; without it a key pair is made")
	add.Flags().StringVar(&out, "out", "", "file for the private key of a new pair (hex; for the node's keystore)")
	add.Flags().StringVar(&from, "from", "", "RFC 3339 (default: now)")
	add.Flags().StringVar(&until, "until", "", "RFC 3339 (default: in a year)")
	var end string
	revoke := leaf("revoke KEYID", "End a data key of your own member (admin, operator)", func(c *cobra.Command, args []string) error {
		at, said, err := endOfKey(end)
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.DataKeys().Revoke(c.Context(), sdk.DataKeyID(args[0]), at)
		if err != nil {
			return err
		}
		return a.done(o, "data key "+args[0]+" revoked"+said)
	})
	revoke.Flags().StringVar(&end, "from", "", "from when it is refused, RFC 3339 (default: at once)")
	list := leaf("list ORG", "List the data keys of a member", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.DataKeys().List(c.Context(), sdk.OrgID(args[0])), "KEY\tFROM\tUNTIL\tREVOKED", func(w io.Writer, k *sdk.DataKey) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.KeyID, when(k.ValidFrom), when(k.ValidUntil), when(k.RevokedAt))
		})
	})
	return group("key", "Data keys, to which sealed parts are encrypted", add, revoke, list)
}

// endOfKey reads from when a key is to be refused; "" means at once.
func endOfKey(text string) (at time.Time, said string, err error) {
	if text == "" {
		return time.Time{}, "", nil
	}
	ms, err := parseTime(text)
	if err != nil {
		return time.Time{}, "", err
	}
	return time.UnixMilli(ms), " from " + text + " on", nil
}

// publicKey fills in a data key given as hex, or makes a pair and writes the
// private half to out.
func (a *app) publicKey(spec *sdk.DataKeySpec, public, out string) error {
	if public != "" {
		h, err := parseHash(public)
		if err != nil {
			return usageError{err}
		}
		spec.PublicKey = h[:]
		return nil
	}
	if out == "" {
		return usageError{fmt.Errorf("give --public with the node's key, or --out with a file for a new private key")}
	}
	key, err := answer.GenerateKey()
	if err != nil {
		return err
	}
	private, err := key.Bytes()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usageError{err}
	}
	if _, err = fmt.Fprintf(f, "%x\n", private); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	spec.PublicKey = key.PublicKey().Bytes()
	return err
}

func lower(a sdk.Address) string { return strings.ToLower(a.Hex()) }

func when(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

// parseTime reads RFC 3339, or a duration from now; "" is 0.
func parseTime(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, s); err != nil {
			return 0, usageError{fmt.Errorf("%.40q is not a time: write 2027-01-31 or 2027-01-31T12:00:00Z", s)}
		}
	}
	return t.UnixMilli(), nil
}
