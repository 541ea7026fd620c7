package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/assent-network/assent/consensus/bft"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/backup"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/snapshot"
	"github.com/assent-network/assent/node/state"
)

// RestoreConfig says what to restore, and where to.
type RestoreConfig struct {
	From io.Reader
	With []age.Identity
	Home string // must not exist, or be empty
	// Password opens the keys, with the source that the configuration in the backup
	// names; every key is tried, and a validator's new vote key is made with it.
	Password func(source string) (keys.Password, error)
	Progress func(VerifyProgress) // may be nil
}

// Restored says what was restored.
type Restored struct {
	Home    string        `json:"home"`
	ChainID string        `json:"chainId"`
	Member  string        `json:"member"`
	NodeID  string        `json:"nodeId"`
	Kind    string        `json:"kind"`
	Made    string        `json:"made"`
	Height  ledger.Height `json:"height"`
	Keys    int           `json:"keys"`
	// Of a node that had pruned: the height of the state with which it begins, and that
	// from which on it has all blocks.
	Snapshot ledger.Height `json:"snapshot,omitempty"`
	From     ledger.Height `json:"from,omitempty"`
	// VoteKey is the address of a validator's new vote key, with which it votes when
	// the members have admitted it.
	VoteKey    string `json:"voteKey,omitempty"`
	Validator  uint64 `json:"validator,omitempty"` // its number in the newest config of the backup
	Validators int    `json:"validators"`          // of that config
}

// Restore makes a node's home out of a backup. Everything is checked before the home
// appears: the archive against its list, every block against the certificates from
// genesis on, the database, and that every key opens. The restored node is an
// observer; a validator's vote keys are not in a backup and are refused ever after.
func Restore(ctx context.Context, c RestoreConfig) (r *Restored, err error) {
	if c.Progress == nil {
		c.Progress = func(VerifyProgress) {}
	}
	home, err := filepath.Abs(c.Home)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if found, err := os.ReadDir(home); err == nil && len(found) > 0 {
		return nil, fmt.Errorf("restore: %s is not empty: choose a directory that does not exist; nothing is overwritten", home)
	}
	work := home + ".restoring"
	if err := os.RemoveAll(work); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("restore: %w", err), os.RemoveAll(work))
		}
	}()
	x := &restoring{c: &c, home: work}
	if err := x.run(ctx); err != nil {
		return nil, err
	}
	if err := os.Remove(home); err != nil && !errors.Is(err, os.ErrNotExist) { // empty: os.Rename wants it away
		return nil, err
	}
	if err := errors.Join(os.Rename(work, home), durable.SyncDir(filepath.Dir(home))); err != nil {
		return nil, err
	}
	x.out.Home = home
	return &x.out, nil
}

// restoring is a restore under way.
type restoring struct {
	c             *RestoreConfig
	home          string
	out           Restored
	about         backup.About
	*backedLedger // nil until the genesis file is read
}

func (x *restoring) path(elem ...string) string {
	return filepath.Join(append([]string{x.home}, elem...)...)
}

