package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// command runs the program in this process, without an environment.
func command(args ...string) (code int, out, err string) {
	var o, e bytes.Buffer
	code = run(args, func(string) string { return "" }, &o, &e)
	return code, o.String(), e.String()
}

func TestWrongSettingsAreNamedWithTheirRemedy(t *testing.T) {
	p := newPKI(t)
	const id, addr = "--id=l:1", "--address=127.0.0.1:0"
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "set CHAINCODE_SERVER_ADDRESS"},
		{[]string{"--address=nowhere", id}, 2, "not host:port"},
		{[]string{addr}, 2, "set CHAINCODE_ID"},
		{[]string{addr, id}, 2, "set CHAINCODE_TLS_KEY"},
		{[]string{addr, id, "--tls-disabled=perhaps"}, 2, "want true or false"},
		{[]string{addr, id, "--tls-disabled=true", "--tls-key=x"}, 2, "remove one or the other"},
		{[]string{addr, id, "--tls-key=/none", "--tls-cert=/none"}, 1, "check CHAINCODE_TLS_KEY"},
		{[]string{addr, id, "--tls-key=" + p.server + ".key", "--tls-cert=" + p.server + ".pem", "--tls-client-ca=/none"}, 1, "check CHAINCODE_CLIENT_CA_CERT"},
		{[]string{addr, id, "--tls-key=" + p.server + ".key", "--tls-cert=" + p.server + ".pem", "--tls-client-ca=" + p.ca + ".key"}, 2, "holds no PEM certificate"},
		{[]string{addr, id, "--tls-disabled=true", "--approved-config=0x12"}, 2, "DATASHARE_APPROVED_CONFIG"},
		{[]string{addr, id, "--tls-disabled=true", "--max-skew=1h"}, 2, "1s to 15m"},
		{[]string{addr, id, "--tls-disabled=true", "--grace=-1s"}, 2, "DATASHARE_GRACE"},
		{[]string{"--address=" + busy.Addr().String(), id, "--tls-disabled=true"}, 1, "free the port"},
		{[]string{"--bogus"}, 2, "see --help"},
		{[]string{"version", "x"}, 2, "takes 0 arguments"},
		{[]string{"config", "/none"}, 2, "--channel"},
		{[]string{"config", "--channel=c", "/none"}, 1, "read config"},
		{[]string{"config", "--channel=c", p.ca + ".pem"}, 2, "is no config"},
		{[]string{"identity", p.ca + ".key"}, 2, "want one X.509 certificate"},
		{[]string{"package", "--address=h:1"}, 2, "name it with -o"},
		{[]string{"package", "-o", "x", "--address=h"}, 2, "want host:port"},
		{[]string{"package", "-o", "x", "--address=h:1", "--label=-a"}, 2, "--label"},
		{[]string{"package", "-o", "x", "--address=h:1", "--client-key=" + p.client + ".key"}, 2, "both --client-key and --client-cert"},
	} {
		code, out, text := command(append(c.args, "--json")...)
		var problem struct {
			Error string
			Exit  int
		}
		if err := json.Unmarshal([]byte(out), &problem); err != nil || code != c.code || problem.Exit != code || !strings.Contains(problem.Error, c.want) ||
			!strings.Contains(text, "datashare: "+problem.Error) {
			t.Errorf("%v: exit %d, %q%q, want %d and %q", c.args, code, out, text, c.code, c.want)
		}
	}
	if _, _, text := command(); !strings.HasPrefix(text, "datashare: no address") || strings.Count(text, "\n") != 1 {
		t.Errorf("as text: %q", text)
	}
}

func TestVersionAsJSON(t *testing.T) {
	code, out, _ := command("version", "--json")
	var v struct {
		Version   string
		Functions int
	}
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || v.Version == "" || v.Functions == 0 {
		t.Errorf("%d %s", code, out)
	}
}

func TestPackageIsWhatPeersInstallAndAlwaysTheSame(t *testing.T) {
	p, dir := newPKI(t), t.TempDir()
	var made struct{ File, ID string }
	var packages [2][]byte
	for i, name := range []string{"a.tar.gz", "b.tar.gz"} {
		file := filepath.Join(dir, name)
		code, out, text := command("package", "--json", "-o", file, "--label", "datashare_1.0", "--address", "datashare.bank-a:9999",
			"--root-cert", p.ca+".pem", "--client-key", p.client+".key", "--client-cert", p.client+".pem")
		if err := json.Unmarshal([]byte(out), &made); code != 0 || err != nil {
			t.Fatal(code, text, err)
		}
		var err error
		if packages[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packages[0], packages[1]) {
		t.Error("the same input gave other bytes")
	}
	if sum := sha256.Sum256(packages[0]); made.ID != "datashare_1.0:"+hex.EncodeToString(sum[:]) {
		t.Errorf("package id %s", made.ID)
	}
	outer := untar(t, packages[0])
	if got := string(outer["metadata.json"]); !strings.Contains(got, `"type": "ccaas"`) || !strings.Contains(got, `"label": "datashare_1.0"`) {
		t.Errorf("metadata.json: %s", got)
	}
	var c connection
	if err := json.Unmarshal(untar(t, outer["code.tar.gz"])["connection.json"], &c); err != nil {
		t.Fatal(err)
	}
	if c.Address != "datashare.bank-a:9999" || !c.TLS || !c.ClientAuth || !strings.Contains(c.RootCert, "CERTIFICATE") || !strings.Contains(c.ClientKey, "PRIVATE KEY") {
		t.Errorf("connection.json: %+v", c)
	}
}

// untar also checks that nothing tells when or where the archive was made.
func untar(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("gzip header %+v", z.Header)
	}
	out := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uname != "" || h.Uid != 0 || h.Mode != 0o644 {
			t.Errorf("tar header %+v", h)
		}
		if out[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
