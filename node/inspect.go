package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// statusPath is where a running node tells the doctor how it is, on the
// operators' address.
const statusPath = "/status"

// serveStatus answers the doctor.
func (n *Node) serveStatus(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 20*time.Second)
	defer cancel()
	s, err := n.describe(ctx)
	if err != nil {
		n.log.Error("the doctor cannot be answered", "error", err)
		http.Error(w, "the ledger cannot be read, see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // whoever asked may have gone
}

// describe says how a running node is.
func (n *Node) describe(ctx context.Context) (*doctor.Node, error) {
	tip, engine := n.store.Tip(), n.chain.EngineStatus()
	executed, _, _ := n.state.Executed()
	reached, validators := n.reach()
	out := &doctor.Node{
		NodeID: n.ID(), Member: n.member, Software: n.version, Height: uint64(tip.Height), Executed: uint64(executed),
		BlockTime: time.UnixMilli(int64(tip.Header.Time)), ConfigSeq: tip.Config.Seq, Protocol: tip.Config.Protocol,
		Validators: validators, Reached: reached, Orders: n.orders(), Leader: uint64(engine.Leader), Engine: engine.Running, ViewAge: -1,
	}
	if _, why := n.standing(); why != nil {
		out.Standing = why.Error()
	}
	// A node that nobody asks has an old view; what matters is whether it can
	// have a new one.
	_, _ = n.view.Fresh(ctx, maxViewAge)
	if age, ok := n.view.Age(); ok {
		out.ViewAge = age
	}
	out.Accusations, out.Halt = n.accusationFacts(), n.halt()
	out.OutboxItems, out.OutboxOldest = n.outboxLoad()
	for _, r := range n.CheckVaults(ctx) {
		out.Vaults = append(out.Vaults, vaultFact(r))
	}
	view := n.state.View()
	for _, p := range n.host.Status() {
		x := doctor.Peer{NodeID: string(p.ID), Connected: p.Connected, RTT: p.RTT, LastError: p.LastError}
		x.Member, _ = n.dir.member(p.ID)
		if id, ok := n.dir.replica(p.ID); ok {
			x.Validator = uint64(id)
		}
		reachable(view, &x)
		out.Peers = append(out.Peers, x)
	}
	var err error
	if out.Ledger, err = onLedger(view, tip.Config, n.member, n.host.ID()); err != nil {
		return nil, err
	}
	if n.restored != nil {
		m := n.restored.now()
		out.Restored, err = restoredFacts(ctx, &m, tip.Config, n.host.ID(), view, n.private.Reader())
	}
	return out, err
}

func vaultFact(r VaultReport) doctor.Vault {
	v := doctor.Vault{Product: r.Product, Connector: r.Connector, State: string(r.State)}
	if r.Err != nil {
		v.Why = r.Err.Error()
	}
	return v
}

// reachable fills in where a node's API is, if its record says so.
func reachable(view *state.View, p *doctor.Peer) {
	r, err := loadRecord[record.Node](view, record.NodeKey(record.OrgID(p.Member), record.NodeID(p.NodeID)))
	if err == nil && r.RemovedAt == 0 {
		p.APIURLs, p.SPKI = r.APIURLs, hex0x(r.SPKI[:])
	}
}

func hex0x(b []byte) string { return "0x" + hex.EncodeToString(b) }

// onLedger reads what the ledger says about a node and its keys.
func onLedger(view *state.View, conf *ledger.Config, member string, self network.PeerID) (*doctor.OnLedger, error) {
	l := &doctor.OnLedger{}
	for i := range conf.Validators {
		v := &conf.Validators[i]
		if v.Member != member {
			continue
		}
		l.VoteKeys = append(l.VoteKeys, strings.ToLower(v.VoteKey.Hex()))
		if id, err := network.PeerIDFromPublicKey(v.HostKey[:]); err == nil && id == self {
			l.HostKey = hex0x(v.HostKey[:])
		}
	}
	r, err := loadRecord[record.Node](view, record.NodeKey(record.OrgID(member), record.NodeID(self)))
	if err == nil && r.RemovedAt == 0 {
		l.SPKI, l.TxKey, l.Answers = hex0x(r.SPKI[:]), strings.ToLower(r.TxKey.Hex()), r.Answers
		if l.HostKey == "" {
			l.HostKey = hex0x(r.HostKey)
		}
	}
	prefix := record.DataKeyPrefix(record.OrgID(member))
	rows, err := view.Range(prefix, prefixEnd(prefix), maxNodes)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		k, err := record.Load[record.DataKey](row.Value)
		if err != nil {
			return nil, err
		}
		until := k.ValidUntil
		if k.RevokedAt != 0 { // from then on, which may lie ahead
			until = min(until, k.RevokedAt)
		}
		l.DataKeys = append(l.DataKeys, doctor.DataKey{
			ID: string(k.KeyID), Until: time.UnixMilli(until), Revoked: k.RevokedAt != 0 && uint64(k.RevokedAt) <= view.Time(),
		})
	}
	return l, nil
}

// spkiOf returns the pin of a P-256 public key: 65 bytes in 0x-hex, as the
// keystore shows it.
func spkiOf(public string) string {
	point, err := decodeHex(public)
	if err != nil {
		return ""
	}
	// SubjectPublicKeyInfo of a P-256 key (RFC 5480) differs in its last 65 bytes
	// alone.
	sum := sha256.Sum256(slices.Concat(p256Info, point))
	return hex0x(sum[:])
}

var p256Info = []byte{
	0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
}
