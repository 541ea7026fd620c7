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
// who left cannot lead it back. It keeps the validators of every config that it
// has proven, so that headers from their time still verify.
type LightClient struct {
	chain  Hash
	config *Config
	terms  []term // by config sequence
}

// term is the time of a config. Headers above height and up to that of the next
// term were voted by its validators.
type term struct {
	height Height  // of the block that set the config; 0 for genesis
	voters *Config // sequence and validators alone
}

func newTerm(c *Config, h Height) term {
	t := term{height: h, voters: &Config{Seq: c.Seq}}
	for _, v := range c.Validators {
		t.voters.Validators = append(t.voters.Validators, Validator{ID: v.ID, VoteKey: v.VoteKey})
	}
	return t
}

// NewLightClient trusts the genesis config and nothing else.
func NewLightClient(genesis *Config) (*LightClient, error) {
	if genesis.Seq != 0 {
		return nil, fmt.Errorf("light client: config %d is not a genesis config", genesis.Seq)
	}
	if err := genesis.Check(); err != nil {
		return nil, fmt.Errorf("light client: %w", err)
	}
	return &LightClient{chain: genesis.Hash(), config: genesis, terms: []term{newTerm(genesis, 0)}}, nil
}

// ChainID returns the chain the client follows.
func (l *LightClient) ChainID() Hash { return l.chain }

// Config returns the newest config proven so far.
func (l *LightClient) Config() *Config { return l.config }

// Height returns the height of the block that set the newest config.
func (l *LightClient) Height() Height { return l.terms[len(l.terms)-1].height }

// Advance takes the next config block. A quorum of the old validators and
// admins of more than two thirds of the members must have signed.
func (l *LightClient) Advance(p *ConfigProof) error {
	h := &p.Header.Header
	if h.Height <= l.Height() {
		return fmt.Errorf("config block %d is not above the pinned one at height %d", h.Height, l.Height())
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
	l.config = u.Config
	l.terms = append(l.terms, newTerm(u.Config, h.Height))
	return nil
}

// Verify reports why c is not final: it was voted by a quorum of the validators
// of its config, at a height of that config's time. A header of an earlier
// config says what held then; whoever wants what holds now asks for one above
// Height. Genesis has no certificate: compare its hash with Genesis(config).
func (l *LightClient) Verify(c *CertifiedHeader) error {
	h := &c.Header
	if h.ChainID != l.chain {
		return fmt.Errorf("header %d: %w", h.Height, ErrWrongChain)
	}
	if h.ConfigSeq > l.config.Seq {
		return fmt.Errorf("header %d was voted under config %d, this client knows config %d: fetch the config blocks between", h.Height, h.ConfigSeq, l.config.Seq)
	}
	t := &l.terms[h.ConfigSeq]
	if h.Height <= t.height {
		return fmt.Errorf("header %d was voted under config %d, which was set at height %d", h.Height, h.ConfigSeq, t.height)
	}
	if h.ConfigSeq < l.config.Seq {
		if last := l.terms[h.ConfigSeq+1].height; h.Height > last {
			return fmt.Errorf("header %d was voted under config %d, whose time ended with height %d", h.Height, h.ConfigSeq, last)
		}
	}
	return t.voters.VerifyCertificate(h, &c.Certificate)
}
