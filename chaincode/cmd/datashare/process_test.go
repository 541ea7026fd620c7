package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/assent-network/assent/chaincode/internal/peerside"
)

// pki is a CA with a certificate for the service and one for the peer; the
// fields are paths without .key or .pem.
type pki struct {
	ca, server, client string
	pool               *x509.CertPool
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	dir := t.TempDir()
	p := &pki{filepath.Join(dir, "ca"), filepath.Join(dir, "server"), filepath.Join(dir, "client"), x509.NewCertPool()}
	caKey, ca := issue(t, p.ca, nil, &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	p.pool.AddCert(ca)
	for i, path := range []string{p.server, p.client} {
		issue(t, path, &issuer{caKey, ca}, &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		})
	}
	return p
}

type issuer struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// issue makes a certificate and writes it and its key beside each other.
func issue(t *testing.T, path string, by *issuer, template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.Subject = pkix.Name{CommonName: filepath.Base(path)}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if by == nil {
		by = &issuer{key, template}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{".key": {Type: "PRIVATE KEY", Bytes: keyDER}, ".pem": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(path+name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, cert
}

// credentials are the peer's, with its certificate or without.
func (p *pki) credentials(t *testing.T, withCertificate bool) credentials.TransportCredentials {
	t.Helper()
	cfg := &tls.Config{RootCAs: p.pool, MinVersion: tls.VersionTLS12}
	if withCertificate {
		pair, err := tls.LoadX509KeyPair(p.client+".pem", p.client+".key")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(cfg)
}

const packageID = "datashare:0011"

// process is a running service.
type process struct {
	cmd  *exec.Cmd
	addr string
	log  bytes.Buffer // complete once done is closed
	done chan struct{}
}

// startProcess starts the binary on a free port and reads from its log which.
func startProcess(t *testing.T, bin string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(bin), done: make(chan struct{})}
	p.cmd.Env = append([]string{"CHAINCODE_SERVER_ADDRESS=127.0.0.1:0", "CHAINCODE_ID=" + packageID}, env...)
	p.cmd.Dir = t.TempDir()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop() })
	listening := make(chan string, 1)
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.log.WriteString(lines.Text() + "\n")
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "chaincode service listens" {
				listening <- line.Address
			}
		}
	}()
	select {
	case p.addr = <-listening:
	case <-p.done:
		t.Fatalf("the service did not start:\n%s", &p.log)
	}
	return p
}

// stop asks the process to end and returns its exit code.
func (p *process) stop() int {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.done
		_ = p.cmd.Wait()
	}
	return p.cmd.ProcessState.ExitCode()
}

// TestMainJobOnARealProcess starts the binary for each way to connect and does
// the main job through it: members, product, consent, permit, receipt,
// revocation, denial.
func TestMainJobOnARealProcess(t *testing.T) {
	bin, p := filepath.Join(t.TempDir(), "datashare"), newPKI(t)
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	withTLS := []string{"CHAINCODE_TLS_KEY=" + p.server + ".key", "CHAINCODE_TLS_CERT=" + p.server + ".pem"}
	for _, c := range []struct {
		name    string
		env     []string
		creds   credentials.TransportCredentials
		refused []credentials.TransportCredentials
	}{
		{"plain", []string{"CHAINCODE_TLS_DISABLED=true"}, insecure.NewCredentials(), []credentials.TransportCredentials{p.credentials(t, true)}},
		{"TLS", withTLS, p.credentials(t, false), []credentials.TransportCredentials{insecure.NewCredentials(), newPKI(t).credentials(t, false)}},
		{"mutual TLS", append(withTLS, "CHAINCODE_CLIENT_CA_CERT="+p.ca+".pem"), p.credentials(t, true), []credentials.TransportCredentials{insecure.NewCredentials(), p.credentials(t, false)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t)
			service := startProcess(t, bin, append(c.env, "DATASHARE_APPROVED_CONFIG="+s.config.Approval)...)
			for i, creds := range c.refused {
				if peer, err := peerside.Dial(t.Context(), peerside.Config{Address: service.addr, Credentials: creds}); err == nil {
					peer.Close()
					t.Errorf("a peer with wrong credentials (%d) was let in", i)
				}
			}
			peer, err := peerside.Dial(t.Context(), peerside.Config{Address: service.addr, Credentials: c.creds, Batches: true})
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			if peer.CCID() != packageID {
				t.Errorf("registered as %s", peer.CCID())
			}
			s.tell(peer)
			if code := service.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			<-peer.Ended()
			if log := service.log.String(); !strings.Contains(log, "chaincode service ended") || strings.Contains(log, s.consent) {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}
