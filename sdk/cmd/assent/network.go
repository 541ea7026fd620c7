package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/sdk"
)

func (a *app) networkCmd() *cobra.Command {
	status := leaf("status", "Show every node of the profile, who lags and who lies", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), false)
		if err != nil {
			return err
		}
		return a.showStatus(client, client.Compare(c.Context()))
	})
	var out string
	genesis := leaf("genesis", "Fetch the genesis config; compare its chain id with another member's", func(c *cobra.Command, _ []string) error {
		p, err := a.settings()
		if err != nil {
			return err
		}
		opts, err := a.trusted(p, true)
		if err != nil {
			return err
		}
		client, err := a.connect(c.Context(), p, opts)
		if err != nil {
			return err
		}
		g := client.Genesis()
		if out != "" {
			b, err := sdk.FormatGenesis(g)
			if err != nil {
				return err
			}
			if err := durable.Output(out, b, 0o644); err != nil {
				return err
			}
		}
		v := struct {
			ChainID string `json:"chainId"`
			Network string `json:"network"`
			Config  any    `json:"config"`
			File    string `json:"file,omitempty"`
		}{client.ChainID().Hex(), g.Network, g, out}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "network\t%s\nchain id\t%s\nfounded\t%s\n", g.Network, v.ChainID, time.UnixMilli(int64(g.GenesisTime)).UTC().Format(time.RFC3339))
			for _, m := range g.Members {
				fmt.Fprintf(w, "member\t%s\t%s\t%v\n", m.ID, m.Name, m.Roles)
			}
			for _, n := range g.Validators {
				fmt.Fprintf(w, "validator\t%d\tof %s\n", n.ID, n.Member)
			}
			if out != "" {
				fmt.Fprintf(w, "written to\t%s\n", out)
			}
		})
	})
	genesis.Flags().StringVarP(&out, "out", "o", "", "write the genesis file")
	return group("network", "The network as a whole", status, genesis)
}

// nodeView is a node's status as --json prints it.
type nodeView struct {
	URL       string  `json:"url"`
	Error     string  `json:"error,omitempty"`
	Member    string  `json:"member,omitempty"`
	NodeID    string  `json:"nodeId,omitempty"`
	Validator uint64  `json:"validator,omitempty"`
	Software  string  `json:"software,omitempty"`
	Height    uint64  `json:"height"`
	Executed  uint64  `json:"executed"`
	Certified uint64  `json:"certified"`
	Verified  uint64  `json:"verified"`
	Behind    uint64  `json:"behind"`
	ConfigSeq uint64  `json:"configSeq"`
	Leader    uint64  `json:"leader"`
	Peers     uint64  `json:"peers"`
	Ready     bool    `json:"ready"`
	WhyNot    string  `json:"whyNot,omitempty"`
	Lie       string  `json:"lie,omitempty"`
	RoundTrip float64 `json:"roundTripMs"`
	ViewAgeMs int64   `json:"viewAgeMs"`
}

func viewOf(s sdk.NodeStatus) nodeView {
	v := nodeView{
		URL: s.URL, Member: string(s.Member), NodeID: s.NodeID, Validator: s.Validator, Software: s.Software, Height: s.Height,
		Executed: s.Executed, Certified: s.Certified, Verified: s.Verified, Behind: s.Behind, ConfigSeq: s.ConfigSeq,
		Leader: s.Leader, Peers: s.Peers, Ready: s.Ready, WhyNot: s.WhyNot, RoundTrip: float64(s.RoundTrip.Microseconds()) / 1000,
		ViewAgeMs: s.ViewAge.Milliseconds(),
	}
	if s.Err != nil {
		v.Error = s.Err.Error()
	}
	if s.Lie != nil {
		v.Lie = s.Lie.Error()
	}
	return v
}

func (a *app) showStatus(client *sdk.Client, list []sdk.NodeStatus) error {
	views := make([]nodeView, len(list))
	reached := false
	for i, s := range list {
		views[i] = viewOf(s)
		reached = reached || s.Err == nil
	}
	v := struct {
		ChainID string     `json:"chainId"`
		Network string     `json:"network"`
		Nodes   []nodeView `json:"nodes"`
	}{client.ChainID().Hex(), client.Genesis().Network, views}
	err := a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "network %s, chain id %s\n", v.Network, v.ChainID)
		fmt.Fprintln(w, "NODE\tMEMBER\tHEIGHT\tEXECUTED\tVERIFIED\tBEHIND\tLEADER\tREADY")
		for _, n := range views {
			if n.Error != "" {
				fmt.Fprintf(w, "%s\t%s\n", n.URL, n.Error)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%v %s\n", n.URL, n.Member, n.Height, n.Executed, n.Verified, n.Behind, n.Leader, n.Ready, n.WhyNot)
			if n.Lie != "" {
				fmt.Fprintf(w, "  does not verify: %s\n", n.Lie)
			}
		}
	})
	if err == nil && !reached {
		return verdict(exitLater)
	}
	return err
}
