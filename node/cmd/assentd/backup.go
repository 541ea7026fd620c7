package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/keys"
)

func (a *app) backupCommand() *cobra.Command {
	var out string
	var to recipients
	var with identities
	var noBlocks bool
	c := &cobra.Command{
		Use: "backup", Short: "Write an encrypted, checked copy of a node, running or stopped", Args: noArgs,
		Long: "The copy goes to the age keys given (age-keygen makes them) and to nobody else; there is no password. Beside FILE stands\n" +
			"FILE" + node.SealSuffix + ", the hashes of its parts. Afterwards the file is read back: compared with its hashes, and with --identity\n" +
			"opened and checked block by block. A running node makes a consistent copy of its database for it and goes on.\n\n" +
			"In it: configuration, genesis file, card, encrypted keys, private.db (sealed parts, bindings, answers, leak account, what waits\n" +
			"for delivery), blocks. Never in it: vote keys and ordering log, the password of the keys, the vault. A restored validator\n" +
			"observes until the members admit its new vote key.",
		Example: "  assentd backup --home n1 --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p --out n1.backup.age",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usage("backup needs --out, the file to write")
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			b := node.BackupConfig{Home: a.home, Config: cfg, Out: out, NoBlocks: noBlocks, Software: version}
			if b.To, err = to.read(); err != nil {
				return err
			}
			if b.With, err = with.read(); err != nil {
				return err
			}
			bar := newBar(a.err, a.json)
			b.Progress = func(p node.VerifyProgress) { bar.set(p.Step, p.Done, p.Total) }
			r, err := node.Backup(cmd.Context(), b)
			bar.end()
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				how := "its hashes are right"
				if r.Opened {
					how = "it opens, and every block and the database in it are sound"
				}
				fmt.Fprintf(w, "Backup %s: %d bytes, %s, read back: %s.\nIts hashes are in %s; keep a copy of them elsewhere.\nNot in it: %s.\n",
					r.File, r.Bytes, ledgerOf(r.Snapshot, r.From, r.Height, r.Blocks), how, r.List, strings.Join(r.LeftOut, "; "))
			})
		},
	}
	c.Flags().StringVar(&out, "out", "", "the file to write; it must not exist")
	c.Flags().StringArrayVar(&to.keys, "recipient", nil, "age public key (age1…) that can open it; may be repeated")
	c.Flags().StringArrayVar(&to.files, "recipients-file", nil, "file with age public keys, one a line; may be repeated")
	c.Flags().StringArrayVar(&with.files, "identity", nil, "file with an age identity: the copy is opened again and its content checked")
	c.Flags().BoolVar(&noBlocks, "no-blocks", false, "leave out the blocks: a restored node fetches them from the other members")
	c.AddCommand(a.backupCheck())
	return c
}

func (a *app) backupCheck() *cobra.Command {
	var with identities
	c := &cobra.Command{
		Use: "check FILE", Short: "Check a backup: by its hashes, or with --identity by opening it", Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := with.read()
			if err != nil {
				return err
			}
			bar := newBar(a.err, a.json)
			r, err := node.CheckBackup(cmd.Context(), args[0], ids, func(p node.VerifyProgress) { bar.set(p.Step, p.Done, p.Total) })
			bar.end()
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "Sound: node %s of member %s, network %s, made %s, %s.\n", r.About.NodeID, r.About.Member, r.About.Network, r.About.Made, ledgerOf(uint64(r.Snapshot), uint64(r.From), uint64(r.Height), r.About.Blocks))
			})
		},
	}
	c.Flags().StringArrayVar(&with.files, "identity", nil, "file with an age identity")
	return c
}

