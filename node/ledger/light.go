package ledger

import "fmt"

// ConfigProof is a config block as a light client needs it: the header that a
// quorum of the old validators voted for, and the only request of its block.
type ConfigProof struct {
	Header CertifiedHeader
	Update []byte
}

// Encode returns the canonical bytes.
func (p *ConfigProof) Encode() []byte {
	d := *p
	d.Header.Header.Domain = domainHeader
	return mustEncode(&d)
}

// DecodeConfigProof reads canonical bytes; it checks nothing but the form.
func DecodeConfigProof(b []byte) (*ConfigProof, error) {
	p := new(ConfigProof)
	if err := decode("config proof", b, MaxProofBytes, p); err != nil {
		return nil, err
	}
	if err := wantDomain("header", p.Header.Header.Domain, domainHeader); err != nil {
		return nil, err
	}
	return p, nil
}

// LightClient checks headers from genesis on, trusting no node. It needs every
// config block in order and pins the highest it has seen, so that validators
// who left cannot lead it back.
type LightClient struct {
	chain  Hash
	config *Config
	height Height // of the block that set config
}

// NewLightClient trusts the genesis config and nothing else.
func NewLightClient(genesis *Config) (*LightClient, error) {
	if genesis.Seq != 0 {
		return nil, fmt.Errorf("light client: config %d is not a genesis config", genesis.Seq)
	}
	if err := genesis.Check(); err != nil {
		return nil, fmt.Errorf("light client: %w", err)
	}
	return &LightClient{chain: genesis.Hash(), config: genesis}, nil
}

// ChainID returns the chain the client follows.
func (l *LightClient) ChainID() Hash { return l.chain }

// Config returns the newest config proven so far.
func (l *LightClient) Config() *Config { return l.config }

// Advance takes the next config block. A quorum of the old validators and
// admins of more than two thirds of the members must have signed.
func (l *LightClient) Advance(p *ConfigProof) error {
	h := &p.Header.Header
	if h.Height <= l.height {
		return fmt.Errorf("config block %d is not above the pinned one at height %d", h.Height, l.height)
	}
	if err := l.Verify(&p.Header); err != nil {
		return err
	}
	if TxRoot([][]byte{p.Update}) != h.TxRoot {
		return fmt.Errorf("config block %d does not hold this update alone", h.Height)
	}
	u, err := DecodeUpdate(p.Update)
	if err != nil {
		return err
	}
	if err := u.Verify(l.chain, l.config); err != nil {
		return err
	}
	if u.Config.ValidatorsHash() != h.NextValidatorsHash {
		return fmt.Errorf("config block %d names other next validators than its update", h.Height)
	}
	l.config, l.height = u.Config, h.Height
	return nil
}

// Verify reports why c is not final under the newest config. Genesis has no
// certificate: compare its hash with Genesis(config).
func (l *LightClient) Verify(c *CertifiedHeader) error {
	if c.Header.ChainID != l.chain {
		return fmt.Errorf("header %d: %w", c.Header.Height, ErrWrongChain)
	}
	if c.Header.ConfigSeq > l.config.Seq {
		return fmt.Errorf("header %d was voted under config %d, this client knows config %d: fetch the config blocks between", c.Header.Height, c.Header.ConfigSeq, l.config.Seq)
	}
	if c.Header.ConfigSeq == l.config.Seq && c.Header.Height <= l.height {
		return fmt.Errorf("header %d was voted under config %d, which was set at height %d", c.Header.Height, l.config.Seq, l.height)
	}
	return l.config.VerifyCertificate(&c.Header, &c.Certificate)
}
