package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/keys"
)

func (a *app) keysCommand() *cobra.Command {
	var dir string
	// open returns the store and where its passwords come from. The source is
	// only looked at when it is used: listing needs none.
	open := func() (*keys.Store, keys.Password, error) {
		source, d := "prompt", dir
		if dir == "" {
			cfg, err := a.config()
			if err != nil {
				return nil, nil, err
			}
			source, d = cfg.Identity.Password, cfg.Identity.KeysDir
		}
		s, err := keys.Open(d)
		if err != nil {
			return nil, nil, err
		}
		return s, func(key string) ([]byte, error) {
			pw, err := a.source(source)
			if err != nil {
				return nil, err
			}
			return pw(key)
		}, nil
	}
	c := group("keys", "The encrypted keys of this node, or those in --dir", a.keysCreate(&dir), a.keysList(open), a.keysNew(&dir, open), a.keysPassword(open))
	c.PersistentFlags().StringVar(&dir, "dir", "", "key directory (default: the node's identity.keysDir)")
	return c
}

type openKeys func() (*keys.Store, keys.Password, error)

func (a *app) keysCreate(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "create", Short: "Make an empty key directory", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if *dir == "" {
				return usage("keys create needs --dir: the node's own directory is made by init")
			}
			s, err := keys.Create(*dir)
			if err != nil {
				return err
			}
			return a.print(map[string]string{"dir": s.Dir()}, func(w io.Writer) { fmt.Fprintf(w, "Key directory %s is there.\n", s.Dir()) })
		},
	}
}

// keyInfo is what may be told about a key, as --json prints it.
type keyInfo struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Address   string `json:"address,omitempty"`
	PublicKey string `json:"publicKey"`
}

func infoOf(k keys.Info) keyInfo {
	out := keyInfo{Name: k.Name, Kind: string(k.Kind), PublicKey: k.PublicKey}
	if k.Address != (keys.Info{}).Address {
		out.Address = k.Address.Hex()
	}
	return out
}

func (a *app) keysList(open openKeys) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List names, kinds and public keys", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, _, err := open()
			if err != nil {
				return err
			}
			list, damaged := s.List() // one damaged file does not hide the others
			out := make([]keyInfo, len(list))
			for i, k := range list {
				out[i] = infoOf(k)
			}
			err = a.print(out, func(w io.Writer) {
				for _, k := range out {
					fmt.Fprintf(w, "%-12s %-7s %s\n", k.Name, k.Kind, k.PublicKey)
				}
			})
			return errors.Join(damaged, err)
		},
	}
}

func (a *app) keysNew(dir *string, open openKeys) *cobra.Command {
	var kind string
	c := &cobra.Command{
		Use: "new NAME", Short: "Make a key",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("%s needs one name: %s", c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			s, source, err := open()
			if err != nil {
				return err
			}
			pw, err := source(args[0])
			if err != nil {
				return err
			}
			defer clear(pw)
			var info keys.Info
			if keys.Kind(kind) == keys.Vote && *dir == "" {
				info, err = a.newVoteKey(args[0], pw)
			} else {
				info, err = s.New(args[0], keys.Kind(kind), pw)
			}
			if err != nil {
				return err
			}
			return a.print(infoOf(info), func(w io.Writer) {
				fmt.Fprintf(w, "Key %s (%s) made.\n", info.Name, info.Kind)
				if k := infoOf(info); k.Address != "" {
					fmt.Fprintf(w, "address    %s\n", k.Address)
				}
				fmt.Fprintf(w, "public key %s\n", info.PublicKey)
			})
		},
	}
	c.Flags().StringVar(&kind, "kind", string(keys.Client), "vote, host, client, data or tls")
	return c
}

// newVoteKey makes a vote key of the node itself, with its ordering log.
func (a *app) newVoteKey(name string, password []byte) (keys.Info, error) {
	cfg, err := a.config()
	if err != nil {
		return keys.Info{}, err
	}
	return node.NewVoteKey(cfg, name, password)
}

func (a *app) keysPassword(open openKeys) *cobra.Command {
	var source string
	c := &cobra.Command{
		Use: "password [NAME…]", Short: "Encrypt keys with a new password: those named, or all",
		Long: "The old password is read as always (identity.password, or --password), the new one from --new.\n" +
			"Every key must open with one of the two before any is changed; an interrupted change is finished by repeating it.\n" +
			"Afterwards put the new password where identity.password says. A running node is not disturbed.",
		RunE: func(_ *cobra.Command, names []string) error {
			s, old, err := open()
			if err != nil {
				return err
			}
			if len(names) == 0 {
				list, err := s.List()
				if err != nil {
					return err
				}
				for _, k := range list {
					names = append(names, k.Name)
				}
			}
			fresh, err := a.newPassword(source, "")
			if err != nil {
				return err
			}
			defer clear(fresh)
			changed, err := changePasswords(s, names, old, fresh)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"changed": changed, "keys": len(names)}, func(w io.Writer) {
				fmt.Fprintf(w, "%d of %d keys in %s have a new password; the others had it already.\nPut it where identity.password says before the node starts again.\n", changed, len(names), s.Dir())
			})
		},
	}
	c.Flags().StringVar(&source, "new", "prompt", "where the new password is: file:<path>, env:<variable> or prompt")
	return c
}

// changePasswords changes the keys that still have their old password and
// returns how many those were.
func changePasswords(s *keys.Store, names []string, old keys.Password, fresh []byte) (int, error) {
	type key struct {
		name string
		old  []byte
	}
	var todo []key
	defer func() {
		for _, k := range todo {
			clear(k.old)
		}
	}()
	for _, name := range names {
		if done, err := opens(s, name, fresh); err != nil {
			return 0, err
		} else if done {
			continue
		}
		pw, err := old(name)
		if err != nil {
			return 0, err
		}
		todo = append(todo, key{name, pw})
		_, secret, err := s.Export(name, pw)
		clear(secret)
		if err != nil {
			return 0, err
		}
	}
	for i, k := range todo {
		if err := s.ChangePassword(k.name, k.old, fresh); err != nil {
			return i, fmt.Errorf("%w (%d of %d keys have the new password: repeat the command)", err, i, len(todo))
		}
	}
	return len(todo), nil
}

func opens(s *keys.Store, name string, password []byte) (bool, error) {
	_, secret, err := s.Export(name, password)
	clear(secret)
	if errors.Is(err, keys.ErrWrongPassword) {
		return false, nil
	}
	return err == nil, err
}
