package console

import (
	"encoding/json"
	"net/http"
	"time"
)

// finding is a check with its colour.
type finding struct {
	Check
	State string // good, warn, bad
}

func (c *Console) findings(r *http.Request) (all []finding, state string) {
	state = "good"
	for _, check := range c.cfg.Node.Health(r.Context()) {
		f := finding{check, "good"}
		switch {
		case !check.OK && check.Advisory:
			f.State = "warn"
			if state == "good" {
				state = "warn"
			}
		case !check.OK:
			f.State, state = "bad", "bad"
		}
		all = append(all, f)
	}
	return all, state
}

func (c *Console) health(w http.ResponseWriter, r *http.Request, v *visitor) {
	all, state := c.findings(r)
	c.show(w, r, http.StatusOK, "health", v, &struct {
		State    string
		Findings []finding
		At       int64
		Software string
	}{state, all, c.cfg.Clock().UnixMilli(), c.cfg.Software})
}

// report is what an operator sends to who helps: how the node and its peers are, and
// nothing of what the ledger or the vaults hold.
func (c *Console) report(w http.ResponseWriter, r *http.Request, _ *visitor) {
	all, state := c.findings(r)
	type peer struct {
		Node      string  `json:"node"`
		Member    string  `json:"member"`
		Validator uint64  `json:"validator,omitempty"`
		Connected bool    `json:"connected"`
		Seconds   float64 `json:"seconds,omitempty"` // since then
		RTTMs     float64 `json:"rttMs,omitempty"`
		Error     string  `json:"error,omitempty"`
	}
	p := c.picture()
	var peers []peer
	for i := range p.Nodes {
		n := &p.Nodes[i]
		peers = append(peers, peer{n.NodeID, n.Member, n.Validator, n.Connected, n.For.Seconds(), float64(n.RTT) / float64(time.Millisecond), n.LastError})
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", `attachment; filename="assent-report.json"`)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(map[string]any{ // the browser may have gone
		"at": c.cfg.Clock().UTC().Format(time.RFC3339), "network": c.cfg.Network, "chainId": c.cfg.ChainID.Hex(), "member": c.cfg.Member, "node": c.cfg.NodeID,
		"software": c.cfg.Software, "state": state, "findings": reported(all), "height": p.Height, "executed": p.Executed, "certified": p.Certified,
		"view": p.View, "leader": p.Leader, "validators": p.Total, "reached": p.Reached, "quorum": p.Quorum, "pool": p.Pool, "peers": peers,
	})
}

func reported(all []finding) []map[string]string {
	out := []map[string]string{}
	for _, f := range all {
		line := map[string]string{"name": f.Name, "state": f.State}
		if f.Why != "" {
			line["why"] = f.Why
		}
		out = append(out, line)
	}
	return out
}
