package node

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

// hostProofFor is how long a proof of a host key lasts: time to send it to whoever
// registers the node.
const hostProofFor = 30 * 24 * time.Hour

// CardProof is the proof of a host key as a card tells it.
type CardProof struct {
	Signature  string `json:"signature"` // 0x-hex
	ValidUntil int64  `json:"validUntil"`
}

// record is the proof as a node's record takes it; nil if there is none.
func (p *CardProof) record() *record.HostProof {
	if p == nil {
		return nil
	}
	sig, err := hex.DecodeString(strings.TrimPrefix(p.Signature, "0x"))
	if err != nil {
		return nil // the contract then asks for one
	}
	return &record.HostProof{Signature: sig, ValidUntil: p.ValidUntil}
}

// Prove puts the proof into the card that the node of this configuration has the
// card's host key, so that its member can register it on the network of genesis.
func (c *Card) Prove(cfg config.Config, genesis *ledger.Config, password keys.Password, now time.Time) error {
	store, err := keys.Open(cfg.Identity.KeysDir)
	if err != nil {
		return err
	}
	pw, err := password(cfg.Identity.HostKey)
	if err != nil {
		return err
	}
	defer clear(pw)
	return c.prove(&cfg.Identity, store, pw, genesis.Hash(), now)
}

func (c *Card) prove(id *config.Identity, store *keys.Store, password []byte, chain ledger.Hash, now time.Time) error {
	host, err := store.Host(id.HostKey, password)
	if err != nil {
		return fmt.Errorf("prove the host key: %w", err)
	}
	if public := crypto.CompressPubkey(&host.PublicKey); !bytes.Equal(public, c.HostKey[:]) {
		return fmt.Errorf("prove the host key: %s names %x, identity.hostKey is %x: set the node's card right first", CardFile, c.HostKey[:], public)
	}
	until := now.Add(hostProofFor).UnixMilli()
	digest := record.HostProofDigest(chain, record.OrgID(c.Member), c.HostKey[:], until)
	sig, err := crypto.Sign(digest[:], host)
	if err != nil {
		return fmt.Errorf("prove the host key: %w", err)
	}
	c.HostProof = &CardProof{"0x" + hex.EncodeToString(sig), until}
	return nil
}

// Founds reports whether genesis names the card's node as a validator: its member
// need not prove the host key then.
func (c *Card) Founds(genesis *ledger.Config) bool {
	return slices.ContainsFunc(genesis.Validators, func(v ledger.Validator) bool { return v.HostKey == c.HostKey && v.Member == c.Member })
}

// ReadCard reads the card in a node's home; os.ErrNotExist if there is none.
func ReadCard(home string) (*Card, error) {
	b, err := os.ReadFile(filepath.Join(home, CardFile))
	if err != nil {
		return nil, err
	}
	c := new(Card)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(home, CardFile), err)
	}
	return c, nil
}

// Write puts the card into a node's home.
func (c *Card) Write(home string) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return durable.Output(filepath.Join(home, CardFile), append(b, '\n'), 0o644)
}
