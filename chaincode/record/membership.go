package record

import (
	"errors"
	"fmt"
	"strings"
)

const (
	maxMembers   = 256
	maxAdminKeys = 16
	maxEndpoints = 8
	maxEndpoint  = 256
)

// DefaultObserversPerMember is how many observers a member may register when
// the ordering config does not say.
const DefaultObserversPerMember = 4

// OrderingConfig is what the contracts see of the ordering config in force. The
// node hands it over at genesis and at each config block.
type OrderingConfig struct {
	ChainID            Hash
	Config             []byte // the ordering config's bytes, when it is handed over; the contract keeps them beside this record
	ConfigHash         Hash   // of the ordering config's bytes; zero: not told
	ConfigSeq          uint64
	Members            []ConfigMember // strictly ascending by OrgID
	ObserversPerMember uint64         // 0: DefaultObserversPerMember
	ProtocolVersion    uint64
}

// ConfigMember is one member in the ordering config.
type ConfigMember struct {
	AdminKeys []Address // strictly ascending
	OrgID     OrgID
	Roles     []MemberRole // strictly ascending
	Title     string
}

func (v *OrderingConfig) fields(c *codec) {
	hash(c, "chainId", &v.ChainID)
	optBase64Bytes(c, "config", &v.Config, MaxConfigBytes)
	optHash(c, "configHash", &v.ConfigHash)
	number(c, "configSeq", &v.ConfigSeq)
	objects(c, "members", &v.Members, maxMembers)
	optNumber(c, "observersPerMember", &v.ObserversPerMember)
	number(c, "protocolVersion", &v.ProtocolVersion)
}

func (v *ConfigMember) fields(c *codec) {
	addresses(c, "adminKeys", &v.AdminKeys, maxAdminKeys)
	text(c, "orgId", &v.OrgID, maxID)
	enums(c, "roles", &v.Roles, memberRoles)
	text(c, "title", &v.Title, maxTitle)
}

// maxSize lets in the largest config that the ordering level admits.
func (*OrderingConfig) maxSize() int { return 768 << 10 }

// Check implements Checked. It must admit every config that the ordering level
// admits: that one is in force whatever a contract thinks of it.
func (v *OrderingConfig) Check() error {
	if v.ChainID == (Hash{}) {
		return errors.New("chainId: zero")
	}
	if len(v.Config) != 0 && ConfigHash(v.Config) != v.ConfigHash {
		return errors.New("config: not the bytes that configHash names")
	}
	if len(v.Members) == 0 {
		return errors.New("members: want at least one")
	}
	for i := range v.Members {
		m := &v.Members[i]
		if i > 0 && v.Members[i-1].OrgID >= m.OrgID {
			return errors.New("members: want strictly ascending organisation ids")
		}
		if err := m.check(); err != nil {
			return fmt.Errorf("member %d: %w", i, err)
		}
	}
	return nil
}

func (v *ConfigMember) check() error {
	if err := v.OrgID.Check(); err != nil {
		return err
	}
	if len(v.AdminKeys) == 0 {
		return errors.New("adminKeys: want at least one")
	}
	for i, key := range v.AdminKeys {
		if i > 0 && v.AdminKeys[i-1].Cmp(key) >= 0 {
			return errors.New("adminKeys: want strictly ascending order")
		}
	}
	return checkSet("roles", v.Roles, 0)
}

// Member is a member organisation.
type Member struct {
	Active     bool   // in the ordering config in force
	ConfigSeq  uint64 // config that wrote this record
	Observers  uint64 // observers it has registered
	OrgID      OrgID
	Roles      []MemberRole
	Suspension *Suspension // nil: not suspended
	Title      string
}

func (v *Member) fields(c *codec) {
	boolean(c, "active", &v.Active)
	number(c, "configSeq", &v.ConfigSeq)
	number(c, "observers", &v.Observers)
	text(c, "orgId", &v.OrgID, maxID)
	enums(c, "roles", &v.Roles, memberRoles)
	optObject(c, "suspension", &v.Suspension)
	text(c, "title", &v.Title, maxTitle)
}

// Usable is nil, or the refusal of a member that is not in the config in force
// or is suspended.
func (v *Member) Usable() error {
	if !v.Active {
		return Refuse(CodeForbidden, "member is not in the config in force")
	}
	if v.Suspension != nil {
		return Refuse(CodeMemberSuspended, "member is suspended by an authority (%s)", v.Suspension.Reason)
	}
	return nil
}

