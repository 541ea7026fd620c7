package main

import (
	"crypto/sha256"
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

// fileSum names a file by its content, "" if it cannot be read.
func fileSum(path string) string {
	b, err := readFile(path, 1<<20)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
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
