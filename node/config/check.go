package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	memberName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	keyName    = regexp.MustCompile(`^[a-z0-9_-][a-z0-9._-]{0,63}$`)
	dnsName    = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	listenAddr = regexp.MustCompile(`^/(ip4|ip6|dns|dns4|dns6)/[^/]+/tcp/[0-9]{1,5}$`)
	nodeID     = regexp.MustCompile(`^[1-9A-HJ-NP-Za-km-z]{16,80}$`) // base58
	columnName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
)

// Check joins every complaint about c, or returns nil. Load has called it.
func (c *Config) Check() error { return errors.Join(c.complaints()...) }

func (c *Config) complaints() []error {
	d := &decoder{}
	d.required("dataDir", c.DataDir, "name a directory for blocks and state")
	d.required("genesis", c.Genesis, "name the network's genesis file")
	d.identity(c.Identity)
	if len(c.Network.Listen) == 0 || len(c.Network.Listen) > 4 {
		d.complain("network.listen", "has %d addresses, want 1 to 4", len(c.Network.Listen))
	}
	for i, a := range c.Network.Listen {
		if !listenAddr.MatchString(a) {
			d.complain(fmt.Sprintf("network.listen[%d]", i), "has %s, want a multiaddress such as /ip4/0.0.0.0/tcp/7400", show("", a))
		}
	}
	d.entry(c.Network.Entry)
	d.api(c.API)
	d.answering(c.Answering)
	d.limits(c.Limits)
	d.snapshots(c.Snapshots, c.Retention)
	d.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", c.Log.Format, "json", "text")
	if c.Metrics.Listen != Off {
		d.hostPort("metrics.listen", c.Metrics.Listen, " or off")
	}
	return d.complaints
}

func (d *decoder) required(path, v, remedy string) {
	if v == "" {
		d.complain(path, "is missing: %s (file, %s or flag)", remedy, EnvName(path))
	}
}

func (d *decoder) oneOf(path, v string, allowed ...string) {
	if !slices.Contains(allowed, v) {
		d.complain(path, "has %s, want one of %s%s", show(path, v), strings.Join(allowed, ", "), meant(v, allowed, ""))
	}
}

func (d *decoder) hostPort(path, v, or string) {
	host, port, err := net.SplitHostPort(v)
	_, perr := strconv.ParseUint(port, 10, 16) // 0 lets the system choose
	_, ierr := netip.ParseAddr(host)
	if err != nil || perr != nil || host != "" && ierr != nil && !dnsName.MatchString(host) {
		d.complain(path, "has %s, want host:port such as 127.0.0.1:7443%s", show(path, v), or)
	}
}

func (d *decoder) identity(id Identity) {
	switch {
	case id.Member == "":
		d.required("identity.member", "", "name the member as the genesis file does")
	case !memberName.MatchString(id.Member):
		d.complain("identity.member", "has %s, want 1 to 64 of letters, digits, '.', '_' and '-', as in the genesis file", show("", id.Member))
	}
	d.oneOf("identity.node", id.Node, "validator", "observer")
	d.required("identity.keysDir", id.KeysDir, "name the directory of encrypted keys")
	scheme, rest, _ := strings.Cut(id.Password, ":")
	if id.Password != "prompt" && (scheme != "file" && scheme != "env" || rest == "") {
		d.complain("identity.password", "want file:<path>, env:<variable> or prompt; the password itself does not belong here") // the value may be one
	}
	names := []struct{ path, v string }{
		{"identity.hostKey", id.HostKey}, {"identity.txKey", id.TxKey}, {"identity.tlsKey", id.TLSKey},
	}
	if id.Node != "observer" {
		names = append(names, struct{ path, v string }{"identity.voteKey", id.VoteKey})
	}
	if id.NextVote != "" {
		names = append(names, struct{ path, v string }{"identity.nextVoteKey", id.NextVote})
		if id.Node == "observer" {
			d.complain("identity.nextVoteKey", "is set on an observer: only a validator has vote keys; set identity.node to validator, or leave it out")
		}
	}
	if id.NextHost != "" {
		names = append(names, struct{ path, v string }{"identity.nextHostKey", id.NextHost})
	}
	for i, n := range id.DataKeys {
		names = append(names, struct{ path, v string }{fmt.Sprintf("identity.dataKeys[%d]", i), n})
	}
	seen := map[string]string{}
	for _, n := range names {
		if !keyName.MatchString(n.v) {
			d.complain(n.path, "has %s, want the name of a key: 1 to 64 of a-z, 0-9, '-', '_', '.'", show("", n.v))
		} else if other, ok := seen[n.v]; ok {
			d.complain(n.path, "names key %q as %s does: every use has its own key", n.v, other)
		}
		seen[n.v] = n.path
	}
}

