package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/keys"
)

func (a *app) keysCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{Use: "keys", Short: "The encrypted keys of this node, or of a person with --dir", Args: noArgs}
	c.PersistentFlags().StringVar(&dir, "dir", "", "key directory; default: the node's identity.keysDir")
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
		pw, err := a.source(source)
		return s, pw, err
	}
	c.AddCommand(a.keysCreate(&dir), a.keysList(open), a.keysNew(open))
	return c
}

type openKeys func() (*keys.Store, keys.Password, error)

func (a *app) keysCreate(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "create", Short: "Make an empty key directory", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if *dir == "" {
				return usageError{fmt.Errorf("keys create needs --dir")}
			}
			_, err := keys.Create(*dir)
			return err
		},
	}
}

func (a *app) keysList(open openKeys) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List names, kinds and public keys", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, _, err := open()
			if s == nil {
				return err
			}
			list, err := s.List()
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				for _, k := range list {
					fmt.Fprintf(w, "%-12s %-7s %s\n", k.Name, k.Kind, k.PublicKey)
				}
			})
		},
	}
}

func (a *app) keysNew(open openKeys) *cobra.Command {
	var kind string
	c := &cobra.Command{
		Use: "new NAME", Short: "Make a key", Args: cobra.ExactArgs(1),
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
			info, err := s.New(args[0], keys.Kind(kind), pw)
			if err != nil {
				return err
			}
			return a.print(info, func(w io.Writer) {
				fmt.Fprintf(w, "Key %s (%s) made.\naddress    %s\npublic key %s\n", info.Name, info.Kind, info.Address, info.PublicKey)
			})
		},
	}
	c.Flags().StringVar(&kind, "kind", string(keys.Client), "vote, host, client, data or tls")
	return c
}
