package node

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/doctor"
)

const (
	askTime      = 3 * time.Second // for one answer of another node
	askNodeTime  = 25 * time.Second
	maxPeersAsk  = 64
	maxPeerReply = 64 << 10
	maxStatus    = 8 << 20
)

// askNode asks the node that runs on this machine how it is.
func askNode(ctx context.Context, addr string) (*doctor.Node, error) {
	if addr == config.Off {
		return nil, errors.New("metrics.listen is off")
	}
	ctx, cancel := context.WithTimeout(ctx, askNodeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+statusPath, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", addr, resp.Status)
	}
	n, err := parseStatus(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s is no node's operators' address: %w", addr, err)
	}
	return n, nil
}

// parseStatus reads what a node says of itself at statusPath.
func parseStatus(r io.Reader) (*doctor.Node, error) {
	var n doctor.Node
	if err := json.NewDecoder(io.LimitReader(r, maxStatus)).Decode(&n); err != nil {
		return nil, err
	}
	if n.NodeID == "" {
		return nil, errors.New("it names no node")
	}
	return &n, nil
}

// askPeers asks the APIs of other nodes, as the ledger names them, for their
// version and their clock. Who cannot be reached from here stays unknown.
func askPeers(ctx context.Context, f *doctor.Facts) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards f.Clocks
	for i := range f.Node.Peers[:min(len(f.Node.Peers), maxPeersAsk)] {
		p := &f.Node.Peers[i]
		if len(p.APIURLs) == 0 || p.SPKI == "" {
			continue
		}
		wg.Go(func() {
			ahead, ok := askPeer(ctx, p)
			if ok {
				mu.Lock()
				f.Clocks = append(f.Clocks, doctor.Clock{NodeID: p.NodeID, Ahead: ahead})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// askPeer fills in what a node tells everybody and returns how far its clock is
// ahead, to half a second.
func askPeer(ctx context.Context, p *doctor.Peer) (ahead time.Duration, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: pinned(p.SPKI)}}
	defer client.CloseIdleConnections()
	var s peerStatus
	if _, err := s.fetch(ctx, client, p.APIURLs[0]); err != nil { // its handshake is not to count below
		return 0, false
	}
	begun := time.Now()
	date, err := s.fetch(ctx, client, p.APIURLs[0])
	middle := begun.Add(time.Since(begun) / 2)
	if err != nil {
		return 0, false
	}
	p.Software = strings.Map(printable, s.Software[:min(len(s.Software), 64)])
	_, _ = fmt.Sscan(s.Protocol, &p.Protocol) // unknown stays 0
	_, _ = fmt.Sscan(s.ProtocolKnown, &p.ProtocolKnown)
	// The header has whole seconds, cut off: half a second is the fair guess.
	return date.Add(500 * time.Millisecond).Sub(middle).Round(100 * time.Millisecond), true
}

// peerStatus is what a node tells everybody.
type peerStatus struct {
	Software      string `json:"software"`
	Protocol      string `json:"protocol"`
	ProtocolKnown string `json:"protocolKnown"`
}

// fetch reads a node's status and the time of its answer.
func (s *peerStatus) fetch(ctx context.Context, client *http.Client, url string) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(url, "/")+assentv1connect.LedgerServiceGetStatusProcedure, strings.NewReader("{}"))
	if err != nil {
		return time.Time{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerReply))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	if err != nil {
		return time.Time{}, err
	}
	return http.ParseTime(resp.Header.Get("Date"))
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// pinned accepts one key, whoever signed for it.
func pinned(spki string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // the key is compared below
		VerifyConnection: func(s tls.ConnectionState) error {
			der, err := x509.MarshalPKIXPublicKey(s.PeerCertificates[0].PublicKey)
			if err != nil {
				return err
			}
			if sum := sha256.Sum256(der); "0x"+hex.EncodeToString(sum[:]) != spki {
				return errors.New("another TLS key than the ledger names")
			}
			return nil
		},
	}
}

func decodeHex(s string) ([]byte, error) { return hex.DecodeString(strings.TrimPrefix(s, "0x")) }
