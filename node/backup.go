package node

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"

	"github.com/assent-network/assent/node/backup"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/store"
)

// backupPath is where a running node hands out what changes while it runs, on the
// control socket: a tar stream of private.db, the blocks, and liveEnd.
const (
	backupPath = "/backup"
	liveEnd    = "end.json"
	copyPrefix = "backup-" // copies of private.db in the data directory, of the length of a backup
)

// liveSummary ends the stream: without it the stream was cut.
type liveSummary struct {
	NodeID   string `json:"nodeId"`
	Height   uint64 `json:"height"`
	Snapshot uint64 `json:"snapshot,omitempty"` // height of the state that is beside the blocks; 0: none
	From     uint64 `json:"from,omitempty"`     // with a snapshot: first height from which all blocks are whole
}

// BackupConfig says what to back up, and where to.
type BackupConfig struct {
	Home     string // with config.yaml
	Config   config.Config
	Out      string          // file to make; beside it Out + SealSuffix
	To       []age.Recipient // who can open it; at least one
	With     []age.Identity  // to read it back by opening it; may be empty
	NoBlocks bool            // leave out the blocks: a restored node fetches them from the others
	Software string
	Progress func(VerifyProgress) // may be nil
}

// SealSuffix ends the name of the list of hashes beside a backup.
const SealSuffix = ".list.json"

