package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
)

// lifeCmds are what can become of a consent besides being given and used.
func (a *app) lifeCmds() []*cobra.Command {
	return []*cobra.Command{
		a.countersignCmd(), a.terminationsCmd(), a.terminationCmd(), a.acknowledgeCmd(), a.confirmDeletionCmd(), a.dueCmd(),
		a.disputeCmd(), a.eraseCmd(),
	}
}

// example gives a command lines to copy.
func example(c *cobra.Command, lines string) *cobra.Command {
	c.Example = lines
	return c
}

// oneOf refuses a word that is not on a list, and names the list.
func oneOf[S ~string](flag string, v S, list []S) error {
	if !slices.Contains(list, v) {
		return usageError{fmt.Errorf("%s %.40q: write one of %s", flag, v, words(list))}
	}
	return nil
}

// hashFlag reads a flag that commits to something off the ledger.
func hashFlag(flag, text, what string) (sdk.Hash, error) {
	if text == "" {
		return sdk.Hash{}, usageError{fmt.Errorf("give %s: a salted commitment, 32 bytes in hex, to %s, which stays with you", flag, what)}
	}
	h, err := parseHash(text)
	if err != nil {
		return sdk.Hash{}, usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	if h == (sdk.Hash{}) {
		return sdk.Hash{}, usageError{fmt.Errorf("%s is zero: it commits to nothing", flag)}
	}
	return h, nil
}

func (a *app) countersignCmd() *cobra.Command {
	var hash string
	c := leaf("countersign CONSENT", "Authorise a written consent whose document you saw (another officer of the bank than brought it)", func(c *cobra.Command, args []string) error {
		h, err := hashFlag("--evidence-hash", hash, "the signed document that you saw")
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return a.changed(client.Consents().Countersign(c.Context(), sdk.ConsentID(args[0]), h))
	})
	c.Flags().StringVar(&hash, "evidence-hash", "", "the commitment that was brought with assent consent authorise --written")
	return example(c, "  assent consent countersign 0x000102030405060708090a0b0c0d0e0f --evidence-hash 0x5c1e…")
}

// revokeAs ends a consent in the name of a party or an authority.
func (a *app) revokeAs(c *cobra.Command, id sdk.ConsentID, by, why, hash string) error {
	who := map[string]sdk.Initiator{"party": sdk.ByParty, "authority": sdk.ByAuthority}[by]
	if who == "" {
		return usageError{fmt.Errorf("--by %.40q: write subject, party or authority", by)}
	}
	if !c.Flags().Changed("reason") {
		return usageError{fmt.Errorf("give --reason: for --by %s one of %s", by, words(sdk.RevocationReasons(who)))}
	}
	if err := oneOf("--reason", sdk.Reason(why), sdk.RevocationReasons(who)); err != nil {
		return err
	}
	grounds, err := hashFlag("--evidence-hash", hash, "the grounds")
	if err != nil {
		return err
	}
	client, err := a.dial(c.Context(), true)
	if err != nil {
		return err
	}
	return a.changed(client.Consents().RevokeAs(c.Context(), id, who, sdk.Reason(why), grounds))
}

func (a *app) terminationsCmd() *cobra.Command {
	var party string
	c := leaf("terminations", "List the endings that a party has not acknowledged", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Consents().Terminations(c.Context(), sdk.OrgID(party)), "CONSENT\tSTATUS\tREASON\tBY\tENDED\tDELETE UNTIL\tPENDING", func(w io.Writer, t *sdk.Termination) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ConsentID, t.Status, t.Reason, t.Initiator, when(t.EndedAt), when(t.DeletionDue), words(t.Pending))
		})
	})
	c.Flags().StringVar(&party, "party", "", "member (default: your own)")
	return example(c, "  assent consent terminations\n  assent consent terminations --party quick-loan --json")
}

func (a *app) terminationCmd() *cobra.Command {
	return example(leaf("termination CONSENT", "Show how a consent ended and who acknowledged it", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		t, err := client.Consents().Termination(c.Context(), sdk.ConsentID(args[0]))
		if err != nil {
			return err
		}
		return a.showRecord(t)
	}), "  assent consent termination 0x000102030405060708090a0b0c0d0e0f")
}

