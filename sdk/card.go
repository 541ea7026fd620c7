package sdk

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// NodeCard is what a new node writes about itself for its member's admin: what
// goes into its record, and its data key.
type NodeCard struct {
	Member  OrgID          `json:"member"`
	Kind    string         `json:"kind"`
	NodeID  NodeID         `json:"nodeId"`
	HostKey ledger.HostKey `json:"hostKey"`
	VoteKey Address        `json:"voteKey,omitzero"` // of a validator; for the genesis config, not for the record
	TxKey   Address        `json:"txKey"`
	SPKI    Hash           `json:"spki"`
	Addrs   []string       `json:"addrs"`
	APIURLs []string       `json:"apiUrls"`
	Answers bool           `json:"answers"`
	// HostProof shows the network that the node has its host key.
	HostProof *NodeCardProof `json:"hostProof,omitempty"`

	DataKeyID DataKeyID `json:"dataKeyId"`
	DataKey   string    `json:"dataKey"` // X25519, 0x-hex
}

// NodeCardProof is a node's signature with its host key, for one network and member.
type NodeCardProof struct {
	Signature  string `json:"signature"` // 0x-hex, 65 bytes
	ValidUntil int64  `json:"validUntil"`
}

// ParseNodeCard reads a node's card. The error is ErrNoCard if data is something
// else, such as a node record.
func ParseNodeCard(data []byte) (*NodeCard, error) {
	if len(data) > MaxRecordFile {
		return nil, fmt.Errorf("node card: %d bytes, at most %d are allowed", len(data), MaxRecordFile)
	}
	var is struct {
		Member *string `json:"member"`
	}
	if json.Unmarshal(data, &is) != nil || is.Member == nil {
		return nil, ErrNoCard
	}
	c := new(NodeCard)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("node card: %w", err)
	}
	spec := c.Spec()
	if err := spec.Check(); err != nil {
		return nil, fmt.Errorf("node card: %w", err)
	}
	return c, nil
}

// ErrNoCard means that a file is not a node's card.
var ErrNoCard = errors.New("not a node's card")

// Spec returns the node's record as Nodes.Set takes it.
func (c *NodeCard) Spec() NodeSpec {
	s := NodeSpec{
		Addrs: c.Addrs, Answers: c.Answers, APIURLs: c.APIURLs, HostKey: record.Blob(c.HostKey[:]),
		Kind: record.NodeKind(c.Kind), NodeID: c.NodeID, SPKI: c.SPKI, TxKey: c.TxKey,
	}
	if c.HostProof != nil {
		// One that is not hex proves nothing; the ledger says so.
		sig, _ := hex.DecodeString(strings.TrimPrefix(c.HostProof.Signature, "0x"))
		s.HostProof = &record.HostProof{Signature: sig, ValidUntil: c.HostProof.ValidUntil}
	}
	return s
}

// DataKeySpec returns the node's data key as DataKeys.Set takes it, in force
// from a minute before now for a year. ok is false if the card has none.
func (c *NodeCard) DataKeySpec(now time.Time) (spec DataKeySpec, ok bool, err error) {
	if c.DataKeyID == "" {
		return DataKeySpec{}, false, nil
	}
	key, err := hex.DecodeString(strings.TrimPrefix(c.DataKey, "0x"))
	if err != nil || len(key) != 32 {
		return DataKeySpec{}, false, errors.New("node card: dataKey is not 0x and 64 hex digits")
	}
	return DataKeySpec{
		KeyID: c.DataKeyID, PublicKey: key, Suite: SuiteX25519,
		ValidFrom: now.Add(-time.Minute).UnixMilli(), ValidUntil: now.AddDate(1, 0, 0).UnixMilli(),
	}, true, nil
}
