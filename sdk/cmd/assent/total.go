package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/api"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/sdk"
)

// asking are the flags of exposure ask.
type asking struct {
	purpose  string
	deadline time.Duration
	keys     string
	ticket   string
	keep     bool
}

func (a *app) exposureAskCmd() *cobra.Command {
	var f asking
	cmd := &cobra.Command{
		Use:   "ask CONSENT[=TEMPLATE] CONSENT[=TEMPLATE] CONSENT[=TEMPLATE]...",
		Short: "Ask for the total of one subject's figures over 3 to 30 banks: request, wait for the shares, add up, verify",
		Long: "The consents are of one bank each, answered by the subject's wallet as a set (assent wallet endorse-set).\n" +
			"TEMPLATE is needed where a consent allows more than one. Without a total every bank at fault is named.",
		Example: "  assent exposure ask 0x0001… 0x0002… 0x0003… --keys KEYS\n  assent exposure ask --ticket total.json --keys KEYS   # goes on after a crash",
		Args: func(_ *cobra.Command, args []string) error {
			if n := len(args); n == 0 && f.ticket == "" || n > 0 && (n < exposure.MinBanks || n > exposure.MaxBanks) {
				return usageError{fmt.Errorf("exposure ask: %d consents, want %d to %d of one subject, or --ticket with the file of a request under way", n, exposure.MinBanks, exposure.MaxBanks)}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.askTotal(c.Context(), &f, args) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.purpose, "purpose", "CreditChecking", "purpose of this use")
	fl.DurationVar(&f.deadline, "deadline", 0, "the shares are wanted within this time (default: what the templates allow)")
	fl.StringVar(&f.keys, "keys", "", "folder that assent exposure ceremony keys wrote, or its file in-range.verify")
	fl.StringVar(&f.ticket, "ticket", "", "file that keeps the request under way, a secret (default: one below the configuration directory, removed when done); if it exists, that request goes on and the other arguments are ignored")
	fl.BoolVar(&f.keep, "keep", false, "keep the ticket file when done")
	return cmd
}

// exposureKeys is the option of the members' verifying key.
func exposureKeys(path string) (sdk.Option, error) {
	if path == "" {
		return nil, usageError{errors.New("--keys: name the folder with the keys of the members' ceremony: without them a total cannot be checked")}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, string(exposure.InRange)+".verify")
	}
	b, err := readFile(path, 64<<10)
	if err != nil {
		return nil, usageError{fmt.Errorf("--keys: %w", err)}
	}
	if _, err := exposure.ReadVerifyingKey(exposure.InRange, b); err != nil {
		return nil, usageError{fmt.Errorf("--keys %s: %w", path, err)}
	}
	return sdk.WithExposureKeys(b), nil
}

func (a *app) askTotal(ctx context.Context, f *asking, args []string) error {
	keys, err := exposureKeys(f.keys)
	if err != nil {
		return err
	}
	client, err := a.dial(ctx, true, keys)
	if err != nil {
		return err
	}
	t, file, err := takeTicket(a, &totalTickets, f.ticket, func() (*sdk.ExposureTicket, error) { return prepareTotal(ctx, client, f, args) })
	if err != nil {
		return err
	}
	a.kept, a.goOn = file, "assent exposure ask --keys "+f.keys+" --ticket "+file
	wait, cancel := a.within(ctx)
	defer cancel()
	r, err := client.Exposures().Run(wait, t)
	var none *sdk.NoTotal
	if err != nil && !errors.As(err, &none) {
		return err
	}
	if err := a.dropTicket(file, f.keep); err != nil {
		return err
	}
	if none != nil {
		return a.showNoTotal(none)
	}
	return a.showTotal(r)
}

var totalTickets = ticketKind[*sdk.ExposureTicket]{
	name: "total-", most: 64 << 10, parse: parseTotalTicket, store: jsonOf[*sdk.ExposureTicket],
	id: func(t *sdk.ExposureTicket) (string, error) { return idOf(t.Transaction) },
}

// parseTotalTicket reads the ticket of a request for a total as it is kept.
func parseTotalTicket(b []byte) (*sdk.ExposureTicket, error) {
	t := new(sdk.ExposureTicket)
	if err := json.Unmarshal(b, t); err != nil {
		return nil, err
	}
	if len(t.Query.Items) < exposure.MinBanks || len(t.Query.Items) > exposure.MaxBanks {
		return nil, errors.New("not the ticket of a request for a total")
	}
	if _, err := sdk.ParseTransaction(t.Transaction); err != nil {
		return nil, err
	}
	return t, nil
}

// prepareTotal makes the ticket of a set that the command line names.
func prepareTotal(ctx context.Context, client *sdk.Client, f *asking, args []string) (*sdk.ExposureTicket, error) {
	if len(args) == 0 {
		return nil, usageError{fmt.Errorf("%s: no request is under way there: name the consents", f.ticket)}
	}
	q := sdk.ExposureRequest{Purpose: sdk.Purpose(f.purpose), Deadline: f.deadline}
	for _, arg := range args {
		it, err := itemOf(ctx, client, arg)
		if err != nil {
			return nil, err
		}
		q.Items = append(q.Items, it)
	}
	return client.Exposures().Prepare(q)
}

// itemOf reads CONSENT or CONSENT=TEMPLATE.
func itemOf(ctx context.Context, client *sdk.Client, arg string) (sdk.ExposureItem, error) {
	consent, template, named := strings.Cut(arg, "=")
	it := sdk.ExposureItem{Consent: sdk.ConsentID(consent), Template: sdk.TemplateID(template)}
	if named {
		return it, nil
	}
	v, err := client.Consents().Get(ctx, it.Consent)
	if err != nil {
		return it, err
	}
	if len(v.TemplateIDs) != 1 {
		return it, usageError{fmt.Errorf("consent %s allows %d templates: say which one, %s=TEMPLATE", consent, len(v.TemplateIDs), consent)}
	}
	it.Template = v.TemplateIDs[0]
	return it, nil
}

// seatView is one bank of a set as --json prints it.
type seatView struct {
	Bank     string `json:"bank"`
	Consent  string `json:"consentId"`
	Template string `json:"template"`
	Code     string `json:"code"`
	Remedy   string `json:"remedy,omitempty"`
	Request  string `json:"requestId"`
	Epoch    uint64 `json:"epoch,omitempty"`
	Pledge   string `json:"pledge,omitempty"`
	Outcome  string `json:"outcome,omitempty"` // of its receipt; "": none yet
}

func viewOfSeat(s *sdk.ExposureSeat) seatView {
	v := seatView{Bank: string(s.Bank), Consent: string(s.ConsentID), Template: string(s.TemplateID), Code: string(s.Code), Request: string(s.RequestID), Epoch: s.Epoch}
	if s.Code != "PERMIT" {
		v.Remedy = api.Lookup(api.FromLedger(string(s.Code))).Remedy
	}
	if s.Pledge != (sdk.Hash{}) {
		v.Pledge = s.Pledge.Hex()
	}
	return v
}

func (a *app) showTotal(r *sdk.ExposureResult) error {
	d := r.Decision
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	seats := make([]seatView, len(d.Record.Seats))
	for i := range d.Record.Seats {
		seats[i] = viewOfSeat(&d.Record.Seats[i])
	}
	v := map[string]any{
		"exposureId": d.ID.Hex(), "decision": "DENY", "code": string(d.Code), "height": d.Height, "banks": seats, "verified": r.Verified != nil,
		"timing": map[string]float64{"decidedMs": ms(r.Timing.Decided), "openedMs": ms(r.Timing.Opened), "verifiedMs": ms(r.Timing.Verified)},
	}
	if d.Permit {
		v["decision"], v["total"] = "PERMIT", r.Total
		for i := range seats {
			seats[i].Outcome = string(r.Verified.Receipts[i].Outcome)
		}
	} else {
		v["remedy"] = d.Remedy
	}
	err := a.show(v, func(w io.Writer) {
		if !d.Permit {
			fmt.Fprintf(w, "DENY %s\t%s\n", d.Code, d.Remedy)
			for _, s := range seats {
				fmt.Fprintf(w, "%s\t%s\n", s.Bank, s.Code)
			}
			return
		}
		fmt.Fprintf(w, "total\t%d over %d banks; none of their figures is shown\n", r.Total, len(seats))
		fmt.Fprintf(w, "request\t%s, permitted at height %d\n", d.ID.Hex(), d.Height)
		fmt.Fprintf(w, "verified\teach share against its pledge and its receipt\n")
		fmt.Fprintf(w, "timing\tdecided %.1f ms, opened %.1f ms, verified %.1f ms\n", ms(r.Timing.Decided), ms(r.Timing.Opened), ms(r.Timing.Verified))
	})
	if err == nil && !d.Permit {
		return verdict(exitDenied)
	}
	return err
}

// remedies say what to do about a bank at fault.
var remedies = map[exposure.FaultKind]string{
	exposure.Missing:     "Ask the same set again, which tells nothing new; if it stays away, ask the bank's operator.",
	exposure.Late:        "Ask the same set again, with a longer --deadline.",
	exposure.Malformed:   "The bank's node sent what is no share: tell its operator; the request and its receipt prove what it committed to.",
	exposure.Replayed:    "The bank sent a share of another request or seat: tell its operator.",
	exposure.Conflicting: "The bank sent two different shares: tell its operator.",
	exposure.Unpledged:   "The bank does not stand by the pledge that it registered: tell its operator and the authority.",
	exposure.OutOfRange:  "The bank's range proof does not hold: compare the fingerprint of --keys with the other members', then tell the authority.",
	exposure.WrongShare:  "The bank changed its figure after it pledged: tell its operator and the authority.",
	exposure.MaskDispute: "One of the two banks lied about the mask between them: have the authority settle it.",
}

// showNoTotal names the banks without which there is no total.
func (a *app) showNoTotal(n *sdk.NoTotal) error {
	type faultView struct {
		Bank   string `json:"bank"`
		Kind   string `json:"kind"`
		With   string `json:"with,omitempty"`
		Detail string `json:"detail,omitempty"`
		Remedy string `json:"remedy"`
	}
	out := make([]faultView, len(n.Faults))
	for i, f := range n.Faults {
		out[i] = faultView{string(f.Bank), string(f.Kind), string(f.With), f.Detail, remedies[f.Kind]}
	}
	v := map[string]any{"exposureId": n.ID.Hex(), "decision": "PERMIT", "error": n.Error(), "faults": out, "retryable": n.Retryable(), "verified": false}
	err := a.show(v, func(w io.Writer) {
		fmt.Fprintln(w, "no total\tnothing was added up; nobody's figure is shown")
		for i, f := range n.Faults {
			fmt.Fprintf(w, "%s\t%s\n", f.String(), out[i].Remedy)
		}
	})
	if err != nil {
		return err
	}
	if n.Retryable() {
		return verdict(exitLater)
	}
	return verdict(exitLie)
}

func (a *app) exposureShowCmd() *cobra.Command {
	return leaf("show REQUEST", "Show a permitted set and which of its banks have recorded their shares, proven", func(c *cobra.Command, args []string) error {
		id, err := parseHash(args[0])
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		e, err := client.Exposures().Get(c.Context(), id)
		if err != nil {
			return err
		}
		seats := make([]seatView, len(e.Seats))
		for i := range e.Seats {
			seats[i] = viewOfSeat(&e.Seats[i])
			r, err := client.Queries().Receipt(c.Context(), e.Seats[i].RequestID)
			if err != nil {
				return err
			}
			if r.ReceiptProof != nil {
				seats[i].Outcome = string(r.Receipt.Outcome)
			}
		}
		v := map[string]any{"exposureId": id.Hex(), "consumer": string(e.Consumer), "recipient": string(e.Recipient), "purpose": string(e.Purpose),
			"requestedAt": when(e.RequestedAt), "deadline": when(e.Deadline), "banks": seats}
		if e.Threshold > 0 {
			v["threshold"] = e.Threshold
		}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "asked\t%s by %s for %s, shares wanted until %s\n", when(e.RequestedAt), e.Consumer, e.Purpose, when(e.Deadline))
			for _, s := range seats {
				fmt.Fprintf(w, "%s\tepoch %d\t%s\n", s.Bank, s.Epoch, first(s.Outcome, "no receipt yet"))
			}
		})
	})
}

