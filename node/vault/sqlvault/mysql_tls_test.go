package sqlvault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/assent-network/assent/node/vault"
)

// Files in the directory of the test server: its own authority, what that signed
// for db.bank.example, and an authority that signed nothing.
const (
	serverCA   = "ca.pem"
	strangerCA = "stranger.pem"
	serverCert = "cert.pem"
	serverKey  = "key.pem"
)

// writeCertificates makes them; the server reads them as another user.
func writeCertificates(dir string, as *syscall.Credential) error {
	ca, caKey, err := newAuthority(filepath.Join(dir, serverCA))
	if err != nil {
		return err
	}
	if _, _, err := newAuthority(filepath.Join(dir, strangerCA)); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"db.bank.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	err = errors.Join(writePEM(filepath.Join(dir, serverCert), "CERTIFICATE", der), writePEM(filepath.Join(dir, serverKey), "PRIVATE KEY", secret))
	for _, name := range []string{serverCert, serverKey} {
		if err == nil && as != nil {
			err = os.Chown(filepath.Join(dir, name), int(as.Uid), int(as.Gid))
		}
	}
	return err
}

func newAuthority(path string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	return ca, key, writePEM(path, "CERTIFICATE", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// A server whose certificate the bank's own authority signed is believed by that
// authority, under its name, and by nothing else.
func TestMySQLServerOfTheBanksOwnAuthority(t *testing.T) {
	m := mariaSpace(t)
	m.exec("CREATE TABLE customers (id varchar(20) PRIMARY KEY, x int)", "INSERT INTO customers VALUES ('a', 1)", "ALTER USER "+m.name+" REQUIRE SSL")
	file := func(name string) string { return filepath.Join(m.server.dir, name) }
	open := func(host, ca string) error {
		cfg := m.config(oneColumn("", vault.Int, 0))
		cfg.URL = strings.Replace(cfg.URL, "@localhost", "@"+host, 1) + "&sslrootcert=" + ca
		v, err := OpenMySQL(cfg)
		if err != nil {
			return err
		}
		defer v.Close()
		return v.Check(t.Context())
	}
	if err := open("db.bank.example", file(serverCA)); err != nil {
		t.Errorf("with its authority: %v", err)
	}
	for what, err := range map[string]error{
		"another authority": open("db.bank.example", file(strangerCA)), "another name": open("db2.bank.example", file(serverCA)),
	} {
		if !errors.Is(err, vault.ErrUnavailable) || !strings.Contains(err.Error(), "sslrootcert") {
			t.Errorf("%s: %v, want that it names sslrootcert", what, err)
		}
	}
	if err := open("db.bank.example", file(serverKey)); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("a file without certificates: %v", err)
	}
}