func (a *app) restoreCommand() *cobra.Command {
	var with identities
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make a node's home out of a backup; it observes until the members admit its new vote key", Args: oneFile,
		Long: "--home names the new home, which must not exist or be empty. Everything is checked before it appears: every block from genesis on,\n" +
			"the database, and that each key opens (--password, or what the configuration in the backup says).\n\n" +
			"Stop the node that was backed up for good first: two nodes with one host key disturb each other. When the restored node has\n" +
			"caught up it destroys again what was erased since the backup, and answers nothing in an epoch of which it lost answers.",
		Example: "  assentd restore n1.backup.age --identity key.txt --home n1-restored --password file:pw",
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := with.read()
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				return usage("restore needs --identity, the file with the age identity that opens the backup")
			}
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("restore: %w", err)
			}
			defer f.Close()
			bar := newBar(a.err, a.json)
			r, err := node.Restore(cmd.Context(), node.RestoreConfig{
				From: f, With: ids, Home: a.home,
				Password: func(source string) (keys.Password, error) { return a.source(source) },
				Progress: func(p node.VerifyProgress) { bar.set(p.Step, p.Done, p.Total) },
			})
			bar.end()
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { sayRestored(w, r) })
		},
	}
	c.Flags().StringArrayVar(&with.files, "identity", nil, "file with the age identity that opens the backup")
	return c
}

// ledgerOf says what a backup holds of the ledger.
func ledgerOf(snapshot, from, height uint64, blocks bool) string {
	switch {
	case snapshot > 0:
		return fmt.Sprintf("snapshot at %d, blocks %d to %d", snapshot, from, height)
	case !blocks:
		return fmt.Sprintf("no blocks, made at block %d", height)
	}
	return fmt.Sprintf("up to block %d", height)
}

func sayRestored(w io.Writer, r *node.Restored) {
	fmt.Fprintf(w, "Node %s of member %s is restored in %s as of block %d (backup of %s); all %d keys open.\n", r.NodeID, r.Member, r.Home, r.Height, r.Made, r.Keys)
	if r.Snapshot > 0 {
		fmt.Fprintf(w, "It begins with the state of height %d, and has all blocks from %d on.\n", r.Snapshot, r.From)
	}
	fmt.Fprintf(w, "Start it: assentd start --home %s. It follows the network as an observer.\n", r.Home)
	if r.Kind != "validator" {
		return
	}
	if r.Validators == 1 {
		fmt.Fprintln(w, "The network has no other validator: nobody can admit the new vote key, and this network will order nothing more.")
		return
	}
	id := "ID"
	if r.Validator != 0 {
		id = fmt.Sprint(r.Validator)
	}
	fmt.Fprintf(w, "Its new vote key is %s. To let it order again, an admin says: assent member propose rotate-vote-key %s %s\n", r.VoteKey, id, r.VoteKey)
}

// oneFile wants one argument.
func oneFile(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("%s needs one file: %s", c.CommandPath(), c.UseLine())
	}
	return nil
}

// recipients are who can open a backup.
type recipients struct{ keys, files []string }

func (r *recipients) read() ([]age.Recipient, error) {
	var out []age.Recipient
	for _, k := range r.keys {
		// A recipient may be wrong, a secret key given by mistake must not be shown.
		to, err := age.ParseRecipients(strings.NewReader(k))
		if err != nil {
			return nil, usage("--recipient: not an age public key (age1…); a file with several is --recipients-file")
		}
		out = append(out, to...)
	}
	for _, path := range r.files {
		b, err := readSmall(path)
		if err != nil {
			return nil, fmt.Errorf("backup: recipients: %w", err)
		}
		to, err := age.ParseRecipients(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("backup: %s holds no age public keys: one a line, # begins a comment", path)
		}
		out = append(out, to...)
	}
	if len(out) == 0 {
		return nil, usage("backup needs --recipient or --recipients-file: a backup is always encrypted; age-keygen makes a key")
	}
	return out, nil
}

// identities are what opens a backup.
type identities struct{ files []string }

func (i *identities) read() ([]age.Identity, error) {
	var out []age.Identity
	for _, path := range i.files {
		b, err := readSmall(path)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		ids, err := age.ParseIdentities(bytes.NewReader(b))
		clear(b)
		if err != nil {
			return nil, fmt.Errorf("identity: %s holds no age identity (AGE-SECRET-KEY-1…), as age-keygen writes it", path)
		}
		out = append(out, ids...)
	}
	return out, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const limit = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && len(b) > limit {
		err = errors.New("it has more than 1 MiB: it is another file")
	}
	return b, err
}
