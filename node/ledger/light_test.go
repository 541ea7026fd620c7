package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

func TestCertificateIsRefused(t *testing.T) {
	c := vectorChain(t)
	h := &c.Blocks[1].Header
	for _, ids := range [][]uint64{{1, 2, 3}, {2, 3, 4}, {1, 2, 3, 4}} {
		if err := c.Genesis.VerifyCertificate(h, ledgertest.CertifyBy(h, ids...)); err != nil {
			t.Errorf("votes of %v: %v", ids, err)
		}
	}
	for _, tt := range badCertificates(c) {
		t.Run(tt.name, func(t *testing.T) {
			if err := c.Genesis.VerifyCertificate(h, tt.cert); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	// The same votes under other configs.
	for what, f := range map[string]func(*ledger.Config){
		"another sequence":   func(c *ledger.Config) { c.Seq++ },
		"another validator":  func(c *ledger.Config) { c.Validators[3] = ledgertest.Validator(5, "member-04") },
		"validators removed": func(c *ledger.Config) { c.Validators = c.Validators[:3] },
	} {
		other := ledgertest.Clone(c.Genesis)
		f(other)
		if err := other.VerifyCertificate(h, c.Certs[1]); err == nil || !strings.Contains(err.Error(), "was voted under config") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func newLight(t *testing.T, c *ledgertest.Chain, heights ...int) *ledger.LightClient {
	t.Helper()
	l, err := ledger.NewLightClient(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heights {
		if err := l.Advance(configProof(c, h)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestLightClientFollowsValidatorChanges(t *testing.T) {
	c := lightChain()
	l := newLight(t, c)
	for h := 1; h < len(c.Blocks); h++ {
		if err := l.Verify(certified(c, h)); err != nil {
			t.Fatalf("header %d: %v", h, err)
		}
		if u, _ := c.Blocks[h].Update(); u != nil {
			if err := l.Advance(configProof(c, h)); err != nil {
				t.Fatalf("config block %d: %v", h, err)
			}
		}
	}
	if l.Config().Seq != 2 {
		t.Errorf("at config %d", l.Config().Seq)
	}
}

// TestLightClientIsNotLedAstray lets a quorum of validators, or others, offer
// what no honest quorum would sign.
func TestLightClientIsNotLedAstray(t *testing.T) {
	c := lightChain()
	// forge builds a config block at height 3 that validators sign.
	forge := func(u *ledger.Update, f func(h *ledger.Header), validators ...uint64) *ledger.ConfigProof {
		two := *c
		two.Blocks, two.Certs, two.Config = c.Blocks[:3], c.Certs[:3], c.Genesis
		b := two.Block(u.Encode())
		if f != nil {
			f(&b.Header)
		}
		return &ledger.ConfigProof{
			Header: ledger.CertifiedHeader{Header: b.Header, Certificate: *ledgertest.CertifyBy(&b.Header, validators...)},
			Update: u.Encode(),
		}
	}
	good := ledgertest.Update(c.ChainID(), c.Genesis, change)
	takeover := func(c *ledger.Config) {
		c.Validators = []ledger.Validator{ledgertest.Validator(77, "member-01")}
	}
	if err := newLight(t, c).Advance(forge(good, nil, 1, 2, 3)); err != nil {
		t.Fatalf("the honest one: %v", err)
	}
	// Another's approvals under the attacker's config.
	moved := ledgertest.Update(c.ChainID(), c.Genesis, takeover)
	moved.Approvals = good.Approvals
	own := ledgertest.Update(c.ChainID(), c.Genesis, takeover)
	for i := range own.Approvals {
		own.Approvals[i].Admin = ledgertest.Signer("attacker").Address()
		sig, err := ledgertest.Signer("attacker").Sign(own.ApprovalDigest())
		if err != nil {
			t.Fatal(err)
		}
		own.Approvals[i].Sig = sig
	}
	beside := forge(good, nil, 1, 2, 3)
	beside.Update = ledgertest.Update(c.ChainID(), c.Genesis, takeover).Encode()
	for what, tt := range map[string]struct {
		from  []int
		proof *ledger.ConfigProof
		want  string
	}{
		"a config left out":                         {nil, configProof(c, 6), "fetch the config blocks between"},
		"a config block again":                      {[]int{3}, configProof(c, 3), "is not above the pinned one"},
		"the config before":                         {[]int{3, 6}, configProof(c, 3), "is not above the pinned one"},
		"validators without the admins":             {nil, forge(moved, nil, 1, 2, 3), ledger.ErrWrongSigner.Error()},
		"validators with admins of their own":       {nil, forge(own, nil, 1, 2, 3), "is not an admin key"},
		"admins without a quorum of validators":     {nil, forge(good, nil, 1, 2), "2 votes, 3 are needed"},
		"admins with other validators":              {nil, forge(good, nil, 77, 78, 79), "77 is not a validator"},
		"an update that is not in the block":        {nil, beside, "does not hold this update alone"},
		"another chain":                             {nil, forge(good, func(h *ledger.Header) { h.ChainID[0]++ }, 1, 2, 3), ledger.ErrWrongChain.Error()},
		"next validators that are not the update's": {nil, forge(good, func(h *ledger.Header) { h.NextValidatorsHash[0]++ }, 1, 2, 3), "other next validators"},
		"an update beside another request": {nil, forge(good, func(h *ledger.Header) {
			h.TxRoot = ledger.TxRoot([][]byte{good.Encode(), good.Encode()})
		}, 1, 2, 3), "does not hold this update alone"},
		"an ordinary block": {nil, &ledger.ConfigProof{Header: *certified(c, 2), Update: c.Blocks[2].Requests[0]}, "decode config update"},
	} {
		l := newLight(t, c, tt.from...)
		before := l.Config()
		if err := l.Advance(tt.proof); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", what, err, tt.want)
		}
		if l.Config() != before {
			t.Errorf("%s: the client moved", what)
		}
	}
	// A validator that left has votes for its time only.
	l := newLight(t, c, 3, 6)
	late := c.Blocks[8].Header
	if err := l.Verify(&ledger.CertifiedHeader{Header: late, Certificate: *ledgertest.CertifyBy(&late, 1, 2, 3)}); err == nil {
		t.Error("a validator that left voted on")
	}
	early := c.Blocks[8].Header
	early.Height = 6
	if err := l.Verify(&ledger.CertifiedHeader{Header: early, Certificate: *ledgertest.Certify(c.Config, &early)}); err == nil || !strings.Contains(err.Error(), "which was set at height 6") {
		t.Errorf("votes under a config before it was in force: %v", err)
	}
}

func TestLightClientStartsFromAGenesisConfigOnly(t *testing.T) {
	later := ledgertest.Clone(ledgertest.Config(4))
	later.Seq = 1
	for what, c := range map[string]*ledger.Config{"a later config": later, "an empty config": {}} {
		if _, err := ledger.NewLightClient(c); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestStatusIsRefused(t *testing.T) {
	c := ledgertest.Config(4)
	nonce := ledger.Sum([]byte("nonce"))
	made := func(f func(s *ledger.Status)) *ledger.Status {
		s := &ledger.Status{ChainID: c.Hash(), Nonce: nonce, Height: 5, Header: ledger.Sum(nil), Voted: 6}
		f(s)
		if err := s.Sign(ledgertest.VoteKey(2)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := made(func(*ledger.Status) {}).Verify(c.Hash(), nonce, c, 2); err != nil {
		t.Fatal(err)
	}
	after := made(func(*ledger.Status) {})
	after.Voted = 5
	for what, tt := range map[string]struct {
		status    *ledger.Status
		validator uint64
		want      string
	}{
		"another nonce":          {made(func(s *ledger.Status) { s.Nonce[0]++ }), 2, "answers nonce"},
		"another chain":          {made(func(s *ledger.Status) { s.ChainID[0]++ }), 2, ledger.ErrWrongChain.Error()},
		"another validator":      {made(func(*ledger.Status) {}), 3, "vote key of validator 3"},
		"no validator":           {made(func(*ledger.Status) {}), 9, "is not a validator"},
		"voted two above":        {made(func(s *ledger.Status) { s.Voted = 7 }), 2, "no honest validator"},
		"voted below its height": {made(func(s *ledger.Status) { s.Voted = 4 }), 2, "no honest validator"},
		"changed after signing":  {after, 2, ledger.ErrWrongSigner.Error()},
	} {
		if err := tt.status.Verify(c.Hash(), nonce, c, tt.validator); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", what, err, tt.want)
		}
	}
}

func TestFollowsAndContentAreRefused(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(5)
	parent := &c.Tip().Header
	seal := func(v uint64) []byte {
		s, err := ledger.NewSeal(c.ChainID(), 5, ledgertest.VoteKey(v))
		if err != nil {
			t.Fatal(err)
		}
		return s.Encode()
	}
	late := *c
	late.Blocks = append(c.Blocks[:5:5], &ledger.Block{Header: *parent})
	late.Blocks[5].Header.Time += 3_600_000
	update := ledgertest.Update(c.ChainID(), c.Config, change).Encode()
	weak := ledgertest.Update(c.ChainID(), c.Config, change, "member-01").Encode()
	limits := ledgertest.Clone(c.Config)
	limits.Limits.MaxBlockRequests, limits.Limits.MaxRequestBytes, limits.Limits.MaxBlockBytes = 2, 4096, 5000
	for _, tt := range []struct {
		name   string
		reqs   [][]byte
		config *ledger.Config
		header func(h *ledger.Header)
		want   string
	}{
		{"nothing wrong", [][]byte{c.Transaction(), seal(1)}, nil, nil, ""},
		{"nothing wrong with an update", [][]byte{update}, nil, nil, ""},
		{"nothing wrong without requests", nil, nil, nil, ""},
		{"a height left out", nil, nil, func(h *ledger.Header) { h.Height++ }, "it comes after height 5"},
		{"another chain", nil, nil, func(h *ledger.Header) { h.ChainID[0]++ }, ledger.ErrWrongChain.Error()},
		{"another block below", nil, nil, func(h *ledger.Header) { h.Prev[0]++ }, "it is built on"},
		{"the same time", nil, nil, func(h *ledger.Header) { h.Time = parent.Time }, "is not after"},
		{"another config", nil, nil, func(h *ledger.Header) { h.ConfigSeq++ }, "config 0 is in force"},
		{"other validators", nil, nil, func(h *ledger.Header) { h.ValidatorsHash[0]++ }, "announced"},
		{"other next validators", nil, nil, func(h *ledger.Header) { h.NextValidatorsHash[0]++ }, "header announces validators"},
		{"roots of itself", nil, nil, func(h *ledger.Header) { h.ExecHeight = h.Height }, "cannot have been executed"},
		{"roots that go back", nil, nil, func(h *ledger.Header) { h.ExecHeight = 3 }, "below 4"},
		{"fewer receipts", nil, nil, func(h *ledger.Header) { h.ReceiptsSize = 1 }, "1 receipts"},
		{"other roots of the same height", nil, nil, func(h *ledger.Header) { h.ExecHeight, h.ReceiptsSize = 4, parent.ReceiptsSize }, "certified"},
		{"too many requests", [][]byte{c.Transaction(), c.Transaction(), c.Transaction()}, limits, nil, "3 requests"},
		{"a request too large", [][]byte{c.Transaction(make([]byte, 4096))}, limits, nil, "at most 4096 are allowed"},
		{"too many bytes", [][]byte{c.Transaction(make([]byte, 3000)), c.Transaction(make([]byte, 3000))}, limits, nil, "bytes of requests"},
		{"a request that is none", [][]byte{{0xc0}}, nil, nil, "neither transaction"},
		{"two seals", [][]byte{seal(1), seal(2)}, nil, nil, "2 seals"},
		{"a seal of nobody", [][]byte{seal(9)}, nil, nil, "not a validator's vote key"},
		{"an update beside a transaction", [][]byte{update, c.Transaction()}, nil, nil, "must be alone"},
		{"an update with too few approvals", [][]byte{weak}, nil, nil, "1 approvals"},
		{"a transaction of another time", [][]byte{late.Transaction()}, nil, nil, "the block's time is"},
		{"a transaction of another chain", [][]byte{ledgertest.NewChain(ledgertest.Config(3)).Transaction()}, nil, nil, ledger.ErrWrongChain.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := c.Block(tt.reqs...)
			if tt.header != nil {
				tt.header(&b.Header)
			}
			config := c.Config
			if tt.config != nil {
				config = tt.config
			}
			err := b.Header.Follows(parent, config)
			if err == nil {
				_, err = b.CheckContent(config)
			}
			if tt.want == "" && err != nil {
				t.Fatal(err)
			}
			if tt.want != "" && (err == nil || !errors.Is(err, ledger.ErrBroken) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestExecHeightMayLagToTheLimit(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(1)).Grow(70)
	config := ledgertest.Clone(c.Config)
	config.Limits.MaxExecLag = 3
	parent := c.Tip().Header
	b := c.Block()
	parent.ExecHeight = 0
	b.Header.Prev = parent.Hash()
	for lag := ledger.Height(1); lag <= 5; lag++ {
		b.Header.ExecHeight = b.Header.Height - lag
		if err := b.Header.Follows(&parent, config); (err == nil) != (lag <= 3) {
			t.Errorf("lag of %d: %v", lag, err)
		}
	}
}
