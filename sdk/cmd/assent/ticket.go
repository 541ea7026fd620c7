package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/sdk"
)

// ticketKind is how one command keeps its request in a file, from before anything is
// asked until it is done: after a crash, or when --timeout is over, the same request
// goes on. The file is a secret.
type ticketKind[T any] struct {
	name  string // "total-", before the id in the name of a file that was not given
	most  int64  // bytes
	parse func([]byte) (T, error)
	store func(T) ([]byte, error)
	id    func(T) (string, error)
}

func jsonOf[T any](t T) ([]byte, error) { return json.Marshal(t) }

// takeTicket reads the ticket in file, or has one prepared and keeps it there; with no
// file given, below the configuration directory.
func takeTicket[T any](a *app, k *ticketKind[T], file string, prepare func() (T, error)) (t T, at string, err error) {
	if file != "" {
		b, err := readFile(file, k.most)
		if err == nil {
			if t, err = k.parse(b); err != nil {
				return t, "", usageError{fmt.Errorf("ticket %s is damaged or of something else: take another --ticket for a new request", file)}
			}
			return t, file, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return t, "", usageError{err}
		}
	}
	if t, err = prepare(); err != nil {
		return t, "", err
	}
	if file == "" {
		id, err := k.id(t)
		if err != nil {
			return t, "", err
		}
		dir, err := a.configDir()
		if err != nil {
			return t, "", err
		}
		dir = filepath.Join(dir, "tickets")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return t, "", err
		}
		file = filepath.Join(dir, k.name+id+".json")
	}
	b, err := k.store(t)
	if err != nil {
		return t, "", err
	}
	return t, file, durable.WriteFile(file, b)
}

// dropTicket removes the file of a request that is done, unless it is to be kept.
func (a *app) dropTicket(file string, keep bool) error {
	a.kept = ""
	if keep {
		return nil
	}
	return os.Remove(file)
}

// idOf names a signed transaction.
func idOf(raw []byte) (string, error) {
	tx, err := sdk.ParseTransaction(raw)
	if err != nil {
		return "", err
	}
	return tx.ID().Hex(), nil
}

// within is ctx for as long as --timeout allows.
func (a *app) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.flags.timeout > 0 {
		return context.WithTimeout(ctx, a.flags.timeout)
	}
	return context.WithCancel(ctx)
}
