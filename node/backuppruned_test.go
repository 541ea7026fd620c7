package node

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/assent-network/assent/node/backup"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/snapshot"
)

// A validator that has pruned is backed up, running; lost; restored from the backup
// alone up to its height, and follows; admitted again, it votes. What it keeps verifies.
func TestABackupOfAPrunedNodeIsRestored(t *testing.T) {
	t.Parallel()
	c, a, _ := withPruners(t)
	bank, watch := c.node(harbour), c.find(regulator, "observer")
	info := bank.pruneNow()
	a.ask(everLate)
	c.converge(c.nodes...)
	restore := bank.backedUp()
	at := bank.node.Height()
	bank.stop()
	a.revoke(c.node(lake))
	made := restore()
	if made.Snapshot == 0 || made.From != info.Blocks || made.Height != at || made.Snapshot+1 < made.From {
		t.Fatalf("restored %+v from height %d, where blocks were kept from %d on", made, at, info.Blocks)
	}
	v, err := Verify(t.Context(), bank.cfg, nil)
	if err != nil || v.Begin != made.Snapshot || !v.Repeated || v.Blocks != at {
		t.Errorf("verify of the restored node: %+v, %v", v, err)
	}
	c.start(bank)
	c.converge(c.nodes...)
	if base := bank.node.store.Base(); base != made.From {
		t.Errorf("it keeps all blocks from %d on, the backup held them from %d on", base, made.From)
	}
	if s := bank.node.chain.Standing(); s.Validator != 0 {
		t.Errorf("it stands as validator %d before anybody admitted it", s.Validator)
	}
	var key ledger.Address
	if err := key.UnmarshalText([]byte(made.VoteKey)); err != nil {
		t.Fatal(err)
	}
	w := c.write(c.node(lender))
	c.reconfigure(func(conf *ledger.Config) {
		last := uint64(0)
		for i := range conf.Validators {
			last = max(last, conf.Validators[i].ID)
		}
		for i := range conf.Validators {
			if conf.Validators[i].ID == made.Validator {
				admitted := conf.Validators[i]
				admitted.ID, admitted.VoteKey = last+1, key
				conf.Validators = append(append(conf.Validators[:i:i], conf.Validators[i+1:]...), admitted)
				return
			}
		}
	}, c.nodes...)
	c.votes(bank)
	w.flows(2)
	w.stop()
	c.converge(c.nodes...)
	c.remember(watch)
}

