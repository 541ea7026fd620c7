package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/assent-network/assent/sdk"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// readSilently reads a line with echo off.
func readSilently(f *os.File) (string, error) {
	b, err := term.ReadPassword(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	return string(b), nil
}

// chainOf names the network that a profile pins, "" if it pins none.
func chainOf(p *profile) string {
	if p.Genesis == "" {
		return strings.TrimPrefix(strings.ToLower(p.Chain), "0x")
	}
	b, err := readFile(p.Genesis, sdk.MaxGenesisFile)
	if err != nil {
		return ""
	}
	cfg, err := sdk.ParseGenesis(b)
	if err != nil {
		return ""
	}
	return cfg.Hash().Hex()[2:]
}

func parseHash(s string) (sdk.Hash, error) {
	var h sdk.Hash
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("%.80q is not 32 bytes in hex", s)
	}
	copy(h[:], b)
	return h, nil
}

func parseAddress(s string) (sdk.Address, error) {
	var a sdk.Address
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != len(a) {
		return a, fmt.Errorf("%.80q is not an address: 20 bytes in hex", s)
	}
	copy(a[:], b)
	return a, nil
}
