package node

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/consensus/bft"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
)

// Names of what lies in a node's home and data directory.
const (
	ConfigFile = "config.yaml"
	CardFile   = "node.json"
	tagKey     = "tag" // key of the subject tags, on nodes that answer

	blocksDir   = "blocks"
	stateDir    = "state"
	walDir      = "wal"
	privateFile = "private.db"

	snapshotsDir = "snapshots"
	joinDir      = "join" // what is unfinished while the node begins with a snapshot
)

// Card is what a node tells the others about itself: public keys and addresses,
// nothing secret. Genesis and node records are made from cards.
type Card struct {
	Member  string         `json:"member"`
	Kind    string         `json:"kind"` // validator or observer
	NodeID  string         `json:"nodeId"`
	HostKey ledger.HostKey `json:"hostKey"`
	VoteKey ledger.Address `json:"voteKey,omitzero"`
	TxKey   ledger.Address `json:"txKey"`
	SPKI    ledger.Hash    `json:"spki"` // sha256 of the API certificate's public key info
	Addrs   []string       `json:"addrs"`
	APIURLs []string       `json:"apiUrls"`
	Answers bool           `json:"answers"`
	// HostProof is there once the node knows the network.
	HostProof *CardProof `json:"hostProof,omitempty"`

	DataKeyID string `json:"dataKeyId"`
	DataKey   string `json:"dataKey"` // X25519, 0x-hex
}

// Spec returns the card as the argument of membership.SetNode.
func (c *Card) Spec() record.NodeSpec {
	return record.NodeSpec{
		Addrs: c.Addrs, Answers: c.Answers, APIURLs: c.APIURLs, HostKey: record.Blob(c.HostKey[:]),
		HostProof: c.HostProof.record(), Kind: record.NodeKind(c.Kind), NodeID: record.NodeID(c.NodeID), SPKI: c.SPKI, TxKey: c.TxKey,
	}
}

// DataKeySpec returns the card's data key as the argument of
// membership.SetDataKey, in force for a year from now.
func (c *Card) DataKeySpec(now time.Time) (record.DataKeySpec, error) {
	public, err := hex.DecodeString(strings.TrimPrefix(c.DataKey, "0x"))
	if err != nil || len(public) != 32 {
		return record.DataKeySpec{}, fmt.Errorf("card of node %s: dataKey is not 0x and 64 hex digits", c.NodeID)
	}
	return record.DataKeySpec{
		KeyID: record.DataKeyID(c.DataKeyID), PublicKey: public, Suite: record.SuiteX25519,
		ValidFrom: now.Add(-time.Minute).UnixMilli(), ValidUntil: now.AddDate(1, 0, 0).UnixMilli(),
	}, nil
}

// Validator returns the card as a validator of a genesis config.
func (c *Card) Validator(id uint64) ledger.Validator {
	return ledger.Validator{ID: id, Member: c.Member, VoteKey: c.VoteKey, HostKey: c.HostKey, Addrs: c.Addrs}
}

// Reach is where others find a node, as its card tells them. What is empty is
// taken from the configuration, where a node may also listen on every address of
// its machine, which nobody can dial.
type Reach struct {
	Addrs   []string // multiaddresses, for other nodes
	APIURLs []string // for clients
}

// Init makes a node's home: its keys, its configuration file and its card, which
// names the addresses that the node listens on. The paths in cfg may be relative
// to home. It refuses a home that has a configuration.
func Init(home string, cfg config.Config, password []byte) (*Card, error) {
	return InitAt(home, cfg, Reach{}, password)
}