// maxEntry bounds the validators by which a node may begin.
const maxEntry = 16

func (d *decoder) entry(list []string) {
	if len(list) > maxEntry {
		d.complain("network.entry", "has %d addresses, want at most %d", len(list), maxEntry)
	}
	for i, a := range list {
		addr, id, ok := strings.Cut(a, "/p2p/")
		if !ok || !listenAddr.MatchString(addr) || !nodeID.MatchString(id) {
			d.complain(fmt.Sprintf("network.entry[%d]", i), "has %s, want an address with the node's id, as assentd card prints it there: /dns4/node.bank.example/tcp/7400/p2p/<node id>", show("", a))
		}
	}
}

func (d *decoder) api(a API) {
	d.hostPort("api.listen", a.Listen, "")
	if len(a.Names) == 0 || len(a.Names) > 32 {
		d.complain("api.names", "has %d names, want 1 to 32: list the names and addresses that clients dial", len(a.Names))
	}
	for i, n := range a.Names {
		if _, err := netip.ParseAddr(n); err != nil && (len(n) > 253 || !dnsName.MatchString(n)) {
			d.complain(fmt.Sprintf("api.names[%d]", i), "has %s, want a DNS name or an IP address, without port", show("", n))
		}
	}
	for i, g := range a.Guests {
		if !memberName.MatchString(g) {
			d.complain(fmt.Sprintf("api.guests[%d]", i), "has %s, want a member's identifier", show("", g))
		}
	}
}

func (d *decoder) answering(a Answering) {
	if a.Enabled && len(a.Vaults) == 0 {
		d.complain("answering.vaults", "is empty, but answering.enabled is true: map a data product, or set it to false")
	}
	if !a.Enabled && len(a.Vaults) > 0 {
		d.complain("answering.enabled", "is false, but answering.vaults maps %d products: set it to true, or remove them", len(a.Vaults))
	}
	products := map[string]bool{}
	for i, v := range a.Vaults {
		path := fmt.Sprintf("answering.vaults[%d]", i)
		if products[v.Product] {
			d.complain(path+".product", "has %s for the second time: keep one mapping per product", show("", v.Product))
		}
		products[v.Product] = true
		d.vault(path, v)
	}
}

func (d *decoder) vault(path string, v Vault) {
	if !memberName.MatchString(v.Product) {
		d.complain(path+".product", "has %s, want the identifier of a data product", show("", v.Product))
	}
	d.oneOf(path+".connector", v.Connector, "sqlite", "postgres", "mysql")
	d.vaultSource(path, v)
	if v.Connections < 0 || v.Connections > 64 {
		d.complain(path+".connections", "has %d, want 1 to 64, or 0 for the default", v.Connections)
	}
	if (v.Table == "") == (v.Query == "") {
		d.complain(path, "want either table or query: keep one")
	}
	if !columnName.MatchString(v.Key) {
		d.complain(path+".key", "has %s, want the column with the canonical subject identifier", show("", v.Key))
	}
	if v.Timeout < 10*time.Millisecond || v.Timeout > time.Minute {
		d.complain(path+".timeout", "has %s, want 10ms to 1m", v.Timeout)
	}
	if len(v.Columns) == 0 || len(v.Columns) > 256 {
		d.complain(path+".columns", "has %d columns, want 1 to 256", len(v.Columns))
	}
	seen := map[string]bool{}
	for i, c := range v.Columns {
		at := fmt.Sprintf("%s.columns[%d]", path, i)
		if !columnName.MatchString(c.Name) || seen[c.Name] {
			d.complain(at+".name", "has %s, want a name of letters, digits and '_' that no other column has", show("", c.Name))
		}
		seen[c.Name] = true
		d.oneOf(at+".type", c.Type, "int", "string", "bool")
		if c.Scale < 0 || c.Scale > 9 || c.Scale != 0 && c.Type != "int" {
			d.complain(at+".scale", "has %d, want 0 to 9, and 0 unless the type is int", c.Scale)
		}
		if len(c.Stored) > 63 {
			d.complain(at+".stored", "has %s, want the name of a type, such as NUMERIC(12,2)", show("", c.Stored))
		}
	}
}

