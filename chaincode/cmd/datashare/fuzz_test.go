package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzConfigFile reads the config of a Fabric network: an error, or a config that
// the contracts take.
func FuzzConfigFile(f *testing.F) {
	f.Add([]byte(`{"chainId":"0x00","configSeq":1,"members":[{"msp":"BankA","title":"Bank A","roles":["DATA_PROVIDER"],"admins":[]}]}`))
	f.Add([]byte(`{"configSeq":1}`))
	path := filepath.Join(f.TempDir(), "config.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(path)
		if err == nil && c.Check() != nil {
			t.Fatalf("%s is taken and is no config: %v", b, c.Check())
		}
	})
}

// FuzzSettings reads a service's settings: without TLS only where somebody says so.
func FuzzSettings(f *testing.F) {
	f.Add("127.0.0.1:9999", "datashare:00", "30s", "10s", "true")
	f.Add("x", "", "-1s", "1h", "")
	f.Fuzz(func(t *testing.T, address, id, skew, grace, plain string) {
		c, err := parseSettings(map[string]string{"address": address, "id": id, "max-skew": skew, "grace": grace, "tls-disabled": plain})
		if err != nil {
			return
		}
		if c.tls == nil && plain == "" || c.skew < time.Second || c.skew > 15*time.Minute || c.grace <= 0 {
			t.Fatalf("%+v", c)
		}
	})
}