// InitAt is Init for a node that others reach elsewhere than it listens.
func InitAt(home string, cfg config.Config, reach Reach, password []byte) (*Card, error) {
	path := filepath.Join(home, ConfigFile)
	if _, err := os.Stat(path); err == nil {
		return nil, fmt.Errorf("init: %s exists: a node is set up here already; choose an empty directory, or edit that file", path)
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("init: %w: choose a home that can be made here", err)
	}
	if len(cfg.Identity.DataKeys) == 0 {
		cfg.Identity.DataKeys = []string{"data"}
	}
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	store, err := keys.Create(under(home, cfg.Identity.KeysDir))
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	for _, k := range nodeKeys(&cfg.Identity) {
		_, err := store.Info(k.name)
		if errors.Is(err, keys.ErrNoKey) {
			_, err = store.New(k.name, k.kind, password)
		}
		if err != nil {
			return nil, fmt.Errorf("init: %w", err)
		}
	}
	card, err := makeCard(&cfg, store, reach)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if err := card.Write(home); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	// The configuration comes last: a home with one is complete.
	if err := durable.WriteFile(path, config.Template(cfg)); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	return card, nil
}

type namedKey struct {
	name string
	kind keys.Kind
}

func nodeKeys(id *config.Identity) []namedKey {
	list := []namedKey{{id.HostKey, keys.Host}, {id.TxKey, keys.Client}, {id.TLSKey, keys.TLS}, {tagKey, keys.Data}}
	if id.NextHost != "" {
		list = append(list, namedKey{id.NextHost, keys.Host})
	}
	for _, name := range voteKeys(id) {
		list = append(list, namedKey{name, keys.Vote})
	}
	for _, d := range id.DataKeys {
		list = append(list, namedKey{d, keys.Data})
	}
	return list
}

// GenesisMember is a member at the founding.
type GenesisMember struct {
	ID     string
	Name   string
	Roles  []string
	Admins []ledger.Address
}

// Genesis makes the genesis config of a network from its members and the cards
// of its validators, which get the numbers 1, 2, … in the order of their node
// ids.
func Genesis(name string, timeMs uint64, members []GenesisMember, cards []Card) (*ledger.Config, error) {
	c := &ledger.Config{Network: name, Protocol: 1, GenesisTime: timeMs, Limits: ledger.DefaultLimits()}
	for _, m := range members {
		roles, admins := slices.Clone(m.Roles), slices.Clone(m.Admins)
		slices.Sort(roles)
		slices.SortFunc(admins, func(a, b ledger.Address) int { return a.Cmp(b) })
		c.Members = append(c.Members, ledger.Member{ID: m.ID, Name: m.Name, Roles: roles, Admins: admins})
	}
	slices.SortFunc(c.Members, func(a, b ledger.Member) int { return strings.Compare(a.ID, b.ID) })
	cards = slices.DeleteFunc(slices.Clone(cards), func(c Card) bool { return c.Kind != "validator" })
	slices.SortFunc(cards, func(a, b Card) int { return strings.Compare(a.NodeID, b.NodeID) })
	for i := range cards {
		c.Validators = append(c.Validators, cards[i].Validator(uint64(i)+1))
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return c, nil
}

// CreateLedger makes the empty ledger of a network in a node's data directory:
// block store, state and private.db. Starting a node never does: a mistyped path
// must not begin a new ledger. An ordering log that is there stays: it belongs to
// the vote key, and this is how a validator begins anew whose blocks are damaged.
func CreateLedger(ctx context.Context, cfg config.Config) error {
	genesis, err := config.ReadGenesis(cfg.Genesis)
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if genesis.Member(cfg.Identity.Member) == nil {
		return fmt.Errorf("create ledger: member %q is not in %s: correct identity.member or the genesis file", cfg.Identity.Member, cfg.Genesis)
	}
	if err := inGenesis(genesis, &cfg.Identity); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	return createLedger(ctx, cfg, genesis)
}

// JoinLedger is CreateLedger for a node that joins a network which others have
// founded: neither it nor its member need stand in the genesis file. It follows
// the network once its member's admin has registered it, and orders once a
// config update has admitted its vote key.
func JoinLedger(ctx context.Context, cfg config.Config) error {
	genesis, err := config.ReadGenesis(cfg.Genesis)
	if err != nil {
		return fmt.Errorf("join ledger: %w", err)
	}
	return createLedger(ctx, cfg, genesis)
}

// HasLedger reports whether a node's data directory holds one.
func HasLedger(cfg config.Config) bool {
	_, err := os.Stat(filepath.Join(cfg.DataDir, blocksDir))
	return err == nil
}

func createLedger(ctx context.Context, cfg config.Config, genesis *ledger.Config) error {
	if HasLedger(cfg) {
		return fmt.Errorf("create ledger: %s holds a ledger already: start the node, or choose another dataDir; nothing was changed", cfg.DataDir)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	db, err := state.Create(ctx, state.Config{Dir: filepath.Join(cfg.DataDir, stateDir), ChainID: genesis.Hash()})
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	private, err := outbox.OpenPrivate(ctx, filepath.Join(cfg.DataDir, privateFile))
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if err := private.Close(); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if err := makeVoteLogs(&cfg); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	// The block store comes last: with it the ledger exists.
	blocks, err := store.Create(filepath.Join(cfg.DataDir, blocksDir), genesis)
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	return blocks.Close()
}

// voteLogDir is where a vote key's ordering log is: a log belongs to one key.
func voteLogDir(dataDir string, vote ledger.Address) string {
	return filepath.Join(dataDir, walDir, strings.ToLower(vote.Hex()))
}

func makeVoteLogs(cfg *config.Config) error {
	if cfg.Identity.Node != "validator" {
		return nil
	}
	store, err := keys.Open(cfg.Identity.KeysDir)
	if err != nil {
		return err
	}
	for _, name := range voteKeys(&cfg.Identity) {
		vote, err := store.Info(name)
		if err != nil {
			return err
		}
		dir := voteLogDir(cfg.DataDir, vote.Address)
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			// Only the blocks were lost or put away: the votes in this log still bind,
			// and the node catches up before it votes again.
			continue
		}
		// A log that is missing later means that it was lost with votes in it.
		if err := bft.Init(dir); err != nil {
			return err
		}
	}
	return nil
}

// NewVoteKey makes a further vote key of a node, with its empty ordering log if
// the node has a ledger already. It belongs to rotation: name the key as
// identity.nextVoteKey, restart the node, and let a config update replace the
// validator by one with this key. The log is made with the key and never again.
func NewVoteKey(cfg config.Config, name string, password []byte) (keys.Info, error) {
	store, err := keys.Open(cfg.Identity.KeysDir)
	if err != nil {
		return keys.Info{}, err
	}
	info, err := store.New(name, keys.Vote, password)
	if err != nil {
		return keys.Info{}, err
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, blocksDir)); errors.Is(err, os.ErrNotExist) {
		return info, nil // made with the ledger
	}
	if err := makeVoteLog(cfg.DataDir, info.Address); err != nil {
		return keys.Info{}, fmt.Errorf("vote key %s was made, its log was not: %w: make another key", name, err)
	}
	return info, nil
}

