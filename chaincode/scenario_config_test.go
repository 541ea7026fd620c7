package chaincode_test

import (
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/chaincode/record"
)

// The layout of an ordering config, as the ledger's SPEC describes it.
type (
	ordering struct {
		Domain, Network            string
		Seq, Protocol, GenesisTime uint64
		Members                    []orderingMember
		Validators                 []orderingValidator
		Limits                     [6]uint64
	}
	orderingMember struct {
		ID, Name string
		Roles    []string
		Admins   []record.Address
	}
	orderingValidator struct {
		ID      uint64
		Member  string
		VoteKey record.Address
		HostKey [33]byte
		Addrs   []string
	}
)

// proposedConfig makes the bytes of a config with the world's members; name
// makes them differ from another story's.
func (s *scenario) proposedConfig(name string, o options) []byte {
	c := ordering{
		Domain: o.get("domain", record.DomainConfig), Network: o.get("network", "net"),
		Seq: s.number(o.get("seq", "2")), Protocol: s.number(o.get("protocol", "1")),
		Limits: [6]uint64{256 << 10, 2 << 20, 2000, 5000, 64, 4},
	}
	for _, m := range config().Members {
		c.Members = append(c.Members, orderingMember{string(m.OrgID), m.Title, nil, m.AdminKeys})
	}
	for i, org := range []string{"bank-a", "bank-b", "lender-a", "lender-b"} {
		c.Validators = append(c.Validators, orderingValidator{uint64(i + 1), org, addressOf(org + "-vote"), hostOf(org), []string{"/dns4/" + name + "/tcp/7400"}})
	}
	o.set("share", func(what string) {
		if what == "vote" {
			c.Validators[3].VoteKey = c.Validators[0].VoteKey
		} else {
			c.Validators[3].HostKey = c.Validators[0].HostKey
		}
	})
	o.set("title", func(title string) { c.Members[0].Name = strings.ReplaceAll(title, "+", "\n") })
	o.set("stranger", func(org string) { c.Validators[2].Member = org })
	b, err := rlp.EncodeToBytes(&c)
	if err != nil {
		s.t.Fatal(err)
	}
	o.set("tail", func(v string) { b = append(b, v...) })
	return b
}

// hostOf is the host key of a name's node.
func hostOf(name string) (k [33]byte) {
	copy(k[:], crypto.CompressPubkey(&keyOf(name+"-host").PublicKey))
	return k
}

func (s *scenario) proposalArgs(function string, o options) []string {
	name := o.get("config", "")
	if function == "Propose" && s.proposed[name] == nil {
		s.proposed[name] = s.proposedConfig(name, o)
	}
	bytes := s.proposed[name]
	hash := record.ConfigHash(bytes)
	admin := o.get("admin", "")
	seq := s.number(o.get("signed-seq", "2"))
	over := hash
	o.set("signed-config", func(v string) { over = record.ConfigHash(s.proposed[v]) })
	digest := record.ApprovalDigest(s.chain(o), seq, over)
	switch function {
	case "Propose":
		p := &record.ProposalSpec{
			Admin: addressOf(admin), Config: bytes, Signature: sign(s.t, o.get("sign", admin), digest, nil),
			Summary: strings.Split(o.get("summary", "changes+what+is+proposed"), "|"),
		}
		return []string{encode(s.t, p)}
	case "Approve":
		a := &record.ApprovalSpec{Admin: addressOf(admin), ConfigHash: hash, Reason: o.get("reason", ""), Signature: sign(s.t, o.get("sign", admin), digest, nil)}
		o.set("v", func(string) { a.Signature[64] += 27 })
		return []string{encode(s.t, a)}
	case "Withdraw", "GetProposal", "GetProposedConfig":
		return []string{hash.Hex()}
	}
	return []string{o.get("seq", "0"), "100", ""}
}