func (a *app) acknowledgeCmd() *cobra.Command {
	return example(leaf("acknowledge CONSENT", "Sign that your member knows of a consent's ending (a party; its node does so by itself)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		t, err := client.Consents().AcknowledgeTermination(c.Context(), sdk.ConsentID(args[0]))
		if err != nil {
			return err
		}
		return a.showOne(t, "ending of %s acknowledged; still pending: %s", t.ConsentID, none(words(t.Pending)))
	}), "  assent consent acknowledge 0x000102030405060708090a0b0c0d0e0f")
}

// showOne prints a record after a change: its JSON, or a sentence.
func (a *app) showOne(r sdk.Record, format string, args ...any) error {
	b, err := sdk.JSON(r)
	if err != nil {
		return err
	}
	return a.show(json.RawMessage(b), func(w io.Writer) { fmt.Fprintf(w, format+"\n", args...) })
}

func none(s string) string {
	if s == "" {
		return "nobody"
	}
	return s
}

func (a *app) confirmDeletionCmd() *cobra.Command {
	return example(leaf("confirm-deletion CONSENT", "Sign that every answer given under an ended consent is destroyed (lender)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		if err := a.confirm("Are all answers under " + args[0] + " destroyed, copies and backups included?"); err != nil {
			return err
		}
		d, err := client.Consents().ConfirmDeletion(c.Context(), sdk.ConsentID(args[0]))
		if err != nil {
			return err
		}
		return a.showOne(d, "deletion of the answers to %d permitted requests under %s is confirmed; it was due %s", d.Uses, d.ConsentID, when(d.Due))
	}), "  assent consent confirm-deletion 0x000102030405060708090a0b0c0d0e0f --yes")
}

// duty is something that the own member has to do by a date.
type duty struct {
	Due     string `json:"due"`
	What    string `json:"what"` // acknowledge, delete, erase or resolve
	Consent string `json:"consentId"`
	Dispute string `json:"disputeId,omitempty"`
	Command string `json:"command"`
	due     int64
}

func (a *app) dueCmd() *cobra.Command {
	var before, party string
	c := leaf("due", "List what your member has to do by when: deletions, erasures, disputes", func(c *cobra.Command, _ []string) error {
		ms, err := parseTime(before)
		if err != nil {
			return err
		}
		limit := time.Time{}
		if ms != 0 {
			limit = time.UnixMilli(ms)
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		duties, err := dutiesOf(c, client.Consents(), sdk.OrgID(party), limit)
		if err != nil {
			return err
		}
		return a.show(duties, func(w io.Writer) {
			fmt.Fprintln(w, "DUE\tWHAT\tCONSENT\tCOMMAND")
			for _, d := range duties {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Due, d.What, d.Consent, d.Command)
			}
		})
	})
	c.Flags().StringVar(&before, "before", "", "only what is due before this date or time (default: all)")
	c.Flags().StringVar(&party, "party", "", "member (default: your own)")
	return example(c, "  assent consent due\n  assent consent due --before 2027-01-31 --json")
}

// dutiesOf gathers the three lists, by due date.
func dutiesOf(c *cobra.Command, m sdk.Consents, party sdk.OrgID, before time.Time) ([]duty, error) {
	list := []duty{}
	add := func(due int64, what string, id sdk.ConsentID, dispute sdk.DisputeID, command string) {
		list = append(list, duty{when(due), what, string(id), string(dispute), command, due})
	}
	err := errors.Join(
		each(m.DeletionsDue(c.Context(), party, before), func(t *sdk.Termination) {
			add(t.DeletionDue, "delete the answers", t.ConsentID, "", "assent consent confirm-deletion "+string(t.ConsentID))
		}),
		each(m.ErasuresDue(c.Context(), party, before), func(e *sdk.Erasure) {
			add(e.Due, "erase what identifies the subject", e.ConsentID, "", "assent consent erase confirm "+string(e.ConsentID))
		}),
		each(m.DisputesDue(c.Context(), party, before), func(d *sdk.Dispute) {
			add(d.Due, "settle a dispute: "+string(d.Kind), d.ConsentID, d.DisputeID, "assent consent dispute resolve "+string(d.ConsentID)+" "+string(d.DisputeID))
		}),
	)
	slices.SortStableFunc(list, func(x, y duty) int { return int(min(max(x.due-y.due, -1), 1)) })
	return list, err
}

// each visits a list up to its first error.
func each[T any](items iter.Seq2[*T, error], visit func(*T)) error {
	for v, err := range items {
		if err != nil {
			return err
		}
		visit(v)
	}
	return nil
}
