package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/chaincode/fabric"
	"github.com/assent-network/assent/chaincode/internal/service"
	"github.com/assent-network/assent/chaincode/record"
)

// setting is one setting of the service: a flag, and the variables that stand
// for it, the first that is set winning.
type setting struct {
	flag, value, help string
	vars              []string
}

// The names are those of Fabric's own chaincode-as-a-service samples.
func settings() []*setting {
	return []*setting{
		{flag: "address", vars: []string{"CHAINCODE_SERVER_ADDRESS"}, help: "host:port to listen on"},
		{flag: "id", vars: []string{"CHAINCODE_ID", "CORE_CHAINCODE_ID", "CORE_CHAINCODE_ID_NAME"}, help: "package id, label:hash, as `peer lifecycle chaincode install` prints it"},
		{flag: "tls-disabled", vars: []string{"CHAINCODE_TLS_DISABLED"}, help: "true: no TLS, for a peer on the same machine"},
		{flag: "tls-key", vars: []string{"CHAINCODE_TLS_KEY"}, help: "PEM file of the service's TLS key"},
		{flag: "tls-cert", vars: []string{"CHAINCODE_TLS_CERT"}, help: "PEM file of the service's TLS certificate"},
		{flag: "tls-client-ca", vars: []string{"CHAINCODE_CLIENT_CA_CERT"}, help: "PEM file of the CAs whose peers may connect; without it any peer may"},
		{flag: "approved-config", vars: []string{"DATASHARE_APPROVED_CONFIG"}, help: "approval of the ordering config this member accepts, as `datashare config` prints it"},
		{flag: "max-skew", value: "30s", vars: []string{"DATASHARE_MAX_SKEW"}, help: "how far a proposal's time may be from this clock, 1s to 15m"},
		{flag: "grace", value: "10s", vars: []string{"DATASHARE_GRACE"}, help: "how long shutdown waits for running transactions"},
	}
}

// serveConfig is what the settings say.
type serveConfig struct {
	address, id string
	tls         *tls.Config
	approved    record.Hash
	skew, grace time.Duration
}

func (a *app) serveCommand() *cobra.Command {
	all := settings()
	cmd := &cobra.Command{
		Use: "datashare", Short: "Assent's contracts as a Fabric chaincode service", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			values := map[string]string{}
			for _, s := range all {
				values[s.flag] = s.read(cmd, a.env)
			}
			cfg, err := parseSettings(values)
			if err != nil {
				return err
			}
			return a.serve(cmd, cfg)
		},
	}
	for _, s := range all {
		cmd.Flags().String(s.flag, s.value, s.help+" ["+s.vars[0]+"]")
	}
	return cmd
}

// read takes the flag before the environment before the default.
func (s *setting) read(cmd *cobra.Command, env func(string) string) string {
	f := cmd.Flags().Lookup(s.flag)
	if f.Changed {
		return f.Value.String()
	}
	for _, name := range s.vars {
		if v := env(name); v != "" {
			return v
		}
	}
	return s.value
}

func parseSettings(v map[string]string) (*serveConfig, error) {
	c := &serveConfig{address: v["address"], id: v["id"]}
	if c.address == "" {
		return nil, usage("no address to listen on: set CHAINCODE_SERVER_ADDRESS to host:port, the one in connection.json")
	}
	if _, _, err := net.SplitHostPort(c.address); err != nil {
		return nil, usage("CHAINCODE_SERVER_ADDRESS is not host:port: %v", err)
	}
	if c.id == "" {
		return nil, usage("no package id: set CHAINCODE_ID to what `peer lifecycle chaincode install` printed, label:hash")
	}
	var err error
	if v["approved-config"] != "" {
		if c.approved, err = record.ParseHash(v["approved-config"]); err != nil {
			return nil, usage("DATASHARE_APPROVED_CONFIG: %v: use what `datashare config` printed", err)
		}
	}
	if c.skew, err = time.ParseDuration(v["max-skew"]); err != nil || c.skew < time.Second || c.skew > 15*time.Minute {
		return nil, usage("DATASHARE_MAX_SKEW: want a duration from 1s to 15m")
	}
	if c.grace, err = time.ParseDuration(v["grace"]); err != nil || c.grace <= 0 || c.grace > 10*time.Minute {
		return nil, usage("DATASHARE_GRACE: want a duration above 0, at most 10m")
	}
	c.tls, err = parseTLS(v)
	return c, err
}

// parseTLS is strict: a service without TLS is one that somebody asked for.
func parseTLS(v map[string]string) (*tls.Config, error) {
	if v["tls-disabled"] != "" {
		disabled, err := strconv.ParseBool(v["tls-disabled"])
		if err != nil {
			return nil, usage("CHAINCODE_TLS_DISABLED: want true or false")
		}
		if disabled {
			if v["tls-key"]+v["tls-cert"]+v["tls-client-ca"] != "" {
				return nil, usage("CHAINCODE_TLS_DISABLED is true, but there are TLS files: remove one or the other")
			}
			return nil, nil
		}
	}
	if v["tls-key"] == "" || v["tls-cert"] == "" {
		return nil, usage("no TLS: set CHAINCODE_TLS_KEY and CHAINCODE_TLS_CERT to PEM files, or CHAINCODE_TLS_DISABLED=true for a peer on the same machine")
	}
	pair, err := tls.LoadX509KeyPair(v["tls-cert"], v["tls-key"])
	if err != nil {
		return nil, fmt.Errorf("read TLS key and certificate: %w: check CHAINCODE_TLS_KEY and CHAINCODE_TLS_CERT", err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if v["tls-client-ca"] == "" {
		return cfg, nil
	}
	data, err := os.ReadFile(v["tls-client-ca"])
	if err != nil {
		return nil, fmt.Errorf("read client CAs: %w: check CHAINCODE_CLIENT_CA_CERT", err)
	}
	cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !cfg.ClientCAs.AppendCertsFromPEM(data) {
		return nil, usage("CHAINCODE_CLIENT_CA_CERT holds no PEM certificate")
	}
	return cfg, nil
}

// serve answers peers until the command's context ends.
func (a *app) serve(cmd *cobra.Command, cfg *serveConfig) error {
	log := slog.New(slog.NewJSONHandler(a.err, nil))
	cc, err := fabric.New(fabric.Config{
		Approved: cfg.approved, MaxSkew: cfg.skew.Milliseconds(), Logger: log,
		Now: func() record.Millis { return time.Now().UnixMilli() },
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.address)
	if err != nil {
		return fmt.Errorf("listen: %w: free the port or change CHAINCODE_SERVER_ADDRESS", err)
	}
	log.Info("chaincode service listens", "address", listener.Addr().String(), "id", cfg.id, "version", version(),
		"tls", cfg.tls != nil, "clientAuth", cfg.tls != nil && cfg.tls.ClientCAs != nil, "maxSkew", cfg.skew.String())
	if cfg.tls == nil || cfg.tls.ClientCAs == nil {
		log.Warn("any program that reaches the port can act as a peer and see what it sends itself: set CHAINCODE_CLIENT_CA_CERT")
	}
	err = service.Run(cmd.Context(), service.Config{
		CCID: cfg.id, Listener: listener, TLS: cfg.tls, Chaincode: cc, Grace: cfg.grace, Logger: log,
	})
	log.Info("chaincode service ended")
	return err
}