// BackupReport says what was written.
type BackupReport struct {
	File    string `json:"file"`
	List    string `json:"list"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
	ChainID string `json:"chainId"`
	Height  uint64 `json:"height"`
	Blocks  bool   `json:"blocks"`
	Online  bool   `json:"online"` // the node was running
	Opened  bool   `json:"opened"` // it was decrypted again and its content checked, not its hashes alone
	// Of a node that has pruned: the height of the snapshot in the backup, and the first
	// height from which on all blocks are in it; 0: all blocks are, and no snapshot.
	Snapshot uint64   `json:"snapshot,omitempty"`
	From     uint64   `json:"from,omitempty"`
	LeftOut  []string `json:"leftOut"`
}

// leftOut is what is never in a backup, for people.
var leftOut = []string{
	"vote keys and the ordering log: a restored node never votes with what it had",
	"the executed state: it is executed again from the blocks",
	"the password of the keys, the vault and its password",
}

// Backup writes an encrypted backup of a node, running or stopped, reads it back and
// checks it. The file appears whole or not at all.
func Backup(ctx context.Context, c BackupConfig) (r *BackupReport, err error) {
	if c.Progress == nil {
		c.Progress = func(VerifyProgress) {}
	}
	for _, path := range []string{c.Out, c.Out + SealSuffix} {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("backup: %s exists: choose another name; no backup is overwritten", path)
		}
	}
	part := c.Out + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("backup: %s exists: another backup is being written there, or one was interrupted: remove it", part)
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w: choose an --out that can be written", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("backup: %w: nothing was left behind, repeat it", err), ignoreMissing(os.Remove(part)))
		}
	}()
	defer func() { err = errors.Join(err, ignoreClosed(f.Close())) }()
	seal, live, online, err := writeBackup(ctx, &c, f)
	if err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if err := readBack(ctx, &c, f, seal); err != nil {
		return nil, fmt.Errorf("read it back: %w", err)
	}
	list, err := seal.Encode()
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(c.Out+SealSuffix, list); err != nil {
		return nil, err
	}
	if err := errors.Join(f.Close(), os.Rename(part, c.Out), durable.SyncDir(filepath.Dir(c.Out))); err != nil {
		return nil, err
	}
	out := slices.Clone(leftOut)
	if live.From > 1 {
		out[1] = fmt.Sprintf("the state after block %d: it is executed again from the blocks above", live.Snapshot)
		out = append(out, fmt.Sprintf("blocks 1 to %d, which are pruned here: their headers and certificates are in it, and those that changed the configuration", live.From-1))
	}
	return &BackupReport{
		File: c.Out, List: c.Out + SealSuffix, Bytes: seal.Bytes, SHA256: seal.SHA256, ChainID: seal.About.ChainID, Height: seal.Height,
		Blocks: !c.NoBlocks, Online: online, Opened: len(c.With) > 0,
		Snapshot: live.Snapshot, From: live.From, LeftOut: out,
	}, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func writeBackup(ctx context.Context, c *BackupConfig, to io.Writer) (*backup.Seal, *liveSummary, bool, error) {
	genesis, err := config.ReadGenesis(c.Config.Genesis)
	if err != nil {
		return nil, nil, false, err
	}
	files, voteKeys, nodeID, err := smallFiles(c)
	if err != nil {
		return nil, nil, false, err
	}
	w, err := backup.NewWriter(to, c.To, backup.About{
		ChainID: genesis.Hash().Hex(), Network: genesis.Network, Member: c.Config.Identity.Member, NodeID: nodeID, Kind: c.Config.Identity.Node,
		Software: c.Software, Made: time.Now().UTC().Format(time.RFC3339), VoteKeys: voteKeys, Blocks: !c.NoBlocks,
	})
	if err != nil {
		return nil, nil, false, err
	}
	for _, f := range files {
		if err := w.AddBytes(f.name, f.content); err != nil {
			return nil, nil, false, err
		}
	}
	live, online, err := openLive(ctx, c, genesis.Hash())
	if err != nil {
		return nil, nil, false, err
	}
	defer live.Close()
	end, err := addLive(w, live, c.Progress)
	if err != nil {
		return nil, nil, false, err
	}
	seal, err := w.Close(end.Height)
	return seal, end, online, err
}

type smallFile struct {
	name    string
	content []byte
}

// smallFiles are what the operator and the keystore write, each whole at any time,
// in the order of a backup; without the vote keys, whose addresses are returned.
func smallFiles(c *BackupConfig) (files []smallFile, voteKeys []string, nodeID string, err error) {
	read := func(name, path string) {
		if err != nil {
			return
		}
		b, e := os.ReadFile(path)
		if e == nil && len(b) > backup.MaxSmall {
			e = fmt.Errorf("%s has %d bytes, at most %d are allowed: it is another file", path, len(b), backup.MaxSmall)
		}
		files, err = append(files, smallFile{name, b}), e
	}
	card := filepath.Join(c.Home, CardFile)
	read(backup.ConfigName, filepath.Join(c.Home, ConfigFile))
	read(backup.GenesisName, c.Config.Genesis)
	if _, e := os.Stat(card); e == nil {
		read(backup.CardName, card)
	}
	if err != nil {
		return nil, nil, "", err
	}
	s, err := keys.Open(c.Config.Identity.KeysDir)
	if err != nil {
		return nil, nil, "", err
	}
	list, err := s.List()
	if err != nil {
		return nil, nil, "", fmt.Errorf("%w: a backup without that key would be of no use", err)
	}
	for _, k := range list {
		if k.Kind == keys.Vote {
			voteKeys = append(voteKeys, strings.ToLower(k.Address.Hex()))
			continue
		}
		read(backup.KeyName(k.Name), filepath.Join(s.Dir(), k.Name+".key.json"))
	}
	if err == nil {
		nodeID, err = hostIdentity(s, c.Config.Identity.HostKey)
	}
	return files, voteKeys, nodeID, err
}

// openLive asks the running node, or reads the files of a stopped one.
func openLive(ctx context.Context, c *BackupConfig, chain ledger.Hash) (io.ReadCloser, bool, error) {
	url := "http://node" + backupPath
	if c.NoBlocks {
		url += "?blocks=no"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, false, err
	}
	resp, err := controlClient(c.Config.DataDir).Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // what came is what there is to say
		_ = resp.Body.Close()
		return nil, true, fmt.Errorf("the running node refuses: %s", strings.TrimSpace(string(why)))
	}
	if err == nil {
		return resp.Body, true, nil
	}
	if !errors.Is(err, errNotRunning) {
		return nil, true, fmt.Errorf("ask the running node at %s: %w", filepath.Join(c.Config.DataDir, controlFile), err)
	}
	live, err := openStopped(ctx, c, chain)
	return live, false, err
}

// openStopped opens the files of a stopped node and holds their lock until the
// stream is closed.
func openStopped(ctx context.Context, c *BackupConfig, chain ledger.Hash) (io.ReadCloser, error) {
	blocks, err := store.Open(filepath.Join(c.Config.DataDir, blocksDir), chain)
	if errors.Is(err, syscall.EAGAIN) {
		return nil, fmt.Errorf("%w: a node holds the data directory and does not answer at its control socket: run this as the node's own user, and with its version of assentd", err)
	}
	if err != nil {
		return nil, err
	}
	if err := removeCopies(c.Config.DataDir); err != nil {
		return nil, errors.Join(err, blocks.Close())
	}
	path := filepath.Join(c.Config.DataDir, privateFile)
	if _, err := os.Stat(path); err != nil { // opening would make an empty one
		return nil, errors.Join(err, blocks.Close())
	}
	private, err := outbox.OpenPrivate(ctx, path)
	if err != nil {
		return nil, errors.Join(err, blocks.Close())
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := writeLive(ctx, w, c.Config.DataDir, private, blocks, !c.NoBlocks, "")
		_ = w.CloseWithError(errors.Join(err, private.Close(), blocks.Close())) // never fails
	}()
	return stream{r, done}, nil
}

// stream is a pipe whose writer has ended when it is closed.
type stream struct {
	*io.PipeReader
	done chan struct{}
}

func (s stream) Close() error {
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// addLive copies the stream of openLive into the archive.
func addLive(w *backup.Writer, live io.Reader, progress func(VerifyProgress)) (*liveSummary, error) {
	in, done := tar.NewReader(live), uint64(0)
	for {
		h, err := in.Next()
		if err != nil {
			return nil, fmt.Errorf("the node's data ended early: %w: see the node's log", unexpectedEOF(err))
		}
		if h.Name == liveEnd {
			var end liveSummary
			if err := json.NewDecoder(io.LimitReader(in, 1<<16)).Decode(&end); err != nil {
				return nil, fmt.Errorf("the node's data ended early: %w", err)
			}
			return &end, nil
		}
		if err := w.Add(h.Name, h.Size, in); err != nil {
			return nil, err
		}
		done += uint64(h.Size)
		progress(VerifyProgress{"write", done, 0})
	}
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readBack checks what was written: its hashes, and its content too where it can be
// opened.
func readBack(ctx context.Context, c *BackupConfig, f *os.File, seal *backup.Seal) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := seal.Check(ctx, f, func(done int64) { c.Progress(VerifyProgress{"read back", uint64(done), uint64(seal.Bytes)}) }); err != nil {
		return err
	}
	if len(c.With) == 0 {
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := checkArchive(ctx, f, c.With, c.Config.DataDir, c.Progress)
	return err
}

// serveBackup streams what changes while the node runs.
func (n *Node) serveBackup(w http.ResponseWriter, r *http.Request) {
	if !n.control.backup.TryLock() {
		http.Error(w, "another backup of this node is being made: wait for it", http.StatusConflict)
		return
	}
	defer n.control.backup.Unlock()
	for !n.pruner.running.TryLock() { // the blocks below must not go while they are copied
		if !sleep(r.Context(), 100*time.Millisecond) {
			return
		}
	}
	defer n.pruner.running.Unlock()
	began := time.Now()
	n.log.Info("a backup is being made")
	w.Header().Set("Content-Type", "application/x-tar")
	err := writeLive(r.Context(), w, n.cfg.DataDir, n.private, n.store, r.FormValue("blocks") != "no", n.ID())
	if err != nil {
		n.log.Error("the backup failed", "error", err)
		panic(http.ErrAbortHandler) // cuts the stream, so that nobody takes it for whole
	}
	n.log.Info("the backup is made", "took", time.Since(began).Round(time.Millisecond))
}

// writeLive writes a consistent copy of private.db and after it the blocks, so that
// the blocks hold all that the database refers to.
func writeLive(ctx context.Context, w io.Writer, dataDir string, private *outbox.Private, blocks *store.Store, withBlocks bool, nodeID string) error {
	out := tar.NewWriter(w)
	if err := writePrivate(ctx, out, dataDir, private); err != nil {
		return err
	}
	end := liveSummary{NodeID: nodeID}
	var err error
	if withBlocks {
		err = writeLedger(ctx, out, dataDir, blocks, &end)
	} else {
		end.Height = uint64(blocks.Tip().Height)
	}
	if err != nil {
		return err
	}
	b, err := json.Marshal(end)
	if err != nil {
		return err
	}
	return errors.Join(writeEntry(out, liveEnd, b), out.Close())
}

func writeEntry(out *tar.Writer, name string, b []byte) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := out.Write(b)
	return err
}

func writePrivate(ctx context.Context, out *tar.Writer, dataDir string, private *outbox.Private) (err error) {
	dir, err := os.MkdirTemp(dataDir, copyPrefix)
	if err != nil {
		return err
	}
	// It holds personal data: whatever happens, it does not stay.
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, privateFile)
	if err := private.CopyTo(ctx, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: backup.PrivateName, Mode: 0o600, Size: fi.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}

// removeCopies removes what a backup left that the process did not survive.
func removeCopies(dataDir string) error {
	left, err := filepath.Glob(filepath.Join(dataDir, copyPrefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}