func (x *restoring) run(ctx context.Context) (err error) {
	r, err := backup.NewReader(x.c.From, x.c.With)
	if err != nil {
		return err
	}
	x.about = r.About()
	for _, dir := range []string{x.home, x.path("data")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if _, err := keys.Create(x.path("keys")); err != nil {
		return err
	}
	defer func() {
		if x.backedLedger != nil {
			err = errors.Join(err, x.store.Close(), x.backedLedger.Close(), os.RemoveAll(x.dir))
		}
	}()
	done := uint64(0)
	for {
		name, size, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := x.entry(ctx, r, name); err != nil {
			return err
		}
		done += uint64(size)
		x.c.Progress(VerifyProgress{"restore", done, 0})
	}
	if x.backedLedger == nil {
		return errNoGenesisFile
	}
	return x.complete(ctx)
}

// entry puts one entry where it belongs.
func (x *restoring) entry(ctx context.Context, r io.Reader, name string) error {
	if name == backup.PrivateName {
		return copyTo(x.path("data", privateFile), r)
	}
	if x.backedLedger != nil {
		if taken, err := x.backedLedger.entry(ctx, r, name); taken || err != nil {
			return err
		}
	} else if backup.IsBlocks(name) || backup.IsHeaders(name) || name == backup.ManifestName {
		return errNoGenesisFile
	}
	if err := copyTo(x.path(filepath.FromSlash(name)), r); err != nil {
		return err
	}
	if name != backup.GenesisName {
		return nil
	}
	genesis, err := config.ReadGenesis(x.path(backup.GenesisName))
	if err != nil {
		return err
	}
	if genesis.Hash().Hex() != x.about.ChainID {
		return fmt.Errorf("the backup says chain id %s, its genesis file is of %s: use another backup", x.about.ChainID, genesis.Hash())
	}
	l := &backedLedger{blockWalk: newBlockWalk(genesis, nil), dir: x.path("data", "restoring")}
	if err := l.keep(x.path("data", blocksDir)); err != nil {
		return err
	}
	x.backedLedger = l
	return nil
}

var errNoGenesisFile = errors.New("the backup holds no genesis file: use another one")

// state makes the executed state: an empty one or, of a node that had pruned, that of
// the snapshot, which is kept as the node's own.
func (x *restoring) state(ctx context.Context, chain ledger.Hash) error {
	sc := state.Config{Dir: x.path("data", stateDir), ChainID: chain}
	if err := x.backedLedger.finish(ctx, sc, x.c.Progress); err != nil {
		return err
	}
	if x.m != nil {
		_, err := snapshot.Open(x.path("data", snapshotsDir)).Adopt(filepath.Join(x.dir, "chunks"))
		return err
	}
	db, err := state.Create(ctx, sc)
	if err != nil {
		return err
	}
	return db.Close()
}

func copyTo(path string, r io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// complete makes the home a restored node's.
func (x *restoring) complete(ctx context.Context) error {
	tip := x.store.Tip()
	x.out = Restored{
		ChainID: x.about.ChainID, Member: x.about.Member, NodeID: x.about.NodeID, Kind: x.about.Kind, Made: x.about.Made,
		Height: tip.Height, Validators: len(tip.Config.Validators),
	}
	if err := x.database(ctx); err != nil {
		return err
	}
	if err := x.state(ctx, tip.Header.ChainID); err != nil {
		return err
	}
	x.out.Snapshot, x.out.From = x.snapshot()
	m := &mark{Format: 1, Restored: time.Now().UTC().Format(time.RFC3339), Made: x.about.Made}
	if err := writeMark(x.path("data"), m); err != nil {
		return err
	}
	cfg, err := x.configure()
	if err != nil {
		return err
	}
	if err := x.keys(&cfg); err != nil {
		return err
	}
	for _, k := range x.about.VoteKeys {
		for _, v := range tip.Config.Validators {
			if strings.EqualFold(v.VoteKey.Hex(), k) {
				x.out.Validator = v.ID
			}
		}
	}
	for _, dir := range []string{"keys", "data", "."} {
		if err := durable.SyncDir(x.path(dir)); err != nil {
			return err
		}
	}
	return nil
}

// database checks private.db and takes out of it what must not go on.
func (x *restoring) database(ctx context.Context) error {
	path := x.path("data", privateFile)
	if _, err := outbox.CheckFile(ctx, path); err != nil {
		return err
	}
	p, err := outbox.OpenPrivate(ctx, path)
	if err != nil {
		return err
	}
	return errors.Join(query.Rewind(ctx, p), p.Checkpoint(ctx), p.Close())
}

// restoredVoteKey is the name of the vote key that a restore makes.
const restoredVoteKey = "vote-restored"

// configure makes the configuration count from the new home, with a vote key that
// is to be made.
func (x *restoring) configure() (config.Config, error) {
	path := x.path(ConfigFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return config.Config{}, err
	}
	set := map[string]string{"dataDir": "data", "genesis": backup.GenesisName, "identity.keysDir": "keys"}
	if x.about.Kind == "validator" {
		set["identity.voteKey"], set["identity.nextVoteKey"] = x.voteKeyName(), ""
	}
	if b, err = config.Edit(b, set); err != nil {
		return config.Config{}, err
	}
	if err := durable.WriteFile(path, b); err != nil {
		return config.Config{}, err
	}
	cfg, err := config.Load(config.Sources{File: path})
	if err == nil && cfg.Identity.Node != x.about.Kind {
		// The environment said otherwise where the backup was made.
		return x.configureKind(path, b)
	}
	return cfg, err
}

func (x *restoring) configureKind(path string, b []byte) (config.Config, error) {
	b, err := config.Edit(b, map[string]string{"identity.node": x.about.Kind})
	if err != nil {
		return config.Config{}, err
	}
	if err := durable.WriteFile(path, b); err != nil {
		return config.Config{}, err
	}
	return config.Load(config.Sources{File: path})
}

// voteKeyName is a name that no key of the backup has, also after a second restore.
func (x *restoring) voteKeyName() string {
	return restoredVoteKey + "-" + time.Now().UTC().Format("20060102-150405")
}

// keys tries every key and makes a validator's new vote key, with its log.
func (x *restoring) keys(cfg *config.Config) error {
	s, err := keys.Open(cfg.Identity.KeysDir)
	if err != nil {
		return err
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	password, err := x.c.Password(cfg.Identity.Password)
	if err != nil {
		return fmt.Errorf("the password of the keys, which is not in a backup: %w", err)
	}
	for _, k := range list {
		if k.Kind == keys.Vote {
			return fmt.Errorf("the backup holds vote key %q: it was not made by this program: use another one", k.Name)
		}
		if err := unlocks(s, k.Name, password); err != nil {
			return fmt.Errorf("try key %q: %w", k.Name, err)
		}
	}
	x.out.Keys = len(list)
	if cfg.Identity.Node != "validator" {
		return nil
	}
	pw, err := password(cfg.Identity.VoteKey)
	if err != nil {
		return err
	}
	defer clear(pw)
	info, err := NewVoteKey(*cfg, cfg.Identity.VoteKey, pw)
	x.out.VoteKey = strings.ToLower(info.Address.Hex())
	return err
}

// hostIdentity returns the identity under which a node with this host key runs.
func hostIdentity(s *keys.Store, hostKey string) (string, error) {
	info, err := s.Info(hostKey)
	if err != nil {
		return "", err
	}
	var k ledger.HostKey
	if err := k.UnmarshalText([]byte(info.PublicKey)); err != nil {
		return "", err
	}
	id, err := network.PeerIDFromPublicKey(k[:])
	return string(id), err
}

// makeVoteLog makes the empty log of a new vote key, and notes in a data directory
// that came from a backup that this key may vote.
func makeVoteLog(dataDir string, key ledger.Address) error {
	if err := bft.Init(voteLogDir(dataDir, key)); err != nil {
		return err
	}
	return admitVoteKey(dataDir, key)
}