// ClientSpec is the argument of RegisterClient.
type ClientSpec struct {
	Address    Address
	Label      string       // what the key is for, never who holds it
	Roles      []ClientRole // strictly ascending; neither admin nor node
	ValidFrom  Millis       // 0: at once
	ValidUntil Millis       // 0: until revoked
}

func (v *ClientSpec) fields(c *codec) {
	address(c, "address", &v.Address)
	optText(c, "label", &v.Label, maxLabel)
	enums(c, "roles", &v.Roles, clientRoles)
	optNumber(c, "validFrom", &v.ValidFrom)
	optNumber(c, "validUntil", &v.ValidUntil)
}

// Check implements Checked.
func (v *ClientSpec) Check() error {
	if v.Address == (Address{}) {
		return errors.New("address: zero")
	}
	if HasItem(v.Roles, RoleAdmin) || HasItem(v.Roles, RoleNode) {
		return errors.New("roles: admin comes from the ordering config, node from the node record")
	}
	if v.Label != "" {
		if err := checkTitle("label", v.Label); err != nil {
			return err
		}
	}
	if v.ValidUntil != 0 && v.ValidUntil <= v.ValidFrom {
		return errors.New("validUntil: want later than validFrom")
	}
	return checkSet("roles", v.Roles, 1)
}

// Client is a key that signs transactions for its member.
type Client struct {
	Address      Address
	Label        string
	NodeID       NodeID // the node this key belongs to, for RoleNode
	OrgID        OrgID
	RegisteredAt Millis
	RevokeReason KeyReason
	RevokedAt    Millis // the key is refused from this block time on; 0: not revoked
	Roles        []ClientRole
	ValidFrom    Millis // 0: since it was registered
	ValidUntil   Millis // 0: until revoked
}

func (v *Client) fields(c *codec) {
	address(c, "address", &v.Address)
	optText(c, "label", &v.Label, maxLabel)
	optText(c, "nodeId", &v.NodeID, maxID)
	text(c, "orgId", &v.OrgID, maxID)
	number(c, "registeredAt", &v.RegisteredAt)
	optEnum(c, "revokeReason", &v.RevokeReason, keyReasons)
	optNumber(c, "revokedAt", &v.RevokedAt)
	enums(c, "roles", &v.Roles, clientRoles)
	optNumber(c, "validFrom", &v.ValidFrom)
	optNumber(c, "validUntil", &v.ValidUntil)
}

// Usable is nil, or the refusal of a key that ended at or before now, or whose
// time has not begun.
func (v *Client) Usable(now Millis) error {
	if v.RevokedAt != 0 && v.RevokedAt <= now {
		return Refuse(CodeKeyRevoked, "client key is revoked; sign with a key in force")
	}
	if now < v.ValidFrom {
		return Refuse(CodeKeyNotYetValid, "client key is not in force yet; sign with the key it replaces")
	}
	if v.ValidUntil != 0 && v.ValidUntil <= now {
		return Refuse(CodeKeyExpired, "client key has expired; register a new one")
	}
	return nil
}

// HasRole reports whether the key carries one of the roles.
func (v *Client) HasRole(anyOf ...ClientRole) bool {
	for _, role := range anyOf {
		if listed(role, v.Roles) {
			return true
		}
	}
	return false
}

// NodeSpec is the argument of SetNode.
type NodeSpec struct {
	Addrs   []string // multiaddrs under which other nodes reach it
	Answers bool     // answers permitted requests for its member
	APIURLs []string // where clients of its member reach it
	HostKey Blob     // compressed secp256k1 public key of its libp2p host, 33 bytes
	// HostProof is needed where the member has not shown before that it has the host
	// key. The contract checks it and does not keep it.
	HostProof *HostProof
	Kind      NodeKind
	NodeID    NodeID
	SPKI      Hash    // SHA-256 of its TLS certificate's public key info; zero: none
	TxKey     Address // key it signs receipts with; zero: none
}

func (v *NodeSpec) fields(c *codec) {
	texts(c, "addrs", &v.Addrs, maxEndpoints, maxEndpoint)
	boolean(c, "answers", &v.Answers)
	texts(c, "apiUrls", &v.APIURLs, maxEndpoints, maxEndpoint)
	blob(c, "hostKey", &v.HostKey, 33)
	optObject(c, "hostProof", &v.HostProof)
	enum(c, "kind", &v.Kind, nodeKinds)
	text(c, "nodeId", &v.NodeID, maxID)
	optHash(c, "spki", &v.SPKI)
	optAddress(c, "txKey", &v.TxKey)
}

