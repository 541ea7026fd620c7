package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/chaincode/fabric"
	"github.com/assent-network/assent/chaincode/record"
)

// maxInput bounds a file that an operator gives.
const maxInput = 1 << 20

// configFile is how people write an ordering config.
type configFile struct {
	ChainID   string       `json:"chainId"` // empty in the first config: random
	ConfigSeq uint64       `json:"configSeq"`
	Members   []memberFile `json:"members"`
}

type memberFile struct {
	MSP    string              `json:"msp"`
	Title  string              `json:"title"`
	Roles  []record.MemberRole `json:"roles"`
	Admins []string            `json:"admins"` // certificate files, relative to this one
}

func (a *app) configCommand() *cobra.Command {
	var channel string
	cmd := &cobra.Command{
		Use: "config FILE", Short: "Make the ordering config of a channel, and the approval that each operator sets", Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if channel == "" {
				return usage("no channel: name it with --channel")
			}
			config, err := readConfig(args[0])
			if err != nil {
				return err
			}
			data, err := record.Encode(config)
			if err != nil {
				return fmt.Errorf("make config: %w", err)
			}
			approval := fabric.Approval(channel, string(data)).Hex()
			return a.print(struct {
				Approval string `json:"approval"`
				Channel  string `json:"channel"`
				Config   string `json:"config"`
			}{approval, channel, string(data)}, fmt.Sprintf("%s\nDATASHARE_APPROVED_CONFIG=%s", data, approval))
		},
	}
	cmd.Flags().StringVar(&channel, "channel", "", "channel the config is for")
	return cmd
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxInput {
		return nil, usage("%s has %d bytes, at most %d are read: is it the right file?", path, info.Size(), maxInput)
	}
	return os.ReadFile(path)
}

// readConfig reads a config file, or the canonical form that another operator
// has sent.
func readConfig(path string) (*record.OrderingConfig, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	if done, err := record.Parse[record.OrderingConfig](string(bytes.TrimSpace(data))); err == nil {
		return done, nil
	}
	var in configFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return nil, usage("%s is no config: %v: the README shows one", path, err)
	}
	out := &record.OrderingConfig{ConfigSeq: in.ConfigSeq, ProtocolVersion: 1}
	switch {
	case in.ChainID != "":
		if out.ChainID, err = record.ParseHash(in.ChainID); err != nil {
			return nil, usage("chainId: %v", err)
		}
	case in.ConfigSeq == 1:
		if _, err := rand.Read(out.ChainID[:]); err != nil {
			return nil, fmt.Errorf("draw chain id: %w", err)
		}
	default:
		return nil, usage("chainId is missing: copy the one of config 1, which never changes")
	}
	for _, m := range in.Members {
		member, err := readMember(filepath.Dir(path), &m)
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, *member)
	}
	slices.SortFunc(out.Members, func(a, b record.ConfigMember) int { return bytes.Compare([]byte(a.OrgID), []byte(b.OrgID)) })
	if err := out.Check(); err != nil {
		return nil, usage("%s: %v", path, err)
	}
	return out, nil
}

func readMember(dir string, m *memberFile) (*record.ConfigMember, error) {
	out := &record.ConfigMember{OrgID: record.OrgID(m.MSP), Title: m.Title, Roles: slices.Clone(m.Roles)}
	slices.Sort(out.Roles)
	for _, name := range m.Admins {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		key, err := readAddress(name)
		if err != nil {
			return nil, err
		}
		out.AdminKeys = append(out.AdminKeys, key)
	}
	slices.SortFunc(out.AdminKeys, func(a, b record.Address) int { return a.Cmp(b) })
	return out, nil
}

func readAddress(path string) (record.Address, error) {
	data, err := readFile(path)
	if err != nil {
		return record.Address{}, fmt.Errorf("read certificate: %w", err)
	}
	certificate, err := fabric.ParseCertificate(data)
	if err != nil {
		return record.Address{}, usage("%s: %v", path, err)
	}
	return fabric.KeyAddress(certificate), nil
}

func (a *app) identityCommand() *cobra.Command {
	return &cobra.Command{
		Use: "identity CERTIFICATE", Short: "Print the address under which an admin registers the holder of a certificate", Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := readAddress(args[0])
			if err != nil {
				return err
			}
			return a.print(struct {
				Address string `json:"address"`
			}{record.FormatAddress(key)}, record.FormatAddress(key))
		},
	}
}
