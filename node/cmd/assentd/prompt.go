package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/assent-network/assent/node/keys"
)

// prompt asks a person at the terminal; nil if there is none.
func (a *app) prompt() keys.Password {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	return func(key string) ([]byte, error) { return a.ask(fd, fmt.Sprintf("Password of key %q", key)) }
}

// ask reads one line without echo.
func (a *app) ask(fd int, what string) ([]byte, error) {
	fmt.Fprintf(a.err, "%s: ", what)
	defer fmt.Fprintln(a.err)
	return term.ReadPassword(fd)
}

// newPassword reads a password that keys are made with: from a terminal twice,
// since a slip would lose them.
func (a *app) newPassword(source, key string) ([]byte, error) {
	from, err := a.parseSource(source)
	if err != nil {
		return nil, usageError{err}
	}
	if source != "prompt" {
		return from(key)
	}
	fd := int(os.Stdin.Fd())
	first, err := a.ask(fd, "New password of the keys")
	if err != nil {
		return nil, err
	}
	second, err := a.ask(fd, "Again")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passwords differ: nothing was made or changed")
	}
	return first, nil
}