// altered copies a backup with other content, as anybody could who knows its
// recipient.
func altered(t *testing.T, file string, secret *age.X25519Identity, height uint64, change func(name string, b []byte) (string, []byte)) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := backup.NewReader(f, []age.Identity{secret})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, []age.Recipient{secret.Recipient()}, r.About())
	if err != nil {
		t.Fatal(err)
	}
	for {
		name, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		var b []byte
		if err == nil {
			b, err = io.ReadAll(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if name, b = change(name, b); name == "" {
			continue
		}
		if err := w.AddBytes(name, b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(height); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "altered.age")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whoever can write to a recipient cannot make a pruned node's backup that is not its
// network's ledger: it is refused when it is checked and when it is restored.
func TestAForgedBackupOfAPrunedNodeIsRefused(t *testing.T) {
	t.Parallel()
	c, _, _ := withPruners(t)
	c.remember(c.find(regulator, "observer"))
	bank := c.node(harbour)
	bank.pruneNow()
	bank.configured()
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.dir, "pruned.age")
	made, err := Backup(t.Context(), BackupConfig{Home: bank.home, Config: bank.cfg, Out: file, To: []age.Recipient{secret.Recipient()}, Software: "test"})
	if err != nil || made.Snapshot == 0 || made.From <= 1 || !strings.Contains(made.LeftOut[len(made.LeftOut)-1], "pruned here") {
		t.Fatalf("backup %+v, %v", made, err)
	}
	manifest := func(change func(m *snapshot.Manifest)) func(string, []byte) (string, []byte) {
		return func(name string, b []byte) (string, []byte) {
			if name != backup.ManifestName {
				return name, b
			}
			m, err := snapshot.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			change(m)
			m.Header.Certificate.Header = m.Header.Header.Hash()
			return name, m.Encode()
		}
	}
	without := func(is func(string) bool) func(string, []byte) (string, []byte) {
		return func(name string, b []byte) (string, []byte) {
			if is(name) {
				return "", nil
			}
			return name, b
		}
	}
	votesOf := func(entry []byte, keep int) []byte {
		var out []byte
		if err := backup.ReadBlocks(bytes.NewReader(entry), func(h, cert []byte) error {
			x, err := ledger.DecodeCertificate(cert)
			if err != nil {
				return err
			}
			x.Votes = x.Votes[:keep]
			out = backup.AppendBlock(out, h, x.Encode())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for what, tc := range map[string]struct {
		change func(string, []byte) (string, []byte)
		says   string
	}{
		"as it was":                     {func(name string, b []byte) (string, []byte) { return name, b }, ""},
		"another state root":            {manifest(func(m *snapshot.Manifest) { m.Header.Header.StateRoot[0] ^= 1 }), "its header is another"},
		"another time":                  {manifest(func(m *snapshot.Manifest) { m.Time++ }), "is of time"},
		"a manifest signed by too few":  {manifest(func(m *snapshot.Manifest) { m.Header.Certificate.Votes = m.Header.Certificate.Votes[:2] }), "snapshot of height"},
		"a chunk left out":              {manifest(func(m *snapshot.Manifest) { m.Chunks[0].Hash[0] ^= 1 }), "chunk 0"},
		"no chunks":                     {without(backup.IsChunk), "is missing"},
		"no snapshot":                   {without(func(n string) bool { return n == backup.ManifestName || backup.IsChunk(n) }), "there is no snapshot"},
		"no headers":                    {without(backup.IsHeaders), "follows where"},
		"no blocks but genesis's":       {without(func(n string) bool { return backup.IsBlocks(n) && n != backup.BlocksName(0) }), "has a header alone"},
		"headers signed by too few":     {func(name string, b []byte) (string, []byte) { return name, keepVotes(name, b, votesOf) }, "of the backup"},
		"a byte of a chunk":             {func(name string, b []byte) (string, []byte) { return name, flipChunk(name, b) }, "the manifest says"},
		"a block among the pruned ones": {func(name string, b []byte) (string, []byte) { return name, shorten(name, b) }, "follows where"},
	} {
		t.Run(what, func(t *testing.T) {
			path := altered(t, file, secret, made.Height, tc.change)
			content, err := CheckBackup(t.Context(), path, []age.Identity{secret}, nil)
			if tc.says == "" {
				if err != nil || uint64(content.Snapshot) != made.Snapshot || uint64(content.From) != made.From || uint64(content.Height) != made.Height {
					t.Fatalf("%+v, %v", content, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("checked: %v, want %q", err, tc.says)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			home := filepath.Join(t.TempDir(), "home")
			_, err = Restore(t.Context(), RestoreConfig{From: f, With: []age.Identity{secret}, Home: home, Password: func(string) (keys.Password, error) { return keys.Fixed(password), nil }})
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("restored: %v, want %q", err, tc.says)
			}
			if left, _ := filepath.Glob(home + "*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func keepVotes(name string, b []byte, votes func([]byte, int) []byte) []byte {
	if backup.IsHeaders(name) {
		return votes(b, 2)
	}
	return b
}

func flipChunk(name string, b []byte) []byte {
	if backup.IsChunk(name) {
		b[len(b)/2] ^= 1
	}
	return b
}

// shorten drops the last header of an entry.
func shorten(name string, b []byte) []byte {
	if !backup.IsHeaders(name) {
		return b
	}
	var out, last []byte
	_ = backup.ReadBlocks(bytes.NewReader(b), func(h, cert []byte) error { // what was written can be read
		out, last = append(out, last...), backup.AppendBlock(nil, h, cert)
		return nil
	})
	return out
}
