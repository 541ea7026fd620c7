package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
)

// check is one thing that doctor looked at.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Level  string `json:"level"` // ok, warn: it works, but look; fail
	What   string `json:"what"`
	Remedy string `json:"remedy,omitempty"`
}

// grade fills in the level of a check that has none yet.
func (k *check) grade() {
	switch {
	case k.Level != "":
	case k.OK:
		k.Level = "ok"
	default:
		k.Level = "fail"
	}
}

const maxSkew = 5 * time.Second

func (a *app) doctorCmd() *cobra.Command {
	return leaf("doctor", "Check the set-up: nodes, network, TLS, clock, key, freshness", func(c *cobra.Command, _ []string) error {
		checks := a.examine(c.Context())
		well := true
		for i := range checks {
			checks[i].grade()
			well = well && checks[i].OK
		}
		err := a.show(map[string]any{"ok": well, "checks": checks}, func(w io.Writer) {
			for _, k := range checks {
				fmt.Fprintf(w, "%s\t%s\t%s\n", k.Level, k.Name, k.What)
				if k.Remedy != "" {
					fmt.Fprintf(w, "\t\t→ %s\n", k.Remedy)
				}
			}
		})
		if err == nil && !well {
			return verdict(exitUnwell)
		}
		return err
	})
}

func good(name, format string, args ...any) check {
	return check{Name: name, OK: true, What: fmt.Sprintf(format, args...)}
}

func bad(name string, err error) check {
	k := check{Name: name, What: err.Error()}
	var e *sdk.Error
	var conf *sdk.ConfigError
	if errors.As(err, &e) {
		k.What, k.Remedy = fmt.Sprintf("%s: %s", e.Code, e.What), e.Remedy
	} else if errors.As(err, &conf) {
		k.What, k.Remedy = conf.What, conf.Remedy
		if conf.Cause != nil {
			k.What += ": " + conf.Cause.Error()
		}
	}
	return k
}

func (a *app) examine(ctx context.Context) []check {
	p, err := a.settings()
	if err != nil {
		return []check{bad("profile", err)}
	}
	checks := []check{good("profile", "%d nodes, member %q", len(p.Endpoints), p.Org)}
	client, err := a.dial(ctx, false)
	if err != nil {
		return append(checks, bad("connect", err))
	}
	checks = append(checks, good("network", "%s, chain id %s", client.Genesis().Network, client.ChainID()))
	for _, s := range client.Compare(ctx) {
		checks = append(checks, nodeChecks(&s)...)
	}
	if client.Org() == "" {
		return append(checks, check{Name: "identity", What: "no key", Remedy: "Give --org and --key; without them only public facts can be read."})
	}
	return append(append(checks, keyCheck(ctx, client)), tlsChecks(ctx, client)...)
}

func nodeChecks(s *sdk.NodeStatus) []check {
	name := "node " + s.URL
	if s.Err != nil {
		return []check{bad(name, s.Err)}
	}
	out := []check{good(name, "of %s, %s, protocol %d, height %d, %.1f ms away", s.Member, s.Software, s.Protocol, s.Height, float64(s.RoundTrip.Microseconds())/1000)}
	if !s.Ready {
		out = append(out, check{Name: name, Level: "warn", What: "not ready: " + s.WhyNot, Remedy: "Wait for it to catch up, or ask its operator."})
	}
	switch {
	case s.Lie != nil:
		k := bad("freshness of "+s.URL, s.Lie)
		if k.Remedy == "" {
			k.Remedy = "Use another node, and ask this one's operator."
		}
		out = append(out, k)
	case s.Behind > 2:
		out = append(out, check{Name: "freshness of " + s.URL, Level: "warn", What: fmt.Sprintf("%d blocks behind", s.Behind), Remedy: "Use another node until it has caught up."})
	default:
		out = append(out, good("freshness of "+s.URL, "certified header %d shown and verified", s.Verified))
	}
	if s.ClockKnown {
		k := good("clock against "+s.URL, "differs by %s", s.ClockAhead)
		if s.ClockAhead > maxSkew || s.ClockAhead < -maxSkew {
			k.OK, k.Remedy = false, "Set the clocks by NTP: tokens and transactions carry times."
		}
		out = append(out, k)
	}
	return out
}

func keyCheck(ctx context.Context, client *sdk.Client) check {
	k, err := client.Clients().Get(ctx, client.Org(), client.Key())
	if err != nil {
		return bad("key "+lower(client.Key()), err)
	}
	if k.RevokedAt != 0 {
		return check{Name: "key " + lower(client.Key()), What: "revoked from " + when(k.RevokedAt), Remedy: "Register a new key."}
	}
	return good("key "+lower(client.Key()), "registered for %s as %s", client.Org(), words(k.Roles))
}

// tlsChecks holds the certificates that the nodes show against their records on
// the ledger.
func tlsChecks(ctx context.Context, client *sdk.Client) []check {
	var out []check
	for _, t := range client.CompareTLS(ctx) {
		name := "TLS of " + t.URL
		switch {
		case t.Err != nil:
			out = append(out, bad(name, t.Err))
		case t.Plain:
			out = append(out, check{Name: name, OK: true, What: "none: this machine only"})
		case t.Record == "":
			out = append(out, check{Name: name, OK: true, What: "key " + t.Shown.Hex()[2:] + "; the ledger has no record of a node at this address"})
		case t.Ledger != t.Shown:
			out = append(out, check{Name: name, What: "the key shown is not the one on the ledger for " + t.Record, Remedy: "Do not use it until its operator explains: somebody may stand between."})
		default:
			out = append(out, good(name, "key as on the ledger for %s", t.Record))
		}
	}
	return out
}
