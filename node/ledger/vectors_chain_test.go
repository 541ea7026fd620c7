package ledger_test

import (
	"fmt"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

type namedBytes struct {
	Name    string `json:"name"`
	Encoded blob   `json:"encoded"`
}

type configVectors struct {
	Comment        string         `json:"comment"`
	Config         *ledger.Config `json:"config"`
	Encoded        blob           `json:"encoded"`
	ChainID        blob           `json:"chainId"` // hash of the genesis config
	ValidatorsHash blob           `json:"validatorsHash"`
	Refused        []namedBytes   `json:"refused"`
}

// badConfigs are wrong in one way each.
var badConfigs = []struct {
	name   string
	change func(*ledger.Config)
	want   string
}{
	{"no network name", func(c *ledger.Config) { c.Network = "" }, "network has 0 bytes"},
	{"no members", func(c *ledger.Config) { c.Members = nil }, "0 members"},
	{"no validators", func(c *ledger.Config) { c.Validators = nil }, "0 validators"},
	{"members out of order", func(c *ledger.Config) { c.Members[0], c.Members[1] = c.Members[1], c.Members[0] }, "must ascend"},
	{"a member twice", func(c *ledger.Config) { c.Members[1] = c.Members[0] }, "must ascend"},
	{"a member without name", func(c *ledger.Config) { c.Members[0].Name = "" }, "name has 0 bytes"},
	{"a name that is not UTF-8", func(c *ledger.Config) { c.Members[0].Name = "\xff" }, "UTF-8"},
	{"an unknown role", func(c *ledger.Config) { c.Members[0].Roles = []string{"KING"} }, "is not one of"},
	{"roles out of order", func(c *ledger.Config) { c.Members[0].Roles = []string{"DATA_PROVIDER", "AUDITOR"} }, "roles must ascend"},
	{"a member without admin", func(c *ledger.Config) { c.Members[0].Admins = nil }, "0 admin keys"},
	{"an admin twice", func(c *ledger.Config) {
		c.Members[0].Admins = append(c.Members[0].Admins, c.Members[0].Admins[0])
	}, "admin keys must ascend"},
	{"an id that begins with a dot", func(c *ledger.Config) { c.Members[0].ID = ".member" }, "want a letter or digit"},
	{"an id that begins with a dash", func(c *ledger.Config) { c.Members[0].ID = "-member" }, "want a letter or digit"},
	{"a name of two lines", func(c *ledger.Config) { c.Members[0].Name = "a\nb" }, "control character"},
	{"an admin key of zero", func(c *ledger.Config) { c.Members[0].Admins[0] = ledger.Address{} }, "which nobody has"},
	{"too many admin keys together", func(c *ledger.Config) { *c = *largeConfig(ledger.MaxAdmins + 1) }, "2049 admin keys"},
	{"no protocol version", func(c *ledger.Config) { c.Protocol = 0 }, "protocol version 0"},
	{"a protocol version to come", func(c *ledger.Config) { c.Protocol = ledger.Protocol + 1 }, "update the program"},
	{"validator 0", func(c *ledger.Config) { c.Validators[0].ID = 0 }, "1 to 65535"},
	{"validator 65536", func(c *ledger.Config) { c.Validators[3].ID = 65536 }, "1 to 65535"},
	{"validators out of order", func(c *ledger.Config) { c.Validators[1].ID = 1 }, "must ascend"},
	{"a validator of no member", func(c *ledger.Config) { c.Validators[0].Member = "nobody" }, "is not in the config"},
	{"a validator without vote key", func(c *ledger.Config) { c.Validators[0].VoteKey = ledger.Address{} }, "vote key is missing"},
	{"a host key that is not compressed", func(c *ledger.Config) { c.Validators[0].HostKey[0] = 4 }, "host key"},
	{"a host key that is no point of the curve", func(c *ledger.Config) { c.Validators[0].HostKey = ledger.HostKey{0: 2, 32: 5} }, "host key"},
	{"a shared vote key", func(c *ledger.Config) { c.Validators[1].VoteKey = c.Validators[0].VoteKey }, "shares a key"},
	{"a shared host key", func(c *ledger.Config) { c.Validators[1].HostKey = c.Validators[0].HostKey }, "shares a key"},
	{"no address", func(c *ledger.Config) { c.Validators[0].Addrs = nil }, "0 addresses"},
	{"five addresses", func(c *ledger.Config) { c.Validators[0].Addrs = []string{"/a", "/b", "/c", "/d", "/e"} }, "5 addresses"},
	{"an address that is no multiaddress", func(c *ledger.Config) { c.Validators[0].Addrs = []string{"10.0.0.7:7400"} }, "no multiaddress"},
	{"an address of two lines", func(c *ledger.Config) { c.Validators[0].Addrs = []string{"/ip4/10.0.0.7\n"} }, "no multiaddress"},
	{"an empty address", func(c *ledger.Config) { c.Validators[0].Addrs = []string{""} }, "0 bytes"},
	{"requests of no size", func(c *ledger.Config) { c.Limits.MaxRequestBytes = 4095 }, "maxRequestBytes"},
	{"blocks smaller than a request", func(c *ledger.Config) { c.Limits.MaxBlockBytes = c.Limits.MaxRequestBytes - 1 }, "maxBlockBytes"},
	{"blocks over the bound", func(c *ledger.Config) { c.Limits.MaxBlockBytes = ledger.MaxBlockBytes + 1 }, "maxBlockBytes"},
	{"blocks of no request", func(c *ledger.Config) { c.Limits.MaxBlockRequests = 0 }, "maxBlockRequests"},
	{"clocks without tolerance", func(c *ledger.Config) { c.Limits.ClockToleranceMs = 99 }, "clockToleranceMs"},
	{"no execution lag", func(c *ledger.Config) { c.Limits.MaxExecLag = 0 }, "maxExecLag"},
	{"too long an execution lag", func(c *ledger.Config) { c.Limits.MaxExecLag = 65 }, "maxExecLag"},
	{"too many observers", func(c *ledger.Config) { c.Limits.ObserversPerMember = 65 }, "observersPerMember"},
	{"records for less than a second", func(c *ledger.Config) { c.Limits.RecordMillis = 999 }, "recordMillis"},
	{"records for more than a hundred years", func(c *ledger.Config) { c.Limits.RecordMillis = 3_153_600_000_001 }, "recordMillis"},
}

// largeConfig has as many members as there may be, with n admin keys together.
func largeConfig(n int) *ledger.Config {
	c := ledgertest.Config(ledger.MaxMembers)
	c.Validators = c.Validators[:4]
	for i := range c.Members {
		m := &c.Members[i]
		m.ID = fmt.Sprintf("member-%03d", i)
		if i < len(c.Validators) {
			c.Validators[i].Member = m.ID
		}
		share := n / len(c.Members)
		if i < n%len(c.Members) {
			share++
		}
		m.Admins = make([]ledger.Address, share)
		for j := range m.Admins {
			m.Admins[j] = ledger.Address{0: byte(j + 1), 18: byte(i >> 8), 19: byte(i)}
		}
	}
	return c
}

func TestVectorsOfConfigs(t *testing.T) {
	c := ledgertest.Config(4)
	v := configVectors{
		Comment: "A genesis config. Its hash is the chain id. The refused ones decode as RLP but are no configs.",
		Config:  c, Encoded: c.Encode(), ChainID: hashBlob(c.Hash()), ValidatorsHash: hashBlob(c.ValidatorsHash()),
	}
	for _, tt := range badConfigs {
		bad := ledgertest.Clone(c)
		tt.change(bad)
		v.Refused = append(v.Refused, namedBytes{tt.name, bad.Encode()})
	}
	checkVectors(t, "config", &v)
}

type updateVectors struct {
	Comment        string       `json:"comment"`
	ChainID        blob         `json:"chainId"`
	Current        blob         `json:"current"` // config in force
	Config         blob         `json:"config"`  // config it brings
	ID             blob         `json:"id"`
	ApprovalDigest blob         `json:"approvalDigest"`
	Accepted       []namedBytes `json:"accepted"`
	Refused        []namedBytes `json:"refused"`
}

// change is what the updates of the tests do.
func change(c *ledger.Config) { c.Limits.MaxBlockRequests = 1000 }

// badUpdates make an update on c's config that must not be in a block.
func badUpdates(c *ledger.Config) []struct {
	name   string
	update *ledger.Update
	want   string
} {
	chain := c.Hash()
	m := ledgertest.MemberID
	made := func(f func(u *ledger.Update)) *ledger.Update {
		u := ledgertest.Update(chain, c, change)
		f(u)
		return u
	}
	skipped := ledgertest.Update(chain, c, func(c *ledger.Config) { c.Seq++ })
	return []struct {
		name   string
		update *ledger.Update
		want   string
	}{
		{"another age of records", ledgertest.Update(chain, c, func(c *ledger.Config) { c.Limits.RecordMillis = ledger.LawfulRecordMillis }), "recordMillis"},
		{"no approval", made(func(u *ledger.Update) { u.Approvals = nil }), "0 approvals of 4"},
		{"approvals of two of four", ledgertest.Update(chain, c, change, m(1), m(2)), "2 approvals of 4"},
		{"an approval twice", made(func(u *ledger.Update) { u.Approvals[1] = u.Approvals[0] }), "must ascend"},
		{"approvals out of order", made(func(u *ledger.Update) {
			u.Approvals[0], u.Approvals[1] = u.Approvals[1], u.Approvals[0]
		}), "must ascend"},
		{"an approval in another member's name", made(func(u *ledger.Update) { u.Approvals[0].Admin = u.Approvals[1].Admin }), "is not an admin key"},
		{"an approval of nobody", made(func(u *ledger.Update) { u.Approvals[0].Member = "a" }), "is not an admin key"},
		{"an approval of another config", made(func(u *ledger.Update) {
			u.Approvals[2].Sig = ledgertest.Update(chain, c, func(c *ledger.Config) { c.Protocol = 7 }).Approvals[2].Sig
		}), ledger.ErrWrongSigner.Error()},
		{"an approval for another chain", made(func(u *ledger.Update) {
			u.Approvals[2].Sig = ledgertest.Update(ledger.Sum(nil), c, change).Approvals[2].Sig
		}), ledger.ErrWrongSigner.Error()},
		{"an approval with high s", made(func(u *ledger.Update) { u.Approvals[1].Sig = highS(u.Approvals[1].Sig) }), ledger.ErrBadSignature.Error()},
		{"another chain", ledgertest.Update(ledger.Sum(nil), c, change), ledger.ErrWrongChain.Error()},
		{"a sequence left out", skipped, "does not follow"},
		{"another network name", ledgertest.Update(chain, c, func(c *ledger.Config) { c.Network = "other" }), "fixed"},
		{"another genesis time", ledgertest.Update(chain, c, func(c *ledger.Config) { c.GenesisTime++ }), "fixed"},
		{"another vote key of a validator", ledgertest.Update(chain, c, func(c *ledger.Config) {
			c.Validators[0].VoteKey = ledgertest.VoteKey(9).Address()
		}), "new id"},
		{"another id of a vote key", ledgertest.Update(chain, c, func(c *ledger.Config) { c.Validators[3].ID = 9 }), "gives the vote key of validator 4 to validator 9"},
	}
}

func TestVectorsOfUpdates(t *testing.T) {
	c := ledgertest.Config(4)
	u := ledgertest.Update(c.Hash(), c, change)
	v := updateVectors{
		Comment: "Config updates on the config current, which is a genesis config. More than two thirds of the members must approve.",
		ChainID: hashBlob(c.Hash()), Current: c.Encode(), Config: u.Config.Encode(),
		ID: hashBlob(u.ID()), ApprovalDigest: hashBlob(u.ApprovalDigest()),
		Accepted: []namedBytes{
			{"approved by all four", u.Encode()},
			{"approved by three of four", ledgertest.Update(c.Hash(), c, change, "member-01", "member-03", "member-04").Encode()},
		},
	}
	for _, tt := range badUpdates(c) {
		v.Refused = append(v.Refused, namedBytes{tt.name, tt.update.Encode()})
	}
	checkVectors(t, "update", &v)
}

type headerVector struct {
	ChainID            blob   `json:"chainId"`
	Height             uint64 `json:"height"`
	Prev               blob   `json:"prev"`
	TxRoot             blob   `json:"txRoot"`
	Time               uint64 `json:"time"`
	ConfigSeq          uint64 `json:"configSeq"`
	ValidatorsHash     blob   `json:"validatorsHash"`
	NextValidatorsHash blob   `json:"nextValidatorsHash"`
	EngineMetaHash     blob   `json:"engineMetaHash"`
	ExecHeight         uint64 `json:"execHeight"`
	StateRoot          blob   `json:"stateRoot"`
	ReceiptsRoot       blob   `json:"receiptsRoot"`
	ReceiptsSize       uint64 `json:"receiptsSize"`
}

type blockVector struct {
	Name        string       `json:"name"`
	Header      headerVector `json:"header"`
	Encoded     blob         `json:"encodedHeader"`
	Hash        blob         `json:"hash"`
	Requests    []blob       `json:"requests"`
	Meta        blob         `json:"meta"`
	Block       blob         `json:"encodedBlock"`
	View        uint64       `json:"view"` // in which the votes were cast
	VoteDigest  blob         `json:"voteDigest,omitempty"`
	Certificate blob         `json:"certificate,omitempty"`
}

type blockVectors struct {
	Comment             string        `json:"comment"`
	GenesisConfig       blob          `json:"genesisConfig"`
	Blocks              []blockVector `json:"blocks"`
	RefusedCertificates []namedBytes  `json:"refusedCertificates"` // of the block at height 1
	Seal                struct {
		Height    uint64 `json:"height"`
		Validator blob   `json:"validator"`
		ID        blob   `json:"id"`
		Encoded   blob   `json:"encoded"`
	} `json:"seal"`
	Status struct {
		Nonce   blob   `json:"nonce"`
		Height  uint64 `json:"height"`
		Header  blob   `json:"header"`
		Voted   uint64 `json:"voted"`
		Key     blob   `json:"key"`
		Digest  blob   `json:"digest"`
		Encoded blob   `json:"encoded"`
	} `json:"status"`
	EngineMessage struct {
		Message blob `json:"message"`
		Digest  blob `json:"digest"`
	} `json:"engineMessage"`
}

func headerFields(h *ledger.Header) headerVector {
	return headerVector{
		hashBlob(h.ChainID), uint64(h.Height), hashBlob(h.Prev), hashBlob(h.TxRoot), h.Time, h.ConfigSeq,
		hashBlob(h.ValidatorsHash), hashBlob(h.NextValidatorsHash), hashBlob(h.EngineMetaHash), uint64(h.ExecHeight),
		hashBlob(h.StateRoot), hashBlob(h.ReceiptsRoot), h.ReceiptsSize,
	}
}

// vectorChain is genesis, a block of two transactions and a seal, and a config
// block.
func vectorChain(t testing.TB) *ledgertest.Chain {
	t.Helper()
	c := ledgertest.NewChain(ledgertest.Config(4))
	seal, err := ledger.NewSeal(c.ChainID(), 0, ledgertest.VoteKey(2))
	if err != nil {
		t.Fatal(err)
	}
	c.Extend(c.Transaction([]byte("one")), c.Transaction(), seal.Encode())
	c.Reconfigure(func(c *ledger.Config) { c.Validators = c.Validators[1:] })
	return c
}

func voters(cert *ledger.Certificate) []uint64 {
	var ids []uint64
	for _, v := range cert.Votes {
		ids = append(ids, v.Validator)
	}
	return ids
}

// badCertificates are certificates that do not prove c's block 1.
func badCertificates(c *ledgertest.Chain) []struct {
	name string
	cert *ledger.Certificate
	want string
} {
	h := &c.Blocks[1].Header
	by := func(ids ...uint64) *ledger.Certificate { return ledgertest.CertifyBy(h, ids...) }
	made := func(f func(cert *ledger.Certificate)) *ledger.Certificate {
		cert := by(1, 2, 3)
		f(cert)
		return cert
	}
	return []struct {
		name string
		cert *ledger.Certificate
		want string
	}{
		{"no votes", by(), "0 votes, 3 are needed"},
		{"two votes of four", by(1, 2), "2 votes, 3 are needed"},
		{"a vote twice", made(func(c *ledger.Certificate) { c.Votes[1] = c.Votes[0] }), "must ascend"},
		{"votes out of order", made(func(c *ledger.Certificate) { c.Votes[0], c.Votes[2] = c.Votes[2], c.Votes[0] }), "must ascend"},
		{"a foreign validator", by(1, 2, 9), "9 is not a validator"},
		{"more votes than validators", by(1, 2, 3, 4, 5), "5 votes of 4"},
		{"a vote in another's name", made(func(c *ledger.Certificate) { c.Votes[2].Validator = 4 }), ledger.ErrWrongSigner.Error()},
		{"a vote with high s", made(func(c *ledger.Certificate) { c.Votes[2].Sig = highS(c.Votes[2].Sig) }), ledger.ErrBadSignature.Error()},
		{"another block's votes under this hash", made(func(cert *ledger.Certificate) { cert.Votes = c.Certs[2].Votes }), ledger.ErrWrongSigner.Error()},
		{"votes of two views", made(func(cert *ledger.Certificate) { cert.Votes[2] = ledgertest.CertifyIn(1, h, 3).Votes[0] }), ledger.ErrWrongSigner.Error()},
		{"votes of another view", made(func(cert *ledger.Certificate) { cert.View = 1 }), ledger.ErrWrongSigner.Error()},
		{"another block's certificate", c.Certs[2], "given for header"},
	}
}

func TestVectorsOfBlocks(t *testing.T) {
	c := vectorChain(t)
	v := blockVectors{
		Comment:       "Genesis, a block and a config block that removes a validator, with certificates. Roots of state and receipts are made up, but those of genesis.",
		GenesisConfig: c.Genesis.Encode(),
	}
	for i, name := range []string{"genesis", "two transactions and a seal", "config update"} {
		b := c.Blocks[i]
		bv := blockVector{
			Name: name, Header: headerFields(&b.Header), Encoded: b.Header.Encode(), Hash: hashBlob(b.Header.Hash()),
			Requests: blobs(b.Requests), Meta: b.Meta, Block: b.Encode(),
		}
		if i > 0 {
			bv.View = uint64(i-1) * 300
			bv.VoteDigest = hashBlob(ledger.VoteDigest(b.Header.Hash(), bv.View))
			bv.Certificate = ledgertest.CertifyIn(bv.View, &b.Header, voters(c.Certs[i])...).Encode()
		}
		v.Blocks = append(v.Blocks, bv)
	}
	for _, tt := range badCertificates(c) {
		v.RefusedCertificates = append(v.RefusedCertificates, namedBytes{tt.name, tt.cert.Encode()})
	}
	s, err := ledger.DecodeSeal(c.Blocks[1].Requests[2])
	if err != nil {
		t.Fatal(err)
	}
	v.Seal.Height, v.Seal.Validator, v.Seal.ID, v.Seal.Encoded = uint64(s.Height), s.Validator[:], hashBlob(s.ID()), s.Encode()
	st := ledger.Status{ChainID: c.ChainID(), Nonce: ledger.Sum([]byte("nonce")), Height: 2, Header: c.Blocks[2].Header.Hash(), Voted: 3}
	if err := st.Sign(ledgertest.VoteKey(3)); err != nil {
		t.Fatal(err)
	}
	v.Status.Nonce, v.Status.Height, v.Status.Header, v.Status.Voted = hashBlob(st.Nonce), 2, hashBlob(st.Header), 3
	v.Status.Key, v.Status.Digest, v.Status.Encoded = st.Key[:], hashBlob(st.Digest()), st.Encode()
	v.EngineMessage.Message = blob("view change")
	v.EngineMessage.Digest = hashBlob(ledger.EngineDigest(c.ChainID(), v.EngineMessage.Message))
	checkVectors(t, "blocks", &v)
}
