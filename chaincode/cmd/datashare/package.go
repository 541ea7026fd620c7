package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"

	"github.com/spf13/cobra"
)

// connection is connection.json of a package of type ccaas.
type connection struct {
	Address     string `json:"address"`
	DialTimeout string `json:"dial_timeout"`
	TLS         bool   `json:"tls_required"`
	ClientAuth  bool   `json:"client_auth_required"`
	ClientKey   string `json:"client_key,omitempty"`
	ClientCert  string `json:"client_cert,omitempty"`
	RootCert    string `json:"root_cert,omitempty"`
}

type metadata struct {
	Type  string `json:"type"`
	Label string `json:"label"`
}

// labelForm is Fabric's.
var labelForm = regexp.MustCompile(`^[[:alnum:]][[:alnum:]_.+-]*$`)

func (a *app) packageCommand() *cobra.Command {
	var label, out, root, key, cert string
	c := connection{DialTimeout: "10s"}
	cmd := &cobra.Command{
		Use: "package", Short: "Make the package that peers install; the same input gives the same bytes", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return usage("no file to write: name it with -o")
			}
			for _, f := range []struct {
				path string
				into *string
			}{{root, &c.RootCert}, {key, &c.ClientKey}, {cert, &c.ClientCert}} {
				if f.path == "" {
					continue
				}
				data, err := os.ReadFile(f.path)
				if err != nil {
					return fmt.Errorf("read TLS file for the peer: %w", err)
				}
				*f.into = string(data)
			}
			c.TLS, c.ClientAuth = c.RootCert != "", c.ClientKey != ""
			data, err := makePackage(label, c)
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, data, 0o600); err != nil { // it may hold the peer's key
				return fmt.Errorf("write package: %w", err)
			}
			sum := sha256.Sum256(data)
			id := label + ":" + hex.EncodeToString(sum[:])
			return a.print(struct {
				File string `json:"file"`
				ID   string `json:"id"`
			}{out, id}, id)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "file to write, .tar.gz")
	f.StringVar(&label, "label", "datashare", "label of the package")
	f.StringVar(&c.Address, "address", "", "host:port at which the peer reaches the service")
	f.StringVar(&c.DialTimeout, "dial-timeout", c.DialTimeout, "how long the peer tries")
	f.StringVar(&root, "root-cert", "", "PEM file of the CA of the service's certificate: TLS")
	f.StringVar(&key, "client-key", "", "PEM file of the peer's client key: mutual TLS")
	f.StringVar(&cert, "client-cert", "", "PEM file of the peer's client certificate: mutual TLS")
	return cmd
}

// makePackage makes metadata.json and code.tar.gz with connection.json in it.
// The package id is a hash of these bytes, so nothing in them depends on when or
// where they were made.
func makePackage(label string, c connection) ([]byte, error) {
	switch {
	case !labelForm.MatchString(label):
		return nil, usage("--label: want letters, digits and \"_.+-\", beginning with a letter or digit")
	case (c.ClientKey == "") != (c.ClientCert == ""):
		return nil, usage("mutual TLS wants both --client-key and --client-cert")
	case c.ClientKey != "" && c.RootCert == "":
		return nil, usage("mutual TLS wants --root-cert too")
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return nil, usage("--address: want host:port, where the peer reaches the service")
	}
	conn, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make connection.json: %w", err)
	}
	meta, err := json.MarshalIndent(metadata{"ccaas", label}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make metadata.json: %w", err)
	}
	code, err := archive(file{"connection.json", conn})
	if err != nil {
		return nil, err
	}
	return archive(file{"metadata.json", meta}, file{"code.tar.gz", code})
}

type file struct {
	name string
	data []byte
}

// archive makes a .tar.gz without times, owners or names of machines.
func archive(files ...file) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data)), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("end archive: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress archive: %w", err)
	}
	return out.Bytes(), nil
}
