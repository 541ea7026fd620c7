// Command assent is the command line of a member, an integration developer or a
// subject. It does nothing that package sdk cannot do.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() { os.Exit(Main()) }

// Main runs the command with the process's own arguments, streams and
// environment and returns its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], &surroundings{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv, now: time.Now, home: os.UserConfigDir,
	})
}

// surroundings is what a command may touch besides files and the network.
type surroundings struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	now      func() time.Time
	home     func() (string, error) // directory of configuration
}