// inGenesis reports a validator that the genesis config does not know: it was
// made without this node's card, or keys were made anew since.
func inGenesis(genesis *ledger.Config, id *config.Identity) error {
	if id.Node != "validator" {
		return nil
	}
	store, err := keys.Open(id.KeysDir)
	if err != nil {
		return err
	}
	vote, err := store.Info(id.VoteKey)
	if err != nil {
		return err
	}
	host, err := store.Info(id.HostKey)
	if err != nil {
		return err
	}
	v := genesis.ValidatorByVoteKey(vote.Address)
	switch {
	case v == nil:
		return fmt.Errorf("no validator of network %s has this node's vote key %s: make the genesis file with this node's %s; or, if it joins a network that runs, say --join", genesis.Network, vote.Address, CardFile)
	case v.Member != id.Member:
		return fmt.Errorf("validator %d of network %s has this node's vote key and is member %q, not %q: correct identity.member", v.ID, genesis.Network, v.Member, id.Member)
	case fmt.Sprintf("0x%x", v.HostKey[:]) != host.PublicKey:
		return fmt.Errorf("validator %d of network %s has this node's vote key and another host key: make the genesis file with this node's %s", v.ID, genesis.Network, CardFile)
	}
	return nil
}

func under(home, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(home, path)
}

// subjectTagKey derives the key under which private.db knows subjects.
func subjectTagKey(secret []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, nil, "assent/subject-tag/1", 32)
}