func (a *app) exposureHistoryCmd() *cobra.Command {
	c := leaf("history KEY|CONSENT", "Show which sets were asked under a principal key, by whichever lender, and what may still be asked, proven", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), false)
		if err != nil {
			return err
		}
		key, err := principalOf(c.Context(), client, args[0])
		if err != nil {
			return err
		}
		h, err := client.Exposures().History(c.Context(), key)
		if err != nil {
			return err
		}
		return a.showHistory(h)
	})
	return example(c, "  assent exposure history 0x000102030405060708090a0b0c0d0e0f")
}

// principalOf is a principal key, or that of a consent.
func principalOf(ctx context.Context, client *sdk.Client, arg string) (sdk.Address, error) {
	if key, err := parseAddress(arg); err == nil {
		return key, nil
	}
	v, err := client.Consents().Get(ctx, sdk.ConsentID(arg))
	if err != nil {
		return sdk.Address{}, err
	}
	if v.PrincipalKey == (sdk.Address{}) {
		return sdk.Address{}, usageError{fmt.Errorf("consent %s has no principal key: it is of no set", arg)}
	}
	return v.PrincipalKey, nil
}

const historyRule = "Any of these sets may be asked again, which tells nothing new. Another one is denied, SET_TOO_CLOSE, if with these it shows one bank's figure: " +
	"two sets that differ by one bank do, in whichever epochs, and so do more that combine to it."

func (a *app) showHistory(h *sdk.ExposureHistory) error {
	type figureView struct {
		Bank     string `json:"bank"`
		Epoch    uint64 `json:"epoch"`
		Template string `json:"template"`
	}
	sets := make([][]figureView, len(h.Sets))
	for i := range h.Sets {
		for _, f := range h.Sets[i].Figures {
			sets[i] = append(sets[i], figureView{string(f.Bank), f.Epoch, string(f.TemplateID)})
		}
	}
	left := sdk.MaxExposureSets - len(h.Sets)
	v := map[string]any{"principalKey": strings.ToLower(h.PrincipalKey.Hex()), "sets": sets, "setsLeft": left, "rule": historyRule}
	return a.show(v, func(w io.Writer) {
		for i, s := range sets {
			fmt.Fprintf(w, "set %d", i+1)
			for _, f := range s {
				fmt.Fprintf(w, "\t%s (epoch %d)", f.Bank, f.Epoch)
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%d more sets may be asked under this key. %s\n", left, historyRule)
	})
}
