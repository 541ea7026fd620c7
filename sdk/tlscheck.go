package sdk

import (
	"context"
	"crypto/tls"
	"net/url"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// TLSReport compares the TLS key that a node shows with the one that the ledger
// holds for a node at that address.
type TLSReport struct {
	URL    string
	Err    error
	Plain  bool   // no TLS
	Shown  Hash   // SHA-256 of the certificate's public key info
	Record string // "member/node" whose record names this URL; "" if none does
	Ledger Hash   // proven under a certified root
}

// CompareTLS looks at every node of the client.
func (c *Client) CompareTLS(ctx context.Context) []TLSReport {
	out := make([]TLSReport, len(c.nodes))
	for i, e := range c.nodes {
		out[i] = TLSReport{URL: e.url}
		out[i].Err = c.compareTLS(ctx, &out[i])
	}
	return out
}

func (c *Client) compareTLS(ctx context.Context, r *TLSReport) error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return err
	}
	if r.Plain = u.Scheme == "http"; r.Plain {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.set.timeouts.Call)
	defer cancel()
	host := u.Host
	if u.Port() == "" {
		host += ":443"
	}
	// Nothing is sent: the key is looked at, whoever shows it.
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}).DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	defer conn.Close()
	r.Shown = SPKI(conn.(*tls.Conn).ConnectionState().PeerCertificates[0])
	for n, err := range c.Nodes().List(ctx) {
		if err != nil {
			return err
		}
		for _, api := range n.APIURLs {
			if strings.TrimSuffix(api, "/") != r.URL {
				continue
			}
			p, err := c.Proofs().Record(ctx, record.NodeKey(n.OrgID, n.NodeID))
			if err != nil || !p.Present {
				return err
			}
			proven, err := record.Load[record.Node](p.Value)
			if err != nil {
				return err
			}
			r.Record, r.Ledger = string(n.OrgID)+"/"+string(n.NodeID), proven.SPKI
			return nil
		}
	}
	return nil
}
