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
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

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
	if _, _, err := fetchStatus(ctx, client, p.APIURLs[0]); err != nil { // its handshake is not to count below
		return 0, false
	}
	begun := time.Now()
	b, date, err := fetchStatus(ctx, client, p.APIURLs[0])
	middle := begun.Add(time.Since(begun) / 2)
	if err != nil || parsePeerStatus(b, p) != nil {
		return 0, false
	}
	// The header has whole seconds, cut off: half a second is the fair guess.
	return date.Add(500 * time.Millisecond).Sub(middle).Round(100 * time.Millisecond), true
}

// parsePeerStatus fills in what a node tells everybody. Another member's node may
// say anything: what is shown holds printable characters only.
func parsePeerStatus(b []byte, p *doctor.Peer) error {
	var s struct {
		Software      string `json:"software"`
		Protocol      string `json:"protocol"`
		ProtocolKnown string `json:"protocolKnown"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	p.Software = strings.Map(printable, strings.ToValidUTF8(s.Software[:min(len(s.Software), 64)], ""))
	p.Protocol, _ = strconv.ParseUint(s.Protocol, 10, 64) // unknown is 0
	p.ProtocolKnown, _ = strconv.ParseUint(s.ProtocolKnown, 10, 64)
	return nil
}

// fetchStatus reads a node's status and the time of its answer.
func fetchStatus(ctx context.Context, client *http.Client, url string) ([]byte, time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(url, "/")+assentv1connect.LedgerServiceGetStatusProcedure, strings.NewReader("{}"))
	if err != nil {
		return nil, time.Time{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerReply))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	at, err := http.ParseTime(resp.Header.Get("Date"))
	return b, at, err
}

func printable(r rune) rune {
	if !unicode.IsPrint(r) { // control characters move a terminal's cursor, others turn text around
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
