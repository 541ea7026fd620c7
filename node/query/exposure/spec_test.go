package exposure

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/pair"
)

// The vectors of SPEC.md, for other implementations.
func TestVectors(t *testing.T) {
	s := Session{
		ChainID: record.Hash{1}, RequestID: record.NewRequestID(record.Hash{2}), Lender: "lender", Recipient: "aggregator", Threshold: 1000,
	}
	for i, bank := range []record.OrgID{"bank-a", "bank-b", "bank-c"} {
		s.Seats = append(s.Seats, Seat{
			Bank: bank, ConsentID: "0x00000000000000000000000000000001", Epoch: uint64(i + 1), CodeHash: record.Hash{3}, KeyID: "k1",
			Key: publicKey(t, bytes.Repeat([]byte{byte(i + 1)}, 32)), Pledge: Hash{byte(i)},
		})
	}
	secret, err := pair.New(bytes.Repeat([]byte{1}, 32), s.Seats[2].Key)
	if err != nil {
		t.Fatal(err)
	}
	m := maskOf(secret, s.Digest(), 0, 2)
	p := Pledge{Point: pedersen(scalarOf(5), scalarOf(7)), Proof: make([]byte, ProofSize)}
	hash, digest := p.Hash(s.pledgeContext(1)), s.Digest()
	context := contextElement(s.pledgeContext(1).bytes())
	input := context.Bytes()
	for _, v := range []struct {
		name string
		got  []byte
		want string
	}{
		{"5·G + 7·H", p.Point.Bytes(), "0dee7e8d5dd006f437e67f65b1df362791b0eb243aef3d5da2ca7f637575f2b217ad37e01c9d2b6124b05a8dd9a1a46f0f0aa21e9ef21664ab0d68524f7b25b5"},
		{"pledge hash", hash[:], "a0e3aae955b42e2643fbba1d17da2763871920b89736ebf855351498ff30ff23"},
		{"context", input[:], "0034ad905f4322f987c3cad4222b9188d17d5738be5b1782d01283be24722a80"},
		{"session digest", digest[:], "245e6e947185ab8004bff1a8893070c7490743aa6357f7b22c777058948ae280"},
		{"mask value", m.value.Bytes(), "0592494baf5e0c4f687baefffd50ad8f3afde73f38d168674eee0a046e142ebf"},
		{"mask blinding", m.blinding.Bytes(), "05f7f460036f2a1e3ff5f7c8d5faaf878a5fa5d1d69796b775d04269b35217fe"},
	} {
		if got := hex.EncodeToString(v.got); got != v.want {
			t.Errorf("%s = %s", v.name, got)
		}
	}
}
