package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/assent-network/assent/node/ledger"
)

// MaxGenesisFile bounds a genesis file.
const MaxGenesisFile = 8 * ledger.MaxConfigBytes

// ParseGenesis reads a genesis config in either of its forms: the JSON of the
// genesis file that members hand out, or the ledger's own bytes. Its hash is the
// chain id.
func ParseGenesis(data []byte) (*ledger.Config, error) {
	cfg, err := parseConfig(data)
	if err == nil && cfg.Seq != 0 {
		err = fmt.Errorf("this is config %d, not the one that founded the network", cfg.Seq)
	}
	if err != nil {
		return nil, &ConfigError{What: "genesis config", Cause: err, Remedy: "Give the genesis file as a member of the network hands it out."}
	}
	return cfg, nil
}

// ParseConfig reads any config of a network, as FormatGenesis writes it or in its
// exact bytes, and checks it.
func ParseConfig(data []byte) (*Config, error) {
	cfg, err := parseConfig(data)
	if err != nil {
		return nil, &ConfigError{What: "config", Cause: err, Remedy: "Start from what assent member config --json prints."}
	}
	return cfg, nil
}

func parseConfig(data []byte) (*ledger.Config, error) {
	if len(data) > MaxGenesisFile {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxGenesisFile)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return ledger.DecodeConfig(data)
	}
	cfg := new(ledger.Config)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(cfg); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows the closing brace")
	}
	return ledger.DecodeConfig(cfg.Encode()) // with every bound checked
}

// FormatGenesis returns the genesis file of a config.
func FormatGenesis(cfg *ledger.Config) ([]byte, error) {
	b, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write genesis file: %w", err)
	}
	return append(b, '\n'), nil
}
