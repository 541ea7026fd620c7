package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
)

const (
	rememberedHeaders = 256
	maxConfigWalk     = 10_000
	maxPinFile        = 64 << 20
)

// trust is what the client believes without believing a node: the genesis config
// it was given and what follows from it by signatures.
type trust struct {
	genesis *ledger.Config
	pinFile string

	mu       sync.Mutex // guards the fields below; held during checks, never during a call
	light    *ledger.LightClient
	walked   [][]byte                         // config proofs since genesis, encoded
	final    map[Hash]*ledger.CertifiedHeader // headers that a quorum signed, with the votes that were checked
	byHeight map[ledger.Height]Hash           // the same by height: two at one height are a fork
	ring     [rememberedHeaders]Hash          // the same in order of arrival
	next     int                              // index into ring
}

// ErrFork means that a quorum of validators signed two different blocks of one
// height: more than a third of them are dishonest. Both headers are evidence.
var ErrFork = errors.New("two certified headers of one height: the network has forked")

func newTrust(s *settings) (*trust, error) {
	light, err := ledger.NewLightClient(s.genesis)
	if err != nil {
		return nil, &ConfigError{What: "genesis config", Cause: err, Remedy: "Give the config that founded the network."}
	}
	t := &trust{
		genesis: s.genesis, pinFile: s.pinFile, light: light,
		byHeight: map[ledger.Height]Hash{}, final: map[Hash]*ledger.CertifiedHeader{},
	}
	if err := t.load(); err != nil {
		return nil, err
	}
	return t, nil
}

// load walks the config blocks of the pin file.
func (t *trust) load() error {
	if t.pinFile == "" {
		return nil
	}
	info, err := os.Stat(t.pinFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	bad := func(err error) error {
		return &ConfigError{What: "pin file " + t.pinFile, Cause: err,
			Remedy: "It holds the config changes this client has seen; restore it, or remove it if you accept to start again from genesis."}
	}
	if err != nil {
		return bad(err)
	}
	if info.Size() > maxPinFile {
		return bad(fmt.Errorf("%d bytes, at most %d are read", info.Size(), maxPinFile))
	}
	b, err := os.ReadFile(t.pinFile)
	if err != nil {
		return bad(err)
	}
	var file pinned
	if err := json.Unmarshal(b, &file); err != nil {
		return bad(err)
	}
	if file.ChainID != t.light.ChainID() {
		return bad(fmt.Errorf("it is of network %s, this client of %s", file.ChainID, t.light.ChainID()))
	}
	for i, b := range file.Configs {
		if err := t.advanceLocked(b); err != nil {
			return bad(fmt.Errorf("config block %d: %w", i+1, err))
		}
	}
	return nil
}

// pinned is the pin file.
type pinned struct {
	ChainID Hash     `json:"chainId"`
	Configs [][]byte `json:"configs"` // config proofs from 1 on
}

// saveLocked writes the pin file; a crash leaves the old or the new one.
func (t *trust) saveLocked() error {
	if t.pinFile == "" {
		return nil
	}
	b, err := json.Marshal(pinned{t.light.ChainID(), t.walked})
	if err != nil {
		return err
	}
	return durable.WriteFile(t.pinFile, b)
}

func (t *trust) advanceLocked(b []byte) error {
	p, err := ledger.DecodeConfigProof(b)
	if err != nil {
		return err
	}
	if err := t.light.Advance(p); err != nil {
		return err
	}
	t.walked = append(t.walked, b)
	return nil
}

// config returns the newest config proven.
func (t *trust) config() *ledger.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.light.Config()
}

// check returns c if it is final, or why it is not. A header that was checked
// before is returned with the votes that were checked then, whatever votes it
// carries now.
func (t *trust) check(c *ledger.CertifiedHeader) (*ledger.CertifiedHeader, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := c.Header.Hash()
	if known := t.final[hash]; known != nil {
		return known, nil
	}
	if c.Header.Height == 0 {
		if g := ledger.Genesis(t.genesis); g.Header.Hash() != hash {
			return nil, fmt.Errorf("header 0 is %s, the genesis config founds %s", hash, g.Header.Hash())
		}
	} else if err := t.light.Verify(c); err != nil {
		return nil, err
	}
	if other, ok := t.byHeight[c.Header.Height]; ok && other != hash {
		return nil, fmt.Errorf("%w: height %d, headers %s and %s", ErrFork, c.Header.Height, other, hash)
	}
	t.rememberLocked(hash, c)
	return c, nil
}

func (t *trust) rememberLocked(hash Hash, c *ledger.CertifiedHeader) {
	if old := t.final[t.ring[t.next]]; old != nil {
		delete(t.byHeight, old.Header.Height)
		delete(t.final, t.ring[t.next])
	}
	t.ring[t.next] = hash
	t.next = (t.next + 1) % len(t.ring)
	t.final[hash], t.byHeight[c.Header.Height] = c, hash
}

// header decodes and checks a certified header that node e gave, fetching from
// it the config blocks that lie between, if any.
func (c *Client) header(ctx context.Context, e *endpoint, what string, b []byte) (*ledger.CertifiedHeader, error) {
	ch, err := ledger.DecodeCertifiedHeader(b)
	if err != nil {
		return nil, &Untrusted{Node: e.url, What: what, Cause: err}
	}
	if err := c.walk(ctx, e, ch.Header.ConfigSeq); err != nil {
		return nil, err
	}
	if ch, err = c.trust.check(ch); err != nil {
		return nil, &Untrusted{Node: e.url, What: what, Cause: err}
	}
	return ch, nil
}

// walk takes the config blocks from the newest config known to seq.
func (c *Client) walk(ctx context.Context, e *endpoint, seq uint64) error {
	for step := 0; c.trust.config().Seq < seq; step++ {
		from := c.trust.config().Seq + 1
		if step > maxConfigWalk || seq-from > maxConfigWalk {
			return &Untrusted{Node: e.url, What: "a header", Cause: fmt.Errorf("it names config %d, this client knows config %d", seq, from-1)}
		}
		resp, err := try(ctx, c, e, c.set.timeouts.Call, &assentv1.GetConfigProofsRequest{FromSeq: from}, e.ledger.GetConfigProofs)
		if err != nil {
			return err
		}
		if len(resp.ConfigProofs) == 0 {
			return &Untrusted{Node: e.url, What: "a header", Cause: fmt.Errorf("it names config %d, yet the node has no config block after %d", seq, from-1)}
		}
		if err := c.trust.advance(from, resp.ConfigProofs); err != nil {
			return &Untrusted{Node: e.url, What: fmt.Sprintf("config block %d", from), Cause: err}
		}
	}
	return nil
}

// advance takes config blocks from seq on, those that another call has taken
// meanwhile excepted.
func (t *trust) advance(from uint64, proofs [][]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, b := range proofs {
		if from+uint64(i) <= t.light.Config().Seq {
			continue
		}
		if err := t.advanceLocked(b); err != nil {
			return err
		}
	}
	return t.saveLocked()
}