// Check implements Checked.
func (v *NodeSpec) Check() error {
	if err := v.NodeID.Check(); err != nil {
		return err
	}
	for _, a := range v.Addrs {
		if !strings.HasPrefix(a, "/") || !printable(a) {
			return errors.New("addrs: want multiaddrs")
		}
	}
	for _, u := range v.APIURLs {
		if !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") || !printable(u) {
			return errors.New("apiUrls: want http or https URLs")
		}
	}
	if len(v.HostKey) != 33 || v.HostKey[0] != 2 && v.HostKey[0] != 3 {
		return errors.New("hostKey: want a compressed secp256k1 public key")
	}
	if v.Answers && v.TxKey == (Address{}) {
		return errors.New("txKey: a node that answers needs one to sign receipts")
	}
	return nil
}

// Node is a node's endpoint record.
type Node struct {
	NodeSpec
	OrgID     OrgID
	RemovedAt Millis // 0: in service
	UpdatedAt Millis
}

func (v *Node) fields(c *codec) {
	texts(c, "addrs", &v.Addrs, maxEndpoints, maxEndpoint)
	boolean(c, "answers", &v.Answers)
	texts(c, "apiUrls", &v.APIURLs, maxEndpoints, maxEndpoint)
	blob(c, "hostKey", &v.HostKey, 33)
	enum(c, "kind", &v.Kind, nodeKinds)
	text(c, "nodeId", &v.NodeID, maxID)
	text(c, "orgId", &v.OrgID, maxID)
	optNumber(c, "removedAt", &v.RemovedAt)
	optHash(c, "spki", &v.SPKI)
	optAddress(c, "txKey", &v.TxKey)
	number(c, "updatedAt", &v.UpdatedAt)
}

// HostOwner says whose node runs under a host key: a peer of the network is one
// member's.
type HostOwner struct {
	FreeFrom Millis // 0: in use; else any member may use it from this block time on
	NodeID   NodeID
	OrgID    OrgID
}

func (v *HostOwner) fields(c *codec) {
	optNumber(c, "freeFrom", &v.FreeFrom)
	text(c, "nodeId", &v.NodeID, maxID)
	text(c, "orgId", &v.OrgID, maxID)
}

// DataKeySpec is the argument of SetDataKey.
type DataKeySpec struct {
	KeyID      DataKeyID
	PublicKey  Blob // X25519, 32 bytes
	Suite      Suite
	ValidFrom  Millis
	ValidUntil Millis
}

func (v *DataKeySpec) fields(c *codec) {
	text(c, "keyId", &v.KeyID, maxID)
	blob(c, "publicKey", &v.PublicKey, 32)
	enum(c, "suite", &v.Suite, suites)
	number(c, "validFrom", &v.ValidFrom)
	number(c, "validUntil", &v.ValidUntil)
}

// Check implements Checked.
func (v *DataKeySpec) Check() error {
	if err := v.KeyID.Check(); err != nil {
		return err
	}
	if allZero(v.PublicKey) {
		return errors.New("publicKey: zero")
	}
	if v.ValidUntil <= v.ValidFrom {
		return errors.New("validUntil: want later than validFrom")
	}
	return nil
}

// DataKey is an HPKE key to which sealed parts for its member are encrypted.
type DataKey struct {
	DataKeySpec
	OrgID     OrgID
	RevokedAt Millis
	SetAt     Millis
}

func (v *DataKey) fields(c *codec) {
	text(c, "keyId", &v.KeyID, maxID)
	text(c, "orgId", &v.OrgID, maxID)
	blob(c, "publicKey", &v.PublicKey, 32)
	optNumber(c, "revokedAt", &v.RevokedAt)
	number(c, "setAt", &v.SetAt)
	enum(c, "suite", &v.Suite, suites)
	number(c, "validFrom", &v.ValidFrom)
	number(c, "validUntil", &v.ValidUntil)
}

// Usable reports whether something may be sealed to the key at now.
func (v *DataKey) Usable(now Millis) bool {
	return v.ValidFrom <= now && now < v.ValidUntil && (v.RevokedAt == 0 || now < v.RevokedAt)
}

func checkTitle(what, s string) error {
	if s == "" || !printable(s) {
		return fmt.Errorf("%s: want text without control characters", what)
	}
	return nil
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
