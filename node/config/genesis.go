package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/assent-network/assent/node/ledger"
)

// maxGenesisBytes bounds a genesis file: JSON of the largest config, indented.
const maxGenesisBytes = 8 * ledger.MaxConfigBytes

// ReadGenesis reads the genesis file: a ledger.Config as JSON. The hash of what
// it returns is the chain id.
func ReadGenesis(path string) (*ledger.Config, error) {
	b, err := readFile("genesis", path, maxGenesisBytes)
	if err != nil {
		return nil, err
	}
	c, err := ParseGenesis(b)
	if err != nil {
		return nil, fmt.Errorf("genesis file %s: %w", path, err)
	}
	return c, nil
}

// ParseGenesis reads the contents of a genesis file.
func ParseGenesis(b []byte) (*ledger.Config, error) {
	c := new(ledger.Config)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return nil, jsonError(b, dec.InputOffset(), err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more follows the closing brace: it must hold one object; fetch it again from a member")
	}
	if c.Seq != 0 {
		return nil, fmt.Errorf("seq is %d, a genesis config has 0: this is a later config; fetch the first one", c.Seq)
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%w: every member must hold the same file; correct it before the network starts, or fetch it again", err)
	}
	if n := len(c.Encode()); n > ledger.MaxConfigBytes {
		return nil, fmt.Errorf("%d bytes when encoded, at most %d are allowed: remove members or addresses", n, ledger.MaxConfigBytes)
	}
	return c, nil
}

// FormatGenesis returns what ReadGenesis reads.
func FormatGenesis(c *ledger.Config) ([]byte, error) {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write genesis: %w", err)
	}
	return append(b, '\n'), nil
}

// jsonError says on which line the JSON breaks.
func jsonError(b []byte, offset int64, err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &typ):
		offset = typ.Offset
	}
	line := 1 + bytes.Count(b[:min(max(offset, 0), int64(len(b)))], []byte("\n"))
	return fmt.Errorf("line %d: %s: correct it, or fetch the file again from a member", line, strings.TrimPrefix(err.Error(), "json: "))
}
