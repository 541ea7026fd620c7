package testnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/assent-network/assent/node/config"
)

// Manifest says what network to make.
type Manifest struct {
	Network string           `json:"network"`
	Members []ManifestMember `json:"members"`
	// Profiles makes every node serve /debug/pprof on a loopback port of its own.
	Profiles bool `json:"profiles,omitempty"`
	// ClientRate is how many calls per second a client key may make; 0 is a node's
	// default. A load generator needs more than a client in earnest.
	ClientRate float64 `json:"clientRate,omitempty"`
	// Guests are members whose clients every node of another member serves too.
	Guests []string `json:"guests,omitempty"`
	// ExposureKeys is the folder with the keys that banks pledge with, as assent exposure ceremony keys wrote it.
	ExposureKeys string `json:"exposureKeys,omitempty"`
	// Advertise, if set, returns the multiaddress at which other nodes are told to
	// dial a node that listens on listen: something may stand between them.
	Advertise func(node, listen string) (string, error) `json:"-"`
}

// ManifestMember is one member with its nodes.
type ManifestMember struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Roles      []string `json:"roles"`
	Validators int      `json:"validators"`
	Observers  int      `json:"observers"`

	// Vaults are the products that the member's first node answers for.
	Vaults []config.Vault `json:"vaults,omitempty"`
}

// DefaultManifest is two banks, a lender and a regulator with one validator each,
// and an observer of the regulator's.
func DefaultManifest() Manifest {
	return Manifest{Network: "local", Members: []ManifestMember{
		{ID: "harbour-bank", Name: "Harbour Bank 海港银行", Roles: []string{"DATA_PROVIDER"}, Validators: 1},
		{ID: "lake-bank", Name: "Lake Bank 湖畔银行", Roles: []string{"DATA_PROVIDER"}, Validators: 1},
		{ID: "quick-loan", Name: "Quick Loan 快贷", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
		{ID: "regulator", Name: "Regulator 监管机构", Roles: []string{"AUDITOR"}, Validators: 1, Observers: 1},
	}}
}

// ReadManifest reads a manifest file.
func ReadManifest(path string) (Manifest, error) {
	var m Manifest
	b, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if m, err = parseManifest(b); err != nil {
		return m, fmt.Errorf("read manifest %s: %w", path, err)
	}
	return m, nil
}

// maxManifest bounds a manifest: networks of a hundred members have a few KiB.
const maxManifest = 1 << 20

func parseManifest(b []byte) (m Manifest, err error) {
	if len(b) > maxManifest {
		return m, fmt.Errorf("%d bytes, at most %d are read", len(b), maxManifest)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // a misspelt one would make another network
	if err := d.Decode(&m); err != nil {
		return m, err
	}
	if _, err := d.Token(); err != io.EOF {
		return m, errors.New("something stands after the object")
	}
	return m, m.check()
}

// maxNodes bounds a network of processes on one machine.
const maxNodes = 256

func (m *Manifest) check() error {
	if m.Network == "" {
		m.Network = "local"
	}
	validators, nodes := 0, 0
	for _, x := range m.Members {
		if x.Validators < 0 || x.Observers < 0 || x.Validators > 32 || x.Observers > 32 || x.Validators+x.Observers > 32 {
			return fmt.Errorf("manifest: member %q has %d validators and %d observers, at most 32 nodes", x.ID, x.Validators, x.Observers)
		}
		validators += x.Validators
		nodes += x.Validators + x.Observers
	}
	if nodes > maxNodes {
		return fmt.Errorf("manifest: %d nodes, at most %d on one machine", nodes, maxNodes)
	}
	if validators == 0 {
		return fmt.Errorf("manifest: no member has a validator")
	}
	return nil
}