// vaultSource sees to it that no password stands where it would be shown.
func (d *decoder) vaultSource(path string, v Vault) {
	if v.Source == "" {
		d.complain(path+".source", "is missing: name the database file, or the URL of the server")
	}
	if v.Connector != "sqlite" {
		u, err := url.Parse(v.Source)
		if err != nil || u.Scheme == "" {
			d.complain(path+".source", "want a URL such as %s://reader@db.bank.example/core", v.Connector) // the value may hold a password
		} else if _, has := u.User.Password(); has || u.Query().Has("password") {
			d.complain(path+".source", "holds a password: take it out, and say where it is in %s.password: file:<path> or env:<variable>", path)
		}
	}
	scheme, rest, _ := strings.Cut(v.Password, ":")
	switch {
	case v.Password == "":
	case v.Connector == "sqlite":
		d.complain(path+".password", "is set, but an SQLite file has no accounts: remove it")
	case scheme != "file" && scheme != "env" || rest == "":
		d.complain(path+".password", "want file:<path> or env:<variable>; the password itself does not belong here")
	}
}

func (d *decoder) limits(l Limits) {
	whole := func(path string, v, least, most int) {
		if v < least || v > most {
			d.complain(path, "has %d, want %d to %d", v, least, most)
		}
	}
	rate := func(path string, v float64) {
		if !(v >= 0.1 && v <= 1e6) {
			d.complain(path, "has %v, want 0.1 to 1000000 per second", v)
		}
	}
	whole("limits.poolRequests", l.PoolRequests, 100, 1_000_000)
	rate("limits.clientRate", l.ClientRate)
	whole("limits.clientBurst", l.ClientBurst, 1, 1_000_000)
	rate("limits.anonymousRate", l.AnonymousRate)
	whole("limits.clientStreams", l.ClientStreams, 1, 100_000)
	rate("limits.memberRate", l.MemberRate)
	whole("limits.memberCalls", l.MemberCalls, 1, 100_000)
	whole("limits.memberBytes", l.MemberBytes, 8<<20, 4<<30)
	whole("limits.eventStreams", l.EventStreams, 1, 10_000)
	whole("limits.eventBytes", l.EventBytes, 64<<10, 1<<30)
	whole("limits.connections", l.Connections, 4, 100_000)
	whole("limits.connectionsPerAddress", l.PerAddress, 1, 100_000)
	rate("limits.peerTxRate", l.PeerTxRate)
	if l.RequestTimeout < 100*time.Millisecond || l.RequestTimeout > 5*time.Minute {
		d.complain("limits.requestTimeout", "has %s, want 100ms to 5m", l.RequestTimeout)
	}
}

func (d *decoder) snapshots(s Snapshots, r Retention) {
	for _, n := range []struct {
		path        string
		v, low, top int
	}{
		{"snapshots.every", s.Every, 0, 1 << 40}, {"snapshots.keep", s.Keep, 1, 100},
		{"snapshots.bytesPerSecond", s.Rate, 1 << 20, 1 << 40}, {"snapshots.joinAbove", s.JoinAbove, 0, 1 << 40},
	} {
		if n.v < n.low || n.v > n.top {
			d.complain(n.path, "has %d, want %d to %d", n.v, n.low, n.top)
		}
	}
	if r.Blocks != 0 && r.Blocks < time.Hour {
		d.complain("retention.blocks", "has %s, want an hour at least, or 0 to keep all", r.Blocks)
	}
	if r.Records != 0 && r.Records < time.Second {
		d.complain("retention.records", "has %s, want %s at least, or 0 to keep all", r.Records, ThreeYears)
	}
}
